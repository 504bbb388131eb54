#include <caio/gather.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <caio/context.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/task_group.hpp>
#include <memory>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::gather;
using caio::run;
using caio::Task;
using caio::detail::UniqueFd;
using support::Pipe;

namespace {

Task<int> value(int number) { co_return number; }
Task<> nothing() { co_return; }
Task<int&> reference(int& number) { co_return number; }
Task<std::unique_ptr<int>> pointer(int number) { co_return std::make_unique<int>(number); }
Task<> add(int& sum, int number) {
  sum += number;
  co_return;
}

/// Lets the loop turn that often.
Task<> turns(Context& context, int count) {
  for (int i = 0; i < count; ++i) co_await context.schedule();
}
Task<> fail_after(Context& context, int count, std::string what) {
  co_await turns(context, count);
  throw std::runtime_error(what);
}
Task<int> end_after(Context& context, int count, int& ended) {
  co_await turns(context, count);
  co_return ++ended;
}

class Flag {
 public:
  explicit Flag(bool& flag) : flag_(&flag) {}
  Flag(const Flag&) = delete;
  Flag& operator=(const Flag&) = delete;
  ~Flag() { *flag_ = true; }

 private:
  bool* flag_;
};

Task<std::size_t> read_one(Context& context, int fd, bool& destroyed, bool& resumed) {
  const Flag flag(destroyed);
  std::array<std::byte, 16> buffer{};
  const std::size_t count = co_await context.read(fd, buffer, -1);
  resumed = true;
  co_return count;
}

template <class T>
Task<> ignore(Task<T> task) {
  co_await std::move(task);
}

}  // namespace

TEST_CASE("gather: gives a tuple of the values, void ones left out") {
  auto work = []() -> Task<> {
    const std::tuple<int, std::unique_ptr<int>> values = co_await gather(value(1), nothing(), pointer(2));
    CHECK(std::get<0>(values) == 1);
    CHECK(*std::get<1>(values) == 2);
  };
  run(work());
}

TEST_CASE("gather: is a Task<void> when all are void, and when there is nothing") {
  STATIC_REQUIRE(std::is_same_v<decltype(gather(nothing(), nothing())), Task<>>);
  STATIC_REQUIRE(std::is_same_v<decltype(gather(std::vector<Task<>>())), Task<>>);
  STATIC_REQUIRE(std::is_same_v<decltype(gather()), Task<>>);
  run(gather(nothing(), nothing()));
  run(gather());
}

TEST_CASE("gather: a reference stays one in a tuple") {
  int number = 1;
  auto work = [](int& target) -> Task<> {
    const std::tuple<int&, int> values = co_await gather(reference(target), value(2));
    std::get<0>(values) = 5;
  };
  run(work(number));
  CHECK(number == 5);
}

TEST_CASE("gather: gives a vector for a vector, in its order") {
  for (const int count : {0, 1, 1000}) {
    std::vector<Task<int>> tasks;
    for (int i = 0; i < count; ++i) tasks.push_back(value(i));
    std::vector<int> expected(static_cast<std::size_t>(count));
    std::iota(expected.begin(), expected.end(), 0);
    CHECK(run(gather(std::move(tasks))) == expected);
  }
}

TEST_CASE("gather: vectors of move-only values, of references, and of nothing") {
  std::vector<Task<std::unique_ptr<int>>> pointers;
  pointers.push_back(pointer(1));
  pointers.push_back(pointer(2));
  const std::vector<std::unique_ptr<int>> values = run(gather(std::move(pointers)));
  REQUIRE(values.size() == 2);
  CHECK(*values[1] == 2);

  int number = 7;
  std::vector<Task<int&>> references;
  references.push_back(reference(number));
  CHECK(run(gather(std::move(references))) == std::vector<int>{7});

  int sum = 0;
  std::vector<Task<>> nothings;
  nothings.push_back(add(sum, 1));
  nothings.push_back(add(sum, 2));
  run(gather(std::move(nothings)));
  CHECK(sum == 3);
}

TEST_CASE("gather: a range and a function") {
  const std::vector<int> named{1, 2, 3};
  CHECK(run(gather(named, value)) == std::vector<int>{1, 2, 3});
  CHECK(run(gather(std::vector<int>{4, 5}, [](int number) { return value(number + 1); })) == std::vector<int>{5, 6});
  CHECK(run(gather(std::views::iota(0, 3), value)) == std::vector<int>{0, 1, 2});
  CHECK(run(gather(std::vector<int>(), value)).empty());
  int sum = 0;
  run(gather(named, [&](int number) { return add(sum, number); }));
  CHECK(sum == 6);
}

TEST_CASE("gather: a function takes the elements of a named range by reference") {
  std::vector<int> numbers{1, 2};
  auto twice = [](int& number) -> Task<> {
    number *= 2;
    co_return;
  };
  run(gather(numbers, twice));
  CHECK(numbers == std::vector<int>{2, 4});
}

TEST_CASE("gather: nothing starts before it is awaited") {
  int sum = 0;
  int calls = 0;
  Task<> all = gather(add(sum, 1), add(sum, 2));
  std::vector<Task<>> tasks;
  tasks.push_back(add(sum, 4));
  Task<> list = gather(std::move(tasks));
  Task<> made = gather(std::vector<int>{8}, [&](int number) {
    ++calls;
    return add(sum, number);
  });
  CHECK(sum == 0);
  CHECK(calls == 0);
  run(std::move(all));
  run(std::move(list));
  run(std::move(made));
  CHECK(sum == 15);
  CHECK(calls == 1);
}

