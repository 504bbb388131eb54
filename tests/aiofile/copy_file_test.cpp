#include <aiofile/copy_file.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/error.hpp>
#include <aiofile/file_copy.hpp>
#include <algorithm>
#include <atomic>
#include <caio/caio.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "copied_files.hpp"
#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::CopyMethod;
using aiofile::CopyOptions;
using caio::Context;
using caio::Task;
using copied_files::entries_of;
using copied_files::long_text;
using copied_files::mebi;
using copied_files::mode_of;
using copied_files::status_of;
using outcome::error_of;
using outcome::failure_of;
using outcome::pattern;

namespace fs = std::filesystem;

namespace {

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  for (std::size_t count = 1 << 16; file; count = text.size()) {
    const std::size_t before = text.size();
    text.resize(before + count);
    file.read(text.data() + before, static_cast<std::streamsize>(count));
    text.resize(before + static_cast<std::size_t>(file.gcount()));
  }
  return text;
}

/// The calls of this file's own, and what they are told to do.
struct Plan {
  std::atomic<int> copied_ranges{0};
  std::atomic<int> clones{0};
  std::atomic<int> reads{0};
  std::atomic<int> writes{0};
  std::atomic<int> failing_write{-1};  // its number; negative: none
  std::atomic<int> range_error{0};
  std::atomic<bool> shorten{false};
  void (*at_read)(int fd, ::off_t offset) = nullptr;
  void (*after_read)(int fd, ::off_t offset, ::ssize_t count) = nullptr;
};
Plan plan;

::ssize_t counted_read(int fd, void* memory, std::size_t size, ::off_t offset) {
  if (++plan.reads % 3 == 0 && plan.shorten) {
    errno = EINTR;
    return -1;
  }
  if (plan.at_read != nullptr) plan.at_read(fd, offset);
  const ::ssize_t count = ::pread(fd, memory, plan.shorten ? std::min<std::size_t>(size, 1000) : size, offset);
  if (plan.after_read != nullptr) plan.after_read(fd, offset, count);
  return count;
}

::ssize_t counted_write(int fd, const void* memory, std::size_t size, ::off_t offset) {
  const int number = ++plan.writes;
  if (number == plan.failing_write) {
    errno = ENOSPC;
    return -1;
  }
  if (number % 3 == 0 && plan.shorten) {
    errno = EINTR;
    return -1;
  }
  return ::pwrite(fd, memory, plan.shorten ? std::min<std::size_t>(size, 700) : size, offset);
}

::ssize_t counted_copy_range(int in, ::off_t* from, int out, ::off_t* to, std::size_t size, unsigned flags) {
  const int number = ++plan.copied_ranges;
  if (plan.range_error != 0 && number > 1) {
    errno = plan.range_error;
    return -1;
  }
  if (number % 3 == 0 && plan.shorten) {
    errno = EINTR;
    return -1;
  }
  return ::copy_file_range(in, from, out, to, plan.shorten ? std::min<std::size_t>(size, 5000) : size, flags);
}

int refused_clone(int, int) {
  errno = EOPNOTSUPP;
  return -1;
}

/// Calls that can be counted and made to fail, until its end. No reflinks: where there are, nothing else is tried.
class Planned {
 public:
  Planned() {
    plan.copied_ranges = plan.clones = plan.reads = plan.writes = plan.range_error = 0;
    plan.failing_write = -1;
    plan.shorten = false;
    plan.at_read = nullptr;
    plan.after_read = nullptr;
    calls_->pread = counted_read;
    calls_->pwrite = counted_write;
    aiofile::detail::copy_calls.copy_file_range = counted_copy_range;
    aiofile::detail::copy_calls.clone = refused_clone;
  }
  Planned(const Planned&) = delete;
  Planned& operator=(const Planned&) = delete;
  ~Planned() { aiofile::detail::copy_calls = {}; }

 private:
  support::ReplacedCalls calls_;
};

const CopyMethod plain_methods[] = {CopyMethod::automatic, CopyMethod::copy_file_range, CopyMethod::read_write};

/// What a file has of data, as the file system sees it: pairs of offset and end.
std::vector<std::pair<::off_t, ::off_t>> segments_of(const fs::path& path) {
  std::vector<std::pair<::off_t, ::off_t>> list;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  for (::off_t at = 0; (at = ::lseek(fd, at, SEEK_DATA)) >= 0;) {
    const ::off_t end = ::lseek(fd, at, SEEK_HOLE);
    list.emplace_back(at, end);
    at = end;
  }
  ::close(fd);
  return list;
}

