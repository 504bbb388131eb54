#pragma once
// TemporaryDirectory: a directory that is removed with what is in it.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <exception>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/file_identity.hpp>
#include <aiofile/os/stat.hpp>
#include <aiofile/path_operation.hpp>
#include <aiofile/tempfile/place.hpp>
#include <aiofile/tempfile/remove_tree.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/detail/process.hpp>
#include <caio/task.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

/// A directory of ours. Its end removes it, unless that has been tried, but never in a forked child.
class OwnedTree {
 public:
  explicit OwnedTree(bool ignore) noexcept : ignore_errors(ignore) {}
  OwnedTree(const OwnedTree&) = delete;
  OwnedTree& operator=(const OwnedTree&) = delete;
  ~OwnedTree() {
    if (!owned || caio::detail::process_generation() != generation_) return;
    try {
      TreeRemoval(path, identity).work(std::chrono::steady_clock::time_point::max());
    } catch (const std::exception&) {  // a destructor has nobody to tell
    }
  }

  /// Makes it. Gives 0 or an errno.
  int make(std::filesystem::path name) noexcept {
    if (::mkdir(name.c_str(), S_IRWXU) != 0) return errno;
    os::Stat status;
    const int error = stat_at(AT_FDCWD, name.c_str(), AT_SYMLINK_NOFOLLOW, status);
    if (error != 0) {
      ::rmdir(name.c_str());
      return error;
    }
    identity = identity_of(status);
    path = std::move(name);
    owned = true;
    return 0;
  }

  const bool ignore_errors;
  std::shared_ptr<caio::Engine> engine;
  std::filesystem::path path;
  FileIdentity identity;
  bool owned = false;
  bool removed = false;

 private:
  unsigned generation_ = caio::detail::process_generation();
};

inline caio::Task<> remove_owned_tree(std::shared_ptr<OwnedTree> tree) {
  if (tree->removed) co_return;
  TreeRemoval removal(tree->path, tree->identity);
  const auto work = [&removal](const std::filesystem::path&) {
    return removal.work(std::chrono::steady_clock::now() + std::chrono::milliseconds(2));
  };
  for (bool ended = false; !ended;) ended = co_await PathOperation(tree->engine, "remove", tree->path, work);
  tree->owned = false;
  tree->removed = removal.error() == 0;
  if (!tree->removed && !tree->ignore_errors) throw FileError("remove", removal.failed(), removal.error());
}

}  // namespace detail

namespace tempfile {

/// The views are copied by the call.
struct TemporaryDirectoryOptions {
  std::string_view suffix = "";        ///< names end with it
  std::string_view prefix = "tmp";     ///< and begin with this
  std::string_view dir = "";           ///< empty: TMPDIR, else /tmp, /var/tmp or the working directory
  bool ignore_cleanup_errors = false;  ///< close() removes what it can, and is content
  caio::Context* context = nullptr;    ///< nullptr: Context::current() when it starts
};

/// A directory that goes with all that is in it: by close(), or by the destructor, in place, which takes as long as it
/// takes and can report nothing. Move-only. Links are removed, never followed; directories without permissions for
/// their owner are given them; nothing is done in what is mounted or bound inside (before Linux 5.8, what is bound from
/// the same file system is not told apart). A forked child's copy removes nothing.
class TemporaryTree {
 public:
  explicit TemporaryTree(std::shared_ptr<detail::OwnedTree> tree) noexcept : tree_(std::move(tree)) {}
  TemporaryTree(TemporaryTree&&) = default;
  TemporaryTree& operator=(TemporaryTree&&) = default;

  /// An absolute path.
  [[nodiscard]] const std::filesystem::path& name() const noexcept { return tree_->path; }
  [[nodiscard]] std::filesystem::path operator/(const std::filesystem::path& file) const { return tree_->path / file; }
  /// Whether close() has removed it.
  [[nodiscard]] bool closed() const noexcept { return tree_->removed; }

  /// Removes it on the pool, a few ms at a time. What cannot be removed stays with the directories around it, the rest
  /// goes; then FileError of the first failure: EPERM, EXDEV or EBUSY for what is mounted inside ... Again: tries again
  /// what is left. Stopped or destroyed halfway, the rest is the destructor's. That it is gone already is no error.
  [[nodiscard]] caio::Task<> close() { return detail::remove_owned_tree(tree_); }

 private:
  std::shared_ptr<detail::OwnedTree> tree_;
};

}  // namespace tempfile

namespace detail {

inline caio::Task<tempfile::TemporaryTree> make_temporary_directory(Place place, bool ignore_errors,
                                                                    caio::Context* context) {
  auto tree = std::make_shared<OwnedTree>(ignore_errors);
  tree->engine = engine_of(context);
  const auto make = [&place, &tree](const std::filesystem::path&) {
    place.in_first_usable("TemporaryDirectory", [&](const std::filesystem::path& directory) {
      return place.make_new_in(directory, [&](std::filesystem::path path) { return tree->make(std::move(path)); });
    });
  };
  co_await PathOperation(tree->engine, "TemporaryDirectory", place.first(), make);
  co_return tempfile::TemporaryTree(std::move(tree));
}

}  // namespace detail

namespace tempfile {

/// Yields a TemporaryTree: a new, empty directory, named as NamedTemporaryFile() names files, with permissions 0700.
///
/// One hand-over to the pool. FileError when no directory can be used: of the one that was tried first.
/// std::invalid_argument, from the call: a prefix or suffix with a slash in it.
[[nodiscard]] inline caio::Task<TemporaryTree> TemporaryDirectory(const TemporaryDirectoryOptions& options = {}) {
  return detail::make_temporary_directory(detail::Place(options.dir, options.prefix, options.suffix),
                                          options.ignore_cleanup_errors, options.context);
}

}  // namespace tempfile

}  // namespace aiofile::inline CAIO_ABI
