#pragma once
// What awaiting something gives.

#include <concepts>
#include <type_traits>
#include <utility>

#include <caio/config.hpp>

namespace caio::inline CAIO_ABI::detail {

template <class A>
concept MemberAwaitable = requires(A&& a) {
  static_cast<A&&>(a).operator co_await();
};
template <class A>
concept FreeAwaitable = requires(A&& a) {
  operator co_await(static_cast<A&&>(a));
};
template <class A>
concept Awaiter = requires(A& a) {
  a.await_ready();
  a.await_resume();
};

template <class A>
decltype(auto) awaiter_of(A&& awaitable) {
  if constexpr (MemberAwaitable<A>) {
    return static_cast<A&&>(awaitable).operator co_await();
  } else if constexpr (FreeAwaitable<A>) {
    return operator co_await(static_cast<A&&>(awaitable));
  } else {
    return static_cast<A&&>(awaitable);
  }
}

template <class A>
concept Awaitable = MemberAwaitable<A> || FreeAwaitable<A> || Awaiter<std::remove_reference_t<A>>;

template <class A>
using AwaitResult = decltype(awaiter_of(std::declval<A>()).await_resume());

}  // namespace caio::inline CAIO_ABI::detail
