#include <caio/operation.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <caio/context.hpp>
#include <caio/task_group.hpp>

#include <atomic>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <type_traits>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Task;
using support::alphabet;
using support::bytes_of;
using support::Countdown;
using support::errno_of;
using support::on_every_backend;
using support::Pipe;
using support::room_in;
using support::Stranger;
using support::TemporaryDirectory;
using support::TokenByReference;
using support::TokenByValue;
using support::WithoutToken;
using namespace std::chrono_literals;

namespace {

/// How an operation ended: not yet, with a value, or with an errno.
struct Outcome {
  bool ended = false;
  std::size_t count = 0;
  int error = 0;
  std::thread::id thread;
};

template <class Base = WithoutToken, class Operation>
Stranger<Base> observe(Operation operation, Outcome& outcome) {
  try {
    if constexpr (std::is_same_v<decltype(operation.await_resume()), std::size_t>) {
      outcome.count = co_await std::move(operation);
    } else {
      static_cast<void>(co_await std::move(operation));
    }
  } catch (const std::system_error& error) {
    outcome.error = error.code().value();
  }
  outcome.thread = std::this_thread::get_id();
  outcome.ended = true;
}

/// Reads one byte of the file and checks that it is the right one.
Stranger<> read_byte(Context& context, const Descriptor& file, int offset, Countdown& countdown, int& right) {
  char byte = '?';
  const std::size_t count = co_await context.read(file, std::as_writable_bytes(std::span(&byte, 1)), offset);
  if (count == 1 && byte == static_cast<char>('a' + offset % 26)) ++right;
  countdown.count_down();
}

/// 4 KiB, aligned for O_DIRECT.
struct alignas(4096) Page {
  std::array<std::byte, 4096> bytes{};
};

/// Neither caught nor ended: only its destruction frees it.
template <class Operation>
Stranger<> await_with(std::shared_ptr<int> kept, Operation operation) {
  static_cast<void>(co_await std::move(operation));
  ++*kept;
}

template <class Operation>
constexpr bool movable_only = std::is_move_constructible_v<Operation> && !std::is_copy_constructible_v<Operation> &&
                              !std::is_move_assignable_v<Operation>;

}  // namespace

// --- before the start

TEST_CASE("Operation: nothing happens without await") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", "before"), O_RDWR);
    const caio::ContextStats before = context.stats();
    bool called = false;
    std::string text = "after!";
    {
      const auto write = context.write(file, bytes_of(text), 0);
      const auto sync = context.fsync(file);
      const auto open = context.open(directory / "other", O_RDWR | O_CREAT);
      const auto close = context.close(file);
      const auto offload = context.offload([&called] { called = true; });
      const auto sleep = context.sleep_for(1h);
      const auto schedule = context.schedule();
    }
    co_await context.schedule();
    CHECK(context.stats().submitted == before.submitted);
    CHECK_FALSE(called);
    CHECK_FALSE(std::filesystem::exists(directory / "other"));
    CHECK(support::content_of(directory / "file") == "before");
    CHECK(::fcntl(file.fileno(), F_GETFD) >= 0);
    co_await context.close(file);
  });
}

TEST_CASE("Operation: moves until it is started") {
  using Path = std::filesystem::path;
  STATIC_REQUIRE(movable_only<decltype(std::declval<Context&>().fsync(0))>);
  STATIC_REQUIRE(movable_only<decltype(std::declval<Context&>().open(Path(), 0))>);
  STATIC_REQUIRE(movable_only<decltype(std::declval<Context&>().close(0))>);
  STATIC_REQUIRE(movable_only<decltype(std::declval<Context&>().schedule())>);
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    auto open = context.open(directory.file("a rather long name, so that the path is on the heap", "abc"), O_RDWR);
    auto opened = std::move(open);
    const Descriptor file = co_await std::move(opened);
    std::string text(3, '?');
    std::vector<decltype(context.read(file, room_in(text), 0))> reads;
    reads.push_back(context.read(file, room_in(text).first(1), 0));
    reads.push_back(context.read(file, room_in(text).subspan(1), 1));
    const std::size_t second = co_await std::move(reads[1]);
    const std::size_t first = co_await std::move(reads[0]);
    CHECK(first == 1);
    CHECK(second == 2);
    CHECK(text == "abc");
    auto sleep = context.sleep_for(1ms);
    auto slept = std::move(sleep);
    co_await std::move(slept);
    auto number = context.offload([value = std::make_unique<int>(5)] { return *value; });
    auto moved = std::move(number);
    const int five = co_await std::move(moved);
    CHECK(five == 5);
    auto close = context.close(file);
    auto closed = std::move(close);
    co_await std::move(closed);
  });
}

