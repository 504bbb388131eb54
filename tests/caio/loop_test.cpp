#include <caio/loop.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <caio/context.hpp>
#include <caio/task_group.hpp>

#include <array>
#include <deque>
#include <future>
#include <memory>
#include <optional>
#include <thread>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::gather;
using caio::Implementation;
using caio::Task;
using support::bytes_of;
using support::numbers;
using support::Pipe;
using support::room_in;
using support::Stranger;
using support::TemporaryDirectory;
using namespace std::chrono_literals;

namespace {

/// Readable within 10 s: else a wake-up was lost.
bool wakes(int fd) {
  ::pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, 10'000) == 1;
}
bool readable(int fd) {
  ::pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, 0) == 1;
}

/// A foreign loop: it knows a context by its descriptor alone. False: it slept for 10 s.
bool drive(Context& context, const bool& done, bool flushes) {
  const support::Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  ::epoll_event event{};
  event.events = EPOLLIN;
  ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, context.fileno(), &event);
  while (!done) {
    const bool busy = flushes && context.flush();
    if (!busy && ::epoll_wait(epoll.get(), &event, 1, 10'000) == 0) return false;
    context.poll();
  }
  return true;
}

void ignore(const std::exception_ptr&) {}

/// Suspends, and is resumed by a thread of its own through post().
class ThreadPost {
 public:
  explicit ThreadPost(Context& context) : context_(&context) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    thread_ = std::jthread([context = context_, waiter] { context->post(waiter); });
  }
  void await_resume() const {}

 private:
  Context* context_;
  std::jthread thread_;
};

void forget_cached(int fd) {
  ::fdatasync(fd);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

Task<> read_blocks(Context& context, const Descriptor& file, int first, int step, std::size_t& total) {
  std::string text(1000, '?');
  for (int i = first; i < 1000; i += step) {
    total += co_await context.read(file, room_in(text), std::int64_t{i} * 1000);
  }
}

Task<> pass_through(Context& context, const Pipe& pipe, int count, std::string& got) {
  for (int i = 0; i < count; ++i) {
    char byte = '?';
    co_await context.read(pipe.reader.get(), std::as_writable_bytes(std::span(&byte, 1)), -1);
    got += byte;
  }
}
Task<> feed(Context& context, const Pipe& pipe, std::string_view text) {
  for (const char byte : text) {
    co_await context.sleep_for(100us);
    co_await context.write(pipe.writer.get(), std::as_bytes(std::span(&byte, 1)), -1);
  }
}
Task<> post_often(Context& context, int count) {
  for (int i = 0; i < count; ++i) {
    ThreadPost post(context);
    co_await post;
  }
}

/// A bit of everything; gives the bytes read from the file of 1 000 000.
Task<> work_through(Context& context, const TemporaryDirectory& directory, std::size_t& total, std::string& got) {
  const Descriptor file = co_await context.open(directory / "file", O_RDWR | O_CREAT);
  const std::string content(1'000'000, 'x');
  std::string_view left = content;
  while (!left.empty()) {
    const std::size_t count =
        co_await context.write(file, bytes_of(left), static_cast<std::int64_t>(content.size() - left.size()));
    left.remove_prefix(count);
  }
  const Pipe pipe;
  for (const bool cold : {false, true}) {
    if (cold) forget_cached(file.fileno());
    std::array<std::size_t, 4> parts{};
    co_await gather(read_blocks(context, file, 0, 4, parts[0]), read_blocks(context, file, 1, 4, parts[1]),
                    read_blocks(context, file, 2, 4, parts[2]), read_blocks(context, file, 3, 4, parts[3]),
                    pass_through(context, pipe, 5, got), feed(context, pipe, "hello"), post_often(context, 10));
    total += parts[0] + parts[1] + parts[2] + parts[3];
    co_await context.offload([] {});
    co_await context.sleep_for(1ms);
  }
  co_await context.close(file);
}

Task<> mark_end(Task<> work, bool& done) {
  co_await std::move(work);
  done = true;
}

/// Copies a file that one context reads and another writes, and lets both wait for each other.
Task<> copy(Context& from, Context& to, const TemporaryDirectory& directory) {
  const Descriptor source = co_await from.open(directory / "source", O_RDONLY);
  const Descriptor target = co_await to.open(directory / "target", O_WRONLY | O_CREAT | O_TRUNC);
  std::string chunk(1000, '?');
  for (std::int64_t offset = 0;;) {
    const std::size_t read = co_await from.read(source, room_in(chunk), offset);
    if (read == 0) break;
    const std::size_t written = co_await to.write(target, bytes_of(chunk).first(read), offset);
    offset += static_cast<std::int64_t>(written);
  }
  const Pipe pipe;
  std::string got;
  co_await gather(pass_through(from, pipe, 5, got), feed(to, pipe, "hello"));
  CHECK(got == "hello");
  co_await from.sleep_for(1ms);
  co_await to.sleep_for(1ms);
  co_await from.schedule();
  co_await to.schedule();
  const int number = co_await to.offload([] { return 7; });
  CHECK(number == 7);
  co_await from.close(source);
  co_await to.close(target);
}

/// Whether the work ends without the help of a timer that wakes the loop after a minute.
Task<bool> in_time(Context& context, Task<> work) {
  bool late = false;
  caio::TaskGroup group;
  group.spawn([](Context& each, bool& flag) -> Task<> {
    for (std::chrono::milliseconds patience = 60s;; patience = 5ms) {
      co_await each.sleep_for(patience);
      flag = true;
    }
  }(context, late));
  co_await std::move(work);
  co_return !late;
}

std::string varied(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 >> 3);
  return text;
}

}  // namespace

