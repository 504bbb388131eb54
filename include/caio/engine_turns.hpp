#pragma once
// A context's turns: exchanges with the backend, sleep, and resumptions; and its end.

#include <array>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/engine.hpp>
#include <caio/engine_requests.hpp>
#include <caio/request.hpp>

namespace caio::inline CAIO_ABI {

// ---- driving -----------------------------------------------------------------------------------------------------

inline void Engine::receive(Job* jobs) noexcept {
  while (jobs != nullptr) {
    Job& job = *jobs;
    jobs = static_cast<Job*>(job.next);
    job.next = nullptr;
    switch (job.errand) {
      case Job::Errand::run: make_ready(job); break;
      case Job::Errand::settle:
        job.errand = Job::Errand::run;
        dispatcher_.arrived();
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

inline void Engine::drive(const Wait* wait) noexcept {
  exchanging_ = true;
  unsent_ = false;
  dispatcher_.feed_pool();
  if (wait != nullptr || announces_ || dispatcher_.backend_has_work()) dispatcher_.drive_backend(wait);
  settle_all();
  dispatcher_.feed_pool();
  exchanging_ = false;
  if (dispatcher_.queued() == 0) unsent_ = false;
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
      speculation_.begin_slice(true);  // the rest of the budget is for those who are resumed
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
    if (on_stall)
      on_stall({std::chrono::duration_cast<std::chrono::milliseconds>(now - start), dispatcher_.in_flight()});
  }
}

inline std::size_t Engine::run_ready() noexcept {
  std::size_t count = 0;
  const bool outer = std::exchange(driving_, true);
  running_.append(ready_);
  // One is resumed in any case: streams that are ready all the time may have used up the turn already.
  while (!running_.empty() && count < most_resumptions && (count == 0 || !speculation_.exhausted()) && !inherited()) {
    Job& job = running_.pop_front();
    ++count;
    speculation_.begin_slice(!running_.empty());
    job.run(job);
  }
  ready_.prepend(running_);
  driving_ = outer;
  return count;
}

// ---- the end -----------------------------------------------------------------------------------------------------

inline void Engine::discard(Request& request) noexcept {
  if (inherited()) {  // the parent has the original: only the lists of what goes on living here must not point to it
    const bool torn = request.stage == Stage::pool;  // a thread of the pool may have been at work on that list
    if (request.linked() && !torn) request.unlink();
    request.stage = Stage::idle;
    return;
  }
  assert((on_own_thread() || !attached() || ownership_.settled()) &&
         "a frame in flight is destroyed on its context's thread only");
  if (request.stage == Stage::travelling) empty_inbox();
  cancel(request);
  wait_until([&] { return request.stage != Stage::backend && request.stage != Stage::pool; });
  if (request.stage == Stage::queued) {
    readiness_.vacate(request);
    dispatcher_.remove(request);
    ++stats_.completed;
  }
  if (request.linked()) request.unlink();
  request.stage = Stage::idle;
}

inline void Engine::cancel_all() noexcept {
  while (Request* const request = dispatcher_.first_queued()) cancel(*request);
  while (Request* const request = timers_.take()) end_now(*request, -ECANCELED);
  while (Request* const request = readiness_.take()) end_now(*request, -ECANCELED);
  RequestList held;
  while (!dispatcher_.held().empty()) {
    Request& request = dispatcher_.held().pop_front();
    held.push_back(request);
    cancel(request);
  }
  dispatcher_.held().append(held);
}

/// What the kernel got from this thread must not outlive it; the pool's work has no such tie.
inline void Engine::settle() noexcept {
  if (!ownership_.settling()) return;
  cancel_all();
  wait_until([this] { return dispatcher_.held_count() == 0; });
}

inline void Engine::end() noexcept {
  ended_.store(true, std::memory_order_relaxed);
  if (inherited()) return;
  ownership_.take_over();
  ready_.prepend(running_);
  do {
    empty_inbox();
    cancel_all();
    wait_until([this] { return dispatcher_.in_flight() == 0; });
    speculation_.refill();
    run_ready();
    // What the pool has left unfinished on a stream waits for that by now.
  } while (has_ready() || dispatcher_.in_flight() > 0 || dispatcher_.queued() > 0 || readiness_.waiting() > 0 ||
           !mailbox_.empty());
  while (!spawned.empty()) {
    Job& frame = spawned.pop_front();
    frame.run(frame);
  }
  receive(mailbox_.close());
  while (has_ready() || !spawned.empty() || companion != nullptr) {
    speculation_.refill();
    if (run_ready() > 0) continue;
    Job& frame = spawned.empty() ? *companion : spawned.pop_front();
    frame.run(frame);
  }
  poll_set_.reset();  // a file may keep the engine for long: whoever watched it is not to be woken any more
}

inline ContextStats Engine::stats() const noexcept {
  ContextStats stats = stats_;
  stats.in_flight = dispatcher_.in_flight();
  stats.parked = dispatcher_.queued() + timers_.size() + readiness_.waiting();
  return stats;
}

}  // namespace caio::inline CAIO_ABI
