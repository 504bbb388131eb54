#include <caio/detail/sleep.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <caio/detail/unique_fd.hpp>
#include <cerrno>
#include <chrono>
#include <vector>

#include "support/catch.hpp"

using caio::TimePoint;
using caio::Wait;
using caio::detail::sleep_on;
using caio::detail::to_timespec;
using caio::detail::UniqueFd;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

namespace {

struct Asked {
  std::vector<int> descriptors;
  std::optional<::timespec> patience;
};
Asked asked;

/// Replaces the sleep by a note of what was asked for.
struct Recording {
  Recording() {
    asked = {};
    caio::system_calls.ppoll = [](::pollfd* polled, ::nfds_t count, const ::timespec* time, const ::sigset_t*) {
      for (::nfds_t i = 0; i < count; ++i) {
        if (polled[i].events == POLLIN) asked.descriptors.push_back(polled[i].fd);
      }
      if (time != nullptr) asked.patience = *time;
      return 0;
    };
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() { caio::system_calls = {}; }
};

}  // namespace

TEST_CASE("to_timespec: splits, and nothing is negative") {
  CHECK(to_timespec(nanoseconds(1'500'000'001)).tv_sec == 1);
  CHECK(to_timespec(nanoseconds(1'500'000'001)).tv_nsec == 500'000'001);
  for (const nanoseconds none : {nanoseconds(0), nanoseconds(-1), nanoseconds::min()}) {
    CHECK(to_timespec(none).tv_sec == 0);
    CHECK(to_timespec(none).tv_nsec == 0);
  }
  CHECK(to_timespec(nanoseconds::max()).tv_sec == 9'223'372'036);
}

TEST_CASE("sleep_on: sleeps on the backend's descriptor and the ones to wake by") {
  const Recording recording;
  const std::array<int, 2> wake{5, 6};
  sleep_on(4, Wait{std::nullopt, wake});
  CHECK(asked.descriptors == std::vector{4, 5, 6});
  CHECK_FALSE(asked.patience);
  asked = {};
  sleep_on(-1, Wait{std::nullopt, std::span(wake).first(1)});
  CHECK(asked.descriptors == std::vector{5});
}

TEST_CASE("sleep_on: a deadline that has passed is a look without a sleep") {
  const Recording recording;
  sleep_on(-1, Wait{steady_clock::now() - std::chrono::seconds(1), {}});
  REQUIRE(asked.patience);
  CHECK(asked.patience->tv_sec == 0);
  CHECK(asked.patience->tv_nsec == 0);
}

TEST_CASE("sleep_on: sleeps no longer than to the deadline") {
  const Recording recording;
  sleep_on(-1, Wait{steady_clock::now() + std::chrono::hours(1), {}});
  REQUIRE(asked.patience);
  CHECK(asked.patience->tv_sec <= 3600);
  CHECK(asked.patience->tv_sec >= 3500);
}

TEST_CASE("sleep_on: ends when a descriptor is readable") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  REQUIRE(::write(writer.get(), "x", 1) == 1);
  const std::array<int, 1> wake{reader.get()};
  sleep_on(-1, Wait{std::nullopt, wake});
  sleep_on(reader.get(), Wait{std::nullopt, {}});
  SUCCEED("came back");
}

TEST_CASE("sleep_on: ends at the deadline") {
  const TimePoint deadline = steady_clock::now() + std::chrono::milliseconds(2);
  sleep_on(-1, Wait{deadline, {}});
  CHECK(steady_clock::now() >= deadline);
}
