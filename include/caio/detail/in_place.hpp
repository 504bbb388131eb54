#pragma once
// Work done on the context's own thread without suspending: page-cache hits and small buffered writes.

#include <sys/stat.h>
#include <sys/uio.h>

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

/// Tries requests in place, within a budget for each turn of the loop, so that no coroutine starves the others.
class Speculation {
 public:
  explicit Speculation(bool enabled) noexcept : enabled_(enabled) {}

  void refill() noexcept {
    operations_ = most_operations;
    bytes_ = most_bytes;
  }
  [[nodiscard]] bool exhausted() const noexcept { return operations_ == 0 || bytes_ == 0; }

  void spend(std::size_t bytes) noexcept {
    operations_ -= operations_ > 0 ? 1 : 0;
    bytes_ -= std::min(bytes, bytes_);
  }

  /// True: the request has ended here. False: what is left of it is for the backend.
  bool attempt(Request& request) noexcept {
    if (!enabled_ || request.offset < 0 || request.to_pool) return false;
    if (request.opcode == Opcode::read) return attempt_read(request);
    if (request.opcode == Opcode::write) return attempt_write(request);
    return false;
  }

 private:
  static constexpr unsigned most_operations = 64;
  static constexpr std::size_t most_bytes = 1024 * 1024;
  static constexpr std::size_t largest_write = 64 * 1024;

  bool attempt_read(Request& request) noexcept {
    if (!request.descriptor.takes_nowait() || request.length > longest_copy) return false;
    const ::iovec vector{request.buffer, request.length};
    const std::int64_t count =
        system_calls.preadv2(request.descriptor.fileno(), &vector, 1, request.offset, RWF_NOWAIT);
    if (count < 0) {
      // EAGAIN: a miss, and the device has begun to read. Others: the backend finds out.
      if (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS) request.descriptor.refuses_nowait();
      return false;
    }
    filled(request.buffer, static_cast<std::size_t>(count));
    spend(static_cast<std::size_t>(count));
    request.consume(static_cast<std::size_t>(count));
    request.result = count;
    return request.length == 0 || at_end(request);
  }

  // A short count may be a page that is not cached, and a 0 a false end on old kernels: ask for the size.
  static bool at_end(const Request& request) noexcept {
    struct ::stat status;
    return request.descriptor.kind() == Descriptor::Kind::regular &&
           system_calls.fstat(request.descriptor.fileno(), &status) == 0 && status.st_size > 0 &&
           request.offset >= status.st_size;
  }

  bool attempt_write(Request& request) noexcept {
    const Descriptor& descriptor = request.descriptor;
    if (descriptor.kind() != Descriptor::Kind::regular || descriptor.direct() || descriptor.synchronous() ||
        request.append || request.length > largest_write || !gate_.open()) {
      return false;
    }
    const auto start = std::chrono::steady_clock::now();
    const std::int64_t count = system_calls.pwrite(descriptor.fileno(), request.buffer, request.length, request.offset);
    gate_.took(std::chrono::steady_clock::now() - start);
    if (count < 0) {
      request.result = -errno;
      return request.result != -EINTR && request.result != -EAGAIN;
    }
    spend(static_cast<std::size_t>(count));
    request.consume(static_cast<std::size_t>(count));
    request.result = count;
    return request.length == 0 || !request.whole;
  }

  bool enabled_;
  unsigned operations_ = most_operations;
  std::size_t bytes_ = most_bytes;
  WriteGate gate_;
};

}  // namespace caio::inline CAIO_ABI::detail
