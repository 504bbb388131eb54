#pragma once
// A directory for one test, on the file system that AIOFILE_TEST_DIR names.

#include <stdlib.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

namespace support {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* const base = std::getenv("AIOFILE_TEST_DIR");
    std::string pattern = (std::filesystem::path(base == nullptr ? "." : base) / "aiofile-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
    path_ = std::filesystem::absolute(pattern);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

  /// Writes a file by plain means.
  std::filesystem::path file(std::string_view name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

/// Reads a file by plain means.
inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Whether this user may make files somebody else's, as root can unless its namespace has few users.
inline bool gives_files_away() {
  const TemporaryDirectory directory;
  return ::chown(directory.file("given", "").c_str(), 1234, 4321) == 0;
}

/// Numbers of this process's open descriptors.
inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count - 1;  // the iterator's own
}

/// The same without those that a context makes when it first needs them: to be woken, to wait for streams.
inline std::size_t open_files() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone);  // some are too long to be told
    if (gone != std::errc::no_such_file_or_directory && target != "anon_inode:[eventfd]" &&
        target != "anon_inode:[eventpoll]")
      ++count;
  }
  return count - 1;  // the iterator's own
}

}  // namespace support
