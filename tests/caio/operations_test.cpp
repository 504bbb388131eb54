#include <caio/operations.hpp>

#include <caio/context.hpp>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/setups.hpp"

using caio::Context;
using caio::Task;
using caio::TaskGroup;
using namespace std::chrono_literals;

TEST_CASE("Sleep: ends no earlier than it says, the shorter one first") {
  support::on_every_backend([](Context& context) -> Task<> {
    std::vector<int> order;
    const auto start = std::chrono::steady_clock::now();
    auto sleep = [&](std::chrono::milliseconds time, int number) -> Task<> {
      co_await context.sleep_until(start + time);
      CHECK(std::chrono::steady_clock::now() >= start + time);
      order.push_back(number);
    };
    co_await caio::gather(sleep(9ms, 3), sleep(1ms, 1), sleep(5ms, 2));
    CHECK(order == std::vector<int>({1, 2, 3}));
    const auto later = std::chrono::steady_clock::now();
    co_await context.sleep_for(1ms);
    CHECK(std::chrono::steady_clock::now() - later >= 1ms);
    co_await context.sleep_until(std::chrono::steady_clock::now() - 1h);
    co_await context.sleep_until(std::chrono::system_clock::now() - 1h);
  });
}

TEST_CASE("Schedule: resumes behind what is ready") {
  support::on_every_backend([](Context& context) -> Task<> {
    std::string order;
    auto step = [&](char letter) -> Task<> {
      order += letter;
      co_await context.schedule();
      order += letter;
    };
    co_await caio::gather(step('a'), step('b'));
    CHECK(order == "abab");
  });
}

TEST_CASE("Offload: gives the function's value or its exception, from a thread of the pool") {
  support::on_every_backend([](Context& context) -> Task<> {
    const std::thread::id here = std::this_thread::get_id();
    const std::thread::id there = co_await context.offload([] { return std::this_thread::get_id(); });
    CHECK(there != here);
    CHECK(std::this_thread::get_id() == here);
    const std::unique_ptr<int> moved = co_await context.offload([] { return std::make_unique<int>(7); });
    CHECK(*moved == 7);
    bool failed = false;
    try {
      co_await context.offload([] { throw std::runtime_error("own"); });
    } catch (const std::runtime_error& error) {
      failed = error.what() == std::string("own");
    }
    CHECK(failed);
  });
}

TEST_CASE("Sleep and offload: a stop ends what has not begun") {
  support::on_every_backend([](Context& context) -> Task<> {
    int cancelled = 0;
    auto run = [&](auto awaitable) -> Task<> {
      try {
        co_await std::move(awaitable);
      } catch (const std::system_error& error) {
        cancelled += error.code() == std::errc::operation_canceled;
      }
    };
    TaskGroup group;
    group.spawn(run(context.sleep_for(1h)));
    group.request_stop();
    group.spawn(run(context.sleep_for(0s)));
    group.spawn(run(context.offload([] {})));
    co_await group.join();
    CHECK(cancelled == 3);
  });
}
