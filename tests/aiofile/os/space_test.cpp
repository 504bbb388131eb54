#include <aiofile/os/space.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <aiofile/file.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "aiofile/outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/pipe.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

namespace os = aiofile::os;
using aiofile::AIOFile;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::failure_of;
using outcome::pattern;
using support::content_of;
using support::TemporaryDirectory;

namespace {

constexpr std::uint64_t mebi = 1024 * 1024;

std::uint64_t allocated(const std::filesystem::path& path) {
  struct ::stat status {};
  ::stat(path.c_str(), &status);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

bool lives_in_page_cache(const std::filesystem::path& path) {
  struct ::statfs status {};
  ::statfs(path.c_str(), &status);
  return status.f_type == 0x01021994;  // TMPFS_MAGIC
}

/// How much of these bytes of a file the page cache has: its eighths, rounded. For the kernel, advice is a hint: some
/// pages of a range may stay, and others may go, when memory is short.
std::size_t eighths_cached(int fd, std::size_t offset, std::size_t size) {
  void* const memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, static_cast<::off_t>(offset));
  std::vector<unsigned char> pages(size / 4096);
  ::mincore(memory, size, pages.data());
  ::munmap(memory, size);
  std::size_t count = 0;
  for (const unsigned char page : pages) count += page & 1U;
  return (count * 8 + pages.size() / 2) / pages.size();
}

}  // namespace

TEST_CASE("truncate: by path") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto file = directory.file("file", "12345");
    co_await os::truncate(file, 3);
    CHECK(content_of(file) == "123");
    co_await os::truncate(file, 5);
    CHECK(content_of(file) == std::string("123\0\0", 5));
    CHECK_YIELDS(error_of(os::truncate(directory / "nothing", 0)), ENOENT);
    CHECK_YIELDS(error_of(os::truncate(directory.path(), 0)), EISDIR);
  });
  CHECK_THROWS_AS(os::truncate("file", std::numeric_limits<std::uint64_t>::max()), std::invalid_argument);
}

TEST_CASE("allocate: space, and length unless it is to be kept") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "12345");
    AIOFile file = co_await AIOFile(path, "r+");
    co_await os::allocate(file, 0, 5 * mebi + 1, true);
    CHECK(std::filesystem::file_size(path) == 5);
    CHECK(allocated(path) >= 5 * mebi + 1);
    co_await os::allocate(file, 2 * mebi, 7 * mebi + 3);
    CHECK(std::filesystem::file_size(path) == 9 * mebi + 3);
    CHECK(allocated(path) >= 9 * mebi);
    CHECK(content_of(path) == "12345" + std::string(9 * mebi - 2, '\0'));
    const support::Fd plain(path, O_RDWR);
    co_await os::allocate(plain.get(), 0, 10 * mebi);
    CHECK(std::filesystem::file_size(path) == 10 * mebi);
    co_await os::allocate(file, 20 * mebi, 0);
    CHECK(std::filesystem::file_size(path) == 10 * mebi);
  });
}

TEST_CASE("punch_hole: gives space back, and reads as zeros") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(9 * mebi + 5);
    const auto path = directory.file("file", content);
    AIOFile file = co_await AIOFile(path, "r+b");
    co_await file.fsync();
    const std::uint64_t before = allocated(path);
    co_await os::punch_hole(file, 1000, 8 * mebi + 7);
    std::string wanted = content;
    wanted.replace(1000, 8 * mebi + 7, 8 * mebi + 7, '\0');
    CHECK(content_of(path) == wanted);
    CHECK(allocated(path) + 8 * mebi - 65536 <= before);
    co_await os::punch_hole(file, 9 * mebi, 100 * mebi);  // beyond the end
    CHECK(std::filesystem::file_size(path) == content.size());
    wanted.replace(9 * mebi, 5, 5, '\0');
    CHECK(content_of(path) == wanted);
  });
}

