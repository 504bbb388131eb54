#include <caio/execute.hpp>

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <caio/detail/unique_fd.hpp>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "support/catch.hpp"
#include "support/replaced_calls.hpp"
#include "support/temporary.hpp"

using caio::execute;
using caio::Opcode;
using caio::Request;
using caio::system_calls;
using caio::detail::UniqueFd;
using support::ReplacedCalls;

namespace {

int calls = 0;
std::size_t asked_for = 0;
int interruptions = 0;

Request request_of(Opcode opcode, const UniqueFd& fd) {
  Request request;
  request.opcode = opcode;
  request.descriptor = caio::Descriptor(fd.get());
  return request;
}

std::int64_t transfer(Opcode opcode, const UniqueFd& fd, void* buffer, std::size_t length, std::int64_t offset) {
  Request request = request_of(opcode, fd);
  request.buffer = buffer;
  request.length = length;
  request.offset = offset;
  execute(request);
  return request.result;
}

std::int64_t simple(Opcode opcode, const UniqueFd& fd, std::int64_t offset = -1) {
  Request request = request_of(opcode, fd);
  request.offset = offset;
  execute(request);
  return request.result;
}

struct TestFile {
  explicit TestFile(std::string_view content, int flags = O_RDWR)
      : path(directory.file("file", content)), fd(::open(path.c_str(), flags | O_CLOEXEC)) {
    REQUIRE(fd);
  }
  std::string content() const { return support::content_of(path); }

  support::TemporaryDirectory directory;
  std::filesystem::path path;
  UniqueFd fd;
};

}  // namespace

TEST_CASE("execute: reads at an offset, short at the end of the file, 0 behind it") {
  const TestFile file("abcdef");
  std::array<char, 4> buffer{};
  CHECK(transfer(Opcode::read, file.fd, buffer.data(), 4, 1) == 4);
  CHECK(std::string_view(buffer.data(), 4) == "bcde");
  CHECK(transfer(Opcode::read, file.fd, buffer.data(), 4, 4) == 2);
  CHECK(transfer(Opcode::read, file.fd, buffer.data(), 4, 6) == 0);
  CHECK(transfer(Opcode::read, file.fd, buffer.data(), 0, 0) == 0);
}

TEST_CASE("execute: offset -1 is the descriptor's own position") {
  const TestFile file("abcdef");
  std::array<char, 2> buffer{};
  CHECK(transfer(Opcode::read, file.fd, buffer.data(), 2, -1) == 2);
  CHECK(transfer(Opcode::read, file.fd, buffer.data(), 2, -1) == 2);
  CHECK(std::string_view(buffer.data(), 2) == "cd");
  CHECK(transfer(Opcode::write, file.fd, buffer.data(), 1, -1) == 1);
  CHECK(file.content() == "abcdcf");
}

TEST_CASE("execute: writes at an offset") {
  const TestFile file("abcdef");
  std::array<char, 2> bytes{'X', 'Y'};
  CHECK(transfer(Opcode::write, file.fd, bytes.data(), 2, 3) == 2);
  CHECK(file.content() == "abcXYf");
}

TEST_CASE("execute: an appending write ignores the offset") {
  const TestFile file("abc");
  std::array<char, 2> bytes{'X', 'Y'};
  Request request = request_of(Opcode::write, file.fd);
  request.buffer = bytes.data();
  request.length = bytes.size();
  request.offset = 0;
  request.append = true;
  execute(request);
  CHECK(request.result == 2);
  CHECK(file.content() == "abcXY");
}

TEST_CASE("execute: readv and writev move several buffers") {
  const TestFile file("abcdef");
  std::array<char, 2> first{};
  std::array<char, 3> second{};
  const std::array<::iovec, 2> vectors{::iovec{first.data(), first.size()}, ::iovec{second.data(), second.size()}};
  Request request = request_of(Opcode::readv, file.fd);
  request.vectors = vectors.data();
  request.length = vectors.size();
  request.offset = 1;
  execute(request);
  CHECK(request.result == 5);
  CHECK(std::string_view(first.data(), 2) == "bc");
  CHECK(std::string_view(second.data(), 3) == "def");
  request.opcode = Opcode::writev;
  request.offset = 0;
  execute(request);
  CHECK(request.result == 5);
  CHECK(file.content() == "bcdeff");
  request.opcode = Opcode::readv;
  request.offset = -1;
  second.fill('-');
  execute(request);
  CHECK(std::string_view(second.data(), 3) == "def");
  CHECK(::lseek(file.fd.get(), 0, SEEK_CUR) == 5);
}

TEST_CASE("execute: syncs") {
  const TestFile file("abc");
  CHECK(simple(Opcode::fsync, file.fd) == 0);
  CHECK(simple(Opcode::fdatasync, file.fd) == 0);
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  CHECK(simple(Opcode::fsync, writer) == -EINVAL);
}

TEST_CASE("execute: fsync and fdatasync are different calls") {
  const TestFile file("");
  const ReplacedCalls restore;
  system_calls.fsync = [](int) { return errno = EIO, -1; };
  CHECK(simple(Opcode::fsync, file.fd) == -EIO);
  CHECK(simple(Opcode::fdatasync, file.fd) == 0);
}

