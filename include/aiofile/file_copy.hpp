#pragma once
// One file on its way to another: what copy_file() does on threads of the pool.

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <new>
#include <utility>

#include <aiofile/copy_options.hpp>
#include <aiofile/copy_target.hpp>
#include <aiofile/error.hpp>
#include <caio/config.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/system.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// The calls that only copies make, replaceable like caio::system_calls.
struct CopyCalls {
  // FICLONE; its header, linux/fs.h, does not go with sys/mount.h.
  int (*clone)(int to, int from) = [](int to, int from) { return ::ioctl(to, _IOW(0x94, 9, int), from); };
  ::ssize_t (*copy_file_range)(int, ::off_t*, int, ::off_t*, std::size_t, unsigned) = ::copy_file_range;
};
inline constinit CopyCalls copy_calls{};

/// Memory that begins with a page: copies between pages are faster when both begin at the same place of one.
class CopyBuffer {
 public:
  CopyBuffer() = default;
  CopyBuffer(const CopyBuffer&) = delete;
  CopyBuffer& operator=(const CopyBuffer&) = delete;
  ~CopyBuffer() { ::operator delete(data_, alignment); }

  std::byte* room(std::size_t size) {
    if (data_ == nullptr) data_ = static_cast<std::byte*>(::operator new(size, alignment));
    return data_;
  }

 private:
  static constexpr std::align_val_t alignment{4096};
  std::byte* data_ = nullptr;
};

/// begin(); then, if that was not all, copy_piece() on any number of threads at once until it gives false, and
/// finish(). All of them block, for milliseconds, and throw FileError with the path that failed. See CopyTarget for its
/// end.
class FileCopy {
 public:
  FileCopy(std::filesystem::path from, std::filesystem::path to, const CopyOptions& options)
      : from_(std::move(from)), options_(options), target_(std::move(to), options) {}

  /// Opens both files and copies the first piece: of a small file, all.
  void begin() {
    file_ = open_regular(from_, O_RDONLY);
    if (!file_ || caio::system_calls.fstat(file_.get(), &source_) != 0) fail_with_errno("open", from_);
    require_regular(source_, from_);
    ::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    target_.open(from_, source_);
    if (clone()) {
      end_ = target_.length();  // the source may have become another since it was asked for its length
      return finish();
    }
    // Threads that read and write are faster there than copy_file_range(2), and nowhere else (seen on tmpfs).
    reserves_ = target_.pays_to_reserve();
    ranges_ =
        options_.method == CopyMethod::copy_file_range || (options_.method == CopyMethod::automatic && !reserves_);
    // What /proc makes up has no size and no holes.
    if (!options_.sparse || size() == 0) segment_end_ = last;
    CopyBuffer buffer;
    if (!copy_piece(buffer) || next_ >= end_) finish();
  }

  /// False: nothing is left to do for this thread.
  bool copy_piece(CopyBuffer& buffer) {
    for (std::uint64_t budget = piece_size; budget > 0;) {
      const Piece piece = next_piece(budget);
      if (piece.length == 0) return false;
      copy(piece, buffer);
      budget -= std::min(budget, std::max(piece.length, least_worth));
    }
    return true;
  }

  /// When every copy_piece() has ended.
  void finish() {
    target_.finish(end_, source_);
    file_ = {};
    done_ = end_;
    finished_ = true;
  }

  /// Lets go of everything. Again, or after finish(): does nothing.
  void discard() noexcept {
    target_.discard();
    file_ = {};
  }

  [[nodiscard]] bool finished() const noexcept { return finished_; }
  [[nodiscard]] const std::filesystem::path& from() const noexcept { return from_; }
  /// Bytes of the file so far, holes included.
  [[nodiscard]] std::uint64_t done() const noexcept { return done_; }
  [[nodiscard]] std::uint64_t total() const noexcept { return finished_ ? done() : std::max(size(), done()); }
  /// How many threads are worth their while for what is left.
  [[nodiscard]] std::uint64_t threads() const noexcept {
    const std::uint64_t left = size() - std::min(size(), done());
    return ranges_ ? 1 : std::clamp<std::uint64_t>(left / piece_size, 1, most_threads);
  }

 private:
  struct Piece {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };

  static constexpr std::uint64_t last = INT64_MAX;
  static constexpr std::uint64_t piece_size = 4 * 1024 * 1024;  // 1..5 ms
  static constexpr std::uint64_t least_worth = 16 * 1024;       // what finding a short segment takes, as bytes
  static constexpr std::uint64_t most_threads = 4;
  static constexpr std::uint64_t worth_reserving = 1024 * 1024;
  static constexpr std::uint64_t most_reserved = std::uint64_t{1} << 30;  // at once: it takes a millisecond
  static constexpr std::uint64_t least_buffer = 64 * 1024;

  [[nodiscard]] std::uint64_t size() const noexcept { return static_cast<std::uint64_t>(source_.st_size); }

  [[nodiscard]] bool clone() const {
    const bool forced = options_.method == CopyMethod::reflink;
    if (!forced && (options_.method != CopyMethod::automatic || !options_.sparse || size() == 0)) return false;
    if (copy_calls.clone(target_.fd(), file_.get()) == 0) return true;
    if (forced) throw FileError("copy_file", from_, target_.path(), errno);
    return false;
  }

