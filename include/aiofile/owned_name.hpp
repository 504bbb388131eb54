#pragma once
// Names in a directory: new ones that nobody can guess, and one that is ours until its end removes it.

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/path_operation.hpp>
#include <caio/config.hpp>
#include <caio/detail/process.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/task.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Twelve letters and digits: 60 bits from getrandom(2).
inline std::string random_letters() {
  static constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz234567";
  std::uint64_t bits = 0;
  while (::getrandom(&bits, sizeof bits, 0) != static_cast<::ssize_t>(sizeof bits)) {
    if (errno != EINTR) throw std::system_error(errno, std::system_category(), "getrandom");
  }
  std::string text(12, ' ');
  for (char& letter : text) {
    letter = letters[bits % letters.size()];
    bits /= letters.size();
  }
  return text;
}

/// Calls `make(name)`, which gives 0 or an errno, with new names until it is something else than EEXIST; gives that.
template <class Make>
int make_new(std::string_view prefix, std::string_view suffix, Make make) {
  int error = EEXIST;
  for (int attempt = 0; attempt < 128 && error == EEXIST; ++attempt) {
    error = make(std::string(prefix) + random_letters() + std::string(suffix));
  }
  return error;
}

/// The name of a file of ours. Its end removes it, but never in a forked child, whose parent still has it.
class OwnedName {
 public:
  OwnedName() = default;
  OwnedName(const OwnedName&) = delete;
  OwnedName& operator=(const OwnedName&) = delete;
  ~OwnedName() { static_cast<void>(remove()); }

  /// The file `name`, in `directory` if that is open, is ours from now on.
  void own(caio::detail::UniqueFd directory, std::filesystem::path name) noexcept {
    directory_ = std::move(directory);
    name_ = std::move(name);
    owned_ = true;
  }
  [[nodiscard]] const std::filesystem::path& name() const noexcept { return name_; }
  /// AT_FDCWD without one.
  [[nodiscard]] int directory() const noexcept { return directory_ ? directory_.get() : AT_FDCWD; }

  /// The name is not ours any more; gives the directory.
  caio::detail::UniqueFd disown() noexcept {
    owned_ = false;
    return std::move(directory_);
  }

  /// Gives 0 or an errno. That it is gone already is no error; again: does nothing. On any thread: who comes second
  /// waits for the first.
  int remove() noexcept {
    if (caio::detail::process_generation() != generation_) return 0;
    const std::scoped_lock lock(removing_);
    if (!owned_) return 0;
    const int error = ::unlinkat(directory(), name_.c_str(), 0) == 0 || errno == ENOENT ? 0 : errno;
    disown();
    return error;
  }

 private:
  caio::detail::UniqueFd directory_;
  std::filesystem::path name_;
  std::mutex removing_;
  unsigned generation_ = caio::detail::process_generation();
  bool owned_ = false;
};

/// Removes the name on the pool; in place where the pool is not to be had (a stop was asked for, the context has
/// ended): what is ours never stays. Yields 0 or an errno.
inline caio::Task<int> remove_name(std::shared_ptr<caio::Engine> engine, std::shared_ptr<OwnedName> name) {
  try {
    co_return co_await PathOperation(std::move(engine), "remove", std::filesystem::path(),
                                     [&name](const std::filesystem::path&) { return name->remove(); });
  } catch (const FileError&) {  // it has not begun
  }
  co_return name->remove();
}

}  // namespace aiofile::inline CAIO_ABI::detail
