#include <aiofile/line_cutter.hpp>

#include <aiofile/async_open.hpp>
#include <new>
#include <string>

#include "outcome.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::async_open;
using aiofile::FileStream;
using aiofile::LineReader;
using caio::Context;
using caio::Task;
using outcome::error_of;
using support::TemporaryDirectory;

TEST_CASE("LineCutter: what has been read ahead needs no operation and no allocation") {
  const TemporaryDirectory directory;
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "line " + std::to_string(i) + "\n";
  const auto path = directory.file("file", text);
  support::on_every_backend([&](Context& context) -> Task<> {
    AIOFile file = co_await AIOFile(path);
    LineReader reader(file);
    co_await reader.next();
    const std::uint64_t submitted = context.stats().submitted;
    const std::size_t allocations = support::allocations();
    int ready = 0;
    for (int i = 1; i < 1000; ++i) ready += reader.next().await_ready() ? 1 : 0;
    CHECK(support::allocations() == allocations);
    CHECK(ready == 999);
    CHECK(context.stats().submitted == submitted);
    co_await file.close();
  });
}

TEST_CASE("LineCutter: among lines that are taken at hand, others use the cursor or change the file") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path, "r+");
    LineReader lines = stream.lines();
    const auto take = [&lines](std::string text) -> Task<> {  // by an operation, then at hand
      for (const char each : text) CHECK_YIELDS(lines.next(), std::string(1, each) + "\n");
    };
    co_await take("123");
    CHECK(stream.tell() == 6);
    CHECK_YIELDS(stream.peek(2), "4\n");
    co_await take("45");
    CHECK_YIELDS(stream.read(2), "6\n");
    co_await take("78");
    LineReader others = stream.lines();
    CHECK_YIELDS(others.next(), "9\n");
    stream.seek(0);
    co_await take("123");
    co_await stream.file().write("x", 6);
    co_await take("x56");
    co_await stream.file().write("4", 6);
    stream.seek(0);
    co_await take("12");
    co_await stream.close();
    CHECK_YIELDS(error_of(lines.next()), EBADF);
  });
}

TEST_CASE("LineCutter: a line at hand for which there is no memory is given by the next call") {
  const TemporaryDirectory directory;
  const std::string first(100, 'a');
  const std::string second(100, 'b');
  const auto path = directory.file("file", "0\n1\n" + first + "\n" + second + "\n");
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file = co_await AIOFile(path);
    LineReader reader(file);
    CHECK_YIELDS(reader.readline(), "0\n");
    CHECK_YIELDS(reader.readline(), "1\n");
    std::string line;
    bool failed = false;
    support::fail_allocations(1, 0);
    try {
      line = co_await reader.readline();
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    support::allow_allocations();
    CHECK(failed == support::counts_allocations);
    if (failed) CHECK_YIELDS(reader.readline(), first + "\n");
    CHECK_YIELDS(reader.next(), second + "\n");
    co_await file.close();
  });
}
