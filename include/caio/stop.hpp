#pragma once
// with_stop and with_timeout: awaitables that end early.

#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <stop_token>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/detail/awaitable.hpp>
#include <caio/detail/child.hpp>
#include <caio/gather.hpp>
#include <caio/task.hpp>

namespace caio::inline CAIO_ABI {

namespace detail {

/// Runs an awaitable with a stop token of its own, to which stops asked elsewhere are passed on.
template <class A>
class Stoppable {
 public:
  /// Asks it to end early. Resumes nothing.
  void stop() noexcept { source_.request_stop(); }

  void start(A awaitable) { child_.start(child_into<A>(std::move(awaitable), &slot_), token_); }
  auto wait() noexcept { return child_.wait(); }
  /// Its value or its exception.
  AwaitResult<A> result() {
    child_.rethrow();
    if constexpr (!std::is_void_v<AwaitResult<A>>) return std::get<0>(slot_.take());
  }

 private:
  std::stop_source source_;
  const std::stop_token token_ = source_.get_token();
  Slot<AwaitResult<A>> slot_;
  Children child_;  // last: its end destroys what uses the others
};

}  // namespace detail

/// Awaits `awaitable`, whose operations end with operation_canceled when a stop is asked of `token`, or of the awaiting
/// coroutine; its result, once it has really ended. A stop may come from any thread.
template <class A>
requires detail::Awaitable<A> Task<detail::AwaitResult<A>> with_stop(std::stop_token token, A awaitable) {
  const std::stop_token& outer = co_await detail::CurrentStopToken{};
  detail::Stoppable<A> stoppable;
  {
    const std::stop_callback from_outside(outer, [&] { stoppable.stop(); });
    const std::stop_callback from_token(token, [&] { stoppable.stop(); });
    stoppable.start(std::move(awaitable));
    co_await stoppable.wait();
  }
  co_return stoppable.result();
}

/// Awaits `awaitable`; after `duration` its operations are asked to end, and if that ends it with operation_canceled,
/// throws std::system_error(timed_out), once it has really ended. What is done in time, or in spite of it, counts.
template <class Rep, class Period, class A>
requires detail::Awaitable<A> Task<detail::AwaitResult<A>> with_timeout(std::chrono::duration<Rep, Period> duration,
                                                                        A awaitable) {
  const std::stop_token& outer = co_await detail::CurrentStopToken{};
  bool timed_out = false;
  std::exception_ptr no_timer;
  detail::Stoppable<A> stoppable;
  {
    auto wake = [&]() -> Task<> {
      try {
        co_await Context::current().sleep_for(duration);
        timed_out = true;
      } catch (...) {
        no_timer = std::current_exception();
      }
      stoppable.stop();  // without a timer, too: the operation might never end
    };
    const std::stop_callback from_outside(outer, [&] { stoppable.stop(); });
    detail::Stoppable<Task<>> timer;  // destroyed before it has ended: its wait is cancelled
    stoppable.start(std::move(awaitable));
    timer.start(wake());
    co_await stoppable.wait();
  }
  try {
    co_return stoppable.result();
  } catch (const std::system_error& error) {
    if (no_timer && error.code() == std::errc::operation_canceled) std::rethrow_exception(no_timer);
    if (timed_out && error.code() == std::errc::operation_canceled) {
      throw std::system_error(std::make_error_code(std::errc::timed_out), "caio::with_timeout");
    }
    throw;
  }
}

}  // namespace caio::inline CAIO_ABI
