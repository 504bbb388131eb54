#pragma once
// Reader: a file in chunks.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/concepts.hpp>
#include <aiofile/cursor_operation.hpp>
#include <aiofile/file.hpp>
#include <aiofile/object_cursor.hpp>
#include <aiofile/text.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

/// Takes the next chunk. Result: std::string, or std::optional<std::string_view> of what was read ahead.
template <class Result>
class [[nodiscard]] ReadChunk final : public InputOperation {
 public:
  ReadChunk(CursorRef cursor, std::size_t size) : InputOperation(std::move(cursor), "read"), size_(size) {}

  Result await_resume() {
    check();
    return std::move(chunk_);
  }

 private:
  std::size_t wanted() noexcept override {
    const std::size_t here = state().decodes ? 0 : input().bytes().size();
    // One byte after another until a long character is whole.
    return here < size_ ? std::min(size_ - here, Cursor::most_at_once) : 1;
  }

  bool take(bool last) override {
    const std::string_view content = input().content();
    if (content.empty()) return last && !input().unfinished();
    // A pipe's reader gets what has come. A character that is cut by the chunk's end belongs to the next one.
    const bool enough = content.size() >= size_ || input().bytes().size() >= size_;
    if (!enough && !last && cursor().positional()) return false;
    const std::size_t size = state().mode.binary ? std::min(size_, content.size()) : whole_characters(content, size_);
    chunk_ = Result(content.substr(0, size));
    input().consume(size);
    return true;
  }

  std::size_t size_;
  Result chunk_;
};

}  // namespace detail

class FileStream;

/// Reads a file in chunks, from an offset on. Move-only; it holds the file's state, so that the AIOFile may move or go.
class Reader {
 public:
  /// `offset` and `chunk_size` in bytes. std::invalid_argument: a chunk size of 0, an offset beyond INT64_MAX.
  explicit Reader(AIOFile& file, std::uint64_t offset = 0, std::size_t chunk_size = 32 * 1024)
      : Reader(std::make_shared<detail::Cursor>(detail::state_of(file), detail::checked_offset(offset, "Reader"),
                                                chunk_size, std::size_t{0}),
               chunk_size) {}
  /// Reads on from where `source` stands; it lives as long as the Reader. A FileStream's Reader is that of
  /// iter_chunked(). Of others a chunk is the bytes that one read_into() gives, chunk_size at most; what they throw is
  /// thrown. std::invalid_argument: a chunk size of 0.
  template <AsyncReadable Source>
  explicit Reader(Source& source, std::size_t chunk_size = 32 * 1024)
      : Reader(detail::reading_cursor(source, chunk_size), chunk_size) {}
  Reader(Reader&&) = default;
  Reader& operator=(Reader&&) = default;

  /// Yields std::optional<std::string_view>: the next chunk, nullopt at the end of the file; valid until the next call.
  /// It has chunk_size bytes unless the end comes first; in text mode (UTF-8) as many whole characters as go into
  /// chunk_size bytes, one at least; from pipes and terminals, what has come. One at a time. Throws FileError,
  /// DecodeError.
  auto next() { return detail::ReadChunk<std::optional<std::string_view>>(cursor_, chunk_size_); }

  /// The same as a std::string, empty at the end. Concurrent calls get consecutive chunks, in the order they started.
  auto read_chunk() { return detail::ReadChunk<std::string>(cursor_, chunk_size_); }

 private:
  friend FileStream;

  Reader(detail::CursorRef cursor, std::size_t chunk_size) : cursor_(std::move(cursor)), chunk_size_(chunk_size) {
    if (chunk_size == 0) throw std::invalid_argument("aiofile::Reader: a chunk size of 0");
  }

  detail::CursorRef cursor_;
  std::size_t chunk_size_;
};

}  // namespace aiofile::inline CAIO_ABI
