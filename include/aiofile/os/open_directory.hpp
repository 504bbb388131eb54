#pragma once
// One directory as the kernel hands out its entries: a batch for each hand-over to the pool.

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <aiofile/file_identity.hpp>
#include <aiofile/os/stat.hpp>
#include <caio/config.hpp>
#include <caio/detail/unique_fd.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// The calls that read directories, and say how long that takes; like caio::SystemCalls, a test can replace them.
struct DirectoryCalls {
  int (*openat)(int, const char*, int) = [](int at, const char* path, int flags) { return ::openat(at, path, flags); };
  ::ssize_t (*getdents)(int, void*, std::size_t) = ::getdents64;
  std::chrono::steady_clock::time_point (*now)() = std::chrono::steady_clock::now;
};

inline constinit DirectoryCalls directory_calls{};

/// A directory's place in the tree that is read. Nobody holds whole paths: they would grow with the depth's square.
struct DirectoryName {
  std::shared_ptr<DirectoryName> parent;
  std::string name;
  unsigned depth;  ///< of its entries

  DirectoryName(std::shared_ptr<DirectoryName> above, std::string_view text)
      : parent(std::move(above)), name(text), depth(parent ? parent->depth + 1 : 0) {}
  DirectoryName(const DirectoryName&) = delete;
  DirectoryName& operator=(const DirectoryName&) = delete;
  ~DirectoryName() {
    // One after the other: recursion would need a stack as deep as the tree.
    while (parent && parent.use_count() == 1) parent = std::exchange(parent->parent, nullptr);
  }

  /// The path of `entry` in it, relative to `base` if that is one of those above.
  [[nodiscard]] std::string path_of(std::string_view entry, const DirectoryName* base = nullptr) const {
    std::size_t length = entry.size();
    for (const DirectoryName* each = this; each != base; each = each->parent.get()) length += each->length();
    std::string path(length, '/');
    std::size_t place = length - entry.size();
    entry.copy(path.data() + place, entry.size());
    for (const DirectoryName* each = this; each != base; each = each->parent.get()) {
      place -= each->length();
      each->name.copy(path.data() + place, each->name.size());
    }
    return path;
  }

 private:
  /// With the separator that follows.
  [[nodiscard]] std::size_t length() const noexcept { return name.size() + (name.ends_with('/') ? 0 : 1); }
};

/// An entry as getdents64(2) lays it out: a name of any length follows.
class DirectoryRecord {
 public:
  static constexpr unsigned linked = 0x10;   ///< a mark: reached through a symbolic link
  static constexpr unsigned gone = 0x20;     ///< vanished before it could be looked at
  static constexpr unsigned skipped = 0x40;  ///< a directory that is not to be entered

  std::uint64_t inode;
  std::int64_t offset;  ///< where its directory goes on; once it was looked at: its number in the batch
  std::uint16_t size;
  std::uint8_t bits;  ///< DT_*; once it was looked at: a std::filesystem::file_type, and marks

  [[nodiscard]] const char* name() const noexcept { return reinterpret_cast<const char*>(this) + name_offset; }
  [[nodiscard]] bool is_itself() const noexcept {
    const char* const text = name();
    return text[0] == '.' && (text[1] == '\0' || (text[1] == '.' && text[2] == '\0'));
  }
  [[nodiscard]] std::filesystem::file_type type() const noexcept {
    return static_cast<std::filesystem::file_type>(bits & 0x0fU);
  }
  [[nodiscard]] bool is(unsigned mark) const noexcept { return (bits & mark) != 0; }
  void set(unsigned mark) noexcept { bits = static_cast<std::uint8_t>(bits | mark); }
  void set_type(std::filesystem::file_type type) noexcept {
    bits = static_cast<std::uint8_t>((bits & ~0x0fU) | static_cast<unsigned>(type));
  }

 private:
  static constexpr std::size_t name_offset = offsetof(::dirent64, d_name);
};
static_assert(offsetof(::dirent64, d_type) == offsetof(DirectoryRecord, bits));
static_assert(static_cast<unsigned>(std::filesystem::file_type::unknown) <= 0x0fU);

