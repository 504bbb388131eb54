#pragma once
// io_uring, by liburing 2.3 or newer.

#include <liburing.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/detail/process.hpp>
#include <caio/detail/sleep.hpp>
#include <caio/detail/slots.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/execute.hpp>
#include <caio/handover.hpp>
#include <caio/options.hpp>
#include <caio/system.hpp>

namespace caio::inline CAIO_ABI {

/// The calls of liburing that enter the kernel, and what a test may hide of it to run the paths of older ones.
struct UringCalls {
  int (*queue_init)(unsigned, ::io_uring*, ::io_uring_params*) = ::io_uring_queue_init_params;
  int (*submit)(::io_uring*) = ::io_uring_submit;
  int (*submit_and_get_events)(::io_uring*) = ::io_uring_submit_and_get_events;
  int (*submit_and_wait_timeout)(::io_uring*, ::io_uring_cqe**, unsigned, ::__kernel_timespec*,
                                 ::sigset_t*) = ::io_uring_submit_and_wait_timeout;
  ::io_uring_probe* (*get_probe)(::io_uring*) = ::io_uring_get_probe_ring;

  unsigned setup_flags = ~0U;     ///< setup flags that may be asked for
  unsigned features = ~0U;        ///< features that are believed when the kernel reports them
  std::uint64_t opcodes = ~0ULL;  ///< opcodes, by bit, that are believed
};

inline constinit UringCalls uring_calls{};

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
    refusals_.fill(0);
  }

  // Marks in the high half of user_data, beyond any slot's generation.
  static constexpr std::uint64_t cancel_mark = std::uint64_t{1} << 63;
  static constexpr std::uint64_t wake_mark = std::uint64_t{1} << 62;
  static constexpr std::size_t reserve = 16;  // completion entries for cancels and wake-ups
  static constexpr std::size_t most_cancels = 8;
  // A cached read is copied inside the submission: longer ones, and what exceeds this in one batch, go to a worker.
  static constexpr std::size_t most_inline_bytes = 1024 * 1024;

  /// The ring itself: found flags and features, and the ways to enter the kernel.
  class Ring {
   public:
    explicit Ring(const ContextOptions& options) { set_up(options); }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() {
      if (ended_) return;
      if (generation_ == detail::process_generation()) {
        ::io_uring_queue_exit(&ring);
      } else {
        ::close(ring.ring_fd);  // a forked child has no mapping of it: see dontfork below
      }
    }

    /// Under DEFER_TASKRUN completions come only by entering the kernel. Where that is denied, the ring can still be
    /// ended, and the kernel says when it has let go of the last request: then ended_fd() hangs up.
    void end() noexcept {
      if (std::exchange(ended_, true)) return;
      ::io_uring_queue_exit(&ring);
      const std::uint64_t one = 1;
      if (notifier_) static_cast<void>(::write(notifier_.get(), &one, sizeof one));  // a foreign loop has to ask again
    }
    [[nodiscard]] bool ended() const noexcept { return ended_; }
    [[nodiscard]] bool can_end() const noexcept { return static_cast<bool>(last_file_); }
    [[nodiscard]] int ended_fd() const noexcept { return last_file_.get(); }

    /// How many requests may be in flight: their completions and the reserve must always fit.
    [[nodiscard]] std::size_t capacity(std::size_t wanted) const noexcept {
      return std::min<std::size_t>(wanted, ring.cq.ring_entries - reserve);
    }

    /// On the context's thread, before the first use: the ring takes submissions from the thread that does this.
    int enable() noexcept {
      if (std::exchange(enabled_, true) || (flags_ & IORING_SETUP_R_DISABLED) == 0) return 0;
      return ::io_uring_register(static_cast<unsigned>(ring.ring_fd), IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    }

    [[nodiscard]] bool waits_in_kernel() const noexcept { return (features_ & IORING_FEAT_EXT_ARG) != 0; }
    [[nodiscard]] bool supports(unsigned opcode) const noexcept {
      return opcode < 64 && ((opcodes_ >> opcode) & 1) != 0;
    }
    [[nodiscard]] bool has_completions() const noexcept { return ::io_uring_cq_ready(&ring) > 0; }

    /// Whether the kernel has to be told something, or keeps completions until it is entered.
    [[nodiscard]] bool needs_enter() const noexcept {
      if (::io_uring_sq_ready(&ring) > 0) return true;
      constexpr unsigned pending = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;
      if ((flags_ & IORING_SETUP_TASKRUN_FLAG) == 0 && (flags_ & IORING_SETUP_DEFER_TASKRUN) != 0) return true;
      return (__atomic_load_n(ring.sq.kflags, __ATOMIC_RELAXED) & pending) != 0;
    }

    /// A descriptor that is readable when there are completions: an eventfd, since the ring's own loses wake-ups under
    /// DEFER_TASKRUN (seen on Linux 6.18, with poll and epoll). It costs a system call per turn: made when asked for.
    [[nodiscard]] int notifier() noexcept {
      if (!notifier_ && !ended_) {
        notifier_ = detail::UniqueFd(
            system_calls.eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC));  // 1: something may have ended before
        if (notifier_ && ::io_uring_register_eventfd(&ring, notifier_.get()) != 0) notifier_ = detail::UniqueFd();
      }
      return notifier_ || ended_ ? notifier_.get() : ring.ring_fd;
    }
    /// Before completions are looked for: what comes later signals anew.
    void drain_notifier() const noexcept {
      std::uint64_t count = 0;
      if (notifier_) static_cast<void>(::read(notifier_.get(), &count, sizeof count));
    }

    int submit() noexcept { return uring_calls.submit_and_get_events(&ring); }

    int submit_and_wait(const std::optional<TimePoint>& deadline) noexcept {
      ::io_uring_cqe* completion = nullptr;
      ::__kernel_timespec left{};
      if (deadline) {
        const ::timespec time = detail::to_timespec(
            *deadline == TimePoint::min() ? std::chrono::nanoseconds(0) : *deadline - std::chrono::steady_clock::now());
        left = {.tv_sec = time.tv_sec, .tv_nsec = time.tv_nsec};
      }
      return uring_calls.submit_and_wait_timeout(&ring, &completion, 1, deadline ? &left : nullptr, nullptr);
    }

    [[nodiscard]] std::string describe() const {
      std::string text = "io_uring with " + std::to_string(ring.sq.ring_entries) + " submission and " +
                         std::to_string(ring.cq.ring_entries) + " completion entries";
      if ((flags_ & IORING_SETUP_SQPOLL) != 0) text += ", SQPOLL";
      if ((flags_ & IORING_SETUP_SINGLE_ISSUER) != 0) text += ", SINGLE_ISSUER";
      if ((flags_ & IORING_SETUP_DEFER_TASKRUN) != 0) text += ", DEFER_TASKRUN";
      if ((flags_ & IORING_SETUP_COOP_TASKRUN) != 0) text += ", COOP_TASKRUN";
      return text;
    }

    ::io_uring ring{};

   private:
    void set_up(const ContextOptions& options) {
      // Best first; a kernel that does not know a flag answers EINVAL (the version that brought each in brackets).
      constexpr unsigned plain = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;                      // 5.6, 5.5
      constexpr unsigned disabled = plain | IORING_SETUP_R_DISABLED;                            // 5.10
      constexpr unsigned whole = disabled | IORING_SETUP_SUBMIT_ALL;                            // 5.18
      constexpr unsigned coop = whole | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;  // 5.19
      constexpr unsigned defer =
          whole | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;  // 6.1
      constexpr std::array choices{defer, coop, whole, disabled, plain, 0U};
      constexpr std::array polled{whole | IORING_SETUP_SQPOLL, disabled | IORING_SETUP_SQPOLL,
                                  plain | IORING_SETUP_SQPOLL};
      int status = -EINVAL;
      if (options.sqpoll) status = try_flags(polled, options.max_requests);
      if (status < 0) status = try_flags(choices, options.max_requests);
      if (status < 0) throw std::system_error(-status, std::system_category(), "io_uring_setup");
      ::io_uring_ring_dontfork(&ring);  // a child that touched the parent's ring would disturb it
      find_opcodes();
      if ((flags_ & IORING_SETUP_DEFER_TASKRUN) != 0) keep_last_file();
    }

    /// The ring alone holds the other end of a pipe, among its registered files: they go after the last request.
    void keep_last_file() noexcept {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) return;
      detail::UniqueFd reader(ends[0]);
      const detail::UniqueFd writer(ends[1]);
      if (::io_uring_register_files(&ring, &ends[1], 1) == 0) last_file_ = std::move(reader);
    }

    template <std::size_t N>
    int try_flags(const std::array<unsigned, N>& choices, unsigned max_requests) noexcept {
      int status = -EINVAL;
      for (std::size_t i = 0; i < N && status == -EINVAL; ++i) {
        if ((choices[i] & ~uring_calls.setup_flags) == 0 || choices[i] == 0)
          status = try_sizes(choices[i], max_requests);
      }
      return status;
    }

    /// Rings are charged to RLIMIT_MEMLOCK (again since Linux 6.18): half as large where that is refused.
    int try_sizes(unsigned flags, unsigned max_requests) noexcept {
      unsigned completions = std::bit_ceil(std::max(max_requests, 16U) + static_cast<unsigned>(reserve));
      int status = -ENOMEM;
      for (; status == -ENOMEM && completions >= 2 * reserve; completions /= 2) {
        ::io_uring_params params{};
        params.flags = flags;
        params.cq_entries = completions;
        ring = {};
        status = uring_calls.queue_init(std::clamp(completions / 2, 8U, 128U), &ring, &params);
        flags_ = flags;
        features_ = params.features & uring_calls.features;
      }
      return status;
    }

    void find_opcodes() noexcept {
      ::io_uring_probe* const probe = uring_calls.get_probe(&ring);
      if (probe == nullptr) {  // registering may be denied where the ring works: the plain ones are as old as that
        opcodes_ = (1U << IORING_OP_READV) | (1U << IORING_OP_WRITEV) | (1U << IORING_OP_FSYNC) |
                   (1U << IORING_OP_POLL_ADD) | (1ULL << IORING_OP_READ) | (1ULL << IORING_OP_WRITE) |
                   (1ULL << IORING_OP_ASYNC_CANCEL);
      } else {
        for (unsigned opcode = 0; opcode < 64; ++opcode) {
          if (opcode <= probe->last_op && ::io_uring_opcode_supported(probe, static_cast<int>(opcode)) != 0) {
            opcodes_ |= std::uint64_t{1} << opcode;
          }
        }
        ::io_uring_free_probe(probe);
      }
      opcodes_ &= uring_calls.opcodes;
    }

    const unsigned generation_ = detail::process_generation();
    detail::UniqueFd notifier_;
    unsigned flags_ = 0;
    unsigned features_ = 0;
    std::uint64_t opcodes_ = 0;
    detail::UniqueFd last_file_;
    bool enabled_ = false;
    bool ended_ = false;
  };

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
    const bool refused = result == -EINVAL || result == -EOPNOTSUPP || result == -ENOSYS || result == -EACCES;
    if (refused && refusals >= 0) {
      if (request.opcode != Opcode::open || result != -EACCES) {
        if (result != -EINVAL) ++refusals;  // EINVAL may be the user's own
        return batch.refuse(request);
      }
    } else if (result >= 0) {
      refusals = -1;
    }
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

  Ring ring_;
  detail::Slots slots_;
  std::vector<std::uint64_t> cancels_;  // keys of requests to cancel, not yet told to the kernel
  std::size_t cancels_in_flight_ = 0;
  std::array<bool, 2> wake_armed_{};
  std::array<std::int8_t, 16> refusals_;  // by Opcode; -1: it has worked
  std::size_t inline_bytes_ = 0;
  int dead_ = 0;
  static inline std::atomic<int> denied_{0};  // why a ring of this process died in mid-life
};

}  // namespace caio::inline CAIO_ABI
