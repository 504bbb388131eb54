#pragma once
// A backend around another one: what goes wrong is up to a script, the rest is done by the other.
//
//   caio::testing::FaultScript script;
//   script.fail(caio::Opcode::write, 3, ENOSPC).shorten(caio::Opcode::read, caio::testing::every, 1);
//   auto backend = std::make_unique<caio::testing::FaultBackend>(
//       caio::make_backend(caio::Implementation::uring), script);
//   caio::Context context(std::move(backend));

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/detail/poll_set.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/system.hpp>
#include <caio/testing/fault_script.hpp>

namespace caio::inline CAIO_ABI::testing {

/// What a FaultBackend has done so far.
struct FaultCounts {
  std::uint64_t requests = 0;       ///< that came
  std::uint64_t interruptions = 0;  ///< EINTR and EAGAIN
  std::uint64_t errors = 0;         ///< all others
  std::uint64_t shortened = 0;      ///< reads and writes that were given less room
  std::uint64_t delayed = 0;        ///< before or after they were carried out
  std::uint64_t held = 0;           ///< here and with the wrapped backend now
};

/// Every request on a file passes here: nothing is done in place, whatever ContextOptions::speculate says. Pipes,
/// terminals and sockets are not touched: the context waits for their readiness and moves their bytes itself.
///
/// Around MemoryBackend all is deterministic for a script; around others, the order of completions is theirs, and what
/// they leave to the context's pool (most of linux's, all of thread's) is not waited for by delays.
class FaultBackend final : public Backend {
 public:
  FaultBackend(std::unique_ptr<Backend> wrapped, FaultScript script)
      : wrapped_(std::move(wrapped)), script_(std::move(script)) {}

  /// From now on what `script` says, and counts from 0: for faults after some preparation. Requests that are here meet
  /// with what was in store for them. On the context's thread, like counts().
  void set_script(FaultScript script) {
    const std::lock_guard lock(mutex_);
    script_ = std::move(script);
    counts_ = {.held = counts_.held};
  }
  [[nodiscard]] FaultCounts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

  [[nodiscard]] Implementation implementation() const noexcept override { return wrapped_->implementation(); }
  [[nodiscard]] std::string explain() const override { return "faults around " + wrapped_->explain(); }
  [[nodiscard]] bool may_be_bypassed() const noexcept override { return false; }

  void drive(Batch& batch, const Wait* wait) override {
    due(waiting_, [this](Shadow& shadow) { pass_on(shadow); });
    while (!batch.empty()) take(batch.take());
    const bool restless = !waiting_.empty() || !returning_.empty() || !refused_.empty();
    inner_.allow(~std::size_t{0});
    // Turns do not rush by while the wrapped backend is at work.
    Wait brief{std::chrono::steady_clock::now() + std::chrono::milliseconds(1), {}};
    const bool patient = restless && wait != nullptr && (inner_.held_count() > 0 || !inner_.queued().empty());
    wrapped_->drive(inner_, patient ? &brief : restless ? nullptr : wait);
    while (!inner_.completed().empty()) completed(static_cast<Shadow&>(inner_.completed().pop_front()));
    while (!inner_.refused().empty()) refused(static_cast<Shadow&>(inner_.refused().pop_front()));
    due(returning_, [&](Shadow& shadow) {
      shadow.original->descriptor = shadow.descriptor;
      batch.complete(*shadow.original, shadow.result);
      free(shadow);
    });
    for (Shadow* const shadow : std::exchange(refused_, {})) {
      batch.refuse(*shadow->original);
      free(*shadow);
    }
    announce(!waiting_.empty() || !returning_.empty());
  }

  void cancel(Request& request) override {
    Shadow& shadow = shadows_[request.slot];
    shadow.cancel_requested = true;
    if (std::erase(waiting_, &shadow) > 0) {
      end(shadow, -ECANCELED);
    } else if (shadow.stage == Request::Stage::queued) {
      shadow.unlink();
      end(shadow, -ECANCELED);
    } else if (shadow.stage == Request::Stage::backend) {
      wrapped_->cancel(shadow);
    }
  }

  void at_once(Request& request) noexcept override {
    Verdict verdict;
    {
      const std::lock_guard lock(mutex_);  // destructors of handles run on any thread
      // As the context does, go on after interruptions, but not for ever.
      for (int attempts = 0; attempts < 100 && request.opcode != Opcode::size; ++attempts) {
        verdict = judge(request);
        if (verdict.error != EINTR && verdict.error != EAGAIN) break;
      }
    }
    const std::size_t whole = std::exchange(request.length, std::min(request.length, verdict.at_most));
    if (verdict.error == 0 || request.opcode == Opcode::close) wrapped_->at_once(request);
    if (verdict.error != 0) request.result = -verdict.error;
    request.length = whole;
  }

  [[nodiscard]] int fileno() noexcept override {
    if (!poll_set_) {
      poll_set_ = std::make_unique<detail::PollSet>();
      poll_set_->add(busy_.get());
      poll_set_->add(wrapped_->fileno());
    }
    return poll_set_->fileno();
  }

