#pragma once
// Requests that wait for a time: a binary heap, O(log n) to add, to remove and to expire.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <caio/config.hpp>
#include <caio/request.hpp>

namespace caio::inline CAIO_ABI::detail {

class Timers {
 public:
  [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }
  /// Of the earliest request.
  [[nodiscard]] std::int64_t deadline() const noexcept { return heap_.front().request->deadline; }

  void add(Request& request) {
    heap_.push_back({&request, sequence_++});
    rise(heap_.size() - 1);
  }

  void remove(Request& request) noexcept {
    const std::size_t place = request.slot;
    const Entry last = heap_.back();
    heap_.pop_back();
    if (place == heap_.size()) return;
    put(place, last);
    rise(place);
    sink(last.request->slot);
  }

  /// The earliest request that is due at `now`, removed; null when none is. Equal deadlines come in the order of
  /// adding.
  Request* expire(std::int64_t now) noexcept {
    if (heap_.empty() || deadline() > now) return nullptr;
    Request* const first = heap_.front().request;
    remove(*first);
    return first;
  }

  /// Any request, removed; null when there is none.
  Request* take() noexcept {
    if (heap_.empty()) return nullptr;
    Request* const last = heap_.back().request;
    heap_.pop_back();
    return last;
  }

 private:
  struct Entry {
    Request* request;
    std::uint64_t sequence;
  };

  static bool before(const Entry& a, const Entry& b) noexcept {
    return std::pair(a.request->deadline, a.sequence) < std::pair(b.request->deadline, b.sequence);
  }

  void put(std::size_t place, const Entry& entry) noexcept {
    heap_[place] = entry;
    entry.request->slot = static_cast<std::uint32_t>(place);
  }

  void rise(std::size_t place) noexcept {
    const Entry entry = heap_[place];
    while (place > 0 && before(entry, heap_[(place - 1) / 2])) {
      put(place, heap_[(place - 1) / 2]);
      place = (place - 1) / 2;
    }
    put(place, entry);
  }

  void sink(std::size_t place) noexcept {
    const Entry entry = heap_[place];
    for (std::size_t child = 2 * place + 1; child < heap_.size(); child = 2 * place + 1) {
      if (child + 1 < heap_.size() && before(heap_[child + 1], heap_[child])) ++child;
      if (!before(heap_[child], entry)) break;
      put(place, heap_[child]);
      place = child;
    }
    put(place, entry);
  }

  std::vector<Entry> heap_;
  std::uint64_t sequence_ = 0;
};

}  // namespace caio::inline CAIO_ABI::detail
