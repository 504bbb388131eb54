#include <aiofile/file_copy.hpp>

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "copied_files.hpp"
#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/replaced_calls.hpp"
#include "support/temporary.hpp"

using aiofile::CopyMethod;
using aiofile::CopyOptions;
using aiofile::detail::CopyBuffer;
using aiofile::detail::FileCopy;
using copied_files::entries_of;
using copied_files::failure_of;
using copied_files::long_text;
using copied_files::mebi;
using support::content_of;

namespace fs = std::filesystem;

namespace {

/// Puts the calls that only copies make back at its end.
struct ReplacedCopyCalls {
  ReplacedCopyCalls() = default;
  ReplacedCopyCalls(const ReplacedCopyCalls&) = delete;
  ReplacedCopyCalls& operator=(const ReplacedCopyCalls&) = delete;
  ~ReplacedCopyCalls() { aiofile::detail::copy_calls = {}; }
  aiofile::detail::CopyCalls* operator->() const { return &aiofile::detail::copy_calls; }
};

const CopyOptions by_reading{.method = CopyMethod::read_write};

}  // namespace

TEST_CASE("FileCopy: begin() does all of a small file, and finishes it") {
  const support::TemporaryDirectory directory;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1000}}) {
    const fs::path from = directory.file("from", long_text(size));
    FileCopy copy(from, directory / "to", by_reading);
    CHECK_FALSE(copy.finished());
    CHECK(copy.from() == from);
    CHECK(copy.done() == 0);
    copy.begin();
    CHECK(copy.finished());
    CHECK(copy.done() == size);
    CHECK(copy.total() == size);
    copy.discard();
    CHECK(content_of(directory / "to") == long_text(size));
    CHECK(outcome::descriptors_of(from) == 0);
  }
}

TEST_CASE("FileCopy: copies a large file piece by piece, and says how far it is") {
  const support::TemporaryDirectory directory;
  const std::string content = long_text(18 * mebi, 1);
  FileCopy copy(directory.file("from", content), directory / "to", by_reading);
  copy.begin();
  CHECK_FALSE(copy.finished());
  CHECK(copy.done() == 4 * mebi);
  CHECK(copy.total() == content.size());
  CHECK(copy.threads() == 3);
  CopyBuffer buffer;
  for (const unsigned done : {8U, 12U, 16U}) {
    CHECK(copy.copy_piece(buffer));
    CHECK(copy.done() == done * mebi);
  }
  CHECK(copy.threads() == 1);
  CHECK_FALSE(copy.copy_piece(buffer));
  CHECK(copy.done() == content.size());
  CHECK_FALSE(copy.copy_piece(buffer));
  CHECK_FALSE(copy.finished());
  copy.finish();
  CHECK(copy.finished());
  CHECK(copy.total() == content.size());
  CHECK((content_of(directory / "to") == content));
}

TEST_CASE("FileCopy: threads are worth their while by what is left, at most four") {
  const support::TemporaryDirectory directory;
  const auto threads = [&](std::size_t size) {
    fs::resize_file(directory.file("from", ""), size);
    FileCopy copy(directory / "from", directory / "to", {.sparse = false, .method = CopyMethod::read_write});
    copy.begin();
    return copy.threads();
  };
  CHECK(threads(5 * mebi) == 1);
  CHECK(threads(12 * mebi) == 2);
  CHECK(threads(100 * mebi) == 4);
}

TEST_CASE("FileCopy: copy_file_range is for one thread, as long as it works") {
  const support::TemporaryDirectory directory;
  const std::string content = long_text(18 * mebi, 2);
  const fs::path from = directory.file("from", content);
  const ReplacedCopyCalls calls;
  static std::atomic<int> count;
  count = 0;
  calls->copy_file_range = [](int in, ::off_t* start, int out, ::off_t* place, std::size_t size, unsigned) {
    ++count;
    std::vector<char> memory(size);
    const ::ssize_t got = ::pread(in, memory.data(), size, *start);
    return got > 0 ? ::pwrite(out, memory.data(), static_cast<std::size_t>(got), *place) : got;
  };
  FileCopy copy(from, directory / "to", {.method = CopyMethod::copy_file_range});
  copy.begin();
  CHECK(count == 1);
  CHECK(copy.threads() == 1);
  calls->copy_file_range = [](int, ::off_t*, int, ::off_t*, std::size_t, unsigned) { return ::ssize_t{0}; };
  CopyBuffer buffer;
  CHECK(copy.copy_piece(buffer));
  CHECK(copy.threads() > 1);
  while (copy.copy_piece(buffer)) continue;
  copy.finish();
  CHECK((content_of(directory / "to") == content));

  calls->copy_file_range = [](int, ::off_t*, int, ::off_t*, std::size_t, unsigned) {
    errno = EXDEV;
    return ::ssize_t{-1};
  };
  FileCopy forced(from, directory / "forced", {.method = CopyMethod::copy_file_range});
  const auto failure = failure_of([&] { forced.begin(); });
  REQUIRE(failure);
  CHECK(failure->code().value() == EXDEV);
  CHECK(failure->path1() == from);
  CHECK(failure->path2() == directory / "forced");
}

