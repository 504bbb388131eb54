#include <aiofile/cursor.hpp>

#include <aiofile/async_open.hpp>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "full_disk.hpp"
#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::async_open;
using aiofile::FileStream;
using caio::Context;
using caio::LostData;
using caio::Task;
using outcome::error_of;
using outcome::fill_disk;
using outcome::on_plain_backends;
using support::content_of;
using support::ReplacedCalls;
using support::TemporaryDirectory;

TEST_CASE("Cursor: bytes gathered are written by the destructor") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  support::on_every_backend([&](Context& context) -> Task<> {
    bool lost = false;
    context.on_lost_data([&](const LostData&) { lost = true; });
    {
      FileStream stream = co_await async_open(path, "w", {.buffering = 100});
      co_await stream.write("kept");
    }
    CHECK(content_of(path) == "kept");
    CHECK_FALSE(lost);
  });
}

TEST_CASE("Cursor: a destructor that cannot write says so, once") {
  on_plain_backends([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    std::vector<LostData> lost;
    context.on_lost_data([&](const LostData& data) { lost.push_back(data); });
    ReplacedCalls calls;
    fill_disk(calls);
    {
      FileStream stream = co_await async_open(directory / "file", "w", {.buffering = 100});
      co_await stream.write("12345");
    }
    CHECK(lost.size() == 1);
    CHECK(lost.at(0).path == (directory / "file").string());
    CHECK(lost.at(0).bytes == 2);
    CHECK(lost.at(0).error == std::errc::no_space_on_device);
    {
      FileStream stream = co_await async_open(directory / "file", "w", {.buffering = 100});
      co_await stream.write("12345");
      CHECK_YIELDS(error_of(stream.flush()), ENOSPC);
    }
    CHECK(lost.size() == 1);  // it was reported
  });
}
