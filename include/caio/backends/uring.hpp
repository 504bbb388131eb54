#pragma once
// io_uring, by liburing 2.3 or newer.

#include <liburing.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <caio/backend.hpp>
#include <caio/backends/uring_ring.hpp>
#include <caio/config.hpp>
#include <caio/detail/sleep.hpp>
#include <caio/detail/slots.hpp>
#include <caio/execute.hpp>
#include <caio/handover.hpp>
#include <caio/options.hpp>
#include <caio/system.hpp>

namespace caio::inline CAIO_ABI {

class UringBackend final : public Backend {
 public:
  /// std::system_error when the kernel refuses a ring even of eight entries.
  explicit UringBackend(const ContextOptions& options) : UringBackend(options, Unproven{}) {
    if (denied_.load(std::memory_order_relaxed) == 0) return;
    probe();  // a ring can be made where entering it is denied, as another context has found out
    denied_.store(0, std::memory_order_relaxed);
  }

  /// A round trip through the kernel: a no-op. Throws std::system_error.
  static void probe() {
    UringBackend backend({.max_requests = 1}, Unproven{});
    if (const int status = backend.ring_.enable(); status < 0) {
      throw std::system_error(-status, std::system_category(), "io_uring_register");
    }
    ::io_uring_sqe* const entry = ::io_uring_get_sqe(&backend.ring_.ring);
    ::io_uring_prep_nop(entry);
    entry->user_data = cancel_mark;
    ::io_uring_cqe* completion = nullptr;
    ::__kernel_timespec patience{.tv_sec = 10, .tv_nsec = 0};
    const int status = uring_calls.submit_and_wait_timeout(&backend.ring_.ring, &completion, 1, &patience, nullptr);
    if (status < 0) throw std::system_error(-status, std::system_category(), "io_uring_enter");
    if (completion == nullptr || completion->res != 0)
      throw std::system_error(EIO, std::system_category(), "io_uring no-op");
    ::io_uring_cqe_seen(&backend.ring_.ring, completion);
    if (!backend.ring_.supports(IORING_OP_READ)) {
      throw std::system_error(ENOSYS, std::system_category(), "io_uring READ (Linux 5.6)");
    }
  }

  [[nodiscard]] Implementation implementation() const noexcept override { return Implementation::uring; }
  [[nodiscard]] std::string explain() const override {
    return "uring: " + ring_.describe() + ", up to " + std::to_string(slots_.capacity()) + " at once" +
           (dead_ != 0 ? "; denied in mid-life: " + std::system_category().message(dead_) : "");
  }
  [[nodiscard]] int fileno() noexcept override { return ring_.notifier(); }

  void drive(Batch& batch, const Wait* wait) override {
    if (dead_ == 0) check(ring_.enable(), batch);
    if (dead_ != 0) return drive_dead(batch, wait);
    ring_.drain_notifier();
    take(batch);
    send_cancels();
    const bool may_sleep = wait != nullptr && !batch.has_news() && !ring_.has_completions();
    if (may_sleep && ring_.waits_in_kernel()) {
      check(ring_.submit_and_wait(arm_wake(*wait) ? wait->deadline : TimePoint::min()), batch);
    } else if (ring_.needs_enter()) {
      check(ring_.submit(), batch);
    }
    inline_bytes_ = 0;
    harvest(batch);
    if (may_sleep && !ring_.waits_in_kernel() && !batch.has_news()) {
      detail::sleep_on(ring_.notifier(), *wait);
      ring_.drain_notifier();
      if (ring_.needs_enter()) check(ring_.submit(), batch);
      harvest(batch);
    }
  }

  void cancel(Request& request) override {
    // One that does not fit, because the keys of requests that have ended are still in it, is waited for.
    if (cancels_.size() < cancels_.capacity()) cancels_.push_back(slots_.key(request));
  }

 private:
  struct Unproven {};

  UringBackend(const ContextOptions& options, Unproven) : ring_(options), slots_(ring_.capacity(options.max_requests)) {
    cancels_.reserve(slots_.capacity());
  }

  // Marks in the high half of user_data, beyond any slot's generation.
  static constexpr std::uint64_t cancel_mark = std::uint64_t{1} << 63;
  static constexpr std::uint64_t wake_mark = std::uint64_t{1} << 62;
  static constexpr std::size_t most_cancels = 8;
  // A cached read is copied inside the submission: longer ones, and what exceeds this in one batch, go to a worker.
  static constexpr std::size_t most_inline_bytes = 1024 * 1024;

