#include <aiofile/cursor_operation.hpp>

#include <aiofile/async_open.hpp>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <optional>
#include <string>
#include <string_view>
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
using caio::TaskGroup;
using outcome::pattern;
using outcome::store;
using support::Pipe;
using support::TemporaryDirectory;

TEST_CASE("Cursor operation: all run in the order they were started") {
  const TemporaryDirectory directory;
  const std::string content = pattern(500'000);
  const auto path = directory.file("file", content);
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path, "rb+");
    const auto [first, second, third] =
        co_await caio::gather(stream.read(300'000), stream.read(5), stream.readline(20));
    CHECK((first == content.substr(0, 300'000)));
    CHECK(second == content.substr(300'000, 5));
    CHECK(third == content.substr(300'005, 20));
    const auto [position, written, after] =
        co_await caio::gather(stream.seek(10, Whence::set), stream.write("HERE"), stream.read(3));
    CHECK(position == 10);
    CHECK(written == 4);
    CHECK(after == content.substr(14, 3));
    std::vector<int> numbers(200);
    const std::vector<std::string> pieces = co_await caio::gather(numbers, [&](int) { return stream.read(7); });
    for (std::size_t i = 0; i < pieces.size(); ++i) CHECK(pieces[i] == content.substr(17 + 7 * i, 7));
    co_await stream.write("x");
    co_await stream.close();
    directory.file("file", content);
  });
}

TEST_CASE("Cursor operation: a stopped operation in the queue does not hold up the others") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    Pipe pipe;
    FileStream stream = co_await async_open(pipe.reader.get(), "rb");
    TaskGroup stopped;
    TaskGroup others;
    std::string text;
    std::string never;
    int error = -1;
    int other_error = -1;
    others.spawn(store(stream, 3, text, other_error));
    stopped.spawn(store(stream, 3, never, error));
    std::string last;
    others.spawn(store(stream, 3, last, other_error));
    stopped.request_stop();
    co_await stopped.join();
    CHECK(error == ECANCELED);
    CHECK(::write(pipe.writer.get(), "abcdef", 6) == 6);
    co_await others.join();
    CHECK(text == "abc");
    CHECK(last == "def");
    CHECK(other_error == 0);
    {
      TaskGroup destroyed;
      destroyed.spawn(store(stream, 3, text, error));
      destroyed.spawn(store(stream, 3, text, error));
    }
    CHECK(::write(pipe.writer.get(), "ghi", 3) == 3);
    CHECK_YIELDS(stream.read(3), "ghi");
    co_await stream.close();
  });
}

TEST_CASE("Cursor operation: a seek() takes effect behind the operations that were started") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", pattern(300'000));
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path, "rb");
    std::string first;
    std::string second;
    auto read = [](FileStream& from, std::int64_t size, std::string& into) -> Task<> {
      into = co_await from.read(size);
    };
    TaskGroup group;
    group.spawn(read(stream, 200'000, first));
    stream.seek(7);
    group.spawn(read(stream, 10, second));
    co_await group.join();
    CHECK((first == pattern(300'000).substr(0, 200'000)));
    CHECK(second == pattern(300'000).substr(7, 10));
    CHECK(stream.tell() == 17);
    co_await stream.close();
  });
}

TEST_CASE("Cursor operation: a seek() behind an operation that is then stopped keeps its place in the order") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", pattern(400'000));
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path, "rb");
    std::string first;
    std::string never;
    auto read = [](FileStream& from, std::int64_t size, std::string& into) -> Task<> {
      into = co_await from.read(size);
    };
    TaskGroup group;
    group.spawn(read(stream, 300'000, first));
    {
      TaskGroup stopped;
      stopped.spawn(read(stream, 10, never));
      stream.seek(5);
    }
    stream.seek(7);
    co_await group.join();
    CHECK((first == pattern(400'000).substr(0, 300'000)));
    CHECK(stream.tell() == 7);
    group.spawn(read(stream, 300'000, first));
    {
      TaskGroup stopped;
      stopped.spawn(read(stream, 10, never));
      stream.seek(9);
    }
    co_await group.join();
    CHECK((first == pattern(400'000).substr(7, 300'000)));
    CHECK(stream.tell() == 9);
    CHECK(never.empty());
    co_await stream.close();
  });
}
