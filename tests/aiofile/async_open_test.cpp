#include <aiofile/async_open.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <aiofile/aiofile.hpp>
#include <caio/gather.hpp>
#include <caio/result.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::async_open;
using aiofile::FileStream;
using aiofile::Whence;
using caio::Context;
using caio::Task;
using outcome::error_of;
using support::content_of;
using support::Fd;
using support::TemporaryDirectory;

TEST_CASE("async_open: every mode does what it says") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const auto path = directory.file("file", "old content");
    {
      FileStream stream = co_await async_open(path);
      CHECK_YIELDS(stream.read(), "old content");
      CHECK_YIELDS(error_of(stream.write("x")), EBADF);
      co_await stream.close();
    }
    {
      FileStream stream = co_await async_open(path, "r+");
      co_await stream.write("new");
      CHECK_YIELDS(stream.read(), " content");
      co_await stream.close();
    }
    {
      FileStream stream = co_await async_open(path, "a+b");
      CHECK(stream.tell() == 11);
      co_await stream.write("!");
      stream.seek(3);
      CHECK_YIELDS(stream.read(8), " content");
      CHECK_YIELDS(stream.read(8), "!");
      co_await stream.close();
    }
    {
      FileStream stream = co_await async_open(path, "w+");
      CHECK_YIELDS(stream.read(), "");
      co_await stream.write("again");
      co_await stream.close();
    }
    CHECK(content_of(path) == "again");
    CHECK_YIELDS(error_of(async_open(path, "x")), EEXIST);
    FileStream stream = co_await async_open(directory / "new", "x", {.permissions = 0600});
    co_await stream.close();
    CHECK((std::filesystem::status(directory / "new").permissions() ==
           (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write)));
    std::filesystem::remove(directory / "new");
  });
}

TEST_CASE("async_open: wrong arguments are refused by the call, missing files by the await") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const auto path = directory / "missing";
    for (const char* const mode : {"", "b", "+", "rw", "rx", "wx", "rbt", "r++", "z"}) {
      CHECK_THROWS_AS(async_open(path, mode), std::invalid_argument);
      CHECK_THROWS_AS(async_open(0, mode), std::invalid_argument);
    }
    CHECK_THROWS_AS(async_open(path, "w", {.encoding = "klingon"}), std::invalid_argument);
    CHECK_THROWS_AS(async_open(0, "r", {.encoding = "klingon"}), std::invalid_argument);
    CHECK_FALSE(std::filesystem::exists(path));
    CHECK_YIELDS(error_of(async_open(path)), ENOENT);
    CHECK_YIELDS(error_of(async_open(directory.path())), EISDIR);
    CHECK_YIELDS(error_of(async_open(directory.path(), "w")), EISDIR);
    CHECK_YIELDS(error_of(async_open("")), ENOENT);
    const auto result = co_await caio::as_result(async_open(path));
    CHECK(result.error() == std::errc::no_such_file_or_directory);
    static_cast<void>(async_open(path, "w"));  // not awaited, it does nothing
    CHECK_FALSE(std::filesystem::exists(path));
  });
}

TEST_CASE("async_open: the arguments need not outlive the call") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    std::string encoding = "latin-1";
    std::string mode = "w";
    auto opening = async_open(directory / "file", mode, {.encoding = encoding});
    encoding = mode = "overwritten";
    auto moved = std::move(opening);
    FileStream stream = co_await std::move(moved);
    co_await stream.write("ä");
    co_await stream.close();
    CHECK(content_of(directory / "file") == "\xe4");
  });
}

TEST_CASE("async_open: an adopted descriptor is used and not closed") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const Fd fd(directory.file("file", ""), O_RDWR);
    {
      FileStream stream = co_await async_open(fd.get(), "w+");  // nothing is cut
      CHECK(stream.fileno() == fd.get());
      co_await stream.write("hello wörld");
      stream.seek(6);
      CHECK_YIELDS(stream.read(2), "wö");
      co_await stream.close();
      CHECK(stream.closed());
    }
    CHECK(outcome::is_open(fd.get()));
    char letters[5] = {};
    CHECK(::read(fd.get(), letters, 5) == 5);  // its own position has not moved
    CHECK(std::string_view(letters, 5) == "hello");
    FileStream from_there = co_await async_open(fd.get(), "rb");
    CHECK(from_there.tell() == 5);
    CHECK_YIELDS(from_there.read(3), " w\xc3");
    FileStream appending = co_await async_open(fd.get(), "a");  // without O_APPEND
    CHECK(appending.tell() == 12);
    co_await appending.write("!");
    CHECK(appending.tell() == 13);
    CHECK(content_of(directory / "file") == "hello wörld!");
    FileStream bad = co_await async_open(-1, "r");
    CHECK_YIELDS(error_of(bad.read()), EBADF);
    co_await from_there.close();
    co_await appending.close();
  });
}

TEST_CASE("async_open: on a context of the caller's choice") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context& context) -> Task<> {
    Context other(caio::Implementation::thread);
    FileStream from = co_await async_open("/proc/cpuinfo", "r", {.context = &other});
    FileStream to = co_await async_open(directory / "file", "w");
    CHECK(&from.file().context() == &other);
    CHECK(&to.file().context() == &context);
    auto lines = from.lines();
    std::size_t count = 0;
    while (const auto line = co_await lines.next()) {
      co_await to.write(*line);
      ++count;
    }
    CHECK(count > 5);
    co_await from.close();
    co_await to.close();
    CHECK(content_of(directory / "file").substr(0, 9) == "processor");
  });
}

TEST_CASE("async_open: every name of the contract is in aiofile") {
  static_assert(std::is_same_v<aiofile::Task<int>, caio::Task<int>>);
  static_assert(!std::is_copy_constructible_v<aiofile::FileStream>);
  static_assert(!std::is_copy_constructible_v<aiofile::Reader>);
  static_assert(!std::is_copy_constructible_v<aiofile::Writer>);
  static_assert(!std::is_copy_constructible_v<aiofile::LineReader>);
  static_assert(std::is_nothrow_move_constructible_v<aiofile::FileStream>);
  static_assert(std::is_trivially_destructible_v<aiofile::OpenOptions>);
  static_assert(std::is_trivially_destructible_v<caio::ContextOptions>);
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    auto count = [](std::filesystem::path path) -> aiofile::Task<std::size_t> {
      FileStream stream = co_await async_open(path, "w+");
      co_await aiofile::gather(stream.write("a\n"), stream.write("b\n"));
      stream.seek(0);
      const auto lines = co_await aiofile::as_result(stream.readlines());
      co_await stream.close();
      co_return lines.value().size();
    };
    CHECK_YIELDS(count(directory / "file"), 2U);
  });
}