TEST_CASE("FileCopy: a clone is all of it") {
  const support::TemporaryDirectory directory;
  const fs::path from = directory.file("from", long_text(9 * mebi));
  const ReplacedCopyCalls calls;
  calls->clone = [](int to, int) { return ::pwrite(to, "cloned", 6, 0) == 6 ? 0 : -1; };
  FileCopy copy(from, directory / "to", {.method = CopyMethod::reflink});
  copy.begin();
  CHECK(copy.finished());
  CHECK(copy.done() == 6);
  CHECK(copy.total() == 6);
  CHECK(content_of(directory / "to") == "cloned");
  calls->clone = [](int, int) {
    errno = EOPNOTSUPP;
    return -1;
  };
  FileCopy forced(from, directory / "forced", {.method = CopyMethod::reflink});
  const auto failure = failure_of([&] { forced.begin(); });
  REQUIRE(failure);
  CHECK(failure->code().value() == EOPNOTSUPP);
  CHECK(failure->path2() == directory / "forced");
}

TEST_CASE("FileCopy: several threads copy pieces of one at once") {
  const support::TemporaryDirectory directory;
  const std::string content = long_text(21 * mebi + 7, 3);
  const fs::path from = directory.file("from", content);
  for (const bool sparse : {true, false}) {
    FileCopy copy(from, directory / "to", {.sparse = sparse, .method = CopyMethod::read_write});
    copy.begin();
    const std::uint64_t wanted = copy.threads();  // fewer, the less is left
    CHECK(wanted == 4);
    {
      std::vector<std::jthread> threads;
      for (std::uint64_t i = 0; i < wanted; ++i) {
        threads.emplace_back([&copy] {
          CopyBuffer buffer;
          while (copy.copy_piece(buffer)) continue;
        });
      }
    }
    CHECK(copy.done() == content.size());
    copy.finish();
    CHECK((content_of(directory / "to") == content));
  }
}

TEST_CASE("FileCopy: when one thread fails, the others may end, and nothing is left") {
  const support::TemporaryDirectory directory;
  const fs::path from = directory.file("from", long_text(25 * mebi));
  static std::atomic<int> left;
  left = 30;
  const support::ReplacedCalls calls;
  calls->pwrite = [](int fd, const void* memory, std::size_t size, ::off_t offset) {
    if (--left == 0) {
      errno = ENOSPC;
      return ::ssize_t{-1};
    }
    return ::pwrite(fd, memory, size, offset);
  };
  std::atomic<int> failures = 0;
  {
    FileCopy copy(from, directory / "to", by_reading);
    copy.begin();
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        CopyBuffer buffer;
        const auto failure = failure_of([&] {
          while (copy.copy_piece(buffer)) continue;
        });
        if (failure && failure->code().value() == ENOSPC && failure->path1() == directory / "to") ++failures;
      });
    }
    threads.clear();
    CHECK(copy.done() < 25 * mebi);
  }
  CHECK(failures == 1);
  CHECK(entries_of(directory.path()) == 1);
}

TEST_CASE("FileCopy: a failed read is told with what was done") {
  const support::TemporaryDirectory directory;
  const fs::path from = directory.file("from", long_text(9 * mebi));
  FileCopy copy(from, directory / "to", by_reading);
  copy.begin();
  const support::ReplacedCalls calls;
  calls->pread = [](int, void*, std::size_t, ::off_t) {
    errno = EIO;
    return ::ssize_t{-1};
  };
  CopyBuffer buffer;
  const auto failure = failure_of([&] { copy.copy_piece(buffer); });
  REQUIRE(failure);
  CHECK(failure->code().value() == EIO);
  CHECK(failure->path1() == from);
  CHECK(failure->transferred() == 4 * mebi);
}

TEST_CASE("FileCopy: discarded in the middle, it lets go of both files and leaves what was there") {
  for (const bool exists : {false, true}) {
    const support::TemporaryDirectory directory;
    const fs::path from = directory.file("from", long_text(9 * mebi));
    if (exists) directory.file("to", "old");
    FileCopy copy(from, directory / "to", by_reading);
    copy.begin();
    CHECK(outcome::descriptors_of(from) == 1);
    copy.discard();
    CHECK(outcome::descriptors_of(from) == 0);
    CHECK(entries_of(directory.path()) == (exists ? 2 : 1));
    copy.discard();
    CHECK_FALSE(copy.finished());
    if (exists) CHECK(content_of(directory / "to") == "old");
  }
}

TEST_CASE("FileCopy: a forked child takes nothing away from its parent") {
  const support::TemporaryDirectory directory;
  const fs::path from = directory.file("from", long_text(9 * mebi));
  std::optional<FileCopy> copy(std::in_place, from, directory / "to", by_reading);
  copy->begin();
  CHECK_FALSE(copy->finished());
  CHECK(support::answer_in_child([&] {
          copy.reset();
          return std::string("gone");
        }) == "gone");
  CHECK(fs::exists(directory / "to"));
  copy.reset();
  CHECK_FALSE(fs::exists(directory / "to"));
}
