#pragma once
// copy_tree: a directory with all that is in it.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <aiofile/copy_file.hpp>
#include <aiofile/copy_options.hpp>
#include <aiofile/error.hpp>
#include <aiofile/path_operation.hpp>
#include <aiofile/tree_steps.hpp>
#include <caio/config.hpp>
#include <caio/task.hpp>
#include <caio/task_group.hpp>

namespace aiofile::inline CAIO_ABI {

/// What copy_tree() has copied.
struct CopiedTree {
  std::uint64_t files = 0;
  std::uint64_t directories = 0;  ///< with the one at the top
  std::uint64_t links = 0;        ///< symbolic ones
  std::uint64_t bytes = 0;
};

namespace detail {

class TreeCopy {
  using Kind = TreeSteps::Kind;
  using Entry = TreeSteps::Entry;
  using Listing = TreeSteps::Listing;

 public:
  explicit TreeCopy(const CopyTreeOptions& options) : options_(options), files_(options.files), steps_(options) {
    files_.progress = {};
  }

  caio::Task<CopiedTree> run(std::filesystem::path from, std::filesystem::path to) {
    if (!to.has_filename()) to = to.parent_path();
    co_await PathOperation("copy_tree", from, [&](const std::filesystem::path&) { TreeSteps::check(from, to); });
    Entry top{Kind::directory, std::move(from), std::move(to), {}};
    co_await enter(std::move(top));
    {
      caio::TaskGroup group;
      start_workers(&group);
      co_await group.join();
    }
    while (!settings_.empty()) {
      const std::filesystem::path path = settings_.back().path;
      try {
        co_await PathOperation("copy_tree", path, [this](const std::filesystem::path&) { steps_.apply(settings_); });
      } catch (const FileError& error) {
        report(error);
      }
    }
    co_return copied_;
  }

 private:
  void start_workers(caio::TaskGroup* group) {
    while (!listings_.empty() && workers_ < options_.parallel) {
      ++workers_;
      group->spawn(work(group));
    }
  }

  caio::Task<> work(caio::TaskGroup* group) {
    while (!listings_.empty()) {
      try {
        co_await next();
      } catch (const FileError& error) {
        report(error);
      }
      start_workers(group);
    }
    --workers_;
  }

  /// For a handler: goes on throwing what nobody wants to be told.
  void report(const FileError& error) const {
    if (!options_.on_error || error.code() == std::errc::operation_canceled) throw;
    options_.on_error(error);
  }

  /// The newest first: little is remembered at a time.
  caio::Task<> next() {
    std::optional<Entry> entry = steps_.next(*listings_.back());
    if (!entry) {
      auto listing = std::move(listings_.back());
      listings_.pop_back();
      return read_on(std::move(listing));
    }
    if (entry->kind == Kind::directory) return enter(std::move(*entry));
    return copy(std::move(*entry));
  }

  /// At the end of a batch.
  caio::Task<> read_on(std::unique_ptr<Listing> listing) {
    if (listing->directory.ended()) {
      if (listing->directory.error() != 0) throw FileError("readdir", listing->from, listing->directory.error());
      co_return;
    }
    co_await PathOperation("copy_tree", listing->from,
                           [this, it = listing.get()](const std::filesystem::path&) { steps_.read_on(*it); });
    listings_.push_back(std::move(listing));
  }

  caio::Task<> enter(Entry entry) {
    auto listing = std::make_unique<Listing>(std::move(entry), options_.follow_links);
    co_await PathOperation("copy_tree", listing->from,
                           [this, it = listing.get()](const std::filesystem::path&) { steps_.open(*it); });
    ++copied_.directories;
    if (listing->setting) settings_.push_back(std::move(*listing->setting));
    listings_.push_back(std::move(listing));
  }

  caio::Task<> copy(Entry entry) {
    if (entry.kind == Kind::link) {
      co_await PathOperation("copy_tree", entry.from,
                             [this, it = &entry](const std::filesystem::path&) { steps_.copy_link(*it); });
      ++copied_.links;
      co_return;
    }
    const std::uint64_t bytes = co_await aiofile::copy_file(entry.from, entry.to, files_);
    ++copied_.files;
    copied_.bytes += bytes;
    if (options_.files.progress) options_.files.progress(copied_.bytes, 0);
  }

  const CopyTreeOptions options_;
  CopyOptions files_;
  const TreeSteps steps_;
  CopiedTree copied_;
  unsigned workers_ = 0;
  std::vector<std::unique_ptr<Listing>> listings_;
  std::vector<TreeSteps::Setting> settings_;  // those below behind
};

inline caio::Task<CopiedTree> copy_tree(std::filesystem::path from, std::filesystem::path to, CopyTreeOptions options) {
  TreeCopy tree(options);
  co_return co_await tree.run(std::move(from), std::move(to));
}

}  // namespace detail

/// Copies a directory with all that is in it, each file as copy_file() does; yields a CopiedTree.
///
/// `to` is the copy itself, and its parent must exist. Directories get the permissions of theirs less the umask,
/// symbolic links are copied as they are; hard links become files of their own; FIFOs, devices and sockets are EINVAL.
/// With follow_links, a link that leads back to a directory around it is ELOOP. Existing files are replaced, see
/// CopyOptions::overwrite.
///
/// The first failure stops the others and is thrown, see CopyTreeOptions::on_error. Then, and after a stop or the
/// destruction of the awaiting coroutine, the tree has what was done, with whole files only (but for keep_partial);
/// directories may be more accessible to their owner than they should. Memory: at most 64 KiB of names for each
/// directory that is being read, of which there are up to `parallel` on each level; and the path of each directory
/// whose times or permissions are to be set. Paths longer than PATH_MAX are ENAMETOOLONG. What vanishes meanwhile is
/// ENOENT, or, where directories do not tell types, left out.
///
/// Throws FileError with the path: ENOTDIR: `from` is no directory; EINVAL (both paths): `to` is `from`, or within it;
/// EEXIST; ENOENT; ECANCELED. std::invalid_argument, from the call: a path with a NUL, options out of range.
[[nodiscard]] inline caio::Task<CopiedTree> copy_tree(std::filesystem::path from, std::filesystem::path to,
                                                      const CopyTreeOptions& options = {}) {
  return detail::copy_tree(detail::checked_path(std::move(from)), detail::checked_path(std::move(to)),
                           detail::checked(options));
}

}  // namespace aiofile::inline CAIO_ABI
