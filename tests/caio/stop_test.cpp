#include <caio/stop.hpp>

#include <array>
#include <atomic>
#include <caio/gather.hpp>
#include <caio/generator.hpp>
#include <caio/result.hpp>
#include <caio/task_group.hpp>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "descriptors.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"

using caio::Context;
using caio::Task;
using caio::TaskGroup;
using caio::with_stop;
using caio::with_timeout;
using namespace std::chrono_literals;

namespace {

/// The error code of what is awaited; empty when it succeeds.
template <class A>
Task<std::error_code> error_of(A awaitable) {
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (const std::system_error& error) {
    co_return error.code();
  }
  co_return std::error_code();
}

struct IdlePipe {
  IdlePipe() { REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0); }
  ~IdlePipe() {
    for (const int end : ends) ::close(end);
  }
  IdlePipe(const IdlePipe&) = delete;
  IdlePipe& operator=(const IdlePipe&) = delete;

  auto read(Context& context) { return context.read(ends[0], std::as_writable_bytes(std::span(buffer)), -1); }
  void write(const char* text) { CHECK(::write(ends[1], text, std::strlen(text)) > 0); }

  std::array<int, 2> ends{};
  std::array<char, 16> buffer{};
};

Task<std::size_t> read_deep_down(Context& context, IdlePipe& pipe, int depth) {
  if (depth > 0) co_return co_await read_deep_down(context, pipe, depth - 1);
  co_return co_await pipe.read(context);
}

caio::Generator<std::size_t> reads(Context& context, IdlePipe& pipe) {
  for (;;) co_yield co_await pipe.read(context);
}

Task<> first_of(caio::Generator<std::size_t> generator) { co_await generator.next(); }

Task<> fail(const char* what) {
  throw std::runtime_error(what);
  co_return;
}

}  // namespace

TEST_CASE("with_timeout: a wait that takes too long is timed_out, and has ended") {
  support::on_every_backend([](Context& context) -> Task<> {
    IdlePipe pipe;
    CHECK_YIELDS(error_of(with_timeout(1ms, pipe.read(context))), std::errc::timed_out);
    CHECK_YIELDS(error_of(with_timeout(0ms, pipe.read(context))), std::errc::timed_out);
    CHECK_YIELDS(error_of(with_timeout(-1s, pipe.read(context))), std::errc::timed_out);
    CHECK_YIELDS(error_of(with_timeout(1ms, read_deep_down(context, pipe, 5))), std::errc::timed_out);
    CHECK_YIELDS(error_of(with_timeout(1ms, first_of(reads(context, pipe)))), std::errc::timed_out);
    CHECK_YIELDS(error_of(with_timeout(1ms, context.sleep_for(1h))), std::errc::timed_out);
    CHECK_YIELDS(error_of(with_timeout(1ms, caio::gather(pipe.read(context), context.sleep_for(1h)))),
                 std::errc::timed_out);
    pipe.write("there");  // nobody is left who would take it
    CHECK_YIELDS(pipe.read(context), 5U);
  });
}

TEST_CASE("with_timeout: what is done in time gives its value or its own error") {
  support::on_every_backend([](Context& context) -> Task<> {
    IdlePipe pipe;
    pipe.write("abc");
    CHECK_YIELDS(with_timeout(1h, pipe.read(context)), 3U);
    co_await with_timeout(1h, context.sleep_for(0ms));
    auto text = []() -> Task<std::unique_ptr<std::string>> { co_return std::make_unique<std::string>("moved"); };
    const std::unique_ptr<std::string> moved = co_await with_timeout(std::chrono::nanoseconds::max(), text());
    CHECK(*moved == "moved");
    CHECK_YIELDS(error_of(with_timeout(1h, context.read(-1, {}, 0))), std::errc::bad_file_descriptor);
    bool failed = false;
    try {
      co_await with_timeout(1h, fail("own"));
    } catch (const std::runtime_error& error) {
      failed = error.what() == std::string("own");
    }
    CHECK(failed);
    CHECK(context.stats().parked == 0);  // no timer is left
  });
}

