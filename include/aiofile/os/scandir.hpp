#pragma once
// The entries of one directory.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <aiofile/error.hpp>
#include <aiofile/os/at.hpp>
#include <aiofile/os/open_directory.hpp>
#include <aiofile/os/stat.hpp>
#include <aiofile/path_operation.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/generator.hpp>
#include <caio/task.hpp>

namespace aiofile::inline CAIO_ABI {

namespace os {

/// What a directory has: a name and what it stands for. Never "." or "..".
///
/// A handle: entries that were read together share their memory (at most 64 KiB of names, and stats), which lives as
/// long as one of them does. Who keeps few of many entries keeps name() or path() instead, as strings.
class DirectoryEntry {
 public:
  DirectoryEntry(std::shared_ptr<detail::DirectoryBatch> batch, detail::DirectoryRecord& record, int error = 0) noexcept
      : batch_(std::move(batch)), record_(&record), error_(error) {}

  /// Bytes, in whatever encoding; valid as long as this entry or a copy of it.
  [[nodiscard]] std::string_view name() const noexcept { return record_->name(); }
  /// The path that was given for the directory, and the name.
  [[nodiscard]] std::filesystem::path path() const { return batch_->directory->path_of(name()); }

  /// As the directory says, without a further system call. Where links are followed: of the link's target, but symlink
  /// for a broken link.
  [[nodiscard]] std::filesystem::file_type type() const noexcept { return record_->type(); }
  [[nodiscard]] bool is_dir() const noexcept { return type() == std::filesystem::file_type::directory; }
  [[nodiscard]] bool is_file() const noexcept { return type() == std::filesystem::file_type::regular; }
  /// The name is a symbolic link, followed or not.
  [[nodiscard]] bool is_link() const noexcept {
    return type() == std::filesystem::file_type::symlink || record_->is(detail::DirectoryRecord::linked);
  }
  /// As the directory says: of a link itself, and of a mount point the directory that is covered.
  [[nodiscard]] std::uint64_t inode() const noexcept { return record_->inode; }

  /// Where stats were asked for: when the entry was read, or of the link's target if links are followed; valid as long
  /// as this entry. nullptr: not asked for, or error() says why not.
  [[nodiscard]] const Stat* stat() const noexcept {
    const auto* const found = details();
    return found != nullptr && found->error == 0 ? &found->stat : nullptr;
  }
  /// The errno with which its stat failed, or, in a walk, the reading of this directory; 0: nothing did.
  [[nodiscard]] int error() const noexcept {
    if (error_ != 0) return error_;
    const auto* const found = details();
    return found != nullptr ? found->error : 0;
  }

 protected:
  [[nodiscard]] const detail::DirectoryBatch& batch() const noexcept { return *batch_; }
  [[nodiscard]] detail::DirectoryRecord& record() const noexcept { return *record_; }

 private:
  [[nodiscard]] const detail::DirectoryBatch::Details* details() const noexcept {
    return batch_->details.empty() ? nullptr : &batch_->details[static_cast<std::size_t>(record_->offset)];
  }

  std::shared_ptr<detail::DirectoryBatch> batch_;
  detail::DirectoryRecord* record_;
  int error_;
};

struct ScanOptions {
  bool stat = false;          ///< the Stat of each entry, too: a system call more for each, on the pool
  bool follow_links = false;  ///< types and Stats are those of what links lead to
};

}  // namespace os

namespace detail {

/// The first batch, or the next.
inline void read_directory(OpenDirectory& directory, os::At at, const std::filesystem::path& path) {
  if (directory.batch()) return directory.read_on({});
  directory.open_and_read(at.directory, path.c_str(), true);
}

inline caio::Task<std::vector<std::string>> list_directory(std::shared_ptr<caio::Engine> engine,
                                                           std::filesystem::path path, os::At at) {
  OpenDirectory directory(std::make_shared<DirectoryName>(nullptr, path.native()), {});
  std::vector<std::string> names;
  while (!directory.ended()) {
    const auto read = [&directory, &names, at](const std::filesystem::path& name) {
      read_directory(directory, at, name);
      if (!directory.batch()) return;
      std::size_t position = 0;
      while (const auto* const record = directory.batch()->next(position)) names.emplace_back(record->name());
    };
    co_await PathOperation(engine, "listdir", path, read);
  }
  if (directory.error() != 0) throw FileError("listdir", path, directory.error());
  co_return names;
}

inline caio::Generator<os::DirectoryEntry> scan_directory(std::shared_ptr<caio::Engine> engine,
                                                          std::filesystem::path path, os::ScanOptions options,
                                                          os::At at) {
  OpenDirectory directory(std::make_shared<DirectoryName>(nullptr, path.native()),
                          {.stat = options.stat, .follow_links = options.follow_links});
  while (!directory.ended()) {
    const auto read = [&directory, at](const std::filesystem::path& name) { read_directory(directory, at, name); };
    co_await PathOperation(engine, "scandir", path, read);
    if (!directory.batch()) break;
    std::size_t position = 0;
    while (DirectoryRecord* const record = directory.batch()->next(position)) {
      co_yield os::DirectoryEntry(directory.batch(), *record);
    }
  }
  if (directory.error() != 0) throw FileError("scandir", path, directory.error());
}

}  // namespace detail

namespace os {

/// Yields the names in a directory, in the directory's order: std::vector<std::string>. Hand-overs to the pool of at
/// most 64 KiB of names (openat, getdents64). Throws FileError.
[[nodiscard]] inline auto listdir(std::filesystem::path path, At at = {}) {
  return detail::list_directory(caio::Context::current().engine(), detail::checked_path(std::move(path)), at);
}

/// The entries of a directory, in the directory's order, in flat memory: a hand-over to the pool reads at most 64 KiB
/// of names, or 8 KiB where stats are asked for. An entry that vanishes before its stat is left out. next() throws
/// FileError: when the directory cannot be opened, or after the entries that could be read. `at` must be open until the
/// first next() is done.
[[nodiscard]] inline caio::Generator<DirectoryEntry> scandir(std::filesystem::path path, ScanOptions options = {},
                                                             At at = {}) {
  return detail::scan_directory(caio::Context::current().engine(), detail::checked_path(std::move(path)), options, at);
}

}  // namespace os
}  // namespace aiofile::inline CAIO_ABI
