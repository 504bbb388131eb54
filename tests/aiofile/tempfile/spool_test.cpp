#include <aiofile/tempfile/spool.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/stream.hpp>
#include <aiofile/tempfile/options.hpp>
#include <aiofile/tempfile/place.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::FileStream;
using aiofile::detail::open_memory;
using aiofile::detail::Place;
using aiofile::detail::Rollover;
using aiofile::detail::Spool;
using aiofile::detail::TemporaryRequest;
using caio::Context;
using caio::Task;
using caio::detail::UniqueFd;
using outcome::error_of;
using support::ReplacedCalls;

namespace {

constexpr unsigned not_executable = 0x0008;  // MFD_NOEXEC_SEAL
constexpr int exec_seal = 0x0020;            // F_SEAL_EXEC

/// What memfd_create was asked for.
std::vector<unsigned> asked;

int refuse(const char*, unsigned flags, int error) {
  asked.push_back(flags);
  errno = error;
  return -1;
}

bool kernel_knows_no_exec() { return UniqueFd(::memfd_create("probe", MFD_CLOEXEC | not_executable)).get() >= 0; }

struct ::stat status_of(int fd) {
  struct ::stat status {};
  REQUIRE(::fstat(fd, &status) == 0);
  return status;
}

std::string name_of(int fd) { return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)); }

std::string all_of(int fd) {
  std::string text(static_cast<std::size_t>(status_of(fd).st_size), '\0');
  REQUIRE(::pread(fd, text.data(), text.size(), 0) == static_cast<::ssize_t>(text.size()));
  return text;
}

/// A stream in memory, as SpooledTemporaryFile() makes it.
FileStream stream_in_memory(const TemporaryRequest& request) {
  UniqueFd fd = open_memory(request.flags);
  REQUIRE(fd);
  const caio::Descriptor descriptor = caio::Descriptor::memory(fd.get(), request.flags);
  return request.stream(request.engine(), std::move(fd), descriptor);
}

}  // namespace

TEST_CASE("open_memory: an empty file in memory, to read and write, that no program inherits") {
  const UniqueFd fd = open_memory(O_RDWR);
  REQUIRE(fd);
  CHECK(name_of(fd.get()) == "/memfd:aiofile (deleted)");
  CHECK(status_of(fd.get()).st_size == 0);
  CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  const int flags = ::fcntl(fd.get(), F_GETFL);
  CHECK((flags & O_ACCMODE) == O_RDWR);
  CHECK((flags & O_APPEND) == 0);
  REQUIRE(::pwrite(fd.get(), "one", 3, 0) == 3);
  REQUIRE(::pwrite(fd.get(), "two", 3, 0) == 3);
  CHECK(all_of(fd.get()) == "two");
}

TEST_CASE("open_memory: with O_APPEND writes go to the end") {
  const UniqueFd fd = open_memory(O_RDWR | O_APPEND);
  REQUIRE(fd);
  const int flags = ::fcntl(fd.get(), F_GETFL);
  CHECK((flags & O_ACCMODE) == O_RDWR);
  CHECK((flags & O_APPEND) != 0);
  REQUIRE(::pwrite(fd.get(), "one", 3, 0) == 3);
  REQUIRE(::pwrite(fd.get(), "two", 3, 0) == 3);
  CHECK(all_of(fd.get()) == "onetwo");
}

TEST_CASE("open_memory: nobody can make it a program, where the kernel knows how to prevent that") {
  if (!kernel_knows_no_exec()) {
    WARN("this kernel is older than Linux 6.3");
    return;
  }
  const UniqueFd fd = open_memory(O_RDWR);
  REQUIRE(fd);
  CHECK((status_of(fd.get()).st_mode & 0111) == 0);
  CHECK((::fcntl(fd.get(), F_GET_SEALS) & exec_seal) != 0);
  CHECK(::fchmod(fd.get(), 0700) != 0);
}

TEST_CASE("open_memory: a kernel that does not know the flag is asked again without it") {
  for (const int flags : {O_RDWR, O_RDWR | O_APPEND}) {
    asked.clear();
    ReplacedCalls calls;
    calls->memfd_create = [](const char* name, unsigned wanted) {
      if ((wanted & not_executable) != 0) return refuse(name, wanted, EINVAL);
      asked.push_back(wanted);
      return ::memfd_create(name, wanted);
    };
    const UniqueFd fd = open_memory(flags);
    REQUIRE(fd);
    CHECK(asked == std::vector<unsigned>{MFD_CLOEXEC | not_executable, MFD_CLOEXEC});
    CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(fd.get(), F_GETFL) & O_APPEND) == (flags & O_APPEND));
  }
}

TEST_CASE("open_memory: -1 where there is none, and no second try after any other error") {
  ReplacedCalls calls;
  asked.clear();
  calls->memfd_create = [](const char* name, unsigned flags) { return refuse(name, flags, EINVAL); };
  CHECK(open_memory(O_RDWR).get() == -1);
  CHECK(asked.size() == 2);
  asked.clear();
  calls->memfd_create = [](const char* name, unsigned flags) { return refuse(name, flags, ENOSYS); };
  CHECK(open_memory(O_RDWR | O_APPEND).get() == -1);
  CHECK(asked == std::vector<unsigned>{MFD_CLOEXEC | not_executable});
}

