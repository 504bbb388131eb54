#pragma once
// Symmetric transfer that cannot overflow the stack. g++ makes it a tail call only when it optimises and no sanitizer
// is on (GCC bug 100897): a long loop over children that are ready would otherwise end in a crash.

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <caio/config.hpp>

namespace caio::inline CAIO_ABI::detail {

class Trampoline {
 public:
  Trampoline() noexcept : outer_(std::exchange(current_, this)) {}
  Trampoline(const Trampoline&) = delete;
  Trampoline& operator=(const Trampoline&) = delete;
  ~Trampoline() { current_ = outer_; }

  void run(std::coroutine_handle<> coroutine) {
    base_ = stack_position();
    while (coroutine) {
      coroutine.resume();
      coroutine = std::exchange(postponed_, nullptr);
    }
  }

  /// `next`, or a coroutine that does nothing when the stack has grown deep: then run() resumes `next` from its floor.
  static std::coroutine_handle<> transfer(std::coroutine_handle<> next) noexcept {
    Trampoline* const trampoline = current_;
    if (trampoline == nullptr || trampoline->postponed_ || trampoline->base_ - stack_position() < deepest) return next;
    trampoline->postponed_ = next;
    return std::noop_coroutine();
  }

 private:
  static constexpr std::uintptr_t deepest = 32 * 1024;  // of stack: rare enough to cost nothing, small for any thread

  [[gnu::always_inline]] static std::uintptr_t stack_position() noexcept {
    return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  }

  static inline thread_local constinit Trampoline* current_ = nullptr;

  Trampoline* outer_;
  std::coroutine_handle<> postponed_;
  std::uintptr_t base_ = 0;
};

/// Resumes a coroutine from plain code; what it transfers to runs in bounded stack.
inline void resume(std::coroutine_handle<> coroutine) { Trampoline().run(coroutine); }

}  // namespace caio::inline CAIO_ABI::detail
