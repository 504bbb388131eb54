#pragma once
// A context's inbox together with the eventfd that wakes the context: exactly one signal when it sleeps.

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include <caio/config.hpp>
#include <caio/detail/inbox.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/request.hpp>
#include <caio/system.hpp>

namespace caio::inline CAIO_ABI::detail {

class Mailbox {
 public:
  Mailbox() : wake_(system_calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!wake_) throw std::system_error(errno, std::system_category(), "caio::Context: eventfd");
  }

  /// From any thread. False: closed; the job was not taken.
  bool push(Job& job) noexcept {
    const auto pushed = inbox_.push(job);
    if (pushed == Inbox::Push::asleep) signal();
    return pushed != Inbox::Push::closed;
  }

  /// Readable when the context was woken.
  [[nodiscard]] int fileno() const noexcept { return wake_.get(); }

  [[nodiscard]] bool empty() const noexcept { return inbox_.empty(); }

  /// Announces sleep: from now on a push signals. False: there is something to take first.
  [[nodiscard]] bool prepare_sleep() noexcept {
    const bool quiet = inbox_.try_sleep();
    announced_sleep_ |= quiet;  // an earlier announcement that a push has answered still counts
    return quiet;
  }

  /// Makes fileno() readable until the next take().
  void kick() noexcept {
    if (std::exchange(kicked_, true)) return;
    ++owed_;
    signal();
  }

  /// All jobs, oldest first, linked by `next`.
  [[nodiscard]] Job* take() noexcept {
    if (owed_ > 0) drain();
    if (!announced_sleep_ && inbox_.empty()) return nullptr;
    return woken(inbox_.take_all());
  }

  /// The same, and refuses all jobs that come later.
  [[nodiscard]] Job* close() noexcept {
    Job* const jobs = woken(inbox_.close());
    // Whoever pushed last may not have signalled yet; the eventfd must not go before that.
    for (; owed_ > 0; drain()) {
      ::pollfd wake{.fd = wake_.get(), .events = POLLIN, .revents = 0};
      system_calls.poll(&wake, 1, -1);
    }
    return jobs;
  }

 private:
  Job* woken(Job* jobs) noexcept {
    if (std::exchange(announced_sleep_, false) && jobs != nullptr) {
      ++owed_;
      drain();
    }
    return jobs;
  }

  void signal() const noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(::write(wake_.get(), &one, sizeof one));
  }

  void drain() noexcept {
    kicked_ = false;
    std::uint64_t count = 0;
    // A producer may still be on its way from its push to its signal: then the count comes later.
    if (::read(wake_.get(), &count, sizeof count) > 0) owed_ -= static_cast<std::int64_t>(count);
  }

  Inbox inbox_;
  UniqueFd wake_;
  std::int64_t owed_ = 0;  // signals that were or will be given, less those read: they may be read first
  bool announced_sleep_ = false;
  bool kicked_ = false;
};

}  // namespace caio::inline CAIO_ABI::detail
