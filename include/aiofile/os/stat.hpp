#pragma once
// What the file system knows of a path or an open file.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/file_identity.hpp>
#include <aiofile/os/at.hpp>
#include <aiofile/path_operation.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/detail/prompt.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/engine.hpp>
#include <caio/implementation.hpp>
#include <caio/system.hpp>

namespace aiofile::inline CAIO_ABI {

namespace os {

/// Since 1970 UTC, without leap seconds. std::chrono::file_clock::from_sys() makes a file_time_type of it. Goes from
/// September 1677 to April 2262: what a file system has beyond that is its min() or max().
using Time = std::chrono::sys_time<std::chrono::nanoseconds>;

/// What statx(2) says of a file. What a file system does not know is 0, but for what is optional.
struct Stat {
  std::uint64_t device = 0;  ///< of the file system, as makedev(3) does it
  std::uint64_t inode = 0;
  std::filesystem::file_type type = std::filesystem::file_type::none;
  std::filesystem::perms permissions = std::filesystem::perms::none;  ///< with the set-id and sticky bits
  std::uint64_t links = 0;
  ::uid_t user = 0;
  ::gid_t group = 0;
  std::uint64_t size = 0;              ///< bytes
  std::uint64_t blocks = 0;            ///< of 512 bytes, that are allocated
  std::uint32_t block_size = 0;        ///< bytes: of efficient I/O
  std::uint64_t represented = 0;       ///< a device file's device
  Time accessed;                       ///< read last
  Time modified;                       ///< content changed last
  Time changed;                        ///< content or inode changed last
  std::optional<Time> born;            ///< created
  std::uint64_t mount = 0;             ///< mount ID as in /proc/self/mountinfo; Linux 5.8
  std::uint32_t memory_alignment = 0;  ///< of buffers for O_DIRECT; Linux 6.1, and few file systems
  std::uint32_t offset_alignment = 0;  ///< of offsets and lengths for O_DIRECT, likewise
};

}  // namespace os

namespace detail {

inline std::filesystem::file_type type_of(unsigned mode) noexcept {
  using std::filesystem::file_type;
  switch (mode & S_IFMT) {
    case S_IFREG: return file_type::regular;
    case S_IFDIR: return file_type::directory;
    case S_IFLNK: return file_type::symlink;
    case S_IFBLK: return file_type::block;
    case S_IFCHR: return file_type::character;
    case S_IFIFO: return file_type::fifo;
    case S_IFSOCK: return file_type::socket;
    default: return file_type::unknown;
  }
}

inline os::Time time_of(const ::statx_timestamp& time) noexcept {
  constexpr auto most = std::chrono::duration_cast<std::chrono::seconds>(os::Time::duration::max());
  const std::chrono::seconds seconds(time.tv_sec);
  if (seconds >= most) return os::Time::max();
  if (seconds < -most) return os::Time::min();
  return os::Time(seconds + std::chrono::nanoseconds(time.tv_nsec));
}

// In numbers: older headers have neither the names nor the fields.
inline constexpr unsigned asks_mount = 0x1000;
inline constexpr unsigned asks_alignment = 0x2000;
inline constexpr unsigned asked_of_statx = STATX_BASIC_STATS | STATX_BTIME | asks_mount | asks_alignment;

template <class Statx>
os::Stat stat_of(const Statx& from) noexcept {
  os::Stat stat;
  stat.device = ::gnu_dev_makedev(from.stx_dev_major, from.stx_dev_minor);
  stat.inode = from.stx_ino;
  stat.type = type_of(from.stx_mode);
  stat.permissions = static_cast<std::filesystem::perms>(from.stx_mode & 07777U);
  stat.links = from.stx_nlink;
  stat.user = from.stx_uid;
  stat.group = from.stx_gid;
  stat.size = from.stx_size;
  stat.blocks = from.stx_blocks;
  stat.block_size = from.stx_blksize;
  stat.represented = ::gnu_dev_makedev(from.stx_rdev_major, from.stx_rdev_minor);
  stat.accessed = time_of(from.stx_atime);
  stat.modified = time_of(from.stx_mtime);
  stat.changed = time_of(from.stx_ctime);
  if ((from.stx_mask & STATX_BTIME) != 0) stat.born = time_of(from.stx_btime);
  if constexpr (requires { from.stx_mnt_id; }) stat.mount = from.stx_mnt_id;
  if constexpr (requires { from.stx_dio_mem_align; }) {
    stat.memory_alignment = from.stx_dio_mem_align;
    stat.offset_alignment = from.stx_dio_offset_align;
  }
  return stat;
}

inline FileIdentity identity_of(const os::Stat& stat) noexcept { return {stat.device, stat.inode}; }

/// Gives an errno, or 0 and the Stat. `flags` are statx(2)'s; with AT_EMPTY_PATH and an empty name: of the descriptor.
inline int stat_at(int directory, const char* name, int flags, os::Stat& stat) noexcept {
  struct ::statx found;
  if (::statx(directory, name, flags, asked_of_statx, &found) != 0) return errno;
  stat = stat_of(found);
  return 0;
}

/// What was found out about a path: an errno, or 0 and the Stat.
struct Found {
  int error = 0;
  os::Stat stat;
};

/// No more tries where openat2(2) is not to be had: before Linux 5.12, or in a sandbox.
inline constinit std::atomic<bool> lookups_in_place = true;

/// The same from the kernel's caches, without I/O and without asking a server: false where that does not do.
///
/// RESOLVE_CACHED fails where a directory would have to be read, AT_STATX_DONT_SYNC takes what is known of the inode.
/// Of a local file system that is the truth, and those that keep FS_IOC_GETFLAGS's attributes in their inodes are
/// local: ext4, XFS, btrfs, tmpfs, and overlayfs over these; not FUSE, NFS, SMB, 9p (seen on Linux 6.18).
inline bool stat_cached(int directory, const char* name, int flags, Found& found) noexcept {
  constexpr std::uint64_t resolve_cached = 0x20;
  constexpr std::uint64_t local = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP;
  if (!lookups_in_place.load(std::memory_order_relaxed)) return false;
  const bool follow = (flags & AT_SYMLINK_NOFOLLOW) == 0;
  const unsigned how_to_open = O_PATH | O_CLOEXEC | (follow ? 0U : O_NOFOLLOW);
  const caio::OpenHow how{.flags = how_to_open, .resolve = resolve_cached};
  const caio::detail::UniqueFd opened(caio::system_calls.openat2(directory, name, &how));
  if (!opened) {
    found.error = errno;
    if (errno == ENOSYS || errno == EINVAL || errno == EPERM) lookups_in_place = false;
    return errno == ENOENT || errno == ENOTDIR;
  }
  struct ::statx answer;
  if (::statx(opened.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, asked_of_statx, &answer) != 0) return false;
  if ((answer.stx_attributes_mask & local) != local) return false;
  found.stat = stat_of(answer);
  return true;
}

/// Makes of what was found what the operation yields, or throws. Has no state.
template <class Answer>
struct StatCall {
  auto operator()(const std::filesystem::path& path) const {
    Found found;
    found.error = stat_at(directory, path.c_str(), flags, found.stat);
    return Answer()(what, path, found);
  }

