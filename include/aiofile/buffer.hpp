#pragma once
// Memory that bytes come into at its end and leave from its front.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

class Buffer {
 public:
  /// Bytes behind the last one that may be read all the same, so that a scan goes in whole blocks.
  static constexpr std::size_t padding = 64;
  /// What is read into an empty buffer begins there: a copy to a few bytes further within a page than where it comes
  /// from takes up to four times as long (seen on AMD EPYC, Linux 6.18), and malloc's large blocks begin 16 bytes
  /// behind a page.
  static constexpr std::size_t alignment = 64;
  /// Bytes of its memory that are never used for content.
  static constexpr std::size_t overhead = padding + alignment;

  [[nodiscard]] const char* begin() const noexcept { return memory_.data() + begin_; }
  [[nodiscard]] std::string_view view() const noexcept { return {begin(), size()}; }
  [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
  [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }

  /// What comes next lies at `phase` modulo `boundary`, a power of two, if all that is here does accordingly. So the
  /// bytes of an O_DIRECT file come to where its device can put them.
  void align(std::size_t boundary, std::uint64_t phase) noexcept {
    boundary_ = boundary;
    phase_ = static_cast<std::size_t>(phase) - size();
  }

  /// How much room() would have to allocate; 0: there is room already.
  [[nodiscard]] std::size_t growth(std::size_t bytes) const noexcept {
    const std::size_t unused = padding + boundary_;
    if (size() + bytes + unused <= memory_.size()) return 0;
    // Twice as much each time: long lines cost linear time.
    return std::max(size() + bytes, std::min(2 * size(), most_ahead + size())) + unused;
  }

  /// Memory for `bytes` more; what is here may move.
  std::span<char> room(std::size_t bytes) {
    if (growth(bytes) > 0) {
      adopt(grown(bytes));
    } else if (empty() || end_ + bytes + padding > memory_.size()) {
      std::memmove(memory_.data() + front(memory_), memory_.data() + begin_, size());
      restart_at(front(memory_));
    }
    return {memory_.data() + end_, bytes};
  }

  /// The two steps of growing, for who lets a thread of the pool do the first: larger memory with what is here,
  [[nodiscard]] std::string grown(std::size_t bytes) const {
    std::string larger(growth(bytes), '\0');
    std::memcpy(larger.data() + front(larger), memory_.data() + begin_, size());
    return larger;
  }
  /// which takes the place of the old.
  void adopt(std::string larger) noexcept {
    memory_ = std::move(larger);
    restart_at(front(memory_));
  }
  /// That many bytes have come into room().
  void filled(std::size_t bytes) noexcept { end_ += bytes; }

  void append(std::string_view bytes) {
    const std::span<char> memory = room(bytes.size());
    std::memcpy(memory.data(), bytes.data(), bytes.size());
    filled(bytes.size());
  }

  void consume(std::size_t bytes) noexcept { begin_ += bytes; }
  /// Takes back a consume().
  void put_back(std::size_t bytes) noexcept { begin_ -= bytes; }
  void clear() noexcept { begin_ = end_ = 0; }

 private:
  [[nodiscard]] std::size_t front(const std::string& memory) const noexcept {
    return (phase_ - reinterpret_cast<std::uintptr_t>(memory.data())) % boundary_;
  }
  void restart_at(std::size_t begin) noexcept {
    end_ = begin + size();
    begin_ = begin;
  }

  static constexpr std::size_t most_ahead = std::size_t{1} << 30;

  std::string memory_;  // its size is what is allocated
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t boundary_ = alignment;
  std::size_t phase_ = 0;  // of the front
};

}  // namespace aiofile::inline CAIO_ABI::detail
