#include <caio/handover.hpp>

#include <array>
#include <cstddef>

#include "support/catch.hpp"

TEST_CASE("handover: the marks change nothing") {
  std::array<std::byte, 3> bytes{std::byte(1), std::byte(2), std::byte(3)};
  const std::array<std::byte, 3> before = bytes;
  caio::detail::handed_over(&bytes);
  caio::detail::taken_back(&bytes);
  caio::detail::filled(bytes.data(), bytes.size());
  caio::detail::filled(nullptr, 0);
  CHECK(bytes == before);
  STATIC_REQUIRE(noexcept(caio::detail::handed_over(nullptr)));
  STATIC_REQUIRE(noexcept(caio::detail::taken_back(nullptr)));
  STATIC_REQUIRE(noexcept(caio::detail::filled(nullptr, 0)));
}