  const char* what;
  int directory;
  int flags;
};

template <class Answer>
class StatAttempt {
 public:
  using Operation = PathOperation<StatCall<Answer>>;
  static constexpr bool touches_file = true;

  StatAttempt(const char* what, std::filesystem::path path, os::At at, int flags)
      : path_(checked_path(std::move(path))), call_{what, at.directory, flags} {}

  bool at_once() noexcept {
    // There the operation itself is done in place, by one call instead of three.
    if (engine_->backend().implementation() == caio::Implementation::blocking) return false;
    return engine_->do_in_place(
        [this]() noexcept { return stat_cached(call_.directory, path_.c_str(), call_.flags, found_); });
  }
  auto result() const { return Answer()(call_.what, path_, found_); }
  void become(std::optional<Operation>& operation) { operation.emplace(engine_, call_.what, std::move(path_), call_); }

 private:
  std::shared_ptr<caio::Engine> engine_ = caio::Context::current().engine();
  std::filesystem::path path_;
  StatCall<Answer> call_;
  Found found_;
};

template <class Answer>
auto ask_stat(const char* what, std::filesystem::path path, os::At at, int flags = 0) {
  return caio::detail::Prompt(StatAttempt<Answer>(what, std::move(path), at, flags));
}

struct AnswerStat {
  os::Stat operator()(const char* what, const std::filesystem::path& path, const Found& found) const {
    if (found.error != 0) throw FileError(what, path, found.error);
    return found.stat;
  }
};

}  // namespace detail

namespace os {

/// Yields the Stat of a file; links are followed.
///
/// FileError: ENOENT, ENOTDIR, EACCES, ELOOP ... Cached metadata of a local file system is had in place, without
/// suspending, when speculation is on (openat2(2) with RESOLVE_CACHED, Linux 5.12); else by one statx(2) on the pool.
inline auto stat(std::filesystem::path path, At at = {}) {
  return detail::ask_stat<detail::AnswerStat>("stat", std::move(path), at);
}
/// The same of a link itself.
inline auto lstat(std::filesystem::path path, At at = {}) {
  return detail::ask_stat<detail::AnswerStat>("lstat", std::move(path), at, AT_SYMLINK_NOFOLLOW);
}

}  // namespace os
}  // namespace aiofile::inline CAIO_ABI
