#include <caio/backends/thread_pool.hpp>

#include <fcntl.h>
#include <signal.h>
#include <caio/context.hpp>

#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::gather;
using caio::Implementation;
using caio::Task;
using support::numbers;

TEST_CASE("ThreadPoolBackend: no more threads than pool_size, and none before the first need") {
  Context context(Implementation::thread, {.pool_size = 3});
  std::mutex mutex;
  std::set<std::thread::id> threads;
  context.run([](Context& each, std::mutex& guard, std::set<std::thread::id>& ids) -> Task<> {
    co_await gather(numbers(200), [&](int) {
      return each.offload([&] {
        const std::lock_guard lock(guard);
        ids.insert(std::this_thread::get_id());
      });
    });
  }(context, mutex, threads));
  CHECK(!threads.empty());
  CHECK(threads.size() <= 3);
  CHECK(threads.count(std::this_thread::get_id()) == 0);
}

TEST_CASE("ThreadPoolBackend: as many run at the same time as the pool has threads") {
  Context context(Implementation::thread, {.pool_size = 4});
  context.run([](Context& each) -> Task<> {
    std::promise<void> last_has_come;
    const std::shared_future<void> all_here = last_has_come.get_future().share();
    std::atomic<int> here = 0;
    co_await gather(numbers(4), [&](int) {
      return each.offload([&] {
        if (++here == 4) last_has_come.set_value();
        all_here.wait();
      });
    });
    CHECK(here == 4);
  }(context));
}

TEST_CASE("ThreadPoolBackend: its threads take no signals") {
  Context context(Implementation::thread);
  context.run([](Context& each) -> Task<> {
    const bool blocked = co_await each.offload([] {
      ::sigset_t mask;
      ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      return ::sigismember(&mask, SIGINT) == 1 && ::sigismember(&mask, SIGTERM) == 1 &&
             ::sigismember(&mask, SIGXFSZ) == 1;
    });
    CHECK(blocked);
  }(context));
  ::sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  CHECK(::sigismember(&mask, SIGINT) == 0);
}

TEST_CASE("ThreadPoolBackend: every operation goes to the pool") {
  const support::TemporaryDirectory directory;
  Context context(Implementation::thread, {.speculate = false});
  context.run([](Context& each, std::filesystem::path path) -> Task<> {
    const caio::Descriptor file = co_await each.open(std::move(path), O_RDWR | O_CREAT);
    co_await each.write(file, support::bytes_of("abc"), 0);
    co_await each.fdsync(file);
    co_await each.close(file);
  }(context, directory / "file"));
  CHECK(context.stats().pooled == 4);
}