TEST_CASE("Operation: a frame that was not started is destroyed") {
  on_every_backend([](Context& context) -> Task<> {
    auto kept = std::make_shared<int>(0);
    const Pipe pipe;
    std::string text(1, '?');
    {
      const Stranger<> stranger = await_with(kept, context.read(pipe.reader.get(), room_in(text), -1));
      CHECK(kept.use_count() == 2);
    }
    CHECK(kept.use_count() == 1);
    co_return;
  });
}

// --- destroyed in flight

TEST_CASE("Operation: destroyed while it waits for a pipe, whose bytes stay for the next one") {
  on_every_backend([](Context& context) -> Task<> {
    auto kept = std::make_shared<int>(0);
    const Pipe pipe;
    std::string text(10, '?');
    {
      std::optional<Stranger<>> doomed = await_with(kept, context.read(pipe.reader.get(), room_in(text), -1));
      doomed->start();
      co_await context.schedule();
      CHECK(context.stats().parked == 1);
    }
    CHECK(kept.use_count() == 1);
    CHECK(context.stats().parked == 0);
    co_await context.write(pipe.writer.get(), bytes_of("later"), -1);
    const std::size_t count = co_await context.read(pipe.reader.get(), room_in(text), -1);
    CHECK(text.substr(0, count) == "later");
    CHECK(*kept == 0);
  });
}

TEST_CASE("Operation: destroyed while it waits for a time") {
  on_every_backend([](Context& context) -> Task<> {
    auto kept = std::make_shared<int>(0);
    {
      std::vector<Stranger<>> doomed;
      for (int i = 0; i < 20; ++i) doomed.push_back(await_with(kept, context.sleep_for(std::chrono::hours(1 + i % 7))));
      for (const Stranger<>& each : doomed) each.start();
      CHECK(context.stats().parked == 20);
      std::shuffle(doomed.begin(), doomed.end(), std::mt19937(1));
      doomed.erase(doomed.begin() + 10, doomed.end());
      CHECK(context.stats().parked == 10);
      co_await context.sleep_for(1ms);
    }
    CHECK(context.stats().parked == 0);
    CHECK(kept.use_count() == 1);
    CHECK(*kept == 0);
  });
}

TEST_CASE("Operation: destroyed in its turn to be resumed") {
  on_every_backend([](Context& context) -> Task<> {
    auto kept = std::make_shared<int>(0);
    {
      const Stranger<> doomed = await_with(kept, context.schedule());
      doomed.start();
    }
    co_await context.schedule();
    CHECK(kept.use_count() == 1);
    CHECK(*kept == 0);
  });
}

TEST_CASE("Operation: one that has ended is destroyed by another before it resumes") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", alphabet(100)), O_RDONLY);
    auto kept = std::make_shared<int>(0);
    std::string text(100, '?');
    std::optional<Stranger<>> doomed;
    auto destroy = [](Context& each, const Descriptor& from, std::optional<Stranger<>>& victim) -> Stranger<> {
      char byte = '?';
      co_await each.read(from, std::as_writable_bytes(std::span(&byte, 1)), 0);
      victim.reset();
    };
    const Stranger<> killer = destroy(context, file, doomed);
    doomed = await_with(kept, context.read(file, room_in(text), 0));
    killer.start();
    if (doomed) doomed->start();
    co_await killer.ended();
    co_await context.schedule();
    CHECK_FALSE(doomed.has_value());
    CHECK(kept.use_count() == 1);
    co_await context.close(file);
  });
}