  static std::optional<std::uint8_t> ring_opcode(Opcode opcode) noexcept {
    switch (opcode) {
      case Opcode::read: return IORING_OP_READ;
      case Opcode::write: return IORING_OP_WRITE;
      case Opcode::readv: return IORING_OP_READV;
      case Opcode::writev: return IORING_OP_WRITEV;
      case Opcode::fsync:
      case Opcode::fdatasync: return IORING_OP_FSYNC;
      case Opcode::open: return IORING_OP_OPENAT;
      case Opcode::close: return IORING_OP_CLOSE;
      default: return std::nullopt;  // truncate: slower by the ring than by the pool, and younger (Linux 6.9)
    }
  }

  [[nodiscard]] bool takes(const Request& request) const noexcept {
    // Ended by a worker, it would not move the descriptor's own position (seen on Linux 6.18).
    if (request.offset < 0 && (request.is_read() || request.is_write())) return false;
    const auto opcode = ring_opcode(request.opcode);
    return opcode && ring_.supports(*opcode) && refusals_[static_cast<std::size_t>(request.opcode)] < most_refusals;
  }

  void take(Batch& batch) {
    while (!batch.empty()) {
      if (!takes(batch.front())) {
        batch.refuse(batch.take());
        continue;
      }
      ::io_uring_sqe* const entry = slots_.full() ? nullptr : next_entry();
      if (entry == nullptr) return;
      Request& request = batch.take();
      prepare(*entry, request);
      entry->user_data = slots_.insert(request);
      detail::handed_over(&request);
    }
  }

  ::io_uring_sqe* next_entry() noexcept {
    if (::io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_.ring)) return entry;
    uring_calls.submit(&ring_.ring);
    inline_bytes_ = 0;
    return ::io_uring_get_sqe(&ring_.ring);
  }

  void prepare(::io_uring_sqe& entry, Request& request) noexcept {
    const int fd = request.descriptor.fileno();
    const auto length = static_cast<unsigned>(std::min(request.length, most_bytes_per_step));
    const auto offset = static_cast<std::uint64_t>(request.offset);
    switch (request.opcode) {
      case Opcode::read: ::io_uring_prep_read(&entry, fd, request.buffer, length, offset); break;
      case Opcode::write:
        ::io_uring_prep_write(&entry, fd, request.buffer, length, offset);
        if (request.append) entry.rw_flags = RWF_APPEND;
        break;
      case Opcode::readv: ::io_uring_prep_readv(&entry, fd, request.vectors, length, offset); break;
      case Opcode::writev: ::io_uring_prep_writev(&entry, fd, request.vectors, length, offset); break;
      case Opcode::fsync: ::io_uring_prep_fsync(&entry, fd, 0); break;
      case Opcode::fdatasync: ::io_uring_prep_fsync(&entry, fd, IORING_FSYNC_DATASYNC); break;
      case Opcode::open:
        ::io_uring_prep_openat(&entry, AT_FDCWD, request.path, request.open_flags, request.open_mode);
        break;
      default: ::io_uring_prep_close(&entry, fd); break;
    }
    if (!request.is_scalar_transfer() || request.descriptor.direct()) return;
    inline_bytes_ += length;
    if (inline_bytes_ > most_inline_bytes) entry.flags |= IOSQE_ASYNC;
  }

  void send_cancels() noexcept {
    while (!cancels_.empty() && cancels_in_flight_ < most_cancels) {
      ::io_uring_sqe* const entry = next_entry();
      if (entry == nullptr) return;
      ::io_uring_prep_cancel64(entry, cancels_.back(), 0);
      entry->user_data = cancel_mark;
      cancels_.pop_back();
      ++cancels_in_flight_;
    }
  }

  /// Lets the ring wake up by the context's own descriptors. False: there is no room to say so.
  bool arm_wake(const Wait& wait) noexcept {
    for (std::size_t i = 0; i < wait.wake.size(); ++i) {
      if (wake_armed_[i]) continue;
      ::io_uring_sqe* const entry = next_entry();
      if (entry == nullptr) return false;
      ::io_uring_prep_poll_add(entry, wait.wake[i], POLLIN);
      entry->user_data = wake_mark + i;
      wake_armed_[i] = true;
    }
    return true;
  }

