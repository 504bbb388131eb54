#pragma once
// How a read or write on an O_DIRECT file is cut into what the device takes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include <aiofile/aligned.hpp>
#include <caio/config.hpp>
#include <caio/request.hpp>

namespace aiofile::inline CAIO_ABI::detail {

[[nodiscard]] inline bool fits(const Alignment& alignment, const void* memory, std::uint64_t offset,
                               std::size_t length) noexcept {
  return (offset | length) % alignment.offset == 0 && reinterpret_cast<std::uintptr_t>(memory) % alignment.memory == 0;
}

class BlockPieces {
 public:
  /// Of files that are read and written in pieces: a page, too, so that a block that goes to the device is never part
  /// of a dirty page, which the kernel would write first.
  static constexpr std::size_t smallest_block = 4096;
  static std::size_t block_size(const Alignment& alignment) noexcept {
    return std::max(alignment.offset, smallest_block);
  }
  static constexpr std::size_t most_copied = 256 * 1024;  // as much as may be copied without holding up a loop

  struct Piece {
    std::byte* memory;
    std::size_t length;
    std::uint64_t offset;
    bool direct;  // else through the page cache
  };

  /// `request` is a read or write as for any file. What is appended goes through the page cache, in one piece: a direct
  /// append in flight does not keep another from the same place (seen with io_uring on XFS, Linux 6.18).
  void begin(const Alignment& alignment, const caio::Request& request, bool appends) noexcept {
    alignment_ = alignment;
    block_ = block_size(alignment);
    memory_ = static_cast<std::byte*>(request.buffer);
    left_ = request.length;
    offset_ = static_cast<std::uint64_t>(request.offset);
    moved_ = 0;
    opcode_ = request.opcode;
    whole_ = request.whole;
    avoids_direct_ = appends;
    ended_ = false;
  }
  /// Gives the request back as it would be without pieces.
  void conclude(caio::Request& request) const noexcept {
    request.opcode = opcode_;
    request.buffer = memory_;
    request.length = left_;
    request.offset = static_cast<std::int64_t>(offset_);
    request.whole = whole_;
    request.moved = moved_;
  }

  [[nodiscard]] bool finished() const noexcept { return left_ == 0 || ended_; }
  [[nodiscard]] bool writes() const noexcept { return opcode_ == caio::Opcode::write; }
  /// The last piece went to the device.
  [[nodiscard]] bool direct() const noexcept { return piece_.direct; }
  /// From now on everything goes through the page cache.
  void avoid_direct() noexcept { avoids_direct_ = true; }

  /// The next piece. std::bad_alloc.
  Piece next() {
    bounced_ = false;
    if (writes()) {
      aim_write();
    } else {
      aim_read();
    }
    return piece_;
  }

  /// That many bytes of the piece were moved.
  void moved(std::size_t count) noexcept {
    const std::size_t skipped = writes() ? 0 : static_cast<std::size_t>(offset_ - piece_.offset);
    const std::size_t gained = std::min(count - std::min(count, skipped), left_);
    if (bounced_ && !writes()) std::memcpy(memory_, bounce_.data() + skipped, gained);
    // A read that is short within a block has met the end of the file.
    const bool cut = count < piece_.length && count % alignment_.offset != 0;
    ended_ = !writes() && (gained == 0 || cut || !whole_);
    memory_ += gained;
    left_ -= gained;
    offset_ += gained;
    moved_ += gained;
  }
  /// The same of a piece that was taken back, whose memory may be gone.
  void moved_at_last(std::size_t count) noexcept {
    if (writes()) moved_ += count;
  }

 private:
  [[nodiscard]] std::size_t down(std::size_t bytes, std::size_t unit) const noexcept { return bytes / unit * unit; }
  [[nodiscard]] bool memory_fits() const noexcept {
    return reinterpret_cast<std::uintptr_t>(memory_) % alignment_.memory == 0;
  }

  void aim_read() {
    const bool large = left_ > most_copied || left_ % alignment_.offset == 0;
    if (offset_ % alignment_.offset == 0 && memory_fits() && large) {
      piece_ = {memory_, down(left_, alignment_.offset), offset_, true};
      return;
    }
    constexpr std::uint64_t last = std::numeric_limits<std::int64_t>::max();
    const std::uint64_t from = offset_ / block_ * block_;
    const std::uint64_t room = std::min<std::uint64_t>((last - from) / block_ * block_, std::max(block_, most_copied));
    const std::uint64_t length = offset_ - from + std::min<std::uint64_t>(left_, room);
    bounce(static_cast<std::size_t>(std::min((length + block_ - 1) / block_ * block_, room)), from);
  }

  void aim_write() {
    // Nothing is cut that could go as it is.
    const std::size_t unit = (offset_ | left_) % alignment_.offset == 0 ? alignment_.offset : block_;
    const auto before = static_cast<std::size_t>((unit - offset_ % unit) % unit);
    if (avoids_direct_ || left_ < before + unit) {
      piece_ = {memory_, left_, offset_, false};
    } else if (before > 0) {
      piece_ = {memory_, before, offset_, false};
    } else if (memory_fits()) {
      piece_ = {memory_, down(left_, unit), offset_, true};
    } else {
      bounce(down(std::min(left_, std::max(unit, most_copied)), unit), offset_);
    }
  }

  void bounce(std::size_t length, std::uint64_t offset) {
    if (bounce_.size() < length) bounce_ = AlignedBuffer(length, std::max(alignment_.memory, smallest_block));
    if (writes()) std::memcpy(bounce_.data(), memory_, length);
    bounced_ = true;
    piece_ = {bounce_.data(), length, offset, true};
  }

  Alignment alignment_;
  std::size_t block_ = smallest_block;
  std::byte* memory_ = nullptr;  // the rest of the request
  std::size_t left_ = 0;
  std::uint64_t offset_ = 0;
  std::size_t moved_ = 0;
  caio::Opcode opcode_ = caio::Opcode::read;
  bool whole_ = false;
  bool avoids_direct_ = false;
  bool ended_ = false;    // the file, or what was wanted of a read that may be short
  bool bounced_ = false;  // the piece
  Piece piece_{};
  AlignedBuffer bounce_;
};

}  // namespace aiofile::inline CAIO_ABI::detail
