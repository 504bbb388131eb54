#include <caio/detail/unique_fd.hpp>

#include <fcntl.h>

#include <type_traits>
#include <utility>

#include "support/catch.hpp"

using caio::detail::UniqueFd;

namespace {

int open_one() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

}  // namespace

TEST_CASE("UniqueFd: holds nothing at first") {
  const UniqueFd none;
  CHECK_FALSE(none);
  CHECK(none.get() == -1);
  CHECK_FALSE(UniqueFd(-1));
}

TEST_CASE("UniqueFd: closes what it holds") {
  const int number = open_one();
  {
    const UniqueFd fd(number);
    CHECK(fd);
    CHECK(fd.get() == number);
    CHECK(is_open(number));
  }
  CHECK_FALSE(is_open(number));
}

TEST_CASE("UniqueFd: 0 is a descriptor like another") {
  const int standard_input = ::dup(0);
  REQUIRE(standard_input > 0);
  ::close(0);
  REQUIRE(open_one() == 0);
  {
    const UniqueFd zero(0);
    CHECK(zero);
  }
  CHECK_FALSE(is_open(0));
  CHECK(::dup2(standard_input, 0) == 0);
  ::close(standard_input);
}

TEST_CASE("UniqueFd: moves, and closes once") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<UniqueFd>);
  const int number = open_one();
  int other = -1;
  {
    UniqueFd first(number);
    UniqueFd second(std::move(first));
    CHECK_FALSE(first);
    CHECK(second.get() == number);
    UniqueFd third(open_one());
    other = third.get();
    third = std::move(second);
    CHECK(third.get() == number);
  }
  CHECK_FALSE(is_open(number));
  CHECK_FALSE(is_open(other));
}
