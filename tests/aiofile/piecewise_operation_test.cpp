#include <aiofile/piecewise_operation.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <aiofile/file.hpp>
#include <atomic>
#include <caio/caio.hpp>
#include <caio/testing.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::detail::Access;
using aiofile::detail::PieceLength;
using aiofile::detail::PiecewiseOperation;
using aiofile::detail::Range;
using aiofile::detail::state_of;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::failure_of;
using support::TemporaryDirectory;

namespace {

using Piece = std::function<std::int64_t(int, int, std::uint64_t, std::uint64_t)>;

constexpr std::uint64_t mebi = 1024 * 1024;

auto work(const AIOFile& file, Range range, Piece piece, PieceLength pieces = PieceLength(mebi, mebi)) {
  return PiecewiseOperation<std::uint64_t, Piece>(state_of(file), Access::any, "work", range, std::move(piece), pieces);
}
auto work(const AIOFile& file, const AIOFile& other, Range range, Piece piece) {
  return PiecewiseOperation<std::uint64_t, Piece>(state_of(file), "work", state_of(other), range, std::move(piece));
}

std::int64_t all_of_it(int, int, std::uint64_t, std::uint64_t length) { return static_cast<std::int64_t>(length); }

/// A piece that waits until the test lets it end.
struct Held {
  std::latch begun{1};
  std::latch may_end{1};
  std::atomic<int> pieces = 0;

  Piece piece() {
    return [this](int, int, std::uint64_t, std::uint64_t length) {
      if (++pieces == 1) {
        begun.count_down();
        may_end.wait();
      }
      return static_cast<std::int64_t>(length);
    };
  }
  Task<> wait_until_begun(Context& context) {
    while (!begun.try_wait()) co_await context.schedule();
  }
};

}  // namespace

TEST_CASE("PieceLength: longer while they are quick, shorter when they are slow") {
  using std::chrono::milliseconds;
  PieceLength length(mebi, 8 * mebi);
  CHECK(length.at(0) == mebi);
  CHECK(length.at(1) == mebi - 1);
  CHECK(length.at(5 * mebi - 7) == 7);
  for (const std::uint64_t wanted : {2U, 4U, 8U, 8U}) {
    length.took(milliseconds(0));
    CHECK(length.at(0) == wanted * mebi);
  }
  CHECK(length.at(9 * mebi) == 7 * mebi);
  length.took(milliseconds(2));
  CHECK(length.at(0) == 8 * mebi);
  for (const std::uint64_t wanted : {4U, 2U, 1U, 1U}) {
    length.took(milliseconds(5));
    CHECK(length.at(0) == wanted * mebi);
  }
}

TEST_CASE("Range: ends where offsets do") {
  const std::uint64_t most = aiofile::detail::last_offset;
  CHECK(Range(0, ~std::uint64_t{0}).length == most);
  CHECK(Range(100, ~std::uint64_t{0}).length == most - 100);
  CHECK(Range(100, 50).length == 50);
  CHECK(Range(most, 1).length == 0);
}

TEST_CASE("PiecewiseOperation: one piece behind the other, on the pool") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    std::vector<std::pair<std::uint64_t, std::uint64_t>> pieces;
    const int fd = file.fileno();
    const auto home = std::this_thread::get_id();
    const auto count =
        co_await work(file, {mebi / 2, 2 * mebi}, [&](int own, int other, std::uint64_t done, std::uint64_t length) {
          CHECK(own == fd);
          CHECK(other == -1);
          CHECK(std::this_thread::get_id() != home);
          pieces.emplace_back(done, length);
          return static_cast<std::int64_t>(length);
        });
    CHECK(count == 2 * mebi);
    const std::vector<std::pair<std::uint64_t, std::uint64_t>> wanted{
        {0, mebi / 2}, {mebi / 2, mebi}, {3 * mebi / 2, mebi / 2}};
    CHECK(pieces == wanted);
  });
}

TEST_CASE("PiecewiseOperation: goes on after a short piece, and ends at an empty one") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const auto shortly = [](int, int, std::uint64_t done, std::uint64_t) -> std::int64_t { return done < 50 ? 10 : 0; };
    CHECK_YIELDS(work(file, {0, 1000}, shortly), 50U);
    CHECK_YIELDS(work(file, {0, 35},
                      [](int, int, std::uint64_t, std::uint64_t length) -> std::int64_t {
                        return length > 10 ? 10 : static_cast<std::int64_t>(length);
                      }),
                 35U);
    bool called = false;
    const auto noted = [&called](int, int, std::uint64_t, std::uint64_t) -> std::int64_t { return called = true; };
    CHECK_YIELDS(work(file, {5, 0}, noted), 0U);
    CHECK_FALSE(called);
  });
}