TEST_CASE("allocate, punch_hole: errors") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile reads = co_await AIOFile(directory.file("file", "text"));
    const auto error = co_await failure_of(os::allocate(reads, 0, 10));
    REQUIRE(error);
    CHECK(error->code().value() == EBADF);
    CHECK(error->path1() == reads.name());
    CHECK_YIELDS(error_of(os::punch_hole(reads, 0, 10)), EBADF);
    CHECK_YIELDS(error_of(os::allocate(reads.fileno(), 0, 10)), EBADF);
    const support::Pipe pipe;
    CHECK_YIELDS(error_of(os::allocate(pipe.writer.get(), 0, 10)), ESPIPE);
    CHECK_YIELDS(error_of(os::punch_hole(pipe.writer.get(), 0, 10)), ESPIPE);
    const support::Fd null("/dev/null", O_RDWR);
    CHECK_YIELDS(error_of(os::allocate(null.get(), 0, 10)), ENODEV);
    const std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    CHECK_THROWS_AS(os::allocate(reads, most + 1, 0), std::invalid_argument);
    CHECK_THROWS_AS(os::allocate(reads, 0, most + 1), std::invalid_argument);
    CHECK_THROWS_AS(os::punch_hole(reads, most, 1), std::invalid_argument);
    CHECK_THROWS_AS(os::advise(reads, most + 1, 0, os::Advice::normal), std::invalid_argument);
  });
}

TEST_CASE("allocate: a part may be done when it fails") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  CHECK(support::answer_in_child([&] {
          const ::rlimit limit{3 * mebi, 3 * mebi};
          ::setrlimit(RLIMIT_FSIZE, &limit);
          ::signal(SIGXFSZ, SIG_IGN);
          Context context(caio::Implementation::thread);
          return std::to_string(context.run([](std::filesystem::path name) -> Task<int> {
            AIOFile file = co_await AIOFile(name, "w");
            const auto error = co_await failure_of(os::allocate(file, 0, 100 * mebi));
            if (!error) co_return 0;
            co_return error->transferred() == std::filesystem::file_size(name) ? error->code().value() : -1;
          }(path)));
        }) == std::to_string(EFBIG));
}

TEST_CASE("advise: drops from the page cache, and brings all of it back") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    if (lives_in_page_cache(directory.path())) co_return;
    const std::size_t size = 24 * mebi;  // more than the kernel reads for one call
    AIOFile file = co_await AIOFile(directory.file("file", std::string(size, 'x')), "r+");
    co_await file.fsync();
    const support::Fd fd(file.name(), O_RDONLY);
    std::size_t found = 0;
    for (int round = 0; round < 20 && found < 6; ++round) {
      co_await os::advise(file, 0, 0, os::Advice::dont_need);
      CHECK(eighths_cached(fd.get(), 0, size) == 0);
      co_await os::advise(file, 0, 20 * mebi, os::Advice::will_need);
      co_await file.read_bytes(-1, 19 * mebi);  // what is on its way arrives in order, more or less
      found = eighths_cached(fd.get(), 0, 20 * mebi);
    }
    CHECK(found >= 6);
    co_await os::advise(file.fileno(), 4 * mebi, 2 * mebi, os::Advice::dont_need);
    CHECK(eighths_cached(fd.get(), 4 * mebi, 2 * mebi) == 0);
    CHECK(eighths_cached(fd.get(), 6 * mebi, 14 * mebi) > 0);
    co_await os::advise(file, 6 * mebi, 0, os::Advice::dont_need);
    CHECK(eighths_cached(fd.get(), 6 * mebi, 18 * mebi) == 0);
    CHECK(eighths_cached(fd.get(), 0, 4 * mebi) > 0);
  });
}

TEST_CASE("advise: the other words, and what is no file") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"));
    for (const os::Advice advice : {os::Advice::normal, os::Advice::sequential, os::Advice::random,
                                    os::Advice::no_reuse, os::Advice::will_need, os::Advice::dont_need}) {
      CHECK_YIELDS(error_of(os::advise(file, 0, 0, advice)), 0);
      CHECK_YIELDS(error_of(os::advise(file, 1, 2, advice)), 0);
      CHECK_YIELDS(error_of(os::advise(file, 1000, 0, advice)), 0);
    }
    CHECK_YIELDS(error_of(os::advise(file, 0, 0, static_cast<os::Advice>(99))), EINVAL);
    const support::Pipe pipe;
    CHECK_YIELDS(error_of(os::advise(pipe.reader.get(), 0, 0, os::Advice::will_need)), ESPIPE);
    const support::Fd null("/dev/null", O_RDWR);
    CHECK_YIELDS(error_of(os::advise(null.get(), 0, 0, os::Advice::dont_need)), 0);
    co_await file.close();
    CHECK_YIELDS(error_of(os::advise(file, 0, 0, os::Advice::normal)), EBADF);
  });
}
