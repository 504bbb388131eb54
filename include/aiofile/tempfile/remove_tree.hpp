#pragma once
// Removes a directory with all that is in it, step by step.

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <aiofile/file_identity.hpp>
#include <aiofile/os/stat.hpp>
#include <caio/config.hpp>
#include <caio/detail/unique_fd.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// The removal of a tree. Everything goes by names relative to open directories that were seen to be the ones meant:
/// whoever moves things or puts links in their place meanwhile leads it nowhere else. Depth costs memory only for
/// names; few descriptors are open at a time. Directories that their owner may not change are made so. What is
/// mounted or bound inside is not entered: EXDEV. Allowed on any thread, one at a time.
class TreeRemoval {
 public:
  /// `identity` of the directory that is meant: another one of that name is left alone.
  TreeRemoval(std::filesystem::path root, const FileIdentity& identity) : root_(std::move(root)), identity_(identity) {}

  /// Works until `deadline` has passed, in steps of about a ms. True: nothing is left to do.
  bool work(std::chrono::steady_clock::time_point deadline) {
    if (!std::exchange(begun_, true)) enter(AT_FDCWD, root_.native());
    while (!levels_.empty()) {
      step();
      if (std::chrono::steady_clock::now() >= deadline) break;
    }
    return levels_.empty();
  }

  /// errno of what could not be removed first; 0: nothing.
  [[nodiscard]] int error() const noexcept { return error_; }
  [[nodiscard]] const std::filesystem::path& failed() const noexcept { return failed_; }

 private:
  struct Level {
    caio::detail::UniqueFd fd;  // not open when far above
    FileIdentity identity;
    std::string name;
    std::vector<std::string> directories;  // seen, and to be entered
    bool read = false;                     // to the end
    bool shrunk = false;                   // something has gone since it was read from the start
  };

  static constexpr std::size_t most_open = 16;
  static constexpr auto owner_all = std::filesystem::perms::owner_all;
  static constexpr int directory_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

  void step() {
    Level& level = levels_.back();
    if (!level.directories.empty()) {
      const std::string name = std::move(level.directories.back());
      level.directories.pop_back();
      enter(level.fd.get(), name);
    } else if (!level.read) {
      read(level);
    } else {
      leave();
    }
  }

  /// Removes the files among some entries, and notes the directories.
  void read(Level& level) {
    const ::ssize_t size = ::getdents64(level.fd.get(), entries_.data(), entries_.size());
    if (size < 0) note(errno, "");
    level.read = size <= 0;
    for (::ssize_t at = 0; at < size;) {
      const auto& entry = *reinterpret_cast<const ::dirent64*>(entries_.data() + at);
      at += entry.d_reclen;
      const std::string name = entry.d_name;
      if (name == "." || name == "..") continue;
      if (entry.d_type == DT_DIR || !remove(level, name)) level.directories.push_back(name);
    }
  }

  /// False: it is a directory.
  bool remove(Level& level, const std::string& name) {
    if (::unlinkat(level.fd.get(), name.c_str(), 0) == 0) {
      level.shrunk = true;
    } else if (errno == EISDIR) {
      return false;
    } else {
      note(errno, name);
    }
    return true;
  }

  static int stat_of_open(int fd, os::Stat& status) noexcept { return stat_at(fd, "", AT_EMPTY_PATH, status); }

  void enter(int parent, const std::string& name) {
    caio::detail::UniqueFd directory(::openat(parent, name.c_str(), directory_flags));
    const bool denied = !directory && errno == EACCES;
    if (denied) directory = caio::detail::UniqueFd(::openat(parent, name.c_str(), directory_flags | O_PATH));
    os::Stat status;
    if (!directory || stat_of_open(directory.get(), status) != 0) return not_entered(name);
    const FileIdentity identity = identity_of(status);
    if (levels_.empty()) {
      if (identity != identity_) return;
      mount_ = status.mount;
    }
    // What is bound from the same file system has its device.
    if (identity.device != identity_.device || status.mount != mount_) return note(EXDEV, name);
    if ((status.permissions & owner_all) != owner_all) {
      const int fd = directory.get();  // fchmod(2) does not take one with O_PATH
      denied ? ::chmod(("/proc/self/fd/" + std::to_string(fd)).c_str(), S_IRWXU) : ::fchmod(fd, S_IRWXU);
    }
    if (denied) directory = caio::detail::UniqueFd(::openat(directory.get(), ".", directory_flags));
    if (!directory) return note(errno, name);
    levels_.push_back({std::move(directory), identity, name, {}, false, false});
    if (levels_.size() > most_open) {
      spare_ = caio::detail::UniqueFd(std::move(levels_[levels_.size() - 1 - most_open].fd));
    }
  }

  void not_entered(const std::string& name) {
    const int error = errno;
    const bool replaced = error == ENOTDIR || error == ELOOP;  // by something else, since it was read
    if (levels_.empty()) {
      if (!replaced) note(error, name);
    } else if (!replaced || !remove(levels_.back(), name)) {
      note(error, name);
    }
  }

  void leave() {
    const bool is_root = levels_.size() == 1;
    Level& level = levels_.back();
    const int lost = is_root ? 0 : reopen(levels_[levels_.size() - 2], level);
    if (lost != 0) {
      note(lost, "");
      levels_.clear();
      return;
    }
    const int parent = is_root ? AT_FDCWD : levels_[levels_.size() - 2].fd.get();
    const bool gone = ::unlinkat(parent, level.name.c_str(), AT_REMOVEDIR) == 0;
    if (!gone && errno == ENOTEMPTY && std::exchange(level.shrunk, false)) {
      // Somebody has added to it, or the file system has left out entries while others went.
      level.read = ::lseek(level.fd.get(), 0, SEEK_SET) < 0;
      return;
    }
    if (!gone) note(errno, "");
    if (!spare_) spare_ = std::move(level.fd);
    levels_.pop_back();
    if (gone && !is_root) levels_.back().shrunk = true;
  }

  /// Gives 0 or an errno; ESTALE: `level` is not in `parent` any more.
  int reopen(Level& parent, const Level& level) {
    if (parent.fd) return 0;
    int fd = ::openat(level.fd.get(), "..", directory_flags);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
      spare_ = caio::detail::UniqueFd();
      fd = ::openat(level.fd.get(), "..", directory_flags);
    }
    parent.fd = caio::detail::UniqueFd(fd);
    os::Stat status;
    if (!parent.fd || stat_of_open(fd, status) != 0) return errno == ENOENT ? ESTALE : errno;
    return identity_of(status) == parent.identity ? 0 : ESTALE;
  }

  /// Of the innermost directory, or `name` in it.
  void note(int error, const std::string& name) {
    if (error == ENOENT || error_ != 0) return;
    error_ = error;
    for (const Level& level : levels_) failed_ /= level.name;
    if (!name.empty()) failed_ /= name;
  }

  const std::filesystem::path root_;
  const FileIdentity identity_;
  std::vector<Level> levels_;
  caio::detail::UniqueFd spare_;                            // given up where there is no other for the way back
  alignas(::dirent64) std::array<char, 8 * 1024> entries_;  // some 250 names, about a ms
  std::uint64_t mount_ = 0;                                 // where the root is; 0: not known before Linux 5.8
  bool begun_ = false;
  int error_ = 0;
  std::filesystem::path failed_;
};

}  // namespace aiofile::inline CAIO_ABI::detail
