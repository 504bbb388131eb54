#include <caio/descriptor.hpp>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <caio/detail/unique_fd.hpp>
#include <filesystem>

#include "support/catch.hpp"
#include "support/temporary.hpp"

using caio::Descriptor;
using caio::detail::UniqueFd;
using Kind = caio::Descriptor::Kind;

namespace {

UniqueFd open_file(const std::filesystem::path& path, int flags) {
  return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
}

}  // namespace

TEST_CASE("Descriptor: a regular file") {
  const support::TemporaryDirectory directory;
  const UniqueFd file = open_file(directory.file("plain", "abc"), O_RDWR);
  const Descriptor descriptor(file.get());
  CHECK(descriptor.fileno() == file.get());
  CHECK(descriptor.size_at_first() == 3);
  CHECK(descriptor.kind() == Kind::regular);
  CHECK(descriptor.takes_nowait());
  CHECK_FALSE(descriptor.is_directory());
  CHECK_FALSE(descriptor.is_fifo());
  CHECK_FALSE(descriptor.direct());
  CHECK_FALSE(descriptor.append());
  CHECK_FALSE(descriptor.synchronous());
}

TEST_CASE("Descriptor: a directory") {
  const support::TemporaryDirectory directory;
  const UniqueFd opened = open_file(directory.path(), O_RDONLY | O_DIRECTORY);
  const Descriptor descriptor(opened.get());
  CHECK(descriptor.kind() == Kind::regular);
  CHECK(descriptor.is_directory());
  CHECK_FALSE(descriptor.takes_nowait());
}

TEST_CASE("Descriptor: a pipe") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  for (const int end : ends) {
    const UniqueFd owner(end);
    const Descriptor descriptor(end);
    CHECK(descriptor.kind() == Kind::stream);
    CHECK(descriptor.is_fifo());
    CHECK(descriptor.takes_nowait());
    CHECK(descriptor.size_at_first() == -1);
  }
}

TEST_CASE("Descriptor: a FIFO") {
  const support::TemporaryDirectory directory;
  const auto path = directory / "fifo";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  const UniqueFd fifo = open_file(path, O_RDONLY | O_NONBLOCK);
  const Descriptor descriptor(fifo.get());
  CHECK(descriptor.kind() == Kind::stream);
  CHECK(descriptor.is_fifo());
}

TEST_CASE("Descriptor: sockets and character devices are streams, and no FIFOs") {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const UniqueFd first(ends[0]);
  const UniqueFd second(ends[1]);
  CHECK(Descriptor(first.get()).kind() == Kind::stream);
  CHECK_FALSE(Descriptor(first.get()).is_fifo());
  const UniqueFd null = open_file("/dev/null", O_RDWR);
  CHECK(Descriptor(null.get()).kind() == Kind::stream);
  CHECK_FALSE(Descriptor(null.get()).is_fifo());
}

TEST_CASE("Descriptor: both ends of a terminal are streams") {
  const UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master || ::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0) {
    WARN("no pseudo terminals here");
    return;
  }
  const UniqueFd slave = open_file(::ptsname(master.get()), O_RDWR | O_NOCTTY);
  REQUIRE(slave);
  REQUIRE(::isatty(slave.get()) == 1);
  CHECK(Descriptor(master.get()).kind() == Kind::stream);
  CHECK(Descriptor(slave.get()).kind() == Kind::stream);
  CHECK_FALSE(Descriptor(slave.get()).is_fifo());
}

TEST_CASE("Descriptor: finds O_DIRECT, on which NOWAIT is not tried") {
  const support::TemporaryDirectory directory;
  const auto path = directory.file("direct", "");
  CHECK(Descriptor(open_file(path, O_RDONLY).get(), O_RDONLY | O_DIRECT).direct());
  const UniqueFd file = open_file(path, O_RDONLY | O_DIRECT);
  if (!file) {
    WARN("no O_DIRECT on this file system");
    return;
  }
  const Descriptor descriptor(file.get());
  CHECK(descriptor.kind() == Kind::regular);
  CHECK(descriptor.direct());
  CHECK_FALSE(descriptor.takes_nowait());
  CHECK_FALSE(descriptor.append());
}

TEST_CASE("Descriptor: finds O_APPEND") {
  const support::TemporaryDirectory directory;
  const UniqueFd file = open_file(directory.file("log", ""), O_WRONLY | O_APPEND);
  const Descriptor descriptor(file.get());
  CHECK(descriptor.append());
  CHECK_FALSE(descriptor.direct());
  CHECK_FALSE(descriptor.synchronous());
}

TEST_CASE("Descriptor: finds O_SYNC and O_DSYNC") {
  const support::TemporaryDirectory directory;
  const auto path = directory.file("safe", "");
  for (const int flag : {O_SYNC, O_DSYNC}) {
    const UniqueFd file = open_file(path, O_WRONLY | flag);
    CHECK(Descriptor(file.get()).synchronous());
    CHECK_FALSE(Descriptor(file.get()).append());
  }
}

TEST_CASE("Descriptor: given flags are believed") {
  const support::TemporaryDirectory directory;
  const UniqueFd file = open_file(directory.file("plain", ""), O_RDONLY);
  const Descriptor descriptor(file.get(), O_WRONLY | O_APPEND | O_DSYNC);
  CHECK(descriptor.append());
  CHECK(descriptor.synchronous());
  CHECK(descriptor.takes_nowait());
}

TEST_CASE("Descriptor: a bad number is kept for the operation to fail on") {
  for (const int number : {-1, 1'000'000}) {
    const Descriptor descriptor(number);
    CHECK(descriptor.fileno() == number);
    CHECK(descriptor.kind() == Kind::regular);
    CHECK_FALSE(descriptor.takes_nowait());
    CHECK_FALSE(descriptor.append());
    CHECK_FALSE(descriptor.direct());
  }
  CHECK(Descriptor().fileno() == -1);
}

TEST_CASE("Descriptor: a foreign number is not looked at") {
  const Descriptor descriptor = Descriptor::foreign(0);
  CHECK(descriptor.fileno() == 0);
  CHECK(descriptor.kind() == Kind::foreign);
  CHECK_FALSE(descriptor.takes_nowait());
}

TEST_CASE("Descriptor: memory is known as such, where tmpfs refuses RWF_NOWAIT, too") {
  const UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
  CHECK_FALSE(Descriptor(file.get()).is_memory());
  const Descriptor memory = Descriptor::memory(file.get());
  CHECK(memory.is_memory());
  CHECK(memory.takes_nowait());
  CHECK(memory.fileno() == file.get());
  CHECK(memory.kind() == Kind::regular);
  CHECK_FALSE(memory.append());
}

TEST_CASE("Descriptor: a copy has what was found out so far, and its own future") {
  const support::TemporaryDirectory directory;
  const UniqueFd file = open_file(directory.file("plain", ""), O_RDWR | O_APPEND);
  const Descriptor first(file.get());
  const Descriptor before = first;
  first.refuses_nowait();
  const Descriptor after = first;
  CHECK(before.takes_nowait());
  CHECK_FALSE(first.takes_nowait());
  CHECK_FALSE(after.takes_nowait());
  CHECK(after.append());
  Descriptor assigned;
  assigned = after;
  CHECK(assigned.fileno() == file.get());
  CHECK(assigned.append());
  CHECK_FALSE(assigned.takes_nowait());
}
