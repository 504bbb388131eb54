// Operations and tasks awaited in coroutine types that are not caio's, and those awaited in caio's.

#include <fcntl.h>

#include <caio/caio.hpp>
#include <chrono>
#include <coroutine>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Task;
using support::Countdown;
using support::Fd;
using support::on_every_backend;
using support::Pipe;
using support::room_in;
using support::Stranger;
using support::TemporaryDirectory;
using support::TokenByReference;
using support::TokenByValue;
using support::WithoutToken;
using namespace std::chrono_literals;

namespace {

/// A task as anybody would write it. With one of the tokens it hands on the stop token of who awaits it.
template <class T, class Base = WithoutToken>
class Foreign {
 public:
  struct promise_type : Base {
    struct Ended {
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> ended) const noexcept {
        return ended.promise().waiter;
      }
      void await_resume() const noexcept {}
    };
    Foreign get_return_object() { return Foreign(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    Ended final_suspend() const noexcept { return {}; }
    void return_value(T given) { value.emplace(std::move(given)); }
    void unhandled_exception() { error = std::current_exception(); }
    std::coroutine_handle<> waiter;
    std::optional<T> value;
    std::exception_ptr error;
  };

  Foreign(Foreign&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  Foreign& operator=(Foreign&&) = delete;
  ~Foreign() {
    if (coroutine_) coroutine_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> waiter) const {
    promise_type& promise = coroutine_.promise();
    promise.waiter = waiter;
    if constexpr (requires { promise.token = waiter.promise().get_stop_token(); }) {
      promise.token = waiter.promise().get_stop_token();
    }
    return coroutine_;
  }
  T await_resume() const {
    if (coroutine_.promise().error) std::rethrow_exception(coroutine_.promise().error);
    return std::move(*coroutine_.promise().value);
  }

 private:
  explicit Foreign(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}
  std::coroutine_handle<promise_type> coroutine_;
};

/// Starts at once, and nobody waits for it.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };
};

/// Awaits by a handle that does not tell the promise's type, as libraries with their own await_transform do.
template <class Awaiter>
struct Erased {
  Awaiter awaiter;
  bool await_ready() { return awaiter.await_ready(); }
  auto await_suspend(std::coroutine_handle<> waiter) { return awaiter.await_suspend(waiter); }
  decltype(auto) await_resume() { return awaiter.await_resume(); }
};
template <class Awaiter>
Erased(Awaiter) -> Erased<Awaiter>;

/// What each kind of coroutine is to do here: open, read, close.
template <class Coroutine>
Coroutine first_bytes(Context& context, std::filesystem::path path, std::size_t count) {
  const Descriptor file = co_await context.open(std::move(path), O_RDONLY);
  std::string text(count, '?');
  const std::size_t read = co_await context.read(file, room_in(text), 0);
  co_await context.close(file);
  text.resize(read);
  co_return text;
}

using Ours = Task<std::string>;
template <class Base = WithoutToken>
using Theirs = Foreign<std::string, Base>;

template <class Outer, class Inner>
Outer wrapped(Inner inner) {
  std::string text = co_await std::move(inner);
  co_return text + "!";
}

/// Ours in theirs in ours in ..., `depth` times.
Theirs<> theirs_around_ours(Context& context, int depth);
Ours ours_around_theirs(Context& context, int depth) {
  if (depth == 0) {
    co_await context.schedule();
    co_return "";
  }
  std::string text = co_await theirs_around_ours(context, depth - 1);
  co_return text + "o";
}
Theirs<> theirs_around_ours(Context& context, int depth) {
  std::string text = co_await ours_around_theirs(context, depth);
  co_return text + "t";
}

template <class Coroutine>
Coroutine reads_pipe(Context& context, int fd, std::shared_ptr<int>) {
  std::string text(1, '?');
  const std::size_t count = co_await context.read(fd, room_in(text), -1);
  text.resize(count);
  co_return text;
}

template <class Awaitable>
Detached into(Awaitable awaitable, std::string& text, Countdown& ended) {
  text = co_await std::move(awaitable);
  ended.count_down();
}

Task<> wait_for(Countdown& ended) { co_await ended; }

template <class Base>
Stranger<Base> note_error(Task<int> work, int& error) {
  error = co_await std::move(work);
}
template <class Base, class Operation>
Stranger<Base> note_own_error(Operation operation, int& error) {
  try {
    co_await std::move(operation);
    error = 0;
  } catch (const std::system_error& thrown) {
    error = thrown.code().value();
  }
}

template <class Base>
Stranger<Base> destroyed_in(Theirs<> inner) {
  static_cast<void>(co_await std::move(inner));
}

}  // namespace

TEST_CASE("Foreign coroutine: operations in a type of one's own, that in ours") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::filesystem::path path = directory.file("file", "hello world");
    CHECK_YIELDS(first_bytes<Theirs<>>(context, path, 5), "hello");
    CHECK_YIELDS(first_bytes<Theirs<TokenByValue>>(context, path, 5), "hello");
    CHECK_YIELDS((wrapped<Theirs<>>(first_bytes<Ours>(context, path, 5))), "hello!");
    CHECK_YIELDS((wrapped<Ours>(first_bytes<Theirs<>>(context, path, 5))), "hello!");
    CHECK_YIELDS((wrapped<Ours>(wrapped<Theirs<>>(wrapped<Ours>(first_bytes<Theirs<>>(context, path, 5))))),
                 "hello!!!");
  });
}

