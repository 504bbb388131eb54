#pragma once
// The engine behind a Context: takes requests, hands them over in batches, and tells their owners when they have ended.
// Everything here happens on the context's thread, unless it says otherwise.

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <system_error>

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/detail/in_place.hpp>
#include <caio/detail/mailbox.hpp>
#include <caio/detail/poll_set.hpp>
#include <caio/detail/process.hpp>
#include <caio/detail/readiness.hpp>
#include <caio/detail/thread_pool.hpp>
#include <caio/detail/timers.hpp>
#include <caio/detail/transfer.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/handover.hpp>
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

  [[nodiscard]] bool on_own_thread() const noexcept {
    return owner_.load(std::memory_order_relaxed) == detail::this_thread() && !inherited();
  }
  /// Whether this is a forked child's copy, which must touch nothing.
  [[nodiscard]] bool inherited() const noexcept { return generation_ != detail::process_generation(); }

  /// Carries a job to the context's thread. False: the context has ended; the job was not taken.
  bool post(Job& job) noexcept { return !inherited() && mailbox_.push(job); }

  // ---- requests --------------------------------------------------------------------------------------------------

  /// Accepts a request. True: it has ended at once, and `run` will not be called.
  bool start(Request& request) noexcept;
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
    if (!request.descriptor.is_foreign() || !inherited()) return backend_->at_once(request);
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
  bool attach() noexcept;
  [[nodiscard]] bool attached() const noexcept { return owner_.load(std::memory_order_relaxed) != 0; }
  [[nodiscard]] bool made_here() const noexcept { return maker_ == detail::this_thread(); }
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
    return {backend_->fileno(), mailbox_.fileno(), readiness_.fileno()};
  }
  [[nodiscard]] std::optional<TimePoint> deadline() const noexcept {
    if (timers_.empty()) return std::nullopt;
    return TimePoint(std::chrono::nanoseconds(timers_.deadline()));
  }
  /// Tells a foreign loop that there is something to do, unless we are inside poll() and will tell at its end.
  void kick() noexcept {
    if (!driving_ && watched() && !inherited()) mailbox_.kick();
  }

  // The context's thread ends, with it or before it, unless another thread is ending it just now.
  void begin_settling() noexcept;
  void settle() noexcept;  // resumes nobody
  void end_settling() noexcept;
  /// Ends everything: nothing new is accepted, who waits is resumed with ECANCELED, and every buffer is waited for.
  void end() noexcept;
  [[nodiscard]] bool ended() const noexcept { return ended_.load(std::memory_order_relaxed); }

  [[nodiscard]] Backend& backend() const noexcept { return *backend_; }
  [[nodiscard]] const ContextOptions& options() const noexcept { return options_; }
  [[nodiscard]] ContextStats stats() const noexcept;

  /// Frames that the context owns; each is destroyed by its `run`.
  detail::List<Job> spawned;
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
  bool watched() const noexcept;
  void receive(Job* jobs) noexcept;
  void expire_timers() noexcept;
  void drive(const Wait* wait) noexcept;
  void feed_pool() noexcept;
  void settle_all() noexcept;
  void settle(Request& request) noexcept;
  bool try_again(Request& request) noexcept;
  void end_now(Request& request, std::int64_t result) noexcept {
    request.result = result;
    finish(request);
  }
  void finish(Request& request) noexcept;
  void queue(Request& request) noexcept;
  bool start_stream(Request& request, bool ready) noexcept;
  void wait_for_readiness(Request& request) noexcept;
  void watch(int fd) noexcept;
  void announce(int fd) noexcept;
  void cancel_all() noexcept;
  void take_over() noexcept;
  template <class Condition>
  void wait_until(Condition condition) noexcept;
  void sleep(std::optional<TimePoint> deadline, bool for_streams) noexcept;
  std::size_t room() const noexcept {
    const std::size_t flying = batch_.held_count() + pooled_count_;
    return flying < options_.max_requests ? options_.max_requests - flying : 0;
  }
  std::size_t in_flight() const noexcept { return batch_.held_count() + pooled_count_; }

  static constexpr detail::ThreadId settling =
      ~detail::ThreadId{0};                               // in place of an owner: its thread is about to end
  static constexpr detail::ThreadId gone = settling - 1;  // it has ended

  static constexpr std::size_t most_resumptions = 128;  // between two exchanges with the backend
  static constexpr std::size_t full_batch = 64;
  static constexpr std::size_t direct_batch = 4;  // devices like their work promptly: 1.2..1.4 times at depth 32

  const ContextOptions options_;
  const unsigned generation_ = detail::process_generation();
  const detail::ThreadId maker_ = detail::this_thread();
  std::atomic<detail::ThreadId> owner_{0};
  detail::ThreadId former_ = 0;     // whose end has settled it: a later destructor there may use it again
  Engine* sibling_ = nullptr;       // the next context of this thread
  std::shared_ptr<Engine> linked_;  // itself, as long as it is in its thread's list

  std::unique_ptr<Backend> backend_;
  DrivenBatch batch_;
  RequestList pool_queue_;
  std::size_t pooled_count_ = 0;
  std::size_t queued_direct_ = 0;
  std::size_t queued_count_ = 0;
  detail::List<Job> ready_;
  detail::List<Job> running_;
  detail::Timers timers_;
  detail::Readiness readiness_;
  const bool bypasses_ = backend_->may_be_bypassed();
  detail::Speculation speculation_{options_.speculate && bypasses_};
  detail::Mailbox mailbox_;
  bool driving_ = false;
  bool exchanging_ = false;
  bool unsent_ = false;
  bool announces_ = false;  // the backend's descriptor is watched: only drive() silences it
  std::atomic<bool> ended_ = false;
  std::unique_ptr<detail::PollSet> poll_set_;
  ContextStats stats_;
  detail::ThreadPool pool_;  // last: its threads use what stands above
};

