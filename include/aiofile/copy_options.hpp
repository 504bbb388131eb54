#pragma once
// How files and directories are copied.

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include <aiofile/error.hpp>
#include <aiofile/function_view.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

enum class CopyMethod : std::uint8_t {
  automatic,        ///< a reflink; else the fastest of the others that works
  reflink,          ///< FICLONE: shares the blocks until one of the two is changed (btrfs, XFS, bcachefs ...)
  copy_file_range,  ///< copy_file_range(2), by one thread: servers copy by themselves (NFS, SMB)
  read_write,       ///< reads and writes by several threads at once: one reads while another writes
};

struct CopyOptions {
  bool overwrite = true;              ///< false: EEXIST when the destination exists
  bool keep_partial = false;          ///< write into the destination itself, and leave what is there after a failure
  bool sparse = true;                 ///< holes stay holes; false: they are filled with zeros
  bool preserve_permissions = false;  ///< of the source, with set-user-ID and the like, whatever the umask
  bool preserve_times = false;        ///< of the last access and change, in nanoseconds
  CopyMethod method = CopyMethod::automatic;  ///< another one: it, or an error (EOPNOTSUPP, EXDEV, EINVAL ...)
  std::size_t buffer_size = 512 * 1024;       ///< bytes of one read and write; read_write takes four buffers

  /// Called on the context's thread with the bytes done and the bytes there are: now and then, and at last with twice
  /// the copy's length. What it throws ends the copying. It must live until the await is done.
  FunctionView<void(std::uint64_t done, std::uint64_t total)> progress = {};
};

struct CopyTreeOptions {
  CopyOptions files = {};          ///< preserve_... also for directories; progress: bytes of the whole tree, total 0
  bool follow_links = false;       ///< copy what symbolic links lead to; false: the links
  bool directories_exist = false;  ///< into directories that are there already; false: EEXIST
  unsigned parallel = 4;           ///< files copied at the same time, 1..64

  /// Told of each file or directory that could not be copied, on the context's thread; the rest is copied. None: the
  /// first failure ends it all. It must live until the await is done.
  FunctionView<void(const FileError&)> on_error = {};
};

namespace detail {

inline const CopyOptions& checked(const CopyOptions& options) {
  constexpr std::size_t most = std::size_t{1} << 30;
  if (options.buffer_size == 0 || options.buffer_size > most) {
    throw std::invalid_argument("aiofile::CopyOptions: buffer_size is not within 1 and 1 GiB");
  }
  return options;
}

inline const CopyTreeOptions& checked(const CopyTreeOptions& options) {
  checked(options.files);
  if (options.parallel == 0 || options.parallel > 64) {
    throw std::invalid_argument("aiofile::CopyTreeOptions: parallel is not within 1 and 64");
  }
  return options;
}

}  // namespace detail
}  // namespace aiofile::inline CAIO_ABI
