#include <aiofile/function_view.hpp>

#include <string>
#include <type_traits>

#include "support/catch.hpp"

using aiofile::FunctionView;

static_assert(std::is_trivially_copyable_v<FunctionView<void()>>);
static_assert(std::is_trivially_destructible_v<FunctionView<void()>>);
static_assert(!std::is_constructible_v<FunctionView<int(int)>, std::string>);
static_assert(!std::is_constructible_v<FunctionView<std::string()>, int (&)()>);

TEST_CASE("FunctionView: calls what it refers to, with its state") {
  int calls = 0;
  auto add = [&calls](int a, int b) {
    ++calls;
    return a + b;
  };
  const FunctionView<int(int, int)> view = add;
  const FunctionView<int(int, int)> copy = view;
  CHECK(view(1, 2) == 3);
  CHECK(copy(3, 4) == 7);
  CHECK(calls == 2);
}

TEST_CASE("FunctionView: a result that nobody wants is dropped") {
  const auto seven = [] { return 7; };
  const FunctionView<void()> view = seven;
  view();
  CHECK(view);
}

TEST_CASE("FunctionView: of nothing it is false") { CHECK_FALSE(FunctionView<void()>()); }