// ---- construction ------------------------------------------------------------------------------------------------

inline Engine::Engine(std::unique_ptr<Backend> backend, const ContextOptions& options)
    : options_(options),
      backend_(std::move(backend)),
      pool_(options.pool_size, this, [](void* owner, Request& request) noexcept {
        request.errand = Job::Errand::settle;
        static_cast<Engine*>(owner)->post(request);
      }) {}

inline Engine::~Engine() { assert((inherited() || in_flight() == 0) && "an operation outlived its context"); }

// ---- accepting ---------------------------------------------------------------------------------------------------

inline bool Engine::start(Request& request) noexcept {
  request.moved = 0;
  request.attempts = 0;
  ++stats_.submitted;
  bool over = true;
  if (ended() || inherited() || request.cancel_requested) {
    request.result = inherited() ? -EOWNERDEAD : -ECANCELED;
  } else if (request.descriptor.kind() == Descriptor::Kind::stream && (request.is_read() || request.is_write())) {
    if (request.descriptor.is_fifo()) request.offset = -1;
    over = start_stream(request, false);
    if (over && speculation_.exhausted()) {  // its turn is over, like after any work done in place
      finish(request);
      return false;
    }
  } else if (request.opcode == Opcode::size && bypasses_ && !request.descriptor.is_foreign()) {
    at_once(request);  // fstat does not block
  } else if (speculation_.attempt(request)) {
    ++stats_.speculated;
    if (speculation_.exhausted()) {
      ++stats_.completed;
      request.stage = Stage::ended;
      make_ready(request);
      return false;
    }
  } else {
    queue(request);
    return false;
  }
  if (over) ++stats_.completed;
  return over;
}

