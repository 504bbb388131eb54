#pragma once
// The file that a copy is made in, until it has its name.

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <aiofile/copy_options.hpp>
#include <aiofile/error.hpp>
#include <aiofile/file_identity.hpp>
#include <aiofile/hand_on.hpp>
#include <caio/config.hpp>
#include <caio/detail/process.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/system.hpp>

namespace aiofile::inline CAIO_ABI::detail {

[[noreturn]] inline void fail_with_errno(const char* what, const std::filesystem::path& path) {
  throw FileError(what, path, errno);
}

/// Opens what should be a regular file.
inline caio::detail::UniqueFd open_regular(const std::filesystem::path& path, int flags, ::mode_t mode = 0) noexcept {
  flags |= O_CLOEXEC | O_NOCTTY;
  int fd = caio::system_calls.open(path.c_str(), flags | O_NONBLOCK, mode);  // a FIFO would wait for its peer
  // A lease is being broken (fcntl(2), F_SETLEASE): now it is known to be a file.
  if (fd < 0 && errno == EWOULDBLOCK) fd = caio::system_calls.open(path.c_str(), flags, mode);
  return caio::detail::UniqueFd(fd);
}

inline void require_regular(const struct ::stat& status, const std::filesystem::path& path) {
  if (S_ISDIR(status.st_mode)) throw FileError("copy_file", path, EISDIR);
  if (!S_ISREG(status.st_mode)) throw FileError("copy_file", path, EINVAL);
}

/// A new file; or, beside one that exists, a temporary one that replaces it in the end; or that one itself. Its calls
/// block. Its end, or discard(), before finish() leaves what was there before, unless it was to keep a part.
class CopyTarget {
 public:
  CopyTarget(std::filesystem::path path, const CopyOptions& options) : path_(std::move(path)), options_(options) {}
  CopyTarget(const CopyTarget&) = delete;
  CopyTarget& operator=(const CopyTarget&) = delete;
  ~CopyTarget() { discard(); }

  void open(const std::filesystem::path& source_path, const struct ::stat& source) {
    const ::mode_t mode = source.st_mode & 0777;
    if (options_.keep_partial) {
      file_ = open_regular(path_, O_WRONLY | O_CREAT | (options_.overwrite ? 0 : O_EXCL), mode);
      if (!file_) fail_with_errno("open", path_);
      const struct ::stat status = this->status();
      check(status, source_path, source);
      if (status.st_size > 0) truncate(0);
      return;
    }
    std::filesystem::path name = path_;  // before there is a file that nobody would remove
    file_ = open_regular(path_, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (file_) {
      name_ = std::move(name);
      return;
    }
    if (errno != EEXIST || !options_.overwrite) fail_with_errno("open", path_);
    if (::stat(path_.c_str(), &replaced_) != 0) fail_with_errno("stat", path_);
    check(replaced_, source_path, source);
    open_replacement();
  }

  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] std::uint64_t length() const { return static_cast<std::uint64_t>(status().st_size); }

  /// Whether to take space before it is written pays: on ext4 and XFS writes are up to twice as fast then. On tmpfs it
  /// costs as much as the write; btrfs does not compress what was reserved.
  [[nodiscard]] bool pays_to_reserve() const noexcept {
    struct ::statfs system;
    return ::fstatfs(fd(), &system) == 0 && (system.f_type == EXT4_SUPER_MAGIC || system.f_type == XFS_SUPER_MAGIC);
  }
  /// Takes space, but leaves the length: what is kept of a failed copy must not end in zeros. False: it cannot.
  bool reserve(std::uint64_t offset, std::uint64_t length) noexcept {
    if (::fallocate(fd(), FALLOC_FL_KEEP_SIZE, static_cast<::off_t>(offset), static_cast<::off_t>(length)) != 0) {
      return false;
    }
    reserved_ = offset + length;
    return true;
  }
  [[nodiscard]] std::uint64_t reserved() const noexcept { return reserved_; }

