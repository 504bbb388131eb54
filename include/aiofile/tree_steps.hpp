#pragma once
// The steps of copying a directory tree: all that copy_tree() does but the files.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <aiofile/copy_options.hpp>
#include <aiofile/copy_target.hpp>
#include <aiofile/error.hpp>
#include <aiofile/file_identity.hpp>
#include <aiofile/os/open_directory.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// All but next() block, and throw FileError with the path that failed.
class TreeSteps {
 public:
  explicit TreeSteps(const CopyTreeOptions& options) : options_(options) {}

  enum class Kind : std::uint8_t { file, directory, link };

  /// The directories around one, where links could lead back to one of them.
  struct Ancestor {
    FileIdentity directory;
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
  /// A directory whose entries are copied.
  struct Listing {
    Listing(Entry entry, bool follow_links)
        : from(std::move(entry.from)),
          to(std::move(entry.to)),
          self(std::move(entry.above)),
          directory(nullptr, {.follow_links = follow_links}) {}  // never opened again: it needs no name

    std::filesystem::path from;
    std::filesystem::path to;
    std::shared_ptr<const Ancestor> self;  // until it is opened: the directory around it
    OpenDirectory directory;
    std::size_t position = 0;  // of the next entry in the batch
    std::optional<Setting> setting;
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
      if (::stat(above.c_str(), &status) == 0 && identity_of(status) == identity_of(source)) {
        throw FileError("copy_tree", from, to, EINVAL);
      }
    }
  }

  /// Makes the directory, and begins to read the one that it is a copy of.
  void open(Listing& listing) const {
    const struct ::stat source = listing.directory.open(AT_FDCWD, listing.from.c_str(), true);
    if (!listing.directory.fd()) throw FileError("open", listing.from, listing.directory.error());
    if (options_.follow_links) {
      for (const Ancestor* above = listing.self.get(); above != nullptr; above = above->above.get()) {
        if (above->directory == identity_of(source)) {
          throw FileError("open", listing.from, ELOOP);
        }
      }
    }
    const struct ::stat made = make_directory(source, listing);
    if (options_.follow_links) {
      listing.self.reset(new Ancestor{identity_of(made), listing.self});  // the copy is no source
      listing.self.reset(new Ancestor{identity_of(source), listing.self});
    }
    read_on(listing);
  }

  /// The next entry of the batch; none: it is at its end.
  std::optional<Entry> next(Listing& listing) const {
    const DirectoryRecord* const record = listing.directory.batch()->next(listing.position);
    if (record == nullptr) return std::nullopt;
    Kind kind = Kind::file;  // so is a link to nothing that should be followed: copying it tells
    if (record->type() == std::filesystem::file_type::directory) kind = Kind::directory;
    if (record->type() == std::filesystem::file_type::symlink && !options_.follow_links) kind = Kind::link;
    return Entry{kind, listing.from / record->name(), listing.to / record->name(), listing.self};
  }

  /// The next batch.
  void read_on(Listing& listing) const {
    listing.directory.read_on({});
    listing.position = 0;
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
  static constexpr std::size_t batch = 256;  // directories that one hand-over to the pool sets

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

  const CopyTreeOptions options_;
};

}  // namespace aiofile::inline CAIO_ABI::detail
