#include <caio/detail/streams.hpp>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/replaced_calls.hpp"

using caio::Opcode;
using caio::Request;
using caio::system_calls;
using caio::detail::NoSigpipe;
using caio::detail::Readiness;
using caio::detail::Speculation;
using caio::detail::stream_is_ready;
using caio::detail::Streams;
using caio::detail::transfer_nowait;
using caio::detail::UniqueFd;
using support::Pipe;
using support::ReplacedCalls;
using support::request_of;

namespace {

int answer = 0;  // the errno of the replaced call

}  // namespace

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
  pipe.writer.reset();
  CHECK(stream_is_ready(reader));
}

namespace {

bool nowait_on_pipes() {
  const bool taken = support::nowait_on_pipes();
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
  pipe.writer.reset();
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
  const ReplacedCalls restore;
  std::array<char, 2> buffer{};
  Request reader = request_of(Opcode::read, pipe.reader.get(), buffer.data(), 2, -1);
  system_calls.preadv2 = [](int, const ::iovec*, int, ::off_t, int) -> ::ssize_t {
    errno = answer;
    return -1;
  };
  for (const int error : {EOPNOTSUPP, ENOSYS}) {
    answer = error;
    CHECK_FALSE(transfer_nowait(reader));
  }
  answer = EIO;
  CHECK(transfer_nowait(reader));
  CHECK(reader.result == -EIO);
}

TEST_CASE("transfer_nowait: a pipe without a reader gives EPIPE, and no signal") {
  if (!nowait_on_pipes()) return;
  Pipe pipe;
  pipe.reader.reset();
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

namespace {

struct Steps {
  Readiness readiness;
  Speculation speculation{true};
  caio::ContextStats stats;
  Streams streams{readiness, speculation, stats};
};

}  // namespace

TEST_CASE("Streams: what is there is moved at once, and the others wait behind one that waits") {
  if (!nowait_on_pipes()) return;
  const Pipe pipe;
  Steps steps;
  std::array<char, 2> buffer{};
  Request first = request_of(Opcode::read, pipe.reader.get(), buffer.data(), 2, -1);
  CHECK(steps.streams.advance(first, false) == Streams::Step::waiting);
  REQUIRE(::write(pipe.writer.get(), "abcd", 4) == 4);
  Request second = request_of(Opcode::read, pipe.reader.get(), buffer.data(), 2, -1);
  CHECK(steps.streams.advance(second, false) == Streams::Step::waiting);
  CHECK(steps.readiness.take() == &first);
  CHECK(steps.streams.advance(first, true) == Streams::Step::ended);
  CHECK(first.result == 2);
  CHECK(std::string_view(buffer.data(), 2) == "ab");
  CHECK(steps.readiness.take() == &second);
}

TEST_CASE("Streams: a whole read goes on after a short count, and waits for the rest") {
  if (!nowait_on_pipes()) return;
  const Pipe pipe;
  Steps steps;
  std::array<char, 4> buffer{};
  REQUIRE(::write(pipe.writer.get(), "abc", 3) == 3);
  Request request = request_of(Opcode::read, pipe.reader.get(), buffer.data(), 4, -1);
  request.whole = true;
  CHECK(steps.streams.advance(request, false) == Streams::Step::waiting);
  CHECK(request.moved == 3);
  CHECK(steps.stats.short_counts == 1);
  CHECK(steps.readiness.take() == &request);
}

TEST_CASE("Streams: where RWF_NOWAIT is refused the pool moves the bytes, one request at a time") {
  const Pipe pipe;
  const ReplacedCalls restore;
  system_calls.preadv2 = [](int, const ::iovec*, int, ::off_t, int) -> ::ssize_t {
    errno = EOPNOTSUPP;
    return -1;
  };
  Steps steps;
  std::array<char, 2> buffer{};
  REQUIRE(::write(pipe.writer.get(), "abcd", 4) == 4);
  Request first = request_of(Opcode::read, pipe.reader.get(), buffer.data(), 2, -1);
  Request second = request_of(Opcode::read, pipe.reader.get(), buffer.data(), 2, -1);
  CHECK(steps.streams.advance(first, false) == Streams::Step::pooled);
  CHECK(first.to_pool);
  CHECK(steps.streams.advance(second, false) == Streams::Step::waiting);
  steps.readiness.vacate(first);
  CHECK(steps.readiness.take() == &second);
}

TEST_CASE("Streams: no descriptor for the epoll set is an error of the request") {
  const Pipe pipe;
  const ReplacedCalls restore;
  system_calls.epoll_create = [](int) {
    errno = EMFILE;
    return -1;
  };
  Steps steps;
  std::array<char, 2> buffer{};
  Request request = request_of(Opcode::read, pipe.reader.get(), buffer.data(), 2, -1);
  CHECK(steps.streams.advance(request, false) == Streams::Step::ended);
  CHECK(request.result == -EMFILE);
}
