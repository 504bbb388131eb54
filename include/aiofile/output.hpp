#pragma once
// Bytes that were written to a stream and not yet to its file.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <aiofile/buffer.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

class Output {
 public:
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  [[nodiscard]] std::string_view bytes() const noexcept { return bytes_.view(); }
  /// Where they go in the file.
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  [[nodiscard]] std::uint64_t end() const noexcept { return offset_ + bytes_.size(); }

  /// Whether `size` more bytes for `offset` may join, when `limit` bytes are gathered at most.
  [[nodiscard]] bool takes(std::size_t size, std::uint64_t offset, std::size_t limit) const noexcept {
    return bytes_.size() + size <= limit && (empty() || offset == end());
  }
  void add(std::string_view bytes, std::uint64_t offset) {
    bytes_.append(bytes);
    offset_ = offset + bytes.size() - bytes_.size();
    reported_ = false;
  }
  /// As Buffer::align(), for a file that is written in blocks; `offset` is where the next bytes go.
  void align(std::size_t block, std::uint64_t offset) noexcept { bytes_.align(block, offset); }
  /// The first `count` bytes have gone to the file.
  void written(std::size_t count) noexcept {
    bytes_.consume(count);
    offset_ += count;
  }
  void clear() noexcept { bytes_.clear(); }

  /// That these bytes could not be written has been reported: it is not said again when they are dropped.
  void set_reported() noexcept { reported_ = true; }
  [[nodiscard]] bool reported() const noexcept { return reported_; }

 private:
  Buffer bytes_;
  std::uint64_t offset_ = 0;
  bool reported_ = false;
};

}  // namespace aiofile::inline CAIO_ABI::detail
