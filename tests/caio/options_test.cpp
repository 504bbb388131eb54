#include <caio/options.hpp>

#include <caio/context.hpp>
#include <memory>
#include <stdexcept>

#include "support/catch.hpp"

using caio::Context;
using caio::ContextOptions;
using caio::Implementation;
using caio::detail::checked;

namespace {

ContextOptions with_requests(unsigned count) {
  ContextOptions options;
  options.max_requests = count;
  return options;
}

ContextOptions with_pool(unsigned size) {
  ContextOptions options;
  options.pool_size = size;
  return options;
}

}  // namespace

TEST_CASE("ContextOptions: the defaults are within the ranges") {
  const ContextOptions options = checked({});
  CHECK(options.max_requests == 512);
  CHECK(options.pool_size == 8);
  CHECK_FALSE(options.sqpoll);
  CHECK(options.speculate);
}

TEST_CASE("ContextOptions: max_requests is within 1..65536") {
  CHECK_THROWS_AS(checked(with_requests(0)), std::invalid_argument);
  CHECK_THROWS_AS(checked(with_requests(65'537)), std::invalid_argument);
  CHECK(checked(with_requests(1)).max_requests == 1);
  CHECK(checked(with_requests(65'536)).max_requests == 65'536);
}

TEST_CASE("ContextOptions: pool_size is within 1..128") {
  CHECK_THROWS_AS(checked(with_pool(0)), std::invalid_argument);
  CHECK_THROWS_AS(checked(with_pool(129)), std::invalid_argument);
  CHECK(checked(with_pool(1)).pool_size == 1);
  CHECK(checked(with_pool(128)).pool_size == 128);
}

TEST_CASE("ContextOptions: a refusal names the option, its value and the range") {
  CHECK_THROWS_WITH(checked(with_requests(0)), Catch::Contains("max_requests is 0") && Catch::Contains("1..65536"));
  CHECK_THROWS_WITH(checked(with_pool(129)), Catch::Contains("pool_size is 129") && Catch::Contains("1..128"));
}

TEST_CASE("ContextOptions: each way to make a context checks them") {
  for (const ContextOptions& wrong : {with_requests(0), with_requests(65'537), with_pool(0), with_pool(129)}) {
    CHECK_THROWS_AS(Context(wrong), std::invalid_argument);
    CHECK_THROWS_AS(Context(std::make_unique<caio::BlockingBackend>(), wrong), std::invalid_argument);
    for (const Implementation implementation : caio::available()) {
      CHECK_THROWS_AS(Context(implementation, wrong), std::invalid_argument);
    }
  }
}

TEST_CASE("ContextOptions: a context works at the ends of the ranges") {
  auto work = [](Context& context) -> caio::Task<int> {
    co_await context.schedule();
    co_return co_await context.offload([] { return 3; });
  };
  for (const Implementation implementation : caio::available()) {
    for (const ContextOptions& extreme : {with_requests(1), with_requests(65'536), with_pool(1), with_pool(128)}) {
      Context context(implementation, extreme);
      CHECK(context.run(work(context)) == 3);
    }
  }
}
