#pragma once
// Which thread this is, and whether this process is a forked child, without a system call.

#include <pthread.h>

#include <atomic>

#include <caio/config.hpp>

namespace caio::inline CAIO_ABI::detail {

/// Its address tells one living thread from another.
inline thread_local constinit char thread_mark = 0;

using ThreadId = const char*;
inline ThreadId this_thread() noexcept { return &thread_mark; }

inline std::atomic<unsigned> fork_count{0};

/// How many forks lie between the first process and this one; getpid() would cost a system call each time.
inline unsigned process_generation() noexcept {
  [[maybe_unused]] static const int registered =
      ::pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1, std::memory_order_relaxed); });
  return fork_count.load(std::memory_order_relaxed);
}

}  // namespace caio::inline CAIO_ABI::detail
