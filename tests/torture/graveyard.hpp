#pragma once
// Memory that is watched after it was freed: whatever changes it wrote to what is no longer its own. ASan cannot see
// the kernel do that. For a program's operator new and delete.

#include <sys/mman.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <utility>

namespace torture {

/// Hands out blocks of mapped pages. A freed one is filled with canaries, and the one freed longest ago is used first.
class Graveyard {
 public:
  static constexpr std::size_t smallest = 1024;  // what is smaller is nobody's buffer here
  static constexpr char canary = '\xC5';

  Graveyard()
      : ground_(static_cast<char*>(
            ::mmap(nullptr, sizes * plot, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0))) {
    std::memset(ground_, canary, sizes * plot);
  }

  /// Null: not for blocks of that size, or none is free.
  void* allocate(std::size_t size) noexcept {
    if (size < smallest || size > plot / 32) return nullptr;
    const std::size_t kind = size <= page ? 0 : static_cast<std::size_t>(std::bit_width((size - 1) / page));
    const std::size_t count = plot / (page << kind);
    const std::lock_guard lock(mutex_);
    for (std::size_t tried = 0; tried < count; ++tried) {
      const std::size_t index = next_[kind]++ % count;
      if (used_[kind][index]) continue;
      look_at(kind, index);
      used_[kind][index] = true;
      return block(kind, index);
    }
    return nullptr;
  }

  /// False: it does not come from here.
  bool bury(void* memory) noexcept {
    const auto offset = static_cast<std::size_t>(static_cast<char*>(memory) - ground_);
    if (static_cast<char*>(memory) < ground_ || offset >= sizes * plot) return false;
    const std::size_t kind = offset / plot;
    const std::lock_guard lock(mutex_);
    std::memset(memory, canary, page << kind);
    used_[kind][offset % plot / (page << kind)] = false;
    return true;
  }

  /// How many freed blocks were written to since the last call.
  std::uint64_t disturbed() noexcept {
    const std::lock_guard lock(mutex_);
    for (std::size_t kind = 0; kind < sizes; ++kind) {
      for (std::size_t index = 0; index < plot / (page << kind); ++index) {
        if (!used_[kind][index]) look_at(kind, index);
      }
    }
    return std::exchange(disturbed_, 0);
  }

 private:
  static constexpr std::size_t page = 4096;
  static constexpr std::size_t sizes = 8;  // 4 KiB to 512 KiB
  static constexpr std::size_t plot = 16 * 1024 * 1024;

  [[nodiscard]] char* block(std::size_t kind, std::size_t index) const noexcept {
    return ground_ + kind * plot + index * (page << kind);
  }
  void look_at(std::size_t kind, std::size_t index) noexcept {
    char* const first = block(kind, index);
    const std::size_t size = page << kind;
    if (*first == canary && std::memcmp(first, first + 1, size - 1) == 0) return;
    ++disturbed_;
    std::memset(first, canary, size);
  }

  char* ground_;
  std::mutex mutex_;
  std::array<std::array<bool, plot / page>, sizes> used_{};
  std::array<std::size_t, sizes> next_{};
  std::uint64_t disturbed_ = 0;
};

}  // namespace torture
