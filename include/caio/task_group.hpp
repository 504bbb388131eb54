#pragma once
// TaskGroup: children that never outlive it.

#include <exception>
#include <optional>
#include <stop_token>
#include <utility>

#include <caio/config.hpp>
#include <caio/detail/child.hpp>
#include <caio/task.hpp>

namespace caio::inline CAIO_ABI {

/// Runs tasks at the same time and joins them. Use it on one thread.
class TaskGroup final : private detail::Children {
 public:
  TaskGroup() = default;

  /// Destroys the frames of children that have not ended: their operations are cancelled and waited for, and nothing is
  /// resumed.
  ~TaskGroup() {
    request_stop();
    destroy_all();
  }

  /// Starts `task` at once, up to its first suspension. It obeys the group's stop token.
  void spawn(Task<> task) { start(detail::child_into<Task<>>(std::move(task), &nothing), token_); }

  /// Asks all children to stop: their operations end with operation_canceled.
  void request_stop() noexcept { source_.request_stop(); }

  /// Awaits the end of all children; then rethrows the failure that came first in time. The first failure, and a stop
  /// asked of the awaiting coroutine, stop the children.
  [[nodiscard]] Task<> join() {
    const std::stop_token& outer = co_await detail::CurrentStopToken{};
    {
      const std::stop_callback forward(outer, [this] { request_stop(); });
      co_await wait();
    }
    if (source_.stop_requested()) {
      source_ = std::stop_source();
      token_ = source_.get_token();
    }
    rethrow();
  }

 private:
  void failed() noexcept override { request_stop(); }

  static inline detail::Nothing nothing;

  std::stop_source source_;
  std::stop_token token_ = source_.get_token();
};

}  // namespace caio::inline CAIO_ABI
