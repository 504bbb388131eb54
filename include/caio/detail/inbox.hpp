#pragma once
// The way into a context from other threads: a lock-free stack whose head also says whether the context sleeps.

#include <atomic>

#include <caio/config.hpp>
#include <caio/request.hpp>

namespace caio::inline CAIO_ABI::detail {

class Inbox {
 public:
  enum class Push : unsigned char { awake, asleep, closed };

  /// From any thread. `asleep`: the caller has to wake the context. `closed`: not taken.
  Push push(Job& job) noexcept {
    Link* head = head_.load(std::memory_order_relaxed);
    do {
      if (head == &closed_) return Push::closed;
      job.next = head == &asleep_ ? nullptr : head;
    } while (!head_.compare_exchange_weak(head, &job, std::memory_order_release, std::memory_order_relaxed));
    return head == &asleep_ ? Push::asleep : Push::awake;
  }

  [[nodiscard]] bool empty() const noexcept {
    const Link* const head = head_.load(std::memory_order_relaxed);
    return head == nullptr || head == &asleep_ || head == &closed_;
  }

  /// Says that the context will sleep: the next push answers `asleep`. False: there is something to take first.
  bool try_sleep() noexcept {
    Link* expected = nullptr;
    return head_.compare_exchange_strong(expected, &asleep_, std::memory_order_acq_rel) || expected == &asleep_;
  }

  /// Takes all jobs, oldest first, linked by `next`. The context counts as awake from here on.
  [[nodiscard]] Job* take_all() noexcept { return in_order(head_.exchange(nullptr, std::memory_order_acq_rel)); }

  /// Takes all jobs and refuses all that come later.
  [[nodiscard]] Job* close() noexcept { return in_order(head_.exchange(&closed_, std::memory_order_acq_rel)); }

 private:
  Job* in_order(Link* head) noexcept {
    if (head == &asleep_ || head == &closed_) return nullptr;
    Link* first = nullptr;
    while (head != nullptr) {
      Link* const next = head->next;
      head->next = first;
      first = head;
      head = next;
    }
    return static_cast<Job*>(first);
  }

  // Marks, told apart by their addresses only.
  Link asleep_;
  Link closed_;
  std::atomic<Link*> head_{nullptr};
};

}  // namespace caio::inline CAIO_ABI::detail
