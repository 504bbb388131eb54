#pragma once
// Files that exist only in a test: what they contain, what of it would survive a power cut, how full the disk is.

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <caio/config.hpp>

namespace caio::inline CAIO_ABI::testing {

/// A set of files by name; a name is any string, and there are no directories. Every function may be called from any
/// thread. It outlives the MemoryBackends that use it.
class MemoryFiles {
 public:
  /// Makes a file, or replaces its content; durable at once.
  void write(const std::string& name, std::string content) {
    const std::lock_guard lock(mutex_);
    auto file = std::make_shared<File>();
    file->content = file->durable = std::move(content);
    file->named = true;
    used_ += file->content.size() - size_of(name);
    names_[name] = std::move(file);
  }
  /// std::out_of_range when there is no such file.
  [[nodiscard]] std::string content(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    return names_.at(name)->content;
  }
  [[nodiscard]] bool contains(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    return names_.contains(name);
  }
  [[nodiscard]] std::vector<std::string> names() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> list;
    for (const auto& [name, file] : names_) list.push_back(name);
    return list;
  }
  /// Who has it open keeps it.
  void remove(const std::string& name) {
    const std::lock_guard lock(mutex_);
    used_ -= size_of(name);
    names_.erase(name);
  }

  /// Bytes that all files together may have; a write beyond stops short, and then fails with ENOSPC.
  void set_capacity(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    capacity_ = bytes;
  }

