#pragma once
// read_many: many ranges of a file at once.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include <aiofile/error.hpp>
#include <aiofile/file.hpp>
#include <aiofile/file_operation.hpp>
#include <aiofile/path_operation.hpp>
#include <aiofile/read_operation.hpp>
#include <aiofile/shared_file.hpp>
#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/detail/prompt.hpp>
#include <caio/request.hpp>
#include <caio/task.hpp>
#include <caio/task_group.hpp>

namespace aiofile::inline CAIO_ABI {

/// A range of a file.
struct Extent {
  std::uint64_t offset = 0;
  std::size_t length = 0;
};

struct ReadManyOptions {
  std::size_t max_gap = 4096;         ///< extents that are no further apart are read together, with what is between
  std::size_t max_read = 256 * 1024;  ///< bytes read at once: longer ones take several reads
  unsigned depth = 256;               ///< reads under way at the same time, 1..4096
};

namespace detail {
class ReadManyPlan;
}

/// What read_many() has read: for each extent, in their order, its bytes; fewer where the file ends. It owns the memory
/// that the views lead into; extents that overlap share it.
class ManyReads {
 public:
  ManyReads() = default;
  ManyReads(ManyReads&&) = default;
  ManyReads& operator=(ManyReads&&) = default;

  [[nodiscard]] std::size_t size() const noexcept { return views_.size(); }
  [[nodiscard]] bool empty() const noexcept { return views_.empty(); }
  [[nodiscard]] std::string_view operator[](std::size_t index) const noexcept { return views_[index]; }
  [[nodiscard]] std::span<const std::byte> bytes(std::size_t index) const noexcept {
    return std::as_bytes(std::span(views_[index]));
  }
  [[nodiscard]] auto begin() const noexcept { return views_.begin(); }
  [[nodiscard]] auto end() const noexcept { return views_.end(); }

 private:
  friend detail::ReadManyPlan;

  std::unique_ptr<char[]> memory_;
  std::vector<std::string_view> views_;
};

namespace detail {

/// Which reads give all extents, and where their bytes go.
class ReadManyPlan {
 public:
  ReadManyPlan(FileRef file, const ReadManyOptions& options) : file_(std::move(file)), options_(options) {}

  /// `size`: of the file; what lies behind is not read. Takes as long as it takes to sort the extents.
  void make(std::span<const Extent> extents, std::uint64_t size) {
    results_.views_.resize(extents.size());
    sort(extents, size);
    merge();
    results_.memory_ = std::make_unique_for_overwrite<char[]>(runs_.empty() ? 0 : runs_.back().memory_end());
    for (const Part& part : parts_) {
      results_.views_[part.index] = {results_.memory_.get() + part.memory, part.length};
    }
    for (const Run& run : runs_) count_ += reads_of(run);
  }

  [[nodiscard]] std::size_t workers() const noexcept { return std::min<std::size_t>(options_.depth, count_); }

  /// One read after the other, until all are begun.
  caio::Task<> work() {
    while (next_run_ < runs_.size()) {
      Run& run = runs_[next_run_];
      const std::uint64_t offset = next_offset_ == 0 ? run.offset : next_offset_;
      const std::size_t length = std::min(options_.max_read, run.end - offset);
      next_offset_ = offset + length;
      if (next_offset_ == run.end) {
        ++next_run_;
        next_offset_ = 0;
      }
      char* const memory = results_.memory_.get() + run.memory + (offset - run.offset);
      const std::size_t count = co_await caio::detail::Prompt(
          ReadIntoAttempt(file_, std::as_writable_bytes(std::span(memory, length)), offset, true));
      if (count < length) {
        run.valid_end = std::min(run.valid_end, offset + count);
        short_ = true;
        if (next_run_ < runs_.size() && &run == &runs_[next_run_]) {  // behind the end is nothing
          ++next_run_;
          next_offset_ = 0;
        }
      }
    }
  }

  ManyReads results() {
    if (short_) shorten();
    return std::move(results_);
  }

 private:
  struct Part {
    std::uint64_t offset;
    std::size_t length;
    std::size_t index;
    std::size_t memory = 0;
  };
  /// A range that is read without gaps.
  struct Run {
    std::uint64_t offset;
    std::uint64_t end;
    std::size_t memory;
    std::uint64_t valid_end = last_offset;

    [[nodiscard]] std::size_t memory_end() const noexcept { return memory + (end - offset); }
  };

