#include <caio/task_group.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <caio/context.hpp>
#include <caio/detail/unique_fd.hpp>
#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>

#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Task;
using caio::TaskGroup;
using caio::detail::UniqueFd;
using support::Pipe;

namespace {

constexpr std::chrono::hours long_time{1};

/// What became of children.
struct Fate {
  int begun = 0;
  int resumed = 0;
  int destroyed = 0;
  int cancelled = 0;
};

class Life {
 public:
  explicit Life(Fate& fate) : fate_(&fate) { ++fate_->begun; }
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;
  ~Life() { ++fate_->destroyed; }

 private:
  Fate* fate_;
};

Task<> sleeper(Context& context, Fate& fate) {
  const Life life(fate);
  try {
    co_await context.sleep_for(long_time);
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::operation_canceled) ++fate.cancelled;
    throw;
  }
  ++fate.resumed;
}

Task<> reader(Context& context, int fd, std::int64_t offset, Fate& fate) {
  const Life life(fate);
  std::array<std::byte, 4096> buffer;
  try {
    co_await context.read(fd, buffer, offset);
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::operation_canceled) ++fate.cancelled;
    throw;
  }
  ++fate.resumed;
}

Task<> turns(Context& context, int count, int& ended) {
  for (int i = 0; i < count; ++i) co_await context.schedule();
  ++ended;
}

Task<> fail_after(Context& context, int count, std::string what) {
  int ignored = 0;
  co_await turns(context, count, ignored);
  throw std::runtime_error(what);
}

/// What join() throws; "" when nothing.
Task<std::string> failure_of(TaskGroup& group) {
  try {
    co_await group.join();
  } catch (const std::system_error& error) {
    co_return error.code() == std::errc::operation_canceled ? "cancelled" : "system error";
  } catch (const std::runtime_error& error) {
    co_return error.what();
  }
  co_return "";
}

}  // namespace

TEST_CASE("TaskGroup: does not move") {
  STATIC_REQUIRE_FALSE(std::is_move_constructible_v<TaskGroup>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<TaskGroup>);
}

TEST_CASE("TaskGroup: a child starts at once") {
  bool started = false;
  auto work = [](bool& flag) -> Task<> {
    flag = true;
    co_return;
  };
  TaskGroup group;
  group.spawn(work(started));
  CHECK(started);
}

TEST_CASE("TaskGroup: join() of an empty group ends at once") {
  TaskGroup group;
  CHECK(caio::run(failure_of(group)).empty());
}

TEST_CASE("TaskGroup: join() waits for all") {
  support::on_every_backend([](Context& context) -> Task<> {
    TaskGroup group;
    int ended = 0;
    for (int i = 0; i < 10; ++i) group.spawn(turns(context, 10 - i, ended));
    CHECK(ended == 0);
    co_await group.join();
    CHECK(ended == 10);
  });
}

TEST_CASE("TaskGroup: children spawn others into it") {
  support::on_every_backend([](Context& context) -> Task<> {
    struct Family {
      static Task<> grow(Context& owner, TaskGroup& group, int depth, int& members) {
        co_await owner.schedule();
        ++members;
        if (depth == 0) co_return;
        group.spawn(grow(owner, group, depth - 1, members));
        group.spawn(grow(owner, group, depth - 1, members));
      }
    };
    TaskGroup group;
    int members = 0;
    group.spawn(Family::grow(context, group, 5, members));
    co_await group.join();
    CHECK(members == 63);
  });
}

TEST_CASE("TaskGroup: the first failure stops the others and is rethrown") {
  support::on_every_backend([](Context& context) -> Task<> {
    Pipe pipe;
    Fate fate;
    TaskGroup group;
    group.spawn(sleeper(context, fate));
    group.spawn(reader(context, pipe.reader.get(), -1, fate));
    group.spawn(fail_after(context, 2, "first"));
    group.spawn(sleeper(context, fate));
    const std::string failure = co_await failure_of(group);
    CHECK(failure == "first");
    CHECK(fate.cancelled == 3);
    CHECK(fate.destroyed == 3);
    CHECK(fate.resumed == 0);
  });
}

TEST_CASE("TaskGroup: of two failures the one that came first in time is rethrown") {
  support::on_every_backend([](Context& context) -> Task<> {
    TaskGroup group;
    group.spawn(fail_after(context, 4, "second"));
    group.spawn(fail_after(context, 1, "first"));
    const std::string failure = co_await failure_of(group);
    CHECK(failure == "first");
  });
}

TEST_CASE("TaskGroup: a failure before join() is kept for it") {
  auto failing = []() -> Task<> {
    throw std::runtime_error("at once");
    co_return;
  };
  TaskGroup group;
  group.spawn(failing());
  CHECK(caio::run(failure_of(group)) == "at once");
  CHECK(caio::run(failure_of(group)).empty());
}

TEST_CASE("TaskGroup: request_stop() ends the operations of the children") {
  support::on_every_backend([](Context& context) -> Task<> {
    Fate fate;
    TaskGroup group;
    group.spawn(sleeper(context, fate));
    group.spawn(sleeper(context, fate));
    group.request_stop();
    CHECK(fate.cancelled == 0);
    const std::string failure = co_await failure_of(group);
    CHECK(failure == "cancelled");
    CHECK(fate.cancelled == 2);
  });
}

