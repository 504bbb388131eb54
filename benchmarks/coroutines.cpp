// What the coroutines themselves cost: tasks, children, gather, wake-ups. With Google Benchmark; see its --help.

#include <benchmark/benchmark.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <aiofile/aiofile.hpp>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using caio::Context;
using caio::Task;

Task<int> child(int value) { co_return value; }

Task<> await_children(benchmark::State& state) {
  int sum = 0;
  for (auto _ : state) {
    sum += co_await child(1);
    benchmark::DoNotOptimize(sum);
  }
}

/// A child task made, awaited and destroyed.
void awaited_child(benchmark::State& state) {
  Context context;
  context.run(await_children(state));
}
BENCHMARK(awaited_child);

Task<int> descend(int depth) {
  if (depth == 0) co_return 0;
  const int below = co_await descend(depth - 1);
  co_return below + 1;
}

Task<> await_chains(benchmark::State& state) {
  for (auto _ : state) {
    const int depth = co_await descend(static_cast<int>(state.range(0)));
    benchmark::DoNotOptimize(depth);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

/// A chain of children; items are levels.
void chain(benchmark::State& state) {
  Context context;
  context.run(await_chains(state));
}
BENCHMARK(chain)->Arg(10)->Arg(1000);

Task<> gather_children(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    std::vector<Task<int>> tasks;
    tasks.reserve(count);
    for (std::size_t i = 0; i < count; ++i) tasks.push_back(child(1));
    const std::vector<int> results = co_await caio::gather(std::move(tasks));
    benchmark::DoNotOptimize(results.data());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

/// Items are children.
void gather(benchmark::State& state) {
  Context context;
  context.run(gather_children(state));
}
BENCHMARK(gather)->Arg(10)->Arg(1000)->Arg(100'000);

/// Context::run with a task that does nothing.
void run(benchmark::State& state) {
  Context context;
  for (auto _ : state) benchmark::DoNotOptimize(context.run(child(1)));
}
BENCHMARK(run);

Task<> start_and_wait(benchmark::State& state, Context& context) {
  for (auto _ : state) co_await context.sleep_until(std::chrono::steady_clock::time_point());
}

/// A turn of the loop: a timer that has expired already.
void turn(benchmark::State& state) {
  Context context;
  context.run(start_and_wait(state, context));
  state.SetLabel(std::string(caio::name(context.implementation())));
}
BENCHMARK(turn);

/// Goes on in another context, on its thread.
struct Hop {
  Context& to;
  static bool await_ready() noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) const { to.post(coroutine); }
  static void await_resume() noexcept {}
};

Task<> hop(benchmark::State& state, Context& here, Context& there) {
  for (auto _ : state) {
    const Hop away{there};
    co_await away;
    const Hop back{here};
    co_await back;
  }
}

Task<> serve(Context& context, std::atomic<Context*>& place, const std::atomic<bool>& done) {
  place = &context;
  place.notify_one();
  while (!done) co_await context.sleep_for(std::chrono::milliseconds(10));
}

/// To a context that sleeps on another thread and back again: two wake-ups.
void wake_up(benchmark::State& state) {
  std::atomic<Context*> there = nullptr;
  std::atomic<bool> done = false;
  std::thread thread([&] {
    Context context;
    context.run(serve(context, there, done));
  });
  there.wait(nullptr);
  Context here;
  here.run(hop(state, here, *there));
  done = true;
  thread.join();
}
BENCHMARK(wake_up)->UseRealTime();

/// What the machine takes for it: a thread that sleeps in poll(2), woken by an eventfd, and back again.
void wake_up_by_eventfd(benchmark::State& state) {
  const auto wait = [](int fd) {
    ::pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    ::poll(&ready, 1, -1);
    ::eventfd_t value = 0;
    ::eventfd_read(fd, &value);
  };
  const int there = ::eventfd(0, EFD_CLOEXEC);
  const int back = ::eventfd(0, EFD_CLOEXEC);
  std::atomic<bool> done = false;
  std::thread thread([&] {
    while (!done) {
      wait(there);
      ::eventfd_write(back, 1);
    }
  });
  for (auto _ : state) {
    ::eventfd_write(there, 1);
    wait(back);
  }
  done = true;
  ::eventfd_write(there, 1);
  thread.join();
  ::close(there);
  ::close(back);
}
BENCHMARK(wake_up_by_eventfd)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
