#pragma once
// Long work on open files by system calls: on the pool, in pieces, so that it can be stopped and others have their
// turn.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include <aiofile/file_operation.hpp>
#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/detail/streams.hpp>
#include <caio/request.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// The length of the next piece. Pieces of a big file end at multiples of it, so that none cuts a block in two, and
/// take a millisecond or so: a reflink does a gigabyte in one, a copy on a slow disk a megabyte.
class PieceLength {
 public:
  static constexpr std::uint64_t mebibyte = 1024 * 1024;

  /// Powers of two.
  constexpr explicit PieceLength(std::uint64_t least = mebibyte, std::uint64_t most = 1024 * mebibyte) noexcept
      : least_(least), most_(most) {}

  [[nodiscard]] std::uint64_t at(std::uint64_t offset) const noexcept { return length_ - offset % length_; }

  void took(std::chrono::nanoseconds time) noexcept {
    if (time < std::chrono::milliseconds(1)) length_ = std::min(length_ * 2, most_);
    if (time > std::chrono::milliseconds(4)) length_ = std::max(length_ / 2, least_);
  }

 private:
  std::uint64_t least_;
  std::uint64_t most_;
  std::uint64_t length_ = least_;
};

/// A range of a file. It ends where offsets do.
struct Range {
  Range(std::uint64_t start, std::uint64_t size) noexcept
      : offset(start), length(std::min(size, last_offset - start)) {}

  std::uint64_t offset;
  std::uint64_t length;
};

/// Calls `piece(fd, other, done, length)` on the pool until the range is done or it gives 0; `done` are the bytes so
/// far, `length` how many it should do now. It gives how many it did, or a negative errno: -EAGAIN is one on a stream
/// that is not ready, which is waited for. What it leaves in `piece.pending()`, if there is such, is written next.
///
/// Yields the bytes (T = std::uint64_t), or nothing. Stopped in the middle: FileError ECANCELED with transferred().
template <class T, class Piece>
class [[nodiscard]] PiecewiseOperation final : public FileOperation {
 public:
  PiecewiseOperation(FileRef file, Access access, const char* what, Range range, Piece piece,
                     PieceLength pieces = PieceLength())
      : FileOperation(std::move(file), access, what), range_(range), piece_(std::move(piece)), pieces_(pieces) {}
  /// Reads `other` meanwhile. Both files' contexts belong to one thread, or it fails with EINVAL.
  PiecewiseOperation(FileRef file, const char* what, FileRef other, Range range, Piece piece)
      : PiecewiseOperation(std::move(file), Access::write, what, range, std::move(piece)) {
    other_.emplace(std::move(other), Access::read);
  }
  PiecewiseOperation(PiecewiseOperation&&) = default;
  ~PiecewiseOperation() {
    drop();
    if (other_) other_->leave(engine());
  }

  T await_resume() const {
    check();
    if constexpr (!std::is_void_v<T>) return done_;
  }

 private:
  enum class Step : std::uint8_t { piece, waiting, writing };

  bool begin() noexcept override {
    result = -unusable();
    if (result < 0 || range_.length == 0) return true;
    if (other_) other_->enter(*this);
    return next_piece() && finished();
  }

  bool proceed() noexcept override { return go_on() && finished(); }

  [[nodiscard]] int unusable() const noexcept {
    if (descriptor.is_foreign()) return EOPNOTSUPP;
    if (!other_) return 0;
    if (const int error = other_->obstacle(); error != 0) return error;
    if (other_->file().descriptor.is_foreign()) return EOPNOTSUPP;
    const caio::Engine& engine_of_other = *other_->state().engine;
    if (!engine_of_other.on_own_thread()) return EINVAL;
    return engine_of_other.ended() ? EBADF : 0;
  }

  /// True: there is nothing more to do.
  bool go_on() noexcept {
    switch (step_) {
      case Step::waiting: return result < 0 || next_piece();
      case Step::writing: did(static_cast<std::int64_t>(moved)); break;
      case Step::piece:
        if (result < 0) return true;  // stopped before it began
        result = outcome_;
        if (outcome_ == -EAGAIN && is_stream()) return write({}, Step::waiting);
        if constexpr (requires { piece_.pending(); }) {
          if (!piece_.pending().empty()) return write(piece_.pending(), Step::writing);
        }
        if (outcome_ > 0) did(outcome_);
        if (outcome_ == 0) return true;
    }
    return result < 0 || done_ >= range_.length || next_piece();
  }

  bool finished() noexcept {
    if (other_) other_->leave(engine());
    return true;
  }

  bool next_piece() noexcept {
    step_ = Step::piece;
    return work_on_pool<&PiecewiseOperation::do_piece>(this);
  }

  void do_piece() {
    caio::detail::NoSigpipe guard(is_stream());
    const std::uint64_t wanted = std::min(range_.length - done_, pieces_.at(range_.offset + done_));
    const int other = other_ ? other_->file().descriptor.fileno() : -1;
    const auto start = std::chrono::steady_clock::now();
    do {
      outcome_ = piece_(descriptor.fileno(), other, done_, wanted);
    } while (outcome_ == -EINTR);
    pieces_.took(std::chrono::steady_clock::now() - start);
    if (outcome_ == -EPIPE) guard.raised();
  }

  /// Writes all of it, as soon as the stream takes it. Of nothing, that is the wait alone.
  bool write(std::span<std::byte> bytes, Step step) noexcept {
    step_ = step;
    opcode = caio::Opcode::write;
    whole = true;
    buffer = bytes.data();
    length = bytes.size();
    offset = -1;
    return engine().start(*this) && go_on();
  }

  [[nodiscard]] bool is_stream() const noexcept { return descriptor.kind() == caio::Descriptor::Kind::stream; }
  void did(std::int64_t bytes) noexcept { done_ += static_cast<std::uint64_t>(bytes); }
  [[nodiscard]] std::uint64_t transferred() const noexcept override { return done_; }

  std::optional<FileUse> other_;
  Range range_;
  Piece piece_;
  PieceLength pieces_;
  std::uint64_t done_ = 0;
  std::int64_t outcome_ = 0;
  Step step_ = Step::piece;
};

}  // namespace aiofile::inline CAIO_ABI::detail
