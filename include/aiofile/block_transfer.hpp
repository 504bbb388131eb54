#pragma once
// Reads and writes of any offset, length and address on a file that was opened with O_DIRECT.

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include <aiofile/aligned.hpp>
#include <aiofile/block_pieces.hpp>
#include <aiofile/shared_file.hpp>
#include <caio/config.hpp>
#include <caio/engine.hpp>
#include <caio/implementation.hpp>
#include <caio/request.hpp>
#include <caio/system.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Carries a read or write on an O_DIRECT file through, in pieces where it has to be. Whole blocks go to and from the
/// device, by way of aligned memory where the request's is not; of a read that begins or ends within a block, all of
/// that block is read. A write of less than a block goes through the page cache, by a second descriptor without
/// O_DIRECT: the kernel keeps the cache and the device in step, knows the file's true length, and needs no right to
/// read. On other files it adds nothing to Engine::start().
class BlockTransfer {
 public:
  /// Takes a request as for any file. As Engine::start(); at the end, too, the request is as for any file.
  bool start(caio::Engine& engine, OpenFile& file, caio::Request& request) noexcept {
    if (!file.direct() || request.offset < 0) return engine.start(request);
    const bool appends = request.is_write() && (request.append || file.descriptor.append());
    if (!appends && request_fits(file, request)) return engine.start(request);
    pieces_ = std::move(file.spare_pieces);
    if (!pieces_) pieces_.reset(new (std::nothrow) BlockPieces);
    if (!pieces_) {
      request.result = -ENOMEM;
      return true;
    }
    pieces_->begin(file.alignment(), request, appends);
    return go_on(engine, file, request);
  }

  /// When the request has ended. True: all of it has; else the next piece was started.
  bool proceed(caio::Engine& engine, OpenFile& file, caio::Request& request) noexcept {
    if (pieces_) return ended(engine, file, request) || go_on(engine, file, request);
    // Linux before 5.5 looks at the alignment first when it is asked for what is behind the end of the file.
    if (request.result == -EINVAL && request.is_read() && request.moved > 0 && file.direct()) request.result = 0;
    return true;
  }

  /// After the request was taken back in the middle. Its count is what was moved.
  void drop(caio::Engine& engine, caio::Request& request) noexcept {
    if (!pieces_) return;
    if (!reopening_) {
      pieces_->moved_at_last(request.moved);
    } else if (request.result >= 0) {
      engine.close_at_once(caio::Descriptor(static_cast<int>(request.result)));
    }
    pieces_->conclude(request);
    pieces_.reset();
  }

  /// For the text of an EINVAL: what was asked for, and what O_DIRECT wants; "" if the alignment is not the reason.
  [[nodiscard]] std::string explain(OpenFile& file, const caio::Request& request) const {
    if (!file.direct() || !(request.is_read() || request.is_write()) || request_fits(file, request)) return "";
    const Alignment wanted = file.alignment();
    const auto address = reinterpret_cast<std::uintptr_t>(request.buffer);
    const std::size_t aligned = std::min<std::size_t>(address & (~address + 1), wanted.memory);
    std::string text = ": " + std::to_string(request.length) + " bytes at offset " + std::to_string(request.offset) +
                       ", memory aligned to " + std::to_string(aligned) +
                       ": O_DIRECT wants length and offset in multiples of " + std::to_string(wanted.offset) +
                       ", memory aligned to " + std::to_string(wanted.memory);
    if (reopen_error_ != 0) {
      text += ", and without O_DIRECT: " + std::error_code(reopen_error_, std::system_category()).message();
    }
    return text;
  }

  /// The descriptor without O_DIRECT, opened on the spot for a destructor; the other if that fails.
  static const caio::Descriptor& cached_at_once(OpenFile& file) noexcept {
    if (file.cached.fileno() < 0) {
      const Reopening reopening(file.descriptor);
      const int fd = caio::system_calls.open(reopening.path.data(), reopening.flags, 0);
      if (fd >= 0) file.cached = caio::Descriptor(fd, reopening.flags);
    }
    return file.cached.fileno() < 0 ? file.descriptor : file.cached;
  }

