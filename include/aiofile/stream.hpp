#pragma once
// FileStream: a file with a position.

#include <unistd.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/cursor.hpp>
#include <aiofile/file.hpp>
#include <aiofile/line_reader.hpp>
#include <aiofile/object_cursor.hpp>
#include <aiofile/reader.hpp>
#include <aiofile/stream_close.hpp>
#include <aiofile/stream_read.hpp>
#include <aiofile/stream_write.hpp>
#include <aiofile/whence.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

/// An open file that is read and written at its position, as made by async_open().
///
/// Move-only. Operations on one stream run one after the other, in the order they were started; they hold the stream's
/// state, so that the object may move or go meanwhile. A failed operation moves nothing and takes nothing. In text mode
/// strings are UTF-8, and lengths count code points; positions are bytes. Pipes and terminals work like files, but for
/// their position. Errors are FileError, DecodeError and EncodeError; wrong arguments are std::invalid_argument.
///
/// Close it: a destructor that finds bytes gathered (OpenOptions::buffering) can only try to write them, and tell
/// Context::on_lost_data.
class FileStream {
 public:
  /// A stream over an open file, at its beginning, or at its end in mode 'a'.
  explicit FileStream(AIOFile file, std::size_t buffering = 0, std::uint64_t position = 0)
      : file_(std::move(file)),
        cursor_(std::make_shared<detail::Cursor>(detail::state_of(file_), position, std::size_t{0}, buffering)) {
    if (file_.mode().appending) cursor_->seek(cursor_->write_position());
  }
  FileStream(FileStream&&) = default;
  FileStream& operator=(FileStream&&) = default;

  /// Yields a std::string of `length` code points (text) or bytes (binary), or fewer when the end comes first; -1: all
  /// up to the end.
  auto read(std::int64_t length = -1) { return detail::StreamRead(cursor_, checked_length(length, "read")); }
  /// Fills `memory` with bytes of the file unless the end comes first; yields their number (std::size_t).
  auto read_into(std::span<std::byte> memory) { return detail::StreamReadInto(cursor_, memory); }
  /// Yields the next `bytes` bytes without taking them, as a std::string_view that is valid until the next call: fewer
  /// at the end, whole characters in text mode, and then one at least.
  auto peek(std::size_t bytes) { return detail::StreamPeek(cursor_, bytes); }
  /// Yields the next line with its `newline`, as a std::string, empty at the end; cut after `size` code points or bytes
  /// if that is not -1. `newline` lives until the await is done.
  auto readline(std::int64_t size, std::string_view newline) {
    if (newline.empty()) throw std::invalid_argument("aiofile::FileStream::readline: an empty newline");
    return caio::detail::Prompt(detail::ReadlineAttempt(cursor_, checked_length(size, "readline"), newline));
  }
  /// The same with the file's own: "\n", or "\r\n" if OpenOptions::newline says so.
  auto readline(std::int64_t size = -1) { return readline(size, detail::state_of(file_)->line_end()); }
  /// Yields all lines up to the end as a std::vector<std::string>.
  auto readlines() { return detail::StreamReadlines(cursor_); }

  /// A LineReader from the position on, which it moves. The stream's other operations may come between.
  [[nodiscard]] LineReader lines() { return LineReader(cursor_); }
  /// Likewise a Reader.
  [[nodiscard]] Reader iter_chunked(std::size_t chunk_size = 32 * 1024) { return Reader(cursor_, chunk_size); }

  /// Writes all of `text` or fails; yields the number of bytes (std::size_t) that it has in the file.
  auto write(std::string_view text) { return detail::write_to_stream<std::size_t>(cursor_, text); }
  template <std::same_as<std::string> S>
  auto write(S&& text) {
    return detail::write_to_stream<std::size_t>(cursor_, std::move(text));
  }
  /// Writes the strings of a range, as one write; they are copied by the call.
  template <class Range>
  auto writelines(const Range& lines) {
    std::string text;
    for (const auto& line : lines) text += std::string_view(line);
    return detail::write_to_stream<void>(cursor_, std::move(text));
  }

