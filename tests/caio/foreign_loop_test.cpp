// Somebody else's loop drives contexts by fileno(), flush() and poll() alone: no wake-up is lost, on any backend.

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <caio/context.hpp>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Task;
using support::Fd;
using support::on_every_backend;
using support::Pipe;
using support::TemporaryDirectory;
using namespace std::chrono_literals;

namespace {

bool readable(int fd) {
  ::pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, 0) == 1;
}

/// A loop of the usual kind, which knows a context by its descriptor alone and never calls run().
class EpollLoop {
 public:
  explicit EpollLoop(std::uint32_t trigger = 0, std::chrono::milliseconds patience = 10s)
      : trigger_(trigger), patience_(patience) {}

  void watch(Context& context) {
    contexts_.push_back(&context);
    on_readable(context.fileno(), [&context] { context.poll(); });
  }
  void forget(Context& context) { std::erase(contexts_, &context); }

  void on_readable(int fd, std::function<void()> callback) {
    callbacks_.push_back(std::move(callback));
    ::epoll_event event{.events = EPOLLIN | trigger_, .data = {.ptr = &callbacks_.back()}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) throw std::runtime_error("epoll_ctl");
  }

  /// False: it has slept for all its patience, and what it waits for has not come: a wake-up was lost.
  template <class Condition>
  [[nodiscard]] bool run_until(Condition done) {
    while (!done()) {
      std::vector<Context*> busy;
      std::copy_if(contexts_.begin(), contexts_.end(), std::back_inserter(busy), [](Context* c) { return c->flush(); });
      const int limit = busy.empty() ? static_cast<int>(patience_.count()) : 0;
      if (dispatch(limit) == 0 && busy.empty()) return false;
      for (Context* const context : busy) context->poll();
    }
    return true;
  }

  /// Sleeps once, without a flush(), and calls back. 0: it slept for the whole limit; -1: it was interrupted.
  int dispatch(int limit) {
    std::array<::epoll_event, 8> events;
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), limit);
    for (int i = 0; i < count; ++i) {
      (*static_cast<std::function<void()>*>(events[static_cast<std::size_t>(i)].data.ptr))();
    }
    return count;
  }

 private:
  std::uint32_t trigger_;
  std::chrono::milliseconds patience_;
  Fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  std::vector<Context*> contexts_;
  std::deque<std::function<void()>> callbacks_;
};

// --- reads

struct alignas(4096) Block {
  std::array<std::byte, 4096> bytes;
};

/// A file in which each block tells its number.
class Blocks {
 public:
  explicit Blocks(std::size_t count) : count_(count) {
    std::string content(count * sizeof(Block), '\0');
    for (std::size_t i = 0; i < count; ++i) std::memcpy(content.data() + i * sizeof(Block), &i, sizeof i);
    path_ = directory_.file("blocks", content);
  }

  std::size_t count() const { return count_; }
  /// -1: the file system refuses the flags.
  Fd open(int flags = 0) const { return Fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | flags)); }

  /// Nothing of it is in memory from now on, unless the file system lives there, and nothing is read ahead through
  /// `fd`. (A read with RWF_NOWAIT starts to fetch its page, and finds it there if the device is quicker than we are.)
  void drop(int fd) const {
    ::fdatasync(fd);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  }

 private:
  TemporaryDirectory directory_;
  std::size_t count_;
  std::filesystem::path path_;
};

/// Reads of single blocks all over a file, `depth` at a time.
class Reads {
 public:
  Reads(const Blocks& blocks, int fd, std::size_t count) : file_(fd), blocks_(blocks.count()), count_(count) {}

  void spawn_on(Context& context, std::size_t depth) {
    rooms_ = std::vector<Block>(depth);
    for (Block& room : rooms_) context.spawn(read_some(context, room));
    running_ = depth;
  }
  bool ended() const { return running_ == 0; }
  std::size_t right() const { return right_; }

  Task<> read_one(Context& context, Block& room) {
    const std::size_t number = next_++ * 7919 % blocks_;
    const std::size_t count =
        co_await context.read(file_, room.bytes, static_cast<std::int64_t>(number * sizeof(Block)));
    if (count == sizeof(Block) && std::memcmp(&room, &number, sizeof number) == 0) ++right_;
  }