inline void Engine::queue(Request& request) noexcept {
  request.stage = Stage::queued;
  ++queued_count_;
  if (request.to_pool || request.opcode == Opcode::call) {
    pool_queue_.push_back(request);
  } else {
    batch_.queued().push_back(request);
    if (request.descriptor.direct()) ++queued_direct_;
  }
  if (exchanging_) {
    unsent_ = true;
    return;
  }
  kick();
  // On a device the first operations start at once, the others every few: it works while we think.
  const bool prompt = queued_direct_ > 0 && (in_flight() == 0 || queued_direct_ >= direct_batch);
  if (driving_ && (prompt || queued_count_ >= full_batch) && room() > 0) drive(nullptr);
}

inline bool Engine::start_timer(Request& request) noexcept {
  ++stats_.submitted;
  request.result = inherited() ? -EOWNERDEAD : ended() || request.cancel_requested ? -ECANCELED : 0;
  try {
    if (request.result == 0) timers_.add(request);
  } catch (const std::bad_alloc&) {
    request.result = -ENOMEM;
  }
  if (request.result < 0) {
    ++stats_.completed;
    return true;
  }
  request.stage = Stage::timed;
  kick();
  return false;
}

// ---- streams -----------------------------------------------------------------------------------------------------

inline bool Engine::start_stream(Request& request, bool ready) noexcept {
  if (!ready && (readiness_.contended(request) || !detail::stream_is_ready(request))) {
    wait_for_readiness(request);
    return request.stage == Stage::idle;
  }
  while (!request.nowait_refused) {
    if (!detail::transfer_nowait(request)) {
      request.nowait_refused = true;
      break;
    }
    const bool early = request.result == -EAGAIN || request.result == -EINTR;
    if (!early && (!request.is_scalar_transfer() || request.result <= 0)) return true;
    if (!early) {
      const auto count = static_cast<std::size_t>(request.result);
      if (request.is_read()) detail::filled(request.buffer, count);
      speculation_.spend(count);
      request.consume(count);
      if (request.length == 0 || !request.whole) return true;
      ++stats_.short_counts;
    }
    if (early || speculation_.exhausted()) {
      wait_for_readiness(request);  // what is ready all the time goes on in the next turn
      return request.stage == Stage::idle;
    }
  }
  if (readiness_.occupied(request)) {  // several were let go together, at a hang-up
    wait_for_readiness(request);
    return request.stage == Stage::idle;
  }
  try {
    readiness_.occupy(request);
  } catch (const std::bad_alloc&) {
    request.result = -ENOMEM;
    return true;
  }
  request.to_pool = true;
  queue(request);
  return false;
}

inline void Engine::wait_for_readiness(Request& request) noexcept {
  const bool first = readiness_.fileno() < 0;
  int error = ENOMEM;
  try {
    error = readiness_.add(request);
  } catch (const std::bad_alloc&) {
  }
  if (first) announce(readiness_.fileno());
  if (error == 0) {
    request.stage = Stage::waiting;
  } else if (error == EPERM) {  // cannot be polled: never has to wait
    request.to_pool = true;
    queue(request);
  } else {
    request.stage = Stage::idle;
    request.result = -error;
  }
}

// ---- cancelling --------------------------------------------------------------------------------------------------

inline void Engine::cancel(Request& request) noexcept {
  if (inherited() || (request.uncancellable && !ended() && owner_ != settling)) return;
  switch (request.stage) {
    case Stage::queued:
      request.unlink();
      --queued_count_;
      break;
    case Stage::parked: return unpark(request, -ECANCELED);
    case Stage::waiting: readiness_.remove(request); break;
    case Stage::timed: timers_.remove(request); break;
    case Stage::pool:
      request.cancel_requested = true;  // a running one is waited for
      if (!pool_.take_back(request)) return;
      --pooled_count_;
      break;
    case Stage::backend:
      if (request.uncancellable) return;
      if (!request.cancel_requested) backend_->cancel(request);
      request.cancel_requested = true;
      return;
    default:
      request.cancel_requested = true;  // between two steps: the next one will not start
      return;
  }
  end_now(request, -ECANCELED);
}