TEST_CASE("with_timeout: what ends in spite of it counts") {
  support::on_every_backend([](Context& context) -> Task<> {
    auto deaf = [](Context& own) -> Task<int> {
      const auto ended = co_await caio::as_result(own.sleep_for(1h));
      CHECK(ended.error() == std::errc::operation_canceled);
      co_return 7;
    };
    CHECK_YIELDS(with_timeout(1ms, deaf(context)), 7);
  });
}

TEST_CASE("with_timeout: the shorter of two counts, and a stop from outside is no timeout") {
  support::on_every_backend([](Context& context) -> Task<> {
    IdlePipe pipe;
    CHECK_YIELDS(error_of(with_timeout(1ms, with_timeout(1h, pipe.read(context)))), std::errc::timed_out);
    CHECK_YIELDS(error_of(with_timeout(1h, with_timeout(1ms, pipe.read(context)))), std::errc::timed_out);
    std::stop_source source;
    std::error_code error;
    TaskGroup group;
    auto wait = [&]() -> Task<> {
      error = co_await error_of(with_stop(source.get_token(), with_timeout(1h, pipe.read(context))));
    };
    group.spawn(wait());
    source.request_stop();
    co_await group.join();
    CHECK(error == std::errc::operation_canceled);
    auto in_group = [&]() -> Task<> { error = co_await error_of(with_timeout(1h, pipe.read(context))); };
    TaskGroup stopped;
    stopped.spawn(in_group());
    error.clear();
    stopped.request_stop();
    co_await stopped.join();
    CHECK(error == std::errc::operation_canceled);
  });
}

TEST_CASE("with_stop: asked for before the start, nothing is touched") {
  support::on_every_backend([](Context& context) -> Task<> {
    IdlePipe pipe;
    pipe.write("kept");
    std::stop_source source;
    source.request_stop();
    CHECK_YIELDS(error_of(with_stop(source.get_token(), pipe.read(context))), std::errc::operation_canceled);
    CHECK_YIELDS(error_of(with_stop(source.get_token(), read_deep_down(context, pipe, 3))),
                 std::errc::operation_canceled);
    CHECK_YIELDS(pipe.read(context), 4U);
    CHECK_YIELDS(error_of(with_stop(source.get_token(), context.sleep_for(0ms))), std::errc::operation_canceled);
  });
}

TEST_CASE("with_stop: from another thread, as often as it may hit") {
  support::on_every_backend([](Context& context) -> Task<> {
    for (int round = 0; round < 30; ++round) {
      IdlePipe pipe;
      std::stop_source source;
      std::atomic<bool> go = false;
      std::thread stranger([&] {
        while (!go) std::this_thread::yield();
        source.request_stop();
      });
      if (round % 2 == 0) go = true;  // perhaps before the read is there
      auto late = [&]() -> Task<> {
        go = true;
        co_return;
      };
      const auto [error, nothing] =
          co_await caio::gather(error_of(with_stop(source.get_token(), pipe.read(context))), caio::as_result(late()));
      stranger.join();
      CHECK(error == std::errc::operation_canceled);
      CHECK(static_cast<bool>(nothing));
    }
  });
}

TEST_CASE("with_stop: a token that nobody stops changes nothing") {
  support::on_every_backend([](Context& context) -> Task<> {
    IdlePipe pipe;
    pipe.write("abcde");
    CHECK_YIELDS(with_stop(std::stop_token(), pipe.read(context)), 5U);
    std::stop_source source;
    pipe.write("abc");
    CHECK_YIELDS(with_stop(source.get_token(), pipe.read(context)), 3U);
    source.request_stop();
    pipe.write("a");
    CHECK_YIELDS(pipe.read(context), 1U);
  });
}

TEST_CASE("with_stop and with_timeout: may be destroyed while they wait, and do nothing unless awaited") {
  support::on_every_backend([](Context& context) -> Task<> {
    IdlePipe pipe;
    std::stop_source source;
    {
      TaskGroup group;
      auto wait = [&]() -> Task<> { co_await with_timeout(1h, with_stop(source.get_token(), pipe.read(context))); };
      group.spawn(wait());
      group.spawn(wait());
      co_await context.schedule();
    }
    source.request_stop();
    static_cast<void>(with_timeout(0s, pipe.read(context)));
    CHECK(context.stats().parked == 0);
    pipe.write("ab");
    CHECK_YIELDS(pipe.read(context), 2U);
  });
}
