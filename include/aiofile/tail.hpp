#pragma once
// tail: the lines that are appended to a file, as they come.

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <aiofile/buffer.hpp>
#include <aiofile/error.hpp>
#include <aiofile/file_identity.hpp>
#include <aiofile/path_operation.hpp>
#include <aiofile/path_watch.hpp>
#include <aiofile/pool_fd.hpp>
#include <aiofile/separator.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/descriptor.hpp>
#include <caio/engine.hpp>
#include <caio/generator.hpp>
#include <caio/operation.hpp>
#include <caio/operations.hpp>
#include <caio/request.hpp>
#include <caio/stop.hpp>
#include <caio/system.hpp>
#include <caio/task.hpp>

namespace aiofile::inline CAIO_ABI {

struct TailOptions {
  static constexpr std::uint64_t all = std::numeric_limits<std::uint64_t>::max();

  std::uint64_t last_lines = 0;                  ///< how many of the lines that are there come first; `all` of them
  std::chrono::milliseconds poll_interval{250};  ///< how often to look where inotify(7) cannot be had
};

namespace detail {

/// An open file and which one it is; or none.
class TailedFile {
 public:
  TailedFile() = default;
  /// What `path` leads to now. None where there is nothing, or, if it is `followed` already, nothing to be read yet.
  TailedFile(std::shared_ptr<caio::Engine> engine, const std::filesystem::path& path, bool followed) {
    // O_NONBLOCK: the open of a FIFO would wait for a writer.
    const int fd = caio::system_calls.open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) {
      // Whoever makes a new file may give it its permissions a moment later.
      if (errno == ENOENT || (followed && errno == EACCES)) return;
      throw FileError("tail", path, errno);
    }
    fd_ = PoolFd(std::move(engine), fd);
    struct ::stat status;
    if (::fstat(fd, &status) != 0) throw FileError("tail", path, errno);
    if (!S_ISREG(status.st_mode)) throw FileError("tail", path, S_ISDIR(status.st_mode) ? EISDIR : ESPIPE);
    descriptor_ = caio::Descriptor(fd, O_RDONLY);
    identity_ = identity_of(status);
  }

  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  [[nodiscard]] bool is(const TailedFile& other) const noexcept {
    return fd_ && other.fd_ && identity_ == other.identity_;
  }
  [[nodiscard]] const caio::Descriptor& descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] bool has_content() const noexcept {
    struct ::stat status;
    return fd_ && caio::system_calls.fstat(fd_.get(), &status) == 0 && status.st_size > 0;
  }
  [[nodiscard]] std::uint64_t size() const {
    struct ::stat status;
    if (caio::system_calls.fstat(fd_.get(), &status) != 0) throw std::system_error(errno, std::system_category());
    return static_cast<std::uint64_t>(status.st_size);
  }

 private:
  PoolFd fd_;
  caio::Descriptor descriptor_;
  FileIdentity identity_;
};

/// As Context::read(). The context may have ended.
inline caio::Operation<std::size_t> read_from(caio::Engine& engine, const caio::Descriptor& descriptor,
                                              std::span<std::byte> memory, std::int64_t offset) {
  caio::Request request;
  request.opcode = caio::Opcode::read;
  request.descriptor = descriptor;
  request.buffer = memory.data();
  request.length = memory.size();
  request.offset = offset;
  return caio::Operation<std::size_t>(engine, request, &descriptor, "read");
}

/// Where the last `count` lines of the first `size` bytes begin. The last one may lack its end.
inline caio::Task<std::uint64_t> start_of_last_lines(caio::Engine& engine, const caio::Descriptor& file,
                                                     std::uint64_t size, std::uint64_t count) {
  if (count == 0 || count == TailOptions::all) co_return count == 0 ? size : 0;
  std::vector<std::byte> block(static_cast<std::size_t>(std::min<std::uint64_t>(size, 64 * 1024)));
  std::uint64_t begin = size;
  while (begin > 0) {
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(begin, block.size()));
    begin -= length;
    for (std::size_t filled = 0; filled < length;) {
      const auto offset = static_cast<std::int64_t>(begin + filled);
      const std::size_t got =
          co_await read_from(engine, file, std::span(block).subspan(filled, length - filled), offset);
      if (got == 0) co_return begin;  // it has become shorter just now
      filled += got;
    }
    for (std::size_t i = length; i-- > 0;) {
      const std::uint64_t next = begin + i + 1;
      if (block[i] == std::byte{'\n'} && next < size && --count == 0) co_return next;
    }
  }
  co_return 0;
}

/// Bytes that have come, and the lines in them.
class TailedLines {
 public:
  [[nodiscard]] std::span<std::byte> room() { return std::as_writable_bytes(bytes_.room(chunk)); }
  void filled(std::size_t count) noexcept { bytes_.filled(count); }

  /// The next whole line.
  std::optional<std::string> next() {
    const std::size_t size = end_of_line(bytes_.view(), "\n", searched_);
    if (size == 0) {
      searched_ = bytes_.size();
      return std::nullopt;
    }
    return take(size);
  }
  /// What is left: the beginning of a line.
  std::optional<std::string> rest() {
    if (bytes_.empty()) return std::nullopt;
    return take(bytes_.size());
  }

 private:
  static constexpr std::size_t chunk = 64 * 1024;

  std::string take(std::size_t size) {
    std::string line(bytes_.view().substr(0, size));
    bytes_.consume(size);
    searched_ = 0;
    return line;
  }