  /// Gives it its length, permissions and times, and its name.
  void finish(std::uint64_t length, const struct ::stat& source) {
    const int error = replaces_ ? hand_on(final_name_, replaced_, fd()) : 0;
    if (error != 0) throw FileError("chmod", path_, error);
    const struct ::stat made = status();
    // What was reserved in vain is behind the end: that the length is right already does not free it.
    if (static_cast<std::uint64_t>(made.st_size) != length || reserved_ > length) truncate(length);
    // Set-user-ID is the right of the source's owner, and no other's.
    const bool same_owner = made.st_uid == source.st_uid && made.st_gid == source.st_gid;
    const ::mode_t mode = source.st_mode & (same_owner ? 07777 : 01777);
    if (options_.preserve_permissions && ::fchmod(fd(), mode) != 0) fail_with_errno("chmod", path_);
    const ::timespec times[2] = {source.st_atim, source.st_mtim};
    if (options_.preserve_times && ::futimens(fd(), times) != 0) fail_with_errno("utimensat", path_);
    // Some file systems say only now that there is no space (NFS).
    if (caio::system_calls.close(file_.release()) != 0 && errno != EINTR) give_up("close");
    if (replaces_ && ::rename(name_.c_str(), final_name_.c_str()) != 0) give_up("rename");
    name_.clear();
  }

  /// Again, or after finish(): does nothing.
  void discard() noexcept {
    if (file_ && caio::detail::process_generation() == generation_) {  // a forked child's parent goes on with it
      struct ::stat made;
      struct ::stat named;
      const bool known = ::fstat(fd(), &made) == 0;
      if (known && options_.keep_partial && reserved_ > 0) static_cast<void>(!::ftruncate(fd(), made.st_size));
      // Somebody else may have put another file there.
      const bool ours =
          known && !name_.empty() && ::lstat(name_.c_str(), &named) == 0 && identity_of(made) == identity_of(named);
      if (ours) ::unlink(name_.c_str());
    }
    file_ = {};
  }

 private:
  void check(const struct ::stat& status, const std::filesystem::path& source_path, const struct ::stat& source) const {
    require_regular(status, path_);
    if (identity_of(status) == identity_of(source)) throw FileError("copy_file", source_path, path_, EINVAL);
  }

  void open_replacement() {
    std::error_code failure;
    final_name_ = std::filesystem::is_symlink(path_, failure) ? std::filesystem::canonical(path_, failure) : path_;
    if (failure) throw FileError("readlink", path_, failure.value());
    std::string name = (final_name_.parent_path() / ".aiofile-XXXXXX").native();
    file_ = caio::detail::UniqueFd(::mkostemp(name.data(), O_CLOEXEC));
    if (!file_) fail_with_errno("open", path_);
    name_ = std::move(name);
    replaces_ = true;
  }

  [[nodiscard]] struct ::stat status() const {
    struct ::stat status;
    if (caio::system_calls.fstat(fd(), &status) != 0) fail_with_errno("stat", path_);
    return status;
  }
  void truncate(std::uint64_t length) const {
    if (caio::system_calls.ftruncate(fd(), static_cast<::off_t>(length)) != 0) fail_with_errno("truncate", path_);
  }
  /// The file is closed, but for its name.
  [[noreturn]] void give_up(const char* what) {
    const int error = errno;
    if (!name_.empty()) ::unlink(name_.c_str());
    throw FileError(what, path_, error);
  }

  const std::filesystem::path path_;
  const CopyOptions options_;
  const unsigned generation_ = caio::detail::process_generation();

  caio::detail::UniqueFd file_;
  std::filesystem::path name_;        // under which it is, and removed if it is not finished
  std::filesystem::path final_name_;  // that it gets in the end, if it replaces a file
  struct ::stat replaced_ {};
  bool replaces_ = false;
  std::uint64_t reserved_ = 0;  // up to where
};

}  // namespace aiofile::inline CAIO_ABI::detail
