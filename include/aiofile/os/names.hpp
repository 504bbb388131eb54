#pragma once
// Names of files, and what belongs to their inodes: renaming, removing, linking, permissions, owners, times.

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/os/at.hpp>
#include <aiofile/os/stat.hpp>
#include <aiofile/path_operation.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

/// `call(name)` is a system call that gives 0.
template <class Call>
auto call_on_path(const char* what, std::filesystem::path path, Call call) {
  return PathOperation(what, std::move(path), [what, call](const std::filesystem::path& name) {
    if (call(name.c_str()) != 0) throw FileError(what, name, errno);
  });
}

template <class Call>
auto call_on_paths(const char* what, std::filesystem::path from, std::filesystem::path to, Call call) {
  return PathOperation(what, std::move(from),
                       [what, other = checked_path(std::move(to)), call](const std::filesystem::path& name) {
                         if (call(name.c_str(), other.c_str()) != 0) throw FileError(what, name, other, errno);
                       });
}

/// What does not block is done when it is awaited, without suspending.
template <class Function>
class [[nodiscard]] AtOnce {
 public:
  explicit AtOnce(Function function) : function_(std::move(function)) {}

  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  auto await_resume() { return function_(); }

 private:
  Function function_;
};

inline std::filesystem::path working_directory(const char* what) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::current_path(error);
  if (error) throw FileError(what, "", error.value());
  return path;
}

inline std::filesystem::path link_target(const std::filesystem::path& link, int directory) {
  std::string target(256, '\0');
  for (;;) {
    const ::ssize_t length = ::readlinkat(directory, link.c_str(), target.data(), target.size());
    if (length < 0) throw FileError("readlink", link, errno);
    const auto bytes = static_cast<std::size_t>(length);
    if (bytes < target.size()) return target.substr(0, bytes);
    target.resize(2 * target.size());  // it may have been cut
  }
}

/// utimensat(2)'s words for a time that is not changed, and for one before 1970.
inline ::timespec timespec_of(const std::optional<os::Time>& time) noexcept {
  if (!time) return {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  constexpr std::chrono::seconds second(1);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(*time);
  const auto rest = time->time_since_epoch() % second;  // at min(), whole seconds do not go back into nanoseconds
  return {.tv_sec = seconds.time_since_epoch().count(), .tv_nsec = (rest.count() < 0 ? rest + second : rest).count()};
}

}  // namespace detail

