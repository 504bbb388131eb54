// What goes wrong outside of the program: each gives one error that names the operation and the path, and leaks
// nothing.
#include <aiofile/file.hpp>

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <caio/gather.hpp>
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::DecodeError;
using aiofile::FileError;
using caio::Context;
using caio::Task;
using outcome::failure_of;
using outcome::pattern;
using support::answer_in_child;
using support::content_of;
using support::Fd;
using support::TemporaryDirectory;

namespace {

void check_error(const std::optional<FileError>& failure, int error, std::string_view operation,
                 const std::filesystem::path& path, std::uint64_t transferred = 0) {
  REQUIRE(failure.has_value());
  CHECK(failure->code() == std::error_code(error, std::system_category()));
  CHECK(failure->path1() == path);
  CHECK(failure->transferred() == transferred);
  CHECK_THAT(failure->what(), Catch::Contains(std::string(operation) + ": "));
  CHECK_THAT(failure->what(), Catch::Contains(path.string()));
  CHECK_THAT(failure->what(), Catch::Contains(failure->code().message()));
}

Task<> check_open_fails(std::filesystem::path path, std::string_view mode, int error) {
  INFO(path << " " << mode);
  AIOFile file(path, mode);
  const std::optional<FileError> failure = co_await failure_of(file.open());
  check_error(failure, error, "open", path);
  CHECK(file.closed());
  const std::size_t before = support::open_files();
  for (int attempt = 0; attempt < 10; ++attempt) {
    const std::optional<FileError> again = co_await failure_of(file.open());
    check_error(again, error, "open", path);
  }
  CHECK(support::open_files() == before);
}

std::string describe(const std::optional<FileError>& failure) {
  if (!failure) return "no error";
  return std::to_string(failure->code().value()) + " after " + std::to_string(failure->transferred()) + " " +
         failure->what();
}

/// In a child: opens `path` and writes `size` bytes at `offset`; what the write gives, and what a later one gives.
std::string write_in_child(caio::Implementation implementation, const std::filesystem::path& path, std::size_t size,
                           bool speculate) {
  Context context(implementation, {.speculate = speculate});
  auto work = [](std::filesystem::path name, std::string text) -> Task<std::string> {
    AIOFile file = co_await AIOFile(name, "w");
    const std::optional<FileError> failure = co_await failure_of(file.write(text));
    co_await file.close();
    co_return describe(failure);
  };
  return context.run(work(path, pattern(size)));
}

/// A tmpfs of 1 MiB, where the test may mount one.
class SmallFileSystem {
 public:
  explicit SmallFileSystem(std::filesystem::path path) : path_(std::move(path)) {
    std::filesystem::create_directory(path_);
    mounted_ = ::mount("none", path_.c_str(), "tmpfs", 0, "size=1m") == 0;
  }
  SmallFileSystem(const SmallFileSystem&) = delete;
  SmallFileSystem& operator=(const SmallFileSystem&) = delete;
  ~SmallFileSystem() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }

 private:
  std::filesystem::path path_;
  bool mounted_ = false;
};

constexpr bool both[] = {true, false};

}  // namespace

// ---- paths ---------------------------------------------------------------------------------------------------------

TEST_CASE("Bad input: a missing file") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    for (const char* const mode : {"r", "r+", "rb"}) co_await check_open_fails(directory / "missing", mode, ENOENT);
    for (const char* const mode : {"r", "w", "a", "x"}) {
      co_await check_open_fails(directory / "missing/file", mode, ENOENT);
    }
  });
}

TEST_CASE("Bad input: a directory") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    for (const char* const mode : {"r", "rb", "r+", "w", "a"}) {
      co_await check_open_fails(directory.path(), mode, EISDIR);
    }
    co_await check_open_fails(directory.path(), "x", EEXIST);
  });
}

TEST_CASE("Bad input: an empty path") {
  support::on_every_backend([](Context&) -> Task<> {
    for (const char* const mode : {"r", "w", "a", "x"}) co_await check_open_fails("", mode, ENOENT);
  });
}

