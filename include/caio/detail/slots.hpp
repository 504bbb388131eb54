#pragma once
// The requests that a kernel holds, by a number that says at once when it is out of date.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <caio/config.hpp>
#include <caio/request.hpp>

namespace caio::inline CAIO_ABI::detail {

/// The kernel is given a slot's index and generation, never a pointer: a completion that is forged, late, or a forked
/// child's finds nobody instead of a stale pointer.
class Slots {
 public:
  explicit Slots(std::size_t capacity) : slots_(capacity) {
    free_.reserve(capacity);
    for (std::size_t index = capacity; index-- > 0;) free_.push_back(static_cast<std::uint32_t>(index));
  }

  [[nodiscard]] bool full() const noexcept { return free_.empty(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return slots_.size(); }
  [[nodiscard]] std::size_t used() const noexcept { return slots_.size() - free_.size(); }

  /// The number to give to the kernel; `request.slot` keeps the index.
  std::uint64_t insert(Request& request) noexcept {
    request.slot = free_.back();
    free_.pop_back();
    Slot& slot = slots_[request.slot];
    slot.request = &request;
    return key(request);
  }

  [[nodiscard]] std::uint64_t key(const Request& request) const noexcept {
    return (std::uint64_t{slots_[request.slot].generation} << 32) | request.slot;
  }

  /// The request of that number, which leaves its slot; null when there is none.
  Request* remove(std::uint64_t key) noexcept {
    const auto index = static_cast<std::uint32_t>(key);
    if (index >= slots_.size()) return nullptr;
    Slot& slot = slots_[index];
    if (slot.request == nullptr || slot.generation != key >> 32) return nullptr;
    Request* const request = slot.request;
    slot.request = nullptr;
    slot.generation = (slot.generation + 1) & 0x3fff'ffff;  // high bits are left to mark other completions
    free_.push_back(index);
    return request;
  }

  /// One of those that are here, which leaves its slot; null when there is none.
  Request* remove_any() noexcept {
    for (const Slot& slot : slots_) {
      if (slot.request != nullptr) return remove(key(*slot.request));
    }
    return nullptr;
  }

 private:
  struct Slot {
    Request* request = nullptr;
    std::uint32_t generation = 0;
  };

  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace caio::inline CAIO_ABI::detail