 private:
  /// What the wrapped backend gets to see of a request, so that the original stays as it is.
  struct Shadow : Request {
    Request* original = nullptr;
    Verdict verdict;
    unsigned turns = 0;
    std::vector<::iovec> shortened;
    std::uint32_t index = 0;
  };

  Verdict judge(const Request& request) {
    const Verdict verdict = script_.judge(request);
    ++counts_.requests;
    const bool interrupted = verdict.error == EINTR || verdict.error == EAGAIN;
    counts_.interruptions += interrupted;
    counts_.errors += verdict.error != 0 && !interrupted;
    counts_.shortened += verdict.error == 0 && (request.is_read() || request.is_write()) &&
                         verdict.at_most < std::numeric_limits<std::size_t>::max();
    counts_.delayed += verdict.turns_before + verdict.turns_after > 0;
    return verdict;
  }

  void take(Request& request) {
    Shadow& shadow = unused();
    static_cast<Request&>(shadow) = request;
    shadow.next = shadow.previous = nullptr;
    shadow.stage = Request::Stage::idle;
    shadow.original = &request;
    request.slot = shadow.index;
    ++counts_.held;
    {
      const std::lock_guard lock(mutex_);
      shadow.verdict = judge(request);
    }
    shadow.turns = shadow.verdict.turns_before;
    if (shadow.turns > 0) return waiting_.push_back(&shadow);
    pass_on(shadow);
  }

  void pass_on(Shadow& shadow) {
    if (shadow.verdict.error != 0 && shadow.opcode != Opcode::close) return end(shadow, -shadow.verdict.error);
    shorten(shadow);
    shadow.stage = Request::Stage::queued;
    inner_.queued().push_back(shadow);
  }

  void shorten(Shadow& shadow) {
    std::size_t left = shadow.verdict.at_most;
    if (shadow.is_scalar_transfer()) shadow.length = std::min(shadow.length, left);
    if (shadow.opcode != Opcode::readv && shadow.opcode != Opcode::writev) return;
    if (left == std::numeric_limits<std::size_t>::max()) return;
    shadow.shortened.assign(shadow.vectors, shadow.vectors + shadow.length);
    for (::iovec& vector : shadow.shortened) left -= vector.iov_len = std::min(vector.iov_len, left);
    shadow.vectors = shadow.shortened.data();
  }

  void completed(Shadow& shadow) {
    const bool close_fails = shadow.opcode == Opcode::close && shadow.verdict.error != 0 && shadow.result >= 0;
    end(shadow, close_fails ? -shadow.verdict.error : shadow.result);
  }

  /// Whoever is refused goes to the context's pool, which knows nothing of the script: what meets with a fault is done
  /// here.
  void refused(Shadow& shadow) {
    const Verdict& verdict = shadow.verdict;
    if (verdict.error != 0 || verdict.turns_after > 0 || verdict.at_most < std::numeric_limits<std::size_t>::max()) {
      wrapped_->at_once(shadow);
      return completed(shadow);
    }
    shadow.stage = Request::Stage::ended;
    refused_.push_back(&shadow);
  }

  void end(Shadow& shadow, std::int64_t result) {
    shadow.result = result;
    shadow.stage = Request::Stage::ended;
    shadow.turns = 1 + shadow.verdict.turns_after;
    returning_.push_back(&shadow);
  }

  /// One turn of the loop has gone by: `then` for those whose time has come, in their order.
  template <class Then>
  static void due(std::vector<Shadow*>& shadows, Then then) {
    std::vector<Shadow*> now;
    for (Shadow* const shadow : shadows) {
      if (--shadow->turns == 0) now.push_back(shadow);
    }
    std::erase_if(shadows, [](const Shadow* shadow) { return shadow->turns == 0; });
    for (Shadow* const shadow : now) then(*shadow);
  }

  void free(Shadow& shadow) {
    --counts_.held;
    free_.push_back(&shadow);
  }

  Shadow& unused() {
    if (free_.empty()) {
      Shadow& shadow = shadows_.emplace_back();
      shadow.index = static_cast<std::uint32_t>(shadows_.size() - 1);
      return shadow;
    }
    Shadow& shadow = *free_.back();
    free_.pop_back();
    return shadow;
  }

  void announce(bool busy) {
    if (std::exchange(announced_, busy) == busy) return;
    std::uint64_t count = 1;
    static_cast<void>(busy ? ::write(busy_.get(), &count, sizeof count) : ::read(busy_.get(), &count, sizeof count));
  }

  std::unique_ptr<Backend> wrapped_;
  FaultScript script_;
  mutable std::mutex mutex_;
  FaultCounts counts_;
  DrivenBatch inner_;
  std::deque<Shadow> shadows_;
  std::vector<Shadow*> free_;
  std::vector<Shadow*> waiting_;    // to be carried out
  std::vector<Shadow*> returning_;  // to be completed
  std::vector<Shadow*> refused_;
  detail::UniqueFd busy_{system_calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};  // readable while something waits here
  bool announced_ = false;
  std::unique_ptr<detail::PollSet> poll_set_;
};

}  // namespace caio::inline CAIO_ABI::testing
