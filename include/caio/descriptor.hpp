#pragma once
// A descriptor and what was found out about it once.

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include <caio/config.hpp>
#include <caio/system.hpp>

namespace caio::inline CAIO_ABI {

/// A file descriptor with its kind and flags. It owns nothing: copy it freely, close it by Context::close().
class Descriptor {
 public:
  enum class Kind : std::uint8_t {
    regular,  ///< regular files and directories: always ready
    block,    ///< block devices
    stream,   ///< pipes, FIFOs, terminals, sockets, other character devices: may have to wait for readiness
    foreign,  ///< not a descriptor of this process: a backend of the user's own knows what it is
  };

  Descriptor() = default;

  /// Classifies `fd` by fstat(2) and F_GETFL; a bad one gives EBADF in the operation that uses it.
  Descriptor(int fd) noexcept : fd_(fd) {  // NOLINT(google-explicit-constructor): plain numbers are welcome
    const int flags = ::fcntl(fd, F_GETFL);
    classify(flags < 0 ? 0 : flags);
  }

  /// Classifies `fd`, which was opened with `flags`.
  Descriptor(int fd, int flags) noexcept : fd_(fd) { classify(flags); }

  /// A number that only a backend of the user's own understands: never touched outside of it.
  static Descriptor foreign(int number) noexcept {
    Descriptor descriptor;
    descriptor.fd_ = number;
    descriptor.kind_ = Kind::foreign;
    return descriptor;
  }

  /// `fd` holds memory (memfd_create(2)): a read never waits for a device, and tmpfs refuses RWF_NOWAIT.
  static Descriptor memory(int fd, int flags = O_RDWR) noexcept {
    Descriptor descriptor(fd, flags);
    descriptor.bits_.fetch_or(in_memory, std::memory_order_relaxed);
    return descriptor;
  }

  Descriptor(const Descriptor& other) noexcept
      : fd_(other.fd_), kind_(other.kind_), bits_(other.bits_.load(std::memory_order_relaxed)), size_(other.size_) {}
  Descriptor& operator=(const Descriptor& other) noexcept {
    fd_ = other.fd_;
    kind_ = other.kind_;
    bits_.store(other.bits_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    size_ = other.size_;
    return *this;
  }

  [[nodiscard]] int fileno() const noexcept { return fd_; }
  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] bool is_foreign() const noexcept { return kind_ == Kind::foreign; }
  [[nodiscard]] bool is_directory() const noexcept { return has(directory); }
  [[nodiscard]] bool is_fifo() const noexcept { return has(fifo); }
  [[nodiscard]] bool direct() const noexcept { return has(o_direct); }
  [[nodiscard]] bool append() const noexcept { return has(o_append); }
  /// How many bytes a regular file had when it was classified; else -1.
  [[nodiscard]] std::int64_t size_at_first() const noexcept { return size_; }
  /// O_SYNC or O_DSYNC: every write waits for the device.
  [[nodiscard]] bool synchronous() const noexcept { return has(o_sync); }

  /// Whether reads may be done in place without RWF_NOWAIT.
  [[nodiscard]] bool is_memory() const noexcept { return has(in_memory); }
  /// Whether reads with RWF_NOWAIT are worth a try: never on O_DIRECT, where they block (seen on Linux 6.18).
  [[nodiscard]] bool takes_nowait() const noexcept { return has(nowait); }
  /// RWF_NOWAIT was refused: not asked again. Allowed from any thread.
  void refuses_nowait() const noexcept {
    bits_.fetch_and(static_cast<std::uint8_t>(~nowait), std::memory_order_relaxed);
  }

 private:
  enum Bit : std::uint8_t {
    o_direct = 1,
    o_append = 2,
    nowait = 4,
    directory = 8,
    fifo = 16,
    o_sync = 32,
    in_memory = 64
  };

  [[nodiscard]] bool has(Bit bit) const noexcept { return (bits_.load(std::memory_order_relaxed) & bit) != 0; }

  void classify(int flags) noexcept {
    unsigned bits = 0;
    if ((flags & O_DIRECT) != 0) bits |= o_direct;
    if ((flags & O_APPEND) != 0) bits |= o_append;
    if ((flags & (O_SYNC | O_DSYNC)) != 0) bits |= o_sync;
    struct ::stat status;
    if (system_calls.fstat(fd_, &status) == 0) {
      switch (status.st_mode & S_IFMT) {
        case S_IFREG: size_ = status.st_size; break;
        case S_IFBLK: kind_ = Kind::block; break;
        case S_IFDIR: bits |= directory; break;
        case S_IFIFO: bits |= fifo; [[fallthrough]];
        default: kind_ = Kind::stream; break;
      }
      if ((flags & O_DIRECT) == 0 && !(bits & directory)) bits |= nowait;
    }
    bits_.store(static_cast<std::uint8_t>(bits), std::memory_order_relaxed);
  }

  int fd_ = -1;
  Kind kind_ = Kind::regular;
  mutable std::atomic<std::uint8_t> bits_{0};
  std::int64_t size_ = -1;
};

}  // namespace caio::inline CAIO_ABI
