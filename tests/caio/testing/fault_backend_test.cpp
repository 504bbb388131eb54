#include <caio/testing/fault_backend.hpp>

#include <fcntl.h>

#include <aiofile/aiofile.hpp>
#include <array>
#include <caio/testing/memory_backend.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::FileError;
using caio::Context;
using caio::Descriptor;
using caio::Opcode;
using caio::Task;
using caio::testing::every;
using caio::testing::FaultBackend;
using caio::testing::FaultCounts;
using caio::testing::FaultScript;
using caio::testing::from;
using caio::testing::MemoryBackend;
using caio::testing::MemoryFiles;
using support::bytes_of;
using support::errno_of;
using support::room_in;

namespace {

/// Runs `work(context, path, faults)` with faults around memory and around each backend of the system.
void everywhere(const FaultScript& script, std::function<Task<>(Context&, std::string, const FaultBackend&)> work) {
  SECTION("memory") {
    MemoryFiles files;
    files.write("file", "0123456789");
    auto backend = std::make_unique<FaultBackend>(std::make_unique<MemoryBackend>(files), script);
    const FaultBackend& faults = *backend;
    Context context(std::move(backend));
    context.run(work(context, "file", faults));
    CHECK(faults.counts().held == 0);
    CHECK(files.open_count() == 0);
  }
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const support::TemporaryDirectory directory;
      auto backend = std::make_unique<FaultBackend>(caio::make_backend(implementation), script);
      const FaultBackend& faults = *backend;
      Context context(std::move(backend));
      CHECK(context.implementation() == implementation);
      CHECK(context.explain().starts_with("faults around "));
      context.run(work(context, directory.file("file", "0123456789").string(), faults));
      CHECK(faults.counts().held == 0);
      CHECK(context.stats().submitted == context.stats().completed);
      CHECK(support::descriptors_on(directory.path()) == 0);
    }
  }
}

}  // namespace

TEST_CASE("FaultBackend: the nth request fails, and is not carried out; the others are") {
  FaultScript script;
  script.fail(Opcode::write, 2, ENOSPC).fail(Opcode::fsync, 1, EIO).fail(Opcode::truncate, 1, EFBIG);
  script.fail(Opcode::size, 1, EIO).fail(Opcode::open, 2, EMFILE);
  everywhere(script, [](Context& context, std::string path, const FaultBackend& faults) -> Task<> {
    AIOFile file("", "r");
    file = co_await AIOFile(path, "r+");
    CHECK_YIELDS(errno_of(AIOFile(path, "r").open()), EMFILE);
    CHECK_YIELDS(file.write("a", 0), 1U);
    CHECK_YIELDS(errno_of(file.write("b", 1)), ENOSPC);
    CHECK_YIELDS(file.write("c", 2), 1U);
    CHECK_YIELDS(errno_of(file.truncate(3)), EFBIG);
    CHECK_YIELDS(errno_of(file.size()), EIO);
    CHECK_YIELDS(file.read(), "a1c3456789");
    CHECK_YIELDS(errno_of(file.fsync()), EIO);
    CHECK_YIELDS(errno_of(file.fsync()), EIO);  // a file whose sync has failed stays failed
    CHECK_YIELDS(errno_of(file.close()), EIO);
    CHECK(faults.counts().errors == 5);
    CHECK(context.stats().speculated == 0);
  });
}

