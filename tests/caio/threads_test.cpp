// Many threads and one context: each operation ends once, on the context's thread; each handle that is posted is
// resumed once; and who sleeps is woken once, when there is something to do.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <caio/context.hpp>
#include <caio/stop.hpp>
#include <caio/task_group.hpp>
#include <chrono>
#include <coroutine>
#include <cstdlib>
#include <latch>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Task;
using support::on_every_backend;
using support::Pipe;
using support::room_in;
using support::Stranger;
using support::TemporaryDirectory;
using support::TokenByValue;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t thread_count = 16;

/// CAIO_TEST_LARGE=1: as many as the library promises; else fewer, for every day.
std::size_t operations_in_all() {
  const char* const large = std::getenv("CAIO_TEST_LARGE");
  return large != nullptr && *large == '1' ? 1'000'000 : 20'000;
}

/// What the coroutines have seen; touched on the context's thread only, so that one elsewhere is a race to be found.
struct Count {
  std::thread::id home = std::this_thread::get_id();
  std::size_t ended = 0;
  std::size_t astray = 0;  // not on the context's thread
  std::size_t wrong = 0;
  std::coroutine_handle<> waiter;
  std::size_t awaited = 0;

  void end(bool right) {
    ++ended;
    if (!right) ++wrong;
    if (std::this_thread::get_id() != home) ++astray;
    if (ended == awaited && waiter) std::exchange(waiter, nullptr).resume();
  }
  /// Awaited until `all` have ended.
  auto reach(std::size_t all) {
    struct Awaiter {
      Count& count;
      bool await_ready() const { return count.ended == count.awaited; }
      void await_suspend(std::coroutine_handle<> handle) const { count.waiter = handle; }
      void await_resume() const {}
    };
    awaited = all;
    return Awaiter{*this};
  }
};

/// One that goes by itself; it is started on whatever thread calls it.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

char letter(std::size_t index) { return static_cast<char>('a' + index % 26); }

Detached read_one(Context& context, const Descriptor& file, std::size_t index, Count& count) {
  char byte = '?';
  const auto room = std::as_writable_bytes(std::span(&byte, 1));
  const std::size_t moved = co_await context.read(file, room, static_cast<std::int64_t>(index % 4096));
  count.end(moved == 1 && byte == letter(index % 4096));
}

Detached offload_one(Context& context, std::size_t index, Count& count) {
  const std::size_t twice = co_await context.offload([index] { return 2 * index; });
  count.end(twice == 2 * index);
}

Detached schedule_one(Context& context, Count& count) {
  co_await context.schedule();
  count.end(true);
}

void start_one(Context& context, const Descriptor& file, std::size_t index, Count& count) {
  switch (index % 8) {
    case 0: return offload_one(context, index, count), void();
    case 1:
    case 2: return schedule_one(context, count), void();
    default: return read_one(context, file, index, count), void();
  }
}

/// Runs `work(thread)` on each of the threads, all at the same time.
template <class Work>
std::vector<std::jthread> on_threads(Work work) {
  auto together = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(thread_count));
  std::vector<std::jthread> threads;
  for (std::size_t thread = 0; thread < thread_count; ++thread) {
    threads.emplace_back([together, work, thread] {
      together->arrive_and_wait();
      work(thread);
    });
  }
  return threads;
}

struct Post {
  Context& context;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) const { context.post(handle); }
  void await_resume() const noexcept {}
};

Detached post_one(Context& context, Count& count) {
  co_await Post{context};
  count.end(true);
}

template <class Operation>
Stranger<TokenByValue> observed(Operation operation, int& error, Count& count) {
  error = co_await support::errno_of(std::move(operation));
  count.end(error == 0 || error == ECANCELED);
}

}  // namespace

TEST_CASE("Threads: 16 start operations of all kinds on one context, and each ends once, at home") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    std::string content(4096, '?');
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = letter(i);
    const Descriptor file = co_await context.open(directory.file("file", content), O_RDONLY);
    const std::size_t each = operations_in_all() / thread_count;
    Count count;
    {
      const auto threads = on_threads([&context, &file, &count, each](std::size_t thread) {
        for (std::size_t i = 0; i < each; ++i) start_one(context, file, thread * each + i, count);
      });
      co_await count.reach(each * thread_count);
    }
    co_await context.schedule();
    CHECK(count.ended == each * thread_count);
    CHECK(count.astray == 0);
    CHECK(count.wrong == 0);
    co_await context.close(file);
  });
}

