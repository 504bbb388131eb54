#include <caio/config.hpp>

#if CAIO_WITH_LIBURING

#include <caio/backends/uring.hpp>

#include <liburing.h>
#include <sys/uio.h>

#include <caio/context.hpp>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "caio/backends/uring_calls.hpp"
#include "caio/descriptors.hpp"
#include "support/catch.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Implementation;
using caio::Task;
using support::bytes_of;
using support::errno_of;
using support::no_speculation;
using support::read_bytes;
using support::Replaced;
using support::room_in;
using support::TestFile;

namespace {

int calls = 0;
int refused_from = 0;  // the call that is refused first
int refusals = 0;      // how many are
int refusal = 0;       // with this error

bool refuse() {
  const int call = calls++;
  return call >= refused_from && call < refused_from + refusals;
}

/// From the call number `from` on, `count` submissions end with -error.
void refuse_submissions(int error, int from, int count) {
  calls = 0;
  refused_from = from;
  refusals = count;
  refusal = error;
  caio::uring_calls.submit = [](::io_uring* ring) { return refuse() ? -refusal : ::io_uring_submit(ring); };
  caio::uring_calls.submit_and_get_events = [](::io_uring* ring) {
    return refuse() ? -refusal : ::io_uring_submit_and_get_events(ring);
  };
  caio::uring_calls.submit_and_wait_timeout = [](::io_uring* ring, ::io_uring_cqe** completion, unsigned wanted,
                                                 ::__kernel_timespec* timeout, ::sigset_t* signals) {
    return refuse() ? -refusal : ::io_uring_submit_and_wait_timeout(ring, completion, wanted, timeout, signals);
  };
}

}  // namespace

TEST_CASE("Uring: a ring denied in mid-life fails its operations and says so") {
  if (!support::usable(Implementation::uring)) return;
  const Replaced replaced;
  const TestFile file;
  Context context(Implementation::uring, no_speculation);
  CHECK(context.run(read_bytes(context, file.fd())) == 500);
  refuse_submissions(EPERM, 0, 1'000'000);
  context.run([](Context& each, int fd) -> Task<> {
    std::string text(1, '?');
    const Descriptor descriptor(fd);
    for (int i = 0; i < 3; ++i) {
      const int read = co_await errno_of(each.read(descriptor, room_in(text), 0));
      CHECK(read == EPERM);
      const int write = co_await errno_of(each.write(descriptor, bytes_of("x"), 0));
      CHECK(write == EPERM);
    }
    co_await each.sleep_for(std::chrono::milliseconds(1));
    const int number = co_await each.offload([] { return 5; });
    CHECK(number == 5);
  }(context, file.fd()));
  CHECK(context.explain().find("denied in mid-life: " + std::system_category().message(EPERM)) != std::string::npos);
  CHECK(context.stats().submitted == context.stats().completed);
}

TEST_CASE("Uring: a refused submission loses nothing") {
  if (!support::usable(Implementation::uring)) return;
  const int error = GENERATE(EBUSY, EAGAIN, EINTR);
  DYNAMIC_SECTION(std::system_category().message(error)) {
    const Replaced replaced;
    const TestFile file;
    for (int from = 0; from < 8; ++from) {
      INFO("from call " << from);
      Context context(Implementation::uring, no_speculation);
      refuse_submissions(error, from, 5);
      CHECK(context.run(read_bytes(context, file.fd())) == 500);
    }
  }
}

TEST_CASE("Uring: what the ring does not offer goes to the pool") {
  if (!support::usable(Implementation::uring)) return;
  const Replaced replaced;
  const TestFile file;
  caio::uring_calls.opcodes = ~(1ULL << IORING_OP_READ | 1ULL << IORING_OP_FSYNC);
  Context context(Implementation::uring, no_speculation);
  CHECK(context.run(read_bytes(context, file.fd())) == 500);
  CHECK(context.stats().pooled == 500);
  context.run([](Context& each, int fd) -> Task<> { co_await each.fsync(fd); }(context, file.fd()));
  CHECK(context.stats().pooled == 501);
}

TEST_CASE("Uring: an opcode that the kernel refuses goes to the pool, and the answer is the pool's") {
  if (!support::usable(Implementation::uring)) return;
  const TestFile file;
  Context context(Implementation::uring, no_speculation);
  context.run([](Context& each, int fd) -> Task<> {
    const Descriptor descriptor(fd);
    std::string text(1, '?');
    ::iovec vector{text.data(), text.size()};
    // EINVAL comes from the ring for too many vectors, whatever the opcode's age.
    const std::vector<::iovec> many(2000, vector);
    for (int i = 0; i < 12; ++i) {
      const int error = co_await errno_of(each.readv(descriptor, many, 0));
      CHECK(error == EINVAL);
    }
    const std::size_t count = co_await each.readv(descriptor, std::span(&vector, 1), 0);
    CHECK(count == 1);
    CHECK(text == "a");
  }(context, file.fd()));
}

#endif
