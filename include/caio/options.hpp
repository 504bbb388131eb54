#pragma once
// What a context is told at its start, what it counts, and what it reports.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <system_error>

#include <caio/config.hpp>

namespace caio::inline CAIO_ABI {

struct ContextOptions {
  unsigned max_requests = 512;  ///< operations with the kernel or the pool at once, 1..65536; more wait in order
  unsigned pool_size = 8;       ///< threads of the pool, 1..128; started when first needed
  bool sqpoll = false;          ///< io_uring: a kernel thread polls for submissions
  bool speculate = true;        ///< page-cache hits and small buffered writes without suspending
};

/// Counters since the context was made; `in_flight` and `parked` are of this moment.
struct ContextStats {
  std::uint64_t submitted = 0;    ///< operations accepted, speculated ones included
  std::uint64_t completed = 0;    ///< operations ended, whatever the result
  std::uint64_t speculated = 0;   ///< ended in place, never seen by a backend
  std::uint64_t handed_over = 0;  ///< hand-overs to the backend or the pool, retries and rests of short counts included
  std::uint64_t pooled = 0;       ///< of these, to the pool
  std::uint64_t retried = 0;      ///< handed over again after EINTR, EAGAIN or an unasked ECANCELED
  std::uint64_t short_counts = 0;  ///< continued after a short count
  std::uint64_t cancelled = 0;     ///< ended with ECANCELED
  std::uint64_t turns = 0;         ///< turns of the loop
  std::uint64_t sleeps = 0;        ///< turns that may have slept
  std::uint64_t in_flight = 0;     ///< with the kernel or the pool now
  std::uint64_t max_in_flight = 0;
  std::uint64_t parked = 0;  ///< waiting: for their turn, for readiness, for a time
};

/// Bytes that a destructor could not deliver to a file.
struct LostData {
  std::string path;
  std::uint64_t bytes = 0;
  std::error_code error;
};

/// A destructor that waits for the kernel to let go of buffers.
struct Stall {
  std::chrono::milliseconds waited{};
  std::size_t in_flight = 0;
};

namespace detail {
/// The kernel's limit on completion entries (IORING_MAX_CQ_ENTRIES) and, by default, on aio-max-nr.
inline constexpr unsigned most_requests = 65536;

inline ContextOptions checked(ContextOptions options) {
  if (options.max_requests < 1 || options.max_requests > most_requests) {
    throw std::invalid_argument("caio::Context: max_requests is " + std::to_string(options.max_requests) +
                                ", not within 1..65536");
  }
  if (options.pool_size < 1 || options.pool_size > 128) {
    throw std::invalid_argument("caio::Context: pool_size is " + std::to_string(options.pool_size) +
                                ", not within 1..128");
  }
  return options;
}
}  // namespace detail

}  // namespace caio::inline CAIO_ABI