 private:
  /// How the file is opened once more. By way of /proc: the path may have another file by now.
  struct Reopening {
    explicit Reopening(const caio::Descriptor& descriptor) noexcept
        : flags(O_WRONLY | O_CLOEXEC | (::fcntl(descriptor.fileno(), F_GETFL) & (O_APPEND | O_SYNC | O_DSYNC))) {
      std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", descriptor.fileno());
    }
    std::array<char, 32> path;
    int flags;
  };

  static bool request_fits(OpenFile& file, const caio::Request& request) noexcept {
    return fits(file.alignment(), request.buffer, static_cast<std::uint64_t>(request.offset), request.length);
  }

  /// Starts piece after piece until one has to be waited for. True: all is done.
  bool go_on(caio::Engine& engine, OpenFile& file, caio::Request& request) noexcept {
    while (!pieces_->finished()) {
      try {
        prepare(engine, file, request);
      } catch (const std::bad_alloc&) {
        return conclude(file, request, -ENOMEM);
      }
      if (!engine.start(request)) return false;
      if (ended(engine, file, request)) return true;
    }
    return conclude(file, request, 0);
  }

  /// Makes the request the next piece, or the opening that has to come first.
  void prepare(caio::Engine& engine, OpenFile& file, caio::Request& request) {
    const BlockPieces::Piece piece = pieces_->next();
    request.tried = false;
    request.to_pool = false;
    if (piece.direct || file.cached.fileno() >= 0) {
      request.opcode = pieces_->writes() ? caio::Opcode::write : caio::Opcode::read;
      request.descriptor = piece.direct ? file.descriptor : file.cached;
      request.buffer = piece.memory;
      request.length = piece.length;
      request.offset = static_cast<std::int64_t>(piece.offset);
      request.whole = pieces_->writes();
      return;
    }
    reopening_ = std::make_unique<Reopening>(file.descriptor);
    request.opcode = caio::Opcode::open;
    request.descriptor = caio::Descriptor();
    request.path = reopening_->path.data();
    request.open_flags = reopening_->flags;
    request.offset = -1;
    request.to_pool = engine.backend().implementation() !=
                      caio::Implementation::blocking;  // no ring resolves /proc/self on Linux 5.10
    request.result = -ECANCELED;                       // until it is open
  }

  /// A piece, or the opening, has ended. True: with it all has.
  bool ended(caio::Engine& engine, OpenFile& file, caio::Request& request) noexcept {
    if (reopening_) return reopened(engine, file, request);
    pieces_->moved(request.moved);
    if (request.result >= 0) return false;
    if (request.result != -EINVAL || !pieces_->writes() || !pieces_->direct()) {
      return conclude(file, request, request.result);
    }
    pieces_->avoid_direct();  // the file system wants more than it says
    return false;
  }

  bool reopened(caio::Engine& engine, OpenFile& file, caio::Request& request) noexcept {
    const std::unique_ptr<Reopening> reopening = std::move(reopening_);
    if (request.result == -ECANCELED || request.result == -EOWNERDEAD) return conclude(file, request, request.result);
    if (request.result < 0) {
      reopen_error_ = static_cast<int>(-request.result);
      return conclude(file, request, -EINVAL);
    }
    const caio::Descriptor opened(static_cast<int>(request.result), reopening->flags);
    if (file.cached.fileno() >= 0) {  // another operation was faster
      engine.close_at_once(opened);
    } else {
      file.cached = opened;
    }
    return false;
  }

  bool conclude(OpenFile& file, caio::Request& request, std::int64_t result) noexcept {
    pieces_->conclude(request);
    request.descriptor = file.descriptor;
    request.to_pool = false;
    request.result = result;
    file.spare_pieces = std::move(pieces_);
    return true;
  }

  std::unique_ptr<BlockPieces> pieces_;   // of the request, while it is cut
  std::unique_ptr<Reopening> reopening_;  // while the file is opened once more
  int reopen_error_ = 0;
};

}  // namespace aiofile::inline CAIO_ABI::detail
