#include <aiofile/lifecycle_operations.hpp>

#include <sys/stat.h>

#include <aiofile/file.hpp>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <cerrno>
#include <latch>
#include <optional>
#include <string>
#include <vector>

#include "held_backend.hpp"
#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using caio::Context;
using caio::Opcode;
using caio::Task;
using caio::TaskGroup;
using outcome::Bench;
using outcome::error_of;
using outcome::is_open;
using outcome::pattern;
using outcome::store_error;
using support::Fd;
using support::TemporaryDirectory;

namespace {

Task<> store_open(AIOFile& file, std::optional<int>& fd, int& error) {
  try {
    fd = co_await file.open();
    error = 0;
  } catch (const aiofile::FileError& failure) {
    error = failure.code().value();
  }
}

std::filesystem::path make_fifo(const TemporaryDirectory& directory) {
  ::mkfifo((directory / "fifo").c_str(), 0600);
  return directory / "fifo";
}

/// Until an open has found that nobody reads the FIFO, and waits for the next try.
Task<> until_parked(Context& context) {
  while (context.stats().parked == 0) co_await context.schedule();
}

using Opcodes = std::vector<Opcode>;

int closed_for_real = 0;

}  // namespace

// ---- opening -------------------------------------------------------------------------------------------------------

TEST_CASE("Open: one that is stopped while it waits can be tried again") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(make_fifo(directory), "w");
    int error = -1;
    TaskGroup group;
    group.spawn(store_error(file.open(), error));
    co_await until_parked(context);
    group.request_stop();
    co_await group.join();
    CHECK(error == ECANCELED);
    CHECK(file.closed());
    const Fd reader(directory / "fifo", O_RDONLY | O_NONBLOCK);
    const std::optional<int> fd = co_await file.open();
    CHECK(fd.has_value());
  });
}

TEST_CASE("Open: when the one that does it is stopped, the next one does it") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(make_fifo(directory), "w");
    int first_error = -1;
    std::vector<std::optional<int>> fds(2);
    std::vector<int> errors(2, -1);
    TaskGroup others;
    TaskGroup first;
    first.spawn(store_error(file.open(), first_error));
    for (std::size_t i = 0; i < 2; ++i) others.spawn(store_open(file, fds[i], errors[i]));
    co_await until_parked(context);
    first.request_stop();
    co_await first.join();
    CHECK(first_error == ECANCELED);
    const Fd reader(directory / "fifo", O_RDONLY | O_NONBLOCK);
    co_await others.join();
    CHECK(errors == std::vector{0, 0});
    CHECK(fds[0].has_value() + fds[1].has_value() == 1);
    CHECK(is_open(file.fileno()));
  });
}

TEST_CASE("Open: when the one that does it is destroyed, the next one does it") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(make_fifo(directory), "w");
    int never = -1;
    std::optional<int> fd;
    int error = -1;
    TaskGroup other;
    {
      TaskGroup first;
      first.spawn(store_error(file.open(), never));
      other.spawn(store_open(file, fd, error));
      co_await until_parked(context);
    }
    const Fd reader(directory / "fifo", O_RDONLY | O_NONBLOCK);
    co_await other.join();
    CHECK(never == -1);
    CHECK(error == 0);
    CHECK(fd == file.fileno());
  });
}

TEST_CASE("Open: one that waits for another can be stopped without harm to that") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(make_fifo(directory), "w");
    std::optional<int> fd;
    int error = -1;
    int stopped = -1;
    TaskGroup first;
    TaskGroup waiting;
    first.spawn(store_open(file, fd, error));
    waiting.spawn(store_error(file.open(), stopped));
    waiting.request_stop();
    co_await waiting.join();
    CHECK(stopped == ECANCELED);
    const Fd reader(directory / "fifo", O_RDONLY | O_NONBLOCK);
    co_await first.join();
    CHECK(error == 0);
    CHECK(fd == file.fileno());
  });
}

TEST_CASE("Open: a stop that comes too late for one try ends it before the next") {
  const TemporaryDirectory directory;
  auto made = std::make_unique<outcome::HeldBackend>();
  outcome::HeldBackend& backend = *made;
  backend.holds = [](const caio::Request&) { return true; };
  backend.obeys = false;
  Context context(std::move(made));
  AIOFile file(make_fifo(directory), "w", {.context = &context});
  int error = -1;
  TaskGroup group;
  group.spawn(store_error(file.open(), error));
  context.poll();
  group.request_stop();
  backend.end_first(-ENXIO);
  while (context.poll() > 0) {
  }
  CHECK(error == ECANCELED);
  CHECK(context.stats().parked == 0);
}

