#pragma once
// Tells when a path leads somewhere else, or the file there has changed: inotify(7).

#include <sys/inotify.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <aiofile/pool_fd.hpp>
#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/engine.hpp>
#include <caio/system.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Watches every directory that a path leads through, for the one name in it that counts, and open files.
///
/// To look: begin(), then follow() the path, open it, watch() what is open, end(). In this order nothing is missed:
/// what changes after the look is told. Looking makes system calls on paths, so it is for the pool.
class PathWatch {
 public:
  explicit PathWatch(std::shared_ptr<caio::Engine> engine)
      : inotify_(std::move(engine), caio::system_calls.inotify_init(IN_NONBLOCK | IN_CLOEXEC)),
        descriptor_(inotify_.get()) {}

  /// False: there is no inotify instance to be had (inotify_init(2): EMFILE).
  explicit operator bool() const noexcept { return static_cast<bool>(inotify_); }
  /// Gives what news() takes; wait for it without a thread.
  [[nodiscard]] const caio::Descriptor& descriptor() const noexcept { return descriptor_; }
  /// Something cannot be watched: look from time to time.
  [[nodiscard]] bool blind() const noexcept { return blind_; }

  void begin() noexcept {
    blind_ = !inotify_;
    for (Watched& each : watched_) each.wanted = false;
  }

  void follow(const std::filesystem::path& path) {
    if (!inotify_) return;
    std::error_code error;
    std::filesystem::path place = std::filesystem::absolute(path, error);
    if (error) {
      blind_ = true;
      return;
    }
    std::vector<std::filesystem::path> names;  // what is left of the way, the next one last
    prepend(names, place);
    for (int links = 0; !names.empty() && links <= most_links;) {
      const std::filesystem::path name = std::move(names.back());
      names.pop_back();
      if (name.has_root_directory()) {
        place = name;
      } else if (name == "..") {
        place = place.parent_path();  // it has no link in it
      } else if (!name.empty() && name != ".") {
        if (!watch_name(place, name)) return;
        const std::filesystem::path target = std::filesystem::read_symlink(place / name, error);
        if (error) {  // no link
          place /= name;
        } else {
          ++links;
          prepend(names, target);
        }
      }
    }
  }

  /// An open file, whatever it is called by now.
  void watch(int fd) {
    if (!inotify_) return;
    struct ::statfs status;
    const std::string name = "/proc/self/fd/" + std::to_string(fd);
    if (::fstatfs(fd, &status) != 0 || is_remote(status) || !add(name.c_str(), IN_MODIFY | IN_ATTRIB, {})) {
      blind_ = true;
    }
  }

  /// Forgets what this look has not met.
  void end() noexcept {
    const auto stale =
        std::partition(watched_.begin(), watched_.end(), [](const Watched& each) { return each.wanted; });
    for (auto each = stale; each != watched_.end(); ++each) {
      const auto same = [&](const Watched& other) { return other.number == each->number; };
      if (std::none_of(watched_.begin(), stale, same)) ::inotify_rm_watch(inotify_.get(), each->number);
    }
    watched_.erase(stale, watched_.end());
  }

  enum class News : std::uint8_t {
    none,     ///< nothing that counts
    content,  ///< a file that is watched has changed
    names,    ///< the path may lead elsewhere: look again
  };

  /// What the bytes say that a read of the descriptor has given.
  [[nodiscard]] News news(std::span<const std::byte> bytes) const noexcept {
    News news = News::none;
    ::inotify_event event;
    while (bytes.size() >= sizeof event) {
      std::memcpy(&event, bytes.data(), sizeof event);
      const auto* const name = reinterpret_cast<const char*>(bytes.data() + sizeof event);
      const std::string_view changed = event.len > 0 ? name : "";
      if ((event.mask & IN_Q_OVERFLOW) != 0) return News::names;
      for (const Watched& each : watched_) {
        if (each.number != event.wd || (event.len > 0 && each.name != changed)) continue;
        news = std::max(news, event.mask == IN_MODIFY ? News::content : News::names);
      }
      bytes = bytes.subspan(sizeof event + event.len);
    }
    return news;
  }

 private:
  struct Watched {
    int number;
    std::string name;  // in a directory; empty: a file
    bool wanted;
  };

  static constexpr int most_links = 40;  // the kernel follows no more (path_resolution(7))

  static void prepend(std::vector<std::filesystem::path>& names, const std::filesystem::path& path) {
    const auto old = static_cast<std::ptrdiff_t>(names.size());
    names.insert(names.end(), path.begin(), path.end());
    std::reverse(names.begin() + old, names.end());
  }

  /// False: there is no such directory.
  bool watch_name(const std::filesystem::path& directory, const std::filesystem::path& name) {
    constexpr std::uint32_t changes = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR;
    struct ::statfs status;
    if (::statfs(directory.c_str(), &status) == 0 && is_remote(status)) blind_ = true;
    return add(directory.c_str(), changes, name.native());
  }

  bool add(const char* path, std::uint32_t changes, const std::string& name) {
    const int number = caio::system_calls.inotify_add_watch(inotify_.get(), path, changes);
    if (number < 0) {
      const bool missing = errno == ENOENT || errno == ENOTDIR;
      blind_ = blind_ || !missing;
      return !missing;
    }
    const auto same = [&](const Watched& each) { return each.number == number && each.name == name; };
    const auto known = std::find_if(watched_.begin(), watched_.end(), same);
    if (known != watched_.end()) {
      known->wanted = true;
    } else {
      watched_.push_back({number, name, true});
    }
    return true;
  }

  /// What other machines change there, or a server behind the kernel's back, inotify does not tell (inotify(7)).
  static bool is_remote(const struct ::statfs& status) noexcept {
    constexpr std::array<std::uint32_t, 8> types{
        0x6969,      // NFS
        0x517b,      // SMB
        0xff534d42,  // CIFS
        0xfe534d42,  // SMB 2
        0x01021997,  // 9P
        0x65735546,  // FUSE
        0x00c36400,  // Ceph
        0x5346414f,  // AFS
    };
    return std::find(types.begin(), types.end(), static_cast<std::uint32_t>(status.f_type)) != types.end();
  }

  PoolFd inotify_;
  caio::Descriptor descriptor_;
  std::vector<Watched> watched_;
  bool blind_ = true;
};

}  // namespace aiofile::inline CAIO_ABI::detail
