#pragma once
// copy_file: the content of one file becomes that of another.

#include <cstdint>
#include <exception>
#include <filesystem>
#include <string>
#include <utility>

#include <aiofile/copy_options.hpp>
#include <aiofile/file_copy.hpp>
#include <aiofile/path_operation.hpp>
#include <caio/config.hpp>
#include <caio/detail/child.hpp>
#include <caio/task.hpp>
#include <caio/task_group.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

inline void report(const FileCopy& copy, const CopyOptions& options) {
  if (options.progress) options.progress(copy.done(), copy.total());
}

inline caio::Task<> copy_pieces(FileCopy* copy, CopyOptions options) {
  CopyBuffer buffer;
  for (;;) {
    const bool more = co_await PathOperation(
        "copy_file", copy->from(),
        [copy, memory = &buffer](const std::filesystem::path&) { return copy->copy_piece(*memory); });
    if (!more) co_return;
    report(*copy, options);
  }
}

inline caio::Task<std::uint64_t> copy_whole(std::filesystem::path from, std::filesystem::path to, CopyOptions options) {
  FileCopy copy(std::move(from), std::move(to), options);
  FileCopy* const it = &copy;
  std::exception_ptr failure;
  try {
    co_await PathOperation("copy_file", copy.from(), [it](const std::filesystem::path&) { it->begin(); });
    if (!copy.finished()) {
      report(copy, options);
      {
        caio::TaskGroup threads;
        for (std::uint64_t i = copy.threads(); i > 0; --i) threads.spawn(copy_pieces(it, options));
        co_await threads.join();
      }
      co_await PathOperation("copy_file", copy.from(), [it](const std::filesystem::path&) { it->finish(); });
    }
    report(copy, options);
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    // On the pool, whatever was stopped: to remove a large file takes its time.
    caio::detail::Nothing nothing;
    caio::detail::Children cleanup;
    cleanup.start(
        caio::detail::child_into(
            PathOperation("copy_file", copy.from(), [it](const std::filesystem::path&) { it->discard(); }), &nothing),
        caio::detail::no_stop_token);
    co_await cleanup.wait();
    std::rethrow_exception(failure);
  }
  co_return copy.done();
}

}  // namespace detail

/// Copies a regular file; yields the copy's length in bytes (std::uint64_t). Call it by its full name: with paths as
/// arguments, std::filesystem::copy_file is found, too.
///
/// The destination: one that does not exist is made, with the source's permissions less the umask. One that exists is
/// replaced in the end, by a new file that was made beside it (so the directory must be writable) and gets its
/// permissions, access control list and, if we may, its owner; other hard links keep the old content; a symbolic link
/// stays and leads to the new file. After a failure, a stop, or the destruction of the awaiting coroutine there is what
/// was there before. With `keep_partial` the file itself is emptied and written, as cp(1) does, and what went wrong may
/// leave a part of it. Nothing is synced, and a process that is killed may leave a half file, or a hidden
/// `.aiofile-XXXXXX`.
///
/// How: a reflink where the file system has it. Else by pieces of 4 MiB on the pool, where all of it happens: holes are
/// found by SEEK_DATA, space is taken by fallocate(2), and several threads read and write at once on ext4 and XFS, or
/// copy_file_range(2) copies, and where it cannot (EXDEV ...), one reads and writes. A file of up to one piece takes
/// one hand-over to the pool. A source that grows or shrinks meanwhile: the copy has some state's length, with no gaps.
/// Files of /proc are read to their end.
///
/// Throws FileError with the path that failed and the bytes copied: EISDIR; EINVAL: neither a file nor a directory, or
/// (both paths) the two are the same file; EEXIST: see CopyOptions::overwrite; ECANCELED. std::invalid_argument, from
/// the call: a path with a NUL, options out of range.
[[nodiscard]] inline caio::Task<std::uint64_t> copy_file(std::filesystem::path from, std::filesystem::path to,
                                                         const CopyOptions& options = {}) {
  return detail::copy_whole(detail::checked_path(std::move(from)), detail::checked_path(std::move(to)),
                            detail::checked(options));
}

}  // namespace aiofile::inline CAIO_ABI