TEST_CASE("Open: one that is destroyed leaves no descriptor behind") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    directory.file("file", "text");
    AIOFile file(directory / "file");
    {
      int never = -1;
      TaskGroup group;
      group.spawn(store_error(file.open(), never));
    }
    CHECK(file.closed());
    CHECK(outcome::descriptors_of(directory / "file") == 0);
    const std::optional<int> fd = co_await file.open();
    CHECK(fd.has_value());
  });
}

TEST_CASE("Open: the file object may go while it opens") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    int error = -1;
    TaskGroup group;
    {
      AIOFile file(directory.file("file", "text"));
      group.spawn(store_error(file.open(), error));
    }
    co_await group.join();
    CHECK(error == 0);
    CHECK(outcome::descriptors_of(directory / "file") == 0);
  });
}

TEST_CASE("Open: is refused at once while a close runs") {
  Bench bench;
  bench.backend.holds = [](const caio::Request&) { return true; };
  std::vector<int> errors(2, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.close(), errors[0]));
  group.spawn(store_error(bench.file.open(), errors[1]));
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::close});
  CHECK(errors == std::vector{-1, EBADF});
  bench.backend.end_first(0);
  bench.settle();
  CHECK(errors == std::vector{0, EBADF});
}

// ---- closing -------------------------------------------------------------------------------------------------------

TEST_CASE("Close: is submitted when nothing is in flight any more") {
  Bench bench;
  std::vector<int> errors(3, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.write("text"), errors[0]));
  group.spawn(store_error(bench.file.read(4), errors[1]));
  group.spawn(store_error(bench.file.close(), errors[2]));
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::write, Opcode::read});
  CHECK(bench.file.closed());
  bench.backend.end_first(4);
  bench.settle();
  CHECK(std::count(bench.backend.history.begin(), bench.backend.history.end(), Opcode::close) == 0);
  bench.backend.end_first(0);
  bench.settle();
  CHECK(std::count(bench.backend.history.begin(), bench.backend.history.end(), Opcode::close) == 1);
  CHECK(errors == std::vector{0, 0, 0});
}

TEST_CASE("Close: does not wait for operations of a clone, whose close does") {
  Bench bench;
  AIOFile copy = bench.file.clone();
  std::vector<int> errors(2, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.write("text"), errors[0]));
  bench.settle();
  CHECK(bench.context.run(error_of(copy.close())) == 0);
  group.spawn(store_error(bench.file.close(), errors[1]));
  bench.settle();
  CHECK(errors == std::vector{-1, -1});
  bench.backend.end_first(4);
  bench.settle();
  CHECK(errors == std::vector{0, 0});
}

TEST_CASE("Close: the system's error is reported once, and the descriptor is gone") {
  Bench bench;
  bench.backend.holds = [](const caio::Request&) { return true; };
  std::vector<int> errors(2, -1);
  TaskGroup group;
  for (int& error : errors) group.spawn(store_error(bench.file.close(), error));
  bench.settle();
  REQUIRE(bench.backend.opcodes() == Opcodes{Opcode::close});
  bench.backend.end_first(-EIO);
  bench.settle();
  CHECK(errors == std::vector{EIO, 0});
  CHECK(bench.file.closed());
}

TEST_CASE("Close: text that a thread encodes meanwhile does not begin to wait for a stream that is being closed") {
  support::on_every_backend(
      [](Context& context) -> Task<> {
        support::Pipe pipe;
        AIOFile file = AIOFile::from_fd(pipe.writer.get(), "w", {.encoding = "utf-16"});
        const std::string text(1'000'000, 'x');
        int written = 0;
        int closed = -1;
        std::latch closing(1);
        TaskGroup group;
        if (context.implementation() != caio::Implementation::blocking) {  // there, all is done in its turn
          group.spawn([](Context& own, std::latch& latch) -> Task<> {
            co_await own.offload([&latch] { latch.wait(); });
          }(context, closing));
        }
        group.spawn(store_error(file.write(text), written));
        group.spawn(store_error(file.close(), closed));
        closing.count_down();
        co_await group.join();
        CHECK(written == ECANCELED);
        CHECK(closed == 0);
      },
      {.pool_size = 1});
}