inline void Engine::discard(Request& request) noexcept {
  if (inherited()) {  // the parent has the original: only the lists of what goes on living here must not point to it
    const bool torn = request.stage == Stage::pool;  // a thread of the pool may have been at work on that list
    if (request.linked() && !torn) request.unlink();
    request.stage = Stage::idle;
    return;
  }
  assert((on_own_thread() || !attached() || owner_ == gone) &&
         "a frame in flight is destroyed on its context's thread only");
  if (request.stage == Stage::travelling) empty_inbox();
  cancel(request);
  wait_until([&] { return request.stage != Stage::backend && request.stage != Stage::pool; });
  if (request.stage == Stage::queued) {
    readiness_.vacate(request);
    --queued_count_;
    ++stats_.completed;
  }
  if (request.linked()) request.unlink();
  request.stage = Stage::idle;
}

inline void Engine::cancel_all() noexcept {
  while (!batch_.queued().empty()) cancel(batch_.queued().front());
  while (!pool_queue_.empty()) cancel(pool_queue_.front());
  while (Request* const request = timers_.take()) end_now(*request, -ECANCELED);
  while (Request* const request = readiness_.take()) end_now(*request, -ECANCELED);
  RequestList held;
  while (!batch_.held().empty()) {
    Request& request = batch_.held().pop_front();
    held.push_back(request);
    cancel(request);
  }
  batch_.held().append(held);
}

// ---- completing --------------------------------------------------------------------------------------------------

/// Results of the ring's plumbing are not the file's answer. True: the request was queued again.
inline bool Engine::try_again(Request& request) noexcept {
  const std::int64_t result = request.result;
  // 512..516: the kernel's own codes for a system call to be restarted, which a ring can let through.
  const bool interrupted = result == -EINTR || (result <= -512 && result >= -516);
  const bool stream = request.descriptor.kind() == Descriptor::Kind::stream;
  if (request.opcode == Opcode::close && interrupted) {
    request.result = 0;  // the descriptor is gone: a second close could hit somebody else's (close(2))
    return false;
  }
  if (request.cancel_requested) {
    if (interrupted || result == -EAGAIN) request.result = -ECANCELED;
    return false;
  }
  if (interrupted && request.attempts < 100) {
    ++request.attempts;
  } else if (result == -EAGAIN && stream && (request.is_read() || request.is_write())) {
    wait_for_readiness(request);
    return request.stage != Stage::idle;
  } else if (!bypasses_ && (result == -EAGAIN || result == -ECANCELED) && request.attempts < 100) {
    ++request.attempts;
  } else if (bypasses_ && (result == -EAGAIN || result == -ECANCELED || interrupted) && !request.to_pool) {
    request.to_pool = true;  // once, by a plain system call: that answer counts
  } else {
    return false;
  }
  ++stats_.retried;
  queue(request);
  return true;
}

inline void Engine::settle(Request& request) noexcept {
  detail::taken_back(&request);
  readiness_.vacate(request);
  if (request.result < 0 && try_again(request)) return;
  if (request.is_scalar_transfer()) {
    if (request.result > 0) {
      if (request.is_read()) detail::filled(request.buffer, static_cast<std::size_t>(request.result));
      request.consume(std::min(static_cast<std::size_t>(request.result), request.length));
      request.attempts = 0;
      if (request.whole && request.length > 0) {
        if (request.cancel_requested) return end_now(request, -ECANCELED);
        ++stats_.short_counts;
        if (request.descriptor.kind() != Descriptor::Kind::stream) return queue(request);
        request.stage = Stage::idle;
        if (!start_stream(request, false)) return;
      }
    } else if (request.result == 0 && request.whole && request.is_write() && request.length > 0) {
      request.result = -EIO;  // "wrote 0 bytes" for ever would be a loop without an end
    }
  }
  finish(request);
}

