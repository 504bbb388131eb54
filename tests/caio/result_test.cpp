#include <caio/result.hpp>

#include <fcntl.h>

#include <array>
#include <caio/context.hpp>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <filesystem>
#include <ios>
#include <memory>
#include <new>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/setups.hpp"

using caio::as_result;
using caio::Context;
using caio::Result;
using caio::run;
using caio::Task;

namespace {

std::error_code code(int error) { return {error, std::system_category()}; }

template <class T>
Task<T> give(T value) {
  co_return value;
}
Task<> nothing() { co_return; }
Task<std::unique_ptr<int>> pointer(int number) { co_return std::make_unique<int>(number); }
Task<int&> reference(int& number) { co_return number; }
Task<const std::string&> constant(const std::string& text) { co_return text; }

template <class Error>
Task<> fail(Error error) {
  throw error;
  co_return;
}
template <class Error>
Task<int> fail_int(Error error) {
  throw error;
  co_return 0;
}
Task<std::unique_ptr<int>> fail_pointer(int error) {
  throw std::system_error(code(error));
  co_return nullptr;
}
Task<int&> fail_reference(int& number, int error) {
  throw std::system_error(code(error));
  co_return number;
}

Task<> count_up(int& count) {
  ++count;
  co_return;
}

/// What as_result gives for an awaitable.
template <class A>
auto result_of(A awaitable) {
  return run([](A given) -> Task<decltype(as_result(std::declval<A>()).await_resume())> {
    co_return co_await as_result(std::move(given));
  }(std::move(awaitable)));
}

/// An awaitable that is its own awaiter.
struct Own {
  int number = 0;
  int error = 0;
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const {
    if (error != 0) throw std::system_error(code(error));
    return number;
  }
};

/// An awaitable whose awaiter cannot be moved; made when it is awaited.
class Unmovable {
 public:
  class Awaiter {
   public:
    explicit Awaiter(int number) : number_(number) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) const noexcept { return false; }
    int await_resume() const { return number_; }

   private:
    int number_;
  };

  Unmovable(int number, int& made) : number_(number), made_(&made) {}
  Awaiter operator co_await() && {
    ++*made_;
    return Awaiter(number_);
  }

 private:
  int number_;
  int* made_;
};

/// By a free operator, and with an rvalue reference as its result.
struct Free {
  std::string* text;
};
struct FreeAwaiter {
  std::string* text;
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  std::string&& await_resume() const { return std::move(*text); }
};
FreeAwaiter operator co_await(Free&& free) { return {free.text}; }

class NoDefault {
 public:
  explicit NoDefault(int number) : number_(number) {}
  int number() const { return number_; }

 private:
  int number_;
};

}  // namespace

// ---- Result --------------------------------------------------------------------------------------------------------

TEST_CASE("Result: holds a value") {
  Result<std::string> result(std::in_place, "text");
  CHECK(result);
  CHECK(static_cast<bool>(result));
  CHECK_FALSE(result.error());
  CHECK(result.value() == "text");
  CHECK(std::as_const(result).value() == "text");
  result.value() += "!";
  CHECK(result.value() == "text!");
  CHECK(std::move(result).value() == "text!");
}

TEST_CASE("Result: holds an error in the value's place, and value() throws it") {
  Result<std::string> result(code(ENOENT));
  CHECK_FALSE(result);
  CHECK(result.error() == code(ENOENT));
  CHECK(result.error() == std::errc::no_such_file_or_directory);
  const auto thrown = [](auto&& get) -> std::error_code {
    try {
      get();
      return {};
    } catch (const std::system_error& error) {
      return error.code();
    }
  };
  CHECK(thrown([&] { static_cast<void>(result.value()); }) == code(ENOENT));
  CHECK(thrown([&] { static_cast<void>(std::as_const(result).value()); }) == code(ENOENT));
  CHECK(thrown([&] { static_cast<void>(std::move(result).value()); }) == code(ENOENT));
  Result<> none(code(EIO));
  CHECK(thrown([&] { none.value(); }) == code(EIO));
  CHECK(thrown([&] { std::as_const(none).value(); }) == code(EIO));
  CHECK(thrown([&] { std::move(none).value(); }) == code(EIO));
  Result<int&> number(code(EBADF));
  CHECK(thrown([&] { static_cast<void>(number.value()); }) == code(EBADF));
}

TEST_CASE("Result: of nothing says only whether it went well") {
  STATIC_REQUIRE(std::is_same_v<Result<>, Result<void>>);
  Result<> result(std::in_place);
  CHECK(result);
  CHECK_FALSE(result.error());
  result.value();
  std::as_const(result).value();
  std::move(result).value();
  STATIC_REQUIRE(std::is_void_v<decltype(result.value())>);
  STATIC_REQUIRE(std::is_void_v<decltype(std::move(result).value())>);
}

