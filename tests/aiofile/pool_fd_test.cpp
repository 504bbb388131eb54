#include <aiofile/pool_fd.hpp>

#include <fcntl.h>

#include <caio/caio.hpp>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/setups.hpp"

using aiofile::detail::PoolFd;
using caio::Context;
using caio::Task;
using outcome::is_open;

namespace {

int opened() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

TEST_CASE("PoolFd: is closed by the pool, and nobody waits for it") {
  support::on_every_backend([](Context& context) -> Task<> {
    const int fd = opened();
    {
      PoolFd first(context.engine(), fd);
      PoolFd second(std::move(first));
      CHECK_FALSE(first);
      CHECK(second);
      CHECK(second.get() == fd);
      PoolFd third;
      third = std::move(second);
      CHECK(third.get() == fd);
      CHECK(context.stats().submitted == 0);
    }
    CHECK(is_open(fd));
    CHECK(context.stats().submitted == 1);
    while (context.stats().completed < 1) co_await context.schedule();
    CHECK_FALSE(is_open(fd));
  });
}

TEST_CASE("PoolFd: the context's end closes it at the latest") {
  for (const caio::Implementation each : support::backends()) {
    const int fd = opened();
    {
      Context context(each);
      context.run([](Context& its, int number) -> Task<> {
        const PoolFd owner(its.engine(), number);
        co_return;
      }(context, fd));
    }
    CHECK_FALSE(is_open(fd));
  }
}

TEST_CASE("PoolFd: closes by itself where the context is another thread's, or has ended") {
  const int fds[2] = {opened(), opened()};
  std::optional<PoolFd> left;
  {
    Context context;
    context.run([](Context& its, int number) -> Task<> {
      std::thread([&] { const PoolFd owner(its.engine(), number); }).join();
      CHECK_FALSE(is_open(number));
      co_return;
    }(context, fds[0]));
    left.emplace(context.engine(), fds[1]);
  }
  CHECK(is_open(fds[1]));
  left.reset();
  CHECK_FALSE(is_open(fds[1]));
}

TEST_CASE("PoolFd: a forked child closes its own copy") {
  Context context;
  const int fd = opened();
  context.run([](Context& its, int number) -> Task<> {
    std::optional<PoolFd> owner(std::in_place, its.engine(), number);
    const std::string answer = support::answer_in_child([&] {
      owner.reset();
      return std::string(is_open(number) ? "open" : "closed");
    });
    CHECK(answer == "closed");
    CHECK(is_open(number));
    co_return;
  }(context, fd));
}