/// A file of `size` bytes with text at some offsets, and holes elsewhere.
void make_sparse(const fs::path& path, ::off_t size, std::initializer_list<::off_t> offsets) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const std::string block = pattern(65536, 3);
  for (const ::off_t offset : offsets) {
    REQUIRE(::pwrite(fd, block.data(), block.size(), offset) == static_cast<::ssize_t>(block.size()));
  }
  REQUIRE(::ftruncate(fd, size) == 0);
  ::close(fd);
}

}  // namespace

TEST_CASE("copy_file: the copy is as the source, of any size, by every method") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{100'000},
                                   4 * mebi - 1, 4 * mebi, 4 * mebi + 1, 9 * mebi + 5}) {
      const std::string content = long_text(size, static_cast<unsigned>(size));
      const fs::path from = directory.file("from", content);
      for (const CopyMethod method : plain_methods) {
        const fs::path to = directory / "to";
        const CopyOptions options{.method = method};
        CHECK_YIELDS(aiofile::copy_file(from, to, options), size);
        CHECK((content_of(to) == content));
        fs::remove(to);
      }
    }
    CHECK(entries_of(directory.path()) == 1);
  });
}

TEST_CASE("copy_file: takes one hand-over to the pool for a small file") {
  support::on_every_backend([](Context& context) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = directory.file("from", long_text(1000));
    const std::uint64_t before = context.stats().pooled;
    co_await aiofile::copy_file(from, directory / "to");
    const std::uint64_t expected = context.implementation() == caio::Implementation::blocking ? 0 : 1;
    CHECK(context.stats().pooled - before == expected);
  });
}

TEST_CASE("copy_file: nothing happens before it is awaited") {
  const support::TemporaryDirectory directory;
  const fs::path from = directory.file("from", "text");
  static_cast<void>(aiofile::copy_file(from, directory / "to"));
  CHECK_FALSE(fs::exists(directory / "to"));
}

TEST_CASE("copy_file: what the kernel cuts short or interrupts goes on") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const std::string content = long_text(200'007, 1);
    const fs::path from = directory.file("from", content);
    for (const CopyMethod method : plain_methods) {
      const Planned planned;
      plan.shorten = true;
      const CopyOptions options{.method = method, .buffer_size = 3000};
      CHECK_YIELDS(aiofile::copy_file(from, directory / "to", options), content.size());
      CHECK((content_of(directory / "to") == content));
      if (method == CopyMethod::copy_file_range) CHECK(plan.reads == 0);
      if (method == CopyMethod::read_write) CHECK(plan.copied_ranges == 0);
    }
  });
}

TEST_CASE("copy_file: where copy_file_range cannot, reading and writing goes on from there") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const std::string content = long_text(9 * mebi, 2);
    const fs::path from = directory.file("from", content);
    // On ext4 and XFS it would not be tried.
    const fs::path elsewhere = "/dev/shm/aiofile-copy-" + std::to_string(::getpid());
    for (const int error : {EXDEV, EINVAL, ENOSYS, EOPNOTSUPP, EIO}) {
      const Planned planned;
      plan.range_error = error;
      CHECK_YIELDS(aiofile::copy_file(from, elsewhere), content.size());
      CHECK((content_of(elsewhere) == content));
      CHECK(plan.reads > 0);
      CHECK(plan.copied_ranges <= 2);
      fs::remove(elsewhere);

      plan.copied_ranges = 1;
      const CopyOptions forced{.method = CopyMethod::copy_file_range};
      const auto failure = co_await failure_of(aiofile::copy_file(from, directory / "to", forced));
      REQUIRE(failure);
      CHECK(failure->code().value() == error);
      CHECK(failure->path1() == from);
      CHECK(failure->path2() == directory / "to");
      CHECK_FALSE(fs::exists(directory / "to"));
    }
  });
}

TEST_CASE("copy_file: from one file system to another") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const std::string content = long_text(6 * mebi, 2);
    const fs::path there = "/dev/shm/aiofile-copy-" + std::to_string(::getpid());
    CHECK_YIELDS(aiofile::copy_file(directory.file("from", content), there), content.size());
    CHECK_YIELDS(aiofile::copy_file(there, directory / "back"), content.size());
    CHECK((content_of(directory / "back") == content));
    fs::remove(there);
  });
}