TEST_CASE("PiecewiseOperation: an error tells what was done before; EINTR is none") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    int interruptions = 0;
    const auto failing = [&](int, int, std::uint64_t done, std::uint64_t) -> std::int64_t {
      if (done < 30) return 10;
      return ++interruptions < 3 ? -EINTR : -ENOSPC;
    };
    const auto error = co_await failure_of(work(file, {0, 100}, failing));
    REQUIRE(error);
    CHECK(error->code().value() == ENOSPC);
    CHECK(error->transferred() == 30);
    CHECK(error->path1() == file.name());
    CHECK(interruptions == 3);
    CHECK_YIELDS(error_of(file.close()), 0);
  });
}

TEST_CASE("PiecewiseOperation: a stop ends it behind the piece that runs") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    Held held;
    std::stop_source source;
    std::optional<aiofile::FileError> error;
    caio::TaskGroup group;
    group.spawn([](AIOFile& used, Held& piece, std::stop_token token, auto& result) -> Task<> {
      result = co_await failure_of(caio::with_stop(token, work(used, {0, 100 * mebi}, piece.piece())));
    }(file, held, source.get_token(), error));
    co_await held.wait_until_begun(context);
    source.request_stop();
    held.may_end.count_down();
    co_await group.join();
    REQUIRE(error);
    CHECK(error->code().value() == ECANCELED);
    CHECK(error->transferred() == mebi);
    CHECK(held.pieces == 1);
  });
}

TEST_CASE("PiecewiseOperation: destroyed, it waits for the piece that runs") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    Held held;
    {
      caio::TaskGroup group;
      group.spawn([](AIOFile& used, Held& piece) -> Task<> {
        co_await work(used, {0, 100 * mebi}, piece.piece());
      }(file, held));
      co_await held.wait_until_begun(context);
      held.may_end.count_down();
    }
    CHECK(held.pieces <= 2);
    co_await file.close();
  });
}

TEST_CASE("PiecewiseOperation: closing either file waits for it") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    AIOFile other = co_await AIOFile(directory.file("other", ""));
    Held held;
    std::string order;
    {
      caio::TaskGroup group;
      group.spawn([](AIOFile& used, AIOFile& read, Held& piece, std::string& log) -> Task<> {
        co_await work(used, read, {0, 3 * mebi}, piece.piece());
        log += 'w';
      }(file, other, held, order));
      co_await held.wait_until_begun(context);
      for (AIOFile* closed : {&other, &file}) {
        group.spawn([](AIOFile& closing, std::string& log) -> Task<> {
          co_await closing.close();
          log += 'c';
        }(*closed, order));
      }
      for (int i = 0; i < 10; ++i) co_await context.schedule();
      CHECK(order.empty());
      held.may_end.count_down();
      co_await group.join();
    }
    CHECK(order.size() == 3);
    CHECK(order.front() == 'w');
  });
}

TEST_CASE("PiecewiseOperation: counts as a write of the first file: a sync waits for it") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    AIOFile other = co_await AIOFile(directory.file("other", ""), "r+");
    Held held;
    std::string order;
    caio::TaskGroup group;
    group.spawn([](AIOFile& used, AIOFile& read, Held& piece, std::string& log) -> Task<> {
      co_await work(used, read, {0, 2 * mebi}, piece.piece());
      log += 'w';
    }(file, other, held, order));
    co_await held.wait_until_begun(context);
    group.spawn([](AIOFile& synced, std::string& log) -> Task<> {
      co_await synced.fsync();
      log += 's';
    }(file, order));
    co_await other.fsync();  // it is only read
    CHECK(order.empty());
    held.may_end.count_down();
    co_await group.join();
    CHECK(order == "ws");
  });
}

TEST_CASE("PiecewiseOperation: both files must be open, for what they are used for") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "text");
    AIOFile reads = co_await AIOFile(path, "r");
    AIOFile writes = co_await AIOFile(path, "r+");
    AIOFile only_writes = co_await AIOFile(directory / "other", "w");
    AIOFile closed(path, "r+");
    CHECK_YIELDS(error_of(work(writes, reads, {0, 10}, all_of_it)), 0);
    CHECK_YIELDS(error_of(work(reads, reads, {0, 10}, all_of_it)), EBADF);
    CHECK_YIELDS(error_of(work(writes, only_writes, {0, 10}, all_of_it)), EBADF);
    CHECK_YIELDS(error_of(work(writes, closed, {0, 10}, all_of_it)), EBADF);
    CHECK_YIELDS(error_of(work(closed, reads, {0, 10}, all_of_it)), EBADF);
    co_await writes.close();
    CHECK_YIELDS(error_of(work(writes, reads, {0, 10}, all_of_it)), EBADF);
    CHECK_YIELDS(error_of(work(writes, {0, 10}, all_of_it)), EBADF);
    co_await reads.close();  // nothing is in flight there any more
  });
}

