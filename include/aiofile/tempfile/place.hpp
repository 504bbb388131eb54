#pragma once
// Where a temporary file or directory is made, and under which names.

#include <fcntl.h>
#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <aiofile/error.hpp>
#include <aiofile/owned_name.hpp>
#include <caio/config.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/system.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Directories to try, best first, and the two ends of a name. Copied from the caller's views.
class Place {
 public:
  /// `directory` empty: TMPDIR (not in a set-user-ID program), /tmp, /var/tmp, the working directory.
  /// std::invalid_argument: a NUL, or a slash in a name.
  Place(std::string_view directory, std::string_view prefix, std::string_view suffix)
      : prefix_(prefix), suffix_(suffix) {
    for (const std::string_view end : {prefix, suffix}) {
      if (end.find_first_of(std::string_view("/\0", 2)) != end.npos) {
        throw std::invalid_argument("aiofile::tempfile: a slash or NUL in a prefix or suffix");
      }
    }
    if (directory.find('\0') != directory.npos) throw std::invalid_argument("aiofile::tempfile: a path with a NUL");
    if (!directory.empty()) {
      directories_.emplace_back(directory);
      return;
    }
    // Here, and not on the pool: another thread's setenv() would race with it.
    const char* const wanted = ::secure_getenv("TMPDIR");
    if (wanted != nullptr && *wanted != '\0') directories_.emplace_back(wanted);
    directories_.insert(directories_.end(), {"/tmp", "/var/tmp", "."});
  }

  /// The directory that is tried first.
  [[nodiscard]] const std::filesystem::path& first() const noexcept { return directories_.front(); }

  /// Calls `attempt(directory)`, which gives 0 or an errno, for one directory after the other until it succeeds. None:
  /// FileError of the first. The directories are absolute, so that names last when the working directory changes.
  template <class Attempt>
  void in_first_usable(const char* what, Attempt attempt) const {
    int first_error = 0;
    for (const std::filesystem::path& directory : directories_) {
      std::error_code gone;  // the working directory
      const std::filesystem::path absolute =
          directory == "." ? std::filesystem::current_path(gone) : std::filesystem::absolute(directory, gone);
      const int error = gone ? gone.value() : attempt(absolute);
      if (error == 0) return;
      if (first_error == 0) first_error = error;
    }
    throw FileError(what, first(), first_error);
  }

  /// Calls `make(path)`, which gives 0 or an errno, with new paths in `directory` until it is not EEXIST; gives that.
  template <class Make>
  int make_new_in(const std::filesystem::path& directory, Make make) const {
    return make_new(prefix_, suffix_, [&](const std::string& name) { return make(directory / name); });
  }

 private:
  std::vector<std::filesystem::path> directories_;
  std::string prefix_;
  std::string suffix_;
};

/// Opens a new file for reading and writing by its owner alone. Gives 0 or an errno.
inline int open_new(const std::filesystem::path& path, int flags, caio::detail::UniqueFd& fd) noexcept {
  fd = caio::detail::UniqueFd(
      caio::system_calls.open(path.c_str(), flags | O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  return fd ? 0 : errno;
}

/// Opens a file without a name. `flags`: beside what is needed. Allowed on any thread.
inline caio::detail::UniqueFd open_unnamed(const Place& place, const char* what, int flags) {
  caio::detail::UniqueFd fd;
  place.in_first_usable(what, [&](const std::filesystem::path& directory) {
    // O_EXCL: nobody can give it a name later (open(2)).
    fd = caio::detail::UniqueFd(
        caio::system_calls.open(directory.c_str(), flags | O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
    if (fd) return 0;
    // File systems without O_TMPFILE say EOPNOTSUPP; kernels from before 3.11 EISDIR or ENOENT.
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT) return errno;
    return place.make_new_in(directory, [&](const std::filesystem::path& path) {
      const int error = open_new(path, flags, fd);
      if (error == 0) ::unlink(path.c_str());
      return error;
    });
  });
  return fd;
}

}  // namespace aiofile::inline CAIO_ABI::detail
