#pragma once
// An awaitable that is tried in place before an operation is made of it: making one costs more than a cached read.

#include <coroutine>
#include <optional>
#include <type_traits>
#include <utility>

#include <caio/config.hpp>
#include <caio/task.hpp>

namespace caio::inline CAIO_ABI::detail {

/// Attempt has
///   touches_file   whether a stop that was asked for comes first; else what is at hand is taken all the same
///   at_once()      true: done, on this thread; false: an operation has to do it, or the rest. What it throws is thrown
///                  by the await.
///   result()       what the await gives then
///   become(o)      makes the operation that does it instead, in the std::optional<Operation>; called once
template <class Attempt>
class [[nodiscard]] Prompt {
 public:
  explicit Prompt(Attempt attempt) : attempt_(std::move(attempt)) {}

  bool await_ready() {
    if constexpr (Attempt::touches_file) {
      return false;
    } else {
      return attempt_.at_once();
    }
  }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    if constexpr (Attempt::touches_file) {
      if (!stopped(waiter) && attempt_.at_once()) return false;
    }
    attempt_.become(operation_);
    return operation_->await_suspend(waiter);
  }

  decltype(auto) await_resume() {
    if (operation_) return operation_->await_resume();
    return attempt_.result();
  }

 private:
  template <class Promise>
  static bool stopped(std::coroutine_handle<Promise> waiter) {
    InheritedStopToken token;
    if constexpr (!std::is_void_v<Promise>) token.inherit(waiter.promise());
    return token.get().stop_requested();
  }

  Attempt attempt_;
  std::optional<typename Attempt::Operation> operation_;
};

}  // namespace caio::inline CAIO_ABI::detail
