#pragma once
// Replacing a file as a whole: whoever opens it sees the old content or the new one, also after a crash.

#include <fcntl.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/file.hpp>
#include <aiofile/owned_name.hpp>
#include <aiofile/path_operation.hpp>
#include <aiofile/replacement.hpp>
#include <aiofile/stream.hpp>
#include <aiofile/stream_close.hpp>
#include <aiofile/stream_write.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/descriptor.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/task.hpp>

namespace aiofile::inline CAIO_ABI {

struct AtomicOptions {
  ::mode_t permissions = 0666;   ///< of a new file, less the umask
  bool keep_permissions = true;  ///< a replaced file's permissions and access control list, and its owner if allowed
  bool durable = true;           ///< commit() ends when the new content survives a power cut: fsync(2) of the file,
                                 ///< and of its directory after the rename; false: it is only never a mix, without
                                 ///< a power cut
  std::size_t buffering = 0;     ///< AtomicWriter: bytes of writes gathered before they go to the file
  caio::Context* context = nullptr;  ///< nullptr: Context::current() when it starts
};

namespace detail {

using ReplacementRef = std::shared_ptr<Replacement>;

template <class Write>
caio::Task<std::size_t> write_replacement(Write write, ReplacementRef replacement) {
  ++replacement->unfinished_writes;
  if (replacement->concluded()) {  // it would miss the sync
    --replacement->unfinished_writes;
    throw FileError("write", replacement->path(), EBADF);
  }
  const std::size_t count = co_await std::move(write);
  --replacement->unfinished_writes;
  co_return count;
}

inline caio::Task<> discard_replacement(StreamClose close, std::shared_ptr<caio::Engine> engine,
                                        ReplacementRef replacement) {
  if (!replacement->conclude()) co_return;
  try {
    co_await std::move(close);
  } catch (const std::system_error&) {  // of what nobody wants any more
  }
  const int error = co_await remove_name(std::move(engine), replacement->temporary());
  if (error != 0) throw FileError("discard", replacement->path(), error);
}

inline caio::Task<> commit_replacement(StreamSync sync, StreamClose close, std::shared_ptr<caio::Engine> engine,
                                       ReplacementRef replacement) {
  if (!replacement->conclude()) {
    if (replacement->committed()) co_return;
    throw FileError("commit", replacement->path(), EBADF);
  }
  std::exception_ptr failure;
  try {
    if (replacement->durable()) co_await std::move(sync);
  } catch (...) {
    failure = std::current_exception();
  }
  try {
    co_await std::move(close);
    if (!failure) {
      if (replacement->unfinished_writes > 0) throw FileError("commit", replacement->path(), ECANCELED);
      co_await PathOperation(engine, "commit", replacement->path(),
                             [&replacement](const std::filesystem::path&) { replacement->commit(); });
    }
  } catch (...) {
    if (!failure) failure = std::current_exception();
  }
  if (!failure) co_return;
  static_cast<void>(co_await remove_name(std::move(engine), replacement->temporary()));
  std::rethrow_exception(failure);
}

}  // namespace detail

/// A stream whose content becomes that of a file all at once, by commit(). Before that, or without it, nothing changes:
/// close, destroy or cancel it whenever you like. Move-only. Operations run in the order they were started.
///
/// The new content grows in a file of its own beside the old one, `.aiofile-<letters>.tmp`, and is renamed over it. So
/// what counts is the right to change the directory; hard links go on having the old content, and whoever has the old
/// file open, too. Only a kill or a crash before commit() leaves that file behind.
class AtomicWriter {
 public:
  AtomicWriter(FileStream stream, detail::ReplacementRef replacement)
      : stream_(std::move(stream)), replacement_(std::move(replacement)) {}

  /// Yields an AtomicWriter. A path that is a symbolic link means what it points to, which need not exist. FileError:
  /// EISDIR for a directory, EOPNOTSUPP for a FIFO, a device or a socket, EACCES for somebody else's link in a
  /// directory such as /tmp (proc(5), protected_symlinks, also where that is off). One hand-over to the pool.
  [[nodiscard]] static inline caio::Task<AtomicWriter> open(std::filesystem::path path,
                                                            const AtomicOptions& options = {});

