#pragma once
// The one seam: what a backend must do, and no more. Users and tests write their own.

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <caio/config.hpp>
#include <caio/execute.hpp>
#include <caio/implementation.hpp>
#include <caio/request.hpp>

namespace caio::inline CAIO_ABI {

using TimePoint = std::chrono::steady_clock::time_point;

/// What a backend is given: requests to start, and where to hand back those that have ended.
class Batch {
 public:
  /// Whether there is a request to take and room for it.
  [[nodiscard]] bool empty() const noexcept { return room_ == 0 || queued_.empty(); }
  /// The oldest request; look at it first where it may have to stay.
  [[nodiscard]] Request& front() const noexcept { return queued_.front(); }

  /// Takes the oldest request: it is the backend's until it is completed or refused.
  Request& take() noexcept {
    Request& request = queued_.pop_front();
    request.stage = Request::Stage::backend;
    held_.push_back(request);
    ++held_count_;
    ++taken_;
    --room_;
    return request;
  }

  /// Hands back a request that has ended: a count, a descriptor, or a negative errno.
  void complete(Request& request, std::int64_t result) noexcept {
    request.result = result;
    give_back(request, completed_);
  }

  /// Hands back a request that is not for this backend: the context's pool does it.
  void refuse(Request& request) noexcept { give_back(request, refused_); }

  /// Whether this call has handed something back, so that it must not sleep.
  [[nodiscard]] bool has_news() const noexcept { return !completed_.empty() || !refused_.empty(); }

 protected:
  Batch() = default;
  ~Batch() = default;
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  RequestList queued_;
  RequestList held_;
  RequestList completed_;
  RequestList refused_;
  std::size_t room_ = 0;
  std::size_t held_count_ = 0;
  std::uint64_t taken_ = 0;

 private:
  void give_back(Request& request, RequestList& list) noexcept {
    request.unlink();
    list.push_back(request);
    --held_count_;
  }
};

/// The other side of a Batch: of who drives a backend, a context or a backend around another one.
class DrivenBatch final : public Batch {
 public:
  DrivenBatch() = default;

  /// What the backend has not taken yet, oldest first; push here.
  [[nodiscard]] RequestList& queued() noexcept { return queued_; }
  /// What the backend has.
  [[nodiscard]] RequestList& held() noexcept { return held_; }
  [[nodiscard]] std::size_t held_count() const noexcept { return held_count_; }
  /// What the backend has handed back; pop it here.
  [[nodiscard]] RequestList& completed() noexcept { return completed_; }
  [[nodiscard]] RequestList& refused() noexcept { return refused_; }

  /// Before drive(): how many requests it may take. Afterwards taken() says how many it took.
  void allow(std::size_t room) noexcept {
    room_ = room;
    taken_ = 0;
  }
  [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }
};

/// How long a backend may sleep.
struct Wait {
  std::optional<TimePoint> deadline;  ///< none: until something happens
  std::span<const int> wake;          ///< at most two descriptors that end the sleep by being readable
};

/// Starts requests and hands back what has ended. All calls come from the context's thread.
class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  /// Nothing is in flight when it comes, except in a forked child: there, what is the parent's must not be touched.
  virtual ~Backend() = default;

  /// What Context::implementation() says.
  [[nodiscard]] virtual Implementation implementation() const noexcept = 0;

  /// One line for people: which kernel features are in use.
  [[nodiscard]] virtual std::string explain() const { return std::string(name(implementation())); }

  /// Takes requests, starts them together, and hands back what has ended, in one system call where that is possible.
  /// With `wait` it sleeps until something ends, the deadline, or a `wake` descriptor is readable, unless the batch has
  /// news already. Without `wait` it never blocks.
  virtual void drive(Batch& batch, const Wait* wait) = 0;

  /// Asks for an early end of a request that it holds; the request still comes back through drive(), cancelled or not.
  virtual void cancel(Request& request) = 0;

  /// Carries out a request (any but open and call) at once, outside of drive(), and fills in `result`: for destructors,
  /// which cannot wait. On the thread that calls, whichever that is.
  virtual void at_once(Request& request) noexcept {
    if (request.descriptor.is_foreign()) {
      request.result = -EOPNOTSUPP;
    } else {
      execute(request);
    }
  }

  /// Whether the context may do without it what needs no waiting: page-cache hits, small buffered writes, sizes.
  [[nodiscard]] virtual bool may_be_bypassed() const noexcept { return true; }

  /// Readable when drive() has something to hand back; -1 when nothing is ever left in flight. Asked for only where
  /// drive() does not do the sleeping: under a foreign loop, or beside other contexts.
  [[nodiscard]] virtual int fileno() noexcept { return -1; }
};

}  // namespace caio::inline CAIO_ABI
