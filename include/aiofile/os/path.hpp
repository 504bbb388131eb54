#pragma once
// Questions about paths: is there something, of what kind, how large, the same as another.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include <aiofile/os/at.hpp>
#include <aiofile/os/stat.hpp>
#include <aiofile/path_operation.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

template <std::filesystem::file_type type>
struct AnswerType {
  bool operator()(const char*, const std::filesystem::path&, const Found& found) const noexcept {
    return found.error == 0 && found.stat.type == type;
  }
};

struct AnswerExists {
  bool operator()(const char*, const std::filesystem::path&, const Found& found) const noexcept {
    return found.error == 0;
  }
};

template <auto member>
struct AnswerMember {
  auto operator()(const char* what, const std::filesystem::path& path, const Found& found) const {
    return AnswerStat()(what, path, found).*member;
  }
};

/// As it was done before statx(2) could tell: the directory above is on another device, or is the root itself.
inline bool is_mount_by_parent(const os::Stat& directory, const os::Stat& parent) noexcept {
  return directory.device != parent.device || directory.inode == parent.inode;
}

inline bool is_mount(int directory, const std::filesystem::path& path) {
  constexpr std::uint64_t mount_root = 0x2000;  // STATX_ATTR_MOUNT_ROOT, Linux 5.8
  struct ::statx found;
  if (::statx(directory, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &found) != 0) return false;
  if ((found.stx_attributes_mask & mount_root) != 0) return (found.stx_attributes & mount_root) != 0;
  os::Stat parent;
  return S_ISDIR(found.stx_mode) && stat_at(directory, (path / "..").c_str(), 0, parent) == 0 &&
         is_mount_by_parent(stat_of(found), parent);
}

}  // namespace detail

namespace os {

// All but is_mount() and access() are had as stat() is: in place or by one statx(2), same_file() by two, on the pool.

/// Yields whether there is something behind the path; false for a link to nothing. As in Python, every error is a no:
/// what must not be looked at does not exist.
inline auto exists(std::filesystem::path path, At at = {}) {
  return detail::ask_stat<detail::AnswerExists>("exists", std::move(path), at);
}
/// Yields whether it is a regular file, or a link to one. Errors are a no.
inline auto is_file(std::filesystem::path path, At at = {}) {
  return detail::ask_stat<detail::AnswerType<std::filesystem::file_type::regular>>("is_file", std::move(path), at);
}
/// Yields whether it is a directory, or a link to one. Errors are a no.
inline auto is_dir(std::filesystem::path path, At at = {}) {
  return detail::ask_stat<detail::AnswerType<std::filesystem::file_type::directory>>("is_dir", std::move(path), at);
}
/// Yields whether it is a symbolic link, even to nothing. Errors are a no.
inline auto is_link(std::filesystem::path path, At at = {}) {
  return detail::ask_stat<detail::AnswerType<std::filesystem::file_type::symlink>>("is_link", std::move(path), at,
                                                                                   AT_SYMLINK_NOFOLLOW);
}
/// Yields whether a file system is mounted there, or something is bound there; false for a link to such. Errors are a
/// no. On the pool. Before Linux 5.8 what is bound from the same file system is not seen.
inline auto is_mount(std::filesystem::path path, At at = {}) {
  return detail::PathOperation("is_mount", std::move(path), [at](const std::filesystem::path& name) {
    return detail::is_mount(at.directory, name);
  });
}

/// Yields the length in bytes (std::uint64_t). FileError as stat().
inline auto get_size(std::filesystem::path path, At at = {}) {
  return detail::ask_stat<detail::AnswerMember<&Stat::size>>("get_size", std::move(path), at);
}
/// Yields the Time when it was read last. FileError as stat().
inline auto get_atime(std::filesystem::path path, At at = {}) {
  return detail::ask_stat<detail::AnswerMember<&Stat::accessed>>("get_atime", std::move(path), at);
}
/// Yields the Time when its content was changed last. FileError as stat().
inline auto get_mtime(std::filesystem::path path, At at = {}) {
  return detail::ask_stat<detail::AnswerMember<&Stat::modified>>("get_mtime", std::move(path), at);
}
/// Yields the Time when its content or its inode was changed last. FileError as stat().
inline auto get_ctime(std::filesystem::path path, At at = {}) {
  return detail::ask_stat<detail::AnswerMember<&Stat::changed>>("get_ctime", std::move(path), at);
}

/// Yields whether both paths lead to one file; links are followed. FileError names the one that cannot be looked at.
inline auto same_file(std::filesystem::path left, std::filesystem::path right, At left_at = {}, At right_at = {}) {
  return detail::PathOperation(
      "same_file", std::move(left),
      [other = detail::checked_path(std::move(right)), left_at, right_at](const std::filesystem::path& name) {
        const Stat first = detail::StatCall<detail::AnswerStat>{"same_file", left_at.directory, 0}(name);
        const Stat second = detail::StatCall<detail::AnswerStat>{"same_file", right_at.directory, 0}(other);
        return detail::identity_of(first) == detail::identity_of(second);
      });
}

/// Yields whether the real user may do that: F_OK (it exists), or a sum of R_OK, W_OK and X_OK. Errors are a no.
/// std::invalid_argument for another mode. On the pool (faccessat(2)). Whoever opens the file next may find it changed:
/// ask by opening it where that is possible.
inline auto access(std::filesystem::path path, int mode, At at = {}) {
  if ((mode & ~(R_OK | W_OK | X_OK)) != 0) throw std::invalid_argument("aiofile::os::access: not a mode");
  return detail::PathOperation("access", std::move(path), [mode, at](const std::filesystem::path& name) {
    return ::faccessat(at.directory, name.c_str(), mode, 0) == 0;
  });
}

}  // namespace os
}  // namespace aiofile::inline CAIO_ABI
