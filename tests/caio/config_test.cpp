#include <caio/config.hpp>

#include <caio/task.hpp>
#include <string>
#include <string_view>
#include <typeinfo>

#include "support/catch.hpp"

TEST_CASE("config: every name tells which backends were compiled in") {
  const std::string tag = "with_uring" + std::to_string(CAIO_WITH_LIBURING) + "_aio" + std::to_string(CAIO_WITH_LIBAIO);
  const std::string_view name = typeid(caio::Task<>).name();
  CAPTURE(name);
  CHECK(name.find(tag) != std::string_view::npos);
}

TEST_CASE("config: the build macros are always defined, to 0 or 1") {
  STATIC_REQUIRE((CAIO_WITH_LIBURING == 0 || CAIO_WITH_LIBURING == 1));
  STATIC_REQUIRE((CAIO_WITH_LIBAIO == 0 || CAIO_WITH_LIBAIO == 1));
}

TEST_CASE("config: there is a version") {
  STATIC_REQUIRE(CAIO_VERSION_MAJOR >= 0);
  STATIC_REQUIRE(CAIO_VERSION_MAJOR * 10'000 + CAIO_VERSION_MINOR * 100 + CAIO_VERSION_PATCH > 0);
}
