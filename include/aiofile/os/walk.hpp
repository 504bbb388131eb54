#pragma once
// The entries of a directory and of all directories below it.

#include <cerrno>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/os/at.hpp>
#include <aiofile/os/open_directory.hpp>
#include <aiofile/os/scandir.hpp>
#include <aiofile/os/tree_walk.hpp>
#include <aiofile/path_operation.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/detail/child.hpp>
#include <caio/engine.hpp>
#include <caio/generator.hpp>

namespace aiofile::inline CAIO_ABI {

namespace os {

/// What a walk finds. error() is also the errno with which a directory could not be read, or not to its end.
class WalkEntry : public DirectoryEntry {
 public:
  using DirectoryEntry::DirectoryEntry;

  /// How many directories are between it and the walk's own: 0 for the entries of that.
  [[nodiscard]] unsigned depth() const noexcept { return batch().directory->depth; }

  /// Call it before the next next(): this directory, which was just given, is not entered.
  void skip() const noexcept { record().set(detail::DirectoryRecord::skipped); }
};

}  // namespace os

namespace detail {

inline caio::Generator<os::WalkEntry> walk_directory(std::shared_ptr<caio::Engine> engine, std::filesystem::path root,
                                                     os::WalkOptions options, os::At at) {
  TreeWalk walk(std::move(engine), root, options);
  co_await walk.read(at);
  if (!walk.top().directory.batch()) throw FileError("walk", root, walk.top().directory.error());
  walk.arrived();
  for (;;) {
    if (!walk.at_home()) co_await walk.come_home();
    Visit& visit = walk.top();
    DirectoryRecord* const record = visit.batch ? visit.batch->next(visit.position) : nullptr;
    if (record != nullptr) {
      const bool enters = walk.enters(visit, *record);
      if (!enters || !options.contents_first) co_yield os::WalkEntry(visit.batch, *record);
      if (!enters) continue;
      if (!walk.at_home()) co_await walk.come_home();
      if (visit.ahead.empty()) {
        if (record->is(DirectoryRecord::skipped)) continue;
        walk.begin(visit, *record);
      }
      // What is read ahead may be done already: no operation would see the stop.
      const std::stop_token& token = co_await caio::detail::CurrentStopToken{};
      if (token.stop_requested()) throw FileError("walk", root, ECANCELED);
      VisitGroup& group = *visit.ahead.front();
      while (group.running || !group.visits.front()->was_read()) {
        if (!group.running) walk.start(visit, group);
        co_await group.reading.join();
        walk.ended(group);
      }
      walk.enter(visit);
    } else if (!visit.directory.ended()) {
      co_await walk.read(at);
      walk.arrived();
    } else {
      const int error = visit.directory.error();
      if (walk.in_outermost()) {
        if (error != 0) throw FileError("walk", root, error);
        co_return;
      }
      os::WalkEntry entry(visit.among, *visit.record, error);
      walk.leave();
      if (error != 0 || options.contents_first) co_yield std::move(entry);
    }
  }
}

}  // namespace detail

namespace os {

/// All that is in a directory and in the directories below it, depth first: a directory, what is in it, then its next
/// neighbour, each directory in its own order. The walk's own directory is not among it.
///
/// Nothing that goes wrong below ends the walk. A directory that cannot be read is given a second time, with error()
/// (with contents_first only once); so is one that cannot be read to its end, after the entries that could. What
/// vanishes meanwhile is no error. next() throws FileError for the walk's own directory alone: when it cannot be
/// opened, or at the end, when it could not be read to its own.
///
/// With follow_links, a link to a directory that the walk is in is given and not entered. A link is never followed
/// without, not even one that takes a directory's place meanwhile; but `path` itself may be a link.
///
/// Python's os.walk gives lists for each directory; here depth() tells where one ends, and skip() leaves a directory
/// out as removing it from the list does.
///
/// Memory does not grow with a directory's size: each level has a batch of at most 64 KiB of names, and what is read
/// ahead. Descriptors: about 64 at most, however deep the tree. Paths may be longer than PATH_MAX. A hand-over to the
/// pool reads up to 8 neighbouring directories, for at most 0.5 ms if it can be helped; on the blocking backend each
/// directory is read in its turn. `at` must be open until the first next() is done. next() resumes on the thread of the
/// context that was current at the call; there the walk must end, too.
[[nodiscard]] inline caio::Generator<WalkEntry> walk(std::filesystem::path path, WalkOptions options = {}, At at = {}) {
  return detail::walk_directory(caio::Context::current().engine(), detail::checked_path(std::move(path)), options, at);
}

}  // namespace os
}  // namespace aiofile::inline CAIO_ABI
