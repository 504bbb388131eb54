#pragma once
// Making and removing directories.

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/os/at.hpp>
#include <aiofile/os/names.hpp>
#include <aiofile/os/stat.hpp>
#include <aiofile/path_operation.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

/// How much of a path names the directory above it, without slashes at the end; 0: none is named, or the root.
inline std::size_t parent_length(std::string_view path) noexcept {
  const auto trimmed = [](std::string_view text) { return text.substr(0, text.find_last_not_of('/') + 1); };
  path = trimmed(path);
  return trimmed(path.substr(0, path.rfind('/') + 1)).size();
}

/// Removes the directories above, from the lowest on, as long as they are empty.
inline void prune_above(int directory, std::string path) noexcept {
  for (std::size_t length = parent_length(path); length > 0; length = parent_length(path)) {
    path.resize(length);
    if (::unlinkat(directory, path.c_str(), AT_REMOVEDIR) != 0) return;
  }
}

/// Gives an errno, or 0.
inline int make_directories(int directory, std::string path, bool exist_ok, ::mode_t mode) {
  while (path.size() > 1 && (path.ends_with('/') || path.ends_with("/."))) path.pop_back();
  const auto make = [&](std::size_t length) {
    const bool last = length == path.size();
    const int status = ::mkdirat(directory, last ? path.c_str() : path.substr(0, length).c_str(), last ? mode : 0777);
    return status == 0 ? 0 : errno;
  };
  std::size_t length = path.size();
  int error = make(length);
  while (error == ENOENT) {
    length = parent_length(std::string_view(path).substr(0, length));
    if (length == 0) return ENOENT;
    error = make(length);
  }
  while (length < path.size() && (error == 0 || error == EEXIST)) {
    length = path.find('/', path.find_first_not_of('/', length));
    if (length == std::string::npos) length = path.size();
    error = make(length);
  }
  os::Stat there;
  const bool fine = error != 0 && exist_ok && stat_at(directory, path.c_str(), 0, there) == 0 &&
                    there.type == std::filesystem::file_type::directory;
  return fine ? 0 : error;
}

}  // namespace detail

namespace os {

/// Makes a directory; the process's umask takes from the permissions. EEXIST. mkdir(2) on the pool.
inline auto mkdir(std::filesystem::path path, std::filesystem::perms permissions = std::filesystem::perms::all,
                  At at = {}) {
  const auto mode = static_cast<::mode_t>(permissions & std::filesystem::perms::mask);
  return detail::call_on_path("mkdir", std::move(path),
                              [mode, at](const char* name) { return ::mkdirat(at.directory, name, mode); });
}

/// Makes a directory, and those above it that are missing, with the default permissions. What others make meanwhile is
/// taken as it is. `exist_ok`: a directory that is there already will do; else EEXIST. After an error some of those
/// above may have been made. mkdir(2), as often as needed, in one hand-over to the pool.
inline auto makedirs(std::filesystem::path path, bool exist_ok = false,
                     std::filesystem::perms permissions = std::filesystem::perms::all, At at = {}) {
  const auto mode = static_cast<::mode_t>(permissions & std::filesystem::perms::mask);
  return detail::PathOperation("makedirs", std::move(path), [exist_ok, mode, at](const std::filesystem::path& name) {
    const int error = detail::make_directories(at.directory, name.native(), exist_ok, mode);
    if (error != 0) throw FileError("makedirs", name, error);
  });
}

/// Removes an empty directory. ENOTEMPTY, ENOTDIR, EBUSY. rmdir(2) on the pool.
inline auto rmdir(std::filesystem::path path, At at = {}) {
  return detail::call_on_path("rmdir", std::move(path),
                              [at](const char* name) { return ::unlinkat(at.directory, name, AT_REMOVEDIR); });
}

/// Removes an empty directory, then those that the path names above it, until one is not to be removed, which is no
/// error. FileError only for the first, as rmdir(). One hand-over to the pool.
inline auto removedirs(std::filesystem::path path, At at = {}) {
  return detail::PathOperation("removedirs", std::move(path), [at](const std::filesystem::path& name) {
    if (::unlinkat(at.directory, name.c_str(), AT_REMOVEDIR) != 0) throw FileError("removedirs", name, errno);
    detail::prune_above(at.directory, name.native());
  });
}

/// As rename(), but makes the directories above the new name, and then removes those above the old one as removedirs()
/// does. When the renaming fails, what was made stays. One hand-over to the pool.
inline auto renames(std::filesystem::path from, std::filesystem::path to, At from_at = {}, At to_at = {}) {
  return detail::PathOperation(
      "renames", std::move(from),
      [target = detail::checked_path(std::move(to)), from_at, to_at](const std::filesystem::path& source) {
        const std::string above = target.native().substr(0, detail::parent_length(target.native()));
        const int error = above.empty() ? 0 : detail::make_directories(to_at.directory, above, true, 0777);
        if (error != 0) throw FileError("renames", source, target, error);
        if (::renameat(from_at.directory, source.c_str(), to_at.directory, target.c_str()) != 0) {
          throw FileError("renames", source, target, errno);
        }
        detail::prune_above(from_at.directory, source.native());
      });
}

}  // namespace os
}  // namespace aiofile::inline CAIO_ABI