// --- several contexts of one thread

TEST_CASE("Loop: a coroutine awaits two contexts under the run() of either") {
  const std::string content = varied(20'500);
  for (const Implementation first : support::backends()) {
    for (const Implementation second : support::backends()) {
      DYNAMIC_SECTION(caio::name(first) << " and " << caio::name(second)) {
        for (const bool speculate : {true, false}) {
          const TemporaryDirectory directory;
          directory.file("source", content);
          Context one(first, {.speculate = speculate});
          Context two(second, {.speculate = speculate});
          CHECK(one.run(in_time(one, copy(one, two, directory))));
          CHECK(support::content_of(directory / "target") == content);
          CHECK(one.run(in_time(one, copy(two, one, directory))));
          CHECK(support::content_of(directory / "target") == content);
          CHECK(two.run(in_time(two, copy(one, two, directory))));
          CHECK(support::content_of(directory / "target") == content);
        }
      }
    }
  }
}

TEST_CASE("Loop: a sleeping one is woken by work that comes to its sibling") {
  for (const Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      Context one(implementation);
      Context two(implementation);
      two.run([]() -> Task<> { co_return; }());
      CHECK(one.run(in_time(one, post_often(two, 20))));
      CHECK(two.stats().submitted == 0);
    }
  }
}

TEST_CASE("Loop: thirty contexts of one thread") {
  for (const Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      const support::Fd file(::open(directory.file("file", "0123456789").c_str(), O_RDONLY | O_CLOEXEC));
      std::deque<Context> contexts;
      const caio::ContextOptions options{.max_requests = 8, .speculate = false};
      for (int i = 0; i < 30; ++i) contexts.emplace_back(implementation, options);
      int right = 0;
      auto work = [](std::deque<Context>& all, int fd, int& count) -> Task<> {
        co_await gather(numbers(30), [&](int i) {
          return [](Context& each, int from, int& good) -> Task<> {
            const Pipe pipe;
            std::string text(10, '?');
            co_await each.read(from, room_in(text), 0);
            co_await each.sleep_for(1ms);
            ThreadPost post(each);
            co_await post;
            if (text == "0123456789") ++good;
          }(all[static_cast<std::size_t>(i)], fd, count);
        });
      };
      CHECK(contexts[7].run(in_time(contexts[7], work(contexts, file.get(), right))));
      CHECK(right == 30);
    }
  }
}

