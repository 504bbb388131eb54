#pragma once
// gather: awaits several things at the same time.

#include <cstddef>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <caio/config.hpp>
#include <caio/detail/awaitable.hpp>
#include <caio/detail/child.hpp>
#include <caio/task.hpp>

namespace caio::inline CAIO_ABI {

namespace detail {

/// Where a child's value waits for the others.
template <class T>
class Slot {
 public:
  template <class U>
  void emplace(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  std::tuple<T> take() { return std::tuple<T>(std::move(*value_)); }

 private:
  std::optional<T> value_;
};

template <class T>
class Slot<T&> {
 public:
  void emplace(T& value) noexcept { value_ = &value; }
  std::tuple<T&> take() { return std::tuple<T&>(*value_); }

 private:
  T* value_ = nullptr;
};

template <>
class Slot<void> {
 public:
  std::tuple<> take() { return {}; }
};

template <class... A>
using GatherTuple = decltype(std::tuple_cat(std::declval<Slot<AwaitResult<A>>>().take()...));
template <class... A>
using GatherResult = std::conditional_t<std::is_same_v<GatherTuple<A...>, std::tuple<>>, void, GatherTuple<A...>>;
template <class A>
using GatherListResult =
    std::conditional_t<std::is_void_v<AwaitResult<A>>, void, std::vector<std::remove_cvref_t<AwaitResult<A>>>>;

/// Starts `make(element)` for each element and collects the values in order.
template <class A, class Range, class Function>
Task<GatherListResult<A>> gather_list(Range range, Function make) {
  using Result = AwaitResult<A>;
  const std::stop_token& stop_token = co_await CurrentStopToken{};
  std::vector<Slot<Result>> slots(std::size(range));
  Children children;  // after the slots: its end destroys children that write to them
  std::size_t index = 0;
  for (auto&& element : range) {
    children.start(child_into<A>(make(static_cast<decltype(element)>(element)), &slots[index]), stop_token);
    ++index;
  }
  co_await children.wait();
  children.rethrow();
  if constexpr (!std::is_void_v<Result>) {
    GatherListResult<A> results;
    results.reserve(slots.size());
    for (auto& slot : slots) results.push_back(std::get<0>(slot.take()));
    co_return results;
  }
}

}  // namespace detail

/// Awaits all of `awaitables` at the same time. Yields a tuple of their values, void ones left out (nothing when all
/// are void). Waits for all, then rethrows the failure that came first in time; siblings of a failure are not
/// cancelled.
template <class... A>
requires(detail::Awaitable<A>&&...) Task<detail::GatherResult<A...>> gather(A... awaitables) {
  const std::stop_token& stop_token = co_await detail::CurrentStopToken{};
  std::tuple<detail::Slot<detail::AwaitResult<A>>...> slots;
  detail::Children children;
  std::apply(
      [&](auto&... slot) { (children.start(detail::child_into<A>(std::move(awaitables), &slot), stop_token), ...); },
      slots);
  co_await children.wait();
  children.rethrow();
  if constexpr (!std::is_void_v<detail::GatherResult<A...>>) {
    co_return std::apply([](auto&... slot) { return std::tuple_cat(slot.take()...); }, slots);
  }
}

/// The same for a vector; yields a vector of the values in the same order.
template <class A>
requires detail::Awaitable<A> Task<detail::GatherListResult<A>> gather(std::vector<A> awaitables) {
  return detail::gather_list<A>(std::move(awaitables), [](A& awaitable) -> A&& { return std::move(awaitable); });
}

/// Awaits `function(element)` for each element of `range` at the same time; yields a vector of the values in order.
/// An lvalue range must live until the await is done.
template <class Range, class Function>
requires(!detail::Awaitable<Range>) auto gather(Range&& range, Function function) {
  using A = std::remove_cvref_t<decltype(function(*std::begin(range)))>;
  return detail::gather_list<A, Range>(std::forward<Range>(range), std::move(function));
}

}  // namespace caio::inline CAIO_ABI