TEST_CASE("Operation: destroyed while it is queued behind max_requests, and the others end") {
  on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        const Descriptor file = co_await context.open(directory.file("file", alphabet(64)), O_RDONLY);
        Countdown countdown(64);
        int right = 0;
        std::vector<std::optional<Stranger<>>> readers;
        int finished = 0;
        for (int i = 0; i < 64; ++i) readers.emplace_back(read_byte(context, file, i, countdown, right));
        for (const auto& reader : readers) reader->start();
        for (std::size_t i = 0; i < 64; i += 2) {
          finished += readers[i]->done() ? 1 : 0;
          readers[i].reset();
        }
        for (std::size_t i = 1; i < 64; i += 2) co_await readers[i]->ended();
        CHECK(right == 32 + finished);
        co_await context.close(file);
      },
      {.max_requests = 1, .pool_size = 1});
}

TEST_CASE("Operation: reads destroyed at any moment take no other's completion along") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", alphabet(64)), O_RDONLY);
    std::mt19937 random(7);
    for (int round = 0; round < 20; ++round) {
      Countdown countdown(64);
      int right = 0;
      std::vector<std::optional<Stranger<>>> readers;
      for (int i = 0; i < 64; ++i) readers.emplace_back(read_byte(context, file, i, countdown, right));
      for (const auto& reader : readers) reader->start();
      for (auto turns = random() % 3; turns > 0; --turns) co_await context.schedule();
      int destroyed_early = 0;
      for (auto& reader : readers) {
        if (random() % 2 == 0) continue;
        destroyed_early += reader->done() ? 0 : 1;
        reader.reset();
      }
      for (const auto& reader : readers) {
        if (reader) co_await reader->ended();
      }
      if (right != 64 - destroyed_early) FAIL(right << " of " << 64 - destroyed_early << " in round " << round);
    }
    co_await context.close(file);
    CHECK(context.stats().in_flight == 0);
  });
}

TEST_CASE("Operation: writes destroyed in flight harm nobody") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", O_RDWR | O_CREAT);
    const std::string text = alphabet(100'000);
    auto kept = std::make_shared<int>(0);
    for (int round = 0; round < 10; ++round) {
      const Stranger<> doomed = await_with(kept, context.write(file, bytes_of(text), round));
      doomed.start();
      if (round % 2 == 0) co_await context.schedule();
    }
    CHECK(kept.use_count() == 1);
    const std::size_t written = co_await context.write(file, bytes_of(text), 0);
    CHECK(written == text.size());
    co_await context.close(file);
  });
}

TEST_CASE("Operation: O_DIRECT reads destroyed in flight") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::filesystem::path path = directory.file("file", alphabet(64 * 4096));
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0) co_return;  // a file system without O_DIRECT
    const support::Fd owner(fd);
    const Descriptor file(fd);
    auto kept = std::make_shared<int>(0);
    auto pages = std::make_unique<std::array<Page, 64>>();
    {
      std::vector<Stranger<>> doomed;
      for (std::size_t i = 0; i < 64; ++i) {
        doomed.push_back(await_with(kept, context.read(file, (*pages)[i].bytes, static_cast<std::int64_t>(i * 4096))));
        doomed.back().start();
      }
      co_await context.schedule();
    }
    pages = std::make_unique<std::array<Page, 64>>();
    CHECK(kept.use_count() == 1);
    const std::size_t count = co_await context.read(file, pages->front().bytes, 0);
    CHECK(count == 4096);
    CHECK(pages->front().bytes[4095] == static_cast<std::byte>('a' + 4095 % 26));
  });
}

TEST_CASE("Operation: an offload that runs is waited for by the end of its frame") {
  on_every_backend([](Context& context) -> Task<> {
    auto kept = std::make_shared<int>(0);
    std::promise<void> begun;
    std::promise<void> release;
    std::atomic<bool> ended = false;
    std::jthread helper;
    {
      const Stranger<> doomed = await_with(kept, context.offload([&] {
        begun.set_value();
        release.get_future().wait();
        ended = true;
      }));
      doomed.start();
      while (context.stats().in_flight == 0) co_await context.schedule();
      begun.get_future().wait();
      helper = std::jthread([&release] { release.set_value(); });
    }
    CHECK(ended);
    CHECK(kept.use_count() == 1);
    CHECK(*kept == 0);
  });
}