inline void Engine::finish(Request& request) noexcept {
  readiness_.vacate(request);
  ++stats_.completed;
  if (request.result == -ECANCELED) ++stats_.cancelled;
  request.stage = Stage::ended;
  make_ready(request);
}

inline void Engine::settle_all() noexcept {
  while (!batch_.completed().empty()) settle(batch_.completed().pop_front());
  while (!batch_.refused().empty()) {
    Request& request = batch_.refused().pop_front();
    request.to_pool = true;
    if (request.cancel_requested || request.descriptor.is_foreign()) {
      end_now(request, request.cancel_requested ? -ECANCELED : -EOPNOTSUPP);
    } else {
      queue(request);
    }
  }
}

// ---- driving -----------------------------------------------------------------------------------------------------

inline bool Engine::attach() noexcept {
  detail::ThreadId owner = 0;
  if (owner_.compare_exchange_strong(owner, detail::this_thread(), std::memory_order_acquire)) return true;
  if (owner == gone && former_ == detail::this_thread()) owner_.store(owner = detail::this_thread());
  return owner == detail::this_thread();
}

inline void Engine::receive(Job* jobs) noexcept {
  while (jobs != nullptr) {
    Job& job = *jobs;
    jobs = static_cast<Job*>(job.next);
    job.next = nullptr;
    switch (job.errand) {
      case Job::Errand::run: make_ready(job); break;
      case Job::Errand::settle:
        job.errand = Job::Errand::run;
        --pooled_count_;
        settle(static_cast<Request&>(job));
        break;
      case Job::Errand::cancel:
        if (Request* const target = static_cast<CancelJob&>(job).target) cancel(*target);
        break;
    }
  }
}

inline void Engine::expire_timers() noexcept {
  if (timers_.empty()) return;
  const std::int64_t now = std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
  while (Request* const request = timers_.expire(now)) end_now(*request, 0);
}

inline void Engine::feed_pool() noexcept {
  RequestList requests;
  std::size_t count = 0;
  for (std::size_t free = room(); count < free && !pool_queue_.empty(); ++count) {
    Request& request = pool_queue_.pop_front();
    request.stage = Stage::pool;
    requests.push_back(request);
  }
  if (count == 0) return;
  queued_count_ -= count;
  pooled_count_ += count;
  stats_.max_in_flight = std::max<std::uint64_t>(stats_.max_in_flight, in_flight());
  stats_.pooled += count;
  stats_.handed_over += count;
  pool_.push(requests, count);
}

inline void Engine::drive(const Wait* wait) noexcept {
  exchanging_ = true;
  unsent_ = false;
  feed_pool();
  if (wait != nullptr || announces_ || batch_.held_count() > 0 || !batch_.queued().empty()) {
    batch_.allow(room());
    queued_direct_ = 0;
    const std::uint64_t before = in_flight();
    backend_->drive(batch_, wait);
    stats_.max_in_flight = std::max(stats_.max_in_flight, before + batch_.taken());
    queued_count_ -= batch_.taken();
    stats_.handed_over += batch_.taken();
  }
  settle_all();
  feed_pool();
  exchanging_ = false;
  if (batch_.queued().empty() && pool_queue_.empty()) unsent_ = false;
}

inline void Engine::exchange(bool may_sleep) noexcept {
  const bool outer = std::exchange(driving_, true);
  ++stats_.turns;
  speculation_.refill();
  empty_inbox();
  expire_timers();
  if (readiness_.waiting() > 0) {
    readiness_.collect([this](Request& request) {
      request.stage = Stage::idle;
      if (start_stream(request, true)) finish(request);
    });
  }
  if (may_sleep && ready_.empty()) {
    sleep(deadline(), true);
  } else {
    drive(nullptr);
  }
  driving_ = outer;
}

