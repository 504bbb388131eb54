#include <aiofile/stream_close.hpp>

#include <aiofile/async_open.hpp>
#include <caio/gather.hpp>
#include <caio/stop.hpp>
#include <caio/task_group.hpp>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "full_disk.hpp"
#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::async_open;
using aiofile::FileError;
using aiofile::FileStream;
using caio::Context;
using caio::LostData;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using outcome::failure_of;
using outcome::fill_disk;
using outcome::on_plain_backends;
using outcome::pattern;
using outcome::store;
using support::content_of;
using support::Pipe;
using support::ReplacedCalls;
using support::TemporaryDirectory;

TEST_CASE("StreamClose: waits for what was started, and what is started after it is EBADF") {
  const TemporaryDirectory directory;
  const std::string content = pattern(400'000);
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(directory / "file", "w", {.buffering = 10});
    TaskGroup group;
    int error = -1;
    group.spawn([](FileStream& to, std::string_view text) -> Task<> { co_await to.write(text); }(stream, content));
    group.spawn([](FileStream& to) -> Task<> { co_await to.write("last"); }(stream));
    group.spawn([](FileStream& to) -> Task<> { co_await to.close(); }(stream));
    group.spawn(outcome::store_error(stream.write("too late"), error));
    co_await group.join();
    CHECK(error == EBADF);
    CHECK(stream.closed());
    CHECK((content_of(directory / "file") == content + "last"));
  });
}

TEST_CASE("StreamClose: cancels waits for a pipe") {
  support::on_every_backend([](Context&) -> Task<> {
    Pipe pipe;
    FileStream stream = co_await async_open(pipe.reader.get(), "rb");
    TaskGroup group;
    int first = -1;
    int second = -1;
    std::string text;
    group.spawn(store(stream, 10, text, first));
    group.spawn(store(stream, 10, text, second));
    co_await stream.close();
    co_await group.join();
    CHECK(first == ECANCELED);
    CHECK(second == ECANCELED);
    CHECK(outcome::is_open(pipe.reader.get()));
  });
}

TEST_CASE("StreamClose: a second one leaves the first one's delivery to a slow pipe alone") {
  const std::string content = pattern(300'000);
  support::on_every_backend([&](Context& context) -> Task<> {
    Pipe pipe;
    FileStream stream = co_await async_open(pipe.writer.get(), "wb", {.buffering = content.size()});
    co_await stream.write(content);
    TaskGroup group;
    int errors[3] = {-1, -1, -1};
    for (int& error : errors) group.spawn(outcome::store_error(stream.close(), error));
    std::string got;
    TaskGroup reading;
    reading.spawn([](Context& its, int fd, std::string& text) -> Task<> {
      std::vector<std::byte> memory(10'000);
      while (const std::size_t count = co_await its.read(fd, memory, -1)) {
        text += outcome::text_of(std::span(memory).first(count));
      }
    }(context, pipe.reader.get(), got));
    co_await group.join();
    pipe.writer.reset();
    co_await reading.join();
    for (const int error : errors) CHECK(error == 0);
    CHECK((got == content));
    CHECK(stream.closed());
  });
}

TEST_CASE("StreamClose: one that is stopped while it delivers to a pipe lets the next one go on") {
  support::on_every_backend([&](Context&) -> Task<> {
    Pipe pipe;
    FileStream stream = co_await async_open(pipe.writer.get(), "wb", {.buffering = 300'000});
    co_await stream.write(pattern(300'000));
    std::stop_source source;
    TaskGroup group;
    int first = -1;
    int second = -1;
    group.spawn(outcome::store_error(caio::with_stop(source.get_token(), stream.close()), first));
    group.spawn(outcome::store_error(stream.close(), second));
    source.request_stop();
    co_await group.join();
    CHECK(first == ECANCELED);
    CHECK(second == 0);
    CHECK(stream.closed());
  });
}

TEST_CASE("StreamClose: while it delivers to a pipe that takes no more, the file's own close ends both") {
  support::on_every_backend([&](Context&) -> Task<> {
    for (const bool destroyed : {false, true}) {
      const TemporaryDirectory directory;
      const auto path = directory / "fifo";
      REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
      const support::Fd reader(path, O_RDONLY | O_NONBLOCK);
      FileStream stream = co_await async_open(path, "wb", {.buffering = 300'000});
      co_await stream.write(pattern(200'000));
      TaskGroup group;
      int first = -1;
      int second = -1;
      group.spawn(outcome::store_error(stream.close(), first));
      {
        TaskGroup other;
        other.spawn(outcome::store_error(stream.file().close(), second));
        if (!destroyed) co_await other.join();
      }
      co_await group.join();
      CHECK(first == ECANCELED);
      CHECK(second == (destroyed ? -1 : 0));
      CHECK(stream.closed());
      CHECK(outcome::descriptors_of(path) == 1);
    }
  });
}

TEST_CASE("StreamClose: a full disk is reported once, and the file is closed") {
  on_plain_backends([](Context& context) -> Task<> {
    bool lost = false;
    context.on_lost_data([&](const LostData&) { lost = true; });
    const TemporaryDirectory directory;
    ReplacedCalls calls;
    fill_disk(calls);
    FileStream stream = co_await async_open(directory / "file", "w", {.buffering = 8});
    co_await stream.write("12345");
    const std::optional<FileError> close = co_await failure_of(stream.close());
    REQUIRE(close.has_value());
    CHECK(close->code().value() == ENOSPC);
    CHECK(close->transferred() == 3);
    CHECK(stream.closed());
    co_await stream.close();
    FileStream other = co_await async_open(directory / "file", "w", {.buffering = 8});
    co_await other.write("12345");
    CHECK_YIELDS(error_of(other.flush()), ENOSPC);
    co_await other.close();  // was reported
    CHECK(other.closed());
    CHECK_FALSE(lost);
  });
}
