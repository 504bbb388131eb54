#pragma once
// Directories to remove.

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <caio/detail/unique_fd.hpp>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "support/catch.hpp"

namespace trees {

using Path = std::filesystem::path;

/// On a file system in memory: on disks it takes ms to make and remove a directory.
class MemoryDirectory {
 public:
  MemoryDirectory() {
    std::string pattern = "/dev/shm/aiofile-test-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
    path_ = pattern;
  }
  MemoryDirectory(const MemoryDirectory&) = delete;
  MemoryDirectory& operator=(const MemoryDirectory&) = delete;
  ~MemoryDirectory() { std::filesystem::remove_all(path_); }

  Path operator/(const char* name) const { return path_ / name; }
  const Path& path() const { return path_; }

 private:
  Path path_;
};

/// Directories called "d", each in the one before, `depth` of them in `root`; gives the innermost.
inline Path chain(const Path& root, int depth) {
  Path path = root;
  for (int level = 0; level < depth; ++level) path /= "d";
  std::filesystem::create_directories(path);
  return path;
}

/// A chain of directories, each in the one before, made without long paths.
inline void dig(const Path& root, int depth) {
  caio::detail::UniqueFd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int level = 0; level < depth; ++level) {
    ::mkdirat(fd.get(), "directory with quite a long name", 0700);
    ::mkdirat(fd.get(), "beside", 0700);
    fd = caio::detail::UniqueFd(
        ::openat(fd.get(), "directory with quite a long name", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  REQUIRE(fd);
}

}  // namespace trees