/// Hands over what is queued and sleeps until something ends or comes.
inline void Engine::sleep(std::optional<TimePoint> deadline, bool for_streams) noexcept {
  if (!prepare_sleep()) {
    empty_inbox();
    return drive(nullptr);
  }
  ++stats_.sleeps;
  const std::array<int, 2> wake{mailbox_.fileno(), readiness_.fileno()};
  const Wait wait{deadline, std::span(wake).first(wake[1] < 0 || !for_streams ? 1 : 2)};
  drive(&wait);
  empty_inbox();
}

/// A destructor waits for the kernel or the pool, and resumes nothing; complaints every 5 s.
template <class Condition>
void Engine::wait_until(Condition condition) noexcept {
  constexpr std::chrono::seconds patience{5};
  const auto start = std::chrono::steady_clock::now();
  for (auto complaint = start + patience; !condition();) {
    sleep(complaint, false);  // nobody collects what is ready: it would not let us sleep
    const auto now = std::chrono::steady_clock::now();
    if (now < complaint) continue;
    complaint = now + patience;
    if (on_stall) on_stall({std::chrono::duration_cast<std::chrono::milliseconds>(now - start), in_flight()});
  }
}

inline std::size_t Engine::run_ready() noexcept {
  std::size_t count = 0;
  const bool outer = std::exchange(driving_, true);
  running_.append(ready_);
  while (!running_.empty() && count < most_resumptions && !speculation_.exhausted() && !inherited()) {
    Job& job = running_.pop_front();
    ++count;
    job.run(job);
  }
  ready_.prepend(running_);
  driving_ = outer;
  return count;
}

// ---- the end -----------------------------------------------------------------------------------------------------

inline void Engine::begin_settling() noexcept {
  detail::ThreadId owner = detail::this_thread();
  if (!inherited()) owner_.compare_exchange_strong(owner, settling, std::memory_order_acquire);
}

/// What the kernel got from this thread must not outlive it; the pool's work has no such tie.
inline void Engine::settle() noexcept {
  if (owner_.load(std::memory_order_relaxed) != settling) return;
  cancel_all();
  wait_until([this] { return batch_.held_count() == 0; });
}

inline void Engine::end_settling() noexcept {
  if (owner_.load(std::memory_order_relaxed) != settling) return;
  former_ = detail::this_thread();
  owner_.store(gone, std::memory_order_release);
  owner_.notify_all();
}

/// The context may end on another thread, when its own is gone, or just going.
inline void Engine::take_over() noexcept {
  detail::ThreadId owner = owner_.load(std::memory_order_acquire);
  do {
    for (; owner == settling; owner = owner_.load(std::memory_order_acquire)) owner_.wait(settling);
  } while (!owner_.compare_exchange_weak(owner, detail::this_thread(), std::memory_order_acq_rel));
}

inline void Engine::end() noexcept {
  ended_.store(true, std::memory_order_relaxed);
  if (inherited()) return;
  take_over();
  ready_.prepend(running_);
  do {
    empty_inbox();
    cancel_all();
    wait_until([this] { return in_flight() == 0; });
    speculation_.refill();
    run_ready();
  } while (has_ready() || in_flight() > 0 || queued_count_ > 0 || !mailbox_.empty());
  while (!spawned.empty()) {
    Job& frame = spawned.pop_front();
    frame.run(frame);
  }
  receive(mailbox_.close());
  while (has_ready() || !spawned.empty()) {
    speculation_.refill();
    if (run_ready() > 0) continue;
    Job& frame = spawned.pop_front();
    frame.run(frame);
  }
  poll_set_.reset();  // a file may keep the engine for long: whoever watched it is not to be woken any more
}

inline ContextStats Engine::stats() const noexcept {
  ContextStats stats = stats_;
  stats.in_flight = in_flight();
  stats.parked = queued_count_ + timers_.size() + readiness_.waiting();
  return stats;
}

}  // namespace caio::inline CAIO_ABI
