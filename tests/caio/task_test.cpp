#include <caio/task.hpp>

#include <caio/context.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "support/catch.hpp"

using caio::run;
using caio::Task;

namespace {

Task<int> value(int number) { co_return number; }
Task<> nothing() { co_return; }
Task<int&> reference(int& number) { co_return number; }
Task<std::unique_ptr<int>> pointer(int number) { co_return std::make_unique<int>(number); }
Task<int> failing() {
  throw std::runtime_error("failed");
  co_return 0;
}
Task<int> nested(int depth) {
  if (depth == 0) co_return 0;
  co_return 1 + co_await nested(depth - 1);
}

template <class T>
concept AwaitableLvalue = requires(T& task) {
  task.operator co_await();
};

struct Tracker {
  explicit Tracker(int& count) : count_(&count) { ++*count_; }
  Tracker(const Tracker& other) : count_(other.count_) { ++*count_; }
  Tracker& operator=(const Tracker&) = delete;
  ~Tracker() { --*count_; }
  int* count_;
};

}  // namespace

TEST_CASE("Task: starts only when it is awaited") {
  bool started = false;
  auto work = [&]() -> Task<> {
    started = true;
    co_return;
  };
  Task<> task = work();
  CHECK_FALSE(started);
  run(std::move(task));
  CHECK(started);
}

TEST_CASE("Task: one that is never awaited frees its frame and its arguments") {
  int alive = 0;
  auto work = [](Tracker) -> Task<> { co_return; };
  {
    Task<> task = work(Tracker(alive));
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("Task: gives values, references, move-only values and nothing") {
  int number = 7;
  CHECK(run(value(3)) == 3);
  CHECK(&run(reference(number)) == &number);
  CHECK(*run(pointer(5)) == 5);
  run(nothing());
}

TEST_CASE("Task: an exception reaches the awaiter") {
  auto outer = []() -> Task<std::string> {
    try {
      co_await failing();
    } catch (const std::runtime_error& error) {
      co_return error.what();
    }
    co_return "";
  };
  CHECK(run(outer()) == "failed");
  CHECK_THROWS_AS(run(failing()), std::runtime_error);
}

TEST_CASE("Task: a million children that are ready do not overflow the stack") {
  auto loop = []() -> Task<long> {
    long sum = 0;
    for (int i = 0; i < 1'000'000; ++i) sum += co_await value(1);
    co_return sum;
  };
  CHECK(run(loop()) == 1'000'000);
}

TEST_CASE("Task: a chain of a hundred thousand awaits does not overflow the stack") {
  CHECK(run(nested(100'000)) == 100'000);
}

TEST_CASE("Task: is awaited as an rvalue only, and moves") {
  STATIC_REQUIRE_FALSE(AwaitableLvalue<Task<int>>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Task<int>>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Task<int>>);
  Task<int> first = value(1);
  Task<int> second = value(2);
  first = std::move(second);
  CHECK(run(std::move(first)) == 2);
}

TEST_CASE("Task: the result of an abandoned one is destroyed") {
  int alive = 0;
  auto give = [](int& count) -> Task<Tracker> { co_return Tracker(count); };
  auto take = [&]() -> Task<int> {
    const Tracker tracker = co_await give(alive);
    co_return alive;
  };
  CHECK(run(take()) >= 1);
  CHECK(alive == 0);
}