TEST_CASE("copy_file: a reflink is the whole copy, and the first thing that is tried") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const Planned planned;
    const fs::path from = directory.file("from", "shared");
    aiofile::detail::copy_calls.clone = [](int to, int) {
      ++plan.clones;
      return ::pwrite(to, "cloned", 6, 0) == 6 ? 0 : -1;
    };
    CHECK_YIELDS(aiofile::copy_file(from, directory / "to"), 6U);
    CHECK(content_of(directory / "to") == "cloned");
    const CopyOptions dense{.sparse = false};
    CHECK_YIELDS(aiofile::copy_file(from, directory / "to", dense), 6U);
    CHECK(content_of(directory / "to") == "shared");
    CHECK(plan.clones == 1);

    aiofile::detail::copy_calls.clone = [](int, int) {
      errno = EOPNOTSUPP;
      return -1;
    };
    const CopyOptions forced{.method = CopyMethod::reflink};
    CHECK_YIELDS(error_of(aiofile::copy_file(from, directory / "forced", forced)), EOPNOTSUPP);
    CHECK_FALSE(fs::exists(directory / "forced"));
    CHECK_YIELDS(aiofile::copy_file(from, directory / "forced"), 6U);
    CHECK(content_of(directory / "forced") == "shared");
  });
}

TEST_CASE("copy_file: a reflink of a source that has shrunk is no longer than the source") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const Planned planned;
    const fs::path from = directory.file("from", "shortened later");
    aiofile::detail::copy_calls.clone = [](int to, int) { return ::pwrite(to, "shortened", 9, 0) == 9 ? 0 : -1; };
    CHECK_YIELDS(aiofile::copy_file(from, directory / "to"), 9U);
    CHECK(content_of(directory / "to") == "shortened");
  });
}

TEST_CASE("copy_file: a hole stays a hole, also the last") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    constexpr ::off_t big = ::off_t{10} << 20;
    make_sparse(directory / "middle", big, {0, big / 2, big - 65536});
    make_sparse(directory / "end", big + 1, {65536});
    make_sparse(directory / "all", big, {});
    for (const char* const name : {"middle", "end", "all"}) {
      for (const CopyMethod method : plain_methods) {
        const fs::path to = directory / "to";
        const CopyOptions options{.method = method};
        CHECK_YIELDS(aiofile::copy_file(directory / name, to, options), fs::file_size(directory / name));
        CHECK(segments_of(to) == segments_of(directory / name));
        CHECK((content_of(to) == content_of(directory / name)));
        fs::remove(to);  // ext4 writes at once what replaces a file
      }
    }
  });
}

TEST_CASE("copy_file: many small segments") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = directory / "from";
    const int fd = ::open(from.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    for (::off_t i = 0; i < 300; ++i) CHECK(::pwrite(fd, &i, sizeof i, i * 32768) == sizeof i);
    ::close(fd);
    // On XFS, what a reader has brought into the page cache counts as data.
    for (const CopyMethod method : plain_methods) {
      const CopyOptions options{.method = method};
      co_await aiofile::copy_file(from, directory / "to", options);
      CHECK(segments_of(directory / "to") == segments_of(from));
      fs::rename(directory / "to", directory / std::to_string(static_cast<int>(method)));
    }
    for (const CopyMethod method : plain_methods) {
      CHECK((content_of(directory / std::to_string(static_cast<int>(method))) == content_of(from)));
    }
  });
}

TEST_CASE("copy_file: without sparse, holes become zeros") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const Planned planned;
    make_sparse(directory / "from", 6 << 20, {1 << 20});
    const CopyOptions options{.sparse = false};
    co_await aiofile::copy_file(directory / "from", directory / "to", options);
    CHECK((content_of(directory / "to") == content_of(directory / "from")));
    CHECK(status_of(directory / "to").st_blocks * 512 >= 6 << 20);
  });
}

