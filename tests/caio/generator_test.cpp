#include <caio/generator.hpp>

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <caio/context.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/task_group.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Generator;
using caio::run;
using caio::Task;

namespace {

Generator<int> numbers(int count) {
  for (int i = 0; i < count; ++i) co_yield i;
}

template <class T>
Task<std::vector<T>> collect(Generator<T> generator) {
  std::vector<T> items;
  while (auto item = co_await generator.next()) items.push_back(std::move(*item));
  co_return items;
}

template <class T>
Task<> drain(Generator<T> generator) {
  while (auto item = co_await generator.next()) {
  }
}

/// Counts the living.
class Tracker {
 public:
  explicit Tracker(int& count) : count_(&count) { ++*count_; }
  Tracker(const Tracker& other) : count_(other.count_) { ++*count_; }
  Tracker& operator=(const Tracker&) = delete;
  ~Tracker() { --*count_; }

 private:
  int* count_;
};

Generator<int> after_an_hour(Context& context, int& alive, bool& resumed) {
  const Tracker tracker(alive);
  co_yield 1;
  co_await context.sleep_for(std::chrono::hours(1));
  resumed = true;
  co_yield 2;
}

Generator<std::string> chunks(Context& context, int fd, std::size_t size) {
  std::vector<std::byte> buffer(size);
  for (std::int64_t offset = 0;;) {
    const std::size_t count = co_await context.read(fd, buffer, offset);
    if (count == 0) co_return;
    offset += static_cast<std::int64_t>(count);
    std::string chunk(reinterpret_cast<const char*>(buffer.data()), count);
    co_yield std::move(chunk);
  }
}

}  // namespace

TEST_CASE("Generator: nothing runs before the first next()") {
  bool started = false;
  auto work = [](bool& flag) -> Generator<int> {
    flag = true;
    co_yield 1;
  };
  Generator<int> generator = work(started);
  CHECK_FALSE(started);
  auto advance = [](Generator<int>& items) -> Task<std::optional<int>> {
    auto next = items.next();
    co_return co_await next;
  };
  Task<std::optional<int>> task = advance(generator);
  CHECK_FALSE(started);
  CHECK(run(std::move(task)) == 1);
  CHECK(started);
}

TEST_CASE("Generator: gives its values in order, and then nothing") {
  CHECK(run(collect(numbers(4))) == std::vector<int>{0, 1, 2, 3});
  CHECK(run(collect(numbers(0))).empty());
}

TEST_CASE("Generator: next() after the end gives nullopt again") {
  auto work = []() -> Task<int> {
    Generator<int> generator = numbers(1);
    int ends = 0;
    for (int i = 0; i < 4; ++i) {
      const std::optional<int> item = co_await generator.next();
      if (!item) ++ends;
    }
    co_return ends;
  };
  CHECK(run(work()) == 3);
}

TEST_CASE("Generator: runs no further than the value that was asked for") {
  int reached = 0;
  auto counting = [](int& last) -> Generator<int> {
    for (;;) {
      ++last;
      co_yield last;
    }
  };
  auto work = [](Generator<int> generator, int& last) -> Task<> {
    for (int i = 1; i <= 3; ++i) {
      const std::optional<int> item = co_await generator.next();
      CHECK(item == i);
      CHECK(last == i);
    }
  };
  run(work(counting(reached), reached));
  CHECK(reached == 3);
}

TEST_CASE("Generator: yields move-only values") {
  auto work = []() -> Generator<std::unique_ptr<int>> {
    co_yield std::make_unique<int>(3);
    auto named = std::make_unique<int>(4);
    co_yield std::move(named);
  };
  const std::vector<std::unique_ptr<int>> items = run(collect(work()));
  REQUIRE(items.size() == 2);
  CHECK(*items[0] == 3);
  CHECK(*items[1] == 4);
}

