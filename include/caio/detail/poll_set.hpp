#pragma once
// What Context::fileno() gives to somebody else's event loop: readable when poll() has something to do.

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <cstdint>

#include <caio/config.hpp>
#include <caio/detail/sleep.hpp>
#include <caio/detail/unique_fd.hpp>

namespace caio::inline CAIO_ABI::detail {

class PollSet {
 public:
  PollSet()
      : epoll_(::epoll_create1(EPOLL_CLOEXEC)), timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
    add(timer_.get());
  }

  /// -1 when the process was out of descriptors.
  [[nodiscard]] int fileno() const noexcept { return timer_ ? epoll_.get() : -1; }

  /// One more source; closed ones leave by themselves.
  void add(int fd) noexcept {
    if (fd < 0) return;
    ::epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  void remove(int fd) noexcept {
    if (fd >= 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  }

  /// The time of the earliest timer, in nanoseconds of the steady clock; 0: none.
  void arm(std::int64_t deadline) noexcept {
    if (deadline == armed_) return;
    armed_ = deadline;
    ::itimerspec time{};
    // The steady clock is CLOCK_MONOTONIC; a zero would disarm the timer.
    if (deadline != 0) time.it_value = to_timespec(std::chrono::nanoseconds(deadline > 0 ? deadline : 1));
    ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &time, nullptr);
  }

 private:
  UniqueFd epoll_;
  UniqueFd timer_;
  std::int64_t armed_ = 0;
};

}  // namespace caio::inline CAIO_ABI::detail
