#pragma once
// Requests on their way to the kernel: queued, with the backend, or with the pool; never more in flight than allowed.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/detail/thread_pool.hpp>
#include <caio/options.hpp>
#include <caio/request.hpp>

namespace caio::inline CAIO_ABI::detail {

class Dispatcher {
 public:
  /// `done(owner, request)` is told of what the pool has executed, on the pool's thread. It is to bring the request to
  /// the context's thread, and to call arrived() there.
  Dispatcher(std::unique_ptr<Backend> backend, const ContextOptions& options, ContextStats& stats, void* owner,
             ThreadPool::Done done)
      : backend_(std::move(backend)),
        max_requests_(options.max_requests),
        stats_(stats),
        pool_(options.pool_size, owner, done) {}

  [[nodiscard]] Backend& backend() const noexcept { return *backend_; }
  [[nodiscard]] std::size_t in_flight() const noexcept { return batch_.held_count() + pooled_count_; }
  [[nodiscard]] std::size_t queued() const noexcept { return queued_count_; }
  /// How many requests the backend has, and which.
  [[nodiscard]] std::size_t held_count() const noexcept { return batch_.held_count(); }
  [[nodiscard]] RequestList& held() noexcept { return batch_.held(); }
  /// What the backend has handed back; pop it here.
  [[nodiscard]] RequestList& completed() noexcept { return batch_.completed(); }
  [[nodiscard]] RequestList& refused() noexcept { return batch_.refused(); }

  void queue(Request& request) noexcept {
    request.stage = Request::Stage::queued;
    ++queued_count_;
    if (request.to_pool || request.opcode == Opcode::call) {
      pool_queue_.push_back(request);
    } else {
      batch_.queued().push_back(request);
      if (request.descriptor.direct()) ++queued_direct_;
    }
  }
  /// Takes a queued request out again.
  void remove(Request& request) noexcept {
    request.unlink();
    --queued_count_;
  }
  /// Any queued request; null when there is none.
  [[nodiscard]] Request* first_queued() noexcept {
    if (!batch_.queued().empty()) return &batch_.queued().front();
    return pool_queue_.empty() ? nullptr : &pool_queue_.front();
  }

  /// Whether what is queued is worth a hand-over of its own before the turn ends. On a device the first operations
  /// start at once, the others every few: it works while we think.
  [[nodiscard]] bool is_due() const noexcept {
    const bool prompt = queued_direct_ > 0 && (in_flight() == 0 || queued_direct_ >= direct_batch);
    return (prompt || queued_count_ >= full_batch) && room() > 0;
  }

  /// The pool gets what there is room for.
  void feed_pool() noexcept {
    RequestList requests;
    std::size_t count = 0;
    for (std::size_t free = room(); count < free && !pool_queue_.empty(); ++count) {
      Request& request = pool_queue_.pop_front();
      request.stage = Request::Stage::pool;
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
  /// The pool's work has come back to the context's thread.
  void arrived() noexcept { --pooled_count_; }
  /// Takes a request back that no thread of the pool has begun. False: it runs, or has run.
  bool take_back(Request& request) noexcept {
    if (!pool_.take_back(request)) return false;
    --pooled_count_;
    return true;
  }

  [[nodiscard]] bool backend_has_work() noexcept { return batch_.held_count() > 0 || !batch_.queued().empty(); }
  /// The backend gets what there is room for, and hands back what has ended.
  void drive_backend(const Wait* wait) noexcept {
    batch_.allow(room());
    queued_direct_ = 0;
    const std::uint64_t before = in_flight();
    backend_->drive(batch_, wait);
    stats_.max_in_flight = std::max(stats_.max_in_flight, before + batch_.taken());
    queued_count_ -= batch_.taken();
    stats_.handed_over += batch_.taken();
  }

 private:
  static constexpr std::size_t full_batch = 64;
  static constexpr std::size_t direct_batch = 4;  // devices like their work promptly: 1.2..1.4 times at depth 32

  [[nodiscard]] std::size_t room() const noexcept {
    const std::size_t flying = in_flight();
    return flying < max_requests_ ? max_requests_ - flying : 0;
  }

  std::unique_ptr<Backend> backend_;
  const std::size_t max_requests_;
  ContextStats& stats_;
  DrivenBatch batch_;
  RequestList pool_queue_;
  std::size_t pooled_count_ = 0;
  std::size_t queued_direct_ = 0;
  std::size_t queued_count_ = 0;
  ThreadPool pool_;  // last: its threads use what stands above
};

}  // namespace caio::inline CAIO_ABI::detail