 private:
  Task<> read_some(Context& context, Block& room) {
    while (next_ < count_) co_await read_one(context, room);
    --running_;
  }

  Descriptor file_;
  std::size_t blocks_;
  std::size_t count_;
  std::size_t next_ = 0;
  std::size_t right_ = 0;
  std::size_t running_ = 0;
  std::vector<Block> rooms_;
};

/// Reads in a loop of its own; whether no wake-up was lost and no read was wrong.
bool read_in_loop(Context& context, const Blocks& blocks, int fd, std::size_t count, std::size_t depth,
                  std::uint32_t trigger = 0) {
  EpollLoop loop(trigger);
  loop.watch(context);
  Reads reads(blocks, fd, count);
  reads.spawn_on(context, depth);
  return loop.run_until([&] { return reads.ended(); }) && reads.right() == count;
}

/// CAIO_TEST_LARGE=1: as many as the library promises.
std::size_t scaled(std::size_t large, std::size_t daily) {
  const char* const wanted = std::getenv("CAIO_TEST_LARGE");
  return wanted != nullptr && *wanted == '1' ? large : daily;
}

bool wakes_threads(const Context& context) {
  return context.implementation() == caio::Implementation::thread ||
         context.implementation() == caio::Implementation::linux_aio;
}

// --- other things to wait for

/// Hands the coroutine that awaits it to a thread, which posts it back.
class Courier {
 public:
  explicit Courier(Context& context)
      : thread_([this, &context] {
          for (;;) {
            waiting_.wait(nullptr);
            void* const coroutine = waiting_.exchange(nullptr);
            if (coroutine == this) return;
            context.post(std::coroutine_handle<>::from_address(coroutine));
          }
        }) {}
  ~Courier() { give(this); }

  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) { give(coroutine.address()); }
  void await_resume() const {}

 private:
  void give(void* what) {
    waiting_.store(what);
    waiting_.notify_one();
  }
  std::atomic<void*> waiting_{nullptr};
  std::jthread thread_;
};

Task<> travel(Courier& courier, int count, int& ended) {
  for (int i = 0; i < count; ++i) co_await courier;
  ++ended;
}

Task<> call(Context& context, int count, int& ended) {
  for (int i = 0; i < count; ++i) {
    const int given = co_await context.offload([i] { return i; });
    if (given != i) co_return;
  }
  ++ended;
}

Task<> doze(Context& context, std::chrono::microseconds time, int count, int& ended) {
  bool early = false;
  for (int i = 0; i < count; ++i) {
    const auto due = std::chrono::steady_clock::now() + time;
    co_await context.sleep_for(time);
    early |= std::chrono::steady_clock::now() < due;
  }
  if (!early) ++ended;
}

Task<> send_and_get_back(Context& context, int to, int from, int count, int& ended) {
  std::byte byte{};
  for (int i = 0; i < count; ++i) {
    const std::byte sent{static_cast<unsigned char>(i)};
    co_await context.write(to, std::span(&sent, 1), -1);
    co_await context.read(from, std::span(&byte, 1), -1);
    if (byte != sent) co_return;
  }
  ++ended;
}

/// All of that at once, beside reads; whether everything ended.
bool everything_in_loop(Context& watched, Context& context, std::uint32_t trigger = 0) {
  const Blocks blocks(256);
  const Fd file = blocks.open();
  Pipe there;
  const Pipe back;
  std::jthread echo([&there, &back] {
    for (std::byte byte; ::read(there.reader.get(), &byte, 1) == 1;) {
      if (::write(back.writer.get(), &byte, 1) != 1) return;
    }
  });
  bool held = false;
  {
    Courier courier(context);
    EpollLoop loop(trigger);
    loop.watch(watched);
    context.flush();  // from here on the context is this thread's
    Reads reads(blocks, file.get(), 2000);
    int ended = 0;
    reads.spawn_on(context, 4);
    context.spawn(travel(courier, 500, ended));
    context.spawn(call(context, 500, ended));
    for (int i = 1; i <= 50; ++i) context.spawn(doze(context, i * 200us, 200 / i, ended));
    context.spawn(send_and_get_back(context, there.writer.get(), back.reader.get(), 500, ended));
    held = loop.run_until([&] { return reads.ended() && ended == 53; }) && reads.right() == 2000;
  }
  there.writer.reset();
  return held;
}

