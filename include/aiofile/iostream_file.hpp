#pragma once
// IostreamFile: a standard stream as a file-like object.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <ios>
#include <istream>
#include <limits>
#include <memory>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/iostream_operations.hpp>
#include <aiofile/whence.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

/// A std::istream, std::ostream or std::iostream of the caller's that is awaited like a FileStream: AsyncReadable,
/// AsyncWritable and AsyncSeekable. The stream outlives it, and is used by nobody else meanwhile.
///
/// Standard streams block: every operation is one hand-over to the pool for each MiB, and what a thread is at work on
/// is waited for, also by destructors and when a stop is asked for. A terminal or pipe is better read by async_open().
/// Move-only. Operations run one after the other, in the order they were started; they hold what they need, so that the
/// object may move or go. Strings are bytes. The stream's buffer is used as it is, and its state is left alone; on one
/// that has failed, operations are FileError EIO. Other errors: FileError with the errno where the buffer tells it,
/// else EIO; EBADF after close(), and for reading an ostream or writing an istream.
///
/// There is one position, as in a file: where the stream reads; where it writes if it only does that.
class IostreamFile {
 public:
  /// Asks the buffer for its position.
  explicit IostreamFile(std::iostream& stream) : IostreamFile(stream, "r+b") {}
  explicit IostreamFile(std::istream& stream) : IostreamFile(stream, "rb") {}
  explicit IostreamFile(std::ostream& stream) : IostreamFile(stream, "wb") {}
  IostreamFile(IostreamFile&&) = default;
  IostreamFile& operator=(IostreamFile&&) = default;

  /// Yields a std::string of `length` bytes, or fewer when the end comes first; -1: all up to the end. One that fails
  /// or is stopped takes nothing if the stream can seek.
  auto read(std::int64_t length = -1) {
    if (length < -1) throw std::invalid_argument("aiofile::IostreamFile::read: a negative length");
    return detail::IostreamRead(
        cursor_, length < 0 ? std::numeric_limits<std::size_t>::max() : static_cast<std::size_t>(length));
  }
  /// Fills `memory` unless the end comes first; yields the number of bytes (std::size_t).
  auto read_into(std::span<std::byte> memory) { return detail::IostreamReadInto(cursor_, memory); }

  /// Gives all of `text` to the stream, which may keep it until flush(); yields the number of bytes (std::size_t).
  /// Views live until the await is done, rvalue strings are taken over.
  auto write(std::string_view text) { return detail::IostreamWrite<std::string_view>(cursor_, text); }
  template <std::same_as<std::string> S>
  auto write(S&& text) {
    return detail::IostreamWrite<std::string>(cursor_, std::move(text));
  }
  /// Lets the stream write what it has kept.
  auto flush() { return detail::IostreamFlush(cursor_); }

  /// Moves both positions of the stream; yields the new one (std::uint64_t). To a negative one: std::invalid_argument,
  /// thrown by the await where the call cannot know. FileError ESPIPE: the stream cannot seek; EINVAL: it refuses, as
  /// string streams do beyond their end.
  auto seek(std::int64_t offset, Whence whence) {
    if (whence == Whence::set && offset < 0) {
      throw std::invalid_argument("aiofile::IostreamFile::seek: a negative offset");
    }
    return detail::IostreamSeek(cursor_, offset, whence);
  }
  /// The position in bytes; of a stream that cannot seek, the bytes read and written here. After a write to one that
  /// appends (std::ios::app) it is known when flush() has ended.
  [[nodiscard]] std::uint64_t tell() const noexcept { return cursor_->position(); }

  /// Flushes, and ends the use of the stream, which stays open. Again: does nothing.
  auto close() { return detail::IostreamClose(cursor_); }

  [[nodiscard]] bool readable() const noexcept { return cursor_->file->mode.readable; }
  [[nodiscard]] bool writable() const noexcept { return cursor_->file->mode.writable; }
  [[nodiscard]] bool seekable() const noexcept { return !closed() && cursor_->seeks(); }
  [[nodiscard]] bool closed() const noexcept { return cursor_->file->life != detail::FileState::Life::open; }

 private:
  IostreamFile(std::ios& stream, std::string_view mode)
      : cursor_(std::make_shared<detail::IostreamCursor>(stream, mode)) {}

  std::shared_ptr<detail::IostreamCursor> cursor_;
};

}  // namespace aiofile::inline CAIO_ABI
