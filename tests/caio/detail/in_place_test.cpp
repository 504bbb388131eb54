#include <caio/detail/in_place.hpp>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <caio/detail/unique_fd.hpp>
#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary.hpp"

using caio::Opcode;
using caio::Request;
using caio::system_calls;
using caio::detail::NoSigpipe;
using caio::detail::Speculation;
using caio::detail::stream_is_ready;
using caio::detail::transfer_nowait;
using caio::detail::UniqueFd;
using caio::detail::WriteGate;

namespace {

constexpr std::chrono::microseconds fast{10};
constexpr std::chrono::milliseconds slow{1};

struct Restore {
  Restore() = default;
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;
  ~Restore() { system_calls = {}; }
};

/// How many writes the gate sends away before it opens.
int closed_for(WriteGate& gate) {
  int count = 0;
  while (!gate.open()) ++count;
  return count;
}

struct TestFile {
  explicit TestFile(std::string_view content, int flags = O_RDWR)
      : path(directory.file("file", content)), fd(::open(path.c_str(), flags | O_CLOEXEC)) {
    REQUIRE(fd);
  }

  support::TemporaryDirectory directory;
  std::filesystem::path path;
  UniqueFd fd;
};

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    reader = UniqueFd(ends[0]);
    writer = UniqueFd(ends[1]);
  }
  UniqueFd reader;
  UniqueFd writer;
};

Request request_of(Opcode opcode, int fd, void* buffer, std::size_t length, std::int64_t offset) {
  Request request;
  request.opcode = opcode;
  request.descriptor = caio::Descriptor(fd);
  request.buffer = buffer;
  request.length = length;
  request.offset = offset;
  return request;
}

// What the replaced calls answer: counts or negative errnos, and how often they were asked.
::ssize_t answer = 0;
int calls = 0;

::ssize_t answered(std::size_t most) {
  ++calls;
  if (answer < 0) return errno = static_cast<int>(-answer), -1;
  return std::min(answer, static_cast<::ssize_t>(most));
}

void answer_reads(::ssize_t value) {
  answer = value;
  calls = 0;
  system_calls.preadv2 = [](int, const ::iovec* vector, int, ::off_t, int) { return answered(vector->iov_len); };
}

void answer_writes(::ssize_t value) {
  answer = value;
  calls = 0;
  system_calls.pwrite = [](int, const void*, std::size_t size, ::off_t) { return answered(size); };
}

}  // namespace

TEST_CASE("WriteGate: is open while writes are fast") {
  WriteGate gate;
  for (int i = 0; i < 10'000; ++i) {
    REQUIRE(gate.open());
    gate.took(fast);
  }
}

TEST_CASE("WriteGate: closes for a while after a slow write, each time for twice as long") {
  WriteGate gate;
  gate.took(slow);
  int last = closed_for(gate);
  CHECK(last > 0);
  for (int i = 0; i < 5; ++i) {
    gate.took(slow);
    const int now = closed_for(gate);
    CHECK(now == 2 * last);
    last = now;
  }
}

TEST_CASE("WriteGate: the while has a limit") {
  WriteGate gate;
  int last = 0;
  for (int i = 0; i < 40; ++i) {
    gate.took(slow);
    last = closed_for(gate);
  }
  CHECK(last == 4096);
}

TEST_CASE("WriteGate: forgives after enough fast writes") {
  WriteGate gate;
  gate.took(slow);
  const int first = closed_for(gate);
  gate.took(slow);
  const int second = closed_for(gate);
  gate.took(fast);
  gate.took(slow);
  const int third = closed_for(gate);
  CHECK(third > second);
  for (int i = 0; i < third; ++i) gate.took(fast);
  gate.took(slow);
  CHECK(closed_for(gate) == first);
}

TEST_CASE("Speculation: a cached read ends in place") {
  const TestFile file("abcdef");
  std::array<char, 4> buffer{};
  Speculation speculation(true);
  Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 4, 1);
  if (!speculation.attempt(request)) {
    WARN("no RWF_NOWAIT on this file system");
    return;
  }
  CHECK(request.result == 4);
  CHECK(request.moved == 4);
  CHECK(request.length == 0);
  CHECK(std::string_view(buffer.data(), 4) == "bcde");
}

TEST_CASE("Speculation: a read that reaches the end of the file ends in place") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 10> buffer{};
  Speculation speculation(true);
  answer_reads(2);
  Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 10, 4);
  CHECK(speculation.attempt(request));
  CHECK(request.moved == 2);
  answer_reads(0);
  request = request_of(Opcode::read, file.fd.get(), buffer.data(), 10, 6);
  CHECK(speculation.attempt(request));
  CHECK(request.moved == 0);
  CHECK(request.result == 0);
}

