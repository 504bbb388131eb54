#pragma once
// Reads and writes of streams (pipes, terminals, sockets): in place when they are ready, else when they become so.

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <new>

#include <caio/config.hpp>
#include <caio/detail/in_place.hpp>
#include <caio/detail/readiness.hpp>
#include <caio/execute.hpp>
#include <caio/handover.hpp>
#include <caio/options.hpp>
#include <caio/request.hpp>
#include <caio/system.hpp>

namespace caio::inline CAIO_ABI::detail {

/// Keeps a write to a pipe without a reader from killing the program: the error says it all.
class NoSigpipe {
 public:
  explicit NoSigpipe(bool wanted) noexcept : wanted_(wanted) {
    if (!wanted_) return;
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;
  ~NoSigpipe() {
    if (!wanted_) return;
    if (raised_ && !was_pending_) {
      const ::timespec now{};
      ::sigtimedwait(&pipe_, nullptr, &now);
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  void raised() noexcept { raised_ = true; }

 private:
  bool wanted_;
  bool was_pending_ = false;
  bool raised_ = false;
  ::sigset_t pipe_{};
  ::sigset_t before_{};
};

/// Whether a read (or write) on this stream would find something to do now; errors and hang-ups count.
inline bool stream_is_ready(const Request& request) noexcept {
  ::pollfd polled{.fd = request.descriptor.fileno(),
                  .events = static_cast<short>(request.is_read() ? POLLIN : POLLOUT),
                  .revents = 0};
  return system_calls.poll(&polled, 1, 0) != 0;
}

/// Transfers on a stream that is ready. False: RWF_NOWAIT is refused there. Otherwise `result` is filled in, EAGAIN
/// meaning that somebody else was faster.
inline bool transfer_nowait(Request& request) noexcept {
  const bool vectored = !request.is_scalar_transfer();
  const ::iovec single{request.buffer, std::min(request.length, longest_copy)};
  const ::iovec* const vectors = vectored ? request.vectors : &single;
  const int count = vectored ? static_cast<int>(request.length) : 1;
  const auto transfer = request.is_read()
                            ? +[](int fd, const ::iovec* v, int n,
                                  ::off_t offset) { return system_calls.preadv2(fd, v, n, offset, RWF_NOWAIT); }
                            : +[](int fd, const ::iovec* v, int n, ::off_t offset) {
                                return system_calls.pwritev2(fd, v, n, offset, RWF_NOWAIT);
                              };
  NoSigpipe guard(request.is_write());
  std::int64_t result = outcome(transfer(request.descriptor.fileno(), vectors, count, request.offset));
  if (result == -ESPIPE) {
    request.offset = -1;
    result = outcome(transfer(request.descriptor.fileno(), vectors, count, request.offset));
  }
  if (result == -EPIPE) guard.raised();
  if (result == -EOPNOTSUPP || result == -ENOSYS) return false;
  request.result = result;
  return true;
}

/// The steps of a context's stream requests.
class Streams {
 public:
  /// Where a step leaves a request.
  enum class Step : std::uint8_t {
    ended,    ///< it has its result
    waiting,  ///< in `readiness`
    pooled,   ///< its bytes are the pool's to move
  };

  Streams(Readiness& readiness, Speculation& speculation, ContextStats& stats) noexcept
      : readiness_(readiness), speculation_(speculation), stats_(stats) {}

  /// Moves what can be moved now. `ready`: its descriptor has just become ready.
  Step advance(Request& request, bool ready) noexcept {
    if (!ready && (readiness_.contended(request) || !stream_is_ready(request))) return wait(request);
    while (!request.nowait_refused) {
      if (!transfer_nowait(request)) {
        request.nowait_refused = true;
        break;
      }
      const bool early = request.result == -EAGAIN || request.result == -EINTR;
      if (!early && (!request.is_scalar_transfer() || request.result <= 0)) return Step::ended;
      if (!early) {
        const auto count = static_cast<std::size_t>(request.result);
        if (request.is_read()) filled(request.buffer, count);
        speculation_.spend(count);
        request.consume(count);
        if (request.length == 0 || !request.whole) return Step::ended;
        ++stats_.short_counts;
      }
      if (early || speculation_.slice_is_over()) return wait(request);  // ready all the time: goes on in the next turn
    }
    if (readiness_.occupied(request)) return wait(request);  // several were let go together, at a hang-up
    try {
      readiness_.occupy(request);
    } catch (const std::bad_alloc&) {
      request.result = -ENOMEM;
      return Step::ended;
    }
    return pool(request);
  }

  Step wait(Request& request) noexcept {
    int error = ENOMEM;
    try {
      error = readiness_.add(request);
    } catch (const std::bad_alloc&) {
    }
    if (error == 0) return Step::waiting;
    if (error == EPERM) return pool(request);  // cannot be polled: never has to wait
    request.result = -error;
    return Step::ended;
  }

 private:
  static Step pool(Request& request) noexcept {
    request.to_pool = true;
    return Step::pooled;
  }

  Readiness& readiness_;
  Speculation& speculation_;
  ContextStats& stats_;
};

}  // namespace caio::inline CAIO_ABI::detail
