#pragma once
// One I/O request as every backend sees it, and the batch that a context and its backend exchange.

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/detail/list.hpp>

namespace caio::inline CAIO_ABI {

/// Something that travels to a context's thread and runs there.
struct Job : detail::Link {
  /// What its arrival in the context's inbox means.
  enum class Errand : std::uint8_t {
    run,     ///< call `run` in its turn
    settle,  ///< a Request whose result the pool has filled in
    cancel,  ///< a CancelJob
  };

  Errand errand = Errand::run;
  void (*run)(Job&) noexcept = nullptr;
};

enum class Opcode : std::uint8_t { read, write, readv, writev, fsync, fdatasync, truncate, size, open, close, call };

/// An operation on a descriptor. It lives inside the awaitable, so inside the awaiting coroutine's frame.
struct Request : Job {
  /// Where the request is; its links belong to whoever is named here.
  enum class Stage : std::uint8_t {
    idle,        ///< with its owner
    travelling,  ///< in the inbox, on its way to the context's thread
    queued,      ///< waiting for its turn
    waiting,     ///< for readiness
    timed,       ///< for a time
    parked,      ///< in a list of its owner, until another operation of the same context ends
    backend,     ///< handed to the backend: its buffers belong to the kernel
    pool,        ///< handed to the pool
    ended,       ///< has its result; its owner is told in its turn
  };

  Opcode opcode = Opcode::call;
  Stage stage = Stage::idle;
  bool whole = false;           ///< read and write: go on after short counts until done, end of file, or error
  bool to_pool = false;         ///< never for the backend
  bool append = false;          ///< write: at the end of the file, as O_APPEND does (RWF_APPEND)
  bool tried = false;           ///< in place, but not to its end: the rest is for the backend
  bool nowait_refused = false;  ///< a stream that RWF_NOWAIT does not work on: by the pool, in small pieces
  bool occupies = false;        ///< with the pool, while others wait for the same stream and direction
  bool cancel_requested = false;
  bool uncancellable = false;
  std::uint8_t attempts = 0;  ///< how often the ring's plumbing was in the way

  Descriptor descriptor;
  union {
    void* buffer = nullptr;           ///< read and write
    const ::iovec* vectors;           ///< readv and writev
    const char* path;                 ///< open
    void (*call)(Request&) noexcept;  ///< call: runs on a thread of the pool
  };
  std::size_t length = 0;  ///< bytes left; readv and writev: elements of `vectors`
  union {
    std::int64_t offset = -1;  ///< -1: the descriptor's own position; truncate: the new length
    std::int64_t deadline;     ///< timed: nanoseconds of the steady clock
  };
  std::int64_t result = 0;  ///< of the last step: a count, a descriptor, or a negative errno
  std::size_t moved = 0;    ///< bytes moved by all steps
  std::uint32_t slot = 0;   ///< where its holder keeps its record
  int open_flags = 0;
  ::mode_t open_mode = 0;

  [[nodiscard]] bool is_read() const noexcept { return opcode == Opcode::read || opcode == Opcode::readv; }
  [[nodiscard]] bool is_write() const noexcept { return opcode == Opcode::write || opcode == Opcode::writev; }
  [[nodiscard]] bool is_scalar_transfer() const noexcept { return opcode == Opcode::read || opcode == Opcode::write; }

  /// `count` more bytes of a read or write were moved.
  void consume(std::size_t count) noexcept {
    buffer = static_cast<std::byte*>(buffer) + count;
    length -= count;
    moved += count;
    if (offset >= 0) offset += static_cast<std::int64_t>(count);
  }
};

using RequestList = detail::List<Request>;

/// Asks the context's thread to cancel `target`.
struct CancelJob : Job {
  Request* target = nullptr;
};

}  // namespace caio::inline CAIO_ABI
