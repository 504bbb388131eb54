#include <aiofile/options.hpp>

#include <type_traits>

#include "support/catch.hpp"

using aiofile::OpenOptions;

TEST_CASE("OpenOptions: has no member that g++ 12 would copy bitwise inside a co_await expression") {
  STATIC_REQUIRE(std::is_aggregate_v<OpenOptions>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<OpenOptions>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<OpenOptions>);
}

TEST_CASE("OpenOptions: the defaults") {
  constexpr OpenOptions options;
  CHECK(options.encoding == "utf-8");
  CHECK(options.context == nullptr);
  CHECK(options.permissions == 0666);
  CHECK(options.flags == 0);
  CHECK(options.buffering == 0);
  CHECK(options.errors == aiofile::Errors::strict);
  CHECK(options.newline == aiofile::Newline::none);
}