TEST_CASE("Threads: what 16 of them post is resumed once each, at home") {
  on_every_backend([](Context& context) -> Task<> {
    constexpr std::size_t each = 500;
    Count count;
    {
      const auto threads = on_threads([&context, &count](std::size_t) {
        for (std::size_t i = 0; i < each; ++i) post_one(context, count);
      });
      co_await count.reach(each * thread_count);
    }
    co_await context.schedule();
    CHECK(count.ended == each * thread_count);
    CHECK(count.astray == 0);
  });
}

TEST_CASE("Threads: stops from 16 of them race with the ends of operations, and nobody is resumed twice") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", std::string(4096, 'x')), O_RDONLY);
    const Pipe idle;
    for (int round = 0; round < 20; ++round) {
      constexpr std::size_t each = 8;
      Count count;
      std::vector<std::stop_source> sources(thread_count);
      std::vector<int> errors(thread_count * each, -1);
      std::vector<std::string> texts(thread_count * each, std::string(64, '?'));
      std::vector<Stranger<TokenByValue>> readers;
      for (std::size_t i = 0; i < errors.size(); ++i) {
        const int fd = i % 4 == 0 ? idle.reader.get() : file.fileno();
        const std::int64_t offset = i % 4 == 0 ? -1 : 0;
        readers.push_back(observed(context.read(fd, room_in(texts[i]), offset), errors[i], count));
      }
      {
        // Half are started here, half on the threads that stop them.
        const auto threads = on_threads([&readers, &sources](std::size_t thread) {
          for (std::size_t i = 1; i < each; i += 2) readers[thread * each + i].start(sources[thread].get_token());
          sources[thread].request_stop();
        });
        for (std::size_t i = 0; i < readers.size(); i += 2) readers[i].start(sources[i / each].get_token());
        co_await count.reach(readers.size());
        co_await context.schedule();  // the last one is still running
      }
      CHECK(count.wrong == 0);
      CHECK(count.astray == 0);
      for (std::size_t i = 0; i < errors.size(); i += 4) CHECK(errors[i] == ECANCELED);
    }
    co_await context.close(file);
  });
}

TEST_CASE("Threads: frames are destroyed at home while their operations and stops are on the way") {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe idle;
    for (int round = 0; round < 20; ++round) {
      constexpr std::size_t each = 8;
      Count count;
      std::vector<std::stop_source> sources(thread_count);
      std::vector<int> errors(thread_count * each, -1);
      std::vector<std::string> texts(thread_count * each, std::string(8, '?'));
      std::vector<Stranger<TokenByValue>> readers;
      for (std::size_t i = 0; i < errors.size(); ++i) {
        readers.push_back(observed(context.read(idle.reader.get(), room_in(texts[i]), -1), errors[i], count));
        readers.back().start(sources[i / each].get_token());
      }
      const auto threads = on_threads([&sources](std::size_t thread) { sources[thread].request_stop(); });
      if (round % 2 == 0) co_await context.schedule();
      readers.clear();  // beside the stops
      for (const int error : errors) CHECK((error == -1 || error == ECANCELED));
    }
    CHECK(context.stats().parked == 0);
  });
}

TEST_CASE("Threads: a context that sleeps is woken for what comes, and for nothing else") {
  on_every_backend([](Context& context) -> Task<> {
    constexpr int times = 200;
    std::atomic<int> asked{0};
    std::atomic<int> answered{0};
    Count count;
    const caio::ContextStats before = context.stats();
    std::jthread caller([&] {
      for (int i = 0; i < times; ++i) {
        // The context has nothing to do between two posts: it sleeps, or is about to.
        while (answered.load(std::memory_order_acquire) != i) std::this_thread::yield();
        ++asked;
        post_one(context, count);
      }
    });
    for (int i = 0; i < times; ++i) {
      co_await count.reach(static_cast<std::size_t>(i) + 1);
      answered.store(i + 1, std::memory_order_release);
    }
    const caio::ContextStats after = context.stats();
    CHECK(asked == times);
    // One turn that sleeps and at most one more to look, for each.
    CHECK(after.sleeps - before.sleeps <= 2 * times);
    CHECK(after.turns - before.turns <= 3 * times);
  });
}

TEST_CASE("Threads: a context with nothing to do stays asleep") {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe idle;
    std::string text(1, '?');
    Count count;
    int error = -1;
    const auto reader = observed(context.read(idle.reader.get(), room_in(text), -1), error, count);
    reader.start(std::stop_token());
    const caio::ContextStats before = context.stats();
    co_await context.sleep_for(30ms);
    const caio::ContextStats after = context.stats();
    CHECK(after.turns - before.turns <= 5);
    CHECK(::write(idle.writer.get(), "x", 1) == 1);
    co_await count.reach(1);
    co_await context.schedule();
    CHECK(error == 0);
  });
}
