#pragma once
// A new file beside the one that it is to replace.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/hand_on.hpp>
#include <aiofile/owned_name.hpp>
#include <caio/config.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/system.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// How to replace a file.
struct ReplacementRules {
  ::mode_t permissions = 0666;
  bool keep_permissions = true;
  bool durable = true;
};

/// The replacement of one file; its end leaves the old one, and nothing else, unless it was committed. What may wait is
/// called on the pool, one call at a time; what counts or asks, on any thread.
class Replacement {
 public:
  Replacement(std::filesystem::path path, const ReplacementRules& rules) : path_(std::move(path)), rules_(rules) {}

  /// As the user calls it.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] const std::shared_ptr<OwnedName>& temporary() const noexcept { return temporary_; }

  /// Makes the new file, empty, in the directory of the old one; gives its descriptor.
  [[nodiscard]] caio::detail::UniqueFd begin() {
    const std::filesystem::path target = followed();
    name_ = target.filename();
    if (name_.empty() || name_ == "." || name_ == "..") fail("open", path_.empty() ? ENOENT : EISDIR);
    const std::filesystem::path parent = target.has_parent_path() ? target.parent_path() : ".";
    // fsync(2) does not take O_PATH; without it, the right to read the directory is not needed.
    const int access = rules_.durable ? O_RDONLY : O_PATH;
    caio::detail::UniqueFd directory(caio::system_calls.open(parent.c_str(), access | O_DIRECTORY | O_CLOEXEC, 0));
    if (!directory) fail("open", errno);
    struct ::stat old {};
    const bool exists = ::fstatat(directory.get(), name_.c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0;
    if (!exists && errno != ENOENT) fail("open", errno);
    if (exists && !S_ISREG(old.st_mode)) fail("open", S_ISDIR(old.st_mode) ? EISDIR : EOPNOTSUPP);
    const bool hands_on = exists && rules_.keep_permissions;
    caio::detail::UniqueFd fd = make(std::move(directory), hands_on ? 0600 : rules_.permissions);
    const int error = hands_on ? hand_on(target, old, fd.get()) : 0;
    if (error != 0) fail("open", error);
    return fd;
  }

  /// Puts the new file, which is complete and durable, in the place of the old one. Of a failure of the directory's
  /// sync it is told, too: then the new file stands there, but a crash may bring back the old one.
  void commit() {
    const int place = temporary_->directory();
    if (::renameat(place, temporary_->name().c_str(), place, name_.c_str()) != 0) fail("commit", errno);
    const caio::detail::UniqueFd directory = temporary_->disown();
    committed_ = true;
    // EINVAL: a file system that has nothing to sync there (fsync(2)).
    if (rules_.durable && caio::system_calls.fsync(directory.get()) != 0 && errno != EINVAL) fail("commit", errno);
  }
  [[nodiscard]] bool committed() const noexcept { return committed_; }
  [[nodiscard]] bool durable() const noexcept { return rules_.durable; }

  /// True once: for who commits or discards it.
  bool conclude() noexcept { return !concluded_.exchange(true); }
  [[nodiscard]] bool concluded() const noexcept { return concluded_; }

  std::atomic<int> unfinished_writes = 0;  // those that have failed or were destroyed stay

 private:
  [[noreturn]] void fail(const char* what, int error) const { throw FileError(what, path_, error); }

  /// Where the path leads to when its last component is a link, or a chain of links; what that names need not exist.
  [[nodiscard]] std::filesystem::path followed() const {
    std::filesystem::path target = path_;
    for (int links = 0;; ++links) {
      // What is looked at and what is read is one link, whatever takes its name meanwhile.
      const caio::detail::UniqueFd link(caio::system_calls.open(target.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC, 0));
      if (!link && errno != ENOENT) fail("open", errno);
      struct ::stat status {};
      if (!link || ::fstat(link.get(), &status) != 0 || !S_ISLNK(status.st_mode)) return target;
      if (links == 40) fail("open", ELOOP);  // as many as the kernel follows
      const std::filesystem::path parent = target.has_parent_path() ? target.parent_path() : ".";
      if (!may_follow(parent, status.st_uid)) fail("open", EACCES);
      std::array<char, PATH_MAX> text;
      const ::ssize_t length = ::readlinkat(link.get(), "", text.data(), text.size());
      if (length < 0) fail("open", errno);
      target = parent / std::string_view(text.data(), static_cast<std::size_t>(length));
    }
  }

  /// Not somebody else's link in a directory such as /tmp (proc(5), protected_symlinks).
  static bool may_follow(const std::filesystem::path& directory, ::uid_t owner) noexcept {
    if (owner == ::geteuid()) return true;
    struct ::stat status {};
    if (::stat(directory.c_str(), &status) != 0) return false;
    return (status.st_mode & (S_ISVTX | S_IWOTH)) != (S_ISVTX | S_IWOTH) || status.st_uid == owner;
  }

  caio::detail::UniqueFd make(caio::detail::UniqueFd directory, ::mode_t permissions) {
    caio::detail::UniqueFd fd;
    std::filesystem::path name;
    const int error = make_new(".aiofile-", ".tmp", [&](std::string tried) {
      constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
      name = std::move(tried);
      fd = caio::detail::UniqueFd(::openat(directory.get(), name.c_str(), flags, permissions));
      return fd ? 0 : errno;
    });
    if (error != 0) fail("open", error);
    temporary_->own(std::move(directory), std::move(name));
    return fd;
  }

  const std::filesystem::path path_;
  const ReplacementRules rules_;
  const std::shared_ptr<OwnedName> temporary_ = std::make_shared<OwnedName>();
  std::filesystem::path name_;           // in temporary_'s directory
  std::atomic<bool> committed_ = false;  // set on the pool
  std::atomic<bool> concluded_ = false;
};

}  // namespace aiofile::inline CAIO_ABI::detail