TEST_CASE("Bad input: paths that lead nowhere") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    directory.file("file", "text");
    std::filesystem::create_symlink("loop", directory / "loop");
    co_await check_open_fails(directory / "file/below", "r", ENOTDIR);
    co_await check_open_fails(directory / "file/", "r", ENOTDIR);
    co_await check_open_fails(directory / "loop", "r", ELOOP);
    co_await check_open_fails(directory / std::string(256, 'n'), "w", ENAMETOOLONG);
    co_await check_open_fails(std::string(5000, '/') + "file", "r", ENAMETOOLONG);
  });
}

TEST_CASE("Bad input: a file that one has no right to") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      ::chmod(directory.path().c_str(), 0755);
      const std::filesystem::path path = directory.file("secret", "text");
      ::chmod(path.c_str(), 0600);
      const bool root = ::getuid() == 0;
      const std::string answer = answer_in_child([&]() -> std::string {
        if (::chdir(directory.path().c_str()) != 0) return "no such directory";
        if (root && !support::become_nobody()) return "cannot become nobody";
        if (!root) ::chmod("secret", 0);
        Context context(implementation);
        auto work = [](bool makes) -> Task<std::string> {
          AIOFile reader("secret");
          const std::optional<FileError> read = co_await failure_of(reader.open());
          AIOFile writer("secret", "w");
          const std::optional<FileError> write = co_await failure_of(writer.open());
          AIOFile maker("new", "x");
          const std::optional<FileError> make = co_await failure_of(maker.open());
          std::string texts = describe(read) + "\n" + describe(write) + "\n";
          if (makes) texts += describe(make) + "\n";
          co_return texts;
        };
        return context.run(work(root));
      });
      if (answer == "cannot become nobody") {
        WARN("this user may not become another");
        return;
      }
      const std::string error = "13 after 0 filesystem error: open: Permission denied ";
      const std::string expected = error + "[secret]\n" + error + "[secret]\n";
      CHECK(answer == expected + (root ? error + "[new]\n" : ""));
      ::chmod(path.c_str(), 0600);
      CHECK(content_of(path) == "text");
    }
  }
}

// ---- modes ---------------------------------------------------------------------------------------------------------

TEST_CASE("Bad input: reading a file that is open for writing only") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    for (const char* const mode : {"w", "a", "wb"}) {
      AIOFile file = co_await AIOFile(directory / "file", mode);
      std::vector<std::byte> memory(4);
      const std::optional<FileError> read = co_await failure_of(file.read());
      const std::optional<FileError> nothing = co_await failure_of(file.read(0));
      const std::optional<FileError> bytes = co_await failure_of(file.read_bytes());
      const std::optional<FileError> into = co_await failure_of(file.read_into(memory));
      for (const auto& failure : {read, nothing, bytes, into}) check_error(failure, EBADF, "read", directory / "file");
    }
  });
}

TEST_CASE("Bad input: writing a file that is open for reading only") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"));
    const std::optional<FileError> write = co_await failure_of(file.write("more"));
    const std::optional<FileError> nothing = co_await failure_of(file.write(""));
    const std::optional<FileError> bytes = co_await failure_of(file.write_bytes(outcome::vector_of("more")));
    const std::optional<FileError> truncate = co_await failure_of(file.truncate(0));
    for (const auto& failure : {write, nothing, bytes}) check_error(failure, EBADF, "write", directory / "file");
    check_error(truncate, EBADF, "truncate", directory / "file");
    CHECK(content_of(directory / "file") == "text");
  });
}

TEST_CASE("Bad input: a borrowed descriptor that cannot do what the mode says") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd reading(directory.file("file", "text"), O_RDONLY);
    const Fd writing(directory / "file", O_WRONLY);
    AIOFile reader = AIOFile::from_fd(writing.get(), "r");
    AIOFile writer = AIOFile::from_fd(reading.get(), "w");
    const std::optional<FileError> read = co_await failure_of(reader.read());
    const std::optional<FileError> write = co_await failure_of(writer.write("more"));
    check_error(read, EBADF, "read", reader.name());
    check_error(write, EBADF, "write", writer.name());
  });
}

