#include <aiofile/writer.hpp>

#include <aiofile/async_open.hpp>
#include <caio/gather.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::Writer;
using caio::Context;
using caio::Task;
using outcome::error_of;
using support::content_of;
using support::TemporaryDirectory;

TEST_CASE("Writer: one write behind the other, from an offset on") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  support::on_every_backend([&](Context&) -> Task<> {
    for (const std::size_t buffering : {0U, 7U}) {
      directory.file("file", "0123456789");
      AIOFile file = co_await AIOFile(path, "r+");
      Writer writer(file, 4, buffering);
      const std::string_view view = "ab";
      co_await writer(view);
      co_await writer(std::string("cdefgh"));
      co_await writer.write("é");
      co_await writer.write(std::string("!"));
      co_await writer("");
      co_await writer.flush();
      CHECK(content_of(path) == "0123abcdefghé!");
      co_await file.close();
    }
  });
}

TEST_CASE("Writer: writes that are started together go in that order") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  support::on_every_backend([&](Context&) -> Task<> {
    for (const std::size_t buffering : {0U, 100U}) {
      AIOFile file = co_await AIOFile(path, "w");
      Writer writer(file, 0, buffering);
      std::vector<int> numbers(300);
      std::string wanted;
      for (int i = 0; i < 300; ++i) {
        numbers[static_cast<std::size_t>(i)] = i;
        wanted += std::to_string(i) + ",";
      }
      co_await caio::gather(numbers, [&](int number) { return writer(std::to_string(number) + ","); });
      co_await writer.flush();
      CHECK(content_of(path) == wanted);
      co_await file.close();
    }
  });
}

TEST_CASE("Writer: errors of the mode, and of a closed file, where it is too late") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context& context) -> Task<> {
    std::vector<caio::LostData> lost;
    context.on_lost_data([&](const caio::LostData& data) { lost.push_back(data); });
    AIOFile reading = co_await AIOFile(directory.file("file", "x"), "r");
    Writer wrong(reading);
    CHECK_YIELDS(error_of(wrong("y")), EBADF);
    CHECK_THROWS_AS(Writer(reading, ~std::uint64_t{0}), std::invalid_argument);
    co_await reading.close();
    {
      AIOFile file = co_await AIOFile(directory / "file", "w");
      Writer writer(file, 0, 100);
      co_await writer("gathered");
      co_await file.close();  // knows nothing of the writer
      CHECK_YIELDS(error_of(writer.flush()), EBADF);
    }
    REQUIRE(lost.size() == 1);
    CHECK(lost[0].bytes == 8);
    CHECK(lost[0].error.value() == EBADF);
  });
}

TEST_CASE("Writer: holds the file while the AIOFile goes, and delivers at its end") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  support::on_every_backend([&](Context&) -> Task<> {
    {
      std::optional<Writer> writer;
      {
        AIOFile file = co_await AIOFile(path, "w");
        writer.emplace(file, 0, 100);
      }
      co_await (*writer)("late");
      Writer moved = std::move(*writer);
      co_await moved("r");
    }
    CHECK(content_of(path) == "later");
    CHECK(outcome::descriptors_of(path) == 0);
  });
}

TEST_CASE("Writer: a sync of the file covers what the writer's flush has under way") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file = co_await AIOFile(directory / "file", "w");
    Writer writer(file, 0, 1'000'000);
    co_await writer(std::string(500'000, 'x'));
    co_await caio::gather(writer.flush(), file.fsync());
    CHECK(content_of(directory / "file").size() == 500'000);
    co_await file.close();
  });
}

TEST_CASE("Writer: no allocation for a write") {
  const TemporaryDirectory directory;
  support::on_every_backend(
      [&](Context& context) -> Task<> {
        if (!support::counts_allocations) co_return;
        co_await context.offload([] {});  // starts the pool's only thread
        for (const std::size_t buffering : {0U, 300U}) {
          AIOFile file = co_await AIOFile(directory / "file", "w");
          Writer writer(file, 0, buffering);
          const std::string_view record = "a record of some forty bytes, all the same";
          for (int i = 0; i < 20; ++i) co_await writer(record);
          const std::size_t before = support::allocations();
          for (int i = 0; i < 100; ++i) co_await writer(record);
          CHECK(support::allocations() == before);
          co_await writer.flush();
          CHECK(content_of(directory / "file").size() == 120 * record.size());
          co_await file.close();
        }
      },
      {.pool_size = 1});
}