/// What one hand-over has read. The entries that are given out share it.
struct DirectoryBatch {
  struct Details {
    os::Stat stat;
    int error = 0;  ///< an errno: there is no stat
  };

  std::shared_ptr<DirectoryName> directory;
  std::unique_ptr<char[]> records;
  std::size_t size = 0;
  std::vector<Details> details;  ///< by the records' numbers, where stats were asked for

  /// The record at `position`, which moves on.
  [[nodiscard]] DirectoryRecord& at(std::size_t& position) const noexcept {
    auto* const record = reinterpret_cast<DirectoryRecord*>(records.get() + position);
    position += record->size;
    return *record;
  }
  /// The entry at `position` or behind it, likewise; nullptr at the end.
  [[nodiscard]] DirectoryRecord* next(std::size_t& position) const noexcept {
    while (position < size) {
      DirectoryRecord& record = at(position);
      if (!record.is_itself() && !record.is(DirectoryRecord::gone)) return &record;
    }
    return nullptr;
  }
};

/// A directory that is read batch by batch. What makes system calls is for a thread of the pool.
class OpenDirectory {
 public:
  struct Wanted {
    bool stat = false;          ///< of each entry
    bool follow_links = false;  ///< types, stats and directories are those to which links lead
    bool enter = false;         ///< its directories are to be opened, too
    bool keep = true;           ///< the descriptor, as long as there is use for it
  };
  /// The directory where a tree begins.
  struct Base {
    int fd;
    const DirectoryName* name;
  };
  using SharedFd = std::shared_ptr<const caio::detail::UniqueFd>;

  OpenDirectory(std::shared_ptr<DirectoryName> name, Wanted wanted) : name_(std::move(name)), wanted_(wanted) {}

  /// Opens it. Gives its own status; fails without fd().
  struct ::stat open(int at, const char* path, bool follow) {
    struct ::stat status {};
    fd_ = open_at(at, path, O_RDONLY | (follow ? 0 : O_NOFOLLOW));
    if (!fd_ || ::fstat(fd_->get(), &status) != 0) fail(errno);
    identity_ = identity_of(status);
    return status;
  }

  /// The same, and makes the first batch.
  void open_and_read(int at, const char* path, bool follow) {
    open(at, path, follow);
    if (fd_) read();
  }

  /// Makes the next batch.
  void read_on(const Base& base) {
    batch_.reset();
    if (!fd_) {
      fd_ = reopen(base, O_RDONLY);
      // Such an offset outlives its descriptor where directories can be exported by NFS: all but on odd file systems.
      if (!fd_ || ::lseek(fd_->get(), offset_, SEEK_SET) < 0) return fail(errno);
    }
    read();
  }

  /// Opens it again, by the names below `base`. nullptr: errno says why.
  [[nodiscard]] SharedFd reopen(const Base& base, int flags) const {
    std::string path = name_->path_of(".", base.name);
    SharedFd above;
    int at = base.fd;
    std::size_t begin = 0;
    while (path.size() - begin >= PATH_MAX) {
      const std::size_t end = path.rfind('/', begin + PATH_MAX - 2);
      path[end] = '\0';
      above = open_at(at, path.data() + begin, O_PATH);
      if (!above) return nullptr;
      at = above->get();
      begin = end + 1;
    }
    SharedFd fd = open_at(at, path.data() + begin, flags);
    struct ::stat status {};
    if (fd && (::fstat(fd->get(), &status) != 0 || identity_of(status) != identity_)) {
      errno = ENOENT;  // what it was is no more there
      return nullptr;
    }
    return fd;
  }

  /// Ends it.
  void fail(int error) noexcept {
    error_ = error;
    ended_ = true;
    fd_.reset();
  }
  /// Its directories have been opened.
  void release() noexcept { fd_.reset(); }