TEST_CASE("Result: of a reference is the thing itself") {
  int number = 1;
  Result<int&> result(std::in_place, number);
  CHECK(&result.value() == &number);
  CHECK(&std::as_const(result).value() == &number);
  CHECK(&std::move(result).value() == &number);
  STATIC_REQUIRE(std::is_same_v<decltype(result.value()), int&>);
  STATIC_REQUIRE(std::is_same_v<decltype(std::move(result).value()), int&>);
}

TEST_CASE("Result: value() has the value category of the result") {
  using Text = Result<std::string>;
  STATIC_REQUIRE(std::is_same_v<decltype(std::declval<Text&>().value()), std::string&>);
  STATIC_REQUIRE(std::is_same_v<decltype(std::declval<const Text&>().value()), const std::string&>);
  STATIC_REQUIRE(std::is_same_v<decltype(std::declval<Text>().value()), std::string>);
}

TEST_CASE("Result: is no value by accident") {
  STATIC_REQUIRE_FALSE(std::is_convertible_v<Result<int>, bool>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<std::error_code, Result<int>>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<int, Result<int>>);
}

TEST_CASE("Result: moves when its value does, and is copied when its value is") {
  STATIC_REQUIRE(std::is_move_constructible_v<Result<std::unique_ptr<int>>>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Result<std::unique_ptr<int>>>);
  STATIC_REQUIRE(std::is_copy_constructible_v<Result<int>>);
  Result<std::unique_ptr<int>> first(std::in_place, std::make_unique<int>(5));
  Result<std::unique_ptr<int>> second = std::move(first);
  CHECK(*second.value() == 5);
  const std::unique_ptr<int> taken = std::move(second).value();
  CHECK(*taken == 5);
}

TEST_CASE("Result: of types that look like an error or a flag") {
  Result<std::error_code> result(std::in_place, code(EIO));
  CHECK(result);
  CHECK_FALSE(result.error());
  CHECK(result.value() == code(EIO));
  Result<bool> no(std::in_place, false);
  CHECK(no);
  CHECK_FALSE(no.value());
  Result<NoDefault> plain(std::in_place, 7);
  CHECK(plain.value().number() == 7);
  Result<NoDefault> failed(code(EIO));
  CHECK_FALSE(failed);
}

// ---- as_result -----------------------------------------------------------------------------------------------------

TEST_CASE("as_result: a task's value, of any kind") {
  const Result<int> number = result_of(give(5));
  CHECK(number);
  CHECK(number.value() == 5);
  CHECK_FALSE(number.error());
  CHECK(*result_of(pointer(6)).value() == 6);
  CHECK(result_of(give(NoDefault(7))).value().number() == 7);
  CHECK(result_of(nothing()));
  STATIC_REQUIRE(std::is_same_v<decltype(result_of(nothing())), Result<>>);
  STATIC_REQUIRE(std::is_same_v<decltype(result_of(pointer(1))), Result<std::unique_ptr<int>>>);
}

TEST_CASE("as_result: a reference stays one") {
  int number = 1;
  const Result<int&> result = result_of(reference(number));
  CHECK(&result.value() == &number);
  const std::string text = "text";
  const Result<const std::string&> other = result_of(constant(text));
  CHECK(&other.value() == &text);
}

TEST_CASE("as_result: a system error becomes the error, whatever the value would be") {
  const auto error = std::system_error(code(ENOSPC), "write");
  CHECK(result_of(fail_int(error)).error() == code(ENOSPC));
  CHECK_FALSE(result_of(fail_int(error)));
  CHECK(result_of(fail(error)).error() == code(ENOSPC));
  CHECK_FALSE(result_of(fail(error)));
  CHECK(result_of(fail_pointer(EIO)).error() == code(EIO));
  int number = 0;
  CHECK(result_of(fail_reference(number, EBADF)).error() == code(EBADF));
  CHECK_THROWS_AS(result_of(fail_int(error)).value(), std::system_error);
  CHECK_THROWS_AS(result_of(fail(error)).value(), std::system_error);
}

TEST_CASE("as_result: what is derived from a system error is one") {
  const std::filesystem::filesystem_error error("open", "a/path", code(ENOENT));
  CHECK(result_of(fail(error)).error() == std::errc::no_such_file_or_directory);
  CHECK(result_of(fail(std::ios_base::failure("stream"))).error() == std::io_errc::stream);
}

TEST_CASE("as_result: the error keeps its category") {
  const std::error_code generic = std::make_error_code(std::errc::timed_out);
  const std::error_code error = result_of(fail(std::system_error(generic))).error();
  CHECK(error == generic);
  CHECK(error.category() == std::generic_category());
}