TEST_CASE("Speculation: a partial hit keeps its bytes, and the rest is for the backend") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 6> buffer{};
  Speculation speculation(true);
  answer_reads(2);
  Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 6, 0);
  CHECK_FALSE(speculation.attempt(request));
  CHECK(request.moved == 2);
  CHECK(request.length == 4);
  CHECK(request.offset == 2);
  CHECK(request.buffer == buffer.data() + 2);
}

TEST_CASE("Speculation: a false end is not believed") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 6> buffer{};
  Speculation speculation(true);
  answer_reads(0);
  Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 6, 0);
  CHECK_FALSE(speculation.attempt(request));
  CHECK(request.length == 6);
}

TEST_CASE("Speculation: a file without a size is left to the backend at its end") {
  const UniqueFd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  const Restore restore;
  std::array<char, 6> buffer{};
  Speculation speculation(true);
  answer_reads(0);
  Request request = request_of(Opcode::read, file.get(), buffer.data(), 6, 100);
  CHECK_FALSE(speculation.attempt(request));
}

TEST_CASE("Speculation: a miss goes to the backend, and the next read is tried again") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 6> buffer{};
  Speculation speculation(true);
  answer_reads(-EAGAIN);
  Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 6, 0);
  CHECK_FALSE(speculation.attempt(request));
  CHECK(request.moved == 0);
  CHECK(request.descriptor.takes_nowait());
  CHECK_FALSE(speculation.attempt(request));
  CHECK(calls == 2);
}

TEST_CASE("Speculation: a descriptor that refuses NOWAIT is asked once") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 6> buffer{};
  for (const int error : {EOPNOTSUPP, EINVAL, ENOSYS}) {
    Speculation speculation(true);
    answer_reads(-error);
    Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 6, 0);
    CHECK_FALSE(speculation.attempt(request));
    CHECK_FALSE(request.descriptor.takes_nowait());
    CHECK_FALSE(speculation.attempt(request));
    CHECK(calls == 1);
  }
}

TEST_CASE("Speculation: other errors of a read are for the backend to find") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 6> buffer{};
  Speculation speculation(true);
  answer_reads(-EIO);
  Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 6, 0);
  CHECK_FALSE(speculation.attempt(request));
  CHECK(request.moved == 0);
}

TEST_CASE("Speculation: does not try what could hold up the loop") {
  const TestFile file("abcdef");
  const Restore restore;
  std::vector<char> buffer(256 * 1024 + 1);
  Speculation speculation(true);
  const auto attempted = [&](Request request) {
    static_cast<void>(speculation.attempt(request));
    return std::exchange(calls, 0) > 0;
  };
  answer_reads(1);
  answer_writes(1);
  Request read = request_of(Opcode::read, file.fd.get(), buffer.data(), 256 * 1024, 0);
  Request write = request_of(Opcode::write, file.fd.get(), buffer.data(), 64 * 1024, 0);
  CHECK(attempted(read));
  CHECK(attempted(write));

  SECTION("long transfers") {
    ++read.length;
    ++write.length;
  }
  SECTION("transfers at the descriptor's own position") { read.offset = write.offset = -1; }
  SECTION("what is for the pool") { read.to_pool = write.to_pool = true; }
  SECTION("other opcodes") {
    read.opcode = Opcode::readv;
    write.opcode = Opcode::fsync;
  }
  SECTION("O_DIRECT") { read.descriptor = write.descriptor = caio::Descriptor(file.fd.get(), O_RDWR | O_DIRECT); }
  CHECK_FALSE(attempted(read));
  CHECK_FALSE(attempted(write));
}

TEST_CASE("Speculation: writes that wait for the device or append atomically are not tried") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 6> buffer{};
  Speculation speculation(true);
  answer_writes(6);
  Request write = request_of(Opcode::write, file.fd.get(), buffer.data(), 6, 0);
  SECTION("O_DSYNC") { write.descriptor = caio::Descriptor(file.fd.get(), O_RDWR | O_DSYNC); }
  SECTION("RWF_APPEND") { write.append = true; }
  SECTION("no regular file") { write.descriptor = caio::Descriptor::foreign(file.fd.get()); }
  CHECK_FALSE(speculation.attempt(write));
  CHECK(calls == 0);
}

TEST_CASE("Speculation: switched off it tries nothing") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 6> buffer{};
  Speculation speculation(false);
  answer_reads(6);
  Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 6, 0);
  CHECK_FALSE(speculation.attempt(request));
  CHECK(calls == 0);
}

