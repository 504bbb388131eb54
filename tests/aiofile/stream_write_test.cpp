#include <aiofile/stream_write.hpp>

#include <signal.h>

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
using aiofile::EncodeError;
using aiofile::FileError;
using aiofile::FileStream;
using aiofile::Whence;
using caio::Context;
using caio::LostData;
using caio::Task;
using caio::TaskGroup;
using outcome::disk_is_full;
using outcome::error_of;
using outcome::failure_of;
using outcome::fill_disk;
using outcome::on_plain_backends;
using outcome::pattern;
using support::content_of;
using support::Pipe;
using support::ReplacedCalls;
using support::TemporaryDirectory;

TEST_CASE("StreamWrite: each write goes at once, in order, and moves the position") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path, "w+");
    CHECK_YIELDS(stream.write(""), 0);
    CHECK_YIELDS(stream.write("hellö"), 6);
    CHECK(stream.tell() == 6);
    CHECK(content_of(path) == "hellö");
    CHECK_YIELDS(stream.write(std::string(100'000, 'x')), 100'000);
    co_await caio::gather(stream.write("1"), stream.write(std::string("22")), stream.write("333"));
    CHECK(stream.tell() == 100'012);
    CHECK(content_of(path).substr(100'006) == "122333");
    stream.seek(1);
    CHECK_YIELDS(stream.write("E"), 1);
    CHECK_YIELDS(stream.read(4), "llöx");
    const std::vector<std::string> lines = {"a\n", "b\n"};
    co_await stream.writelines(lines);
    CHECK(content_of(path).substr(0, 12) == "hEllöxa\nb\nx");
    CHECK(stream.tell() == 11);
    co_await stream.close();
  });
}

TEST_CASE("StreamWrite: in append mode writes go to the end, and the position follows") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  support::on_every_backend([&](Context&) -> Task<> {
    for (const std::size_t buffering : {0U, 4U, 100U}) {
      directory.file("file", "0123456789");
      FileStream stream = co_await async_open(path, "a+", {.buffering = buffering});
      CHECK(stream.tell() == 10);
      CHECK_YIELDS(stream.read(1), "");
      stream.seek(2);
      CHECK_YIELDS(stream.read(2), "23");
      CHECK_YIELDS(stream.write("ab"), 2);
      CHECK(stream.tell() == 12);
      CHECK_YIELDS(stream.write("cd"), 2);
      CHECK(stream.tell() == 14);
      stream.seek(9);
      CHECK_YIELDS(stream.read(), "9abcd");
      co_await stream.close();
      CHECK(content_of(path) == "0123456789abcd");
    }
    FileStream missing = co_await async_open(directory / "new", "a+");
    co_await missing.write("x");
    co_await missing.close();
    CHECK(content_of(directory / "new") == "x");
    std::filesystem::remove(directory / "new");
  });
}

TEST_CASE("StreamWrite: other encodings; a mark once, at the start") {
  using namespace std::string_view_literals;
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  support::on_every_backend([&](Context&) -> Task<> {
    for (const std::size_t buffering : {0U, 100U}) {
      FileStream stream = co_await async_open(path, "w+", {.encoding = "utf-16", .buffering = buffering});
      CHECK_YIELDS(stream.write("a"), 4);
      CHECK_YIELDS(stream.write("é"), 2);
      CHECK(stream.tell() == 6);
      co_await stream.flush();
      CHECK(content_of(path) ==
            "\xff\xfe"
            "a\0\xe9\0"sv);
      stream.seek(0);
      CHECK_YIELDS(stream.read(), "aé");
      co_await stream.close();
      FileStream more = co_await async_open(path, "a", {.encoding = "UTF16", .buffering = buffering});
      co_await more.write("b");
      co_await more.close();
      CHECK(content_of(path) ==
            "\xff\xfe"
            "a\0\xe9\0b\0"sv);
      // The order that the file has.
      directory.file("file", "\xfe\xff\0a"sv);
      FileStream big = co_await async_open(path, "r+", {.encoding = "utf-16", .buffering = buffering});
      CHECK_YIELDS(big.read(), "a");
      co_await big.write("b");
      co_await big.close();
      CHECK(content_of(path) == "\xfe\xff\0a\0b"sv);
      FileStream latin = co_await async_open(path, "w", {.encoding = "latin-1", .buffering = buffering});
      CHECK_YIELDS(latin.write("ÄÖ"), 2);
      std::optional<std::uint64_t> wrong;
      try {
        co_await latin.write("ab中");
      } catch (const EncodeError& error) {
        wrong = error.offset();
      }
      CHECK(wrong == 2U);
      CHECK(latin.tell() == 2);
      co_await latin.write(std::string(200'000, 'x'));
      co_await latin.close();
      CHECK(content_of(path).size() == 200'002);
      CHECK(content_of(path).substr(0, 3) == "\xc4\xd6x");
    }
  });
}

TEST_CASE("StreamWrite: buffered writes reach the file with flush, with what does not fit, and with other operations") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  support::on_every_backend([&](Context& context) -> Task<> {
    FileStream stream = co_await async_open(path, "w+", {.buffering = 10});
    const std::uint64_t before = context.stats().submitted;
    CHECK_YIELDS(stream.write("12345"), 5);
    CHECK_YIELDS(stream.write("67890"), 5);
    CHECK(context.stats().submitted == before);
    CHECK(content_of(path) == "");
    CHECK(stream.tell() == 10);
    CHECK_YIELDS(stream.write("a"), 1);
    CHECK(content_of(path) == "1234567890");
    co_await stream.flush();
    CHECK(content_of(path) == "1234567890a");
    co_await stream.write("b");
    CHECK_YIELDS(stream.write("a longer text than that"), 23);
    CHECK(content_of(path) == "1234567890aba longer text than that");
    co_await stream.write("c");
    stream.seek(0);  // the gathered bytes keep their place
    CHECK(stream.tell() == 0);
    CHECK_YIELDS(stream.read(3), "123");
    CHECK(content_of(path).back() == 'c');
    co_await stream.write("X");
    stream.seek(20);
    co_await stream.write("Y");
    CHECK(content_of(path).substr(0, 5) == "123X5");
    co_await stream.fsync();
    CHECK(content_of(path)[20] == 'Y');
    co_await stream.write("Z");
    CHECK_YIELDS(stream.seek(0, Whence::end), 36);
    CHECK(content_of(path)[21] == 'Z');
    co_await stream.write("!");
    co_await stream.truncate(3);
    CHECK(content_of(path) == "123");
    stream.seek(3);
    co_await stream.write("end");
    co_await stream.close();
    CHECK(content_of(path) == "123end");
  });
}

TEST_CASE("StreamWrite: a full disk is reported by the flush that meets it; what is gathered can be written later") {
  on_plain_backends([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    ReplacedCalls calls;
    fill_disk(calls);
    FileStream stream = co_await async_open(directory / "file", "w+", {.buffering = 8});
    co_await stream.write("12345");
    const std::optional<FileError> flush = co_await failure_of(stream.flush());
    REQUIRE(flush.has_value());
    CHECK(flush->code().value() == ENOSPC);
    CHECK(flush->path1() == directory / "file");
    CHECK(stream.tell() == 5);
    CHECK(content_of(directory / "file") == "123");
    const std::optional<FileError> write =
        co_await failure_of(stream.write("6789012"));  // does not fit beside the rest
    CHECK((write && write->code().value() == ENOSPC));
    CHECK(stream.tell() == 5);
    CHECK_YIELDS(error_of(stream.fsync()), ENOSPC);
    CHECK_YIELDS(error_of(stream.read(1)), ENOSPC);
    disk_is_full = false;
    co_await stream.flush();
    CHECK_YIELDS(stream.write("6789012"), 7);
    co_await stream.close();
    CHECK(content_of(directory / "file") == "123456789012");
  });
}

TEST_CASE("StreamWrite: a failed write leaves the position, and says how far it came") {
  on_plain_backends([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    ReplacedCalls calls;
    fill_disk(calls);
    FileStream stream = co_await async_open(directory / "file", "w+");
    co_await stream.write("1");
    const std::optional<FileError> failure = co_await failure_of(stream.write("2345"));
    REQUIRE(failure.has_value());
    CHECK(failure->code().value() == ENOSPC);
    CHECK(failure->transferred() == 2);
    CHECK(stream.tell() == 1);
    disk_is_full = false;
    co_await stream.write("2345");
    stream.seek(0);
    CHECK_YIELDS(stream.read(), "12345");
    co_await stream.close();
  });
}

TEST_CASE("StreamWrite: a pipe whose reader is gone gives EPIPE, not the program's death") {
  ::signal(SIGPIPE, SIG_DFL);
  support::on_every_backend([](Context& context) -> Task<> {
    std::vector<LostData> lost;
    context.on_lost_data([&](const LostData& data) { lost.push_back(data); });
    Pipe pipe;
    FileStream stream = co_await async_open(pipe.writer.get(), "w");
    CHECK_YIELDS(stream.write("abc"), 3);
    CHECK(stream.tell() == 3);
    pipe.reader.reset();
    CHECK_YIELDS(error_of(stream.write("abc")), EPIPE);
    CHECK(stream.tell() == 3);
    co_await stream.close();
    {
      FileStream buffered = co_await async_open(pipe.writer.get(), "w", {.buffering = 100});
      co_await buffered.write("abc");
    }
    REQUIRE(lost.size() == 1);
    CHECK(lost[0].bytes == 3);
    CHECK(lost[0].error.value() == (support::nowait_on_pipes() ? EPIPE : EAGAIN));  // nobody waits to see
  });
}

TEST_CASE("StreamWrite: a pipe takes more than it holds while somebody reads") {
  support::on_every_backend([](Context&) -> Task<> {
    Pipe pipe;
    FileStream to = co_await async_open(pipe.writer.get(), "wb", {.buffering = 1000});
    FileStream from = co_await async_open(pipe.reader.get(), "rb");
    const std::string content = pattern(500'000);
    auto write = [](FileStream& stream, std::string_view text, Pipe& ends) -> Task<> {
      for (std::size_t at = 0; at < text.size(); at += 300) co_await stream.write(text.substr(at, 300));
      co_await stream.close();
      ends.writer.reset();
    };
    TaskGroup group;
    group.spawn(write(to, content, pipe));
    const std::string read = co_await from.read();
    CHECK((read == content));
    co_await group.join();
    co_await from.close();
  });
}

TEST_CASE("StreamSeek: from the start, the position and the end; never to a negative place") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "0123456789");
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path, "rb");
    CHECK_YIELDS(stream.seek(3, Whence::set), 3);
    CHECK_YIELDS(stream.read(1), "3");
    CHECK_YIELDS(stream.seek(2, Whence::current), 6);
    CHECK_YIELDS(stream.read(1), "6");
    CHECK_YIELDS(stream.seek(-2, Whence::current), 5);
    CHECK_YIELDS(stream.seek(-1, Whence::end), 9);
    CHECK_YIELDS(stream.read(5), "9");
    CHECK_YIELDS(stream.seek(5, Whence::end), 15);
    CHECK_YIELDS(stream.read(), "");
    CHECK(stream.tell() == 15);
    CHECK_THROWS_AS(stream.seek(-1), std::invalid_argument);
    CHECK_THROWS_AS(stream.seek(-1, Whence::set), std::invalid_argument);
    int refused = 0;
    for (const Whence whence : {Whence::current, Whence::end}) {
      try {
        co_await stream.seek(-16, whence);
      } catch (const std::invalid_argument&) {
        ++refused;
      }
    }
    CHECK(refused == 2);
    CHECK(stream.tell() == 15);
    co_await stream.close();
    CHECK_YIELDS(error_of(stream.seek(0, Whence::set)), EBADF);
    CHECK_THROWS_AS(stream.seek(0), FileError);
  });
}

TEST_CASE("StreamTruncate: at the position, or to a length") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const auto path = directory.file("file", "0123456789");
    FileStream stream = co_await async_open(path, "r+");
    CHECK_YIELDS(stream.read(4), "0123");
    co_await stream.truncate();
    CHECK(content_of(path) == "0123");
    CHECK(stream.tell() == 4);
    CHECK_YIELDS(stream.read(), "");
    co_await stream.truncate(6);
    CHECK_YIELDS(stream.read(), std::string(2, '\0'));
    stream.seek(0);
    co_await stream.truncate();
    CHECK_YIELDS(stream.read(), "");
    CHECK_THROWS_AS(stream.truncate(std::uint64_t{1} << 63), std::invalid_argument);
    co_await stream.close();
    FileStream reading = co_await async_open(path, "r");
    CHECK_YIELDS(error_of(reading.truncate()), EBADF);
    CHECK_YIELDS(error_of(reading.write("x")), EBADF);
    co_await reading.flush();  // nothing to do
    co_await reading.close();
  });
}
