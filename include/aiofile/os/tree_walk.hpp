#pragma once
// The steps of a walk: where it is, and what is read ahead of it.

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include <aiofile/os/at.hpp>
#include <aiofile/os/open_directory.hpp>
#include <aiofile/path_operation.hpp>
#include <caio/config.hpp>
#include <caio/engine.hpp>
#include <caio/implementation.hpp>
#include <caio/task.hpp>
#include <caio/task_group.hpp>

namespace aiofile::inline CAIO_ABI {

namespace os {

struct WalkOptions {
  unsigned max_depth = std::numeric_limits<unsigned>::max();  ///< directories of this depth() are not entered
  bool follow_links = false;    ///< enter directories through symbolic links; types and Stats are the targets'
  bool stat = false;            ///< the Stat of each entry, too: a system call more for each, on the pool
  bool contents_first = false;  ///< a directory comes after what is in it: the order in which trees are removed
  unsigned parallel = 4;  ///< hand-overs at once that read directories before their turn; 0: none is opened before that
};

}  // namespace os

namespace detail {

struct VisitGroup;

/// A directory of a walk, from the start of its reading until the walk leaves it.
struct Visit {
  Visit(std::shared_ptr<DirectoryBatch> above, DirectoryRecord* itself, std::shared_ptr<DirectoryName> name,
        OpenDirectory::Wanted wanted)
      : among(std::move(above)), record(itself), directory(std::move(name), wanted), counted(wanted.keep) {}

  [[nodiscard]] bool was_read() const noexcept { return directory.batch() || directory.ended(); }

  std::shared_ptr<DirectoryBatch> among;  ///< where its record is; the outermost has none
  DirectoryRecord* record;
  OpenDirectory directory;
  bool counted;                                    ///< among those that may have a descriptor
  std::shared_ptr<DirectoryBatch> batch;           ///< what is given out
  std::size_t position = 0;                        ///< of the next entry
  std::size_t ahead_position = 0;                  ///< of the next that may be read ahead
  std::vector<std::unique_ptr<VisitGroup>> ahead;  ///< its directories whose reading has begun, in order
};

/// Directories of one directory that are read in one hand-over: a directory takes little longer than a hand-over.
struct VisitGroup {
  static constexpr std::size_t most = 8;
  static constexpr std::chrono::microseconds longest{500};

  std::vector<std::unique_ptr<Visit>> visits;
  bool running = false;
  caio::TaskGroup reading;  ///< last: its end waits for the thread that uses the visits
};

/// The directories between the walk's own and the one it is in, and what is read ahead of it.
class TreeWalk {
 public:
  TreeWalk(std::shared_ptr<caio::Engine> engine, std::filesystem::path root, const os::WalkOptions& options)
      : engine_(std::move(engine)), root_(std::move(root)), options_(options) {
    // In place, what is read ahead would hold up what is wanted.
    if (engine_->backend().implementation() == caio::Implementation::blocking) options_.parallel = 0;
    stack_.push_back(visit_of(nullptr, nullptr, std::make_shared<DirectoryName>(nullptr, root_.native())));
  }

  /// On the context's thread, where all of it belongs.
  [[nodiscard]] bool at_home() const noexcept { return engine_->on_own_thread(); }
  auto come_home() {
    return PathOperation(engine_, "walk", root_, [](const std::filesystem::path&) {});
  }

  [[nodiscard]] Visit& top() const noexcept { return *stack_.back(); }
  [[nodiscard]] bool in_outermost() const noexcept { return stack_.size() == 1; }
  [[nodiscard]] bool enters(const Visit& visit, const DirectoryRecord& record) const noexcept {
    return record.type() == std::filesystem::file_type::directory && visit.directory.name()->depth < options_.max_depth;
  }

  /// Opens the walk's own directory, or reads on in the one at the top.
  auto read(os::At at) {
    const auto next = [directory = &top().directory, base = base(), at](const std::filesystem::path& path) {
      if (directory->batch()) return directory->read_on(base);
      directory->open_and_read(at.directory, path.c_str(), true);
    };
    return PathOperation(engine_, "walk", root_, next);
  }

  /// The directory at the top was read.
  void arrived() {
    Visit& visit = top();
    OpenDirectory& directory = visit.directory;
    if (in_outermost() && !base_) base_ = directory.fd();
    const bool vanished = !directory.batch() && (directory.error() == ENOENT || directory.error() == ENOTDIR);
    const bool skipped = visit.record != nullptr && visit.record->is(DirectoryRecord::skipped);
    if (vanished || skipped || is_loop(directory)) {
      directory.fail(0);
    } else {
      visit.batch = directory.batch();
      visit.position = visit.ahead_position = 0;
    }
    settle(visit);
    read_ahead(visit);
  }

