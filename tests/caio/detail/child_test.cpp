#include <caio/detail/child.hpp>

#include <coroutine>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

#include "support/catch.hpp"

using caio::Task;
using caio::detail::Child;
using caio::detail::child_into;
using caio::detail::Children;
using caio::detail::CurrentStopToken;
using caio::detail::no_stop_token;

namespace {

/// Something to wait for; open() lets all go.
class Door {
 public:
  auto operator co_await() noexcept {
    struct Awaiter {
      Door& door;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> waiter) const { door.waiting_.push_back(waiter); }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this};
  }
  void open() {
    for (const std::coroutine_handle<> waiter : std::exchange(waiting_, {})) caio::detail::resume(waiter);
  }

 private:
  std::vector<std::coroutine_handle<>> waiting_;
};

struct Life {
  explicit Life(int& count) : alive(count) { ++alive; }
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;
  ~Life() { --alive; }
  int& alive;
};

Child pass(Door& door, int& alive) {
  const Life life(alive);
  co_await door;
}

Child fail(Door& door, std::string what) {
  co_await door;
  throw std::runtime_error(what);
}

Child at_once(std::string& history) {
  history += "child ";
  co_return;
}

Child wait_for(Children& children, bool& ended) {
  co_await children.wait();
  ended = true;
}

Child ask(const std::stop_token*& token) { token = &co_await CurrentStopToken{}; }

Task<int> value(int number) { co_return number; }
Task<> nothing(bool& ran) {
  ran = true;
  co_return;
}

}  // namespace

TEST_CASE("Children: start() runs a child to its first suspension") {
  Children children;
  Door door;
  int alive = 0;
  CHECK(children.all_ended());
  children.start(pass(door, alive), no_stop_token);
  CHECK(alive == 1);
  CHECK_FALSE(children.all_ended());
  door.open();
  CHECK(alive == 0);
  CHECK(children.all_ended());
}

TEST_CASE("Children: a child that does not suspend has ended after start()") {
  Children children;
  std::string history;
  children.start(at_once(history), no_stop_token);
  CHECK(history == "child ");
  CHECK(children.all_ended());
}

TEST_CASE("Children: wait() ends with the last child") {
  Children owner;
  Children children;
  Door first;
  Door second;
  int alive = 0;
  bool ended = false;
  children.start(pass(first, alive), no_stop_token);
  children.start(pass(second, alive), no_stop_token);
  owner.start(wait_for(children, ended), no_stop_token);
  CHECK_FALSE(ended);
  second.open();
  CHECK_FALSE(ended);
  first.open();
  CHECK(ended);
  CHECK(owner.all_ended());
}

TEST_CASE("Children: wait() for none does not suspend") {
  Children owner;
  Children children;
  bool ended = false;
  owner.start(wait_for(children, ended), no_stop_token);
  CHECK(ended);
}

TEST_CASE("Children: the first failure in time is rethrown, once") {
  Children children;
  Door first;
  Door second;
  children.start(fail(second, "second"), no_stop_token);
  children.start(fail(first, "first"), no_stop_token);
  CHECK_NOTHROW(children.rethrow());
  first.open();
  second.open();
  CHECK(children.all_ended());
  CHECK_THROWS_WITH(children.rethrow(), "first");
  CHECK_NOTHROW(children.rethrow());
}

TEST_CASE("Children: a heir is told of the first failure, and of no other") {
  struct Heir : Children {
    void failed() noexcept override { ++failures; }
    int failures = 0;
  };
  Heir children;
  Door door;
  int alive = 0;
  children.start(fail(door, "a"), no_stop_token);
  children.start(fail(door, "b"), no_stop_token);
  children.start(pass(door, alive), no_stop_token);
  door.open();
  CHECK(children.failures == 1);
}

TEST_CASE("Children: the end destroys the frames of those who wait") {
  Door door;
  int alive = 0;
  {
    Children children;
    for (int i = 0; i < 5; ++i) children.start(pass(door, alive), no_stop_token);
    CHECK(alive == 5);
  }
  CHECK(alive == 0);
}

TEST_CASE("Children: can start again after all were destroyed") {
  Children children;
  Door abandoned;
  Door door;
  int alive = 0;
  children.start(pass(abandoned, alive), no_stop_token);
  children.destroy_all();
  CHECK(children.all_ended());
  children.start(pass(door, alive), no_stop_token);
  CHECK(alive == 1);
  door.open();
  CHECK(children.all_ended());
}

TEST_CASE("Children: a child sees the stop token it was started with") {
  Children children;
  const std::stop_source source;
  const std::stop_token token = source.get_token();
  const std::stop_token* seen = nullptr;
  children.start(ask(seen), token);
  CHECK(seen == &token);
  children.start(ask(seen), no_stop_token);
  CHECK(seen == &no_stop_token);
  CHECK_FALSE(seen->stop_possible());
}

TEST_CASE("child_into: hands over what the awaitable gives") {
  Children children;
  std::optional<int> result;
  bool ran = false;
  children.start(child_into(value(3), &result), no_stop_token);
  children.start(child_into(nothing(ran), &result), no_stop_token);
  CHECK(result == 3);
  CHECK(ran);
}
