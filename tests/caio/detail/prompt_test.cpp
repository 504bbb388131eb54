#include <caio/detail/prompt.hpp>

#include <caio/context.hpp>
#include <caio/stop.hpp>
#include <coroutine>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>

#include "support/catch.hpp"

using caio::Context;
using caio::Task;
using caio::detail::Prompt;

namespace {

struct Story {
  bool at_hand = false;
  bool fails = false;
  int attempts = 0;
  int operations = 0;
  bool stopped = false;
};

/// What an attempt becomes: ready at once, and it notes what its awaiter's token says.
struct Fallback {
  Story& story;
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    ++story.operations;
    story.stopped = waiter.promise().get_stop_token().stop_requested();
    return false;
  }
  std::string await_resume() const { return "operation"; }
};

template <bool file>
struct Attempt {
  using Operation = Fallback;
  static constexpr bool touches_file = file;
  Story& story;
  bool at_once() {
    ++story.attempts;
    if (story.fails) throw std::runtime_error("failed");
    return story.at_hand;
  }
  std::string result() const { return "at once"; }
  void become(std::optional<Fallback>& operation) { operation.emplace(Fallback{story}); }
};

template <bool file>
Task<> await(Story& story, std::string& result) {
  Prompt prompt(Attempt<file>{story});
  Prompt moved(std::move(prompt));
  result = co_await moved;
}

template <bool file>
std::string told(Story& story, bool stop = false) {
  Context context(caio::Implementation::blocking);
  std::string result;
  std::stop_source source;
  if (stop) source.request_stop();
  context.run(caio::with_stop(source.get_token(), await<file>(story, result)));
  return result;
}

}  // namespace

TEST_CASE("Prompt: what is done in place needs no operation") {
  Story story{.at_hand = true};
  CHECK(told<true>(story) == "at once");
  CHECK(told<false>(story) == "at once");
  CHECK(story.attempts == 2);
  CHECK(story.operations == 0);
}

TEST_CASE("Prompt: an operation does the rest, after one attempt") {
  Story story;
  CHECK(told<true>(story) == "operation");
  CHECK(told<false>(story) == "operation");
  CHECK(story.attempts == 2);
  CHECK(story.operations == 2);
}

TEST_CASE("Prompt: a stop that was asked for comes before the file, and after what is at hand") {
  Story story{.at_hand = true};
  CHECK(told<true>(story, true) == "operation");
  CHECK(story.attempts == 0);
  CHECK(story.stopped);
  CHECK(told<false>(story, true) == "at once");
}

TEST_CASE("Prompt: what an attempt throws is thrown by the await") {
  Story story{.fails = true};
  CHECK_THROWS_WITH(told<true>(story), "failed");
  CHECK_THROWS_WITH(told<false>(story), "failed");
  CHECK(story.operations == 0);
}
