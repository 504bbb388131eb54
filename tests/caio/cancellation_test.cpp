// A stop travels: from whoever asks, through tasks, gathers, groups and generators, to every kind of operation at the
// leaves; what has not begun never begins, what runs is waited for, and what came too late is not kept.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/async_open.hpp>
#include <array>
#include <atomic>
#include <caio/context.hpp>
#include <caio/gather.hpp>
#include <caio/generator.hpp>
#include <caio/stop.hpp>
#include <caio/task_group.hpp>
#include <chrono>
#include <future>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Task;
using caio::TaskGroup;
using caio::with_stop;
using caio::with_timeout;
using support::errno_of;
using support::on_every_backend;
using support::Pipe;
using support::room_in;
using support::TemporaryDirectory;
using namespace std::chrono_literals;

namespace {

// --- what waits at the leaves, and never ends by itself

enum class Leaf { pipe, fifo, sleep, offload, parked, scheduling };
constexpr std::array leaves{Leaf::pipe, Leaf::fifo, Leaf::sleep, Leaf::offload, Leaf::parked, Leaf::scheduling};

/// What the leaves wait for. The pool's only thread is held by an offload, so that all others stay in its queue.
class Ground {
 public:
  explicit Ground(Context& own) : context(own) { REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0); }

  Context& context;
  TemporaryDirectory directory;
  Pipe pipe;
  Pipe taken;  // a stream waits for it
  std::promise<void> release;
  std::atomic<int> called{0};
  int ended = 0;  // leaves that got past what they wait for
  int cancelled = 0;

  Task<> occupy_pool() {
    group_.spawn(hold());
    while (!begun_) co_await context.schedule();
    stream_.emplace(co_await aiofile::async_open(taken.reader.get(), "rb", {.context = &context}));
    group_.spawn(read_stream());
    co_await context.schedule();
  }
  Task<> leave() {
    release.set_value();
    CHECK(::write(taken.writer.get(), "x", 1) == 1);
    co_await group_.join();
  }

  Task<> wait(Leaf leaf) {
    std::string byte(1, '?');
    switch (leaf) {
      case Leaf::pipe: co_await context.read(pipe.reader.get(), room_in(byte), -1); break;
      case Leaf::fifo: co_await context.open(directory / "fifo", O_WRONLY); break;
      case Leaf::sleep: co_await context.sleep_for(1h); break;
      case Leaf::offload: co_await context.offload([this] { ++called; }); break;
      case Leaf::parked: co_await stream_->read(1); break;
      case Leaf::scheduling:
        for (;;) {
          co_await context.schedule();
        }
    }
  }

 private:
  Task<> hold() {
    co_await context.offload([this] {
      begun_ = true;
      until_.wait();
    });
  }
  Task<> read_stream() { co_await stream_->read(1); }

  std::future<void> until_ = release.get_future();
  std::atomic<bool> begun_{false};
  std::optional<aiofile::FileStream> stream_;
  TaskGroup group_;
};

// --- four levels above them: generator, group, gather, task

Task<> leaf(Ground& ground, Leaf kind) {
  const int error = co_await errno_of(ground.wait(kind));
  ++(error == ECANCELED ? ground.cancelled : ground.ended);
  if (error != 0) throw std::system_error(error, std::system_category(), "leaf");
}

caio::Generator<int> generate(Ground& ground, Leaf kind) {
  co_yield 1;
  co_await leaf(ground, kind);
  co_yield 2;
}

Task<> from_generator(Ground& ground, Leaf kind) {
  caio::Generator<int> items = generate(ground, kind);
  while (co_await items.next()) {
  }
}

Task<> from_group(Ground& ground, Leaf kind) {
  TaskGroup group;
  group.spawn(from_generator(ground, kind));
  group.spawn(leaf(ground, kind));
  co_await group.join();
}

Task<> tree(Ground& ground, Leaf kind) {
  co_await caio::gather(from_group(ground, kind), leaf(ground, kind), from_group(ground, kind));
}
constexpr int in_tree = 5;

Task<> fail_later(Context& context) {
  for (int i = 0; i < 3; ++i) co_await context.schedule();
  throw std::runtime_error("a sibling");
}

Task<> beside_a_failure(Ground& ground, Leaf kind) {
  TaskGroup group;
  group.spawn(tree(ground, kind));
  group.spawn(fail_later(ground.context));
  bool failed = false;
  try {
    co_await group.join();
  } catch (const std::runtime_error&) {
    failed = true;
  }
  CHECK(failed);
}

Task<> stop_later(Context& context, std::stop_source source) {
  for (int i = 0; i < 3; ++i) co_await context.schedule();
  source.request_stop();
}

// --- counting what the system is asked for

std::atomic<int> opens{0};
std::atomic<int> transfers{0};