TEST_CASE("Spool: outgrown by more than max_size bytes, not by as many") {
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  const Place place("", "", "");
  const Spool spool(place, O_RDWR, 10, false);
  CHECK_FALSE(spool.rolled());
  CHECK_FALSE(spool.outgrown(0));
  CHECK_FALSE(spool.outgrown(10));
  CHECK(spool.outgrown(11));
  CHECK(spool.outgrown(most));
  CHECK_FALSE(Spool(place, O_RDWR, most, false).outgrown(most));
  CHECK(Spool(place, O_RDWR, most - 1, false).outgrown(most));
}

TEST_CASE("Spool: without a max_size, or on disk, nothing outgrows it") {
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  const Place place("", "", "");
  const Spool unlimited(place, O_RDWR, 0, false);
  CHECK_FALSE(unlimited.rolled());
  CHECK_FALSE(unlimited.outgrown(1));
  CHECK_FALSE(unlimited.outgrown(most));
  const Spool on_disk(place, O_RDWR, 10, true);
  CHECK(on_disk.rolled());
  CHECK_FALSE(on_disk.outgrown(11));
  CHECK_FALSE(on_disk.outgrown(most));
}

TEST_CASE("Rollover: content, holes, flags and the descriptor's number stay, the memory goes") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    for (const char* const mode : {"w+b", "a+b"}) {
      const TemporaryRequest request(mode, {.dir = directory.path().native()});
      FileStream stream = stream_in_memory(request);
      const int fd = stream.fileno();
      constexpr ::off_t hole = 1 << 20;
      REQUIRE(::pwrite(fd, "begin", 5, 0) == 5);
      REQUIRE(::ftruncate(fd, hole) == 0);
      if ((request.flags & O_APPEND) == 0) REQUIRE(::pwrite(fd, "end", 3, hole) == 3);
      if ((request.flags & O_APPEND) != 0) REQUIRE(::write(fd, "end", 3) == 3);
      REQUIRE(::ftruncate(fd, 2 * hole) == 0);
      const std::string before = all_of(fd);
      const std::size_t memories = outcome::descriptors_of("/memfd:aiofile (deleted)");
      const auto spool = std::make_shared<Spool>(request.place, request.flags, 10, false);
      co_await Rollover(spool, aiofile::detail::cursor_of(stream));
      CHECK(spool->rolled());
      CHECK(stream.fileno() == fd);
      CHECK(std::filesystem::path(name_of(fd)).parent_path() == directory.path());
      CHECK(outcome::descriptors_of("/memfd:aiofile (deleted)") == memories - 1);
      CHECK(all_of(fd) == before);
      CHECK(status_of(fd).st_blocks * 512 < hole);
      CHECK((::fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND)) == request.flags);
      CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
      CHECK(std::filesystem::is_empty(directory.path()));
      // Once is enough.
      const auto inode = status_of(fd).st_ino;
      co_await Rollover(spool, aiofile::detail::cursor_of(stream));
      CHECK(status_of(fd).st_ino == inode);
      co_await stream.close();
    }
  });
}

TEST_CASE("Rollover: without a descriptor to spare it fails, and all is as it was") {
  const support::TemporaryDirectory directory;
  const std::string answer = support::answer_in_child([&directory]() -> std::string {
    Context context(caio::Implementation::blocking);
    std::string text;
    const auto work = [](const std::filesystem::path& where, std::string& told) -> Task<> {
      const TemporaryRequest request("w+b", {.dir = where.native()});
      FileStream stream = stream_in_memory(request);
      co_await stream.write("content");
      const auto spool = std::make_shared<Spool>(request.place, request.flags, 0, false);
      // One is left: for the file on disk, but not for what the memory is held by meanwhile.
      const ::rlimit limit{100, 100};
      ::setrlimit(RLIMIT_NOFILE, &limit);
      int last = -1;
      for (int fd = 0; fd >= 0; fd = ::dup(STDERR_FILENO)) last = fd;
      ::close(last);
      const int error = co_await error_of(Rollover(spool, aiofile::detail::cursor_of(stream)));
      const bool in_memory = name_of(stream.fileno()).starts_with("/memfd:");
      stream.seek(0);
      told = "error " + std::to_string(error) + (spool->rolled() ? ", rolled " : ", not rolled ") +
             (in_memory ? "in memory " : "on disk ");
      told += co_await stream.read();
      // Nothing was kept open: there is room for one.
      const UniqueFd spare(::dup(STDERR_FILENO));
      told += spare ? ", one free" : ", none free";
    };
    context.run(work(directory.path(), text));
    return text;
  });
  CHECK(answer == "error " + std::to_string(EMFILE) + ", not rolled in memory content, one free");
}
