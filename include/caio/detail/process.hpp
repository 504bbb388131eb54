#pragma once
// Which thread this is, and whether this process is a forked child, without a system call.

#include <pthread.h>

#include <atomic>
#include <cstdint>

#include <caio/config.hpp>

namespace caio::inline CAIO_ABI::detail {

/// A number that no other thread has or will have, unlike an address or a kernel id; 0 is none's.
using ThreadId = std::uintptr_t;

inline std::atomic<ThreadId> last_thread{0};
inline thread_local constinit ThreadId thread_id = 0;

inline ThreadId this_thread() noexcept {
  if (thread_id == 0) thread_id = last_thread.fetch_add(1, std::memory_order_relaxed) + 1;
  return thread_id;
}

inline std::atomic<unsigned> fork_count{0};

inline const int fork_watch = ::pthread_atfork(nullptr, nullptr, [] {
  fork_count.fetch_add(1, std::memory_order_relaxed);
  thread_id = 0;  // the child's is another thread than the one that has forked
});

/// How many forks lie between the first process and this one; getpid() would cost a system call each time.
inline unsigned process_generation() noexcept { return fork_count.load(std::memory_order_relaxed); }

}  // namespace caio::inline CAIO_ABI::detail
