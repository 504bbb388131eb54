#pragma once
// Writer: writes one after the other.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/concepts.hpp>
#include <aiofile/cursor.hpp>
#include <aiofile/file.hpp>
#include <aiofile/object_cursor.hpp>
#include <aiofile/stream_write.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

/// Writes to a file from an offset on, each write behind the one that was started before it. Move-only; it holds the
/// file's state, so that the AIOFile may move or go.
///
/// With `buffering`, up to that many bytes are gathered before they go to the file. An error of the file is thrown by
/// the write or flush that meets it; what could not be written stays gathered and is tried again. flush() before
/// closing the file: a destructor can only try, and tell Context::on_lost_data.
class Writer {
 public:
  /// `offset` and `buffering` in bytes. std::invalid_argument: an offset beyond INT64_MAX.
  explicit Writer(AIOFile& file, std::uint64_t offset = 0, std::size_t buffering = 0)
      : cursor_(std::make_shared<detail::Cursor>(detail::state_of(file), detail::checked_offset(offset, "Writer"),
                                                 std::size_t{0}, buffering)) {}
  /// Writes on where `sink` stands; it lives as long as the Writer. A FileStream gathers as it was opened to, and
  /// encodes; others get bytes by write(), and flush() flushes them, too. What they throw is thrown.
  template <AsyncWritable Sink>
  explicit Writer(Sink& sink, std::size_t buffering = 0) : cursor_(detail::writing_cursor(sink, buffering)) {}
  Writer(Writer&&) = default;
  Writer& operator=(Writer&&) = default;

  /// Writes all of `text`, which lives until the await is done. Throws FileError, EncodeError.
  auto operator()(std::string_view text) { return detail::write_to_stream<void>(cursor_, text); }
  template <std::same_as<std::string> S>
  auto operator()(S&& text) {
    return detail::write_to_stream<void>(cursor_, std::move(text));
  }
  auto write(std::string_view text) { return (*this)(text); }
  template <std::same_as<std::string> S>
  auto write(S&& text) {
    return (*this)(std::move(text));
  }

  /// Brings what is gathered to the file.
  auto flush() { return detail::StreamFlush(cursor_); }

 private:
  detail::CursorRef cursor_;
};

}  // namespace aiofile::inline CAIO_ABI