TEST_CASE("Operation: an offload that has not begun never runs after its frame is gone") {
  on_every_backend(
      [](Context& context) -> Task<> {
        std::promise<void> release;
        std::atomic<int> calls = 0;
        auto kept = std::make_shared<int>(0);
        auto blocked = context.offload([&] { release.get_future().wait(); });
        Outcome outcome;
        const Stranger<> blocker = observe(std::move(blocked), outcome);
        blocker.start();
        while (context.stats().in_flight == 0) co_await context.schedule();
        {
          std::vector<Stranger<>> doomed;
          for (int i = 0; i < 10; ++i) {
            doomed.push_back(await_with(kept, context.offload([&calls] { ++calls; })));
            doomed.back().start();
          }
          co_await context.schedule();
        }
        release.set_value();
        co_await blocker.ended();
        co_await context.offload([] {});
        CHECK(calls == 0);
        CHECK(kept.use_count() == 1);
      },
      {.pool_size = 1});
}

TEST_CASE("Operation: a task group's end destroys children in every state") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", alphabet(4096)), O_RDWR);
    const Pipe pipe;
    auto kept = std::make_shared<int>(0);
    {
      caio::TaskGroup group;
      auto child = [](Context& each, std::shared_ptr<int>, const Descriptor& from, int fd, int kind) -> Task<> {
        std::string text(64, '?');
        if (kind == 0) co_await each.read(fd, room_in(text), -1);
        if (kind == 1) co_await each.sleep_for(1h);
        if (kind < 2) co_return;
        for (;;) {
          co_await each.read(from, room_in(text), kind);
          co_await each.schedule();
        }
      };
      for (int i = 0; i < 40; ++i) group.spawn(child(context, kept, file, pipe.reader.get(), i % 4));
      for (int i = 0; i < 5; ++i) co_await context.schedule();
      CHECK(kept.use_count() == 41);
    }
    CHECK(kept.use_count() == 1);
    co_await context.close(file);
  });
}

// --- frames and contexts

TEST_CASE("Operation: the context's end resumes who waits with operation_canceled") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const Pipe pipe;
      std::string text(10, '?');
      std::vector<Outcome> outcomes(4);
      std::vector<Stranger<>> waiting;
      {
        Context context(implementation);
        waiting.push_back(observe(context.read(pipe.reader.get(), room_in(text), -1), outcomes[0]));
        waiting.push_back(observe(context.sleep_for(1h), outcomes[1]));
        waiting.push_back(observe(context.sleep_until(caio::TimePoint::max()), outcomes[2]));
        context.run([](std::vector<Stranger<>>& strangers) -> Task<> {
          for (const Stranger<>& stranger : strangers) stranger.start();
          co_return;
        }(waiting));
        // Never driven again: on its way.
        waiting.push_back(observe(context.schedule(), outcomes[3]));
        std::jthread([&waiting] { waiting.back().start(); }).join();
      }
      for (std::size_t i = 0; i < 3; ++i) {
        CHECK(outcomes[i].ended);
        CHECK(outcomes[i].error == ECANCELED);
      }
      CHECK(outcomes[3].ended);
    }
  }
}

TEST_CASE("Operation: a frame outlives its context, and its end does nothing") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const Pipe pipe;
      std::string text(10, '?');
      std::shared_ptr<caio::Engine> engine;
      Outcome outcome;
      Outcome late_outcome;
      std::vector<Stranger<>> readers;
      {
        Context context(implementation);
        engine = context.engine();
        readers.push_back(observe(context.read(pipe.reader.get(), room_in(text), -1), outcome));
        readers.push_back(observe(context.read(pipe.reader.get(), room_in(text), -1), late_outcome));
        context.run([](const Stranger<>& stranger) -> Task<> {
          stranger.start();
          co_return;
        }(readers[0]));
      }
      CHECK(outcome.error == ECANCELED);
      readers[1].start();
      CHECK(late_outcome.error == ECANCELED);
      readers.clear();
    }
  }
}