  /// As FileStream::write(). Once one has failed, or was cancelled or destroyed, commit() refuses. EBADF once commit()
  /// or discard() has started.
  [[nodiscard]] caio::Task<std::size_t> write(std::string_view text) {
    return detail::write_replacement(stream_.write(text), replacement_);
  }
  template <std::same_as<std::string> S>
  [[nodiscard]] caio::Task<std::size_t> write(S&& text) {
    return detail::write_replacement(stream_.write(std::move(text)), replacement_);
  }
  /// The bytes written so far.
  [[nodiscard]] std::uint64_t tell() const noexcept { return stream_.tell(); }
  /// The path as given.
  [[nodiscard]] const std::filesystem::path& name() const noexcept { return replacement_->path(); }
  [[nodiscard]] bool committed() const noexcept { return replacement_->committed(); }

  /// Waits for the writes, makes the new content durable, and puts it in the place of the old one. What fails or is
  /// stopped before the rename has changed nothing, and ends the writer. ECANCELED: a write is missing. An error of the
  /// directory's sync is reported although the new content is in its place (committed()): a crash may bring back the
  /// old one. Again: does nothing; after a failure: EBADF.
  [[nodiscard]] caio::Task<> commit() {
    return detail::commit_replacement(stream_.fsync(), stream_.close(), engine(), replacement_);
  }
  /// Gives up, as the destructor does, but on the pool: removing a long file takes a while. Does nothing after
  /// commit().
  [[nodiscard]] caio::Task<> discard() { return detail::discard_replacement(stream_.close(), engine(), replacement_); }

 private:
  [[nodiscard]] std::shared_ptr<caio::Engine> engine() { return detail::state_of(stream_.file())->engine; }

  FileStream stream_;
  detail::ReplacementRef replacement_;
};

namespace detail {

inline caio::Task<AtomicWriter> open_replacement(caio::Context* context, ReplacementRef replacement,
                                                 std::size_t buffering) {
  auto engine = engine_of(context);
  caio::detail::UniqueFd fd =
      co_await PathOperation(engine, "open", replacement->path(),
                             [&replacement](const std::filesystem::path&) { return replacement->begin(); });
  const caio::Descriptor descriptor(fd.get(), O_WRONLY);
  AIOFile file(replacement->path(), "wb");
  state_of(file)->opened(std::move(engine), descriptor, false);
  static_cast<void>(fd.release());
  co_return AtomicWriter(FileStream(std::move(file), buffering), std::move(replacement));
}

template <class Text>
caio::Task<> write_and_commit(caio::Task<AtomicWriter> opening, Text text) {
  AtomicWriter out = co_await std::move(opening);
  std::exception_ptr failure;
  try {
    co_await out.write(std::string_view(text));
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) co_return co_await out.commit();
  try {
    co_await out.discard();
  } catch (...) {  // the first failure is what counts
  }
  std::rethrow_exception(failure);
}

}  // namespace detail

inline caio::Task<AtomicWriter> AtomicWriter::open(std::filesystem::path path, const AtomicOptions& options) {
  const detail::ReplacementRules rules{options.permissions, options.keep_permissions, options.durable};
  return detail::open_replacement(options.context,
                                  std::make_shared<detail::Replacement>(detail::checked_path(std::move(path)), rules),
                                  options.buffering);
}

/// Gives a file new content, or makes it: an AtomicWriter that is opened, written to and committed. A view's characters
/// live until the await is done. Whatever fails, is cancelled or destroyed before the rename leaves the old file as it
/// was, and nothing beside it. Two hand-overs to the pool, a write, and with durable two fsync(2).
[[nodiscard]] inline caio::Task<> write_atomic(std::filesystem::path path, std::string_view text,
                                               const AtomicOptions& options = {}) {
  return detail::write_and_commit(AtomicWriter::open(std::move(path), options), text);
}
[[nodiscard]] inline caio::Task<> write_atomic(std::filesystem::path path, std::span<const std::byte> bytes,
                                               const AtomicOptions& options = {}) {
  return write_atomic(std::move(path), std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                      options);
}
template <std::same_as<std::string> S>
[[nodiscard]] caio::Task<> write_atomic(std::filesystem::path path, S&& text, const AtomicOptions& options = {}) {
  return detail::write_and_commit(AtomicWriter::open(std::move(path), options), std::string(std::move(text)));
}

}  // namespace aiofile::inline CAIO_ABI