  /// nullptr: not kept, or needed no more.
  [[nodiscard]] const SharedFd& fd() const noexcept { return fd_; }
  [[nodiscard]] const std::shared_ptr<DirectoryName>& name() const noexcept { return name_; }
  /// nullptr: it was not read, or could not be.
  [[nodiscard]] const std::shared_ptr<DirectoryBatch>& batch() const noexcept { return batch_; }
  /// There is no further batch.
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  /// The errno with which it ended too early, or 0.
  [[nodiscard]] int error() const noexcept { return error_; }
  [[nodiscard]] bool same(const OpenDirectory& other) const noexcept { return identity_ == other.identity_; }

 private:
  static constexpr std::size_t longest_record = 1024;  // names have 255 bytes, on some file systems more

  static SharedFd open_at(int at, const char* path, int flags) {
    caio::detail::UniqueFd fd(directory_calls.openat(at, path, flags | O_DIRECTORY | O_CLOEXEC));
    return fd ? std::make_shared<const caio::detail::UniqueFd>(std::move(fd)) : nullptr;
  }

  void read() {
    alignas(DirectoryRecord) char buffer[64 * 1024];
    // A stat takes longer than a name: so hand-overs take about the same time.
    const std::size_t most = wanted_.stat ? 8 * 1024 : sizeof buffer;
    auto batch = std::make_shared<DirectoryBatch>();
    while (!ended_ && most - batch->size >= longest_record) {
      const ::ssize_t count = directory_calls.getdents(fd_->get(), buffer + batch->size, most - batch->size);
      ended_ = count <= 0;
      if (count < 0 && errno != ENOENT) error_ = errno;  // ENOENT: it was removed
      if (count > 0) batch->size += static_cast<std::size_t>(count);
    }
    batch->directory = name_;
    batch->records = std::make_unique_for_overwrite<char[]>(batch->size);
    std::memcpy(batch->records.get(), buffer, batch->size);
    const bool has_directories = look_at(*batch);
    batch_ = std::move(batch);
    if (!wanted_.keep || (ended_ && !(has_directories && wanted_.enter))) fd_.reset();
  }

  /// Finds out what getdents does not tell. True: there are directories.
  bool look_at(DirectoryBatch& batch) {
    bool has_directories = false;
    std::int64_t number = 0;
    for (std::size_t position = 0; position < batch.size;) {
      DirectoryRecord& record = batch.at(position);
      offset_ = record.offset;
      record.bits = static_cast<std::uint8_t>(type_of(DTTOIF(record.bits & 0x0fU)));
      if (record.is_itself()) continue;
      record.offset = number++;
      if (wanted_.stat || record.type() == std::filesystem::file_type::unknown ||
          (wanted_.follow_links && record.type() == std::filesystem::file_type::symlink)) {
        look_at(batch, record);
      }
      has_directories = has_directories || record.type() == std::filesystem::file_type::directory;
    }
    return has_directories;
  }

  void look_at(DirectoryBatch& batch, DirectoryRecord& record) {
    DirectoryBatch::Details details;
    if (wanted_.stat || record.type() == std::filesystem::file_type::unknown) {
      details.error = stat_at(fd_->get(), record.name(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, details.stat);
      if (details.error == 0) record.set_type(details.stat.type);
      if (details.error == ENOENT) record.set(DirectoryRecord::gone);
    }
    if (wanted_.follow_links && record.type() == std::filesystem::file_type::symlink) {
      os::Stat target;  // of a broken link there is none: it stays a link
      if (stat_at(fd_->get(), record.name(), AT_NO_AUTOMOUNT, target) == 0) {
        details = {target, 0};
        record.set_type(target.type);
        record.set(DirectoryRecord::linked);
      }
    }
    if (wanted_.stat) batch.details.push_back(details);
  }

  std::shared_ptr<DirectoryName> name_;
  Wanted wanted_;
  SharedFd fd_;
  FileIdentity identity_;
  std::shared_ptr<DirectoryBatch> batch_;
  std::int64_t offset_ = 0;
  bool ended_ = false;
  int error_ = 0;
};

}  // namespace aiofile::inline CAIO_ABI::detail
