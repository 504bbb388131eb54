#pragma once
// Bytes from one open file to another that do not pass through the program.

#include <fcntl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

#include <aiofile/file.hpp>
#include <aiofile/os/file_argument.hpp>
#include <aiofile/piecewise_operation.hpp>
#include <caio/config.hpp>
#include <caio/execute.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

/// A piece of sendfile(2). Into a stream that blocks it would hold a thread for as long as the other side likes: there
/// it reads, and leaves the writing to the engine, which waits without one.
class SendPiece {
 public:
  explicit SendPiece(std::uint64_t offset) noexcept : offset_(offset) {}

  std::int64_t operator()(int out, int in, std::uint64_t done, std::uint64_t length) noexcept {
    auto position = static_cast<std::int64_t>(offset_ + done);
    pending_ = {};
    if (!blocks(out)) return caio::detail::outcome(::sendfile(out, in, &position, length));
    if (!memory_) memory_.reset(new (std::nothrow) std::byte[buffer_size]);
    if (!memory_) return -ENOMEM;
    const std::int64_t count =
        caio::detail::outcome(::pread(in, memory_.get(), std::min<std::uint64_t>(length, buffer_size), position));
    pending_ = {memory_.get(), static_cast<std::size_t>(std::max<std::int64_t>(count, 0))};
    return count;
  }

  [[nodiscard]] std::span<std::byte> pending() const noexcept { return pending_; }

 private:
  static constexpr std::size_t buffer_size = 128 * 1024;

  static bool blocks(int out) noexcept {
    struct ::stat status;
    if (::fstat(out, &status) != 0 || S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) return false;
    return (::fcntl(out, F_GETFL) & O_NONBLOCK) == 0;
  }

  std::uint64_t offset_;
  std::unique_ptr<std::byte[]> memory_;
  std::span<std::byte> pending_;
};

}  // namespace detail

namespace os {

/// Sends `count` bytes of the file `in`, from `offset` on, to `out`, a socket, a pipe or a file, at its own position;
/// yields how many (std::uint64_t): fewer when the end of `in` comes first.
///
/// By sendfile(2) on the pool, in pieces; while a stream takes no more, no thread waits. A stream without O_NONBLOCK
/// gets the bytes through a buffer: sendfile(2) would block there. FileError, with transferred(): EPIPE, ECONNRESET,
/// EINVAL (`out` has O_APPEND, `in` cannot be mapped, their contexts belong to two threads) ...; std::invalid_argument
/// for an offset above INT64_MAX.
inline auto sendfile(detail::FileArgument out, detail::FileArgument in, std::uint64_t offset, std::uint64_t count) {
  const detail::Range range(detail::checked_offset(offset, "os::sendfile"), count);
  return detail::PiecewiseOperation<std::uint64_t, detail::SendPiece>(out.take(), "sendfile", in.take(), range,
                                                                      detail::SendPiece(offset));
}

/// Copies `length` bytes between files within the kernel, on some file systems without moving any (reflinks of XFS and
/// btrfs, the server's copy of NFS); yields how many (std::uint64_t): fewer when the end of `from` comes first.
///
/// By copy_file_range(2) on the pool, in pieces. FileError, with transferred(): EXDEV (other kinds of file systems),
/// EINVAL (overlapping ranges of one file, not regular files), EBADF (`to` has O_APPEND), EOPNOTSUPP: copy_file() knows
/// what to do then; EINVAL, too, when the files' contexts belong to two threads. It copies holes as zeros, or not at
/// all, and from /proc and /sys nothing. std::invalid_argument for an offset above INT64_MAX.
inline auto copy_file_range(detail::FileArgument from, std::uint64_t from_offset, detail::FileArgument to,
                            std::uint64_t to_offset, std::uint64_t length) {
  const detail::Range range(
      detail::checked_offset(from_offset, "os::copy_file_range"),
      std::min(length, detail::last_offset - detail::checked_offset(to_offset, "os::copy_file_range")));
  auto piece = [from_offset, to_offset](int target, int source, std::uint64_t done, std::uint64_t size) {
    auto start = static_cast<std::int64_t>(from_offset + done);
    auto end = static_cast<std::int64_t>(to_offset + done);
    return caio::detail::outcome(::copy_file_range(source, &start, target, &end, size, 0));
  };
  return detail::PiecewiseOperation<std::uint64_t, decltype(piece)>(to.take(), "copy_file_range", from.take(), range,
                                                                    piece);
}

}  // namespace os
}  // namespace aiofile::inline CAIO_ABI