TEST_CASE("copy_file: files of /proc, which have no size, are read to their end") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const std::uint64_t length = co_await aiofile::copy_file("/proc/version", directory / "version");
    CHECK(content_of(directory / "version") == content_of("/proc/version"));
    CHECK(length == content_of("/proc/version").size());
    const fs::path symbols = "/proc/kallsyms";
    std::string before;
    while (fs::exists(symbols) && before != content_of(symbols)) {  // it changes when a module comes or goes
      before = content_of(symbols);
      co_await aiofile::copy_file(symbols, directory / "long");
    }
    if (!before.empty()) CHECK((content_of(directory / "long") == before));
    if (!before.empty()) CHECK(before.size() > 100'000);
    // It knows SEEK_DATA, and takes it that a file without a size has none.
    co_await aiofile::copy_file("/proc/self/environ", directory / "environment");
    CHECK((content_of(directory / "environment") == content_of("/proc/self/environ")));
    co_await aiofile::copy_file("/sys/devices/system/cpu/online", directory / "short");
    CHECK(content_of(directory / "short") == content_of("/sys/devices/system/cpu/online"));
  });
}

TEST_CASE("copy_file: a 0 of copy_file_range is no end, unless reading says so, too") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const std::string content = long_text(5 * mebi, 4);
    const fs::path from = directory.file("from", content);
    const Planned planned;
    aiofile::detail::copy_calls.copy_file_range = [](int, ::off_t*, int, ::off_t*, std::size_t, unsigned) {
      return ::ssize_t{0};
    };
    const CopyOptions options{.method = CopyMethod::copy_file_range};
    CHECK_YIELDS(aiofile::copy_file(from, directory / "to", options), content.size());
    CHECK((content_of(directory / "to") == content));
  });
}

TEST_CASE("copy_file: replaces a file that is there, and keeps its permissions") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const std::string content = long_text(5 * mebi, 5);
    const fs::path from = directory.file("from", content);
    const fs::path to = directory.file("to", long_text(6 * mebi, 6));
    fs::create_hard_link(to, directory / "other");
    ::chmod(from.c_str(), 0750);
    ::chmod(to.c_str(), 06604);
    co_await aiofile::copy_file(from, to);
    CHECK((content_of(to) == content));
    CHECK(mode_of(to) == 0604);
    CHECK((content_of(directory / "other") == long_text(6 * mebi, 6)));
    CHECK(entries_of(directory.path()) == 3);
  });
}

TEST_CASE("copy_file: a file that is replaced keeps its owner") {
  if (!support::gives_files_away()) return;
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = directory.file("from", "new");
    const fs::path to = directory.file("to", "old");
    REQUIRE(::chown(to.c_str(), 1234, 4321) == 0);
    co_await aiofile::copy_file(from, to);
    CHECK(status_of(to).st_uid == 1234);
    CHECK(status_of(to).st_gid == 4321);
    CHECK(content_of(to) == "new");
  });
}

TEST_CASE("copy_file: through a symbolic link, which stays") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = directory.file("from", "new");
    fs::create_directory(directory / "there");
    const fs::path real = directory.file("there/real", "old");
    fs::create_symlink("there/real", directory / "link");
    fs::create_symlink("there/missing", directory / "dangling");
    co_await aiofile::copy_file(from, directory / "link");
    CHECK(fs::is_symlink(directory / "link"));
    CHECK(content_of(real) == "new");
    CHECK(entries_of(directory / "there") == 1);
    CHECK_YIELDS(error_of(aiofile::copy_file(from, directory / "dangling")), ENOENT);
    co_await aiofile::copy_file(directory / "link", directory / "copy");
    CHECK_FALSE(fs::is_symlink(directory / "copy"));
  });
}

TEST_CASE("copy_file: without overwrite, what exists is EEXIST") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = directory.file("from", "new");
    const fs::path to = directory.file("to", "old");
    for (const bool keep_partial : {false, true}) {
      const CopyOptions options{.overwrite = false, .keep_partial = keep_partial};
      const auto failure = co_await failure_of(aiofile::copy_file(from, to, options));
      REQUIRE(failure);
      CHECK(failure->code().value() == EEXIST);
      CHECK(failure->path1() == to);
      CHECK((content_of(to) == "old"));
      co_await aiofile::copy_file(from, directory / (keep_partial ? "b" : "a"), options);
    }
    CHECK(content_of(directory / "a") + content_of(directory / "b") == "newnew");
  });
}

