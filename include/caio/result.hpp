#pragma once
// as_result: system errors as values.

#include <coroutine>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

#include <caio/config.hpp>
#include <caio/detail/awaitable.hpp>

namespace caio::inline CAIO_ABI {

/// A value, or the error in its place.
template <class T = void>
class Result {
 public:
  template <class... Value>
  explicit Result(std::in_place_t, Value&&... value) {
    if constexpr (std::is_reference_v<T>) {
      value_.emplace((&value, ...));
    } else {
      value_.emplace(std::forward<Value>(value)...);
    }
  }
  explicit Result(std::error_code error) noexcept : error_(error) {}

  /// Whether there is a value.
  explicit operator bool() const noexcept { return value_.has_value(); }
  /// Empty when there is a value.
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

  /// std::system_error when there is none.
  decltype(auto) value() & { return static_cast<std::add_lvalue_reference_t<T>>(get()); }
  decltype(auto) value() const& { return static_cast<std::add_lvalue_reference_t<const T>>(get()); }
  T value() && {
    if constexpr (std::is_reference_v<T> || std::is_void_v<T>) {
      return static_cast<T>(get());
    } else {
      return std::move(get());
    }
  }

 private:
  using Stored = std::conditional_t<std::is_void_v<T>, std::monostate,
                                    std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>>;

  decltype(auto) get() { return get_from(*this); }
  decltype(auto) get() const { return get_from(*this); }
  template <class Self>
  static auto& get_from(Self& self) {
    if (!self.value_) throw std::system_error(self.error_);
    if constexpr (std::is_reference_v<T>) {
      return **self.value_;
    } else {
      return *self.value_;
    }
  }

  std::optional<Stored> value_;
  std::error_code error_;
};

namespace detail {

template <class A>
class [[nodiscard]] AsResult {
 public:
  explicit AsResult(A awaitable) : awaitable_(std::move(awaitable)) {}

  bool await_ready() { return awaiter().await_ready(); }
  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> waiter) {
    return awaiter().await_suspend(waiter);
  }
  auto await_resume() {
    using T = AwaitResult<A>;
    try {
      if constexpr (std::is_void_v<T>) {
        awaiter().await_resume();
        return Result<T>(std::in_place);
      } else {
        return Result<T>(std::in_place, awaiter().await_resume());
      }
    } catch (const std::system_error& error) {
      return Result<T>(error.code());
    }
  }

 private:
  using Own = decltype(awaiter_of(std::declval<A>()));

  auto& awaiter() {
    if constexpr (std::is_reference_v<Own>) {
      return awaitable_;  // it is its own
    } else {
      if (!awaiter_) awaiter_.emplace(Made{*this});
      return *awaiter_;
    }
  }

  struct Made {
    AsResult& self;
    operator Own() const { return awaiter_of(std::move(self.awaitable_)); }  // NOLINT(google-explicit-constructor)
  };

  A awaitable_;
  std::optional<std::conditional_t<std::is_reference_v<Own>, std::monostate, Own>> awaiter_;
};

}  // namespace detail

/// Awaits `awaitable` and yields a Result: a system error (FileError is one) becomes its error(); others pass through.
template <class A>
requires detail::Awaitable<A>
auto as_result(A awaitable) { return detail::AsResult<A>(std::move(awaitable)); }

}  // namespace caio::inline CAIO_ABI
