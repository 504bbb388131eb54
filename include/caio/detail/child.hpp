#pragma once
// Coroutines that run awaitables on behalf of an owner (run, gather, TaskGroup) and report to it.

#include <coroutine>
#include <cstddef>
#include <exception>
#include <stop_token>
#include <utility>

#include <caio/config.hpp>
#include <caio/detail/awaitable.hpp>
#include <caio/detail/frame_pool.hpp>
#include <caio/detail/list.hpp>
#include <caio/detail/transfer.hpp>
#include <caio/task.hpp>

namespace caio::inline CAIO_ABI::detail {

class Children;

class Child {
 public:
  class promise_type : public RecycledFrame, public Link {
   public:
    struct Report {
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> ended) const noexcept;
      void await_resume() const noexcept {}
    };

    Child get_return_object() noexcept { return Child(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    Report final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { error_ = std::current_exception(); }
    [[nodiscard]] const std::stop_token& get_stop_token() const noexcept { return *stop_token_; }

   private:
    friend Children;
    Children* owner_ = nullptr;
    const std::stop_token* stop_token_ = &no_stop_token;
    std::exception_ptr error_;
  };

  explicit Child(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}

 private:
  friend Children;
  std::coroutine_handle<promise_type> coroutine_;
};

/// Children that run at the same time. Its end destroys the frames of those that have not ended.
class Children {
 public:
  Children() = default;
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;
  ~Children() { destroy_all(); }

  /// Runs the child to its first suspension, on the caller's stack. `stop_token` outlives it.
  void start(Child child, const std::stop_token& stop_token) {
    Child::promise_type& promise = child.coroutine_.promise();
    promise.owner_ = this;
    promise.stop_token_ = &stop_token;
    running_.push_back(promise);
    ++count_;
    resume(child.coroutine_);
  }

  [[nodiscard]] bool all_ended() const noexcept { return count_ == 0; }
  void destroy_all() noexcept {
    while (!running_.empty()) {
      std::coroutine_handle<Child::promise_type>::from_promise(running_.pop_front()).destroy();
    }
    count_ = 0;
  }

  /// Awaits the end of all; one awaiter at a time.
  auto wait() noexcept {
    struct Awaiter {
      Children& children;
      bool await_ready() const noexcept { return children.all_ended(); }
      void await_suspend(std::coroutine_handle<> waiter) const noexcept { children.waiter_ = waiter; }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this};
  }

  /// Rethrows the failure that came first in time, once.
  void rethrow() {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 protected:
  /// The first of the children has failed; the others may be told to stop.
  virtual void failed() noexcept {}

 private:
  friend Child::promise_type::Report;

  std::coroutine_handle<> ended(Child::promise_type& promise) noexcept {
    const std::exception_ptr error = std::move(promise.error_);
    promise.unlink();
    std::coroutine_handle<Child::promise_type>::from_promise(promise).destroy();
    --count_;
    if (error && !error_) {
      error_ = error;
      failed();
    }
    if (count_ > 0 || !waiter_) return std::noop_coroutine();
    return std::exchange(waiter_, nullptr);
  }

  List<Child::promise_type> running_;
  std::size_t count_ = 0;
  std::coroutine_handle<> waiter_;
  std::exception_ptr error_;
};

inline std::coroutine_handle<> Child::promise_type::Report::await_suspend(
    std::coroutine_handle<promise_type> ended) const noexcept {
  return Trampoline::transfer(ended.promise().owner_->ended(ended.promise()));
}

/// The stop token of the coroutine that asks.
struct CurrentStopToken {
  const std::stop_token* token = nullptr;
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> coroutine) noexcept {
    token = &coroutine.promise().get_stop_token();
    return false;
  }
  const std::stop_token& await_resume() const noexcept { return *token; }
};

struct Nothing {};

/// Awaits `awaitable` and hands its value to `*result`, which has emplace().
template <class A, class Result>
Child child_into(A awaitable, Result* result) {
  if constexpr (std::is_void_v<AwaitResult<A>>) {
    co_await std::move(awaitable);
  } else {
    result->emplace(co_await std::move(awaitable));
  }
}

}  // namespace caio::inline CAIO_ABI::detail