TEST_CASE("TaskGroup: a child spawned after a stop ends at its first operation") {
  support::on_every_backend([](Context& context) -> Task<> {
    Fate fate;
    TaskGroup group;
    group.request_stop();
    group.spawn(sleeper(context, fate));
    CHECK(fate.begun == 1);
    CHECK(fate.cancelled == 1);
    const std::string failure = co_await failure_of(group);
    CHECK(failure == "cancelled");
  });
}

TEST_CASE("TaskGroup: is used again after join()") {
  support::on_every_backend([](Context& context) -> Task<> {
    TaskGroup group;
    int ended = 0;
    for (int round = 1; round <= 3; ++round) {
      group.spawn(turns(context, 2, ended));
      const std::string calm = co_await failure_of(group);
      CHECK(calm.empty());
      CHECK(ended == round);
      Fate fate;
      group.spawn(sleeper(context, fate));
      group.spawn(fail_after(context, 1, "failed"));
      const std::string failure = co_await failure_of(group);
      CHECK(failure == "failed");
      CHECK(fate.cancelled == 1);
    }
  });
}

TEST_CASE("TaskGroup: its end destroys unfinished children without resuming them") {
  const support::TemporaryDirectory directory;
  const auto path = directory.file("data", std::string(4096, 'x'));
  support::on_every_backend([&](Context& context) -> Task<> {
    Pipe pipe;
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    Fate waiting;
    Fate reading;
    {
      TaskGroup group;
      group.spawn(reader(context, pipe.reader.get(), -1, waiting));
      group.spawn(sleeper(context, waiting));
      for (int i = 0; i < 8; ++i) group.spawn(reader(context, file.get(), 0, reading));
      CHECK(waiting.begun == 2);
      CHECK(reading.begun == 8);
    }
    CHECK(waiting.destroyed == 2);
    CHECK(waiting.resumed == 0);
    CHECK(waiting.cancelled == 0);
    CHECK(reading.destroyed == 8);
    CHECK(reading.cancelled == 0);
    // Reads that need no suspension have ended before.
    if (context.stats().speculated == 0) CHECK(reading.resumed == 0);
    co_return;
  });
}

TEST_CASE("TaskGroup: its end destroys children whose operations were handed over already") {
  const support::TemporaryDirectory directory;
  const auto path = directory.file("data", std::string(4096, 'x'));
  support::on_every_backend([&](Context& context) -> Task<> {
    Pipe pipe;
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    Fate fate;
    Fate files;
    {
      TaskGroup group;
      group.spawn(reader(context, pipe.reader.get(), -1, fate));
      group.spawn(sleeper(context, fate));
      co_await context.schedule();
      co_await context.schedule();
      CHECK(fate.destroyed == 0);
      for (int i = 0; i < 100; ++i) group.spawn(reader(context, file.get(), 0, files));
      CHECK(files.begun == 100);
    }
    CHECK(fate.destroyed == 2);
    CHECK(fate.resumed == 0);
    CHECK(fate.cancelled == 0);
    CHECK(files.destroyed == 100);
    CHECK(files.cancelled == 0);
  });
}

TEST_CASE("TaskGroup: a stop asked of the joining task reaches the children") {
  support::on_every_backend([](Context& context) -> Task<> {
    struct Nest {
      static Task<> of(Context& owner, Fate& fate, int depth) {
        TaskGroup inner;
        inner.spawn(sleeper(owner, fate));
        if (depth > 0) inner.spawn(of(owner, fate, depth - 1));
        co_await inner.join();
      }
    };
    Fate fate;
    TaskGroup outer;
    outer.spawn(Nest::of(context, fate, 3));
    CHECK(fate.begun == 4);
    outer.request_stop();
    const std::string failure = co_await failure_of(outer);
    CHECK(failure == "cancelled");
    CHECK(fate.cancelled == 4);
    CHECK(fate.destroyed == 4);
  });
}

TEST_CASE("TaskGroup: a failure beside a group stops the children of that group") {
  support::on_every_backend([](Context& context) -> Task<> {
    auto nested = [](Context& owner, Fate& fate) -> Task<> {
      TaskGroup inner;
      inner.spawn(sleeper(owner, fate));
      inner.spawn(sleeper(owner, fate));
      co_await inner.join();
    };
    Fate fate;
    TaskGroup outer;
    outer.spawn(nested(context, fate));
    outer.spawn(fail_after(context, 2, "beside"));
    const std::string failure = co_await failure_of(outer);
    CHECK(failure == "beside");
    CHECK(fate.cancelled == 2);
  });
}

TEST_CASE("TaskGroup: the end of a group destroys the groups inside it") {
  support::on_every_backend([](Context& context) -> Task<> {
    auto nested = [](Context& owner, Fate& fate) -> Task<> {
      TaskGroup inner;
      inner.spawn(sleeper(owner, fate));
      co_await inner.join();
      ++fate.resumed;
    };
    Fate fate;
    {
      TaskGroup outer;
      outer.spawn(nested(context, fate));
    }
    CHECK(fate.destroyed == 1);
    CHECK(fate.resumed == 0);
    CHECK(fate.cancelled == 0);
    co_return;
  });
}