TEST_CASE("Operation: what the context's end resumes may start more, which fails at once") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      std::vector<int> errors;
      auto stubborn = [](Context& context, std::filesystem::path path, std::vector<int>& results) -> Stranger<> {
        const int sleep = co_await errno_of(context.sleep_for(1h));
        const int open = co_await errno_of(context.open(std::move(path), O_RDWR | O_CREAT));
        const int schedule = co_await errno_of(context.schedule());
        const int offload = co_await errno_of(context.offload([] {}));
        results = {sleep, open, schedule, offload};
      };
      std::optional<Stranger<>> stranger;
      {
        Context context(implementation);
        stranger = stubborn(context, directory / "file", errors);
        context.run([](const Stranger<>& each) -> Task<> {
          each.start();
          co_return;
        }(*stranger));
      }
      CHECK(errors == std::vector(4, ECANCELED));
      CHECK_FALSE(std::filesystem::exists(directory / "file"));
    }
  }
}

// --- stop tokens

TEMPLATE_TEST_CASE("Operation: stopped before its start, it never touches the file", "", TokenByValue,
                   TokenByReference) {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", "before"), O_RDWR);
    const caio::ContextStats before = context.stats();
    std::stop_source source;
    source.request_stop();
    std::vector<Outcome> outcomes(6);
    std::string text = "after!";
    bool called = false;
    std::vector<Stranger<TestType>> strangers;
    strangers.push_back(observe<TestType>(context.write(file, bytes_of(text), 0), outcomes[0]));
    strangers.push_back(observe<TestType>(context.read(file, room_in(text), 0), outcomes[1]));
    strangers.push_back(observe<TestType>(context.open(directory / "other", O_RDWR | O_CREAT), outcomes[2]));
    strangers.push_back(observe<TestType>(context.sleep_for(1h), outcomes[3]));
    strangers.push_back(observe<TestType>(context.offload([&called] { called = true; }), outcomes[4]));
    strangers.push_back(observe<TestType>(context.fsync(file), outcomes[5]));
    for (const auto& stranger : strangers) stranger.start(source.get_token());
    for (const auto& stranger : strangers) co_await stranger.ended();
    for (const Outcome& outcome : outcomes) CHECK(outcome.error == ECANCELED);
    CHECK(context.stats().handed_over == before.handed_over);
    CHECK(context.stats().speculated == before.speculated);
    CHECK_FALSE(called);
    CHECK(text == "after!");
    CHECK_FALSE(std::filesystem::exists(directory / "other"));
    CHECK(support::content_of(directory / "file") == "before");
    co_await context.close(file);
  });
}

TEMPLATE_TEST_CASE("Operation: request_stop ends a wait, and never resumes inline", "", TokenByValue,
                   TokenByReference) {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    std::stop_source source;
    std::vector<Outcome> outcomes(3);
    std::string text(10, '?');
    std::vector<Stranger<TestType>> strangers;
    strangers.push_back(observe<TestType>(context.read(pipe.reader.get(), room_in(text), -1), outcomes[0]));
    strangers.push_back(observe<TestType>(context.sleep_for(1h), outcomes[1]));
    strangers.push_back(observe<TestType>(context.readv(pipe.reader.get(), {}, -1), outcomes[2]));
    for (std::size_t i = 0; i < 2; ++i) strangers[i].start(source.get_token());
    co_await context.schedule();
    source.request_stop();
    CHECK_FALSE(outcomes[0].ended);
    CHECK_FALSE(outcomes[1].ended);
    for (std::size_t i = 0; i < 2; ++i) co_await strangers[i].ended();
    CHECK(outcomes[0].error == ECANCELED);
    CHECK(outcomes[1].error == ECANCELED);
    CHECK(context.stats().parked == 0);
  });
}

