#pragma once
// MemoryFile: a file that is only memory.

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/file.hpp>
#include <aiofile/options.hpp>
#include <aiofile/shared_file.hpp>
#include <aiofile/stream.hpp>
#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/system.hpp>

namespace aiofile::inline CAIO_ABI {

/// A FileStream over memory, for tests above all: whatever takes a FileStream, its file() or an AsyncReadable runs on
/// it as on a file, on every backend, and nothing is left behind.
///
/// It is an anonymous file of the kernel (memfd_create(2), since Linux 3.17), and so takes a descriptor; memory and
/// swap are what it is kept in. Reads of up to 256 KiB and writes of up to 64 KiB are done in place unless
/// ContextOptions::speculate is off. Its name is "<memory>".
class MemoryFile : public FileStream {
 public:
  /// A file that contains `contents`, at its beginning; in mode 'a' at its end. The mode says how it may be used, and
  /// empties nothing. Some system calls in place. FileError, such as EMFILE; else as AIOFile's constructor.
  explicit MemoryFile(std::string_view contents = {}, std::string_view mode = "r+", OpenOptions options = {})
      : MemoryFile(made(contents, mode, options), options.buffering) {}

  /// All that it contains: its bytes, whatever the mode, as they are after the writes that were awaited and, with
  /// OpenOptions::buffering, flushed. Also after close(), and after the FileStream has been moved away. Copies in
  /// place.
  [[nodiscard]] std::string contents() const {
    const int fd = kept_.fileno();
    struct ::stat status;
    if (caio::system_calls.fstat(fd, &status) < 0) throw FileError("fstat", kept_.name(), errno);
    std::string all(static_cast<std::size_t>(status.st_size), '\0');
    std::size_t count = 0;
    while (count < all.size()) {
      const ::ssize_t result =
          caio::system_calls.pread(fd, all.data() + count, all.size() - count, static_cast<::off_t>(count));
      if (result < 0 && errno == EINTR) continue;
      if (result < 0) throw FileError("read", kept_.name(), errno, count);
      if (result == 0) break;
      count += static_cast<std::size_t>(result);
    }
    all.resize(count);
    return all;
  }

 private:
  MemoryFile(AIOFile file, std::size_t buffering) : FileStream(file.clone(), buffering), kept_(std::move(file)) {}

  static AIOFile made(std::string_view contents, std::string_view mode, const OpenOptions& options) {
    AIOFile file("<memory>", mode, options);
    const int fd = caio::system_calls.memfd_create("aiofile", MFD_CLOEXEC);
    if (fd < 0) throw FileError("memfd_create", file.name(), errno);
    detail::state_of(file)->opened(file.context().engine(), caio::Descriptor::memory(fd), false);
    for (std::size_t count = 0; count < contents.size();) {
      const ::ssize_t result =
          caio::system_calls.pwrite(fd, contents.data() + count, contents.size() - count, static_cast<::off_t>(count));
      if (result < 0 && errno != EINTR) throw FileError("write", file.name(), errno, count);
      if (result > 0) count += static_cast<std::size_t>(result);
    }
    return file;
  }

  AIOFile kept_;
};

}  // namespace aiofile::inline CAIO_ABI