  /// How many are open: 0 when everything was closed.
  [[nodiscard]] std::size_t open_count() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(handles_.begin(), handles_.end(), [](const auto& handle) { return handle.has_value(); }));
  }
  /// Calls of fsync and fdatasync that succeeded.
  [[nodiscard]] std::uint64_t syncs() const {
    const std::lock_guard lock(mutex_);
    return syncs_;
  }

  /// A power cut: every file is what it was when it was last synced, and one that never was is gone. Those who have
  /// files open go on with what nobody else sees.
  void cut_power() {
    cut([](std::mt19937_64*) { return false; }, nullptr);
  }
  /// The same, but the disk had written some of the rest by itself: of what was changed since, each change is there or
  /// not, and a write perhaps in part (by 512 bytes). The same for the same seed.
  void cut_power(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    cut([](std::mt19937_64* dice) { return (*dice)() % 2 == 0; }, &random);
  }

 private:
  friend class MemoryBackend;

  struct Change {
    std::uint64_t offset;
    std::optional<std::string> bytes;  // none: the length became `offset`
  };
  struct File {
    std::string content;
    std::string durable;
    std::vector<Change> unsynced;
    bool named = false;  // its name survives a power cut
  };
  struct Handle {
    std::shared_ptr<File> file;
    int flags = 0;
    std::uint64_t position = 0;
  };

  static constexpr std::size_t sector = 512;

  // ---- what the backend does; all of it under the lock, results as the kernel's: a value or a negative errno
  // ---------

  std::int64_t open(const std::string& name, int flags) {
    const auto found = names_.find(name);
    const bool creates = (flags & O_CREAT) != 0;
    if (found == names_.end() && !creates) return -ENOENT;
    if (found != names_.end() && creates && (flags & O_EXCL) != 0) return -EEXIST;
    if ((flags & O_DIRECTORY) != 0) return -ENOTDIR;
    std::shared_ptr<File>& file = found != names_.end() ? found->second : names_[name];
    if (!file) file = std::make_shared<File>();
    if ((flags & O_TRUNC) != 0) resize(*file, 0);
    const auto free = std::find_if(handles_.begin(), handles_.end(), [](const auto& handle) { return !handle; });
    const auto number = free - handles_.begin();
    if (free == handles_.end()) handles_.emplace_back();
    handles_[static_cast<std::size_t>(number)] = Handle{file, flags};
    return number;
  }

  std::int64_t close(int number) {
    if (handle(number) == nullptr) return -EBADF;
    handles_[static_cast<std::size_t>(number)].reset();
    return 0;
  }

  Handle* handle(int number) {
    const auto index = static_cast<std::size_t>(number);
    return number >= 0 && index < handles_.size() && handles_[index] ? &*handles_[index] : nullptr;
  }

  /// `offset` -1: at the handle's position, which moves.
  std::int64_t read(int number, char* buffer, std::size_t length, std::int64_t offset) {
    Handle* const from = handle(number);
    if (from == nullptr || (from->flags & O_ACCMODE) == O_WRONLY) return -EBADF;
    const std::uint64_t start = offset >= 0 ? static_cast<std::uint64_t>(offset) : from->position;
    const std::string& content = from->file->content;
    const std::size_t count = start < content.size() ? std::min<std::size_t>(length, content.size() - start) : 0;
    if (count > 0) content.copy(buffer, count, start);
    if (offset < 0) from->position += count;
    return static_cast<std::int64_t>(count);
  }

  std::int64_t write(int number, const char* buffer, std::size_t length, std::int64_t offset, bool append) {
    Handle* const to = handle(number);
    if (to == nullptr || (to->flags & O_ACCMODE) == O_RDONLY) return -EBADF;
    File& file = *to->file;
    std::uint64_t start = offset >= 0 ? static_cast<std::uint64_t>(offset) : to->position;
    if (append || (to->flags & O_APPEND) != 0) start = file.content.size();
    if (length == 0) return 0;
    if (start > file.content.max_size() - length) return -EFBIG;
    const std::uint64_t room = file.content.size() + (capacity_ - std::min(used_, capacity_));
    if (start >= room) return -ENOSPC;
    length = static_cast<std::size_t>(std::min<std::uint64_t>(length, room - start));
    const std::string_view bytes(buffer, length);
    file.unsynced.push_back({start, std::string(bytes)});
    used_ += apply(file.content, start, bytes);
    if (offset < 0) to->position = start + length;
    return static_cast<std::int64_t>(length);
  }

  std::int64_t truncate(int number, std::int64_t length) {
    Handle* const of = handle(number);
    if (of == nullptr) return -EBADF;
    if ((of->flags & O_ACCMODE) == O_RDONLY || length < 0) return -EINVAL;  // ftruncate(2)
    const auto wanted = static_cast<std::uint64_t>(length);
    if (wanted > of->file->content.max_size()) return -EFBIG;
    const std::uint64_t room = of->file->content.size() + (capacity_ - std::min(used_, capacity_));
    if (wanted > room) return -ENOSPC;
    resize(*of->file, wanted);
    return 0;
  }

  std::int64_t size(int number) {
    const Handle* const of = handle(number);
    return of == nullptr ? -EBADF : static_cast<std::int64_t>(of->file->content.size());
  }

  std::int64_t sync(int number) {
    Handle* const of = handle(number);
    if (of == nullptr) return -EBADF;
    of->file->durable = of->file->content;
    of->file->unsynced.clear();
    of->file->named = true;
    ++syncs_;
    return 0;
  }

  // ------------------------------------------------------------------------------------------------------------------

  void resize(File& file, std::uint64_t length) {
    used_ += length - file.content.size();
    file.content.resize(length);
    file.unsynced.push_back({length, std::nullopt});
  }

  /// Returns by how much it grew.
  static std::uint64_t apply(std::string& content, std::uint64_t offset, std::string_view bytes) {
    const std::size_t before = content.size();
    if (before < offset + bytes.size()) content.resize(offset + bytes.size());
    std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(offset));
    return content.size() - before;
  }

  template <class Survives>
  void cut(Survives survives, std::mt19937_64* dice) {
    const std::lock_guard lock(mutex_);
    std::map<std::string, std::shared_ptr<File>> after;
    used_ = 0;
    for (const auto& [name, file] : names_) {
      if (!file->named && !survives(dice)) continue;
      auto rest = std::make_shared<File>();
      rest->content = file->durable;
      for (const Change& change : file->unsynced) {
        if (!survives(dice)) continue;
        if (!change.bytes) {
          rest->content.resize(change.offset);
          continue;
        }
        std::string_view bytes = *change.bytes;
        const bool torn = bytes.size() > sector && survives(dice);
        if (torn) bytes = bytes.substr(0, sector * (1 + (*dice)() % ((bytes.size() - 1) / sector)));
        apply(rest->content, change.offset, bytes);
      }
      rest->durable = rest->content;
      rest->named = true;
      used_ += rest->content.size();
      after.emplace(name, std::move(rest));
    }
    names_ = std::move(after);
  }

  std::uint64_t size_of(const std::string& name) const {
    const auto found = names_.find(name);
    return found == names_.end() ? 0 : found->second->content.size();
  }

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<File>> names_;
  std::vector<std::optional<Handle>> handles_;
  std::uint64_t used_ = 0;  // by files that have a name
  std::uint64_t capacity_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t syncs_ = 0;
};

}  // namespace caio::inline CAIO_ABI::testing