class Counting {
 public:
  Counting() {
    opens = transfers = 0;
    caio::system_calls.open = [](const char* path, int flags, ::mode_t mode) {
      ++opens;
      return ::open(path, flags, mode);
    };
    caio::system_calls.pread = [](int fd, void* data, std::size_t size, ::off_t offset) {
      ++transfers;
      return ::pread(fd, data, size, offset);
    };
    caio::system_calls.preadv2 = [](int fd, const ::iovec* vectors, int count, ::off_t offset, int flags) {
      ++transfers;
      return ::preadv2(fd, vectors, count, offset, flags);
    };
    caio::system_calls.pwrite = [](int fd, const void* data, std::size_t size, ::off_t offset) {
      ++transfers;
      return ::pwrite(fd, data, size, offset);
    };
  }
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;
  ~Counting() { caio::system_calls = {}; }
};

/// A thread that asks for stops, one after the other.
class Stopper {
 public:
  void stop(std::stop_source source, unsigned spins) {
    source_ = std::move(source);
    spins_ = spins;
    asked_.fetch_add(1, std::memory_order_release);
  }
  void finish() {
    quit_ = true;
    thread_.join();
  }

 private:
  void work() {
    for (int done = 0; !quit_;) {
      if (asked_.load(std::memory_order_acquire) == done) {
        std::this_thread::yield();
        continue;
      }
      std::stop_source source = source_;
      for (unsigned i = spins_; i > 0; --i) std::atomic_signal_fence(std::memory_order_seq_cst);
      source.request_stop();
      ++done;
    }
  }

  std::stop_source source_;
  unsigned spins_ = 0;
  std::atomic<int> asked_{0};
  std::atomic<bool> quit_{false};
  std::thread thread_{[this] { work(); }};
};

}  // namespace

TEST_CASE("Cancellation: a stop reaches every kind of leaf, four levels down") {
  on_every_backend(
      [](Context& context) -> Task<> {
        Ground ground(context);
        co_await ground.occupy_pool();
        for (const Leaf kind : leaves) {
          INFO("leaf " << static_cast<int>(kind));
          ground.cancelled = 0;
          std::stop_source source;
          auto stopped = errno_of(with_stop(source.get_token(), tree(ground, kind)));
          const auto [error] = co_await caio::gather(std::move(stopped), stop_later(context, source));
          CHECK(error == ECANCELED);
          CHECK(ground.cancelled == in_tree);
          ground.cancelled = 0;
          const int late = co_await errno_of(with_timeout(1ms, tree(ground, kind)));
          CHECK(late == ETIMEDOUT);
          CHECK(ground.cancelled == in_tree);
          ground.cancelled = 0;
          co_await beside_a_failure(ground, kind);
          CHECK(ground.cancelled == in_tree);
        }
        CHECK(ground.ended == 0);
        CHECK(ground.called == 0);
        co_await ground.leave();
        CHECK(ground.called == 0);  // what was taken out of the pool's queue never ran
      },
      {.pool_size = 1});
}

TEST_CASE("Cancellation: asked for before the start, no file is opened, read or written") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", "before"), O_RDWR);
    std::stop_source source;
    source.request_stop();
    std::string text(6, '?');
    const Counting counting;
    const caio::ContextStats before = context.stats();
    std::vector<int> errors;
    for (int i = 0; i < 3; ++i) {
      const int read = co_await errno_of(with_stop(source.get_token(), context.read(file, room_in(text), 0)));
      const int write =
          co_await errno_of(with_stop(source.get_token(), context.write(file, support::bytes_of("after!"), 0)));
      const int open =
          co_await errno_of(with_stop(source.get_token(), context.open(directory / "new", O_RDWR | O_CREAT)));
      const int sync = co_await errno_of(with_stop(source.get_token(), context.fsync(file)));
      errors.insert(errors.end(), {read, write, open, sync});
    }
    CHECK(errors == std::vector<int>(12, ECANCELED));
    CHECK(context.stats().handed_over == before.handed_over);
    CHECK(context.stats().speculated == before.speculated);
    CHECK((opens == 0 && transfers == 0));
    CHECK_FALSE(std::filesystem::exists(directory / "new"));
    CHECK(support::content_of(directory / "file") == "before");
    CHECK(text == "??????");
    co_await context.close(file);
  });
}

TEST_CASE("Cancellation: behind max_requests, what is stopped is never handed over") {
  on_every_backend(
      [](Context& context) -> Task<> {
        std::promise<void> release;
        std::future<void> until = release.get_future();
        const TemporaryDirectory directory;
        const Descriptor file = co_await context.open(directory.file("file", "0123456789"), O_RDONLY);
        auto hold = [](Context& own, std::future<void>& end) -> Task<> {
          co_await own.offload([&end] { end.wait(); });
        };
        TaskGroup holder;
        holder.spawn(hold(context, until));
        while (context.stats().in_flight == 0) co_await context.schedule();
        auto sync = [](Context& own, const Descriptor& synced) -> Task<> { co_await own.fsync(synced); };
        TaskGroup group;
        for (int i = 0; i < 20; ++i) group.spawn(sync(context, file));
        co_await context.schedule();
        const std::uint64_t handed_over = context.stats().handed_over;
        group.request_stop();
        const int error = co_await errno_of(group.join());
        CHECK(error == ECANCELED);
        CHECK(context.stats().handed_over == handed_over);
        CHECK(context.stats().cancelled >= 20);
        release.set_value();
        co_await holder.join();
        co_await context.close(file);
      },
      {.max_requests = 1});
}

