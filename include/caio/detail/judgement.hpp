#pragma once
// What an error means: the file's own answer, or only the plumbing of a ring, a signal, or a stream that has to wait.

#include <cerrno>
#include <cstdint>

#include <caio/config.hpp>
#include <caio/request.hpp>

namespace caio::inline CAIO_ABI::detail {

enum class Judgement : std::uint8_t {
  final,       ///< `result` is what the owner is told
  again,       ///< to be queued again, by the pool where `to_pool` says so
  when_ready,  ///< a stream: somebody else was faster
};

inline constexpr std::uint8_t most_attempts = 100;

/// Judges a negative result of a request that has come back. `bypasses`: a plain system call can stand in for the
/// backend.
inline Judgement judge(Request& request, bool bypasses) noexcept {
  const std::int64_t result = request.result;
  // 512..516: the kernel's own codes for a system call to be restarted, which a ring can let through.
  const bool interrupted = result == -EINTR || (result <= -512 && result >= -516);
  if (request.opcode == Opcode::close && interrupted) {
    request.result = 0;  // the descriptor is gone: a second close could hit somebody else's (close(2))
    return Judgement::final;
  }
  if (request.cancel_requested) {
    if (interrupted || result == -EAGAIN) request.result = -ECANCELED;
    return Judgement::final;
  }
  const bool stream = request.descriptor.kind() == Descriptor::Kind::stream;
  const bool refused = result == -EAGAIN || result == -ECANCELED;
  if (interrupted && request.attempts < most_attempts) {
    ++request.attempts;
  } else if (result == -EAGAIN && stream && (request.is_read() || request.is_write())) {
    return Judgement::when_ready;
  } else if (!bypasses && refused && request.attempts < most_attempts) {
    ++request.attempts;
  } else if (bypasses && (refused || interrupted) && !request.to_pool) {
    request.to_pool = true;  // once, by a plain system call: that answer counts
  } else {
    return Judgement::final;
  }
  return Judgement::again;
}

}  // namespace caio::inline CAIO_ABI::detail