  /// Where nothing is read ahead: makes a group of one directory.
  void begin(Visit& above, DirectoryRecord& record) {
    above.ahead.push_back(std::make_unique<VisitGroup>());
    add(above, record);
  }
  /// Reads on in the first group.
  void start(Visit& above, VisitGroup& group) {
    group.running = true;
    group.reading.spawn(
        run(PathOperation(engine_, "walk", root_,
                          ReadGroup{&group, &above.directory, above.directory.fd(), base(), options_.follow_links})));
    if (!above.directory.ended() || has_further(above)) return;
    above.directory.release();
    settle(above);
  }
  void ended(VisitGroup& group) {
    group.running = false;
    for (const auto& visit : group.visits) settle(*visit);
  }
  /// Goes into the first directory of the first group, which was read.
  void enter(Visit& above) {
    VisitGroup& group = *above.ahead.front();
    stack_.push_back(std::move(group.visits.front()));
    group.visits.erase(group.visits.begin());
    if (group.visits.empty()) above.ahead.erase(above.ahead.begin());
    arrived();
    read_ahead(above);
  }
  void leave() {
    top().directory.release();
    settle(top());
    stack_.pop_back();
  }

 private:
  static constexpr std::size_t most_open = 64;  // few of the 1024 that a process may have

  struct ReadGroup {
    VisitGroup* group;
    const OpenDirectory* above;
    OpenDirectory::SharedFd fd;
    OpenDirectory::Base base;
    bool follow_links;

    void operator()(const std::filesystem::path&) {
      const auto latest = directory_calls.now() + VisitGroup::longest;
      if (!fd) fd = above->reopen(base, O_PATH);
      const int error = errno;
      for (const auto& visit : group->visits) {
        if (visit->was_read()) continue;
        OpenDirectory& directory = visit->directory;
        fd ? directory.open_and_read(fd->get(), directory.name()->name.c_str(), follow_links) : directory.fail(error);
        if (directory_calls.now() >= latest) break;
      }
      fd.reset();  // here its end holds up nobody
    }
  };
  static caio::Task<> run(PathOperation<ReadGroup> read) { co_await std::move(read); }

  [[nodiscard]] OpenDirectory::Base base() const noexcept {
    return {base_ ? base_->get() : -1, stack_.front()->directory.name().get()};
  }

  std::unique_ptr<Visit> visit_of(std::shared_ptr<DirectoryBatch> among, DirectoryRecord* record,
                                  std::shared_ptr<DirectoryName> name) {
    const bool keep = open_ < most_open;
    if (keep) ++open_;
    const OpenDirectory::Wanted wanted{options_.stat, options_.follow_links, name->depth < options_.max_depth, keep};
    return std::make_unique<Visit>(std::move(among), record, std::move(name), wanted);
  }
  void settle(Visit& visit) noexcept {
    if (!visit.directory.fd() && std::exchange(visit.counted, false)) --open_;
  }
  void add(Visit& above, DirectoryRecord& record) {
    auto name = std::make_shared<DirectoryName>(above.directory.name(), record.name());
    above.ahead.back()->visits.push_back(visit_of(above.batch, &record, std::move(name)));
  }

  void read_ahead(Visit& visit) {
    while (visit.batch && visit.ahead.size() < options_.parallel) {
      bool begun = false;
      while (DirectoryRecord* const record = visit.batch->next(visit.ahead_position)) {
        if (!enters(visit, *record)) continue;
        if (!begun) visit.ahead.push_back(std::make_unique<VisitGroup>());
        begun = true;
        add(visit, *record);
        if (visit.ahead.back()->visits.size() == VisitGroup::most) break;
      }
      if (!begun) break;
      start(visit, *visit.ahead.back());
    }
  }

  /// Directories whose reading has not begun.
  [[nodiscard]] bool has_further(const Visit& visit) const noexcept {
    std::size_t position = std::max(visit.position, visit.ahead_position);
    const DirectoryRecord* record = visit.batch->next(position);
    while (record != nullptr && !enters(visit, *record)) record = visit.batch->next(position);
    return record != nullptr;
  }

  [[nodiscard]] bool is_loop(const OpenDirectory& directory) const {
    return options_.follow_links && std::any_of(stack_.begin(), stack_.end() - 1,
                                                [&](const auto& each) { return directory.same(each->directory); });
  }

  std::shared_ptr<caio::Engine> engine_;
  std::filesystem::path root_;
  os::WalkOptions options_;
  OpenDirectory::SharedFd base_;  // outlives the reading
  std::vector<std::unique_ptr<Visit>> stack_;
  std::size_t open_ = 0;  // visits that may have a descriptor
};

}  // namespace detail
}  // namespace aiofile::inline CAIO_ABI