TEMPLATE_TEST_CASE("Operation: stopped from another thread while a pipe read waits", "", TokenByValue,
                   TokenByReference) {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    std::stop_source source;
    Outcome outcome;
    std::string text(10, '?');
    const auto stranger = observe<TestType>(context.read(pipe.reader.get(), room_in(text), -1), outcome);
    stranger.start(source.get_token());
    const std::jthread stopper([&source] { source.request_stop(); });
    co_await stranger.ended();
    CHECK(outcome.error == ECANCELED);
    CHECK(outcome.thread == std::this_thread::get_id());
    co_await context.write(pipe.writer.get(), bytes_of("later"), -1);
    const std::size_t count = co_await context.read(pipe.reader.get(), room_in(text), -1);
    CHECK(text.substr(0, count) == "later");
  });
}

TEST_CASE("Operation: a stop that races with the end gives the one or the other") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = alphabet(8192);
    const Descriptor file = co_await context.open(directory.file("file", content), O_RDONLY);
    for (int round = 0; round < 50; ++round) {
      std::stop_source source;
      std::vector<Outcome> outcomes(8);
      std::vector<std::string> texts(8, std::string(1024, '?'));
      std::vector<Stranger<TokenByValue>> strangers;
      for (std::size_t i = 0; i < 8; ++i) {
        strangers.push_back(observe<TokenByValue>(
            context.read(file, room_in(texts[i]), static_cast<std::int64_t>(i * 1024)), outcomes[i]));
        strangers.back().start(source.get_token());
      }
      if (round % 3 == 1) co_await context.schedule();
      std::jthread stopper;
      if (round % 3 == 2) {
        stopper = std::jthread([&source] { source.request_stop(); });
      } else {
        source.request_stop();
      }
      for (const auto& stranger : strangers) co_await stranger.ended();
      for (std::size_t i = 0; i < 8; ++i) {
        const bool whole =
            outcomes[i].error == 0 && outcomes[i].count == 1024 && texts[i] == content.substr(i * 1024, 1024);
        if (!whole && outcomes[i].error != ECANCELED) FAIL("round " << round << ": error " << outcomes[i].error);
      }
    }
    co_await context.close(file);
  });
}

TEST_CASE("Operation: a stopped offload that has not begun never runs") {
  on_every_backend(
      [](Context& context) -> Task<> {
        std::promise<void> release;
        std::atomic<bool> called = false;
        Outcome blocked;
        Outcome stopped;
        const auto blocker = observe(context.offload([&] { release.get_future().wait(); }), blocked);
        const auto victim = observe<TokenByValue>(context.offload([&called] { called = true; }), stopped);
        std::stop_source source;
        blocker.start();
        while (context.stats().in_flight == 0) co_await context.schedule();
        victim.start(source.get_token());
        co_await context.schedule();
        source.request_stop();
        co_await victim.ended();
        CHECK(stopped.error == ECANCELED);
        release.set_value();
        co_await blocker.ended();
        CHECK(blocked.error == 0);
        CHECK_FALSE(called);
      },
      {.pool_size = 1});
}

TEST_CASE("Operation: an offload that runs is not stopped") {
  on_every_backend([](Context& context) -> Task<> {
    std::promise<void> begun;
    std::promise<void> release;
    Outcome outcome;
    std::stop_source source;
    const auto stranger = observe<TokenByValue>(context.offload([&] {
      begun.set_value();
      release.get_future().wait();
    }),
                                                outcome);
    stranger.start(source.get_token());
    while (context.stats().in_flight == 0) co_await context.schedule();
    begun.get_future().wait();
    source.request_stop();
    co_await context.schedule();
    CHECK_FALSE(outcome.ended);
    release.set_value();
    co_await stranger.ended();
    CHECK(outcome.error == 0);
  });
}

TEST_CASE("Operation: works in a coroutine type without a stop token") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", "0123456789"), O_RDONLY);
    Outcome outcome;
    std::string text(10, '?');
    const Stranger<> stranger = observe(context.read(file, room_in(text), 0), outcome);
    stranger.start();
    co_await stranger.ended();
    CHECK(outcome.count == 10);
    CHECK(text == "0123456789");
    co_await context.close(file);
  });
}

// --- started on other threads

