#include <caio/detail/in_place.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <caio/detail/unique_fd.hpp>
#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/replaced_calls.hpp"
#include "support/temporary.hpp"

using caio::Opcode;
using caio::Request;
using caio::system_calls;
using caio::detail::Speculation;
using caio::detail::UniqueFd;
using caio::detail::WriteGate;
using support::ReplacedCalls;
using support::request_of;

namespace {

constexpr std::chrono::microseconds fast{10};
constexpr std::chrono::milliseconds slow{1};

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
  const ReplacedCalls restore;
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

TEST_CASE("Speculation: an end within a page that was seen before is believed without asking, any other is not") {
  const std::size_t page = 4096;
  const TestFile within(std::string(page + 904, 'x'));
  const TestFile between(std::string(page, 'x'));
  const ReplacedCalls replaced;
  static int asked = 0;
  replaced->fstat = [](int fd, struct ::stat* status) { return ++asked, ::fstat(fd, status); };
  std::vector<char> buffer(2 * page);
  Speculation speculation(true);
  const auto asks = [&](const TestFile& file, ::ssize_t count, std::int64_t offset) {
    answer_reads(count);
    Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), buffer.size(), offset);
    asked = 0;  // the request's descriptor has been looked at
    const bool ended = speculation.attempt(request);
    CHECK(ended == (offset + count == static_cast<std::int64_t>(std::filesystem::file_size(file.path))));
    return asked;
  };
  CHECK(asks(within, 5000, 0) == 0);
  CHECK(asks(within, 904, 4096) == 0);
  CHECK(asks(within, 4999, 0) == 1);
  CHECK(asks(within, 4096, 0) == 1);
  CHECK(asks(within, 0, 5000) == 1);
  CHECK(asks(between, 4096, 0) == 1);
}

TEST_CASE("Speculation: a file that has grown since it was opened goes on") {
  const TestFile file("abcdef");
  const ReplacedCalls restore;
  std::array<char, 16> buffer{};
  Speculation speculation(true);
  Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), buffer.size(), 0);
  REQUIRE(::pwrite(file.fd.get(), "ghi", 3, 6) == 3);
  answer_reads(9);
  CHECK(speculation.attempt(request));
  CHECK(request.moved == 9);
}

TEST_CASE("Speculation: a partial hit keeps its bytes, and the rest is for the backend") {
  const TestFile file("abcdef");
  const ReplacedCalls restore;
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
  const ReplacedCalls restore;
  std::array<char, 6> buffer{};
  Speculation speculation(true);
  answer_reads(0);
  Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 6, 0);
  CHECK_FALSE(speculation.attempt(request));
  CHECK(request.length == 6);
}

TEST_CASE("Speculation: a file without a size is left to the backend at its end") {
  const UniqueFd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  const ReplacedCalls restore;
  std::array<char, 6> buffer{};
  Speculation speculation(true);
  answer_reads(0);
  Request request = request_of(Opcode::read, file.get(), buffer.data(), 6, 100);
  CHECK_FALSE(speculation.attempt(request));
}

TEST_CASE("Speculation: a miss goes to the backend, and the next read is tried again") {
  const TestFile file("abcdef");
  const ReplacedCalls restore;
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
  const ReplacedCalls restore;
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
  const ReplacedCalls restore;
  std::array<char, 6> buffer{};
  Speculation speculation(true);
  answer_reads(-EIO);
  Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 6, 0);
  CHECK_FALSE(speculation.attempt(request));
  CHECK(request.moved == 0);
}

TEST_CASE("Speculation: does not try what could hold up the loop") {
  const TestFile file("abcdef");
  const ReplacedCalls restore;
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
  const ReplacedCalls restore;
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
  const ReplacedCalls restore;
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

TEST_CASE("Speculation: transfers at the descriptor's own position move it") {
  const TestFile file("abcdef");
  std::array<char, 4> buffer{'X', 'Y'};
  const auto attempted = [&](Opcode opcode, std::size_t length) {
    Speculation speculation(true);  // one write that took long would keep it from the next one
    Request request = request_of(opcode, file.fd.get(), buffer.data(), length, -1);
    return speculation.attempt(request) ? request.result : -1;
  };
  CHECK(attempted(Opcode::write, 2) == 2);
  CHECK(::lseek(file.fd.get(), 0, SEEK_CUR) == 2);
  const std::int64_t count = attempted(Opcode::read, 3);
  if (count < 0) {
    WARN("no RWF_NOWAIT on this file system");
    return;
  }
  CHECK(count == 3);
  CHECK(std::string_view(buffer.data(), 3) == "cde");
  CHECK(attempted(Opcode::read, 4) == 1);  // up to the end
  CHECK(attempted(Opcode::read, 4) == 0);  // there
  CHECK(attempted(Opcode::write, 2) == 2);
  CHECK(support::content_of(file.path) == "XYcdeffd");
}

TEST_CASE("Speculation: a partial hit at the descriptor's own position goes on there") {
  const TestFile file("abcdef");
  const ReplacedCalls restore;
  std::array<char, 6> buffer{};
  Speculation speculation(true);
  answer_reads(4);
  Request request = request_of(Opcode::read, file.fd.get(), buffer.data(), 6, -1);
  CHECK_FALSE(speculation.attempt(request));
  CHECK(request.moved == 4);
  CHECK(request.length == 2);
  CHECK(request.offset == -1);
}

TEST_CASE("Speculation: a short write ends in place unless all of it is wanted") {
  const TestFile file("abcdef");
  const ReplacedCalls restore;
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
  const ReplacedCalls restore;
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
  const ReplacedCalls restore;
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
  const ReplacedCalls restore;
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

TEST_CASE("Speculation: a write that fails is an operation of the turn, too") {
  const TestFile file("");
  const ReplacedCalls restore;
  std::array<char, 1> buffer{};
  Speculation speculation(true);
  answer_writes(-ENOSPC);
  int count = 0;
  for (; !speculation.exhausted() && count < 1000; ++count) {
    Request request = request_of(Opcode::write, file.fd.get(), buffer.data(), 1, 0);
    REQUIRE(speculation.attempt(request));
    REQUIRE(request.result == -ENOSPC);
  }
  CHECK(count <= 64);
}

TEST_CASE("Speculation: writes that take long use up a turn by their time") {
  const TestFile file("");
  const ReplacedCalls replaced;
  replaced->pwrite = [](int, const void*, std::size_t size, ::off_t) {
    const auto start = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - start < std::chrono::microseconds(100)) {
    }
    return static_cast<::ssize_t>(size);
  };
  std::array<char, 1> buffer{};
  Speculation speculation(true);
  int writes = 0;
  for (; !speculation.exhausted() && writes < 64; ++writes) {
    Request request = request_of(Opcode::write, file.fd.get(), buffer.data(), 1, 0);
    static_cast<void>(speculation.attempt(request));
  }
  CHECK(writes <= 2);  // 1 MiB in 131 us
}

TEST_CASE("Speculation: a turn's bytes run out") {
  const TestFile file("abcdef");
  const ReplacedCalls restore;
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