TEST_CASE("Loop: a context ends while its siblings go on") {
  for (const Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      Context one(implementation);
      auto work = [](Context& outer, Implementation kind) -> Task<> {
        for (int i = 0; i < 5; ++i) {
          Context inner(kind);
          co_await inner.sleep_for(100us);
          co_await outer.sleep_for(100us);
          co_await inner.offload([] {});
        }
        co_await outer.schedule();
      };
      CHECK(one.run(in_time(one, work(one, implementation))));
      Context two(implementation);
      two.run([](Context& each) -> Task<> { co_await each.sleep_for(100us); }(two));
    }
  }
}

// --- threads

TEST_CASE("Loop: made on one thread, run on another, destroyed on the first") {
  support::on_every_backend([](Context& context) {
    const TemporaryDirectory directory;
    std::size_t total = 0;
    std::string got;
    std::jthread([&] { context.run(work_through(context, directory, total, got)); }).join();
    CHECK(total == 2'000'000);
    CHECK(got == "hellohello");
  });
}

TEST_CASE("Loop: one that waits on another thread's context is destroyed where it was made") {
  for (const Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const Pipe pipe;
      int error = 0;
      auto read = [](Context& each, int fd, int& result) -> Task<> {
        std::string text(1, '?');
        result = co_await support::errno_of(each.read(fd, room_in(text), -1));
      };
      {
        auto context = std::make_unique<Context>(implementation);
        std::jthread([&] {
          context->spawn(read(*context, pipe.reader.get(), error));
          context->run([](Context& each) -> Task<> { co_await each.sleep_for(1ms); }(*context));
        }).join();
        CHECK(error == 0);
      }
      CHECK(error == ECANCELED);
    }
  }
}

TEST_CASE("Loop: operations started before the first run wait for it") {
  support::on_every_backend([](Context& context) {
    const TemporaryDirectory directory;
    const support::Fd file(::open(directory.file("file", "0123456789").c_str(), O_RDONLY | O_CLOEXEC));
    std::string text(10, '?');
    const Stranger<> reader = [](Context& each, int fd, std::string& room) -> Stranger<> {
      co_await each.read(fd, room_in(room), 0);
    }(context, file.get(), text);
    reader.start();
    CHECK_FALSE(reader.done());
    context.run([](const Stranger<>& stranger) -> Task<> { co_await stranger.ended(); }(reader));
    CHECK(text == "0123456789");
  });
}

// --- in somebody else's loop

TEST_CASE("Loop: driven by its descriptor alone, no wake-up is lost") {
  const bool flushes = GENERATE(true, false);
  DYNAMIC_SECTION((flushes ? "with flush()" : "without flush()")) {
    support::on_every_backend([flushes](Context& context) {
      const TemporaryDirectory directory;
      std::size_t total = 0;
      std::string got;
      bool done = false;
      context.spawn(mark_end(work_through(context, directory, total, got), done), ignore);
      CHECK(drive(context, done, flushes));
      CHECK(total == 2'000'000);
      CHECK(got == "hellohello");
    });
  }
}

