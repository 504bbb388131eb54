#pragma once
// Work done on the context's own thread without suspending: page-cache hits and small buffered writes.

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <span>

#include <caio/config.hpp>
#include <caio/execute.hpp>
#include <caio/handover.hpp>
#include <caio/request.hpp>
#include <caio/system.hpp>

namespace caio::inline CAIO_ABI::detail {

/// A longer copy in place would hold up the loop.
inline constexpr std::size_t longest_copy = 256 * 1024;

/// Whether small buffered writes are fast just now. A slow one (the kernel makes writers wait when too many pages are
/// dirty) sends the next writes to the backend, each time twice as many.
class WriteGate {
 public:
  [[nodiscard]] bool open() noexcept {
    if (closed_for_ == 0) return true;
    --closed_for_;
    return false;
  }

  void took(std::chrono::nanoseconds time) noexcept {
    if (time > slow) {
      penalty_ = std::min(penalty_ * 2, most);
      closed_for_ = penalty_;
      fast_ = 0;
    } else if (++fast_ >= penalty_) {
      penalty_ = least;
    }
  }

 private:
  static constexpr std::chrono::microseconds slow{500};  // fast ones take 2..20 us here
  static constexpr unsigned least = 16;
  static constexpr unsigned most = 4096;

  unsigned penalty_ = least;
  unsigned closed_for_ = 0;
  unsigned fast_ = 0;
};

/// What a transfer in place has come to.
struct InPlace {
  bool tried = false;     ///< the system has been asked, or is not to be asked just now
  bool ended = false;     ///< with all of it, at the end of the file, or with an error
  std::size_t moved = 0;  ///< bytes
  int error = 0;
};

/// Tries requests in place, within a budget for each turn of the loop, so that no coroutine starves the others. Who is
/// resumed while others wait to be gets a slice of it.
class Speculation {
 public:
  explicit Speculation(bool enabled) noexcept : enabled_(enabled) {}

  void refill() noexcept {
    operations_ = most_operations;
    bytes_ = most_bytes;
    begin_slice(false);
  }
  [[nodiscard]] bool exhausted() const noexcept { return operations_ == 0 || bytes_ == 0; }

  void begin_slice(bool others_wait) noexcept {
    operations_after_ = others_wait ? operations_ - std::min(operations_, slice_operations) : 0;
    bytes_after_ = others_wait ? bytes_ - std::min(bytes_, slice_bytes) : 0;
  }
  [[nodiscard]] bool slice_is_over() const noexcept {
    return operations_ <= operations_after_ || bytes_ <= bytes_after_;
  }

  void spend(std::size_t bytes) noexcept {
    operations_ -= operations_ > 0 ? 1 : 0;
    bytes_ -= std::min(bytes, bytes_);
  }

  /// Whether it is on at all. Allowed from any thread.
  [[nodiscard]] bool enabled() const noexcept { return enabled_; }
  /// Whether the slice has room for so many bytes and for something after them.
  [[nodiscard]] bool affords(std::size_t bytes) const noexcept {
    return !slice_is_over() && operations_ > operations_after_ + 1 && bytes < bytes_ - bytes_after_;
  }

  /// True: the request has ended here. False: what is left of it is for the backend.
  bool attempt(Request& request) noexcept {
    if (!enabled_ || request.tried || request.to_pool) return false;
    InPlace done;
    if (request.opcode == Opcode::read) {
      done = read(request.descriptor, request.buffer, request.length, request.offset);
    } else if (request.opcode == Opcode::write && !request.append) {
      done = write(request.descriptor, request.buffer, request.length, request.offset);
      done.ended = done.ended || (done.moved > 0 && !request.whole);
    }
    if (done.moved > 0) request.consume(done.moved);
    if (done.ended) request.result = done.error != 0 ? -done.error : static_cast<std::int64_t>(done.moved);
    return done.ended;
  }

  [[nodiscard]] InPlace read(const Descriptor& descriptor, void* buffer, std::size_t length,
                             std::int64_t offset) noexcept {
    if (!enabled_ || !descriptor.takes_nowait() || length > longest_copy) return {};
    const ::iovec vector{buffer, length};
    const int flags = descriptor.is_memory() ? 0 : RWF_NOWAIT;
    const std::int64_t count = system_calls.preadv2(descriptor.fileno(), &vector, 1, offset, flags);
    if (count < 0) {
      // EAGAIN: a miss, and the device has begun to read. Others: the backend finds out.
      if (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS) descriptor.refuses_nowait();
      return {.tried = true};
    }
    const auto moved = static_cast<std::size_t>(count);
    filled(buffer, moved);
    spend(moved);
    const std::int64_t end = offset >= 0 ? offset + count : ::lseek(descriptor.fileno(), 0, SEEK_CUR);
    const bool ended = moved == length || (count > 0 && ends_within_page(descriptor, end)) || at_end(descriptor, end);
    return {.tried = true, .ended = ended, .moved = moved};
  }

  [[nodiscard]] InPlace write(const Descriptor& descriptor, const void* buffer, std::size_t length,
                              std::int64_t offset) noexcept {
    if (!enabled_ || descriptor.kind() != Descriptor::Kind::regular || descriptor.direct() ||
        descriptor.synchronous() || length > largest_write) {
      return {};
    }
    if (!gate_.open()) return {.tried = true};
    const auto start = std::chrono::steady_clock::now();
    const std::int64_t count = offset >= 0 ? system_calls.pwrite(descriptor.fileno(), buffer, length, offset)
                                           : system_calls.write(descriptor.fileno(), buffer, length);
    const int error = errno;
    const std::chrono::nanoseconds time = std::chrono::steady_clock::now() - start;
    gate_.took(time);
    // Time counts like the bytes of a copy: 4 KiB may take 30 us, and holds up the others for so long.
    const auto worth = static_cast<std::size_t>(std::max<std::int64_t>(0, time.count())) * bytes_per_nanosecond;
    if (count < 0) {
      spend(worth);
      return {.tried = true, .ended = error != EINTR && error != EAGAIN, .error = error};
    }
    const auto moved = static_cast<std::size_t>(count);
    spend(std::max(moved, worth));
    return {.tried = true, .ended = moved == length, .moved = moved};
  }

 private:
  static constexpr unsigned most_operations = 64;
  static constexpr std::size_t most_bytes = 1024 * 1024;
  static constexpr std::size_t bytes_per_nanosecond = 8;
  static constexpr unsigned slice_operations = 16;
  static constexpr std::size_t slice_bytes = 64 * 1024;
  static constexpr std::size_t largest_write = 64 * 1024;

  // What is not cached begins with a page: only the end of the file is within one. That it is the end that was there
  // when the file was opened saves a system call, and does not take a count for it that somebody else has cut short.
  static bool ends_within_page(const Descriptor& descriptor, std::int64_t offset) noexcept {
    return offset % 4096 != 0 && offset == descriptor.size_at_first();
  }

  // A short count may be a page that is not cached, and a 0 a false end on old kernels: ask for the size.
  static bool at_end(const Descriptor& descriptor, std::int64_t offset) noexcept {
    struct ::stat status;
    return descriptor.kind() == Descriptor::Kind::regular && system_calls.fstat(descriptor.fileno(), &status) == 0 &&
           status.st_size > 0 && offset >= status.st_size;
  }

  const bool enabled_;
  unsigned operations_ = most_operations;
  std::size_t bytes_ = most_bytes;
  unsigned operations_after_ = 0;  // what is left of the turn's when the slice is over
  std::size_t bytes_after_ = 0;
  WriteGate gate_;
};

}  // namespace caio::inline CAIO_ABI::detail
