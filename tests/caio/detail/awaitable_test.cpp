#include <caio/detail/awaitable.hpp>

#include <caio/context.hpp>
#include <caio/task.hpp>
#include <coroutine>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using caio::detail::Awaitable;
using caio::detail::awaiter_of;
using caio::detail::AwaitResult;

namespace {

struct Plain {
  bool await_ready() const { return true; }
  void await_suspend(std::coroutine_handle<>) const {}
  int await_resume() const { return 1; }
};

struct WithMember {
  Plain operator co_await() const { return {}; }
};

struct RvalueOnly {
  struct Reference : Plain {
    int& await_resume() const;
  };
  Reference operator co_await() && { return {}; }
};

namespace elsewhere {

struct WithFree {};
struct Nothing : Plain {
  void await_resume() const {}
};
Nothing operator co_await(WithFree) { return {}; }

}  // namespace elsewhere
}  // namespace

TEST_CASE("Awaitable: awaiters, members and free operators count, other types do not") {
  STATIC_REQUIRE(Awaitable<Plain>);
  STATIC_REQUIRE(Awaitable<Plain&>);
  STATIC_REQUIRE(Awaitable<WithMember>);
  STATIC_REQUIRE(Awaitable<elsewhere::WithFree>);
  STATIC_REQUIRE(Awaitable<caio::Task<int>>);
  STATIC_REQUIRE(Awaitable<caio::SleepOperation>);
  STATIC_REQUIRE_FALSE(Awaitable<int>);
  STATIC_REQUIRE_FALSE(Awaitable<std::vector<caio::Task<>>>);
}

TEST_CASE("Awaitable: what is awaited as an rvalue only is no awaitable as an lvalue") {
  STATIC_REQUIRE(Awaitable<RvalueOnly>);
  STATIC_REQUIRE_FALSE(Awaitable<RvalueOnly&>);
  STATIC_REQUIRE_FALSE(Awaitable<caio::Task<>&>);
}

TEST_CASE("AwaitResult: is what co_await gives") {
  STATIC_REQUIRE(std::is_same_v<AwaitResult<Plain>, int>);
  STATIC_REQUIRE(std::is_same_v<AwaitResult<WithMember>, int>);
  STATIC_REQUIRE(std::is_same_v<AwaitResult<RvalueOnly>, int&>);
  STATIC_REQUIRE(std::is_void_v<AwaitResult<elsewhere::WithFree>>);
  STATIC_REQUIRE(std::is_same_v<AwaitResult<caio::Task<int&>>, int&>);
  STATIC_REQUIRE(std::is_void_v<AwaitResult<caio::Task<>>>);
  STATIC_REQUIRE(std::is_same_v<AwaitResult<caio::Operation<std::size_t>>, std::size_t>);
}

TEST_CASE("awaiter_of: an awaiter is its own, by reference") {
  Plain plain;
  CHECK(&awaiter_of(plain) == &plain);
  CHECK(awaiter_of(WithMember()).await_resume() == 1);
}