TEST_CASE("Speculation: a small write ends in place") {
  const TestFile file("abcdef");
  std::array<char, 2> bytes{'X', 'Y'};
  Speculation speculation(true);
  Request request = request_of(Opcode::write, file.fd.get(), bytes.data(), 2, 2);
  CHECK(speculation.attempt(request));
  CHECK(request.result == 2);
  CHECK(support::content_of(file.path) == "abXYef");
}

TEST_CASE("Speculation: a short write ends in place unless all of it is wanted") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 6> bytes{};
  Speculation speculation(true);
  answer_writes(4);
  Request request = request_of(Opcode::write, file.fd.get(), bytes.data(), 6, 0);
  CHECK(speculation.attempt(request));
  CHECK(request.moved == 4);
  request = request_of(Opcode::write, file.fd.get(), bytes.data(), 6, 0);
  request.whole = true;
  CHECK_FALSE(speculation.attempt(request));
  CHECK(request.moved == 4);
  CHECK(request.length == 2);
  CHECK(request.offset == 4);
}

TEST_CASE("Speculation: an error of a write is its end, an interruption is not") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 6> bytes{};
  Speculation speculation(true);
  Request request = request_of(Opcode::write, file.fd.get(), bytes.data(), 6, 0);
  answer_writes(-ENOSPC);
  CHECK(speculation.attempt(request));
  CHECK(request.result == -ENOSPC);
  for (const int error : {EINTR, EAGAIN}) {
    answer_writes(-error);
    CHECK_FALSE(speculation.attempt(request));
  }
}

TEST_CASE("Speculation: after a slow write the next ones go to the backend") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 6> bytes{};
  Speculation speculation(true);
  calls = 0;
  system_calls.pwrite = [](int, const void*, std::size_t size, ::off_t) {
    ++calls;
    const auto end = std::chrono::steady_clock::now() + slow;
    while (std::chrono::steady_clock::now() < end) {
    }
    return static_cast<::ssize_t>(size);
  };
  Request first = request_of(Opcode::write, file.fd.get(), bytes.data(), 6, 0);
  CHECK(speculation.attempt(first));
  Request second = request_of(Opcode::write, file.fd.get(), bytes.data(), 6, 0);
  CHECK_FALSE(speculation.attempt(second));
  CHECK(calls == 1);
}

TEST_CASE("Speculation: a turn's operations run out, and come again with the next") {
  const TestFile file("abcdef");
  const Restore restore;
  std::array<char, 1> buffer{};
  Speculation speculation(true);
  answer_reads(1);
  for (int turn = 0; turn < 2; ++turn) {
    int count = 0;
    while (!speculation.exhausted()) {
      Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 1, 0);
      REQUIRE(speculation.attempt(request));
      ++count;
    }
    CHECK(count == 64);
    speculation.refill();
    CHECK_FALSE(speculation.exhausted());
  }
}

TEST_CASE("Speculation: a turn's bytes run out") {
  const TestFile file("abcdef");
  const Restore restore;
  std::vector<char> buffer(256 * 1024);
  Speculation speculation(true);
  answer_reads(256 * 1024);
  int count = 0;
  while (!speculation.exhausted()) {
    Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), buffer.size(), 0);
    REQUIRE(speculation.attempt(request));
    ++count;
  }
  CHECK(count == 4);
}

TEST_CASE("stream_is_ready: tells whether a pipe has bytes, room, or a hang-up") {
  Pipe pipe;
  const Request reader = request_of(Opcode::read, pipe.reader.get(), nullptr, 0, -1);
  const Request writer = request_of(Opcode::writev, pipe.writer.get(), nullptr, 0, -1);
  CHECK_FALSE(stream_is_ready(reader));
  CHECK(stream_is_ready(writer));
  REQUIRE(::write(pipe.writer.get(), "x", 1) == 1);
  CHECK(stream_is_ready(reader));
  char byte = 0;
  REQUIRE(::read(pipe.reader.get(), &byte, 1) == 1);
  CHECK_FALSE(stream_is_ready(reader));
  pipe.writer = UniqueFd();
  CHECK(stream_is_ready(reader));
}

namespace {

/// Linux 6.5 and later take RWF_NOWAIT on pipes.
bool nowait_on_pipes() {
  const Pipe pipe;
  char byte = 0;
  const ::iovec vector{&byte, 1};
  const bool taken = ::preadv2(pipe.reader.get(), &vector, 1, -1, RWF_NOWAIT) >= 0 || errno == EAGAIN;
  if (!taken) WARN("no RWF_NOWAIT on pipes here");
  return taken;
}

}  // namespace