  /// Moves to `offset` bytes from the start, behind the operations that were started. std::invalid_argument: a negative
  /// one; FileError ESPIPE: a pipe or terminal.
  void seek(std::int64_t offset) {
    check_seek(offset);
    if (!cursor_->seekable()) throw FileError("seek", name(), closed() ? EBADF : ESPIPE);
    cursor_->seek_in_turn(static_cast<std::uint64_t>(offset));
  }
  /// Moves by `offset` bytes from there; yields the new position (std::uint64_t). To a negative one:
  /// std::invalid_argument, thrown by the await where the call cannot know.
  auto seek(std::int64_t offset, Whence whence) {
    if (whence == Whence::set) check_seek(offset);
    return detail::StreamSeek(cursor_, offset,
                              whence == Whence::set       ? detail::Origin::start
                              : whence == Whence::current ? detail::Origin::position
                                                          : detail::Origin::end);
  }
  /// The position in bytes; for pipes and terminals, the bytes read, or written if it is not readable.
  [[nodiscard]] std::uint64_t tell() const noexcept { return cursor_->position(); }

  /// Makes the file end at the position, which stays; standard_output() where the descriptor stands (ESPIPE: it
  /// cannot).
  auto truncate() { return detail::StreamTruncate(cursor_, std::nullopt); }
  /// Makes it `length` bytes long.
  auto truncate(std::uint64_t length) {
    return detail::StreamTruncate(cursor_, detail::checked_offset(length, "truncate"));
  }

  /// Brings what is gathered to the file. What fails stays gathered, and the next operation tries again.
  auto flush() { return detail::StreamFlush(cursor_); }
  /// The same, and makes durable every write of this file that was started before.
  auto fsync() { return detail::StreamSync(cursor_, false); }
  auto fdsync() { return detail::StreamSync(cursor_, true); }

  /// Flushes and closes; the file is closed even when that fails, and a failure that was reported before is not
  /// reported again. Again: does nothing. Waits for pipes and terminals are cancelled.
  auto close() { return detail::StreamClose(cursor_); }

  /// Another stream over the same descriptor, with a position of its own that starts at 0; the last close() closes the
  /// file. It does not see what this one has gathered and not flushed.
  [[nodiscard]] FileStream clone() {
    FileStream other(file_.clone(), cursor_->buffering());
    if (other.seekable()) other.seek(0);
    return other;
  }

  [[nodiscard]] bool readable() const noexcept { return mode().readable; }
  [[nodiscard]] bool writable() const noexcept { return mode().writable; }
  [[nodiscard]] bool seekable() const noexcept { return cursor_->seekable(); }
  [[nodiscard]] bool isatty() const noexcept { return cursor_->is_terminal(); }
  /// The same file at explicit offsets.
  [[nodiscard]] AIOFile& file() noexcept { return file_; }
  [[nodiscard]] bool closed() const noexcept { return file_.closed(); }
  /// -1 when it is closed.
  [[nodiscard]] int fileno() const noexcept { return file_.fileno(); }
  [[nodiscard]] const Mode& mode() const noexcept { return file_.mode(); }
  [[nodiscard]] const std::filesystem::path& name() const noexcept { return file_.name(); }

 private:
  friend const detail::CursorRef& detail::cursor_of(const FileStream& stream) noexcept;

  static std::int64_t checked_length(std::int64_t length, const char* what) {
    if (length < -1) throw std::invalid_argument(std::string("aiofile::FileStream::") + what + ": a negative length");
    return length;
  }
  static void check_seek(std::int64_t offset) {
    if (offset < 0) throw std::invalid_argument("aiofile::FileStream::seek: a negative offset");
  }

  AIOFile file_;
  detail::CursorRef cursor_;
};

inline const detail::CursorRef& detail::cursor_of(const FileStream& stream) noexcept { return stream.cursor_; }

/// The same as stream.clone().
[[nodiscard]] inline FileStream clone(FileStream& stream) { return stream.clone(); }

}  // namespace aiofile::inline CAIO_ABI