TEST_CASE("gather: one never awaited frees what it was given") {
  auto token = std::make_shared<int>(1);
  auto hold = [](std::shared_ptr<int> held) -> Task<int> { co_return *held; };
  { static_cast<void>(gather(hold(token), hold(token))); }
  CHECK(token.use_count() == 1);
}

TEST_CASE("gather: all run at the same time") {
  support::on_every_backend([](Context& context) -> Task<> {
    Pipe pipe;
    auto reading = [](Context& owner, int fd) -> Task<std::size_t> {
      std::array<std::byte, 4> buffer{};
      co_return co_await owner.read(fd, buffer, -1);
    };
    auto writing = [](Context& owner, int fd) -> Task<std::size_t> {
      const std::array<std::byte, 3> bytes{};
      co_return co_await owner.write(fd, bytes, -1);
    };
    const std::tuple<std::size_t, std::size_t> counts =
        co_await gather(reading(context, pipe.reader.get()), writing(context, pipe.writer.get()));
    CHECK(counts == std::tuple<std::size_t, std::size_t>(3, 3));
  });
}

TEST_CASE("gather: the failure that came first in time is rethrown after all have ended") {
  support::on_every_backend([](Context& context) -> Task<> {
    int ended = 0;
    std::string what;
    try {
      co_await gather(fail_after(context, 5, "second"), end_after(context, 9, ended), fail_after(context, 2, "first"),
                      end_after(context, 1, ended));
    } catch (const std::runtime_error& error) {
      what = error.what();
    }
    CHECK(what == "first");
    CHECK(ended == 2);
  });
}

TEST_CASE("gather: a failure in a list is rethrown after all have ended") {
  support::on_every_backend([](Context& context) -> Task<> {
    int ended = 0;
    std::string what;
    auto make = [&](int number) -> Task<> {
      if (number % 2 == 1) return fail_after(context, 10 - number, std::to_string(number));
      return ignore(end_after(context, 20, ended));
    };
    try {
      co_await gather(std::views::iota(0, 6), make);
    } catch (const std::runtime_error& error) {
      what = error.what();
    }
    CHECK(what == "5");
    CHECK(ended == 3);
  });
}

TEST_CASE("gather: a failure at once, before the siblings have started, cancels none of them") {
  support::on_every_backend([](Context& context) -> Task<> {
    int ended = 0;
    auto failing = []() -> Task<> {
      throw std::runtime_error("at once");
      co_return;
    };
    bool failed = false;
    try {
      co_await gather(failing(), end_after(context, 3, ended), context.sleep_for(std::chrono::microseconds(1)));
    } catch (const std::runtime_error&) {
      failed = true;
    }
    CHECK(failed);
    CHECK(ended == 1);
  });
}

TEST_CASE("gather: one destroyed while its children are in flight destroys them and resumes nothing") {
  support::on_every_backend([](Context& context) -> Task<> {
    Pipe pipe;
    std::array<bool, 3> destroyed{};
    std::array<bool, 3> resumed{};
    {
      caio::TaskGroup group;
      std::vector<Task<std::size_t>> readers;
      readers.push_back(read_one(context, pipe.reader.get(), destroyed[0], resumed[0]));
      readers.push_back(read_one(context, pipe.reader.get(), destroyed[1], resumed[1]));
      group.spawn(ignore(gather(std::move(readers))));
      group.spawn(ignore(gather(read_one(context, pipe.reader.get(), destroyed[2], resumed[2]),
                                context.sleep_for(std::chrono::hours(1)))));
      CHECK_FALSE(destroyed[0]);
    }
    CHECK(destroyed == std::array{true, true, true});
    CHECK(resumed == std::array{false, false, false});
    co_return;
  });
}

TEST_CASE("gather: awaits operations themselves") {
  const support::TemporaryDirectory directory;
  const auto path = directory.file("text", "0123456789");
  support::on_every_backend([&](Context& context) -> Task<> {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const caio::Descriptor descriptor(file.get());
    std::array<std::array<std::byte, 2>, 5> parts{};
    std::vector<caio::Operation<std::size_t>> reads;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      reads.push_back(context.read(descriptor, parts[i], static_cast<std::int64_t>(2 * i)));
    }
    const std::vector<std::size_t> counts = co_await gather(std::move(reads));
    CHECK(counts == std::vector<std::size_t>(5, 2));
    CHECK(parts[4][1] == std::byte('9'));

    std::array<std::byte, 3> first{};
    const std::tuple<std::size_t> pair =
        co_await gather(context.read(descriptor, first, 4), context.sleep_for(std::chrono::nanoseconds(1)));
    CHECK(std::get<0>(pair) == 3);
    CHECK(first[0] == std::byte('4'));
  });
}

TEST_CASE("gather: a stop asked of the awaiting coroutine reaches the children") {
  support::on_every_backend([](Context& context) -> Task<> {
    caio::TaskGroup group;
    group.spawn(gather(context.sleep_for(std::chrono::hours(1)), context.sleep_for(std::chrono::hours(2))));
    group.request_stop();
    std::error_code code;
    try {
      co_await group.join();
    } catch (const std::system_error& error) {
      code = error.code();
    }
    CHECK(code == std::errc::operation_canceled);
  });
}