TEST_CASE("Close: a stop token does not stop it") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const int fd = file.fileno();
    const std::string content = pattern(3'000'000);
    std::vector<int> errors(2, -1);
    TaskGroup writer;
    TaskGroup closer;
    writer.spawn(store_error(file.write(content), errors[0]));
    closer.request_stop();
    closer.spawn(store_error(file.close(), errors[1]));
    co_await closer.join();
    CHECK(errors == std::vector{0, 0});
    CHECK_FALSE(is_open(fd));
    co_await writer.join();
  });
}

TEST_CASE("Close: one that is destroyed lets go of the descriptor all the same") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const int fd = file.fileno();
    int never = -1;
    {
      TaskGroup closer;
      closer.spawn(store_error(file.close(), never));
    }
    CHECK(file.closed());
    CHECK_FALSE(is_open(fd));
    const int error = co_await error_of(file.write("text"));
    CHECK(error == EBADF);
  });
}

TEST_CASE("Close: one that is destroyed while writes run lets go of the descriptor behind them") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const int fd = file.fileno();
    const std::string content = pattern(3'000'000);
    int error = -1;
    TaskGroup writer;
    writer.spawn(store_error(file.write(content), error));
    {
      int never = -1;
      TaskGroup closer;
      closer.spawn(store_error(file.close(), never));
    }
    co_await writer.join();
    CHECK(error == 0);
    CHECK(file.closed());
    CHECK_FALSE(is_open(fd));
    CHECK((support::content_of(directory / "file") == content));
  });
}

TEST_CASE("Close: a borrowed descriptor is not closed by a close that is destroyed") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::Pipe pipe;
    AIOFile file = AIOFile::from_fd(pipe.reader.get(), "r");
    int error = -1;
    TaskGroup reader;
    reader.spawn(store_error(file.read(), error));
    {
      int never = -1;
      TaskGroup closer;
      closer.spawn(store_error(file.close(), never));
    }
    co_await reader.join();
    CHECK(error == ECANCELED);
    CHECK(is_open(pipe.reader.get()));
  });
}

TEST_CASE("Close: the end of the context leaves no descriptor open") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      int error = -1;
      {
        Context context(implementation);
        auto work = [](std::filesystem::path path, int& place) -> Task<> {
          AIOFile file(path, "w");
          place = co_await error_of(file.open());
          if (place == 0) place = co_await error_of(file.close());
        };
        context.spawn(work(directory / "file", error));
        context.poll();  // it has begun to open, or to close
      }
      CHECK(outcome::descriptors_of(directory / "file") == 0);
    }
  }
}

TEST_CASE("Close: numbers of a user's own backend are no descriptors of the process") {
  const support::ReplacedCalls calls;
  closed_for_real = 0;
  {
    auto made = std::make_unique<outcome::HeldBackend>();
    outcome::HeldBackend& backend = *made;
    Context context(std::move(made));
    std::optional<AIOFile> file(std::in_place, "file", "r+", aiofile::OpenOptions{.context = &context});
    REQUIRE(context.run(error_of(file->open())) == 0);
    calls->close = [](int) { return ++closed_for_real, 0; };
    SECTION("when the file goes without a close") { file.reset(); }
    SECTION("when the close is destroyed") {
      backend.holds = [](const caio::Request&) { return true; };
      int never = -1;
      int written = -1;
      TaskGroup writer;
      writer.spawn(store_error(file->write("text"), written));
      context.poll();
      {
        TaskGroup closer;
        closer.spawn(store_error(file->close(), never));
      }
    }
    SECTION("when the context has ended before the close") {
      AIOFile later = std::move(*file);
      file.reset();
      {
        auto other = std::make_unique<outcome::HeldBackend>();
        Context ended(std::move(other));
        file.emplace("file", "r+", aiofile::OpenOptions{.context = &ended});
        REQUIRE(ended.run(error_of(file->open())) == 0);
      }
      CHECK(context.run(error_of(file->close())) == 0);
      CHECK(context.run(error_of(later.close())) == 0);
    }
  }
  CHECK(closed_for_real == 0);
}