TEST_CASE("Cancellation: an open that comes too late leaves no descriptor") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::filesystem::path path = directory.file("file", "content");
    auto open_and_close = [](Context& own, std::filesystem::path name, int& ended) -> Task<> {
      const Descriptor file = co_await own.open(std::move(name), O_RDONLY);
      co_await own.close(file);
      ++ended;
    };
    int ended = 0;
    for (int round = 0; round < 100; ++round) {
      std::stop_source source;
      TaskGroup group;
      for (int i = 0; i < 4; ++i) {
        group.spawn(with_stop(source.get_token(), open_and_close(context, path, ended)));
      }
      for (int turn = 0; turn < round % 4; ++turn) co_await context.schedule();
      source.request_stop();
      static_cast<void>(co_await errno_of(group.join()));
    }
    CHECK(support::descriptors_on(directory.path()) == 0);
    CHECK(ended <= 400);
  });
}

TEST_CASE("Cancellation: request_stop resumes nobody inline") {
  on_every_backend([](Context& context) -> Task<> {
    Ground ground(context);
    std::stop_source source;
    TaskGroup group;
    for (const Leaf kind : {Leaf::pipe, Leaf::fifo, Leaf::sleep}) {
      group.spawn(with_stop(source.get_token(), leaf(ground, kind)));
    }
    for (int i = 0; i < 3; ++i) co_await context.schedule();
    source.request_stop();
    CHECK(ground.cancelled == 0);
    const int error = co_await errno_of(group.join());
    CHECK(error == ECANCELED);
    CHECK(ground.cancelled == 3);
  });
}

TEST_CASE("Cancellation: an operation that has won the race gives its result") {
  if (!support::nowait_on_pipes()) return;  // then a thread of the pool reads, when it likes
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    std::string text(3, '?');
    std::stop_source source;
    auto stop_behind = [](int fd, std::stop_source asked) -> Task<> {
      CHECK(::write(fd, "abc", 3) == 3);
      co_await Context::current().schedule();  // the read's bytes are here by now
      co_await Context::current().schedule();
      asked.request_stop();
    };
    auto read = with_stop(source.get_token(), context.read(pipe.reader.get(), room_in(text), -1));
    const auto [count] = co_await caio::gather(std::move(read), stop_behind(pipe.writer.get(), source));
    CHECK(count == 3);
    CHECK(text == "abc");
  });
}

TEST_CASE("Cancellation: of nested timeouts the shortest one counts, whichever it is") {
  on_every_backend([](Context& context) -> Task<> {
    Ground ground(context);
    auto nested = [&ground](auto a, auto b, auto c) {
      return errno_of(with_timeout(a, with_timeout(b, with_timeout(c, tree(ground, Leaf::pipe)))));
    };
    CHECK_YIELDS(nested(1ms, 1h, 1h), ETIMEDOUT);
    CHECK_YIELDS(nested(1h, 1ms, 1h), ETIMEDOUT);
    CHECK_YIELDS(nested(1h, 1h, 1ms), ETIMEDOUT);
    CHECK_YIELDS(nested(1ms, 1ms, 1ms), ETIMEDOUT);
    CHECK(ground.cancelled == 4 * in_tree);
    CHECK(context.stats().parked == 0);
  });
}

TEST_CASE("Cancellation: from another thread, 1000 times at any moment") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content(8192, 'c');
    const Descriptor file = co_await context.open(directory.file("file", content), O_RDONLY);
    const Pipe idle;
    std::mt19937 random(11);
    Stopper stopper;
    int whole = 0;
    int cancelled = 0;
    auto read_all = [](Context& own, const Descriptor& from, int fd, std::string& text) -> Task<std::size_t> {
      const std::size_t count = co_await own.read(from, room_in(text), 0);
      co_await own.schedule();
      if (fd < 0) co_return count;
      co_return co_await own.read(fd, room_in(text), -1);
    };
    for (int round = 0; round < 1000; ++round) {
      std::stop_source source;
      std::string text(content.size(), '?');
      stopper.stop(source, static_cast<unsigned>(random() % 4000));
      const int fd = round % 2 == 0 ? idle.reader.get() : -1;
      const int error = co_await errno_of(with_stop(source.get_token(), read_all(context, file, fd, text)));
      if (error != 0 && error != ECANCELED) FAIL("error " << error << " in round " << round);
      if (error == 0 && text != content) FAIL("wrong bytes in round " << round);
      if (error == 0 && fd >= 0) FAIL("bytes from an idle pipe in round " << round);
      ++(error == 0 ? whole : cancelled);
      while (!source.stop_requested()) std::this_thread::yield();
    }
    stopper.finish();
    CHECK(whole + cancelled == 1000);
    CHECK(cancelled >= 500);
    co_await context.close(file);
  });
}