TEST_CASE("Operation: started on another thread, it resumes on the context's") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", "0123456789"), O_RDWR);
    std::vector<Outcome> outcomes(7);
    std::string text(10, '?');
    std::vector<Stranger<>> strangers;
    strangers.push_back(observe(context.read(file, room_in(text), 0), outcomes[0]));
    strangers.push_back(observe(context.write(file, bytes_of("x"), 10), outcomes[1]));
    strangers.push_back(observe(context.fsync(file), outcomes[2]));
    strangers.push_back(observe(context.sleep_for(1ms), outcomes[3]));
    strangers.push_back(observe(context.schedule(), outcomes[4]));
    strangers.push_back(observe(context.offload([] {}), outcomes[5]));
    strangers.push_back(observe(context.open(directory / "missing", O_RDONLY), outcomes[6]));
    std::jthread([&strangers] {
      for (const Stranger<>& stranger : strangers) stranger.start();
    }).join();
    for (const Stranger<>& stranger : strangers) co_await stranger.ended();
    for (const Outcome& outcome : outcomes) CHECK(outcome.thread == std::this_thread::get_id());
    CHECK(outcomes[0].count == 10);
    CHECK(text == "0123456789");
    CHECK(outcomes[6].error == ENOENT);
    co_await context.close(file);
  });
}

TEST_CASE("Operation: 8 threads start 1000 reads each on one context, and each ends once") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", alphabet(1000)), O_RDONLY);
    Countdown countdown(8000);
    int right = 0;
    std::vector<std::vector<Stranger<>>> readers(8);
    for (auto& list : readers) {
      for (int i = 0; i < 1000; ++i) list.push_back(read_byte(context, file, i, countdown, right));
    }
    std::vector<std::jthread> threads;
    for (const auto& list : readers) {
      threads.emplace_back([&list] {
        for (const Stranger<>& reader : list) reader.start();
      });
    }
    co_await countdown;
    CHECK(right == 8000);
    CHECK(countdown.left() == 0);
    threads.clear();
    co_await context.close(file);
  });
}

TEST_CASE("Operation: stopped from a thread while it travels, it ends once") {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    for (int round = 0; round < 50; ++round) {
      std::stop_source source;
      std::string text(1, '?');
      Outcome outcome;
      const auto stranger = observe<TokenByReference>(context.read(pipe.reader.get(), room_in(text), -1), outcome);
      std::jthread([&stranger, &source] { stranger.start(source.get_token()); }).join();
      const std::jthread stopper([&source] { source.request_stop(); });
      co_await stranger.ended();
      if (outcome.error != ECANCELED) FAIL("error " << outcome.error);
    }
    CHECK(context.stats().parked == 0);
  });
}

TEST_CASE("Operation: destroyed while it travels") {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    auto kept = std::make_shared<int>(0);
    std::string text(1, '?');
    {
      const Stranger<> doomed = await_with(kept, context.read(pipe.reader.get(), room_in(text), -1));
      std::jthread([&doomed] { doomed.start(); }).join();
    }
    CHECK(kept.use_count() == 1);
    co_await context.schedule();
    CHECK(*kept == 0);
  });
}

TEST_CASE("Operation: a coroutine moves between two contexts on two threads") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      Context here(implementation);
      std::promise<Context*> ready;
      std::promise<void> quit;
      std::jthread other([&] {
        Context there(implementation);
        there.run([](Context& context, std::promise<Context*>& promise, std::promise<void>& end) -> Task<> {
          promise.set_value(&context);
          co_await context.offload([&end] { end.get_future().wait(); });
        }(there, ready, quit));
      });
      Context& there = *ready.get_future().get();
      const std::thread::id other_id = other.get_id();
      const bool right = here.run([](Context& mine, Context& theirs, std::thread::id id) -> Task<bool> {
        const std::thread::id own = std::this_thread::get_id();
        bool good = true;
        for (int i = 0; i < 50; ++i) {
          co_await theirs.schedule();
          good = good && std::this_thread::get_id() == id;
          co_await mine.schedule();
          good = good && std::this_thread::get_id() == own;
        }
        co_return good;
      }(here, there, other_id));
      CHECK(right);
      quit.set_value();
    }
  }
}