TEST_CASE("execute: truncate takes the length, size gives it") {
  const TestFile file("abcdef");
  CHECK(simple(Opcode::size, file.fd) == 6);
  CHECK(simple(Opcode::truncate, file.fd, 2) == 0);
  CHECK(file.content() == "ab");
  CHECK(simple(Opcode::truncate, file.fd, std::int64_t{5} << 30) == 0);
  CHECK(simple(Opcode::size, file.fd) == std::int64_t{5} << 30);
}

TEST_CASE("execute: open gives a descriptor, or the error") {
  const support::TemporaryDirectory directory;
  const std::string path = (directory / "new").string();
  Request request;
  request.opcode = Opcode::open;
  request.path = path.c_str();
  request.open_flags = O_RDWR | O_CLOEXEC;
  execute(request);
  CHECK(request.result == -ENOENT);
  request.open_flags |= O_CREAT | O_EXCL;
  request.open_mode = 0600;
  execute(request);
  REQUIRE(request.result >= 0);
  const UniqueFd file(static_cast<int>(request.result));
  struct ::stat status;
  REQUIRE(::fstat(file.get(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("execute: close closes") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  for (const int end : ends) {
    Request request;
    request.opcode = Opcode::close;
    request.descriptor = caio::Descriptor(end);
    execute(request);
    CHECK(request.result == 0);
    CHECK(::fcntl(end, F_GETFD) == -1);
  }
}

TEST_CASE("execute: an interrupted close is not repeated, and no failure") {
  const TestFile file("");
  const ReplacedCalls restore;
  calls = 0;
  system_calls.close = [](int) { return ++calls, errno = EINTR, -1; };
  CHECK(simple(Opcode::close, file.fd) == 0);
  CHECK(calls == 1);
  system_calls.close = [](int) { return errno = EIO, -1; };
  CHECK(simple(Opcode::close, file.fd) == -EIO);
}

TEST_CASE("execute: call calls") {
  struct Counting : Request {
    int count = 0;
  };
  Counting request;
  request.result = -1;
  request.call = [](Request& self) noexcept { ++static_cast<Counting&>(self).count; };
  execute(request);
  CHECK(request.count == 1);
  CHECK(request.result == 0);
}

TEST_CASE("execute: a bad descriptor is EBADF for each opcode that has one") {
  const UniqueFd none;
  std::array<char, 1> byte{};
  CHECK(transfer(Opcode::read, none, byte.data(), 1, 0) == -EBADF);
  CHECK(transfer(Opcode::read, none, byte.data(), 1, -1) == -EBADF);
  CHECK(transfer(Opcode::write, none, byte.data(), 1, 0) == -EBADF);
  for (const Opcode opcode : {Opcode::fsync, Opcode::fdatasync, Opcode::size, Opcode::close}) {
    CHECK(simple(opcode, none) == -EBADF);
  }
  CHECK(simple(Opcode::truncate, none, 0) == -EBADF);
}

TEST_CASE("execute: one step moves 1 GiB at most") {
  const TestFile file("");
  const ReplacedCalls restore;
  system_calls.pread = [](int, void*, std::size_t size, ::off_t) { return asked_for = size, ::ssize_t{1}; };
  system_calls.pwrite = [](int, const void*, std::size_t size, ::off_t) { return asked_for = size, ::ssize_t{1}; };
  system_calls.write = [](int, const void*, std::size_t size) { return asked_for = size, ::ssize_t{1}; };
  constexpr std::size_t gib = std::size_t{1} << 30;
  CHECK(transfer(Opcode::read, file.fd, nullptr, gib + 1, 0) == 1);
  CHECK(asked_for == gib);
  CHECK(transfer(Opcode::write, file.fd, nullptr, 8 * gib, 0) == 1);
  CHECK(asked_for == gib);
  CHECK(transfer(Opcode::write, file.fd, nullptr, 8 * gib, -1) == 1);
  CHECK(asked_for == gib);
  CHECK(transfer(Opcode::read, file.fd, nullptr, gib - 1, 0) == 1);
  CHECK(asked_for == gib - 1);
}

TEST_CASE("execute: a stream that refuses NOWAIT gets PIPE_BUF bytes at most") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  std::string bytes(3 * PIPE_BUF, 'x');
  Request request = request_of(Opcode::write, writer);
  request.buffer = bytes.data();
  request.length = bytes.size();
  request.nowait_refused = true;
  execute(request);
  CHECK(request.result == PIPE_BUF);
}

TEST_CASE("execute: EINTR is tried again on a file") {
  const TestFile file("abc");
  const ReplacedCalls restore;
  interruptions = 1000;
  system_calls.pread = [](int fd, void* buffer, std::size_t size, ::off_t offset) -> ::ssize_t {
    if (interruptions > 0) return --interruptions, errno = EINTR, -1;
    return ::pread(fd, buffer, size, offset);
  };
  std::array<char, 3> buffer{};
  CHECK(transfer(Opcode::read, file.fd, buffer.data(), 3, 0) == 3);
  CHECK(interruptions == 0);
}

TEST_CASE("execute: EINTR on a stream is an answer, for its readiness must be asked anew") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  const ReplacedCalls restore;
  calls = 0;
  system_calls.read = [](int, void*, std::size_t) -> ::ssize_t { return ++calls, errno = EINTR, -1; };
  std::array<char, 3> buffer{};
  CHECK(transfer(Opcode::read, reader, buffer.data(), 3, -1) == -EINTR);
  CHECK(calls == 1);
}