TEST_CASE("Loop: one descriptor speaks for all contexts of its thread") {
  for (const Implementation first : support::backends()) {
    for (const Implementation second : support::backends()) {
      DYNAMIC_SECTION(caio::name(first) << " watched, " << caio::name(second) << " not") {
        const TemporaryDirectory directory;
        const std::string content = varied(20'500);
        directory.file("source", content);
        Context watched(first, {.speculate = false});
        Context other(second, {.speculate = false});
        bool done = false;
        watched.spawn(mark_end(copy(watched, other, directory), done), ignore);
        CHECK(drive(watched, done, true));
        CHECK(support::content_of(directory / "target") == content);
        std::size_t total = 0;
        std::string got;
        done = false;
        watched.spawn(mark_end(work_through(other, directory, total, got), done), ignore);
        CHECK(drive(watched, done, false));
        CHECK(total == 2'000'000);
      }
    }
  }
}

TEST_CASE("Loop: the descriptor may be asked for at any time, and stays the same") {
  support::on_every_backend([](Context& context) {
    const TemporaryDirectory directory;
    std::size_t total = 0;
    std::string got;
    bool done = false;
    context.run(work_through(context, directory, total, got));
    context.spawn(mark_end(work_through(context, directory, total, got), done), ignore);
    const int fd = context.fileno();
    CHECK(fd >= 0);
    CHECK(drive(context, done, true));
    CHECK(context.fileno() == fd);
    context.run(work_through(context, directory, total, got));
    CHECK(context.fileno() == fd);
    CHECK(total == 6'000'000);
  });
}

TEST_CASE("Loop: poll() never blocks, and the descriptor is silent when there is nothing to do") {
  support::on_every_backend([](Context& context) {
    const int fd = context.fileno();
    context.poll();
    CHECK(context.poll() == 0);
    CHECK_FALSE(context.flush());
    CHECK_FALSE(readable(fd));
    const Pipe pipe;
    std::string got;
    context.spawn(pass_through(context, pipe, 1, got));
    CHECK(readable(fd));
    CHECK(context.poll() == 1);
    CHECK_FALSE(context.flush());
    CHECK_FALSE(readable(fd));
    CHECK(::write(pipe.writer.get(), "x", 1) == 1);
    CHECK(readable(fd));
    if (!support::nowait_on_pipes()) return;  // then a thread of the pool reads
    CHECK(context.poll() == 1);
    CHECK(got == "x");
    CHECK_FALSE(context.flush());
    CHECK_FALSE(readable(fd));
  });
}

TEST_CASE("Loop: a due timer makes the descriptor readable, an earlier one sooner") {
  support::on_every_backend([](Context& context) {
    const int fd = context.fileno();
    std::string order;
    auto sleeper = [](Context& each, std::chrono::milliseconds time, std::string& marks, char mark) -> Task<> {
      co_await each.sleep_for(time);
      marks += mark;
    };
    context.spawn(sleeper(context, 300ms, order, 'c'));
    context.spawn(sleeper(context, 200ms, order, 'b'));
    context.poll();
    context.spawn(sleeper(context, 2ms, order, 'a'));
    while (order.size() < 3) {
      REQUIRE(wakes(fd));
      context.poll();
    }
    CHECK(order == "abc");
  });
}

TEST_CASE("Loop: what another thread starts makes the descriptor readable") {
  support::on_every_backend([](Context& context) {
    const int fd = context.fileno();
    context.poll();
    for (int i = 0; i < 50; ++i) {
      const Stranger<> traveller = [](Context& each) -> Stranger<> { co_await each.schedule(); }(context);
      const std::jthread starter([&traveller] { traveller.start(); });
      while (!traveller.done()) {
        REQUIRE(wakes(fd));
        context.poll();
      }
    }
  });
}

TEST_CASE("Loop: a thread ends with operations in flight, and another one ends its context") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", std::string(1 << 20, 'x'));
  for (const support::Setup& setup : support::setups()) {
    DYNAMIC_SECTION(setup.name) {
      const support::Masks masks(setup.old_kernel);
      for (int round = 0; round < 20; ++round) {
        auto context = std::make_unique<Context>(setup.implementation, caio::ContextOptions{.speculate = false});
        const Pipe pipe;
        int ended = 0;
        auto read = [](Context& each, int fd, std::int64_t offset, int& count) -> Task<> {
          struct alignas(4096) Pages {
            std::array<std::byte, 65536> bytes;
          };
          auto pages = std::make_unique<Pages>();
          const int error = co_await support::errno_of(each.read(fd, pages->bytes, offset));
          INFO("errno " << error);
          CHECK((error == 0 || error == ECANCELED));
          ++count;
        };
        const support::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | (round % 2 == 0 ? O_DIRECT : 0)));
        if (!file) return;  // a file system without O_DIRECT
        std::promise<void> left;
        std::thread driver([&] {
          for (int i = 0; i < 8; ++i) context->spawn(read(*context, file.get(), 65536 * i, ended));
          context->spawn(read(*context, pipe.reader.get(), -1, ended));
          context->poll();
          left.set_value();
        });
        if (round % 4 < 2) {
          driver.join();
        } else {
          left.get_future().get();  // it is just going
        }
        context.reset();
        CHECK(ended == 9);
        if (driver.joinable()) driver.join();
      }
    }
  }
}