TEST_CASE("copy_file: a failure leaves what was there before") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = directory.file("from", long_text(18 * mebi));
    const fs::path to = directory.file("to", "old");
    const std::size_t descriptors = outcome::descriptors_of(from);
    for (const int number : {1, 2, 20}) {
      const Planned planned;
      plan.failing_write = number;
      const CopyOptions options{.method = CopyMethod::read_write};
      const auto failure = co_await failure_of(aiofile::copy_file(from, directory / "new", options));
      REQUIRE(failure);
      CHECK(failure->code().value() == ENOSPC);
      CHECK(failure->path1() == directory / "new");
      CHECK(failure->transferred() >= static_cast<std::uint64_t>(number - 1) / 8 * 512 * 1024);
      CHECK_FALSE(fs::exists(directory / "new"));
      plan.writes = 0;
      CHECK_YIELDS(error_of(aiofile::copy_file(from, to, options)), ENOSPC);
      CHECK((content_of(to) == "old"));
      CHECK(entries_of(directory.path()) == 2);
    }
    CHECK(outcome::descriptors_of(from) == descriptors);
  });
}

TEST_CASE("copy_file: failures of the last steps leave nothing, either") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path to = directory.file("to", "old");
    make_sparse(directory / "from", 1 << 20, {0});
    for (const fs::path& target : {to, directory / "new"}) {
      const Planned planned;
      caio::system_calls.ftruncate = [](int, ::off_t) {
        errno = EIO;
        return -1;
      };
      CHECK_YIELDS(error_of(aiofile::copy_file(directory / "from", target)), EIO);
      caio::system_calls.ftruncate = ::ftruncate;
      caio::system_calls.close = [](int fd) {
        ::close(fd);
        errno = EDQUOT;
        return -1;
      };
      const CopyOptions options{.method = CopyMethod::copy_file_range};
      const auto failure = co_await failure_of(aiofile::copy_file(directory / "from", target, options));
      caio::system_calls.close = ::close;
      REQUIRE(failure);
      CHECK(failure->code().value() == EDQUOT);
      CHECK(failure->path1() == target);
    }
    CHECK((content_of(to) == "old"));
    CHECK(entries_of(directory.path()) == 2);
  });
}

TEST_CASE("copy_file: keep_partial writes into the file that is there, and leaves a part of it") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const std::string content = long_text(9 * mebi, 7);
    const fs::path from = directory.file("from", content);
    const fs::path to = directory.file("to", long_text(11 * mebi, 8));
    fs::create_hard_link(to, directory / "other");
    const CopyOptions options{.keep_partial = true, .method = CopyMethod::read_write};
    CHECK_YIELDS(aiofile::copy_file(from, to, options), content.size());
    CHECK((content_of(directory / "other") == content));

    const Planned planned;
    plan.failing_write = 2;
    CHECK_YIELDS(error_of(aiofile::copy_file(from, to, options)), ENOSPC);
    CHECK((content_of(to) == content.substr(0, 512 * 1024)));
    CHECK(status_of(to).st_blocks * 512 <= 2 * static_cast<::off_t>(mebi));
    plan.writes = 0;
    CHECK_YIELDS(error_of(aiofile::copy_file(from, directory / "new", options)), ENOSPC);
    CHECK((content_of(directory / "new") == content.substr(0, 512 * 1024)));
    CHECK(entries_of(directory.path()) == 4);
  });
}

TEST_CASE("copy_file: a file onto itself is EINVAL, by whatever name") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path file = directory.file("file", "text");
    fs::create_hard_link(file, directory / "hard");
    fs::create_symlink("file", directory / "soft");
    for (const char* const name : {"file", "./file", "hard", "soft"}) {
      for (const bool keep_partial : {false, true}) {
        const CopyOptions options{.keep_partial = keep_partial};
        const auto failure = co_await failure_of(aiofile::copy_file(file, directory / name, options));
        REQUIRE(failure);
        CHECK(failure->code().value() == EINVAL);
        CHECK(failure->path1() == file);
        CHECK(failure->path2() == directory / name);
      }
    }
    CHECK(content_of(file) == "text");
    CHECK(entries_of(directory.path()) == 3);
  });
}

