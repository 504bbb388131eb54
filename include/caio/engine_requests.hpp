#pragma once
// How a request lives: accepted, done in place or queued, cancelled, continued or retried, and ended.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>

#include <caio/config.hpp>
#include <caio/detail/judgement.hpp>
#include <caio/engine.hpp>
#include <caio/handover.hpp>
#include <caio/request.hpp>

namespace caio::inline CAIO_ABI {

// ---- accepting ---------------------------------------------------------------------------------------------------

inline bool Engine::start(Request& request) noexcept {
  if (!request.tried) request.moved = 0;  // else what was done in place counts, too
  request.attempts = 0;
  ++stats_.submitted;
  bool over = true;
  if (ended() || inherited() || request.cancel_requested) {
    request.result = inherited() ? -EOWNERDEAD : -ECANCELED;
  } else if (request.descriptor.kind() == Descriptor::Kind::stream && (request.is_read() || request.is_write())) {
    if (request.descriptor.is_fifo()) request.offset = -1;
    over = start_stream(request, false);
    if (over && speculation_.slice_is_over()) {  // its turn is over, like after any work done in place
      finish(request);
      return false;
    }
  } else if (request.opcode == Opcode::size && bypasses_ && !request.descriptor.is_foreign()) {
    at_once(request);  // fstat does not block
  } else if (speculation_.attempt(request)) {
    ++stats_.speculated;
    if (speculation_.slice_is_over()) {
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
  dispatcher_.queue(request);
  if (exchanging_) {
    unsent_ = true;
    return;
  }
  kick();
  if (driving_ && dispatcher_.is_due()) drive(nullptr);
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

/// True: the request has its result.
inline bool Engine::follow(Request& request, detail::Streams::Step step) noexcept {
  if (!polls_streams_ && readiness_.fileno() >= 0) {
    polls_streams_ = true;
    announce(readiness_.fileno());
  }
  switch (step) {
    case detail::Streams::Step::ended: return true;
    case detail::Streams::Step::waiting: request.stage = Stage::waiting; break;
    case detail::Streams::Step::pooled: queue(request); break;
  }
  return false;
}

// ---- cancelling --------------------------------------------------------------------------------------------------

inline void Engine::cancel(Request& request) noexcept {
  if (inherited() || (request.uncancellable && !ended() && !ownership_.settling())) return;
  switch (request.stage) {
    case Stage::queued: dispatcher_.remove(request); break;
    case Stage::parked: return unpark(request, -ECANCELED);
    case Stage::waiting: readiness_.remove(request); break;
    case Stage::timed: timers_.remove(request); break;
    case Stage::pool:
      request.cancel_requested = true;  // a running one is waited for
      if (!dispatcher_.take_back(request)) return;
      break;
    case Stage::backend:
      if (request.uncancellable) return;
      if (!request.cancel_requested) backend().cancel(request);
      request.cancel_requested = true;
      return;
    default:
      request.cancel_requested = true;  // between two steps: the next one will not start
      return;
  }
  end_now(request, -ECANCELED);
}

// ---- completing --------------------------------------------------------------------------------------------------

/// True: the request goes on.
inline bool Engine::try_again(Request& request) noexcept {
  switch (detail::judge(request, bypasses_)) {
    case detail::Judgement::again:
      ++stats_.retried;
      queue(request);
      return true;
    case detail::Judgement::when_ready: return !follow(request, streams_.wait(request));
    default: return false;
  }
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
  while (!dispatcher_.completed().empty()) settle(dispatcher_.completed().pop_front());
  while (!dispatcher_.refused().empty()) {
    Request& request = dispatcher_.refused().pop_front();
    request.to_pool = true;
    if (request.cancel_requested || request.descriptor.is_foreign()) {
      end_now(request, request.cancel_requested ? -ECANCELED : -EOPNOTSUPP);
    } else {
      queue(request);
    }
  }
}

}  // namespace caio::inline CAIO_ABI