TEST_CASE("FaultBackend: shortened transfers move no more, and whole operations go on") {
  FaultScript script;
  script.shorten(Opcode::read, every, 1).shorten(Opcode::write, every, 3);
  script.shorten(Opcode::readv, every, 3).shorten(Opcode::writev, every, 4);
  everywhere(script, [](Context& context, std::string path, const FaultBackend& faults) -> Task<> {
    const Descriptor file = co_await context.open(path, O_RDWR);
    std::string text(10, '?');
    CHECK_YIELDS(context.read(file, room_in(text), 4), 1U);
    CHECK(text == "4?????????");
    CHECK_YIELDS(context.write(file, bytes_of("abcde"), 0), 3U);
    std::string left(2, '?');
    std::string right(5, '?');
    const std::array<::iovec, 2> vectors{::iovec{left.data(), left.size()}, ::iovec{right.data(), right.size()}};
    CHECK_YIELDS(context.readv(file, vectors, 0), 3U);
    CHECK(left + right == "abc????");
    left = "xy";
    right = "zZZZZ";
    CHECK_YIELDS(context.writev(file, vectors, 5), 4U);
    co_await context.close(file);
    AIOFile whole = co_await AIOFile(path, "r+");
    CHECK_YIELDS(whole.read(), "abc34xyzZ9");
    CHECK_YIELDS(whole.write("0123456789"), 10U);
    CHECK_YIELDS(whole.read_bytes(4, 2), (std::vector{std::byte{'2'}, std::byte{'3'}, std::byte{'4'}, std::byte{'5'}}));
    co_await whole.close();
    CHECK(faults.counts().shortened >= 4 + 10 + 4 + 4);
  });
}

TEST_CASE("FaultBackend: a read of 0 is a false end of the file, a write of 0 an error") {
  FaultScript script;
  script.shorten(Opcode::read, 1, 0).shorten(Opcode::write, 1, 0);
  everywhere(script, [](Context&, std::string path, const FaultBackend&) -> Task<> {
    AIOFile file = co_await AIOFile(path, "r+");
    CHECK_YIELDS(file.read(), "");
    CHECK_YIELDS(file.read(), "0123456789");
    CHECK_YIELDS(errno_of(file.write("x")), EIO);
    co_await file.close();
  });
}

TEST_CASE("FaultBackend: EINTR and EAGAIN reach nobody") {
  FaultScript script;
  for (const std::uint64_t nth : {1U, 3U}) script.fail(caio::testing::any_request, nth, EINTR);
  script.fail(Opcode::read, 1, EAGAIN).fail(Opcode::write, 1, EAGAIN).fail(Opcode::close, 1, EINTR);
  everywhere(script, [](Context&, std::string path, const FaultBackend& faults) -> Task<> {
    AIOFile file = co_await AIOFile(path, "r+");
    CHECK_YIELDS(file.read(), "0123456789");
    CHECK_YIELDS(file.write("x"), 1U);
    co_await file.close();
    CHECK(faults.counts().interruptions >= 4);
  });
}

TEST_CASE("FaultBackend: delays change the order of completions") {
  FaultScript script;
  script.delay(Opcode::read, 1, 200).hold_back(Opcode::read, 2, 3);
  everywhere(script, [](Context&, std::string path, const FaultBackend& faults) -> Task<> {
    AIOFile file = co_await AIOFile(path, "r");
    std::vector<int> order;
    auto read = [](AIOFile& from, int number, std::vector<int>& ended) -> Task<> {
      const std::string text = co_await from.read(1, static_cast<std::uint64_t>(number));
      CHECK(text == std::to_string(number));
      ended.push_back(number);
    };
    co_await caio::gather(read(file, 0, order), read(file, 1, order), read(file, 2, order));
    CHECK(order.size() == 3);
    CHECK(order[0] != 0);
    co_await file.close();
    CHECK(faults.counts().delayed == 2);
  });
}

TEST_CASE("FaultBackend: in memory, the order of completions is the script's to the last") {
  MemoryFiles files;
  files.write("file", "0123456789");
  FaultScript script;
  script.delay(Opcode::read, 1, 200).hold_back(Opcode::read, 2, 3);
  Context context(std::make_unique<FaultBackend>(std::make_unique<MemoryBackend>(files), script));
  std::vector<int> order;
  context.run([](std::vector<int>& ended) -> Task<> {
    AIOFile file = co_await AIOFile("file", "r");
    auto read = [](AIOFile& from, int number, std::vector<int>& list) -> Task<> {
      co_await from.read(1);
      list.push_back(number);
    };
    co_await caio::gather(read(file, 0, ended), read(file, 1, ended), read(file, 2, ended));
    co_await file.close();
  }(order));
  CHECK(order == std::vector{2, 1, 0});
}