TEST_CASE("copy_file: what is no regular file is refused, and nothing waits for it") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path file = directory.file("file", "text");
    fs::create_directory(directory / "directory");
    REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
    fs::create_symlink("loop", directory / "loop");
    const fs::path fresh = directory / "fresh";
    const struct {
      fs::path from;
      fs::path to;
      int error;
      fs::path named;
    } cases[] = {
        {directory / "directory", fresh, EISDIR, directory / "directory"},
        {directory / "fifo", fresh, EINVAL, directory / "fifo"},
        {"/dev/null", fresh, EINVAL, "/dev/null"},
        {directory / "missing", fresh, ENOENT, directory / "missing"},
        {directory / "loop", fresh, ELOOP, directory / "loop"},
        {directory / "file/below", fresh, ENOTDIR, directory / "file/below"},
        {file, directory / "directory", EISDIR, directory / "directory"},
        {file, directory / "missing/file", ENOENT, directory / "missing/file"},
        {file, directory / "file/below", ENOTDIR, directory / "file/below"},
        {file, "/dev/null", EINVAL, "/dev/null"},
        {file, directory / std::string(300, 'x'), ENAMETOOLONG, directory / std::string(300, 'x')},
    };
    for (const auto& each : cases) {
      for (const bool keep_partial : {false, true}) {
        INFO(each.from << " to " << each.to << (keep_partial ? ", keep_partial" : ""));
        const CopyOptions options{.keep_partial = keep_partial};
        const auto failure = co_await failure_of(aiofile::copy_file(each.from, each.to, options));
        REQUIRE(failure);
        CHECK(failure->code().value() == each.error);
        CHECK(failure->path1() == each.named);
        CHECK_FALSE(fs::exists(fresh));
      }
    }
    CHECK_YIELDS(error_of(aiofile::copy_file(file, directory / "fifo")), EINVAL);
    const CopyOptions in_place{.keep_partial = true};
    CHECK_YIELDS(error_of(aiofile::copy_file(file, directory / "fifo", in_place)), ENXIO);
    CHECK(entries_of(directory.path()) == 4);
  });
}

TEST_CASE("copy_file: wrong arguments are refused by the call") {
  CHECK_THROWS_AS(aiofile::copy_file(std::string("a\0b", 3), "c"), std::invalid_argument);
  CHECK_THROWS_AS(aiofile::copy_file("c", std::string("a\0b", 3)), std::invalid_argument);
  CHECK_THROWS_AS(aiofile::copy_file("a", "b", {.buffer_size = 0}), std::invalid_argument);
  CHECK_THROWS_AS(aiofile::copy_file("a", "b", {.buffer_size = (std::size_t{1} << 30) + 1}), std::invalid_argument);
}

TEST_CASE("copy_file: permissions are the source's less the umask, or all of them") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = directory.file("from", "text");
    ::chmod(from.c_str(), 06775);
    const ::mode_t umask = ::umask(027);
    co_await aiofile::copy_file(from, directory / "plain");
    const CopyOptions options{.preserve_permissions = true};
    co_await aiofile::copy_file(from, directory / "preserved", options);
    fs::copy_file(from, directory / "there");
    ::chmod((directory / "there").c_str(), 0600);
    co_await aiofile::copy_file(from, directory / "there", options);
    ::umask(umask);
    CHECK(mode_of(directory / "plain") == 0750);
    CHECK(mode_of(directory / "preserved") == 06775);
    CHECK(mode_of(directory / "there") == 06775);
    if (support::gives_files_away()) {
      REQUIRE(::chown(from.c_str(), 1234, 4321) == 0);
      ::chmod(from.c_str(), 06775);
      co_await aiofile::copy_file(from, directory / "of another", options);
      CHECK(mode_of(directory / "of another") == 0775);
    }
  });
}

TEST_CASE("copy_file: times are kept on request") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = directory.file("from", long_text(5 * mebi));
    const ::timespec times[2] = {{.tv_sec = 1'000'000'000, .tv_nsec = 123'456'789}, {.tv_sec = 999, .tv_nsec = 7}};
    for (const bool keep_partial : {false, true}) {
      REQUIRE(::utimensat(AT_FDCWD, from.c_str(), times, 0) == 0);
      const CopyOptions options{.keep_partial = keep_partial, .preserve_times = true};
      co_await aiofile::copy_file(from, directory / "to", options);
      const struct ::stat status = status_of(directory / "to");
      CHECK(status.st_atim.tv_sec == 1'000'000'000);
      CHECK(status.st_atim.tv_nsec == 123'456'789);
      CHECK(status.st_mtim.tv_sec == 999);
      CHECK(status.st_mtim.tv_nsec == 7);
    }
    co_await aiofile::copy_file(from, directory / "to");
    CHECK(status_of(directory / "to").st_mtim.tv_sec > 999);
  });
}

