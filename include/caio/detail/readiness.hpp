#pragma once
// Requests on streams (pipes, terminals, sockets) that wait until their descriptor is ready: one epoll set.

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include <caio/config.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/request.hpp>
#include <caio/system.hpp>

namespace caio::inline CAIO_ABI::detail {

class Readiness {
 public:
  /// The epoll set, or -1 before the first wait.
  [[nodiscard]] int fileno() const noexcept { return epoll_.get(); }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }

  /// Whether somebody waits already for the same descriptor and direction, or occupies it: then the next one must queue
  /// behind.
  [[nodiscard]] bool contended(const Request& request) const noexcept {
    const auto fd = static_cast<std::size_t>(request.descriptor.fileno());
    return fd < entries_.size() &&
           (!entries_[fd].waiters(request.is_read()).empty() || entries_[fd].occupied(request.is_read()));
  }

  [[nodiscard]] bool occupied(const Request& request) const noexcept {
    const auto fd = static_cast<std::size_t>(request.descriptor.fileno());
    return fd < entries_.size() && entries_[fd].occupied(request.is_read());
  }

  /// The pool moves its bytes: until vacate(), others must wait, or two threads would be at one stream.
  void occupy(Request& request) {
    const auto fd = static_cast<std::size_t>(request.descriptor.fileno());
    if (entries_.size() <= fd) entries_.resize(fd + 1);
    ++entries_[fd].occupants(request.is_read());
    request.occupies = true;
  }
  void vacate(Request& request) noexcept {
    if (!std::exchange(request.occupies, false)) return;
    const int fd = request.descriptor.fileno();
    Entry& entry = entries_[static_cast<std::size_t>(fd)];
    --entry.occupants(request.is_read());
    entry.armed = 0;
    arm(entry, fd);
  }

  /// Files the request. Returns 0; EPERM where the descriptor cannot be polled, so is always ready; or another errno.
  int add(Request& request) {
    if (!epoll_) {
      epoll_ = UniqueFd(system_calls.epoll_create(EPOLL_CLOEXEC));
      if (!epoll_) return errno;
    }
    const auto fd = static_cast<std::size_t>(request.descriptor.fileno());
    if (entries_.size() <= fd) entries_.resize(fd + 1);
    Entry& entry = entries_[fd];
    // With nobody waiting, the file may have been closed and its number given to another, which the set does not know.
    if (entry.readers.empty() && entry.writers.empty()) entry.armed = unknown;
    entry.waiters(request.is_read()).push_back(request);
    if (const int error = arm(entry, static_cast<int>(fd)); error != 0) {
      request.unlink();
      return error;
    }
    ++waiting_;
    return 0;
  }

  void remove(Request& request) noexcept {
    request.unlink();
    --waiting_;
  }

  /// Any waiting request, removed; null when there is none.
  Request* take() noexcept {
    for (Entry& entry : entries_) {
      for (RequestList* list : {&entry.readers, &entry.writers}) {
        if (!list->empty()) {
          --waiting_;
          return &list->pop_front();
        }
      }
    }
    return nullptr;
  }

  /// Calls `ready(request)` for those whose descriptor has become ready; never blocks.
  template <class Ready>
  void collect(Ready ready) {
    std::array<::epoll_event, 64> events;
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
      const ::epoll_event& event = events[static_cast<std::size_t>(i)];
      const int fd = event.data.fd;
      Entry& entry = entries_[static_cast<std::size_t>(fd)];
      entry.armed = 0;
      const bool ended = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
      RequestList due;
      const bool readable = (ended || (event.events & (EPOLLIN | EPOLLRDHUP)) != 0) && !entry.occupied(true);
      const bool writable = (ended || (event.events & EPOLLOUT) != 0) && !entry.occupied(false);
      release(entry.readers, due, readable, ended);
      release(entry.writers, due, writable, ended);
      const bool others = !entry.readers.empty() || !entry.writers.empty();
      if (others && arm(entry, fd) != 0) {  // they try again, and are told the error
        release(entry.readers, due, true, true);
        release(entry.writers, due, true, true);
      }
      while (!due.empty()) ready(due.pop_front());
    }
  }

 private:
  static constexpr std::uint32_t unknown = ~0U;  // asks the set even where nothing is wanted now: it may say EPERM

  struct Entry {
    RequestList readers;
    RequestList writers;
    std::uint32_t armed = 0;
    unsigned reading = 0;  // occupants
    unsigned writing = 0;

    [[nodiscard]] unsigned& occupants(bool read) noexcept { return read ? reading : writing; }
    [[nodiscard]] bool occupied(bool read) const noexcept { return (read ? reading : writing) > 0; }
    [[nodiscard]] RequestList& waiters(bool read) noexcept { return read ? readers : writers; }
    [[nodiscard]] const RequestList& waiters(bool read) const noexcept { return read ? readers : writers; }
  };

  // One request per event: the others would only find the bytes gone.
  void release(RequestList& from, RequestList& to, bool any, bool all) noexcept {
    while (any && !from.empty()) {
      to.push_back(from.pop_front());
      --waiting_;
      any = all;
    }
  }

  int arm(Entry& entry, int fd) noexcept {
    const bool reads = !entry.readers.empty() && !entry.occupied(true);
    const bool writes = !entry.writers.empty() && !entry.occupied(false);
    const std::uint32_t wanted =
        (reads ? static_cast<std::uint32_t>(EPOLLIN) : 0U) | (writes ? static_cast<std::uint32_t>(EPOLLOUT) : 0U);
    if (wanted == entry.armed) return 0;
    ::epoll_event event{.events = wanted | EPOLLONESHOT, .data = {.fd = fd}};
    // The number may belong to another file by now; then the set has forgotten it.
    int status = ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
    if (status != 0 && errno == ENOENT) status = ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
    if (status != 0) return errno;
    entry.armed = wanted;
    return 0;
  }

  UniqueFd epoll_;
  std::deque<Entry> entries_;  // by descriptor; a deque: entries hold list heads and must not move
  std::size_t waiting_ = 0;
};

}  // namespace caio::inline CAIO_ABI::detail
