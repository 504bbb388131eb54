#pragma once
// A ring of io_uring: the best flags that the kernel knows, and the ways to enter it.

#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/detail/process.hpp>
#include <caio/detail/sleep.hpp>
#include <caio/detail/unique_fd.hpp>
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

namespace detail {

/// The ring itself: found flags and features, and the ways to enter the kernel.
class UringRing {
 public:
  explicit UringRing(const ContextOptions& options) { set_up(options); }
  UringRing(const UringRing&) = delete;
  UringRing& operator=(const UringRing&) = delete;
  ~UringRing() {
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
  [[nodiscard]] bool supports(unsigned opcode) const noexcept { return opcode < 64 && ((opcodes_ >> opcode) & 1) != 0; }
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
      notifier_ =
          detail::UniqueFd(system_calls.eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC));  // 1: something may have ended before
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
  static constexpr std::size_t reserve = 16;  // completion entries for cancels and wake-ups

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
      if ((choices[i] & ~uring_calls.setup_flags) == 0 || choices[i] == 0) status = try_sizes(choices[i], max_requests);
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

}  // namespace detail

}  // namespace caio::inline CAIO_ABI
