#pragma once
// The engine behind a Context: takes requests, hands them over in batches, and tells their owners when they have ended.
// Everything here happens on the context's thread, unless it says otherwise. How requests live is in
// engine_requests.hpp, how turns and the end go in engine_turns.hpp.

#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/detail/dispatcher.hpp>
#include <caio/detail/in_place.hpp>
#include <caio/detail/mailbox.hpp>
#include <caio/detail/ownership.hpp>
#include <caio/detail/poll_set.hpp>
#include <caio/detail/readiness.hpp>
#include <caio/detail/streams.hpp>
#include <caio/detail/timers.hpp>
#include <caio/options.hpp>
#include <caio/request.hpp>

namespace caio::inline CAIO_ABI {

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  Engine(std::unique_ptr<Backend> backend, const ContextOptions& options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  // ---- from any thread -------------------------------------------------------------------------------------------

  [[nodiscard]] bool on_own_thread() const noexcept { return ownership_.here(); }
  /// The same until the context ends.
  [[nodiscard]] bool working_here() const noexcept { return ownership_.working_here(); }
  /// Whether this is a forked child's copy, which must touch nothing.
  [[nodiscard]] bool inherited() const noexcept { return ownership_.inherited(); }

  /// Carries a job to the context's thread. False: the context has ended; the job was not taken.
  bool post(Job& job) noexcept { return !inherited() && mailbox_.push(job); }

  // ---- requests --------------------------------------------------------------------------------------------------

  /// Accepts a request. True: it has ended at once, and `run` will not be called.
  bool start(Request& request) noexcept;
  /// Whether it makes sense to call those below, and this is the context's own thread. Allowed from any thread.
  [[nodiscard]] bool works_in_place() const noexcept { return speculation_.enabled() && working_here(); }
  /// A read from the page cache, or a small write into it, without a request, as long as this turn's budget has room.
  /// What has not ended is for a request, which takes over what was `tried`.
  [[nodiscard]] detail::InPlace read_in_place(const Descriptor& descriptor, void* buffer, std::size_t length,
                                              std::int64_t offset) noexcept {
    if (!speculation_.affords(length)) return {};
    return counted(speculation_.read(descriptor, buffer, length, offset));
  }
  [[nodiscard]] detail::InPlace write_in_place(const Descriptor& descriptor, const void* buffer, std::size_t length,
                                               std::int64_t offset) noexcept {
    if (!speculation_.affords(length)) return {};
    return counted(speculation_.write(descriptor, buffer, length, offset));
  }
  /// Lets `work()`, a few system calls that do not block, be done in place, as long as this turn's budget has room.
  /// False: it was not called, or says that an operation has to do it.
  template <class Work>
  [[nodiscard]] bool do_in_place(Work work) noexcept {
    if (!works_in_place() || !speculation_.affords(worth_of_calls)) return false;
    speculation_.spend(worth_of_calls);
    return counted({.ended = work()}).ended;
  }
  /// Lets a request end, with result 0, at `request.deadline`. True: it has ended at once, with an error.
  bool start_timer(Request& request) noexcept;
  /// Lets a request wait in `list` until unpark(); it can be cancelled meanwhile.
  void park(Request& request, RequestList& list) noexcept {
    request.stage = Stage::parked;
    list.push_back(request);
  }
  /// Lets a parked request end with `result`.
  void unpark(Request& request, std::int64_t result = 0) noexcept {
    request.unlink();
    request.result = result;
    request.stage = Stage::ended;
    make_ready(request);
  }
  /// Asks for an early end; does nothing to a request that has ended.
  void cancel(Request& request) noexcept;
  /// Takes a request back before its memory goes: cancels it and waits until nobody holds its buffers. Resumes nothing.
  void discard(Request& request) noexcept;
  /// Runs the job in its turn.
  void make_ready(Job& job) noexcept {
    ready_.push_back(job);
    kick();
  }
  /// Carries out a request that nobody holds at once, for who cannot wait: destructors. From any thread.
  void at_once(Request& request) noexcept {
    if (!request.descriptor.is_foreign() || !inherited()) return backend().at_once(request);
    request.result = -EOWNERDEAD;
  }
  void close_at_once(const Descriptor& descriptor) noexcept { at_once(Opcode::close, descriptor); }
  /// Whether a plain system call can stand in for the backend.
  [[nodiscard]] bool bypasses() const noexcept { return bypasses_; }
  /// The length in bytes, or a negative errno.
  [[nodiscard]] std::int64_t size_at_once(const Descriptor& descriptor) noexcept {
    return at_once(Opcode::size, descriptor);
  }
  /// The inbox may hold a job that points into memory that is about to go.
  void empty_inbox() noexcept {
    if (!inherited()) receive(mailbox_.take());  // the eventfd is the parent's, too
  }

  // ---- driving, by Loop ------------------------------------------------------------------------------------------

  /// Makes this thread the context's own. False: it belongs to another.
  bool attach() noexcept { return ownership_.attach(); }
  [[nodiscard]] bool attached() const noexcept { return ownership_.taken(); }
  [[nodiscard]] bool made_here() const noexcept { return ownership_.made_here(); }
  [[nodiscard]] bool has_ready() const noexcept { return !ready_.empty(); }
  /// Something to run, or to hand over that came up during the last exchange.
  [[nodiscard]] bool has_work() const noexcept { return has_ready() || unsent_; }
  /// Submits, takes what has ended, and sleeps if it may and nothing is ready.
  void exchange(bool may_sleep) noexcept;
  /// Runs what is ready, in order, up to a limit; returns how many.
  std::size_t run_ready() noexcept;
  /// Announces sleep. False: there is something to do first.
  [[nodiscard]] bool prepare_sleep() noexcept { return mailbox_.prepare_sleep(); }
  /// The descriptors whose readability means work: the backend's, the inbox's, the epoll set's; -1 for none.
  [[nodiscard]] std::array<int, 3> sources() noexcept {
    announces_ = true;
    return {backend().fileno(), mailbox_.fileno(), readiness_.fileno()};
  }
  [[nodiscard]] std::optional<TimePoint> deadline() const noexcept {
    if (timers_.empty()) return std::nullopt;
    return TimePoint(std::chrono::nanoseconds(timers_.deadline()));
  }
  /// Tells a foreign loop that there is something to do, unless we are inside poll() and will tell at its end.
  void kick() noexcept {
    if (!driving_ && watched() && !inherited()) mailbox_.kick();
  }

  // The context's thread ends, before the context. No effect when another thread is ending the context just now.
  void begin_settling() noexcept { ownership_.begin_settling(); }
  void settle() noexcept;  // resumes nobody
  void end_settling() noexcept { ownership_.end_settling(); }
  /// Ends everything: nothing new is accepted, who waits is resumed with ECANCELED, and every buffer is waited for.
  void end() noexcept;
  [[nodiscard]] bool ended() const noexcept { return ended_.load(std::memory_order_relaxed); }

  [[nodiscard]] Backend& backend() const noexcept { return dispatcher_.backend(); }
  [[nodiscard]] const ContextOptions& options() const noexcept { return options_; }
  [[nodiscard]] ContextStats stats() const noexcept;

  /// Frames that the context owns; each is destroyed by its `run`.
  detail::List<Job> spawned;
  /// What another layer keeps with the context: destroyed after them by its `run`, which sets this to null.
  Job* companion = nullptr;
  void* handle = nullptr;  // the Context
  std::function<void(const LostData&)> on_lost_data;
  std::function<void(const Stall&)> on_stall;

 private:
  friend class Loop;
  using Stage = Request::Stage;

  std::int64_t at_once(Opcode opcode, const Descriptor& descriptor) noexcept {
    Request request;
    request.opcode = opcode;
    request.descriptor = descriptor;
    at_once(request);
    return request.result;
  }
  detail::InPlace counted(const detail::InPlace& done) noexcept {
    if (done.ended) {
      ++stats_.submitted;
      ++stats_.speculated;
      ++stats_.completed;
    }
    return done;
  }
  bool watched() const noexcept;
  void receive(Job* jobs) noexcept;
  void expire_timers() noexcept;
  void drive(const Wait* wait) noexcept;
  void settle_all() noexcept;
  void settle(Request& request) noexcept;
  bool try_again(Request& request) noexcept;
  void end_now(Request& request, std::int64_t result) noexcept {
    request.result = result;
    finish(request);
  }
  void finish(Request& request) noexcept;
  void queue(Request& request) noexcept;
  bool start_stream(Request& request, bool ready) noexcept { return follow(request, streams_.advance(request, ready)); }
  bool follow(Request& request, detail::Streams::Step step) noexcept;
  void watch(int fd) noexcept;
  void announce(int fd) noexcept;
  void cancel_all() noexcept;
  template <class Condition>
  void wait_until(Condition condition) noexcept;
  void sleep(std::optional<TimePoint> deadline, bool for_streams) noexcept;

  static constexpr std::size_t worth_of_calls = 16 * 1024;  // copying so many bytes takes about as long
  static constexpr std::size_t most_resumptions = 128;      // between two exchanges with the backend

  const ContextOptions options_;
  detail::Ownership ownership_;
  Engine* sibling_ = nullptr;       // the next context of this thread
  std::shared_ptr<Engine> linked_;  // itself, as long as it is in its thread's list

  detail::List<Job> ready_;
  detail::List<Job> running_;
  detail::Timers timers_;
  detail::Readiness readiness_;
  ContextStats stats_;
  const bool bypasses_;
  detail::Speculation speculation_;
  detail::Streams streams_{readiness_, speculation_, stats_};
  detail::Mailbox mailbox_;
  bool driving_ = false;
  bool exchanging_ = false;
  bool unsent_ = false;
  bool announces_ = false;  // the backend's descriptor is watched: only drive() silences it
  bool polls_streams_ = false;
  std::atomic<bool> ended_ = false;
  std::unique_ptr<detail::PollSet> poll_set_;
  detail::Dispatcher dispatcher_;  // last: its pool's threads use the mailbox
};

inline Engine::Engine(std::unique_ptr<Backend> backend, const ContextOptions& options)
    : options_(options),
      bypasses_(backend->may_be_bypassed()),
      speculation_(options.speculate && bypasses_),
      dispatcher_(std::move(backend), options, stats_, this, [](void* owner, Request& request) noexcept {
        request.errand = Job::Errand::settle;
        static_cast<Engine*>(owner)->post(request);
      }) {}

inline Engine::~Engine() {
  assert((inherited() || dispatcher_.in_flight() == 0) && "an operation outlived its context");
}

}  // namespace caio::inline CAIO_ABI