TEST_CASE("Bad input: a closed file") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w+");
    co_await file.close();
    const std::optional<FileError> open = co_await failure_of(file.open());
    const std::optional<FileError> read = co_await failure_of(file.read());
    const std::optional<FileError> write = co_await failure_of(file.write("text"));
    const std::optional<FileError> fsync = co_await failure_of(file.fsync());
    const std::optional<FileError> fdsync = co_await failure_of(file.fdsync());
    const std::optional<FileError> truncate = co_await failure_of(file.truncate(1));
    const std::optional<FileError> size = co_await failure_of(file.size());
    check_error(open, EBADF, "open", directory / "file");
    check_error(read, EBADF, "read", directory / "file");
    check_error(write, EBADF, "write", directory / "file");
    check_error(fsync, EBADF, "fsync", directory / "file");
    check_error(fdsync, EBADF, "fdsync", directory / "file");
    check_error(truncate, EBADF, "truncate", directory / "file");
    check_error(size, EBADF, "size", directory / "file");
  });
}

// ---- text ----------------------------------------------------------------------------------------------------------

TEST_CASE("Bad input: a file that is not UTF-8") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file",
                                                   "0123456789\xff"
                                                   "more"));
    std::uint64_t offset = 0;
    std::string what;
    try {
      co_await file.read(-1, 4);
    } catch (const DecodeError& error) {
      offset = error.offset();
      what = error.what();
    }
    CHECK(offset == 10);
    CHECK(what == "read: " + (directory / "file").string() + ": not valid utf-8 at byte 10");
    const std::string before = co_await file.read(10);
    CHECK(before == "0123456789");
    const std::string behind = co_await file.read(-1, 11);
    CHECK(behind == "more");
  });
}

// ---- full disks and limits -----------------------------------------------------------------------------------------

