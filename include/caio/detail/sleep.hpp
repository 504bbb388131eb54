#pragma once
// Sleeping on descriptors with a deadline.

#include <poll.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/system.hpp>

namespace caio::inline CAIO_ABI::detail {

inline ::timespec to_timespec(std::chrono::nanoseconds time) noexcept {
  if (time < time.zero()) time = time.zero();
  return {.tv_sec = static_cast<::time_t>(time.count() / 1'000'000'000),
          .tv_nsec = static_cast<long>(time.count() % 1'000'000'000)};
}

/// Until one of `polled` is ready, the deadline has passed, or a signal came.
inline void sleep_on(std::span<::pollfd> polled, const std::optional<TimePoint>& deadline) {
  ::timespec left{};
  if (deadline) left = to_timespec(*deadline - std::chrono::steady_clock::now());
  system_calls.ppoll(polled.data(), polled.size(), deadline ? &left : nullptr, nullptr);
}

/// As a backend sleeps: on its own descriptor (-1: none) and those that `wait` names.
inline void sleep_on(int own, const Wait& wait) {
  std::array<::pollfd, 4> polled{};
  std::size_t count = 0;
  if (own >= 0) polled[count++] = {.fd = own, .events = POLLIN, .revents = 0};
  for (const int fd : wait.wake.first(wait.wake.size() < 3 ? wait.wake.size() : 3)) {
    polled[count++] = {.fd = fd, .events = POLLIN, .revents = 0};
  }
  sleep_on(std::span(polled).first(count), wait.deadline);
}

}  // namespace caio::inline CAIO_ABI::detail
