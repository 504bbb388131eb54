#include <aiofile/bulk.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <aiofile/file.hpp>
#include <algorithm>
#include <caio/caio.hpp>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::Extent;
using aiofile::ManyReads;
using aiofile::ReadManyOptions;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::pattern;
using support::TemporaryDirectory;

static_assert(std::is_trivially_copyable_v<Extent> && std::is_trivially_copyable_v<ReadManyOptions>);
static_assert(!std::is_copy_constructible_v<ManyReads>);

namespace {

/// What a file of that content has in a range.
std::string_view part_of(std::string_view content, const Extent& extent) {
  if (extent.offset >= content.size()) return {};
  return content.substr(extent.offset, extent.length);
}

void check(const ManyReads& reads, const std::vector<Extent>& extents, std::string_view content) {
  REQUIRE(reads.size() == extents.size());
  for (std::size_t i = 0; i < extents.size(); ++i) {
    INFO(i << ": " << extents[i].length << " bytes at " << extents[i].offset);
    CHECK((reads[i] == part_of(content, extents[i])));
    CHECK(reads.bytes(i).size() == reads[i].size());
  }
}

std::vector<Extent> random_extents(std::size_t count, std::size_t size, std::size_t longest, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Extent> extents;
  for (std::size_t i = 0; i < count; ++i) extents.push_back({random() % size, random() % (longest + 1)});
  return extents;
}

}  // namespace

TEST_CASE("read_many: overlapping, equal, empty, unsorted, and beyond the end") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(100'000);
    AIOFile file = co_await AIOFile(directory.file("file", content), "rb");
    const std::vector<Extent> extents = {{50'000, 100}, {0, 10},      {50'050, 100},
                                         {50'050, 100}, {50'060, 5},  {7, 0},
                                         {99'990, 100}, {100'000, 5}, {std::uint64_t{1} << 60, 5},
                                         {5, 99'999},   {99'999, 1},  {4'000, 100},
                                         {200'000, 0},  {20'000, 1},  {20'002, 1}};
    for (const ReadManyOptions& options :
         {ReadManyOptions{}, ReadManyOptions{.max_gap = 0}, ReadManyOptions{.max_gap = SIZE_MAX},
          ReadManyOptions{.max_read = 7}, ReadManyOptions{.max_read = 1, .depth = 4096}, ReadManyOptions{.depth = 1}}) {
      const ManyReads reads = co_await aiofile::read_many(file, extents, options);
      check(reads, extents, content);
    }
  });
}

TEST_CASE("read_many: nothing is nothing") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"), "rb");
    const ManyReads none = co_await aiofile::read_many(file, {});
    CHECK(none.empty());
    CHECK(none.begin() == none.end());
    const std::vector<Extent> extents = {{0, 0}, {4, 1}};
    const ManyReads empty = co_await aiofile::read_many(file, extents);
    CHECK(empty.size() == 2);
    CHECK(empty[0] == "");
    CHECK(empty[1] == "");
  });
}

