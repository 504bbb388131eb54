#pragma once
// The steps of copying a directory tree: what copy_tree() does on threads of the pool, all but the files.

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <aiofile/copy_options.hpp>
#include <aiofile/copy_target.hpp>
#include <aiofile/error.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// They block, and throw FileError with the path that failed.
class TreeSteps {
 public:
  explicit TreeSteps(const CopyTreeOptions& options) : options_(options) {}

  enum class Kind : std::uint8_t { file, directory, link };

  /// The directories around one, where links could lead back to one of them.
  struct Ancestor {
    ::dev_t device;
    ::ino_t inode;
    std::shared_ptr<const Ancestor> above;
  };
  struct Entry {
    Kind kind;
    std::filesystem::path from;
    std::filesystem::path to;
    std::shared_ptr<const Ancestor> above;
  };
  /// What a directory gets when all in it is done.
  struct Setting {
    std::filesystem::path path;
    ::mode_t mode;
    ::timespec times[2];
  };
  struct Close {
    void operator()(::DIR* stream) const noexcept { ::closedir(stream); }
  };
  /// A directory that is not yet read to its end.
  struct Listing {
    std::filesystem::path from;
    std::filesystem::path to;
    std::shared_ptr<const Ancestor> self;
    std::unique_ptr<::DIR, Close> stream;
    std::vector<Entry> entries;
    std::optional<Setting> setting;
    bool ended = false;
    std::exception_ptr failure;  // why there are no more entries
  };

  /// A copy into the directory itself would have no end.
  static void check(const std::filesystem::path& from, const std::filesystem::path& to) {
    const struct ::stat source = status_of(from);
    if (!S_ISDIR(source.st_mode)) throw FileError("copy_tree", from, ENOTDIR);
    std::error_code failure;
    std::filesystem::path above = std::filesystem::absolute(to, failure);
    if (!failure) above = std::filesystem::weakly_canonical(above, failure);
    if (failure) throw FileError("copy_tree", to, failure.value());
    for (bool top = false; !top; above = above.parent_path()) {
      top = above == above.root_path();
      struct ::stat status;
      if (::stat(above.c_str(), &status) == 0 && same_file(status, source)) {
        throw FileError("copy_tree", from, to, EINVAL);
      }
    }
  }

  /// Makes the directory, and begins to read the one that it is a copy of.
  void open_directory(const Entry& entry, Listing& listing) const {
    listing.from = entry.from;
    listing.to = entry.to;
    listing.stream.reset(::opendir(entry.from.c_str()));
    struct ::stat source;
    if (!listing.stream || ::fstat(::dirfd(listing.stream.get()), &source) != 0) fail_with_errno("open", entry.from);
    if (options_.follow_links) {
      for (const Ancestor* above = entry.above.get(); above != nullptr; above = above->above.get()) {
        if (above->device == source.st_dev && above->inode == source.st_ino) throw FileError("open", entry.from, ELOOP);
      }
    }
    const struct ::stat made = make_directory(source, listing);
    if (options_.follow_links) {
      listing.self.reset(new Ancestor{made.st_dev, made.st_ino, entry.above});  // the copy is no source
      listing.self.reset(new Ancestor{source.st_dev, source.st_ino, listing.self});
    }
    read_batch(listing);
  }

  /// Of the last ones, which are below the others: a directory may lose its x, and it gets its times when nothing is
  /// done in it any more.
  void apply(std::vector<Setting>& settings) const {
    for (std::size_t i = 0; i < batch && !settings.empty(); ++i) {
      const Setting setting = std::move(settings.back());
      settings.pop_back();
      if (::chmod(setting.path.c_str(), setting.mode) != 0) fail_with_errno("chmod", setting.path);
      if (options_.files.preserve_times && ::utimensat(AT_FDCWD, setting.path.c_str(), setting.times, 0) != 0) {
        fail_with_errno("utimensat", setting.path);
      }
    }
  }

  /// Adds entries, up to the end of the directory or a number of them.
  void read_batch(Listing& listing) const {
    while (listing.entries.size() < batch) {
      errno = 0;
      const ::dirent* const found = ::readdir(listing.stream.get());
      if (found == nullptr) {
        if (errno != 0) listing.failure = std::make_exception_ptr(FileError("readdir", listing.from, errno));
        listing.ended = true;
        return;
      }
      const std::string_view name = found->d_name;
      if (name == "." || name == "..") continue;
      listing.entries.push_back({kind_of(listing, *found), listing.from / name, listing.to / name, listing.self});
    }
  }

  void copy_link(const Entry& entry) const {
    std::error_code failure;
    const std::filesystem::path target = std::filesystem::read_symlink(entry.from, failure);
    if (failure) throw FileError("readlink", entry.from, failure.value());
    int made = ::symlink(target.c_str(), entry.to.c_str());
    if (made != 0 && errno == EEXIST && options_.files.overwrite) {
      if (::unlink(entry.to.c_str()) != 0) fail_with_errno("unlink", entry.to);
      made = ::symlink(target.c_str(), entry.to.c_str());
    }
    if (made != 0) fail_with_errno("symlink", entry.to);
    if (!options_.files.preserve_times) return;
    struct ::stat source;
    if (::lstat(entry.from.c_str(), &source) != 0) fail_with_errno("stat", entry.from);
    const ::timespec times[2] = {source.st_atim, source.st_mtim};
    if (::utimensat(AT_FDCWD, entry.to.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      fail_with_errno("utimensat", entry.to);
  }

 private:
  static constexpr std::size_t batch = 256;  // entries of one hand-over to the pool

  static struct ::stat status_of(const std::filesystem::path& path) {
    struct ::stat status;
    if (::stat(path.c_str(), &status) != 0) fail_with_errno("stat", path);
    return status;
  }

  struct ::stat make_directory(const struct ::stat& source, Listing& listing) const {
    const bool made = ::mkdir(listing.to.c_str(), (source.st_mode & 0777) | 0700) == 0;
    if (!made && (errno != EEXIST || !options_.directories_exist)) fail_with_errno("mkdir", listing.to);
    const struct ::stat status = status_of(listing.to);
    if (!S_ISDIR(status.st_mode)) throw FileError("mkdir", listing.to, ENOTDIR);
    const ::mode_t before = status.st_mode & 07777;
    ::mode_t mode = before;
    if (options_.files.preserve_permissions) {
      mode = (before & 06000) | (source.st_mode & 01777);
    } else if (made) {
      mode &= ~(~source.st_mode & 0700);  // that was only for us, to work there
    }
    if (mode != before || options_.files.preserve_times) {
      listing.setting.emplace(Setting{listing.to, mode, {source.st_atim, source.st_mtim}});
    }
    return status;
  }

  [[nodiscard]] Kind kind_of(const Listing& listing, const ::dirent& entry) const noexcept {
    unsigned char type = entry.d_type;
    if (type == DT_UNKNOWN || (type == DT_LNK && options_.follow_links)) {
      struct ::stat status;
      const int flags = options_.follow_links ? 0 : AT_SYMLINK_NOFOLLOW;
      // What cannot be asked, such as a link to nothing, is a file: copying it tells.
      const bool known = ::fstatat(::dirfd(listing.stream.get()), entry.d_name, &status, flags) == 0;
      type = DT_REG;
      if (known) type = static_cast<unsigned char>(IFTODT(status.st_mode));
    }
    return type == DT_DIR ? Kind::directory : type == DT_LNK ? Kind::link : Kind::file;
  }

  const CopyTreeOptions options_;
};

}  // namespace aiofile::inline CAIO_ABI::detail
