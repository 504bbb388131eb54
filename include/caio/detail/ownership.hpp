#pragma once
// Which thread a context belongs to, and what happens when that thread ends, or the process forks.

#include <atomic>

#include <caio/config.hpp>
#include <caio/detail/process.hpp>

namespace caio::inline CAIO_ABI::detail {

/// Nobody's at first, then of the thread that drives first. When that one ends it settles what it gave the kernel;
/// from then on any thread may end the context, and none may drive it.
class Ownership {
 public:
  /// Whether this is a forked child's copy, which must touch nothing.
  [[nodiscard]] bool inherited() const noexcept { return generation_ != process_generation(); }
  /// False in a forked child, whose threads are others.
  [[nodiscard]] bool here() const noexcept { return owner() == this_thread(); }
  /// The same as long as the context works: false from its end, or its thread's, on.
  [[nodiscard]] bool working_here() const noexcept { return worker_.load(std::memory_order_relaxed) == thread_id; }
  [[nodiscard]] bool taken() const noexcept { return owner() != nobody; }
  [[nodiscard]] bool made_here() const noexcept { return maker_ == this_thread(); }
  /// The owner's thread is about to end.
  [[nodiscard]] bool settling() const noexcept { return owner() == ending; }
  /// The owner's thread has ended.
  [[nodiscard]] bool settled() const noexcept { return owner() == gone; }

  /// Makes this thread the owner. False: it belongs to another.
  bool attach() noexcept {
    ThreadId owner = nobody;
    bool mine = owner_.compare_exchange_strong(owner, this_thread(), std::memory_order_acquire);
    if (!mine && owner == gone && former_ == this_thread()) {
      // A thread's end has several destructors: a later one may use again what an earlier one has settled.
      mine = owner_.compare_exchange_strong(owner, this_thread(), std::memory_order_acquire);
    }
    if (!mine) return owner == this_thread();
    worker_.store(this_thread());
    if (owner_.load() != this_thread()) worker_.store(gone);  // somebody has ended the context meanwhile
    return true;
  }

  void begin_settling() noexcept {
    ThreadId owner = this_thread();
    if (inherited() || !owner_.compare_exchange_strong(owner, ending, std::memory_order_acquire)) return;
    worker_.store(gone, std::memory_order_relaxed);
  }
  void end_settling() noexcept {
    if (!settling()) return;
    former_ = this_thread();
    owner_.store(gone, std::memory_order_release);
    owner_.notify_all();
  }

  /// For who ends the context: makes this thread the owner, whoever was; one that settles is waited for.
  void take_over() noexcept {
    ThreadId owner = owner_.load(std::memory_order_acquire);
    do {
      for (; owner == ending; owner = owner_.load(std::memory_order_acquire)) owner_.wait(ending);
    } while (!owner_.compare_exchange_weak(owner, this_thread()));
    worker_.store(gone);
  }

 private:
  // In place of a thread's number.
  static constexpr ThreadId nobody = 0;
  static constexpr ThreadId ending = ~ThreadId{0};
  static constexpr ThreadId gone = ending - 1;

  [[nodiscard]] ThreadId owner() const noexcept { return owner_.load(std::memory_order_relaxed); }

  const unsigned generation_ = process_generation();
  const ThreadId maker_ = this_thread();
  std::atomic<ThreadId> owner_{nobody};
  std::atomic<ThreadId> worker_{gone};  // the owner, while working_here() may be true
  ThreadId former_ = nobody;            // whose end has settled it
};

}  // namespace caio::inline CAIO_ABI::detail