TEST_CASE("Bad input: /dev/full") {
  support::on_every_backend([](Context&) -> Task<> {
    AIOFile file = co_await AIOFile("/dev/full", "w");
    const std::optional<FileError> failure = co_await failure_of(file.write("text"));
    check_error(failure, ENOSPC, "write", "/dev/full");
    const std::optional<FileError> big = co_await failure_of(file.write(pattern(100'000)));
    check_error(big, ENOSPC, "write", "/dev/full");
    co_await file.close();
    CHECK(outcome::descriptors_of("/dev/full") == 0);
  });
}

TEST_CASE("Bad input: a full disk") {
  const TemporaryDirectory directory;
  const SmallFileSystem disk(directory / "disk");
  if (!disk.mounted()) {
    WARN("no right to mount a small file system: not tested");
    return;
  }
  support::on_every_backend([&](Context&) -> Task<> {
    const std::filesystem::path path = directory / "disk/file";
    const std::string content = pattern(3'000'000);
    AIOFile file = co_await AIOFile(path, "w+");
    const std::optional<FileError> failure = co_await failure_of(file.write(content));
    const std::uint64_t size = co_await file.size();
    check_error(failure, ENOSPC, "write", path, size);
    CHECK(size > 0);
    const std::string written = co_await file.read();
    CHECK((written == content.substr(0, size)));
    const std::optional<FileError> again = co_await failure_of(file.write("more", size + 1'000'000));
    check_error(again, ENOSPC, "write", path);
    co_await file.truncate(0);
    const std::size_t small = co_await file.write("fits now");
    CHECK(small == 8);
    co_await file.close();
    std::filesystem::remove(path);
  });
}

TEST_CASE("Bad input: the limit on the size of files") {
  for (const caio::Implementation implementation : support::backends()) {
    for (const bool speculate : both) {
      DYNAMIC_SECTION(caio::name(implementation) << (speculate ? "" : ", no speculation")) {
        const TemporaryDirectory directory;
        for (const std::size_t size : {std::size_t{8192}, std::size_t{300'000}}) {
          const std::string answer = answer_in_child([&] {
            ::signal(SIGXFSZ, SIG_IGN);
            const ::rlimit limit{2000, 2000};
            ::setrlimit(RLIMIT_FSIZE, &limit);
            return write_in_child(implementation, directory / "file", size, speculate);
          });
          CHECK(answer ==
                "27 after 2000 filesystem error: write: File too large [" + (directory / "file").string() + "]");
          CHECK((content_of(directory / "file") == pattern(size).substr(0, 2000)));
        }
      }
    }
  }
}

TEST_CASE("Bad input: no descriptor left") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      const std::filesystem::path path = directory.file("file", "text");
      const std::string answer = answer_in_child([&] {
        Context context(implementation);
        auto work = [](std::filesystem::path name) -> Task<std::string> {
          AIOFile file = co_await AIOFile(name);  // what the context needs is there now
          std::vector<Fd> all;
          const ::rlimit limit{static_cast<::rlim_t>(file.fileno()) + 8, 4096};
          ::setrlimit(RLIMIT_NOFILE, &limit);
          do {
            all.emplace_back("/dev/null", O_RDONLY);
          } while (all.back().get() >= 0);
          AIOFile another(name);
          const std::optional<FileError> failure = co_await failure_of(another.open());
          const std::string still = co_await file.read();
          all.clear();
          const std::optional<FileError> later = co_await failure_of(another.open());
          co_return describe(failure) + "; " + still + "; " + describe(later);
        };
        return context.run(work(path));
      });
      CHECK(answer == "24 after 0 filesystem error: open: Too many open files [" + path.string() + "]; text; no error");
    }
  }
}

TEST_CASE("Bad input: a broken pipe is an error and no signal") {
  support::on_every_backend([](Context&) -> Task<> {
    support::Pipe pipe;
    pipe.reader.reset();
    AIOFile file = AIOFile::from_fd(pipe.writer.get(), "w");
    const std::optional<FileError> failure = co_await failure_of(file.write("text"));
    check_error(failure, EPIPE, "write", file.name());
  });
}

TEST_CASE("Bad input: a borrowed descriptor that is closed behind our back") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd low(directory.file("file", "text"), O_RDWR);
    Fd fd(::fcntl(low.get(), F_DUPFD_CLOEXEC, 500));  // a number that nobody else gets meanwhile
    AIOFile file = AIOFile::from_fd(fd.get(), "r+");
    fd.reset();
    const std::optional<FileError> read = co_await failure_of(file.read());
    const std::optional<FileError> write = co_await failure_of(file.write("more"));
    const std::optional<FileError> sync = co_await failure_of(file.fsync());
    check_error(read, EBADF, "read", file.name());
    check_error(write, EBADF, "write", file.name());
    check_error(sync, EBADF, "fsync", file.name());
    co_await file.close();
  });
}

TEST_CASE("Bad input: memory that is not there") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"), "r+");
    const auto nowhere = reinterpret_cast<std::byte*>(std::uintptr_t{4096});
    const std::optional<FileError> read = co_await failure_of(file.read_into({nowhere, 4}));
    const std::optional<FileError> write =
        co_await failure_of(file.write_bytes(std::span<const std::byte>(nowhere, 4)));
    check_error(read, EFAULT, "read", directory / "file");
    check_error(write, EFAULT, "write", directory / "file");
    CHECK(content_of(directory / "file") == "text");
  });
}

TEST_CASE("Bad input: one bad operation does not fail its neighbours") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"), "r+");
    const auto nowhere = reinterpret_cast<std::byte*>(std::uintptr_t{4096});
    const auto [before, bad, behind] =
        co_await caio::gather(file.read(4), failure_of(file.read_into({nowhere, 4})), file.write(pattern(100'000), 4));
    CHECK(before == "text");
    check_error(bad, EFAULT, "read", directory / "file");
    CHECK(behind == 100'000);
  });
}