TEST_CASE("FaultBackend: a cancel finds a delayed request in time, and one that is held back too late") {
  for (const bool in_time : {true, false}) {
    DYNAMIC_SECTION((in_time ? "delayed" : "held back")) {
      MemoryFiles files;
      files.write("file", "old");
      FaultScript script;
      if (in_time) {
        script.delay(Opcode::write, 1, 1000);
      } else {
        script.hold_back(Opcode::write, 1, 20);
      }
      Context context(std::make_unique<FaultBackend>(std::make_unique<MemoryBackend>(files), script));
      int error = -1;
      context.run([](Context& each, int& outcome) -> Task<> {
        AIOFile file = co_await AIOFile("file", "r+");
        std::stop_source source;
        auto stop = [](Context& where, std::stop_source& asked) -> Task<> {
          co_await where.schedule();
          asked.request_stop();
        };
        auto write = [](std::stop_token token, AIOFile& to) -> Task<int> {
          const int failed = co_await errno_of(caio::with_stop(token, to.write("new")));
          co_return failed;
        };
        const auto [result] = co_await caio::gather(write(source.get_token(), file), stop(each, source));
        outcome = result;
        co_await file.close();
      }(context, error));
      CHECK(error == (in_time ? ECANCELED : 0));
      CHECK(files.content("file") == (in_time ? "old" : "new"));
    }
  }
}

TEST_CASE("FaultBackend: a failing close closes, and says so") {
  FaultScript script;
  script.fail(Opcode::close, every, EIO);
  everywhere(script, [](Context& context, std::string path, const FaultBackend&) -> Task<> {
    const Descriptor raw = co_await context.open(path, O_RDONLY);
    CHECK_YIELDS(errno_of(context.close(raw)), EIO);
    AIOFile file = co_await AIOFile(path, "r");
    CHECK_YIELDS(errno_of(file.close()), EIO);
    CHECK(file.closed());
  });
}

TEST_CASE("FaultBackend: a destructor's delivery meets the script, too, and what is lost is told") {
  FaultScript script;
  script.fail(Opcode::write, every, ENOSPC);
  everywhere(script, [](Context& context, std::string path, const FaultBackend&) -> Task<> {
    std::vector<caio::LostData> lost;
    context.on_lost_data([&lost](const caio::LostData& data) { lost.push_back(data); });
    {
      auto stream = co_await aiofile::async_open(path, "w", {.buffering = 100});
      co_await stream.write("gathered");
    }
    REQUIRE(lost.size() == 1);
    CHECK(lost[0].path == path);
    CHECK(lost[0].bytes == 8);
    CHECK(lost[0].error.value() == ENOSPC);
    context.on_lost_data({});
  });
}

