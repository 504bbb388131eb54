#pragma once
// AIOFile: a file that is read and written at explicit offsets.

#include <sys/uio.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <aiofile/aligned.hpp>
#include <aiofile/encoding.hpp>
#include <aiofile/error.hpp>
#include <aiofile/file_operation.hpp>
#include <aiofile/lifecycle_operations.hpp>
#include <aiofile/mode.hpp>
#include <aiofile/options.hpp>
#include <aiofile/path_operation.hpp>
#include <aiofile/read_operation.hpp>
#include <aiofile/shared_file.hpp>
#include <aiofile/text.hpp>
#include <aiofile/vector_operation.hpp>
#include <aiofile/write_operation.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/detail/prompt.hpp>

namespace aiofile::inline CAIO_ABI {

class AIOFile;

namespace detail {

/// The state that a handle shares with its operations, readers and streams.
inline const FileRef& state_of(const AIOFile& file) noexcept;

inline std::uint64_t checked_offset(std::uint64_t offset, const char* what) {
  if (offset > last_offset) {
    throw std::invalid_argument(std::string("aiofile::") + what + ": an offset or length above INT64_MAX");
  }
  return offset;
}

}  // namespace detail

/// A handle to an open file, without a file pointer. Any number of operations may be in flight at once.
///
/// Move-only. Operations hold the file's state, so the handle may move or go while they run; the descriptor is closed
/// by the last close(), or when the last handle and operation are gone (then on the spot, and an error is lost).
/// Buffers and views that are passed in live until the await is done; rvalue strings and vectors are taken over.
/// Operations resume on the context's thread. They throw FileError: EBADF for a file that is not open or not open for
/// that. Wrong arguments are std::invalid_argument, thrown by the call. In text mode read() checks that it gives valid
/// UTF-8 (DecodeError).
class AIOFile {
 public:
  /// No I/O yet. std::invalid_argument: a bad mode, an unknown encoding, a path with a NUL in it.
  explicit AIOFile(std::filesystem::path path, std::string_view mode = "r", OpenOptions options = {})
      : AIOFile(std::move(path), parse_mode(mode), options) {}

  /// An open descriptor of the caller's, borrowed: never closed by us, its flags never changed. It is open at once.
  static AIOFile from_fd(int fd, std::string_view mode, OpenOptions options = {}) {
    AIOFile file("/dev/fd/" + std::to_string(fd), parse_mode(mode), options);
    file.state_->opened(file.engine(), caio::Descriptor(fd), true);
    return file;
  }

  AIOFile(AIOFile&&) = default;
  AIOFile& operator=(AIOFile&&) = default;

  /// Yields the descriptor (std::optional<int>) from the call that opened it, nullopt when it is open already.
  /// Concurrent calls wait for the first. After a failure it can be tried again; after close() it is EBADF.
  auto open() { return detail::OpenFileOperation(engine(), state_); }

  /// Opens the file and yields it.
  auto operator co_await() & { return Opener<AIOFile&>(*this); }
  auto operator co_await() && { return Opener<AIOFile>(std::move(*this)); }

  /// Closes this handle. Never syncs, and is not stopped by a stop token. Reads and writes of a pipe or terminal that
  /// have not ended are cancelled, also a sendfile() between two files of which one is closed; other operations are
  /// waited for. Again: does nothing. Reports a sync that has failed before
  /// (EIO).
  auto close() { return detail::CloseFileOperation(detail::engine_of(state_), state_); }

  /// True before open() and after close().
  [[nodiscard]] bool closed() const noexcept { return state_->life != detail::FileState::Life::open; }
  /// The descriptor; -1 when it is not open.
  [[nodiscard]] int fileno() const noexcept { return closed() ? -1 : state_->file->descriptor.fileno(); }
  [[nodiscard]] const std::filesystem::path& name() const noexcept { return state_->path; }
  [[nodiscard]] const Mode& mode() const noexcept { return state_->mode; }
  /// The canonical name: "utf-8".
  [[nodiscard]] const std::string& encoding() const noexcept { return state_->encoding.name; }
  /// The context of its operations; before open(), the one that it would be.
  [[nodiscard]] caio::Context& context() const {
    if (state_->engine && state_->engine->handle != nullptr) {
      return *static_cast<caio::Context*>(state_->engine->handle);
    }
    return caio::Context::current();
  }

  /// Yields a std::string of `size` bytes, or fewer when the end of the file comes first; -1: all up to the end. Memory
  /// is allocated as data comes, not for `size`. Text: a range that cuts a character is a DecodeError.
  auto read(std::int64_t size = -1, std::uint64_t offset = 0) {
    return detail::ReadOperation<std::string>(state_, checked_size(size),
                                              detail::checked_offset(offset, "AIOFile::read"), !state_->mode.binary);
  }
  /// The same as a std::vector<std::byte>, never decoded.
  auto read_bytes(std::int64_t size = -1, std::uint64_t offset = 0) {
    return detail::ReadOperation<std::vector<std::byte>>(state_, checked_size(size),
                                                         detail::checked_offset(offset, "AIOFile::read_bytes"), false);
  }
  /// Fills `memory` unless the end comes first; yields the number of bytes (std::size_t). Nothing is allocated.
  auto read_into(std::span<std::byte> memory, std::uint64_t offset = 0) {
    return caio::detail::Prompt(
        detail::ReadIntoAttempt(state_, memory, detail::checked_offset(offset, "AIOFile::read_into")));
  }

