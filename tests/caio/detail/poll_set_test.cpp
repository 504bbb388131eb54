#include <caio/detail/poll_set.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include "support/catch.hpp"
#include "support/pipe.hpp"

using caio::detail::PollSet;
using caio::detail::UniqueFd;
using support::Pipe;

namespace {

bool readable(const PollSet& set, int patience = 0) {
  ::pollfd polled{.fd = set.fileno(), .events = POLLIN, .revents = 0};
  return ::poll(&polled, 1, patience) == 1;
}

std::int64_t from_now(std::chrono::nanoseconds time) {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch() + time).count();
}

}  // namespace

TEST_CASE("PollSet: is not readable at first") {
  const PollSet set;
  CHECK(set.fileno() >= 0);
  CHECK_FALSE(readable(set));
}

TEST_CASE("PollSet: is readable while one of its sources is") {
  const Pipe first;
  const Pipe second;
  PollSet set;
  set.add(first.reader.get());
  set.add(second.reader.get());
  CHECK_FALSE(readable(set));
  REQUIRE(::write(second.writer.get(), "x", 1) == 1);
  CHECK(readable(set));
  CHECK(readable(set));
  char byte = 0;
  REQUIRE(::read(second.reader.get(), &byte, 1) == 1);
  CHECK_FALSE(readable(set));
}

TEST_CASE("PollSet: sources that are not there or come twice do no harm") {
  const Pipe pipe;
  PollSet set;
  set.add(-1);
  set.add(pipe.reader.get());
  set.add(pipe.reader.get());
  CHECK_FALSE(readable(set));
  REQUIRE(::write(pipe.writer.get(), "x", 1) == 1);
  CHECK(readable(set));
}

TEST_CASE("PollSet: a source that is closed leaves by itself") {
  PollSet set;
  {
    const Pipe pipe;
    set.add(pipe.reader.get());
    REQUIRE(::write(pipe.writer.get(), "x", 1) == 1);
    CHECK(readable(set));
  }
  CHECK_FALSE(readable(set));
}

TEST_CASE("PollSet: is readable when its time has come") {
  PollSet set;
  set.arm(from_now(std::chrono::milliseconds(1)));
  CHECK(readable(set, 60'000));
}

TEST_CASE("PollSet: a time that has passed makes it readable at once, even a negative one") {
  PollSet set;
  for (const std::int64_t past : {from_now(std::chrono::seconds(-1)), std::int64_t{1}, std::int64_t{-7}}) {
    set.arm(past);
    CHECK(readable(set, 60'000));
    set.arm(0);
    CHECK_FALSE(readable(set));
  }
}

TEST_CASE("PollSet: a later time takes the place of an earlier one, and 0 of any") {
  PollSet set;
  set.arm(from_now(std::chrono::seconds(-1)));
  CHECK(readable(set, 60'000));
  set.arm(from_now(std::chrono::hours(1)));
  CHECK_FALSE(readable(set));
  set.arm(0);
  CHECK_FALSE(readable(set));
  set.arm(from_now(std::chrono::seconds(-1)));
  CHECK(readable(set, 60'000));
}