  Buffer bytes_;
  std::size_t searched_ = 0;
};

/// Whether something has happened to the path, by the news of the watch or because nobody would tell.
inline caio::Task<bool> wait_for_news(caio::Engine& engine, const PathWatch& watch,
                                      std::chrono::milliseconds interval) {
  if (!watch) {
    co_await caio::SleepOperation(engine, caio::detail::saturated(interval));
    co_return true;
  }
  alignas(::inotify_event) std::array<std::byte, 4096> events;
  while (!watch.blind()) {
    const std::size_t count = co_await read_from(engine, watch.descriptor(), events, -1);
    const PathWatch::News news = watch.news(std::span(events).first(count));
    if (news != PathWatch::News::none) co_return news == PathWatch::News::names;  // else other names in /tmp and such
  }
  try {
    co_await caio::with_timeout(interval, read_from(engine, watch.descriptor(), events, -1));
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::timed_out) throw;
  }
  co_return true;
}

inline caio::Generator<std::string> tailed(std::filesystem::path path, TailOptions options) {
  const std::shared_ptr<caio::Engine> engine = caio::Context::current().engine();
  PathWatch watch(engine);
  TailedFile file;
  TailedFile successor;  // what the path leads to by now, until it has got something
  TailedLines lines;
  std::uint64_t position = 0;
  std::uint64_t seen = 0;  // the largest size of the file: some in /proc have none
  bool began = false;
  bool look = true;
  const auto see = [&](const std::filesystem::path& name) {
    watch.begin();
    watch.follow(name);
    TailedFile found(engine, name, began);
    for (const TailedFile* const each : {&file, &successor, &found}) {
      if (*each) watch.watch(each->descriptor().fileno());
    }
    watch.end();
    return found;
  };
  try {
    for (;;) {
      if (look && !successor.has_content()) {
        TailedFile found = co_await PathOperation(engine, "tail", path, see);
        if (found && successor.has_content() && !found.is(successor)) {
          found = TailedFile();  // in between, it has got something: it comes first
        } else {
          look = false;
        }
        if (found) (file ? successor : file) = found.is(file) ? TailedFile() : std::move(found);
        if (!std::exchange(began, true) && file) {
          seen = file.size();
          position = co_await start_of_last_lines(*engine, file.descriptor(), seen, options.last_lines);
        }
      }
      if (file) {
        const bool over = successor.has_content();
        bool truncated = false;
        bool gone = false;
        try {
          for (;;) {
            const std::size_t count =
                co_await read_from(*engine, file.descriptor(), lines.room(), static_cast<std::int64_t>(position));
            if (count == 0) break;
            lines.filled(count);
            position += count;
            if (seen < position) seen = std::max(seen, file.size());
            while (auto line = lines.next()) co_yield std::move(*line);
          }
          truncated = file.size() < std::min(position, seen);
        } catch (const std::system_error& error) {
          gone = error.code().value() == ESTALE;  // NFS: removed on the server
          if (!gone) throw;
        }
        if (truncated || gone || over) {
          if (auto rest = lines.rest()) co_yield std::move(*rest);
          position = seen = 0;
          if (truncated) continue;
          file = std::exchange(successor, TailedFile());
          look = true;  // the old one is watched still
          continue;
        }
      }
      if (!look) look = co_await wait_for_news(*engine, watch, options.poll_interval);
    }
  } catch (const FileError&) {
    throw;
  } catch (const std::system_error& error) {
    throw FileError("tail", path, error.code().value());
  }
}

}  // namespace detail

/// The lines that are appended to a file, as they come, with their "\n": `while (auto line = co_await lines.next())`.
/// Bytes as they stand in the file; a line that is not whole yet is waited for. It begins with the first next(), at the
/// end of the file or with TailOptions::last_lines, and never ends by itself.
///
/// The path is what is followed. A file that is not there is waited for, and read from its beginning. When the path
/// leads to another file (renamed and made anew, removed, a link or a directory on the way replaced), the old one is
/// read until the new one has got something, then to its end, then the new one from its beginning. A file that has
/// become shorter than what was read is read from its beginning. What remains of a line there is given without "\n".
/// Not seen: a file that was emptied and has grown longer than before meanwhile, what comes to an old one after its
/// end, writes by mmap(2), and what becomes of files that say no size, as in /proc: they are read once.
///
/// inotify(7) tells what has happened, by one descriptor that is waited for without a thread, and a watch for the file
/// and for each directory on the way; where that cannot be had (EMFILE, ENOSPC, network file systems), the path is
/// looked at every TailOptions::poll_interval. Each look is one hand-over to the pool.
///
/// std::invalid_argument, thrown by the call: no poll_interval, a path with a NUL in it. FileError: EISDIR a directory,
/// ESPIPE a pipe or device, what open(2), fstat(2) and read(2) give (but ESTALE is the end of an old file); ECANCELED
/// when stopped, and when the context has ended that was the current one in the first next(). After an error it has
/// ended.
inline caio::Generator<std::string> tail(std::filesystem::path path, TailOptions options = {}) {
  if (options.poll_interval <= options.poll_interval.zero()) {
    throw std::invalid_argument("aiofile::tail: a poll_interval that is not positive");
  }
  return detail::tailed(detail::checked_path(std::move(path)), options);
}

}  // namespace aiofile::inline CAIO_ABI
