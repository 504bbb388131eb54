#include <caio/config.hpp>

#if CAIO_WITH_LIBURING

#include <caio/backends/uring_ring.hpp>

#include <liburing.h>

#include <caio/context.hpp>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>

#include "caio/backends/uring_calls.hpp"
#include "caio/descriptors.hpp"
#include "support/catch.hpp"

using caio::Context;
using caio::Implementation;
using caio::Task;
using support::bytes_of;
using support::no_speculation;
using support::read_bytes;
using support::Replaced;
using support::TestFile;

TEST_CASE("UringRing: SQPOLL works, or is done without") {
  if (!support::usable(Implementation::uring)) return;
  const Replaced replaced;
  const TestFile file;
  Context polled(Implementation::uring, {.sqpoll = true, .speculate = false});
  CHECK(polled.run(read_bytes(polled, file.fd())) == 500);
  caio::uring_calls.queue_init = [](unsigned entries, ::io_uring* ring, ::io_uring_params* params) {
    return (params->flags & IORING_SETUP_SQPOLL) != 0 ? -EPERM : ::io_uring_queue_init_params(entries, ring, params);
  };
  Context plain(Implementation::uring, {.sqpoll = true, .speculate = false});
  CHECK(plain.run(read_bytes(plain, file.fd())) == 500);
  CHECK(plain.explain().find("SQPOLL") == std::string::npos);
}

TEST_CASE("UringRing: max_requests above and below the ring's size") {
  if (!support::usable(Implementation::uring)) return;
  const TestFile file;
  for (const unsigned max_requests : {1U, 15U, 16U, 17U, 4096U, 65536U}) {
    INFO("max_requests " << max_requests);
    Context context(Implementation::uring, {.max_requests = max_requests, .speculate = false});
    CHECK(context.run(read_bytes(context, file.fd())) == 500);
    CHECK(context.stats().max_in_flight <= max_requests);
  }
}

TEST_CASE("UringRing: where memory is short the ring is halved") {
  if (!support::usable(Implementation::uring)) return;
  const Replaced replaced;
  const TestFile file;
  caio::uring_calls.queue_init = [](unsigned entries, ::io_uring* ring, ::io_uring_params* params) {
    return params->cq_entries > 128 ? -ENOMEM : ::io_uring_queue_init_params(entries, ring, params);
  };
  Context context(Implementation::uring, no_speculation);
  CHECK(context.explain().find("128 completion entries, ") != std::string::npos);
  CHECK(context.run(read_bytes(context, file.fd())) == 500);
  CHECK(context.stats().max_in_flight < 128);
}

TEST_CASE("UringRing: each set of setup flags works") {
  if (!support::usable(Implementation::uring)) return;
  const unsigned hidden =
      GENERATE(0U, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN,
               IORING_SETUP_SUBMIT_ALL, IORING_SETUP_R_DISABLED, ~0U);
  DYNAMIC_SECTION("without flags " << hidden) {
    const Replaced replaced;
    const TestFile file;
    caio::uring_calls.setup_flags = ~hidden;
    Context context(Implementation::uring, no_speculation);
    CHECK(context.run(read_bytes(context, file.fd())) == 500);
    context.run([](Context& each, int fd) -> Task<> {
      const support::Pipe pipe;
      const std::size_t written = co_await each.write(pipe.writer.get(), bytes_of("x"), -1);
      CHECK(written == 1);
      co_await each.fsync(fd);
      co_await each.sleep_for(std::chrono::milliseconds(1));
    }(context, file.fd()));
  }
}

TEST_CASE("UringRing: a kernel without EXT_ARG still sleeps until a time") {
  if (!support::usable(Implementation::uring)) return;
  const Replaced replaced;
  caio::uring_calls.features = ~static_cast<unsigned>(IORING_FEAT_EXT_ARG);
  const TestFile file;
  Context context(Implementation::uring, no_speculation);
  CHECK(context.run(read_bytes(context, file.fd())) == 500);
  context.run([](Context& each) -> Task<> { co_await each.sleep_for(std::chrono::milliseconds(2)); }(context));
}

#endif
