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
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <caio/config.hpp>

namespace caio::inline CAIO_ABI::testing {

/// A set of files by name; a name is any string, and there are no directories. Copies are handles of the same files,
/// which live as long as somebody uses them. Every function may be called from any thread.
class MemoryFiles {
 public:
  MemoryFiles() : state_(std::make_shared<State>()) {}

  /// Makes a file, or replaces it by another one; durable at once.
  void write(const std::string& name, std::string content) {
    auto file = std::make_shared<File>();
    file->content = file->durable = std::move(content);
    file->named = true;
    const std::lock_guard lock(state_->mutex);
    state_->names[name] = std::move(file);
  }
  /// std::out_of_range when there is no such file.
  [[nodiscard]] std::string content(const std::string& name) const {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->names.find(name);
    if (found == state_->names.end()) throw std::out_of_range("MemoryFiles: there is no " + name);
    return found->second->content;
  }
  [[nodiscard]] bool contains(const std::string& name) const {
    const std::lock_guard lock(state_->mutex);
    return state_->names.contains(name);
  }
  [[nodiscard]] std::vector<std::string> names() const {
    const std::lock_guard lock(state_->mutex);
    std::vector<std::string> list;
    for (const auto& [name, file] : state_->names) list.push_back(name);
    return list;
  }
  /// Who has it open keeps it.
  void remove(const std::string& name) {
    const std::lock_guard lock(state_->mutex);
    state_->names.erase(name);
  }

  /// Bytes that all files together may have, those that are only open included; a write beyond stops short, and then
  /// fails with ENOSPC.
  void set_capacity(std::uint64_t bytes) {
    const std::lock_guard lock(state_->mutex);
    state_->capacity = bytes;
  }

  /// How many are open: 0 when everything was closed.
  [[nodiscard]] std::size_t open_count() const {
    const std::lock_guard lock(state_->mutex);
    return static_cast<std::size_t>(std::count_if(state_->handles.begin(), state_->handles.end(),
                                                  [](const auto& handle) { return handle.has_value(); }));
  }
  /// Calls of fsync and fdatasync that succeeded.
  [[nodiscard]] std::uint64_t syncs() const {
    const std::lock_guard lock(state_->mutex);
    return state_->syncs;
  }

  /// A power cut: every file is what it was when it was last synced, and one that never was is gone. Those who have
  /// files open go on with what nobody else sees.
  void cut_power() {
    state_->cut([](std::mt19937_64*) { return false; }, nullptr);
  }
  /// The same, but the disk had written some of the rest by itself: of what was changed since, each change is there or
  /// not, and a write perhaps in part (by 512 bytes). The same for the same seed.
  void cut_power(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    state_->cut([](std::mt19937_64* dice) { return (*dice)() % 2 == 0; }, &random);
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
  static constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

  /// What the backend does, all of it under the lock; results are the kernel's: a value or a negative errno.
  struct State {
    std::int64_t open(const std::string& name, int flags) {
      const auto found = names.find(name);
      const bool creates = (flags & O_CREAT) != 0;
      if (found == names.end() && !creates) return -ENOENT;
      if (found != names.end() && creates && (flags & O_EXCL) != 0) return -EEXIST;
      if ((flags & O_DIRECTORY) != 0) return -ENOTDIR;
      std::shared_ptr<File> file = found != names.end() ? found->second : std::make_shared<File>();
      if (found == names.end()) names.emplace(name, file);
      if ((flags & O_TRUNC) != 0) resize(*file, 0);
      const auto free = std::find_if(handles.begin(), handles.end(), [](const auto& each) { return !each; });
      const auto number = free - handles.begin();
      if (free == handles.end()) handles.emplace_back();
      handles[static_cast<std::size_t>(number)] = Handle{std::move(file), flags};
      return number;
    }

    std::int64_t close(int number) {
      if (handle(number) == nullptr) return -EBADF;
      handles[static_cast<std::size_t>(number)].reset();
      return 0;
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
      const std::uint64_t room = room_for(file);
      if (start >= room) return -ENOSPC;
      length = static_cast<std::size_t>(std::min<std::uint64_t>(length, room - start));
      const std::string_view bytes(buffer, length);
      apply(file.content, start, bytes);
      file.unsynced.push_back({start, std::string(bytes)});
      if (offset < 0) to->position = start + length;
      return static_cast<std::int64_t>(length);
    }

    std::int64_t truncate(int number, std::int64_t length) {
      Handle* const of = handle(number);
      if (of == nullptr) return -EBADF;
      if ((of->flags & O_ACCMODE) == O_RDONLY || length < 0) return -EINVAL;  // ftruncate(2)
      const auto wanted = static_cast<std::uint64_t>(length);
      if (wanted > of->file->content.max_size()) return -EFBIG;
      if (wanted > room_for(*of->file)) return -ENOSPC;
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
      ++syncs;
      return 0;
    }

    template <class Survives>
    void cut(Survives survives, std::mt19937_64* dice) {
      const std::lock_guard lock(mutex);
      std::map<std::string, std::shared_ptr<File>> after;
      for (const auto& [name, file] : names) {
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
        after.emplace(name, std::move(rest));
      }
      names = std::move(after);
    }

    std::mutex mutex;
    std::map<std::string, std::shared_ptr<File>> names;
    std::vector<std::optional<Handle>> handles;
    std::uint64_t capacity = unlimited;
    std::uint64_t syncs = 0;

   private:
    Handle* handle(int number) {
      const auto index = static_cast<std::size_t>(number);
      return number >= 0 && index < handles.size() && handles[index] ? &*handles[index] : nullptr;
    }

    /// The bytes that this file may have.
    std::uint64_t room_for(const File& file) const {
      if (capacity == unlimited) return file.content.max_size();
      std::set<const File*> others;
      for (const auto& [name, each] : names) others.insert(each.get());
      for (const auto& each : handles) {
        if (each) others.insert(each->file.get());
      }
      others.erase(&file);
      std::uint64_t taken = 0;
      for (const File* const each : others) taken += each->content.size();
      return capacity - std::min(taken, capacity);
    }

    static void resize(File& file, std::uint64_t length) {
      file.content.resize(length);
      file.unsynced.push_back({length, std::nullopt});
    }

    static void apply(std::string& content, std::uint64_t offset, std::string_view bytes) {
      if (content.size() < offset + bytes.size()) content.resize(offset + bytes.size());
      std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(offset));
    }
  };

  std::shared_ptr<State> state_;
};

}  // namespace caio::inline CAIO_ABI::testing