TEST_CASE("as_result: other exceptions pass through") {
  CHECK_THROWS_WITH(result_of(fail(std::runtime_error("else"))), "else");
  CHECK_THROWS_AS(result_of(fail_int(std::invalid_argument("wrong"))), std::invalid_argument);
  CHECK_THROWS_AS(result_of(fail(std::bad_alloc())), std::bad_alloc);
  CHECK_THROWS_AS(result_of(fail(5)), int);
}

TEST_CASE("as_result: does nothing unless awaited") {
  int count = 0;
  static_cast<void>(as_result(count_up(count)));
  CHECK(count == 0);
  int made = 0;
  static_cast<void>(as_result(Unmovable(1, made)));
  CHECK(made == 0);
}

TEST_CASE("as_result: is moved and stored before it is awaited") {
  int count = 0;
  const auto work = [](int& counted) -> Task<> {
    auto first = as_result(count_up(counted));
    auto second = std::move(first);
    std::vector<decltype(second)> stored;
    stored.push_back(std::move(second));
    stored.push_back(as_result(count_up(counted)));
    CHECK(counted == 0);
    for (auto& one : stored) {
      const Result<> result = co_await std::move(one);
      CHECK(result);
    }
    CHECK(counted == 2);

    std::vector<std::byte> memory(4);
    Context& context = Context::current();
    auto reading = as_result(context.read(-1, memory, 0));
    auto moved = std::move(reading);
    const Result<std::size_t> result = co_await std::move(moved);
    CHECK(result.error() == code(EBADF));
  };
  run(work(count));
}

TEST_CASE("as_result: an awaitable that is its own awaiter") {
  CHECK(result_of(Own{5}).value() == 5);
  CHECK(result_of(Own{5, EIO}).error() == code(EIO));
}

TEST_CASE("as_result: an awaiter that cannot be moved, and is made once") {
  int made = 0;
  CHECK(result_of(Unmovable(5, made)).value() == 5);
  CHECK(made == 1);
}

TEST_CASE("as_result: a free operator co_await, and an rvalue reference") {
  std::string text = "a text that is too long to be stored in place";
  const auto work = [](std::string& source) -> Task<std::string> {
    Result<std::string&&> result = co_await as_result(Free{&source});
    CHECK(result);
    co_return std::move(result).value();
  };
  CHECK(run(work(text)) == "a text that is too long to be stored in place");
  CHECK(text.empty());
}

TEST_CASE("as_result: operations on every backend") {
  support::on_every_backend([](Context& context) -> Task<> {
    const caio::Descriptor zero = co_await context.open("/dev/zero", O_RDONLY);
    std::array<std::byte, 16> memory{};
    const Result<std::size_t> count = co_await as_result(context.read(zero, memory, 0));
    CHECK(count.value() == memory.size());
    const Result<std::size_t> refused = co_await as_result(context.write(zero, memory, 0));
    CHECK(refused.error() == code(EBADF));
    const Result<caio::Descriptor> missing = co_await as_result(context.open("/no/such/file", O_RDONLY));
    CHECK(missing.error() == code(ENOENT));
    const Result<> slept = co_await as_result(context.sleep_for(std::chrono::nanoseconds(0)));
    CHECK(slept);
    const Result<int> called = co_await as_result(context.offload([] { return 7; }));
    CHECK(called.value() == 7);
    const Result<> thrown = co_await as_result(context.offload([] { throw std::system_error(code(EDOM)); }));
    CHECK(thrown.error() == code(EDOM));
    const Result<> closed = co_await as_result(context.close(zero));
    CHECK(closed);
  });
}

TEST_CASE("as_result: a stop reaches what it awaits, and is an error like others") {
  Context context;
  std::error_code error;
  const auto sleeper = [](Context& own, std::error_code& seen) -> Task<> {
    seen = (co_await as_result(own.sleep_for(std::chrono::hours(1)))).error();
  };
  const auto work = [&]() -> Task<> {
    caio::TaskGroup group;
    group.spawn(sleeper(context, error));
    group.spawn(fail(std::runtime_error("stop")));
    try {
      co_await group.join();
    } catch (const std::runtime_error&) {
    }
  };
  context.run(work());
  CHECK(error == std::errc::operation_canceled);
}

TEST_CASE("as_result: lets gather() end without an exception") {
  const auto work = []() -> Task<> {
    const auto [good, bad, done] = co_await caio::gather(
        as_result(give(1)), as_result(fail_int(std::system_error(code(EIO)))), as_result(nothing()));
    CHECK(good.value() == 1);
    CHECK(bad.error() == code(EIO));
    CHECK(done);
  };
  run(work());
}

TEST_CASE("as_result: of an as_result") {
  const auto work = []() -> Task<> {
    const auto result = co_await as_result(as_result(fail_int(std::system_error(code(EIO)))));
    CHECK(result);
    CHECK(result.value().error() == code(EIO));
  };
  run(work());
}
