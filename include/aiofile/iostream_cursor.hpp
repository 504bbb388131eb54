#pragma once
// A standard stream as something with turns and a position.

#include <cerrno>
#include <cstdint>
#include <ios>
#include <streambuf>
#include <string_view>

#include <aiofile/cursor.hpp>
#include <aiofile/encoding.hpp>
#include <aiofile/error.hpp>
#include <aiofile/mode.hpp>
#include <aiofile/shared_file.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/descriptor.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// A cursor for the sake of its turns and its position; the bytes are the stream's.
class IostreamCursor final : public Cursor {
 public:
  IostreamCursor(std::ios& stream, std::string_view mode)
      : Cursor(opened(mode), 0, 0, 0), stream_(&stream), heads_(file->mode.readable ? std::ios::in : std::ios::out) {
    if (stream.rdbuf() == nullptr) return;
    const std::streamoff start = stream.rdbuf()->pubseekoff(0, std::ios::cur, heads_);
    seeks_ = start >= 0;
    if (seeks_) input.restart(static_cast<std::uint64_t>(start));
  }

  [[nodiscard]] bool seeks() const noexcept { return seeks_; }

  // For who has the turn, on any thread.

  std::streambuf& buffer(const char* what) {
    if (stream_->fail() || stream_->rdbuf() == nullptr) throw FileError(what, file->path, EIO);
    return *stream_->rdbuf();
  }
  /// The same for a read or a write at `position`, which moves only that one of the stream's two positions.
  std::streambuf& buffer_at(std::uint64_t position, std::ios::openmode head, const char* what) {
    std::streambuf& found = buffer(what);
    if (seeks_ && (heads_ & head) == 0) move(found, position, head, what);
    heads_ = head;
    return found;
  }
  void move_all(std::uint64_t position, const char* what) {
    const std::ios::openmode all = (file->mode.readable ? std::ios::in : std::ios::openmode()) |
                                   (file->mode.writable ? std::ios::out : std::ios::openmode());
    move(buffer(what), position, all, what);
    heads_ = all;
  }
  /// Gives where the stream stands then: elsewhere than at `position` if it appends.
  std::uint64_t flush(std::uint64_t position, const char* what) {
    std::streambuf& flushed = buffer(what);
    errno = 0;
    if (flushed.pubsync() < 0) throw FileError(what, file->path, errno != 0 ? errno : EIO);
    if (!seeks_ || (heads_ & std::ios::out) == 0) return position;
    const std::streamoff found = flushed.pubseekoff(0, std::ios::cur, std::ios::out);
    return found >= 0 ? static_cast<std::uint64_t>(found) : position;
  }
  /// The stream may stand anywhere.
  void lost() noexcept { heads_ = std::ios::openmode(); }

 private:
  static FileRef opened(std::string_view mode) {
    FileRef state(new FileState("<iostream>", parse_mode(mode), Encoding()));
    state->opened(caio::Context::current().engine(), caio::Descriptor(), true);
    return state;
  }

  void move(std::streambuf& buffer, std::uint64_t position, std::ios::openmode which, const char* what) {
    lost();
    const auto offset = static_cast<std::streamoff>(position);
    errno = 0;  // where a buffer writes what it has kept, that may fail
    if (std::streamoff(buffer.pubseekpos(offset, which)) == offset) return;
    throw FileError(what, file->path, errno != 0 ? errno : EINVAL);
  }

  std::ios* stream_;
  std::ios::openmode heads_;  // which of its positions are the cursor's
  bool seeks_ = false;
};

}  // namespace aiofile::inline CAIO_ABI::detail