TEST_CASE("copy_file: progress grows up to the whole") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const Planned planned;
    make_sparse(directory / "sparse", 10 << 20, {0, 5 << 20});
    for (const std::size_t size : {std::size_t{0}, std::size_t{10}, 18 * mebi, 10 * mebi}) {
      const fs::path from = size == 10 * mebi ? directory / "sparse" : directory.file("from", long_text(size));
      for (const CopyMethod method : plain_methods) {
        std::vector<std::uint64_t> seen;
        auto progress = [&](std::uint64_t done, std::uint64_t total) {
          CHECK(total == size);
          seen.push_back(done);
        };
        const CopyOptions options{.method = method, .progress = progress};
        co_await aiofile::copy_file(from, directory / "to", options);
        REQUIRE_FALSE(seen.empty());
        CHECK(std::is_sorted(seen.begin(), seen.end()));
        CHECK(seen.back() == size);
        CHECK(seen.size() >= (size == 18 * mebi ? 4 : 1));
      }
    }
  });
}

TEST_CASE("copy_file: what progress throws ends it") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const Planned planned;
    const fs::path from = directory.file("from", long_text(18 * mebi));
    int calls = 0;
    auto progress = [&calls](std::uint64_t, std::uint64_t) {
      if (++calls == 2) throw std::out_of_range("enough");
    };
    bool caught = false;
    try {
      const CopyOptions options{.progress = progress};
      co_await aiofile::copy_file(from, directory / "to", options);
    } catch (const std::out_of_range&) {
      caught = true;
    }
    CHECK(caught);
    CHECK(entries_of(directory.path()) == 1);
  });
}

TEST_CASE("copy_file: a source that shrinks gives a shorter copy, with nothing reserved") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const Planned planned;
    const std::string content = long_text(18 * mebi, 9);
    for (const CopyMethod method : plain_methods) {
      const fs::path from = directory.file("from", content);
      auto progress = [&](std::uint64_t, std::uint64_t) { ::truncate(from.c_str(), 1000); };
      const CopyOptions options{.method = method, .progress = progress};
      const std::uint64_t length = co_await aiofile::copy_file(from, directory / "to", options);
      CHECK(length == fs::file_size(directory / "to"));
      CHECK(length >= 4 * mebi);
      CHECK(length < 18 * mebi);
      CHECK((content_of(directory / "to") == content.substr(0, length)));
      CHECK(static_cast<std::uint64_t>(status_of(directory / "to").st_blocks) * 512 <= length + 65536);
    }
  });
}

TEST_CASE("copy_file: a source that grows is copied to its end") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const Planned planned;
    const std::string content = long_text(14 * mebi, 10);
    for (const bool sparse : {true, false}) {
      for (const CopyMethod method : plain_methods) {
        const fs::path from = directory.file("from", content.substr(0, 9 * mebi));
        bool grown = false;
        auto progress = [&](std::uint64_t, std::uint64_t) {
          if (!std::exchange(grown, true)) std::ofstream(from, std::ios::app) << content.substr(9 * mebi);
        };
        const CopyOptions options{.sparse = sparse, .method = method, .progress = progress};
        CHECK_YIELDS(aiofile::copy_file(from, directory / "to", options), 14 * mebi);
        CHECK((content_of(directory / "to") == content));
      }
    }
  });
}

TEST_CASE("copy_file: what is appended while it looks for the end is no hole") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const std::string content = long_text(100'000, 12);
    static fs::path from;
    from = directory.file("from", content);
    static int left;
    left = 2;  // the first call is for the size
    const Planned planned;
    const support::ReplacedCalls calls;
    calls->fstat = [](int fd, struct ::stat* status) {
      const int result = ::fstat(fd, status);
      struct ::stat named {};
      if (result == 0 && ::stat(from.c_str(), &named) == 0 && named.st_ino == status->st_ino && --left == 0) {
        std::ofstream(from, std::ios::app) << "appended";
        return ::fstat(fd, status);
      }
      return result;
    };
    const std::uint64_t length = co_await aiofile::copy_file(from, directory / "to");
    CHECK(left <= 0);
    CHECK((content_of(directory / "to") == (content + "appended").substr(0, length)));
    CHECK(length >= content.size());
  });
}

