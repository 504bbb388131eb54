#pragma once
// Generator: a coroutine that yields values and may await between them.

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include <caio/config.hpp>
#include <caio/task.hpp>

namespace caio::inline CAIO_ABI {

/// An asynchronous sequence: `while (auto item = co_await generator.next())`.
///
/// Nothing runs before the first next(). One next() at a time; it runs the coroutine to its next co_yield, gives the
/// value, or nullopt at the end, or rethrows what the coroutine threw (after which it has ended). Operations inside
/// obey the stop token of the coroutine that awaits next(). Destroy it at any point; operations in flight are waited
/// for.
template <class T>
class [[nodiscard]] Generator {
 public:
  class promise_type : public detail::AwaitedPromise {
   public:
    Generator get_return_object() noexcept {
      return Generator(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    template <class U = T>
    requires std::convertible_to<U&&, T> FinalAwaiter yield_value(U&& value) {
      item_.emplace(std::forward<U>(value));
      return {};  // to whoever awaits next(), as at the end
    }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { error_ = std::current_exception(); }

   private:
    friend Generator;
    std::optional<T> item_;
    std::exception_ptr error_;
  };

  class [[nodiscard]] Next {
   public:
    explicit Next(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}
    bool await_ready() const noexcept { return !coroutine_ || coroutine_.done(); }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiter) const {
      coroutine_.promise().set_awaiter(awaiter);
      return detail::Trampoline::transfer(coroutine_);
    }
    std::optional<T> await_resume() const {
      if (!coroutine_) return std::nullopt;
      promise_type& promise = coroutine_.promise();
      if (promise.error_) std::rethrow_exception(std::exchange(promise.error_, nullptr));
      std::optional<T> item = std::move(promise.item_);
      promise.item_.reset();
      return item;
    }

   private:
    std::coroutine_handle<promise_type> coroutine_;
  };

  Generator(Generator&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  Generator& operator=(Generator&& other) noexcept {
    std::swap(coroutine_, other.coroutine_);
    return *this;
  }
  ~Generator() {
    if (coroutine_) coroutine_.destroy();
  }

  [[nodiscard]] Next next() noexcept { return Next(coroutine_); }

 private:
  explicit Generator(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}

  std::coroutine_handle<promise_type> coroutine_;
};

}  // namespace caio::inline CAIO_ABI
