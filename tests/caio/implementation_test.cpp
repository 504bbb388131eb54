#include <caio/implementation.hpp>

#include <set>
#include <string>

#include "support/catch.hpp"

using caio::Implementation;

TEST_CASE("Implementation: the names are the words of CAIO_IMPL") {
  STATIC_REQUIRE(caio::name(Implementation::uring) == "uring");
  STATIC_REQUIRE(caio::name(Implementation::linux_aio) == "linux");
  STATIC_REQUIRE(caio::name(Implementation::thread) == "thread");
  STATIC_REQUIRE(caio::name(Implementation::blocking) == "blocking");
}

TEST_CASE("Implementation: all of them are listed once, best first") {
  STATIC_REQUIRE(caio::implementations.size() == 4);
  STATIC_REQUIRE(caio::implementations.front() == Implementation::uring);
  STATIC_REQUIRE(caio::implementations.back() == Implementation::blocking);
  const std::set<Implementation> different(caio::implementations.begin(), caio::implementations.end());
  CHECK(different.size() == caio::implementations.size());
}

TEST_CASE("Implementation: a word finds the one it names, and no other word does") {
  for (const Implementation implementation : caio::implementations) {
    CHECK(caio::detail::implementation_named(caio::name(implementation)) == implementation);
  }
  for (const char* const word : {"", "URING", "uring ", "io_uring", "linux_aio", "threads"}) {
    CHECK_FALSE(caio::detail::implementation_named(word));
  }
}