  void sort(std::span<const Extent> extents, std::uint64_t size) {
    parts_.reserve(extents.size());
    for (std::size_t i = 0; i < extents.size(); ++i) {
      const Extent& extent = extents[i];
      if (extent.length == 0 || extent.offset >= size) continue;
      parts_.push_back({extent.offset, std::min<std::uint64_t>(extent.length, size - extent.offset), i});
    }
    const auto before = [](const Part& one, const Part& other) { return one.offset < other.offset; };
    if (!std::is_sorted(parts_.begin(), parts_.end(), before)) std::sort(parts_.begin(), parts_.end(), before);
  }

  void merge() {
    for (Part& part : parts_) {
      const bool apart =
          runs_.empty() || (part.offset > runs_.back().end && part.offset - runs_.back().end > options_.max_gap);
      if (apart) runs_.push_back({part.offset, part.offset, runs_.empty() ? 0 : runs_.back().memory_end()});
      Run& run = runs_.back();
      run.end = std::max(run.end, part.offset + part.length);
      part.memory = run.memory + (part.offset - run.offset);
    }
  }

  [[nodiscard]] std::size_t reads_of(const Run& run) const noexcept {
    return (run.end - run.offset - 1) / options_.max_read + 1;
  }

  /// The file has ended before its end.
  void shorten() noexcept {
    auto run = runs_.begin();
    for (const Part& part : parts_) {
      while (part.offset >= run->end) ++run;
      const std::uint64_t valid = run->valid_end - std::min(run->valid_end, part.offset);
      std::string_view& view = results_.views_[part.index];
      view = view.substr(0, valid);
    }
  }

  FileRef file_;
  const ReadManyOptions options_;
  std::vector<Part> parts_;  // of the extents that are not empty, by their offset
  std::vector<Run> runs_;
  std::size_t count_ = 0;
  std::size_t next_run_ = 0;
  std::uint64_t next_offset_ = 0;  // 0: where the run begins
  bool short_ = false;
  ManyReads results_;
};

inline caio::Task<ManyReads> read_many(FileRef file, std::span<const Extent> extents, ReadManyOptions options) {
  constexpr std::size_t quickly_sorted = 1024;
  const std::uint64_t size =
      co_await SimpleFileOperation<std::uint64_t>(file, Access::read, "read_many", caio::Opcode::size, -1);
  if (file->file->descriptor.kind() == caio::Descriptor::Kind::stream) throw FileError("read_many", file->path, ESPIPE);
  std::uint64_t end = size;
  if (size == 0) {  // nor have files of /proc and devices
    std::byte first;
    const std::size_t count = co_await caio::detail::Prompt(ReadIntoAttempt(file, std::span(&first, 1), 0, true));
    if (count > 0) end = last_offset;
  }
  ReadManyPlan plan(file, options);
  if (extents.size() <= quickly_sorted) {
    plan.make(extents, end);
  } else {
    co_await PathOperation("read_many", file->path,
                           [&plan, extents, end](const std::filesystem::path&) { plan.make(extents, end); });
  }
  {
    caio::TaskGroup workers;
    for (std::size_t i = plan.workers(); i > 0; --i) workers.spawn(plan.work());
    co_await workers.join();
  }
  co_return plan.results();
}

}  // namespace detail

/// Reads many ranges of a file: those that are near each other together, several at the same time. Yields a ManyReads
/// with the bytes of each, in the order of `extents`, which must live until the await is done. They may overlap, come
/// in any order, be empty, and reach beyond the end of the file: then they are shorter.
///
/// Memory: all of what is read, gaps included, in one piece; no more than the file's size says, or, where it says none
/// (/proc, devices), than what is asked for. Never decoded. What is cached is read in place, the rest by as many
/// operations of the ring or the pool as `depth` says; O_DIRECT files at any place, too. More than 1024 extents are
/// sorted on the pool. The file may move or go meanwhile.
///
/// Throws FileError: EBADF: not open for reading; ESPIPE: a pipe or the like; the first read that fails stops the
/// others. std::invalid_argument, from the call: an offset above INT64_MAX, options out of range.
[[nodiscard]] inline caio::Task<ManyReads> read_many(AIOFile& file, std::span<const Extent> extents,
                                                     const ReadManyOptions& options = {}) {
  for (const Extent& extent : extents) detail::checked_offset(extent.offset, "read_many");
  if (options.max_read == 0 || options.depth == 0 || options.depth > 4096) {
    throw std::invalid_argument("aiofile::ReadManyOptions: max_read is 0, or depth not within 1 and 4096");
  }
  return detail::read_many(detail::state_of(file), extents, options);
}

}  // namespace aiofile::inline CAIO_ABI