TEST_CASE("Foreign coroutine: nothing but foreign ones, that start at once and end by themselves") {
  on_every_backend([](Context& context) {
    const TemporaryDirectory directory;
    const std::filesystem::path path = directory.file("file", "hello world");
    std::vector<std::string> texts(100);
    Countdown ended(200);
    for (std::string& text : texts) into(first_bytes<Theirs<>>(context, path, text.size() + 5), text, ended);
    std::vector<std::string> more(100);
    for (std::string& text : more) into(first_bytes<Ours>(context, path, 7), text, ended);
    CHECK(ended.left() == 200);
    context.run(wait_for(ended));
    CHECK(texts == std::vector<std::string>(100, "hello"));
    CHECK(more == std::vector<std::string>(100, "hello w"));
  });
}

TEST_CASE("Foreign coroutine: one that starts on another thread goes on on the context's") {
  on_every_backend([](Context& context) {
    const TemporaryDirectory directory;
    const std::filesystem::path path = directory.file("file", "hello world");
    context.flush();
    std::string text;
    std::thread::id resumed_on;
    Countdown ended(1);
    const auto start = [](Context& each, std::filesystem::path from, std::string& into_text, std::thread::id& where,
                          Countdown& end) -> Detached {
      into_text = co_await first_bytes<Theirs<>>(each, std::move(from), 5);
      where = std::this_thread::get_id();
      end.count_down();
    };
    std::jthread([&] { start(context, path, text, resumed_on, ended); }).join();
    context.run(wait_for(ended));
    CHECK(text == "hello");
    CHECK(resumed_on == std::this_thread::get_id());
  });
}

TEST_CASE("Foreign coroutine: ours and theirs around each other, many deep") {
  on_every_backend([](Context& context) -> Task<> {
    std::string wanted;
    for (int i = 0; i < 1000; ++i) wanted += "to";
    CHECK_YIELDS(ours_around_theirs(context, 1000), wanted);
  });
}

TEST_CASE("Foreign coroutine: exceptions cross in both directions") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::filesystem::path missing = directory / "missing";
    CHECK_YIELDS(support::errno_of(first_bytes<Theirs<>>(context, missing, 5)), ENOENT);
    CHECK_YIELDS(support::errno_of(wrapped<Theirs<>>(first_bytes<Ours>(context, missing, 5))), ENOENT);
    CHECK_YIELDS(support::errno_of(wrapped<Ours>(wrapped<Theirs<>>(first_bytes<Ours>(context, missing, 5)))), ENOENT);
    const auto result = co_await caio::as_result(first_bytes<Theirs<>>(context, missing, 5));
    CHECK(result.error() == std::errc::no_such_file_or_directory);
  });
}