TEST_CASE("Generator: an exception comes out of next(), once, and ends it") {
  auto failing = []() -> Generator<int> {
    co_yield 1;
    throw std::runtime_error("failed");
  };
  auto work = [](Generator<int> generator) -> Task<std::string> {
    std::string history;
    for (int i = 0; i < 4; ++i) {
      try {
        const std::optional<int> item = co_await generator.next();
        history += item ? "value " : "end ";
      } catch (const std::runtime_error& error) {
        history += std::string(error.what()) + " ";
      }
    }
    co_return history;
  };
  CHECK(run(work(failing())) == "value failed end end ");
}

TEST_CASE("Generator: one destroyed before it began frees its arguments") {
  int alive = 0;
  auto work = [](Tracker) -> Generator<int> { co_yield 1; };
  {
    const Generator<int> generator = work(Tracker(alive));
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("Generator: one destroyed between two values runs the destructors of its locals") {
  int alive = 0;
  auto work = [](int& count) -> Generator<int> {
    const Tracker tracker(count);
    co_yield 1;
    co_yield 2;
  };
  auto take_one = [](Generator<int> generator, const int& count) -> Task<int> {
    const std::optional<int> item = co_await generator.next();
    CHECK(item == 1);
    co_return count;
  };
  CHECK(run(take_one(work(alive), alive)) == 1);
  CHECK(alive == 0);
}

TEST_CASE("Generator: one destroyed inside an operation runs the destructors of its locals and resumes nothing") {
  support::on_every_backend([](Context& context) -> Task<> {
    int alive = 0;
    bool resumed = false;
    {
      caio::TaskGroup group;
      group.spawn(drain(after_an_hour(context, alive, resumed)));
      CHECK(alive == 1);
    }
    CHECK(alive == 0);
    CHECK_FALSE(resumed);
    co_return;
  });
}

TEST_CASE("Generator: a million values without a suspension do not overflow the stack") {
  auto count = [](Generator<int> generator) -> Task<int> {
    int items = 0;
    while (auto item = co_await generator.next()) ++items;
    co_return items;
  };
  CHECK(run(count(numbers(1'000'000))) == 1'000'000);
}

TEST_CASE("Generator: a recursion of a thousand does not overflow the stack") {
  struct Nest {
    static Generator<int> of(int depth) {
      if (depth > 0) {
        Generator<int> inner = of(depth - 1);
        while (auto item = co_await inner.next()) co_yield *item + 1;
      } else {
        for (int i = 0; i < 20; ++i) co_yield i;
      }
    }
  };
  const std::vector<int> items = run(collect(Nest::of(1000)));
  REQUIRE(items.size() == 20);
  CHECK(items.front() == 1000);
  CHECK(items.back() == 1019);
}

TEST_CASE("Generator: moves, and the moved-from one has ended") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Generator<int>>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Generator<int>>);
  auto work = []() -> Task<> {
    Generator<int> first = numbers(2);
    Generator<int> second = std::move(first);
    const std::optional<int> gone = co_await first.next();
    CHECK_FALSE(gone);
    const std::optional<int> item = co_await second.next();
    CHECK(item == 0);
    first = std::move(second);
    const std::optional<int> next = co_await first.next();
    CHECK(next == 1);
  };
  run(work());
}

TEST_CASE("Generator: awaits operations between its values") {
  const support::TemporaryDirectory directory;
  const auto path = directory.file("text", "abcdefgh");
  support::on_every_backend([&](Context& context) -> Task<> {
    const caio::detail::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const std::vector<std::string> parts = co_await collect(chunks(context, file.get(), 3));
    CHECK(parts == std::vector<std::string>{"abc", "def", "gh"});
  });
}

TEST_CASE("Generator: operations obey the stop token of whoever awaits next()") {
  support::on_every_backend([](Context& context) -> Task<> {
    int alive = 0;
    bool resumed = false;
    caio::TaskGroup group;
    group.spawn(drain(after_an_hour(context, alive, resumed)));
    group.request_stop();
    std::error_code code;
    try {
      co_await group.join();
    } catch (const std::system_error& error) {
      code = error.code();
    }
    CHECK(code == std::errc::operation_canceled);
    CHECK(alive == 0);
    CHECK_FALSE(resumed);
  });
}
