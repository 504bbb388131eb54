#pragma once
// The space that a file takes, and what the kernel should expect of it.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>

#include <aiofile/file.hpp>
#include <aiofile/file_operation.hpp>
#include <aiofile/os/file_argument.hpp>
#include <aiofile/os/names.hpp>
#include <aiofile/piecewise_operation.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

inline Range checked_range(std::uint64_t offset, std::uint64_t length, const char* what) {
  if (checked_offset(length, what) > last_offset - checked_offset(offset, what)) {
    throw std::invalid_argument(std::string("aiofile::") + what + ": a range beyond INT64_MAX");
  }
  return {offset, length};
}

inline auto change_space(const char* what, FileRef file, Range range, int mode) {
  auto piece = [range, mode](int fd, int, std::uint64_t done, std::uint64_t length) -> std::int64_t {
    const auto size = static_cast<std::int64_t>(length);
    return ::fallocate(fd, mode, static_cast<std::int64_t>(range.offset + done), size) == 0 ? size : -errno;
  };
  return PiecewiseOperation<void, decltype(piece)>(std::move(file), Access::write, what, range, std::move(piece));
}

class AdvisePiece {
 public:
  /// `length` 0: to the end.
  AdvisePiece(std::uint64_t offset, std::uint64_t length, int advice) noexcept
      : offset_(offset), length_(length), advice_(advice) {}

  std::int64_t operator()(int fd, int, std::uint64_t done, std::uint64_t length) const noexcept {
    const bool takes_long = advice_ == POSIX_FADV_WILLNEED || advice_ == POSIX_FADV_DONTNEED;
    struct ::stat status;
    if (!takes_long || ::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
      const int error = advise(fd, offset_, length_);
      return error == 0 ? static_cast<std::int64_t>(last_offset) : -error;
    }
    const auto size = static_cast<std::uint64_t>(status.st_size);
    const std::uint64_t start = offset_ + done;
    const std::uint64_t end = start + length;
    const std::uint64_t step = advice_ == POSIX_FADV_WILLNEED ? read_ahead : length;
    for (std::uint64_t at = start; at < std::min(size, end); at += step) {
      if (const int error = advise(fd, at, std::min(step, end - at)); error != 0) return -error;
    }
    return start < size ? static_cast<std::int64_t>(length) : 0;
  }

  /// Folios have up to 2 MiB, and none is dropped of which the kernel is told only a part.
  static constexpr PieceLength pieces(bool drops) noexcept {
    const std::uint64_t length = (drops ? 64 : 1) * PieceLength::mebibyte;
    return PieceLength(length, length);
  }

 private:
  static constexpr std::uint64_t read_ahead = 128 * 1024;  // of most devices; no call reads more than that

  int advise(int fd, std::uint64_t offset, std::uint64_t length) const noexcept {
    return ::posix_fadvise(fd, static_cast<std::int64_t>(offset), static_cast<std::int64_t>(length), advice_);
  }

  std::uint64_t offset_;
  std::uint64_t length_;
  int advice_;
};

}  // namespace detail

namespace os {

/// Makes the file of that path `length` bytes long; what is added reads as zeros. FileError: EISDIR, EINVAL (no regular
/// file), ENOENT, EFBIG ...; std::invalid_argument above INT64_MAX. truncate(2) on the pool. It takes no At.
inline auto truncate(std::filesystem::path path, std::uint64_t length) {
  const auto size = static_cast<std::int64_t>(detail::checked_offset(length, "os::truncate"));
  return detail::call_on_path("truncate", std::move(path), [size](const char* name) { return ::truncate(name, size); });
}

/// Takes space for a range of a file that is open for writing, so that writes there do not fail with ENOSPC. What was
/// written stays; the rest reads as zeros. The file grows to the range's end, unless `keep_size`.
///
/// By fallocate(2) on the pool, in pieces: after an error or a stop, a part may be done. FileError: ENOSPC, EFBIG,
/// EOPNOTSUPP where the file system cannot (ext4, XFS, btrfs, tmpfs can), EBADF; std::invalid_argument for a range
/// that ends beyond INT64_MAX.
inline auto allocate(detail::FileArgument file, std::uint64_t offset, std::uint64_t length, bool keep_size = false) {
  return detail::change_space("allocate", file.take(), detail::checked_range(offset, length, "os::allocate"),
                              keep_size ? FALLOC_FL_KEEP_SIZE : 0);
}

/// Gives back the space of a range of a file that is open for writing: it reads as zeros from then on; the file's
/// length stays. Blocks that are only partly in the range are filled with zeros there. As allocate().
inline auto punch_hole(detail::FileArgument file, std::uint64_t offset, std::uint64_t length) {
  return detail::change_space("punch_hole", file.take(), detail::checked_range(offset, length, "os::punch_hole"),
                              FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

/// What posix_fadvise(2) can be told.
enum class Advice : int {
  normal = POSIX_FADV_NORMAL,          ///< none
  sequential = POSIX_FADV_SEQUENTIAL,  ///< it will be read from here on: reads ahead twice as much
  random = POSIX_FADV_RANDOM,          ///< reads nothing ahead
  will_need = POSIX_FADV_WILLNEED,     ///< reads the range into the page cache now, without waiting for the device
  dont_need = POSIX_FADV_DONTNEED,     ///< drops from the page cache what of the range is not dirty
  no_reuse = POSIX_FADV_NOREUSE,       ///< it is read once; does something since Linux 6.3
};

/// Tells the kernel how a range of a file will be used; length 0: to its end. On Linux all but will_need and dont_need
/// are about the whole file, and about this descriptor of it.
///
/// On the pool, in pieces. will_need reads all of the range: a single call would read no more than the device's
/// read-ahead (8 MiB of 256 MiB, seen on Linux 6.18; on most devices that is 128 KiB). FileError: EINVAL (no such
/// advice), ESPIPE; std::invalid_argument as allocate().
inline auto advise(detail::FileArgument file, std::uint64_t offset, std::uint64_t length, Advice advice) {
  const detail::Range asked = detail::checked_range(offset, length, "os::advise");
  const detail::Range range = length == 0 ? detail::Range(offset, detail::last_offset) : asked;
  return detail::PiecewiseOperation<void, detail::AdvisePiece>(
      file.take(), detail::Access::any, "advise", range, detail::AdvisePiece(offset, length, static_cast<int>(advice)),
      detail::AdvisePiece::pieces(advice == Advice::dont_need));
}

}  // namespace os
}  // namespace aiofile::inline CAIO_ABI
