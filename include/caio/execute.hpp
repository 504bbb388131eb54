#pragma once
// Carries out one request by plain system calls, on the thread that calls: the pool's, or the blocking backend's.

#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <caio/config.hpp>
#include <caio/request.hpp>
#include <caio/system.hpp>

namespace caio::inline CAIO_ABI {

/// The most that one step moves: the kernel cuts at 2 GiB less a page, and a length on a ring has 32 bits.
inline constexpr std::size_t most_bytes_per_step = std::size_t{1} << 30;

namespace detail {
/// The value, or the negative errno.
inline std::int64_t outcome(std::int64_t value) noexcept { return value >= 0 ? value : -errno; }

inline std::int64_t attempt(Request& request) noexcept {
  const SystemCalls& calls = system_calls;
  const int fd = request.descriptor.fileno();
  const bool positional = request.offset >= 0;
  std::size_t length = std::min(request.length, most_bytes_per_step);
  // Behind one POLLOUT a pipe has room for PIPE_BUF bytes and no more: a larger write could block (pipe(7)).
  if (request.nowait_refused) length = std::min<std::size_t>(length, PIPE_BUF);
  switch (request.opcode) {
    case Opcode::read:
      return outcome(positional ? calls.pread(fd, request.buffer, length, request.offset)
                                : calls.read(fd, request.buffer, length));
    case Opcode::write:
      if (request.append) {
        const ::iovec vector{request.buffer, length};
        return outcome(calls.pwritev2(fd, &vector, 1, request.offset, RWF_APPEND));
      }
      return outcome(positional ? calls.pwrite(fd, request.buffer, length, request.offset)
                                : calls.write(fd, request.buffer, length));
    case Opcode::readv:
      return outcome(calls.preadv2(fd, request.vectors, static_cast<int>(request.length), request.offset, 0));
    case Opcode::writev:
      return outcome(calls.pwritev2(fd, request.vectors, static_cast<int>(request.length), request.offset, 0));
    case Opcode::fsync: return outcome(calls.fsync(fd));
    case Opcode::fdatasync: return outcome(calls.fdatasync(fd));
    case Opcode::truncate: return outcome(calls.ftruncate(fd, request.offset));
    case Opcode::size: {
      struct ::stat status;
      if (calls.fstat(fd, &status) != 0) return -errno;
      return S_ISBLK(status.st_mode) ? outcome(::lseek(fd, 0, SEEK_END)) : status.st_size;
    }
    case Opcode::open: return outcome(calls.open(request.path, request.open_flags, request.open_mode));
    case Opcode::close:
      // The descriptor is gone even after EINTR: closing again could close somebody else's (close(2)).
      return calls.close(fd) == 0 || errno == EINTR ? 0 : -errno;
    case Opcode::call: request.call(request); return 0;
  }
  return -EINVAL;
}
}  // namespace detail

/// Fills in `request.result`. EINTR is tried again, except on streams, whose readiness must be asked anew.
inline void execute(Request& request) noexcept {
  do {
    request.result = detail::attempt(request);
    if (request.result == -ESPIPE && request.offset >= 0 && (request.is_read() || request.is_write())) {
      request.offset = -1;  // an offset means nothing to a socket
      request.result = detail::attempt(request);
    }
  } while (request.result == -EINTR && request.descriptor.kind() != Descriptor::Kind::stream);
}

}  // namespace caio::inline CAIO_ABI
