#pragma once
// Task: a lazy coroutine that is awaited once. Knows nothing of I/O.

#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

#include <caio/config.hpp>
#include <caio/detail/frame_pool.hpp>
#include <caio/detail/transfer.hpp>

namespace caio::inline CAIO_ABI {

template <class T = void>
class Task;

namespace detail {

inline const std::stop_token no_stop_token{};

/// A promise that says who may stop the coroutine; any coroutine type can join in.
template <class Promise>
concept StopAware = requires(const Promise& promise) {
  { promise.get_stop_token() } -> std::convertible_to<std::stop_token>;
};

/// The stop token of whoever awaits: a pointer where the promise keeps one, so that nothing is counted; else a copy.
class InheritedStopToken {
 public:
  template <class Promise>
  void inherit([[maybe_unused]] const Promise& promise) {
    if constexpr (StopAware<Promise>) {
      if constexpr (std::is_lvalue_reference_v<decltype(promise.get_stop_token())>) {
        token_ = &promise.get_stop_token();
      } else {
        token_ = &own_.emplace(promise.get_stop_token());
      }
    } else {
      token_ = &no_stop_token;
    }
  }
  [[nodiscard]] const std::stop_token& get() const noexcept { return *token_; }

 private:
  const std::stop_token* token_ = &no_stop_token;
  std::optional<std::stop_token> own_;
};

/// What the promises of coroutines that somebody awaits have in common.
class AwaitedPromise : public RecycledFrame {
 public:
  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> finished) const noexcept {
      return Trampoline::transfer(finished.promise().continuation_);
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }

  [[nodiscard]] const std::stop_token& get_stop_token() const noexcept { return stop_token_.get(); }

  template <class Promise>
  void set_awaiter(std::coroutine_handle<Promise> awaiter) {
    continuation_ = awaiter;
    if constexpr (!std::is_void_v<Promise>) stop_token_.inherit(awaiter.promise());
  }

 private:
  std::coroutine_handle<> continuation_ = std::noop_coroutine();
  InheritedStopToken stop_token_;
};

/// A value, a reference, nothing, or the exception that came instead.
template <class T>
class Outcome {
 public:
  template <class U>
  void set_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  void set_error(std::exception_ptr error) noexcept { error_ = std::move(error); }
  T take() {
    if (error_) std::rethrow_exception(error_);
    return std::move(*value_);
  }

 private:
  std::optional<T> value_;
  std::exception_ptr error_;
};

template <class T>
class Outcome<T&> : private Outcome<T*> {
 public:
  void set_value(T& value) noexcept { Outcome<T*>::set_value(std::addressof(value)); }
  using Outcome<T*>::set_error;
  T& take() { return *Outcome<T*>::take(); }
};

template <>
class Outcome<void> {
 public:
  void set_error(std::exception_ptr error) noexcept { error_ = std::move(error); }
  void take() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::exception_ptr error_;
};

template <class T>
class TaskPromise : public AwaitedPromise {
 public:
  Task<T> get_return_object() noexcept;
  template <class U = T>
  requires std::convertible_to<U&&, T>
  void return_value(U&& value) { outcome.set_value(std::forward<U>(value)); }
  void unhandled_exception() noexcept { outcome.set_error(std::current_exception()); }

  Outcome<T> outcome;
};

template <>
class TaskPromise<void> : public AwaitedPromise {
 public:
  Task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void unhandled_exception() noexcept { outcome.set_error(std::current_exception()); }

  Outcome<void> outcome;
};

}  // namespace detail

/// A coroutine that starts when it is awaited, on the awaiting thread, and resumes the awaiter where it ended.
///
/// Awaited once, as an rvalue: `co_await work()` or `co_await std::move(task)`; yields what it returns or rethrows what
/// it throws. Its operations obey the stop token of the coroutine that awaits it. Destroying a Task destroys the frame,
/// at whatever point it is suspended; operations in flight in it are cancelled and waited for.
template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::TaskPromise<T>;
  using value_type = T;

  Task(Task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(coroutine_, other.coroutine_);
    return *this;
  }
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }

  class Awaiter {
   public:
    explicit Awaiter(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiter) const {
      coroutine_.promise().set_awaiter(awaiter);
      return detail::Trampoline::transfer(coroutine_);
    }
    T await_resume() const { return coroutine_.promise().outcome.take(); }

   private:
    std::coroutine_handle<promise_type> coroutine_;
  };

  Awaiter operator co_await() && noexcept { return Awaiter(coroutine_); }

 private:
  friend promise_type;
  explicit Task(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}

  std::coroutine_handle<promise_type> coroutine_;
};

template <class T>
Task<T> detail::TaskPromise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

inline Task<void> detail::TaskPromise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

}  // namespace caio::inline CAIO_ABI
