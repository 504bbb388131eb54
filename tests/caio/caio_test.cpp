#include <caio/caio.hpp>

#include <chrono>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "support/catch.hpp"
#include "support/setups.hpp"

using caio::Context;
using caio::Task;

TEST_CASE("caio.hpp: has every name of the engine's interface") {
  static_assert(std::is_same_v<decltype(caio::available()), std::vector<caio::Implementation>>);
  static_assert(!std::is_copy_constructible_v<caio::TaskGroup>);
  static_assert(std::is_aggregate_v<caio::ContextOptions> && std::is_aggregate_v<caio::ContextStats>);
  support::on_every_backend([](Context& context) -> Task<> {
    CHECK(&Context::current() == &context);
    CHECK(caio::why_unavailable(context.implementation()).empty());
    auto one = []() -> Task<int> { co_return 1; };
    auto numbers = []() -> caio::Generator<int> { co_yield 2; };
    caio::Generator<int> generator = numbers();
    CHECK_YIELDS(generator.next(), 2);
    CHECK_YIELDS(caio::with_timeout(std::chrono::hours(1), one()), 1);
    CHECK_YIELDS(caio::with_stop(std::stop_token(), one()), 1);
    const caio::Result<int> result = co_await caio::as_result(one());
    CHECK(result.value() == 1);
    const auto both = co_await caio::gather(one(), one());
    CHECK(std::get<0>(both) + std::get<1>(both) == 2);
    co_await caio::sleep_for(std::chrono::nanoseconds(1));
  });
}
