#pragma once
// What is known of a whole file system.

#include <sys/statvfs.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/path_operation.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::os {

/// What statvfs(3) says, counted in bytes instead of blocks.
struct StatVfs {
  std::uint64_t capacity = 0;
  std::uint64_t free = 0;
  std::uint64_t available = 0;  ///< of what is free, to who is not root
  std::uint64_t files = 0;      ///< how many inodes there can be
  std::uint64_t files_free = 0;
  std::uint64_t files_available = 0;
  std::uint64_t block_size = 0;     ///< of efficient I/O
  std::uint64_t fragment_size = 0;  ///< that space is given out by
  std::uint64_t name_length = 0;    ///< of the longest name
  std::uint64_t id = 0;
  std::uint64_t flags = 0;  ///< ST_RDONLY, ST_NOSUID ...
};

/// Yields the StatVfs of the file system on which a file is; links are followed. FileError: ENOENT, ENOTDIR, EACCES ...
/// On the pool: a file system on a network asks its server.
inline auto statvfs(std::filesystem::path path) {
  return detail::PathOperation("statvfs", std::move(path), [](const std::filesystem::path& name) {
    struct ::statvfs found;
    if (::statvfs(name.c_str(), &found) != 0) throw FileError("statvfs", name, errno);
    return StatVfs{.capacity = found.f_blocks * found.f_frsize,
                   .free = found.f_bfree * found.f_frsize,
                   .available = found.f_bavail * found.f_frsize,
                   .files = found.f_files,
                   .files_free = found.f_ffree,
                   .files_available = found.f_favail,
                   .block_size = found.f_bsize,
                   .fragment_size = found.f_frsize,
                   .name_length = found.f_namemax,
                   .id = found.f_fsid,
                   .flags = found.f_flag};
  });
}

}  // namespace aiofile::inline CAIO_ABI::os