TEST_CASE("copy_file: the end that one thread finds is the end, though the file has grown since") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    static fs::path from;
    from = directory.file("from", long_text(18 * mebi, 11));
    const Planned planned;
    static constexpr ::off_t end = 8 * mebi;
    static std::atomic<bool> found;
    found = false;
    // At 8 MiB the file ends when it is read there; before what lies behind is read, it is long again.
    plan.at_read = [](int fd, ::off_t offset) {
      if (offset == end && !found) {
        char byte;
        if (::truncate(from.c_str(), end) != 0 || ::pread(fd, &byte, 1, offset) != 0) std::abort();
      }
      if (offset > end) found.wait(false);
    };
    plan.after_read = [](int, ::off_t offset, ::ssize_t count) {
      if (offset != end || found) return;
      if (count != 0 || ::truncate(from.c_str(), 18 * static_cast<::off_t>(mebi)) != 0) std::abort();
      found = true;
      found.notify_all();
    };
    const CopyOptions options{.method = CopyMethod::read_write};
    CHECK_YIELDS(aiofile::copy_file(from, directory / "to", options), static_cast<std::uint64_t>(end));
    CHECK((content_of(directory / "to") == long_text(end, 11)));
  });
}

TEST_CASE("copy_file: a stop ends it and leaves nothing") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const Planned planned;
    const fs::path from = directory.file("from", long_text(17 * mebi));
    const fs::path to = directory.file("to", "old");
    for (const int stop_at : {0, 1, 2, 4}) {
      for (const fs::path& target : {to, directory / "new"}) {
        std::stop_source source;
        if (stop_at == 0) source.request_stop();
        int calls = 0;
        auto progress = [&](std::uint64_t, std::uint64_t) {
          if (++calls == stop_at) source.request_stop();
        };
        const CopyOptions options{.progress = progress};
        const auto failure =
            co_await failure_of(caio::with_stop(source.get_token(), aiofile::copy_file(from, target, options)));
        REQUIRE(failure);
        CHECK(failure->code().value() == ECANCELED);
        CHECK((content_of(to) == "old"));
        CHECK(entries_of(directory.path()) == 2);
      }
    }
    CHECK(outcome::descriptors_of(from) == 0);
  });
}

TEST_CASE("copy_file: destroyed at any moment, it leaves nothing") {
  support::on_every_backend([](Context& context) -> Task<> {
    const support::TemporaryDirectory directory;
    const std::string content = long_text(10 * mebi);
    const fs::path from = directory.file("from", content);
    const fs::path to = directory.file("to", "old");
    const fs::path fresh = directory / "new";
    for (int turns = 0; turns < 40; turns += 1 + turns / 4) {
      int error = -1;
      const fs::path& target = turns % 2 == 0 ? to : fresh;
      {
        caio::TaskGroup group;
        group.spawn(outcome::store_error(aiofile::copy_file(from, target), error));
        for (int i = 0; i < turns && error < 0; ++i) co_await context.schedule();
      }
      // Its last step may be done, and nobody was told.
      if (error == 0 || content_of(target) == content) break;
      CHECK(error == -1);
      CHECK((content_of(to) == "old"));
      CHECK(entries_of(directory.path()) == 2);
      CHECK(outcome::descriptors_of(from) == 0);
    }
  });
}

TEST_CASE("copy_file: what somebody else has put in the place of a half copy stays") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const Planned planned;
    const fs::path from = directory.file("from", long_text(18 * mebi));
    auto progress = [&](std::uint64_t, std::uint64_t) {
      directory.file("theirs", "theirs");
      fs::rename(directory / "theirs", directory / "to");
      throw std::out_of_range("enough");
    };
    try {
      const CopyOptions options{.progress = progress};
      co_await aiofile::copy_file(from, directory / "to", options);
    } catch (const std::out_of_range&) {
    }
    CHECK(content_of(directory / "to") == "theirs");
  });
}

TEST_CASE("copy_file: many at once") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const std::string content = long_text(5 * mebi, 12);
    const fs::path from = directory.file("from", content);
    std::vector<std::string> names;
    for (int i = 0; i < 8; ++i) names.push_back(std::to_string(i));
    co_await caio::gather(names, [&](const std::string& name) { return aiofile::copy_file(from, directory / name); });
    for (const std::string& name : names) CHECK((content_of(directory / name) == content));
  });
}