  Piece next_piece(std::uint64_t most) {
    const std::lock_guard lock(mutex_);
    if (next_ >= segment_end_) find_segment();
    if (next_ >= end_) return {};
    const Piece piece{next_, std::min({most, segment_end_ - next_, end_ - next_})};
    next_ += piece.length;
    if (reserves_ && next_ > target_.reserved()) reserve(piece.offset);
    return piece;
  }

  void find_segment() noexcept {
    ::off_t data = next_data();
    if (data < 0 && errno == ENXIO) {
      // Asked once more: what was appended in between is no hole.
      const std::uint64_t length = length_now();
      data = next_data();
      if (data < 0 && errno == ENXIO) {  // nothing but a hole up to the end
        skip_to(std::max(next_, std::min(length, length_now())));
        end_ = std::min(end_, next_);
        return;
      }
    }
    const ::off_t hole = data < 0 ? -1 : ::lseek(file_.get(), data, SEEK_HOLE);
    if (hole < 0) {
      segment_end_ = last;  // nobody knows: reading finds the end
    } else {
      skip_to(static_cast<std::uint64_t>(data));
      segment_end_ = static_cast<std::uint64_t>(hole);
    }
  }
  [[nodiscard]] ::off_t next_data() const noexcept {
    return ::lseek(file_.get(), static_cast<::off_t>(next_), SEEK_DATA);
  }
  [[nodiscard]] std::uint64_t length_now() const noexcept {
    struct ::stat now;
    return caio::system_calls.fstat(file_.get(), &now) == 0 ? static_cast<std::uint64_t>(now.st_size) : size();
  }
  void skip_to(std::uint64_t offset) noexcept {
    done_ += offset - next_;
    next_ = offset;
  }

  /// Space for what comes next.
  void reserve(std::uint64_t offset) noexcept {
    const std::uint64_t end = std::min(std::max(size(), next_), segment_end_);
    const std::uint64_t length = std::min(end - offset, most_reserved);
    if (length >= worth_reserving) reserves_ = target_.reserve(offset, length);
  }

  void copy(Piece piece, CopyBuffer& buffer) {
    while (piece.length > 0) {
      std::uint64_t count = ranges_ ? copy_range(piece) : 0;
      if (count == 0) count = read_and_write(piece, buffer);
      if (count == 0) return;
      piece.offset += count;
      piece.length -= count;
      done_ += count;
    }
  }

  /// 0: to be done by read_and_write().
  std::uint64_t copy_range(const Piece& piece) {
    auto in = static_cast<::off_t>(piece.offset);
    auto out = in;
    ::ssize_t count = 0;
    do {
      count = copy_calls.copy_file_range(file_.get(), &in, target_.fd(), &out, piece.length, 0);
    } while (count < 0 && errno == EINTR);
    if (count > 0) return static_cast<std::uint64_t>(count);
    if (count < 0 && options_.method == CopyMethod::copy_file_range)
      throw FileError("copy_file", from_, target_.path(), errno);
    ranges_ = false;  // whatever it was: a file in /proc gives 0, and reading tells whether it is the end
    return 0;
  }

  /// 0: the end of the source.
  std::uint64_t read_and_write(const Piece& piece, CopyBuffer& memory) {
    const std::size_t room = std::min<std::uint64_t>(options_.buffer_size, std::max(size(), least_buffer));
    std::byte* const buffer = memory.room(room);
    const std::size_t wanted = std::min<std::uint64_t>(room, piece.length);
    ::ssize_t count = 0;
    do {
      count = caio::system_calls.pread(file_.get(), buffer, wanted, static_cast<::off_t>(piece.offset));
    } while (count < 0 && errno == EINTR);
    if (count < 0) throw FileError("read", from_, errno, done_);
    const auto filled = static_cast<std::size_t>(count);
    if (filled == 0) {
      // What lies behind may have come since, and would leave a gap.
      const std::lock_guard lock(mutex_);
      end_ = std::min(end_, piece.offset);
    }
    for (std::size_t written = 0; written < filled;) {
      count = caio::system_calls.pwrite(target_.fd(), buffer + written, filled - written,
                                        static_cast<::off_t>(piece.offset + written));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) throw FileError("write", target_.path(), count < 0 ? errno : EIO, done_);
      written += static_cast<std::size_t>(count);
    }
    return filled;
  }

  const std::filesystem::path from_;
  const CopyOptions options_;
  caio::detail::UniqueFd file_;
  struct ::stat source_ {};
  CopyTarget target_;
  bool finished_ = false;

  std::mutex mutex_;  // for where the next piece is
  std::uint64_t next_ = 0;
  std::uint64_t segment_end_ = 0;  // of the data that next_ is in
  std::uint64_t end_ = last;       // of the file, once it is known
  bool reserves_ = false;
  std::atomic<bool> ranges_ = false;
  std::atomic<std::uint64_t> done_ = 0;
};

}  // namespace aiofile::inline CAIO_ABI::detail
