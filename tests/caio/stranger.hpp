#pragma once
// A coroutine type that is not caio's, and a way to wait for several of them.

#include <coroutine>
#include <exception>
#include <stop_token>
#include <utility>

namespace support {

struct WithoutToken {};
struct TokenByValue {
  std::stop_token token;
  std::stop_token get_stop_token() const { return token; }
};
struct TokenByReference {
  std::stop_token token;
  const std::stop_token& get_stop_token() const { return token; }
};

/// Runs from start() on; its object owns the frame, and destroys it wherever it is suspended.
template <class Base = WithoutToken>
class Stranger {
 public:
  struct promise_type : Base {
    struct Ended {
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> coroutine) const noexcept {
        return coroutine.promise().waiter;
      }
      void await_resume() const noexcept {}
    };
    Stranger get_return_object() { return Stranger(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    Ended final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
    std::coroutine_handle<> waiter = std::noop_coroutine();
  };

  Stranger(Stranger&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  Stranger& operator=(Stranger&& other) noexcept {
    std::swap(coroutine_, other.coroutine_);
    return *this;
  }
  ~Stranger() {
    if (coroutine_) coroutine_.destroy();
  }

  void start() const { coroutine_.resume(); }
  void start(std::stop_token token) const {
    coroutine_.promise().token = std::move(token);
    coroutine_.resume();
  }
  bool done() const { return coroutine_.done(); }
  std::coroutine_handle<> handle() const { return coroutine_; }

  /// Awaits its end.
  auto ended() const {
    struct Awaiter {
      std::coroutine_handle<promise_type> coroutine;
      bool await_ready() const noexcept { return coroutine.done(); }
      void await_suspend(std::coroutine_handle<> waiter) const noexcept { coroutine.promise().waiter = waiter; }
      void await_resume() const noexcept {}
    };
    return Awaiter{coroutine_};
  }

 private:
  explicit Stranger(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}
  std::coroutine_handle<promise_type> coroutine_;
};

/// Awaited until count_down() was called `count` times, all on one thread.
class Countdown {
 public:
  explicit Countdown(int count) : count_(count) {}
  void count_down() {
    if (--count_ == 0 && waiter_) std::exchange(waiter_, nullptr).resume();
  }
  int left() const { return count_; }

  bool await_ready() const noexcept { return count_ <= 0; }
  void await_suspend(std::coroutine_handle<> waiter) noexcept { waiter_ = waiter; }
  void await_resume() const noexcept {}

 private:
  int count_;
  std::coroutine_handle<> waiter_;
};

}  // namespace support