/// Ends each operation 2 ms after it was started; one that is not honest keeps that from who watches.
class SlowBackend final : public caio::Backend {
 public:
  explicit SlowBackend(bool honest) : honest_(honest) {}
  caio::Implementation implementation() const noexcept override { return caio::Implementation::blocking; }
  int fileno() noexcept override { return honest_ ? timer_.get() : -1; }
  void cancel(caio::Request&) override {}
  void drive(caio::Batch& batch, const caio::Wait* wait) override {
    if (!batch.empty()) {
      const ::itimerspec time{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 2'000'000}};
      ::timerfd_settime(timer_.get(), 0, &time, nullptr);
    }
    while (!batch.empty()) held_.push_back(&batch.take());
    if (wait != nullptr) caio::detail::sleep_on(timer_.get(), *wait);
    if (wait == nullptr && !honest_) return;  // else whoever is slow would find it done
    std::uint64_t expired = 0;
    if (::read(timer_.get(), &expired, sizeof expired) < 0) return;
    for (caio::Request* const request : held_) batch.complete(*request, 0);
    held_.clear();
  }

 private:
  bool honest_;
  Fd timer_{::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
  std::vector<caio::Request*> held_;
};

}  // namespace

// --- reads

TEST_CASE("Foreign loop: cached reads") {
  const std::size_t depth = GENERATE(1U, 32U);
  DYNAMIC_SECTION("depth " << depth) {
    on_every_backend([depth](Context& context) {
      const Blocks blocks(256);
      const Fd file = blocks.open();
      // One thread wakes the other for each read: 3 s for all of them.
      const bool slow = depth == 1 && !context.engine()->options().speculate && wakes_threads(context);
      const std::size_t count = scaled(100'000, slow ? 30'000 : 100'000);
      CHECK(read_in_loop(context, blocks, file.get(), count, depth));
    });
  }
}

TEST_CASE("Foreign loop: cold reads") {
  const std::size_t depth = GENERATE(1U, 32U);
  DYNAMIC_SECTION("depth " << depth) {
    on_every_backend([depth](Context& context) {
      const std::size_t count = depth > 1 ? 10'000 : scaled(10'000, 1000);
      const Blocks blocks(count);
      const Fd file = blocks.open();
      blocks.drop(file.get());
      CHECK(read_in_loop(context, blocks, file.get(), count, depth));
    });
  }
}

TEST_CASE("Foreign loop: reads past the page cache") {
  const std::size_t depth = GENERATE(1U, 32U);
  DYNAMIC_SECTION("depth " << depth) {
    on_every_backend([depth](Context& context) {
      const std::size_t count = depth > 1 ? 10'000 : scaled(10'000, 1000);
      const Blocks blocks(1000);
      const Fd file = blocks.open(O_DIRECT);
      if (!file) {
        WARN("skipped: the file system refuses O_DIRECT");
        return;
      }
      CHECK(read_in_loop(context, blocks, file.get(), count, depth));
    });
  }
}

// --- other wake-ups

TEST_CASE("Foreign loop: timers fall due while it sleeps") {
  on_every_backend([](Context& context) {
    EpollLoop loop;
    loop.watch(context);
    int ended = 0;
    for (int i = 300; i > 0; --i) context.spawn(doze(context, i * 50us, 5, ended));
    CHECK(loop.run_until([&] { return ended == 300; }));
  });
}