TEST_CASE("transfer_nowait: moves what there is, and EAGAIN when there is nothing") {
  if (!nowait_on_pipes()) return;
  Pipe pipe;
  std::array<char, 4> bytes{'a', 'b', 'c', 'd'};
  std::array<char, 10> buffer{};
  Request reader = request_of(Opcode::read, pipe.reader.get(), buffer.data(), 10, -1);
  REQUIRE(transfer_nowait(reader));
  CHECK(reader.result == -EAGAIN);
  Request writer = request_of(Opcode::write, pipe.writer.get(), bytes.data(), 4, -1);
  REQUIRE(transfer_nowait(writer));
  CHECK(writer.result == 4);
  REQUIRE(transfer_nowait(reader));
  CHECK(reader.result == 4);
  CHECK(std::string_view(buffer.data(), 4) == "abcd");
  pipe.writer = UniqueFd();
  REQUIRE(transfer_nowait(reader));
  CHECK(reader.result == 0);
}

TEST_CASE("transfer_nowait: an offset means nothing to a pipe") {
  if (!nowait_on_pipes()) return;
  const Pipe pipe;
  REQUIRE(::write(pipe.writer.get(), "abc", 3) == 3);
  std::array<char, 2> buffer{};
  Request reader = request_of(Opcode::read, pipe.reader.get(), buffer.data(), 2, 7);
  REQUIRE(transfer_nowait(reader));
  CHECK(reader.result == 2);
  CHECK(reader.offset == -1);
}

TEST_CASE("transfer_nowait: several buffers") {
  if (!nowait_on_pipes()) return;
  const Pipe pipe;
  std::array<char, 2> first{'a', 'b'};
  std::array<char, 3> second{'c', 'd', 'e'};
  const std::array<::iovec, 2> vectors{::iovec{first.data(), 2}, ::iovec{second.data(), 3}};
  Request request = request_of(Opcode::writev, pipe.writer.get(), nullptr, vectors.size(), -1);
  request.vectors = vectors.data();
  REQUIRE(transfer_nowait(request));
  CHECK(request.result == 5);
  first.fill('-');
  second.fill('-');
  request.opcode = Opcode::readv;
  request.descriptor = caio::Descriptor(pipe.reader.get());
  REQUIRE(transfer_nowait(request));
  CHECK(request.result == 5);
  CHECK(std::string_view(second.data(), 3) == "cde");
}

TEST_CASE("transfer_nowait: says where it is refused") {
  const Pipe pipe;
  const Restore restore;
  std::array<char, 2> buffer{};
  Request reader = request_of(Opcode::read, pipe.reader.get(), buffer.data(), 2, -1);
  for (const int error : {EOPNOTSUPP, ENOSYS}) {
    answer_reads(-error);
    CHECK_FALSE(transfer_nowait(reader));
  }
  answer_reads(-EIO);
  CHECK(transfer_nowait(reader));
  CHECK(reader.result == -EIO);
}

TEST_CASE("transfer_nowait: a pipe without a reader gives EPIPE, and no signal") {
  if (!nowait_on_pipes()) return;
  Pipe pipe;
  pipe.reader = UniqueFd();
  std::array<char, 2> bytes{};
  Request writer = request_of(Opcode::write, pipe.writer.get(), bytes.data(), 2, -1);
  REQUIRE(transfer_nowait(writer));
  CHECK(writer.result == -EPIPE);
  ::sigset_t pending;
  ::sigpending(&pending);
  CHECK(::sigismember(&pending, SIGPIPE) == 0);
}

TEST_CASE("NoSigpipe: leaves the mask as it was, and a signal that was pending before") {
  ::sigset_t pipe_only;
  ::sigset_t before;
  ::sigemptyset(&pipe_only);
  ::sigaddset(&pipe_only, SIGPIPE);
  const auto blocked = [] {
    ::sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    return ::sigismember(&mask, SIGPIPE) == 1;
  };
  ::pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
  ::pthread_kill(::pthread_self(), SIGPIPE);
  {
    NoSigpipe guard(true);
    guard.raised();
  }
  CHECK(blocked());
  ::sigset_t pending;
  ::sigpending(&pending);
  CHECK(::sigismember(&pending, SIGPIPE) == 1);
  const ::timespec now{};
  CHECK(::sigtimedwait(&pipe_only, nullptr, &now) == SIGPIPE);
  ::pthread_sigmask(SIG_UNBLOCK, &pipe_only, nullptr);
  {
    const NoSigpipe guard(true);
    CHECK(blocked());
  }
  CHECK_FALSE(blocked());
  {
    const NoSigpipe guard(false);
    CHECK_FALSE(blocked());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}