TEST_CASE("Foreign coroutine: awaits by a handle without a promise") {
  on_every_backend([](Context& context) {
    const TemporaryDirectory directory;
    const Fd file(::open(directory.file("file", "hello world").c_str(), O_RDONLY | O_CLOEXEC));
    std::string text(5, '?');
    std::string more;
    Countdown ended(1);
    const auto start = [](Context& each, int fd, std::string& room, std::string& value, Countdown& end) -> Detached {
      Erased read{each.read(fd, room_in(room), 6)};
      co_await read;
      Ours task = reads_pipe<Ours>(each, fd, nullptr);
      Erased other{std::move(task).operator co_await()};
      value = co_await other;
      end.count_down();
    };
    start(context, file.get(), text, more, ended);
    context.run(wait_for(ended));
    CHECK(text == "world");
    CHECK(more == "h");
  });
}

TEST_CASE("Foreign coroutine: groups, generators and timeouts of ours in theirs") {
  const auto work = [](Context& context, std::filesystem::path path) -> Theirs<> {
    auto [one, two] =
        co_await caio::gather(first_bytes<Ours>(context, path, 5), first_bytes<Theirs<>>(context, path, 4));
    auto late = caio::as_result(caio::with_timeout(1ms, context.sleep_for(1h)));
    const auto result = co_await std::move(late);
    auto generator = [](Context& each) -> caio::Generator<std::string> {
      for (const char letter : {'a', 'b'}) {
        co_await each.schedule();
        co_yield std::string(1, letter);
      }
    }(context);
    std::string text = one + " " + two + " ";
    while (const auto item = co_await generator.next()) text += *item;
    caio::TaskGroup group;
    group.spawn([](Context& each, std::string& end) -> Task<> {
      co_await each.schedule();
      end += ".";
    }(context, text));
    co_await group.join();
    co_return result.error() == std::errc::timed_out ? text : "no timeout";
  };
  on_every_backend([work](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    CHECK_YIELDS(work(context, directory.file("file", "hello world")), "hello hell ab.");
  });
}

TEMPLATE_TEST_CASE("Foreign coroutine: its stop token stops what it awaits", "", TokenByValue, TokenByReference) {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    std::string room(1, '?');
    int direct = -1;
    int by_task = -1;
    std::stop_source source;
    const auto one = note_own_error<TestType>(context.read(pipe.reader.get(), room_in(room), -1), direct);
    const auto two = note_error<TestType>(
        support::errno_of(reads_pipe<Theirs<TestType>>(context, pipe.reader.get(), nullptr)), by_task);
    one.start(source.get_token());
    two.start(source.get_token());
    co_await context.schedule();
    CHECK(context.stats().parked == 2);
    source.request_stop();
    co_await one.ended();
    co_await two.ended();
    CHECK(direct == ECANCELED);
    CHECK(by_task == ECANCELED);
    CHECK(room == "?");
  });
}

TEST_CASE("Foreign coroutine: a timeout of ours ends theirs where the token is handed on, else waits for it") {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    const int fd = pipe.reader.get();
    CHECK_YIELDS(support::errno_of(caio::with_timeout(1ms, reads_pipe<Theirs<TokenByValue>>(context, fd, nullptr))),
                 ETIMEDOUT);
    auto write_later = [](Context& each, int to) -> Task<> {
      co_await each.sleep_for(5ms);
      co_await each.write(to, support::bytes_of("x"), -1);
    };
    caio::TaskGroup group;
    group.spawn(write_later(context, pipe.writer.get()));
    CHECK_YIELDS(caio::with_timeout(1ms, reads_pipe<Theirs<>>(context, fd, nullptr)), "x");
    co_await group.join();
  });
}

TEST_CASE("Foreign coroutine: destroyed while ours in it waits") {
  on_every_backend([](Context& context) -> Task<> {
    auto kept = std::make_shared<int>(0);
    const Pipe pipe;
    const int fd = pipe.reader.get();
    {
      const auto direct = destroyed_in<WithoutToken>(reads_pipe<Theirs<>>(context, fd, kept));
      const auto nested = destroyed_in<WithoutToken>(wrapped<Theirs<>>(reads_pipe<Ours>(context, fd, kept)));
      direct.start();
      nested.start();
      co_await context.schedule();
      CHECK(context.stats().parked == 2);
      CHECK(kept.use_count() == 3);
    }
    CHECK(kept.use_count() == 1);
    CHECK(context.stats().parked == 0);
    co_await context.write(pipe.writer.get(), support::bytes_of("y"), -1);
    CHECK_YIELDS(reads_pipe<Ours>(context, fd, nullptr), "y");
  });
}
