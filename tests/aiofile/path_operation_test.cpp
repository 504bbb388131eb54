#include <aiofile/path_operation.hpp>

#include <aiofile/error.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <filesystem>
#include <latch>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "outcome.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"

using aiofile::FileError;
using aiofile::detail::PathOperation;
using caio::Context;
using caio::Implementation;
using caio::Task;
using outcome::failure_of;

TEST_CASE("PathOperation: yields what the function gives, called with the path") {
  support::on_every_backend([](Context&) -> Task<> {
    PathOperation<std::string (*)(const std::filesystem::path&)> operation(
        "native", "some/path", [](const std::filesystem::path& path) { return path.native(); });
    CHECK_YIELDS(std::move(operation), "some/path");
  });
}

TEST_CASE("PathOperation: on the pool, but for the blocking backend") {
  support::on_every_backend([](Context& context) -> Task<> {
    const auto here = std::this_thread::get_id();
    const auto there = [](const std::filesystem::path&) { return std::this_thread::get_id(); };
    const bool same = co_await PathOperation("id", "", there) == here;
    CHECK(same == (context.implementation() == Implementation::blocking));
  });
}

TEST_CASE("PathOperation: others run beside one that is ready all the time") {
  support::on_every_backend([](Context& context) -> Task<> {
    bool other = false;
    context.spawn([](bool& ran) -> Task<> {
      ran = true;
      co_return;
    }(other));
    const auto nothing = [](const std::filesystem::path&) {};
    for (int i = 0; i < 1000 && !other; ++i) co_await PathOperation("nothing", "", nothing);
    CHECK(other);
  });
}

TEST_CASE("PathOperation: rethrows what the function throws") {
  support::on_every_backend([](Context&) -> Task<> {
    const auto fails = [](const std::filesystem::path& path) { throw FileError("fail", path, EXDEV); };
    const auto error = co_await failure_of(PathOperation("fail", "some/path", fails));
    REQUIRE(error);
    CHECK(error->code().value() == EXDEV);
    CHECK(error->path1() == "some/path");
    bool caught = false;
    const auto breaks = [](const std::filesystem::path&) { throw std::out_of_range("broken"); };
    try {
      co_await PathOperation("break", "", breaks);
    } catch (const std::out_of_range&) {
      caught = true;
    }
    CHECK(caught);
  });
}

TEST_CASE("PathOperation: one that is stopped before it begins never runs") {
  support::on_every_backend([](Context&) -> Task<> {
    std::stop_source source;
    source.request_stop();
    bool ran = false;
    const auto run = [&ran](const std::filesystem::path&) { ran = true; };
    const auto error = co_await failure_of(caio::with_stop(source.get_token(), PathOperation("run", "some/path", run)));
    REQUIRE(error);
    CHECK(error->code().value() == ECANCELED);
    CHECK(error->path1() == "some/path");
    CHECK_FALSE(ran);
  });
}

TEST_CASE("PathOperation: destroyed while a thread works on it, it waits") {
  support::on_every_backend([](Context& context) -> Task<> {
    if (context.implementation() == Implementation::blocking) co_return;
    std::latch begun(1);
    std::latch may_end(1);
    bool ended = false;
    const auto slow = [&](const std::filesystem::path&) {
      begun.count_down();
      may_end.wait();
      ended = true;
    };
    {
      caio::TaskGroup group;
      group.spawn([](auto work) -> Task<> { co_await PathOperation("slow", "", work); }(slow));
      while (!begun.try_wait()) co_await context.schedule();
      may_end.count_down();
    }
    CHECK(ended);
  });
}

TEST_CASE("PathOperation: after its context has ended it fails") {
  std::optional<Context> ended(std::in_place, Implementation::thread);
  const auto engine = ended->engine();
  ended.reset();
  Context context;
  context.run([](std::shared_ptr<caio::Engine> gone) -> Task<> {
    const auto nothing = [](const std::filesystem::path&) {};
    CHECK_YIELDS(outcome::error_of(PathOperation(std::move(gone), "nothing", "some/path", nothing)), ECANCELED);
  }(engine));
}

TEST_CASE("PathOperation: nothing is allocated for one") {
  support::on_every_backend(
      [](Context&) -> Task<> {
        const auto nothing = [](const std::filesystem::path&) { return 1; };
        for (int i = 0; i < 10; ++i) CHECK_YIELDS(PathOperation("nothing", "", nothing), 1);
        const std::size_t before = support::allocations();
        int sum = 0;
        for (int i = 0; i < 100; ++i) sum += co_await PathOperation("nothing", "", nothing);
        CHECK(sum == 100);
        if (support::counts_allocations) CHECK(support::allocations() == before);
      },
      {.pool_size = 1});
}