TEST_CASE("Foreign loop: another thread posts while it sleeps") {
  on_every_backend([](Context& context) {
    Courier courier(context);
    EpollLoop loop;
    loop.watch(context);
    int ended = 0;
    context.spawn(travel(courier, 10'000, ended));
    CHECK(loop.run_until([&] { return ended == 1; }));
  });
}

TEST_CASE("Foreign loop: functions on the pool") {
  on_every_backend([](Context& context) {
    EpollLoop loop;
    loop.watch(context);
    int ended = 0;
    for (int i = 0; i < 4; ++i) context.spawn(call(context, 1000, ended));
    CHECK(loop.run_until([&] { return ended == 4; }));
  });
}

TEST_CASE("Foreign loop: everything at once") {
  on_every_backend([](Context& context) { CHECK(everything_in_loop(context, context)); });
}

TEST_CASE("Foreign loop: everything at once, edge-triggered") {
  on_every_backend([](Context& context) { CHECK(everything_in_loop(context, context, EPOLLET)); });
}

TEST_CASE("Foreign loop: two hundred pipes become readable at once") {
  const std::uint32_t trigger = GENERATE(0U, static_cast<std::uint32_t>(EPOLLET));
  DYNAMIC_SECTION((trigger == 0 ? "level" : "edge") << "-triggered") {
    on_every_backend([trigger](Context& context) {
      const std::vector<Pipe> pipes(200);
      EpollLoop loop(trigger);
      loop.watch(context);
      int ended = 0;
      for (const Pipe& pipe : pipes) {
        context.spawn([](Context& each, int from, int& count) -> Task<> {
          std::byte byte{};
          count += static_cast<int>(co_await each.read(from, std::span(&byte, 1), -1));
        }(context, pipe.reader.get(), ended));
      }
      CHECK(loop.run_until([&] { return context.stats().parked == pipes.size(); }));
      for (const Pipe& pipe : pipes) CHECK(::write(pipe.writer.get(), "x", 1) == 1);
      CHECK(loop.run_until([&] { return ended == 200; }));
    });
  }
}

TEST_CASE("Foreign loop: a callback of the loop's own spawns, with and without flush()") {
  const bool flushes = GENERATE(true, false);
  DYNAMIC_SECTION((flushes ? "with" : "without") << " flush()") {
    on_every_backend([flushes](Context& context) {
      const Blocks blocks(256);
      const Fd file = blocks.open();
      const Fd bell(::eventfd(1, EFD_CLOEXEC));
      EpollLoop loop;
      loop.watch(context);
      Reads reads(blocks, file.get(), 0);
      Block room;
      std::size_t spawned = 0;
      loop.on_readable(bell.get(), [&] {
        std::uint64_t count = 0;
        CHECK(::read(bell.get(), &count, sizeof count) == sizeof count);
        if (++spawned > 1000) return;
        context.spawn([](Context& each, Reads& work, Block& memory, int ring) -> Task<> {
          co_await work.read_one(each, memory);
          const std::uint64_t one = 1;
          co_await each.write(ring, std::as_bytes(std::span(&one, 1)), -1);
        }(context, reads, room, bell.get()));
      });
      const auto enough = [&] { return spawned > 1000; };
      if (flushes) {
        CHECK(loop.run_until(enough));
      } else {
        while (!enough()) REQUIRE(loop.dispatch(10'000) != 0);
      }
      CHECK(loop.run_until([&] { return context.stats().completed == 2000; }));
      CHECK(reads.right() == 1000);
    });
  }
}

// --- several contexts

TEST_CASE("Foreign loop: two contexts, one of them watched") {
  for (const caio::Implementation first : support::backends()) {
    for (const caio::Implementation second : support::backends()) {
      DYNAMIC_SECTION(caio::name(first) << " is watched, " << caio::name(second) << " works") {
        for (const bool speculate : {true, false}) {
          Context watched(first, {.speculate = speculate});
          Context other(second, {.speculate = speculate});
          CHECK(everything_in_loop(watched, other));
        }
      }
    }
  }
}

TEST_CASE("Foreign loop: two contexts, each watched, each works") {
  for (const caio::Implementation first : support::backends()) {
    for (const caio::Implementation second : support::backends()) {
      DYNAMIC_SECTION(caio::name(first) << " and " << caio::name(second)) {
        const Blocks blocks(256);
        const Fd file = blocks.open();
        Context one(first, {.speculate = false});
        Context two(second, {.speculate = false});
        EpollLoop loop;
        loop.watch(one);
        loop.watch(two);
        Reads left(blocks, file.get(), 1000);
        Reads right(blocks, file.get(), 1000);
        left.spawn_on(one, 3);
        right.spawn_on(two, 5);
        CHECK(loop.run_until([&] { return left.ended() && right.ended(); }));
        CHECK(left.right() + right.right() == 2000);
      }
    }
  }
}

TEST_CASE("Foreign loop: a task is spawned on a context that was never driven, by one of a watched context") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const Blocks blocks(256);
      const Fd file = blocks.open();
      Context watched(implementation);
      Context other(implementation, {.speculate = false});
      EpollLoop loop;
      loop.watch(watched);
      Reads reads(blocks, file.get(), 100);
      watched.spawn([](Context& context, Reads& work) -> Task<> {
        work.spawn_on(context, 2);
        co_return;
      }(other, reads));
      CHECK(loop.run_until([&] { return reads.right() == 100; }));
    }
  }
}

// --- what the three functions promise

TEST_CASE("Foreign loop: while flush() says true the descriptor is readable, and poll() has something to do") {
  on_every_backend([](Context& context) {
    const int fd = context.fileno();
    context.poll();
    REQUIRE_FALSE(context.flush());
    int resumed = 0;
    for (int i = 0; i < 1000; ++i) {
      context.spawn([](Context& each, int& count) -> Task<> {
        ++count;
        co_await each.schedule();
        ++count;
      }(context, resumed));
    }
    int turns = 0;
    for (; context.flush(); ++turns) {
      REQUIRE(readable(fd));
      REQUIRE(context.poll() > 0);
    }
    CHECK(turns > 1);
    CHECK(resumed == 2000);
    CHECK_FALSE(readable(fd));
  });
}

/// Some kernels and threads signal after they have given the result: poll() takes that back as well.
bool falls_silent(Context& context) {
  for (int i = 0; i < 1000; ++i) {
    if (!readable(context.fileno())) return true;  // a thread's signal may still come, and be taken by the next poll()
    context.poll();
  }
  return false;
}

TEST_CASE("Foreign loop: after work of each kind the descriptor falls silent") {
  on_every_backend([](Context& context) {
    CHECK(everything_in_loop(context, context));
    CHECK(falls_silent(context));
    const Blocks blocks(256);
    for (const int flags : {0, O_DIRECT}) {
      const Fd file = blocks.open(flags);
      if (!file) continue;
      int silent = 0;
      for (int i = 0; i < 1000; ++i) {
        Reads reads(blocks, file.get(), 1);
        reads.spawn_on(context, 1);
        while (!reads.ended()) context.poll();  // never sleeps: it meets the result before its signal
        silent += falls_silent(context) ? 1 : 0;
      }
      CHECK(silent == 1000);
    }
  });
}

TEST_CASE("Foreign loop: a context ends while the loop watches it") {
  for (const support::Setup& setup : support::setups()) {
    DYNAMIC_SECTION(setup.name) {
      const support::Masks masks(setup.old_kernel);
      const Blocks blocks(256);
      const Fd file = blocks.open();
      const Fd later(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
      const Pipe pipe;
      EpollLoop loop;
      bool late = false;
      int poked = 0;
      std::shared_ptr<caio::Engine> engine;
      auto context =
          std::make_unique<Context>(setup.implementation, caio::ContextOptions{.speculate = setup.speculate});
      SECTION("and nobody holds its engine") {}
      SECTION("and a file would hold its engine") { engine = context->engine(); }
      loop.on_readable(context->fileno(), [&] {
        ++poked;
        if (context) context->poll();
      });
      int canceled = 0;
      const auto note = [&canceled](const std::exception_ptr&) { ++canceled; };
      Reads reads(blocks, file.get(), 100'000);
      int ended = 0;
      context->spawn(doze(*context, 100ms, 1, ended), note);
      context->spawn(send_and_get_back(*context, pipe.writer.get(), pipe.reader.get(), 1'000'000, ended), note);
      Block room;
      context->spawn(reads.read_one(*context, room), note);
      loop.on_readable(later.get(), [&] { late = true; });
      context->poll();
      context->flush();
      context.reset();
      poked = 0;
      // Later than anything that the context was to be woken for.
      const ::itimerspec time{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 120'000'000}};
      ::timerfd_settime(later.get(), 0, &time, nullptr);
      CHECK(loop.run_until([&] { return late || poked > 0; }));
      CHECK(poked == 0);
      CHECK(ended == 0);
      CHECK(canceled >= 2);
    }
  }
}

// --- that these tests can fail

TEST_CASE("Foreign loop: a wake-up that is lost is noticed") {
  for (const bool honest : {true, false}) {
    const Blocks blocks(1);
    const Fd file = blocks.open();
    Reads reads(blocks, file.get(), 1);
    Context context(std::make_unique<SlowBackend>(honest), {.speculate = false});
    EpollLoop loop(0, honest ? 10s : 200ms);
    loop.watch(context);
    reads.spawn_on(context, 1);
    CHECK(loop.run_until([&] { return reads.ended(); }) == honest);
  }
}