TEST_CASE("FaultBackend: a foreign loop is told of what comes late") {
  FaultScript script;
  script.delay(Opcode::read, every, 3).hold_back(Opcode::read, every, 3);
  MemoryFiles files;
  files.write("file", "content");
  Context context(std::make_unique<FaultBackend>(std::make_unique<MemoryBackend>(files), script));
  bool done = false;
  context.spawn([](bool& finished) -> Task<> {
    AIOFile file = co_await AIOFile("file", "r");
    CHECK_YIELDS(file.read(), "content");
    co_await file.close();
    finished = true;
  }(done));
  while (!done) {
    if (!context.flush()) {
      ::pollfd readable{.fd = context.fileno(), .events = POLLIN, .revents = 0};
      REQUIRE(::poll(&readable, 1, 10'000) == 1);  // a lost wake-up would take that long
    }
    context.poll();
  }
}

TEST_CASE("FaultBackend: a context that ends waits for what is delayed") {
  MemoryFiles files;
  files.write("file", "content");
  FaultScript script;
  script.delay(Opcode::read, every, 50).hold_back(Opcode::read, every, 50);
  std::vector<std::string> texts(8, std::string(7, '?'));
  int ended = 0;
  auto read = [](Context& context, Descriptor file, std::string& text, int& count) -> support::Stranger<> {
    const int error = co_await errno_of(context.read(file, room_in(text), 0));
    CHECK((error == 0 || error == ECANCELED));
    ++count;
  };
  std::vector<support::Stranger<>> readers;
  {
    Context context(std::make_unique<FaultBackend>(std::make_unique<MemoryBackend>(files), script));
    const Descriptor file = context.run([](Context& each) -> Task<Descriptor> {
      const Descriptor opened = co_await each.open("file", O_RDONLY);
      co_return opened;
    }(context));
    for (std::string& text : texts) readers.push_back(read(context, file, text, ended));
    for (const auto& reader : readers) reader.start();
    readers.pop_back();
    context.poll();
  }
  CHECK(ended == 7);
}

TEST_CASE("FaultBackend: what chance does is the same for the same seed") {
  const auto history = [](std::uint64_t seed) {
    MemoryFiles files;
    auto backend = std::make_unique<FaultBackend>(
        std::make_unique<MemoryBackend>(files),
        FaultScript(seed, {.short_counts = 40, .interruptions = 20, .errors = 10, .delays = 40}));
    const FaultBackend& faults = *backend;
    Context context(std::move(backend));
    std::string outcomes = context.run([]() -> Task<std::string> {
      std::string list;
      AIOFile file("file", "w+");
      while (co_await errno_of(file.open()) != 0) list += 'o';
      for (std::uint64_t i = 0; i < 50; ++i) {
        const int error = co_await errno_of(file.write("some text", i * 5));
        list += error == 0 ? '.' : 'x';
      }
      co_await file.close();
      co_return list;
    }());
    const FaultCounts counts = faults.counts();
    return outcomes + files.content("file") + std::to_string(counts.requests) + " " + std::to_string(counts.delayed);
  };
  CHECK(history(3) == history(3));
  CHECK(history(3) != history(4));
}

TEST_CASE("FaultBackend: a destructor goes on after interruptions, as the context does") {
  for (const int error : {EINTR, EAGAIN}) {
    MemoryFiles files;
    Context context(std::make_unique<FaultBackend>(std::make_unique<MemoryBackend>(files),
                                                   FaultScript().fail(Opcode::write, 1, error)));
    context.on_lost_data([](const caio::LostData&) { CHECK(false); });
    context.run([]() -> Task<> {
      auto stream = co_await aiofile::async_open("file", "w", {.buffering = 100});
      co_await stream.write("gathered");
    }());
    CHECK(files.content("file") == "gathered");
  }
}

TEST_CASE("FaultBackend: what is held back and fails comes late, too") {
  MemoryFiles files;
  files.write("file", "0123456789");
  FaultScript script;
  script.hold_back(Opcode::read, 1, 5).fail(Opcode::read, 1, EIO);
  Context context(std::make_unique<FaultBackend>(std::make_unique<MemoryBackend>(files), script));
  std::vector<int> order;
  context.run([](std::vector<int>& ended) -> Task<> {
    AIOFile file = co_await AIOFile("file", "r");
    auto read = [](AIOFile& from, int number, std::vector<int>& list) -> Task<> {
      const int error = co_await errno_of(from.read(1));
      CHECK(error == (number == 0 ? EIO : 0));
      list.push_back(number);
    };
    co_await caio::gather(read(file, 0, ended), read(file, 1, ended));
    co_await file.close();
  }(order));
  CHECK(order == std::vector{1, 0});
}
