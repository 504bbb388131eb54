#include <caio/detail/spawned.hpp>

#include <array>
#include <caio/context.hpp>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/setups.hpp"

using caio::Context;
using caio::Task;

namespace {

Task<> set(bool& flag) {
  flag = true;
  co_return;
}

Task<> fail() {
  throw std::runtime_error("failed");
  co_return;
}

Task<> turns(Context& context, int count) {
  for (int i = 0; i < count; ++i) co_await context.schedule();
}

Task<> set_after(Context& context, int count, int& ended) {
  co_await turns(context, count);
  ++ended;
}

struct Life {
  explicit Life(int& count) : alive(count) { ++alive; }
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;
  ~Life() { --alive; }
  int& alive;
};

/// Waits for nobody, for ever.
Task<> wait_forever(int& alive, std::coroutine_handle<>* place = nullptr) {
  struct Forever {
    std::coroutine_handle<>* place;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) const noexcept {
      if (place != nullptr) *place = waiter;
    }
    void await_resume() const noexcept {}
  };
  const Life life(alive);
  co_await Forever{place};
}

Task<> sleep_long(Context& context, int& alive, std::error_code& code) {
  const Life life(alive);
  try {
    co_await context.sleep_for(std::chrono::hours(1));
  } catch (const std::system_error& error) {
    code = error.code();
  }
}

}  // namespace

TEST_CASE("spawn: starts the task in its turn, not at once") {
  support::on_every_backend([](Context& context) {
    bool ran = false;
    context.spawn(set(ran));
    CHECK_FALSE(ran);
    context.run(turns(context, 2));
    CHECK(ran);
  });
}

TEST_CASE("spawn: tasks run beside the one that is run, and after it") {
  support::on_every_backend([](Context& context) {
    int ended = 0;
    for (int i = 0; i < 10; ++i) context.spawn(set_after(context, i, ended));
    context.run(turns(context, 3));
    CHECK(ended < 10);
    context.run(turns(context, 20));
    CHECK(ended == 10);
  });
}

TEST_CASE("spawn: a failure goes to on_error") {
  support::on_every_backend([](Context& context) {
    std::string what;
    context.spawn(fail(), [&what](const std::exception_ptr& error) {
      try {
        std::rethrow_exception(error);
      } catch (const std::runtime_error& failure) {
        what = failure.what();
      }
    });
    context.run(turns(context, 2));
    CHECK(what == "failed");
  });
}

TEST_CASE("spawn: from another thread it runs on the context's") {
  support::on_every_backend([](Context& context) {
    std::thread::id where;
    auto note = [](std::thread::id& place) -> Task<> {
      place = std::this_thread::get_id();
      co_return;
    };
    context.run(turns(context, 1));
    std::thread([&] { context.spawn(note(where)); }).join();
    CHECK(where == std::thread::id());
    context.run(turns(context, 2));
    CHECK(where == std::this_thread::get_id());
  });
}

TEST_CASE("spawn: the context's end destroys a task that has not ended") {
  for (const caio::Implementation implementation : support::backends()) {
    int alive = 0;
    {
      Context context(implementation);
      context.spawn(wait_forever(alive));
      context.run(turns(context, 2));
      CHECK(alive == 1);
    }
    CHECK(alive == 0);
  }
}

TEST_CASE("spawn: the context's end cancels what a task waits for, and it ends") {
  for (const caio::Implementation implementation : support::backends()) {
    int alive = 0;
    std::error_code code;
    {
      Context context(implementation);
      context.spawn(sleep_long(context, alive, code));
      context.run(turns(context, 2));
      CHECK(alive == 1);
    }
    CHECK(alive == 0);
    CHECK(code == std::errc::operation_canceled);
  }
}

TEST_CASE("spawn: a task that never got its turn is freed") {
  auto token = std::make_shared<int>(1);
  auto hold = [](std::shared_ptr<int>) -> Task<> { co_return; };
  for (const caio::Implementation implementation : support::backends()) {
    Context context(implementation);
    context.spawn(hold(token));
    CHECK(token.use_count() == 2);
  }
  CHECK(token.use_count() == 1);
}

TEST_CASE("post: resumes a handle in its turn") {
  support::on_every_backend([](Context& context) {
    int alive = 0;
    std::coroutine_handle<> waiter;
    context.spawn(wait_forever(alive, &waiter));
    context.run(turns(context, 2));
    REQUIRE(waiter);
    context.post(waiter);
    CHECK(alive == 1);
    context.run(turns(context, 2));
    CHECK(alive == 0);
  });
}

TEST_CASE("post: from another thread it wakes the context") {
  support::on_every_backend([](Context& context) {
    struct Hop {
      Context& context;
      std::thread& thread;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> waiter) const {
        thread = std::thread([&target = context, waiter] { target.post(waiter); });
      }
      void await_resume() const noexcept {}
    };
    auto hop = [](Context& owner, std::thread& thread) -> Task<std::thread::id> {
      co_await Hop{owner, thread};
      co_return std::this_thread::get_id();
    };
    std::thread thread;
    CHECK(context.run(hop(context, thread)) == std::this_thread::get_id());
    thread.join();
  });
}

TEST_CASE("post: after the context's end it does nothing") {
  std::shared_ptr<caio::Engine> engine;
  {
    const Context context(caio::Implementation::blocking);
    engine = context.engine();
  }
  int alive = 0;
  std::coroutine_handle<> waiter;
  Context other(caio::Implementation::blocking);
  other.spawn(wait_forever(alive, &waiter));
  other.run(turns(other, 2));
  caio::detail::Posted::post(*engine, waiter);
  other.run(turns(other, 2));
  CHECK(alive == 1);
}

TEST_CASE("spawn: a task that another one spawns from its destructor, at the context's end, is freed") {
  struct Successor {
    Context& context;
    int& alive;
    ~Successor() { context.spawn(wait_forever(alive)); }
  };
  auto work = [](Context& context, int& alive) -> Task<> {
    const Successor successor{context, alive};
    co_await wait_forever(alive);
  };
  int alive = 0;
  {
    Context context(caio::Implementation::blocking);
    context.spawn(work(context, alive));
    context.run(turns(context, 2));
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
}
