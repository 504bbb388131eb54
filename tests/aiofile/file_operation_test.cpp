#include <aiofile/file_operation.hpp>

#include <poll.h>

#include <aiofile/file.hpp>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "outcome.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using caio::Context;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using outcome::pattern;
using outcome::store_error;
using support::TemporaryDirectory;

TEST_CASE("File operations: allocate nothing once everything has been used") {
  support::on_every_backend(
      [](Context&) -> Task<> {
        const TemporaryDirectory directory;
        AIOFile file = co_await AIOFile(directory / "file", "wb+");
        const std::string big = pattern(100'000);
        std::vector<std::byte> memory(big.size());
        std::size_t before = 0;
        for (int round = 0; round < 60; ++round) {
          if (round == 10) before = support::allocations();
          co_await file.write("small", 5);
          co_await file.write(big);
          co_await file.read_into(memory);
          co_await file.size();
          co_await file.truncate(50'000);
          if (round % 20 == 0) co_await file.fdsync();
        }
        CHECK(support::allocations() == before);
        co_await file.close();
      },
      {.pool_size = 1});  // a thread that is started later allocates
}

TEST_CASE("File operations: read allocates its string only") {
  if (!support::counts_allocations) return;
  support::on_every_backend(
      [](Context&) -> Task<> {
        const TemporaryDirectory directory;
        AIOFile file = co_await AIOFile(directory.file("file", pattern(5000)));
        std::size_t before = 0;
        for (int round = 0; round < 60; ++round) {
          if (round == 10) before = support::allocations();
          const std::string text = co_await file.read(5000);
          CHECK(text.size() == 5000);
        }
        CHECK(support::allocations() - before >= 50);
        const std::size_t own = support::allocations();
        for (int round = 0; round < 50; ++round) co_await file.read(5000);
        CHECK(support::allocations() == own + 50);
      },
      {.pool_size = 1});  // a thread that is started later allocates
}

TEST_CASE("File operations: can be awaited on another thread, and resume on the context's") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w+");
    const std::thread::id home = std::this_thread::get_id();
    auto work = [](AIOFile& used, std::thread::id& resumed) -> Task<> {
      co_await used.write("from another thread");
      resumed = std::this_thread::get_id();
    };
    std::thread::id resumed;
    TaskGroup group;
    std::thread([&] { group.spawn(work(file, resumed)); }).join();
    co_await group.join();
    CHECK(resumed == home);
    const std::string all = co_await file.read();
    CHECK(all == "from another thread");
    CHECK(&file.context() == &context);
  });
}

TEST_CASE("File operations: those of one thread's contexts can be awaited together") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    Context other(caio::Implementation::thread);
    AIOFile from = co_await AIOFile(directory.file("from", pattern(200'000)), "r", {.context = &other});
    AIOFile to = co_await AIOFile(directory / "to", "w", {.context = &context});
    for (std::uint64_t at = 0; at < 200'000; at += 50'000) {
      const std::string part = co_await from.read(50'000, at);
      co_await to.write(part, at);
    }
    co_await from.close();
    co_await to.close();
    CHECK((support::content_of(directory / "to") == pattern(200'000)));
  });
}

TEST_CASE("File operations: go on after a short count in a foreign loop") {
  support::on_every_backend([](Context& context) {
    const TemporaryDirectory directory;
    auto work = [](std::filesystem::path path, std::string& text) -> Task<> {
      AIOFile file = co_await AIOFile(path);
      text = co_await file.read();  // one byte more than there is: the first count is short
    };
    std::string text;
    context.spawn(work(directory.file("file", "text"), text));
    ::pollfd polled{.fd = context.fileno(), .events = POLLIN, .revents = 0};
    while (text.empty()) {
      const bool again = context.flush();
      REQUIRE((again || ::poll(&polled, 1, -1) == 1));
      context.poll();
    }
    CHECK(text == "text");
  });
}

TEST_CASE("File operations: go on after a short count beside another context of the thread") {
  for (const support::Setup& setup : support::setups()) {
    DYNAMIC_SECTION(setup.name) {
      const TemporaryDirectory directory;
      const std::filesystem::path path = directory.file("file", "text");
      const std::string answer = support::answer_in_child([&] {
        ::alarm(60);
        const support::Masks masks(setup.old_kernel);
        auto work = [](std::filesystem::path name) -> Task<std::string> {
          AIOFile file = co_await AIOFile(name);
          co_return co_await file.read();
        };
        Context first(caio::Implementation::blocking);
        first.run(work(path));
        Context second(setup.implementation, {.speculate = setup.speculate});
        return second.run(work(path));
      });
      CHECK(answer == "text");
    }
  }
}

TEST_CASE("File operations: more at once than the context takes wait their turn") {
  support::on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        AIOFile file = co_await AIOFile(directory / "file", "wb+");
        std::vector<unsigned> indices(40);
        for (unsigned i = 0; i < 40; ++i) indices[i] = i;
        co_await caio::gather(indices, [&](unsigned i) { return file.write(pattern(4096, i), i * 4096); });
        const auto parts = co_await caio::gather(indices, [&](unsigned i) { return file.read(4096, i * 4096); });
        for (const unsigned i : indices) CHECK((parts[i] == pattern(4096, i)));
        CHECK(context.stats().max_in_flight <= 2);
      },
      {.max_requests = 2});
}

TEST_CASE("File operations: wait for the file's end with the context, and none is left waiting") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const support::Pipe pipe;
      int error = -1;
      {
        Context context(implementation);
        auto work = [](Context& used, int fd, int& place) -> Task<> {
          AIOFile file = AIOFile::from_fd(fd, "r", {.context = &used});
          place = co_await error_of(file.read());
        };
        context.spawn(work(context, pipe.reader.get(), error));
        context.poll();
        CHECK(error == -1);
      }
      CHECK(error == ECANCELED);
    }
  }
}

TEST_CASE("Close: a read of a pipe that is between two steps is cancelled, too") {
  support::on_every_backend([](Context& context) {
    support::Pipe pipe;
    std::optional<AIOFile> file(AIOFile::from_fd(pipe.reader.get(), "r", {.context = &context}));
    int read = -1;
    int closed = -1;
    context.poll();
    TaskGroup group;
    group.spawn(store_error(file->read(), read));
    context.poll();
    auto fill_and_close = [](Context& used, AIOFile& given, int fd, int& place) -> Task<> {
      const std::string chunk = pattern(16 * 1024);  // what a read without a known size takes first
      static_cast<void>(!::write(fd, chunk.data(), chunk.size()));
      co_await used.schedule();
      place = co_await error_of(given.close());
    };
    group.spawn(fill_and_close(context, *file, pipe.writer.get(), closed));
    while (closed == -1 || read == -1) context.poll();
    CHECK(closed == 0);
    CHECK(read == ECANCELED);
  });
}
