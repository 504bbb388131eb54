#include <caio/detail/transfer.hpp>

#include <coroutine>
#include <exception>
#include <string>
#include <vector>

#include "support/catch.hpp"

using caio::detail::Trampoline;

namespace {

/// A coroutine that is resumed by hand.
class Routine {
 public:
  struct promise_type {
    Routine get_return_object() { return Routine(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const {}
    [[noreturn]] void unhandled_exception() const { std::terminate(); }
  };

  explicit Routine(std::coroutine_handle<> handle) : handle_(handle) {}
  Routine(Routine&&) = delete;
  ~Routine() { handle_.destroy(); }
  std::coroutine_handle<> handle() const { return handle_; }
  bool done() const { return handle_.done(); }

 private:
  std::coroutine_handle<> handle_;
};

struct TransferTo {
  std::coroutine_handle<> next;
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<>) const noexcept { return Trampoline::transfer(next); }
  void await_resume() const noexcept {}
};

/// Hands over to the other, that often.
Routine bounce(const std::coroutine_handle<>& other, int times, int& count) {
  for (int i = 0; i < times; ++i) {
    ++count;
    co_await TransferTo{other};
  }
}

Routine say(std::string& history, char word, std::coroutine_handle<> next) {
  history += word;
  co_await TransferTo{next};
}

Routine resume_inside(std::string& history, std::coroutine_handle<> inner) {
  history += '(';
  caio::detail::resume(inner);
  history += ')';
  co_return;
}

}  // namespace

TEST_CASE("Trampoline: without one, a transfer goes straight on") {
  std::string history;
  const Routine routine = say(history, 'a', std::noop_coroutine());
  CHECK(Trampoline::transfer(routine.handle()) == routine.handle());
}

TEST_CASE("resume: runs what the coroutine transfers to, in order") {
  std::string history;
  const Routine third = say(history, 'c', std::noop_coroutine());
  const Routine second = say(history, 'b', third.handle());
  const Routine first = say(history, 'a', second.handle());
  caio::detail::resume(first.handle());
  CHECK(history == "abc");
}

TEST_CASE("resume: two million transfers do not overflow the stack") {
  int count = 0;
  std::coroutine_handle<> there;
  std::coroutine_handle<> back;
  const Routine first = bounce(there, 1'000'000, count);
  const Routine second = bounce(back, 1'000'000, count);
  there = second.handle();
  back = first.handle();
  caio::detail::resume(first.handle());
  CHECK(count == 2'000'000);
  CHECK(first.done());
}

TEST_CASE("resume: one inside a coroutine ends before that goes on") {
  std::string history;
  const Routine second = say(history, 'b', std::noop_coroutine());
  const Routine first = say(history, 'a', second.handle());
  const Routine outer = resume_inside(history, first.handle());
  caio::detail::resume(outer.handle());
  CHECK(history == "(ab)");
  CHECK(outer.done());
}

TEST_CASE("resume: a deep chain inside a deep chain comes to its end") {
  int count = 0;
  std::coroutine_handle<> there;
  std::coroutine_handle<> back;
  const Routine first = bounce(there, 10'000, count);
  const Routine second = bounce(back, 10'000, count);
  there = second.handle();
  back = first.handle();
  std::string history;
  const Routine outer = resume_inside(history, first.handle());
  caio::detail::resume(outer.handle());
  CHECK(count == 20'000);
  CHECK(history == "()");
}