  /// Writes all of it or fails; yields the number of bytes (std::size_t). Mode 'a', or O_APPEND: at the end, whatever
  /// the offset. A write beyond the end leaves a hole that reads as zeros.
  auto write(std::string_view text, std::uint64_t offset = 0) {
    return caio::detail::Prompt(
        detail::WriteAttempt(state_, text, detail::checked_offset(offset, "AIOFile::write"), !state_->mode.binary));
  }
  template <std::same_as<std::string> S>
  auto write(S&& text, std::uint64_t offset = 0) {
    return caio::detail::Prompt(detail::WriteAttempt(
        state_, std::move(text), detail::checked_offset(offset, "AIOFile::write"), !state_->mode.binary));
  }
  auto write_bytes(std::span<const std::byte> bytes, std::uint64_t offset = 0) {
    return caio::detail::Prompt(
        detail::WriteAttempt(state_, bytes, detail::checked_offset(offset, "AIOFile::write_bytes"), false));
  }
  auto write_bytes(std::vector<std::byte>&& bytes, std::uint64_t offset = 0) {
    return caio::detail::Prompt(
        detail::WriteAttempt(state_, std::move(bytes), detail::checked_offset(offset, "AIOFile::write_bytes"), false));
  }

  /// Fills the pieces of memory one after the other, unless the end of the file comes first (preadv(2)); yields the
  /// number of bytes (std::size_t). Any number of pieces: more than IOV_MAX, and what the kernel cuts short, take more
  /// calls. `pieces` itself lives until the await is done, too. Never decoded; nothing is allocated.
  auto readv(std::span<const ::iovec> pieces, std::uint64_t offset = 0) {
    return detail::VectorOperation(state_, detail::Access::read, "readv", pieces,
                                   detail::checked_offset(offset, "AIOFile::readv"));
  }
  /// Writes all of the pieces, one after the other, or fails (pwritev(2)); yields the number of bytes (std::size_t).
  /// Mode 'a' as write(); on O_DIRECT files, and borrowed descriptors without O_APPEND, each piece by itself, so that
  /// others may come between. Never encoded.
  auto writev(std::span<const ::iovec> pieces, std::uint64_t offset = 0) {
    return detail::VectorOperation(state_, detail::Access::write, "writev", pieces,
                                   detail::checked_offset(offset, "AIOFile::writev"));
  }

  /// Make durable every write of this file and its clones that was started before. Concurrent ones share a system call.
  /// Once one has failed with EIO, ENOSPC or EDQUOT, all later ones fail: the kernel forgets what it could not write.
  auto fsync() { return detail::SyncOperation(state_, false); }
  /// The same without metadata that is not needed to read the data back (fdatasync(2)).
  auto fdsync() { return detail::SyncOperation(state_, true); }

  /// Makes the file `length` bytes long; what is added reads as zeros.
  auto truncate(std::uint64_t length) {
    return detail::SimpleFileOperation<void>(
        state_, detail::Access::write, "truncate", caio::Opcode::truncate,
        static_cast<std::int64_t>(detail::checked_offset(length, "AIOFile::truncate")));
  }
  /// Yields the length in bytes (std::uint64_t); never suspends.
  auto size() {
    return detail::SimpleFileOperation<std::uint64_t>(state_, detail::Access::any, "size", caio::Opcode::size, -1);
  }

  /// What read_into() and the writes have to keep to on this file: offsets, lengths and addresses that are multiples
  /// of it; {1, 1} without O_DIRECT. A breach is FileError EINVAL, in words, if the kernel does not bear it. From
  /// statx(2) (Linux 6.1), else an upper bound; asked once, in place, and no longer than fstat(2). FileError EBADF when
  /// the file is not open.
  [[nodiscard]] Alignment direct_alignment() const {
    if (closed()) throw FileError("direct_alignment", state_->path, EBADF);
    return state_->file->alignment();
  }

  /// Another owner of the same descriptor; the last close() closes it. FileError EBADF when this one is not open.
  [[nodiscard]] AIOFile clone() {
    if (closed()) throw FileError("clone", state_->path, EBADF);
    return AIOFile(state_.clone());
  }

 private:
  friend const detail::FileRef& detail::state_of(const AIOFile& file) noexcept;

  template <class File>
  class [[nodiscard]] Opener final : public detail::OpenFileOperation {
   public:
    explicit Opener(File&& file) : OpenFileOperation(file.engine(), file.state_), file_(std::forward<File>(file)) {}
    File await_resume() {
      OpenFileOperation::await_resume();
      return std::forward<File>(file_);
    }

   private:
    File file_;
  };

  AIOFile(std::filesystem::path&& path, const Mode& mode, const OpenOptions& options) {
    state_ = detail::FileRef(
        new detail::FileState(detail::checked_path(std::move(path)), mode,
                              detail::find_encoding(options.encoding, options.errors, options.newline)));
    if (options.context != nullptr) state_->engine = options.context->engine();
    state_->extra_flags = options.flags;
    state_->permissions = options.permissions;
  }
  explicit AIOFile(detail::FileRef state) noexcept : state_(std::move(state)) {}

  [[nodiscard]] std::shared_ptr<caio::Engine> engine() const {
    return state_->engine ? state_->engine : context().engine();
  }

  static std::int64_t checked_size(std::int64_t size) {
    if (size < -1) throw std::invalid_argument("aiofile::AIOFile::read: a negative size");
    return size;
  }

  detail::FileRef state_;
};

inline const detail::FileRef& detail::state_of(const AIOFile& file) noexcept { return file.state_; }

}  // namespace aiofile::inline CAIO_ABI