  void harvest(Batch& batch) noexcept {
    unsigned head = 0;
    unsigned count = 0;
    ::io_uring_cqe* completion = nullptr;
    io_uring_for_each_cqe(&ring_.ring, head, completion) {
      ++count;
      detail::filled(completion, sizeof *completion);
      const std::uint64_t key = completion->user_data;
      if ((key & cancel_mark) != 0) {
        if (cancels_in_flight_ > 0) --cancels_in_flight_;  // a forged one does no harm
      } else if ((key & wake_mark) != 0) {
        wake_armed_[key & 1] = false;
      } else if (Request* const request = slots_.remove(key)) {
        give_back(batch, *request, completion->res);
      }
    }
    ::io_uring_cq_advance(&ring_.ring, count);
  }

  /// An opcode that the kernel has never carried out may be refused for itself: the pool finds out.
  void give_back(Batch& batch, Request& request, int result) noexcept {
    std::int8_t& refusals = refusals_[static_cast<std::size_t>(request.opcode)];
    const bool refused = result == -EINVAL || result == -EOPNOTSUPP || result == -ENOSYS ||
                         (result == -EACCES && request.opcode != Opcode::open);
    if (refused && refusals >= 0) {
      if (result != -EINVAL) ++refusals;  // EINVAL may be the user's own
      return batch.refuse(request);
    }
    if (result >= 0) refusals = -1;
    batch.complete(request, result);
  }

  /// The kernel's answer to a submission. Entries that it did not take stay in the ring and go with the next one.
  void check(int status, Batch& batch) noexcept {
    if (status >= 0 || status == -ETIME || status == -EINTR) return;
    if (status == -EBUSY || status == -EAGAIN) {
      // No memory for more just now; what is in flight has to end first.
      ::pollfd none{};
      system_calls.poll(&none, 0, 1);
      return;
    }
    // EEXIST: another thread ends the context while its own one lives; the ring takes nothing from it.
    dead_ = status == -EEXIST ? ECANCELED : -status;
    if (dead_ == EPERM || dead_ == EACCES || dead_ == ENOSYS) denied_.store(dead_, std::memory_order_relaxed);
    // What the kernel has not seen fails now; what it has taken is still waited for.
    ::io_uring_sq& queue = ring_.ring.sq;
    for (unsigned i = __atomic_load_n(queue.khead, __ATOMIC_ACQUIRE); i != queue.sqe_tail; ++i) {
      if (Request* const request = slots_.remove(queue.sqes[i & *queue.kring_mask].user_data)) {
        fail(batch, *request);
      }
    }
    queue.sqe_tail = __atomic_load_n(queue.khead, __ATOMIC_ACQUIRE);
  }

  /// A descriptor is let go of whatever happens: the pool closes it.
  void fail(Batch& batch, Request& request) const noexcept {
    if (request.opcode == Opcode::close) return batch.refuse(request);
    batch.complete(request, -dead_);
  }

  void drive_dead(Batch& batch, const Wait* wait) noexcept {
    while (!batch.empty()) fail(batch, batch.take());
    find_survivors(batch);
    if (wait == nullptr || batch.has_news()) return;
    Wait brief = *wait;
    const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
    if (slots_.used() > 0 && (!brief.deadline || *brief.deadline > soon)) brief.deadline = soon;
    detail::sleep_on(-1, brief);
    find_survivors(batch);
  }

  /// Requests that the kernel had taken before the ring died are still waited for.
  void find_survivors(Batch& batch) noexcept {
    if (!ring_.ended()) {
      harvest(batch);
      if (slots_.used() > 0 && ring_.can_end()) ring_.end();
    }
    if (slots_.used() > 0 && ring_.ended()) {
      ::pollfd last{.fd = ring_.ended_fd(), .events = 0, .revents = 0};
      if (system_calls.poll(&last, 1, 0) <= 0) return;
      while (Request* const request = slots_.remove_any())
        batch.complete(*request, request->cancel_requested ? -ECANCELED : -dead_);
    }
    if (slots_.used() == 0) ring_.drain_notifier();
  }

  static constexpr std::int8_t most_refusals = 8;

  detail::UringRing ring_;
  detail::Slots slots_;
  std::vector<std::uint64_t> cancels_;  // keys of requests to cancel, not yet told to the kernel
  std::size_t cancels_in_flight_ = 0;
  std::array<bool, 2> wake_armed_{};
  std::array<std::int8_t, 16> refusals_{};  // by Opcode; -1: it has worked
  std::size_t inline_bytes_ = 0;
  int dead_ = 0;
  static inline std::atomic<int> denied_{0};  // why a ring of this process died in mid-life
};

}  // namespace caio::inline CAIO_ABI