TEST_CASE("Loop: a context that has ended elsewhere is no longer driven by the thread that drove it") {
  auto first = std::make_unique<Context>(Implementation::blocking);
  std::promise<void> driven;
  std::promise<void> ended;
  std::thread driver([&] {
    first->run([]() -> Task<> { co_return; }());
    driven.set_value();
    ended.get_future().get();
    Context second(Implementation::blocking);
    second.run([](Context& context) -> Task<> { co_await context.schedule(); }(second));
  });
  driven.get_future().get();
  first.reset();
  ended.set_value();
  driver.join();
}

TEST_CASE("Loop: who is resumed by a context's end finds that one the current") {
  int error = 0;
  Context* seen = nullptr;
  auto wait = [](Context& context, Context*& current, int& outcome) -> Stranger<> {
    const int first = co_await support::errno_of(context.sleep_for(1h));
    CHECK(first == ECANCELED);
    current = &Context::current();
    outcome = co_await support::errno_of(caio::sleep_for(1h));
  };
  std::optional<Context> context(std::in_place);
  const Stranger<> waiter = wait(*context, seen, error);
  waiter.start();
  context->poll();
  Context* const wanted = &*context;
  context.reset();
  CHECK(seen == wanted);
  CHECK(error == ECANCELED);
}

TEST_CASE("Loop: a thread ends with closes queued that nobody may cancel") {
  for (const Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      auto context = std::make_unique<Context>(implementation, caio::ContextOptions{.max_requests = 1, .pool_size = 1});
      std::vector<int> files;
      for (int i = 0; i < 3; ++i) files.push_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      std::thread([&] {
        for (const int file : files) {
          context->spawn([](Context& each, int fd) -> Task<> { co_await each.close(fd); }(*context, file));
          context->spawn([](Context& each) -> Task<> { co_await each.offload([] {}); }(*context), [](auto) {});
        }
        context->poll();
      }).join();
      context.reset();
      for (const int fd : files) CHECK(::fcntl(fd, F_GETFD) == -1);
    }
  }
}

TEST_CASE("Loop: a thread's end does not wait for what it has offloaded") {
  for (const Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      auto context = std::make_unique<Context>(implementation);
      std::promise<void> joined;
      std::thread([&] {
        context->spawn(
            [](Context& each, std::promise<void>& promise) -> Task<> {
              co_await each.offload([&] { promise.get_future().wait(); });
            }(*context, joined),
            [](auto) {});
        context->poll();
      }).join();
      joined.set_value();
      context.reset();
    }
  }
}

TEST_CASE("Loop: a thread's own objects may use their context to the last") {
  struct Late {
    std::unique_ptr<Context> context;
    bool* used = nullptr;
    ~Late() {
      if (used == nullptr) return;
      context->run([](Context& each) -> Task<> { co_await each.sleep_for(1us); }(*context));
      *used = true;
    }
  };
  for (const Implementation implementation : support::backends()) {
    bool used = false;
    std::thread([&] {
      static thread_local Late late;  // made before the first run, so it goes after everything that this makes
      late.context = std::make_unique<Context>(implementation);
      late.used = &used;
      late.context->run([](Context& each) -> Task<> { co_await each.schedule(); }(*late.context));
    }).join();
    CHECK(used);
  }
}

TEST_CASE("Loop: a context that ends leaves the descriptor of its sibling silent") {
  for (const Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      const auto path = directory.file("file", std::string(65536, 'x'));
      Context watched(implementation);
      const int fd = watched.fileno();
      std::shared_ptr<caio::Engine> held;  // as an open file does
      {
        Context other(implementation, {.speculate = false});
        held = other.engine();
        watched.run([](Context& each, std::string name) -> Task<> {
          const Descriptor file = co_await each.open(name, O_RDONLY);
          std::string text(4096, '?');
          co_await each.read(file, room_in(text), 0);
          co_await each.close(file);
        }(other, path.string()));
      }
      for (int i = 0; i < 100 && readable(fd); ++i) watched.poll();
      CHECK_FALSE(readable(fd));
    }
  }
}
