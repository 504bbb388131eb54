// Streams over what is no ordinary file, with what is no ordinary argument.

#include <sys/resource.h>
#include <sys/stat.h>

#include <aiofile/aiofile.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::async_open;
using aiofile::FileStream;
using aiofile::LineReader;
using aiofile::Reader;
using caio::Context;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using support::TemporaryDirectory;

TEST_CASE("Bad input: huge sizes cost what the file has") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "one\ntwo\n");
  constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
  support::on_every_backend([&](Context&) -> Task<> {
    for (const char* const mode : {"r", "rb"}) {
      FileStream stream = co_await async_open(path, mode);
      CHECK_YIELDS(stream.peek(most), "one\ntwo\n");
      CHECK_YIELDS(stream.readline(huge), "one\n");
      CHECK_YIELDS(stream.read(huge), "two\n");
      stream.seek(0);
      Reader chunks = stream.iter_chunked(most);
      CHECK_YIELDS(chunks.read_chunk(), "one\ntwo\n");
      LineReader lines(stream.file(), 4, most);
      CHECK_YIELDS(lines.readline(), "two\n");
      stream.seek(huge);
      CHECK_YIELDS(stream.read(), "");
      CHECK_YIELDS(stream.read(3), "");
      CHECK_YIELDS(stream.readline(), "");
      CHECK(stream.tell() == static_cast<std::uint64_t>(huge));
      bool refused = false;
      try {
        co_await stream.seek(1, aiofile::Whence::current);
      } catch (const std::invalid_argument&) {
        refused = true;
      }
      CHECK(refused);
      co_await stream.close();
    }
    FileStream writing = co_await async_open(directory / "new", "w", {.buffering = most});
    co_await writing.write("gathered");
    co_await writing.close();
    CHECK(support::content_of(directory / "new") == "gathered");
  });
}

TEST_CASE("Bad input: a device that is always full") {
  support::on_every_backend([](Context& context) -> Task<> {
    std::size_t lost = 0;
    context.on_lost_data([&](const caio::LostData& data) { lost += data.bytes; });
    FileStream plain = co_await async_open("/dev/full", "w");
    CHECK_YIELDS(error_of(plain.write("x")), ENOSPC);
    CHECK(plain.tell() == 0);
    co_await plain.close();
    FileStream buffered = co_await async_open("/dev/full", "w", {.buffering = 100});
    CHECK_YIELDS(buffered.write("12345"), 5U);
    CHECK_YIELDS(error_of(buffered.flush()), ENOSPC);
    CHECK_YIELDS(buffered.write("6789"), 4U);  // gathered beside the rest
    CHECK_YIELDS(error_of(buffered.close()), ENOSPC);
    CHECK(buffered.closed());
    CHECK(lost == 0);
    {
      FileStream dropped = co_await async_open("/dev/full", "w", {.buffering = 100});
      co_await dropped.write("123");
    }
    CHECK(lost == 3);
  });
}

TEST_CASE("Bad input: /dev/null and /dev/zero") {
  support::on_every_backend([](Context&) -> Task<> {
    FileStream nothing = co_await async_open("/dev/null", "r+");
    CHECK_YIELDS(nothing.read(), "");
    CHECK_YIELDS(nothing.readline(), "");
    CHECK_YIELDS(nothing.write("gone"), 4U);
    co_await nothing.close();
    FileStream zeros = co_await async_open("/dev/zero", "rb");
    CHECK_YIELDS(zeros.read(100'000), std::string(100'000, '\0'));
    CHECK_YIELDS(zeros.peek(3), std::string(3, '\0'));
    co_await zeros.close();
  });
}

TEST_CASE("Bad input: a FIFO works like a file") {
  const TemporaryDirectory directory;
  const auto path = directory / "fifo";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  support::on_every_backend([&](Context&) -> Task<> {
    auto send = [](std::filesystem::path name) -> Task<> {
      FileStream to = co_await async_open(name, "w", {.encoding = "utf-16", .buffering = 10});
      for (int i = 0; i < 1000; ++i) co_await to.write("line " + std::to_string(i) + "\n");
      co_await to.close();
    };
    TaskGroup group;
    group.spawn(send(path));
    FileStream from = co_await async_open(path, "r", {.encoding = "utf-16"});
    LineReader lines = from.lines();
    int count = 0;
    while (const auto line = co_await lines.next()) {
      const bool right = *line == "line " + std::to_string(count) + "\n";
      CHECK(right);
      ++count;
    }
    CHECK(count == 1000);
    co_await group.join();
    co_await from.close();
  });
}

TEST_CASE("Bad input: a descriptor that somebody else has closed") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "content");
  support::on_every_backend([&](Context& context) -> Task<> {
    std::optional<caio::LostData> lost;
    context.on_lost_data([&](const caio::LostData& data) { lost = data; });
    support::Fd fd(path, O_RDWR);
    {
      FileStream stream = co_await async_open(fd.get(), "r+", {.buffering = 100});
      CHECK_YIELDS(stream.read(3), "con");
      co_await stream.write("x");
      fd.reset();
      CHECK_YIELDS(error_of(stream.read(3)), EBADF);
      CHECK_YIELDS(error_of(stream.flush()), EBADF);
      co_await stream.write("y");  // gathered, and not reported yet
    }
    CHECK((lost && lost->bytes == 2 && lost->error.value() == EBADF));
  });
}

TEST_CASE("Bad input: a directory by its descriptor, a range of lines that is empty") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const support::Fd fd(directory.path(), O_RDONLY | O_DIRECTORY);
    FileStream stream = co_await async_open(fd.get(), "r");
    CHECK_YIELDS(error_of(stream.read()), EISDIR);
    CHECK_YIELDS(error_of(stream.readline()), EISDIR);
    auto lines = stream.lines();
    CHECK_YIELDS(error_of(lines.next()), EISDIR);
    co_await stream.close();
    FileStream empty = co_await async_open(directory / "file", "w");
    const std::vector<std::string> none;
    co_await empty.writelines(none);
    CHECK(empty.tell() == 0);
    co_await empty.close();
  });
}