TEST_CASE("read_many: thousands of random extents, also those sorted on the pool") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(1'000'000);
    AIOFile file = co_await AIOFile(directory.file("file", content), "rb");
    unsigned seed = 1;
    for (const std::size_t count : {std::size_t{10}, std::size_t{1'000}, std::size_t{3'000}}) {
      for (const std::size_t longest : {std::size_t{64}, std::size_t{5'000}}) {
        const auto extents = random_extents(count, content.size() + 1'000, longest, ++seed);
        const ReadManyOptions options{.max_gap = 500, .max_read = 3'000, .depth = 16};
        const ManyReads reads = co_await aiofile::read_many(file, extents, options);
        check(reads, extents, content);
        auto view = reads.begin();
        for (std::size_t i = 0; i < reads.size(); ++i, ++view) CHECK((*view == reads[i]));
      }
    }
  });
}

TEST_CASE("read_many: what is near is read together, what is far is not") {
  for (const caio::Implementation implementation : outcome::plain_backends) {
    if (!support::wanted(implementation)) continue;
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      const std::string content = pattern(100'000);
      const auto path = directory.file("file", content);
      const support::ReplacedCalls replaced;
      static std::vector<std::pair<::off_t, std::size_t>> calls;
      calls.clear();
      replaced->pread = [](int fd, void* memory, std::size_t size, ::off_t offset) {
        calls.emplace_back(offset, size);
        return ::pread(fd, memory, size, offset);
      };
      Context context(implementation, {.pool_size = 1, .speculate = false});
      context.run([](std::filesystem::path name) -> Task<> {
        AIOFile file = co_await AIOFile(name, "rb");
        const std::vector<Extent> extents = {{1'100, 100}, {0, 1'000}, {1'301, 9}, {1'150, 20}, {90'000, 500}};
        const ReadManyOptions options{.max_gap = 100, .max_read = 400};
        co_await aiofile::read_many(file, extents, options);
        std::sort(calls.begin(), calls.end());
        const std::vector<std::pair<::off_t, std::size_t>> expected = {{0, 400},   {400, 400},    {800, 400},
                                                                       {1'301, 9}, {90'000, 400}, {90'400, 100}};
        CHECK(calls == expected);
      }(path));
    }
  }
}

TEST_CASE("read_many: a file that is shorter than it says") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(10'000);
    const auto path = directory.file("file", content);
    AIOFile file = co_await AIOFile(path, "rb");
    const support::ReplacedCalls replaced;
    replaced->fstat = [](int fd, struct ::stat* status) {
      const int result = ::fstat(fd, status);
      if (status->st_size == 10'000) status->st_size = 50'000;
      return result;
    };
    const auto extents = random_extents(200, 20'000, 300, 7);
    for (const std::size_t gap : {std::size_t{0}, std::size_t{50}, SIZE_MAX}) {
      const ReadManyOptions options{.max_gap = gap, .max_read = 512};
      const ManyReads reads = co_await aiofile::read_many(file, extents, options);
      check(reads, extents, content);
    }
  });
}

TEST_CASE("read_many: files of /proc, which have no size") {
  support::on_every_backend([](Context&) -> Task<> {
    AIOFile file = co_await AIOFile("/proc/version", "rb");
    const std::string content = support::content_of("/proc/version");
    const std::vector<Extent> extents = {{6, 7}, {0, 5}, {content.size() - 1, 10}, {10'000, 10}};
    const ManyReads reads = co_await aiofile::read_many(file, extents);
    check(reads, extents, content);
  });
}

TEST_CASE("read_many: an empty file is not asked for what it has not") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("empty", ""), "rb");
    const std::vector<Extent> extents = {{0, std::size_t{1} << 46}, {5, 5}, {std::uint64_t{1} << 60, 1}};
    const ManyReads reads = co_await aiofile::read_many(file, extents);
    check(reads, extents, "");
  });
}

TEST_CASE("read_many: an O_DIRECT file, at any place") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(100'000);
    AIOFile file(directory.file("file", content), "rb", {.flags = O_DIRECT});
    const int error = co_await error_of(file.open());
    if (error == EINVAL) co_return;  // tmpfs before Linux 6.6
    REQUIRE(error == 0);
    auto extents = random_extents(200, 100'100, 300, 5);
    extents.push_back({0, 4096});
    extents.push_back({4096, 200'000});
    for (const std::size_t gap : {std::size_t{0}, std::size_t{4096}}) {
      const ReadManyOptions options{.max_gap = gap};
      const ManyReads reads = co_await aiofile::read_many(file, extents, options);
      check(reads, extents, content);
    }
  });
}

TEST_CASE("read_many: the file may go meanwhile") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(50'000);
    auto file = std::make_unique<AIOFile>(co_await AIOFile(directory.file("file", content), "rb"));
    const auto extents = random_extents(50, 50'000, 100, 3);
    auto reading = aiofile::read_many(*file, extents);
    AIOFile moved = std::move(*file);
    file.reset();
    const ManyReads reads = co_await std::move(reading);
    check(reads, extents, content);
  });
}

TEST_CASE("read_many: results move, and their views stay") {
  const TemporaryDirectory directory;
  Context context;
  ManyReads kept = context.run([](std::filesystem::path path) -> Task<ManyReads> {
    AIOFile file = co_await AIOFile(path, "rb");
    const std::vector<Extent> extents = {{1, 2}};
    co_return co_await aiofile::read_many(file, extents);
  }(directory.file("file", "text")));
  const std::string_view view = kept[0];
  const ManyReads moved = std::move(kept);
  CHECK(view == "ex");
  CHECK(moved[0].data() == view.data());
}

TEST_CASE("read_many: errors") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::vector<Extent> extents = {{0, 5}, {10'000, 5}};
    AIOFile closed(directory.file("file", "text"), "rb");
    CHECK_YIELDS(error_of(aiofile::read_many(closed, extents)), EBADF);
    AIOFile writing = co_await AIOFile(directory / "other", "wb");
    CHECK_YIELDS(error_of(aiofile::read_many(writing, extents)), EBADF);
    CHECK_YIELDS(error_of(aiofile::read_many(writing, {})), EBADF);
    support::Pipe pipe;
    AIOFile stream = AIOFile::from_fd(pipe.reader.get(), "rb");
    CHECK_YIELDS(error_of(aiofile::read_many(stream, extents)), ESPIPE);
    AIOFile memory = co_await AIOFile("/proc/self/mem", "rb");
    CHECK_YIELDS(error_of(aiofile::read_many(memory, extents)), EIO);

    const std::vector<Extent> wrong = {{std::uint64_t{1} << 63, 1}};
    CHECK_THROWS_AS(aiofile::read_many(closed, wrong), std::invalid_argument);
    CHECK_THROWS_AS(aiofile::read_many(closed, extents, {.max_read = 0}), std::invalid_argument);
    CHECK_THROWS_AS(aiofile::read_many(closed, extents, {.depth = 0}), std::invalid_argument);
    CHECK_THROWS_AS(aiofile::read_many(closed, extents, {.depth = 4097}), std::invalid_argument);
  });
}

TEST_CASE("read_many: the first read that fails stops the others") {
  for (const caio::Implementation implementation : outcome::plain_backends) {
    if (!support::wanted(implementation)) continue;
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      const auto path = directory.file("file", pattern(100'000));
      const support::ReplacedCalls replaced;
      static int calls;
      calls = 0;
      replaced->pread = [](int fd, void* memory, std::size_t size, ::off_t offset) {
        ++calls;
        if (offset > 0) return ::pread(fd, memory, size, offset);
        errno = EIO;
        return ::ssize_t{-1};
      };
      Context context(implementation, {.pool_size = 1, .speculate = false});
      context.run([](std::filesystem::path name) -> Task<> {
        AIOFile file = co_await AIOFile(name, "rb");
        std::vector<Extent> extents;
        for (std::uint64_t i = 0; i < 100; ++i) extents.push_back({i * 1000, 10});
        const ReadManyOptions options{.max_gap = 0, .depth = 4};
        CHECK_YIELDS(error_of(aiofile::read_many(file, extents, options)), EIO);
      }(path));
      CHECK(calls < 20);
    }
  }
}

TEST_CASE("read_many: a stop ends it, and its frame may go at any moment") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(500'000);
    AIOFile file = co_await AIOFile(directory.file("file", content), "rb");
    const auto extents = random_extents(2'000, content.size(), 200, 5);
    std::stop_source source;
    source.request_stop();
    CHECK_YIELDS(error_of(caio::with_stop(source.get_token(), aiofile::read_many(file, extents))), ECANCELED);
    for (int turns = 0; turns < 30; turns += 1 + turns / 4) {
      int error = -1;
      {
        caio::TaskGroup group;
        group.spawn(outcome::store_error(aiofile::read_many(file, extents), error));
        for (int i = 0; i < turns && error < 0; ++i) co_await context.schedule();
      }
      CHECK(error <= 0);
    }
    co_await file.close();
    CHECK(outcome::descriptors_of(directory / "file") == 0);
  });
}