namespace os {

// Unless it says otherwise, each of these yields nothing, is one system call on the pool, and throws FileError with its
// errno: ENOENT, ENOTDIR, EACCES, EPERM, EROFS, ELOOP, ENAMETOOLONG ... A path with a NUL in it is
// std::invalid_argument, thrown by the call. A call that a thread has begun is not stopped.

/// Gives a file another name; what had that name is replaced, at one stroke: somebody always finds one of them there.
/// EXDEV across file systems; EISDIR, ENOTDIR, ENOTEMPTY where a directory and something else would replace another.
/// rename(2)
inline auto rename(std::filesystem::path from, std::filesystem::path to, At from_at = {}, At to_at = {}) {
  return detail::call_on_paths("rename", std::move(from), std::move(to),
                               [from_at, to_at](const char* source, const char* target) {
                                 return ::renameat(from_at.directory, source, to_at.directory, target);
                               });
}
/// The same: on Linux, rename() replaces.
inline auto replace(std::filesystem::path from, std::filesystem::path to, At from_at = {}, At to_at = {}) {
  return detail::call_on_paths("replace", std::move(from), std::move(to),
                               [from_at, to_at](const char* source, const char* target) {
                                 return ::renameat(from_at.directory, source, to_at.directory, target);
                               });
}

/// Removes a name, and the file when that was the last and nobody has it open. A link goes, not what it leads to.
/// EISDIR for a directory. unlink(2)
inline auto remove(std::filesystem::path path, At at = {}) {
  return detail::call_on_path("remove", std::move(path),
                              [at](const char* name) { return ::unlinkat(at.directory, name, 0); });
}
/// The same.
inline auto unlink(std::filesystem::path path, At at = {}) {
  return detail::call_on_path("unlink", std::move(path),
                              [at](const char* name) { return ::unlinkat(at.directory, name, 0); });
}

/// Gives a file one more name, on the same file system. A link gets the new name itself, not what it leads to. EEXIST;
/// EPERM for directories. link(2)
inline auto link(std::filesystem::path file, std::filesystem::path name, At file_at = {}, At name_at = {}) {
  return detail::call_on_paths("link", std::move(file), std::move(name),
                               [file_at, name_at](const char* source, const char* target) {
                                 return ::linkat(file_at.directory, source, name_at.directory, target, 0);
                               });
}

/// Makes a symbolic link. `target` is stored as it is, and means something relative to the link's directory. EEXIST.
/// symlink(2)
inline auto symlink(std::filesystem::path target, std::filesystem::path link, At at = {}) {
  return detail::call_on_paths("symlink", std::move(target), std::move(link), [at](const char* text, const char* name) {
    return ::symlinkat(text, at.directory, name);
  });
}

/// Yields what a symbolic link holds (std::filesystem::path). EINVAL: it is none. readlink(2)
inline auto readlink(std::filesystem::path path, At at = {}) {
  return detail::PathOperation("readlink", std::move(path), [at](const std::filesystem::path& name) {
    return detail::link_target(name, at.directory);
  });
}

/// Yields the working directory (std::filesystem::path). In place: it asks no file system. ENOENT: it was removed.
inline auto getcwd() {
  return detail::AtOnce([] { return detail::working_directory("getcwd"); });
}
/// Yields the path made absolute, without ".", "..", and slashes too many (std::filesystem::path). As in Python it
/// looks at the words alone: behind a link, ".." leads elsewhere. In place.
inline auto abspath(std::filesystem::path path) {
  return detail::AtOnce([name = detail::checked_path(std::move(path))] {
    const std::filesystem::path whole = name.is_absolute() ? name : detail::working_directory("abspath") / name;
    std::filesystem::path normal = whole.lexically_normal();
    return normal.has_filename() || !normal.has_relative_path() ? normal : normal.parent_path();
  });
}

/// Sets the permissions, with the set-id and sticky bits; links are followed. EPERM: it is somebody else's. chmod(2)
inline auto chmod(std::filesystem::path path, std::filesystem::perms permissions, At at = {}) {
  const auto mode = static_cast<::mode_t>(permissions & std::filesystem::perms::mask);
  return detail::call_on_path("chmod", std::move(path),
                              [mode, at](const char* name) { return ::fchmodat(at.directory, name, mode, 0); });
}

/// Sets the owner, the group, or both; std::nullopt leaves one alone. Links are followed. chown(2)
inline auto chown(std::filesystem::path path, std::optional<::uid_t> user, std::optional<::gid_t> group, At at = {}) {
  return detail::call_on_path("chown", std::move(path), [user, group, at](const char* name) {
    return ::fchownat(at.directory, name, user.value_or(::uid_t(-1)), group.value_or(::gid_t(-1)), 0);
  });
}
/// The same of a link itself.
inline auto lchown(std::filesystem::path path, std::optional<::uid_t> user, std::optional<::gid_t> group, At at = {}) {
  return detail::call_on_path("lchown", std::move(path), [user, group, at](const char* name) {
    return ::fchownat(at.directory, name, user.value_or(::uid_t(-1)), group.value_or(::gid_t(-1)), AT_SYMLINK_NOFOLLOW);
  });
}

/// Sets the times of the last read and the last change of the content to now. Links are followed. utimensat(2)
inline auto utime(std::filesystem::path path, At at = {}) {
  return detail::call_on_path("utime", std::move(path),
                              [at](const char* name) { return ::utimensat(at.directory, name, nullptr, 0); });
}
/// Sets them to the nanosecond, as far as the file system keeps it; std::nullopt leaves one alone. Two of these are
/// nothing to do: not even a missing path is an error then.
inline auto utime(std::filesystem::path path, std::optional<Time> accessed, std::optional<Time> modified, At at = {}) {
  const std::array times{detail::timespec_of(accessed), detail::timespec_of(modified)};
  return detail::call_on_path("utime", std::move(path), [times, at](const char* name) {
    return ::utimensat(at.directory, name, times.data(), 0);
  });
}

}  // namespace os
}  // namespace aiofile::inline CAIO_ABI