TEST_CASE("PiecewiseOperation: numbers that are not descriptors are left alone") {
  caio::testing::MemoryFiles files;
  files.write("file", "text");
  Context context(std::make_unique<caio::testing::MemoryBackend>(files));
  context.run([]() -> Task<> {
    const TemporaryDirectory directory;
    Context real(caio::Implementation::thread);
    AIOFile foreign = co_await AIOFile("file", "r+");
    AIOFile file = co_await AIOFile(directory / "file", "w", {.context = &real});
    CHECK_YIELDS(error_of(work(foreign, {0, 10}, all_of_it)), EOPNOTSUPP);
    CHECK_YIELDS(error_of(work(file, foreign, {0, 10}, all_of_it)), EOPNOTSUPP);
    CHECK_YIELDS(error_of(work(file, {0, 10}, all_of_it)), 0);
    co_await foreign.close();
    co_await file.close();
  }());
}

TEST_CASE("PiecewiseOperation: a second file of another thread's context is refused") {
  const TemporaryDirectory directory;
  directory.file("theirs", "");
  std::latch opened(1);
  std::latch done(1);
  std::optional<AIOFile> theirs;
  std::thread other([&] {
    Context context(caio::Implementation::thread);
    context.run([](std::optional<AIOFile>& file, std::filesystem::path path) -> Task<> {
      file.emplace(co_await AIOFile(path));
    }(theirs, directory / "theirs"));
    opened.count_down();
    done.wait();
    theirs.reset();
  });
  opened.wait();
  Context context(caio::Implementation::thread);
  context.run([](AIOFile& foreign, std::filesystem::path path) -> Task<> {
    AIOFile file = co_await AIOFile(path, "w");
    CHECK_YIELDS(error_of(work(file, foreign, {0, 10}, all_of_it)), EINVAL);
    co_await file.close();
  }(*theirs, directory / "ours"));
  done.count_down();
  other.join();
}

TEST_CASE("PiecewiseOperation: with a file of another context of the thread, that has ended") {
  const TemporaryDirectory directory;
  directory.file("theirs", "");
  Context context(caio::Implementation::thread);
  context.run([](const TemporaryDirectory& files) -> Task<> {
    std::optional<Context> other(std::in_place, caio::Implementation::thread);
    AIOFile theirs = co_await AIOFile(files / "theirs", "r", {.context = &*other});
    AIOFile file = co_await AIOFile(files / "ours", "w");
    CHECK_YIELDS(error_of(work(file, theirs, {0, 10}, all_of_it)), 0);
    other.reset();
    CHECK_YIELDS(error_of(work(file, theirs, {0, 10}, all_of_it)), EBADF);
    co_await file.close();
  }(directory));
}

TEST_CASE("PiecewiseOperation: one that would wait on a stream waits without a thread, and can be stopped") {
  support::on_every_backend(
      [](Context& context) -> Task<> {
        const support::Pipe pipe(O_CLOEXEC | O_NONBLOCK);
        const std::string block(4096, 'x');
        while (::write(pipe.writer.get(), block.data(), block.size()) > 0) {
        }
        AIOFile out = AIOFile::from_fd(pipe.writer.get(), "wb");
        const auto send = [](int fd, int, std::uint64_t, std::uint64_t) -> std::int64_t {
          const ::ssize_t count = ::write(fd, "y", 1);
          return count < 0 ? -errno : count;
        };
        std::stop_source source;
        std::optional<aiofile::FileError> error;
        std::uint64_t sent = 0;
        caio::TaskGroup group;
        group.spawn([](AIOFile& file, Piece piece, std::stop_token token, auto& result) -> Task<> {
          result = co_await failure_of(caio::with_stop(token, work(file, {0, 10}, piece)));
        }(out, send, source.get_token(), error));
        group.spawn([](AIOFile& file, Piece piece, std::uint64_t& count) -> Task<> {
          count = co_await work(file, {0, 2}, piece);
        }(out, send, sent));
        for (int i = 0; i < 5; ++i) co_await context.offload([] {});  // the only thread is free
        source.request_stop();
        while (!error) co_await context.schedule();
        CHECK(error->code().value() == ECANCELED);
        CHECK(error->transferred() == 0);
        CHECK(sent == 0);
        std::string taken(65536, '\0');
        CHECK(::read(pipe.reader.get(), taken.data(), taken.size()) > 0);
        co_await group.join();
        CHECK(sent == 2);
      },
      {.pool_size = 1});
}
