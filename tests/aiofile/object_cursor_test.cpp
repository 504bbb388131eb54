#include <aiofile/object_cursor.hpp>

#include <aiofile/async_open.hpp>
#include <aiofile/line_reader.hpp>
#include <aiofile/reader.hpp>
#include <aiofile/writer.hpp>
#include <algorithm>
#include <caio/caio.hpp>
#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstring>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::async_open;
using aiofile::FileError;
using aiofile::FileStream;
using aiofile::LineReader;
using aiofile::Reader;
using aiofile::Writer;
using caio::Context;
using caio::Task;
using caio::TaskGroup;
using outcome::thrown_by;
using namespace std::chrono_literals;

namespace {

/// Gives what it is told to, piece by piece; then the end.
class Script {
 public:
  using Step = std::function<Task<std::string>()>;

  Script& gives(std::string piece) {
    return does([piece]() -> Task<std::string> { co_return piece; });
  }
  Script& gives_later(std::string piece) {
    return does([piece]() -> Task<std::string> {
      co_await Context::current().schedule();
      co_return piece;
    });
  }
  template <class Error>
  Script& throws(Error error) {
    return does([error]() -> Task<std::string> {
      throw error;
      co_return "";
    });
  }
  Script& waits() {
    return does([]() -> Task<std::string> {
      co_await Context::current().sleep_for(1h);
      co_return "woken";
    });
  }
  Script& does(Step step) {
    steps_.push_back(std::move(step));
    return *this;
  }

  Task<std::size_t> read_into(std::span<std::byte> memory) {
    const Inside until_end(*this);
    largest = std::max(largest, memory.size());
    if (rest_.empty() && !steps_.empty()) {
      const Step step = std::move(steps_.front());
      steps_.pop_front();
      rest_ = co_await step();
    }
    const std::size_t count = std::min(rest_.size(), memory.size());
    if (count > 0) std::memcpy(memory.data(), rest_.data(), count);
    rest_.erase(0, count);
    co_return count;
  }

  int inside = 0;
  int most_inside = 0;
  std::size_t largest = 0;

 private:
  struct Inside {
    explicit Inside(Script& script) : owner(script) { owner.most_inside = std::max(owner.most_inside, ++owner.inside); }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
    ~Inside() { --owner.inside; }
    Script& owner;
  };

  std::deque<Step> steps_;
  std::string rest_;
};

/// Keeps what it is given, and fails when it is told to.
struct Sink {
  Task<> write(std::string_view text) {
    if (slow) co_await Context::current().schedule();
    if (taken_before_failure) {
      const std::size_t taken = *std::exchange(taken_before_failure, std::nullopt);
      content += text.substr(0, taken);
      throw FileError("write", "sink", ENOSPC, taken);
    }
    if (waits) co_await Context::current().sleep_for(1h);
    content += text;
    ++writes;
  }
  Task<> flush() {
    ++flushes;
    if (fails_to_flush) throw std::runtime_error("no flush");
    co_return;
  }

  std::string content;
  int writes = 0;
  int flushes = 0;
  bool slow = false;
  bool waits = false;
  bool fails_to_flush = false;
  std::optional<std::size_t> taken_before_failure;
};

template <class A>
Task<std::error_code> code_of(A awaitable) {
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (const std::system_error& error) {
    co_return error.code();
  }
  co_return std::error_code();
}

template <class A>
Task<> run_to(A awaitable, std::string& result) {
  result = co_await std::move(awaitable);
}

Task<std::string> text_of(LineReader& reader) {
  std::string text;
  while (const std::optional<std::string_view> line = co_await reader.next()) text += "[" + std::string(*line) + "]";
  co_return text;
}

}  // namespace

TEST_CASE("Object cursor: chunks are what has come, lines are put together of it") {
  support::on_every_backend([&](Context&) -> Task<> {
    Script script;
    script.gives("ab").gives_later("c").gives("defgh");
    Reader reader(script, 3);
    CHECK_YIELDS(reader.read_chunk(), "ab");
    CHECK_YIELDS(reader.read_chunk(), "c");
    const std::optional<std::string_view> chunk = co_await reader.next();
    CHECK(chunk == "def");
    CHECK_YIELDS(reader.read_chunk(), "gh");
    CHECK_YIELDS(reader.read_chunk(), "");
    const std::optional<std::string_view> end = co_await reader.next();
    CHECK_FALSE(end.has_value());
    script.gives("on");
    CHECK_YIELDS(reader.read_chunk(), "on");
    CHECK(script.largest == 3);

    Script lines;
    lines.gives("one\ntw").gives_later("o\n").gives("\xff\xfe\nl").gives_later("ast");
    LineReader line_reader(lines);
    CHECK_YIELDS(text_of(line_reader), "[one\n][two\n][\xff\xfe\n][last]");
    CHECK(lines.largest >= 64 * 1024);

    Script batches;
    batches.gives("a\nb\nc").gives("\nd");
    LineReader batch_reader(batches, 10);
    const std::span<const std::string_view> batch = co_await batch_reader.next_batch();
    CHECK(std::vector<std::string>(batch.begin(), batch.end()) == std::vector<std::string>{"a\n", "b\n"});
    CHECK_YIELDS(batch_reader.readline(), "c\n");
    CHECK_YIELDS(batch_reader.readline(), "d");
  });
}

TEST_CASE("Object cursor: lines far longer than a chunk") {
  const std::string text = outcome::pattern(3'000'000) + "\n" + outcome::pattern(70'000) + "\nend";
  support::on_every_backend([&](Context&) -> Task<> {
    Script script;
    for (std::size_t at = 0; at < text.size(); at += 100'000) {
      at % 200'000 == 0 ? script.gives(text.substr(at, 100'000)) : script.gives_later(text.substr(at, 100'000));
    }
    LineReader reader(script, 1000);
    std::string all;
    int count = 0;
    while (const std::optional<std::string_view> line = co_await reader.next()) {
      all += *line;
      ++count;
    }
    CHECK(count == 3);
    CHECK((all == text));
  });
}

TEST_CASE("Object cursor: what the object throws is thrown, and nothing is lost by it") {
  support::on_every_backend([&](Context&) -> Task<> {
    Script script;
    script.gives("hal")
        .throws(std::runtime_error("torn"))
        .gives("f\n")
        .throws(FileError("read", "far", EPIPE))
        .gives("x");
    LineReader reader(script);
    CHECK_YIELDS(thrown_by(reader.readline()), "torn");
    CHECK_YIELDS(reader.readline(), "half\n");
    CHECK_YIELDS(outcome::error_of(reader.next()), EPIPE);
    CHECK_YIELDS(reader.readline(), "x");

    struct Liar {
      Task<std::size_t> read_into(std::span<std::byte> memory) { co_return memory.size() + 1; }
    } liar;
    Reader deceived(liar, 8);
    CHECK_YIELDS(thrown_by(deceived.next()), "aiofile: a read_into() of more than was asked for");
  });
  CHECK_THROWS_AS(
      [] {
        Script script;
        Reader reader(script, 0);
      }(),
      std::invalid_argument);
  CHECK_THROWS_AS(
      [] {
        Script script;
        LineReader reader(script, 0);
      }(),
      std::invalid_argument);
  CHECK_THROWS_AS(
      [] {
        Script script;
        LineReader reader(script, 1, "");
      }(),
      std::invalid_argument);
}

TEST_CASE("Object cursor: calls come one after the other") {
  support::on_every_backend([&](Context&) -> Task<> {
    Script script;
    script.gives_later("a").gives_later("b").gives("c").gives_later("d");
    Reader reader(script, 10);
    const auto [first, second, third, fourth] =
        co_await caio::gather(reader.read_chunk(), reader.read_chunk(), reader.read_chunk(), reader.read_chunk());
    CHECK(first + second + third + fourth == "abcd");
    CHECK(script.most_inside == 1);

    Sink sink;
    sink.slow = true;
    Writer writer(sink);
    co_await caio::gather(writer("1"), writer("2"), writer("3"), writer.flush());
    CHECK(sink.content == "123");
    CHECK(sink.flushes == 1);
  });
}

TEST_CASE("Object cursor: a stop reaches the object's own operations") {
  support::on_every_backend([&](Context&) -> Task<> {
    Script script;
    script.gives("par").waits().gives("tial\n");
    LineReader reader(script);
    CHECK_YIELDS(code_of(caio::with_timeout(1ms, reader.next())), std::errc::timed_out);
    CHECK(script.inside == 0);
    CHECK_YIELDS(reader.readline(), "partial\n");

    std::stop_source stop;
    stop.request_stop();
    script.gives("later");
    CHECK_YIELDS(code_of(caio::with_stop(stop.get_token(), reader.next())), std::errc::operation_canceled);
    CHECK_YIELDS(reader.readline(), "later");

    // Who waits for the turn is stopped alone.
    script.waits();
    Reader chunks(script, 10);
    TaskGroup first;
    std::string never;
    first.spawn(run_to(thrown_by(chunks.read_chunk()), never));
    CHECK_YIELDS(code_of(caio::with_timeout(1ms, chunks.read_chunk())), std::errc::timed_out);
    CHECK(script.inside == 1);
    first.request_stop();
    co_await first.join();
    CHECK(script.inside == 0);
    CHECK(never != "");
  });
}

TEST_CASE("Object cursor: destroyed at work, it leaves the object") {
  support::on_every_backend([&](Context&) -> Task<> {
    Script script;
    script.waits().waits().gives("rest");
    Reader reader(script, 10);
    {
      std::string text;
      TaskGroup destroyed;
      destroyed.spawn(run_to(reader.read_chunk(), text));
      destroyed.spawn(run_to(reader.read_chunk(), text));
      CHECK(script.inside == 1);
    }
    CHECK(script.inside == 0);
    {
      std::string text;
      TaskGroup destroyed;
      Reader going(script, 10);
      destroyed.spawn(run_to(going.read_chunk(), text));
      CHECK(script.inside == 1);
    }
    CHECK(script.inside == 0);
    CHECK_YIELDS(reader.read_chunk(), "rest");
  });
}

TEST_CASE("Object cursor: an object may come back on a thread of its own") {
  support::on_every_backend([&](Context&) -> Task<> {
    struct Hop {
      std::thread& thread;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> waiter) const {
        std::thread& place = thread;  // this may be gone when the thread has begun
        place = std::thread(waiter);
      }
      void await_resume() const noexcept {}
    };
    const std::thread::id here = std::this_thread::get_id();
    std::thread thread;
    std::thread::id there;
    Script script;
    script.does([&]() -> Task<std::string> {
      co_await Hop{thread};
      there = std::this_thread::get_id();
      co_return "from afar\n";
    });
    LineReader reader(script);
    CHECK_YIELDS(reader.readline(), "from afar\n");
    CHECK(std::this_thread::get_id() == here);
    thread.join();
    CHECK(there != here);
  });
}

TEST_CASE("Object cursor: a stop does not keep it from coming back from another thread") {
  support::on_every_backend([&](Context&) -> Task<> {
    struct Away {
      std::coroutine_handle<>& place;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> waiter) const noexcept { place = waiter; }
      void await_resume() const noexcept {}
    };
    std::coroutine_handle<> away;
    Script script;
    script.does([&]() -> Task<std::string> {
      co_await Away{away};
      co_return "from afar\n";
    });
    LineReader reader(script);
    std::stop_source stop;
    std::string line;
    TaskGroup group;
    group.spawn(run_to(caio::with_stop(stop.get_token(), reader.readline()), line));
    REQUIRE(away);
    stop.request_stop();
    std::thread(away).join();
    co_await group.join();
    CHECK(line == "from afar\n");
    CHECK_YIELDS(reader.readline(), "");
  });
}

TEST_CASE("Object cursor: a Writer gathers for any object") {
  support::on_every_backend([&](Context& context) -> Task<> {
    Sink sink;
    std::vector<caio::LostData> lost;
    context.on_lost_data([&](const caio::LostData& data) { lost.push_back(data); });
    {
      Writer writer(sink, 8);
      co_await writer("abc");
      co_await writer.write(std::string("def"));
      CHECK(sink.writes == 0);
      co_await writer("ghi");
      CHECK(sink.content == "abcdef");
      CHECK(sink.flushes == 0);
      co_await writer("a long one");
      CHECK(sink.content == "abcdefghia long one");
      co_await writer("end");
      co_await writer.flush();
      CHECK(sink.content == "abcdefghia long oneend");
      CHECK(sink.writes == 4);
      CHECK(sink.flushes == 1);

      // What was taken before a failure is not given again.
      co_await writer("12345");
      sink.taken_before_failure = 2;
      CHECK_YIELDS(outcome::error_of(writer.flush()), ENOSPC);
      co_await writer.flush();
      CHECK(sink.content == "abcdefghia long oneend12345");
      sink.taken_before_failure = 0;
      CHECK_YIELDS(outcome::error_of(writer("directly and at once")), ENOSPC);
      sink.fails_to_flush = true;
      CHECK_YIELDS(thrown_by(writer.flush()), "no flush");

      sink.waits = true;
      co_await writer("kept");
      CHECK_YIELDS(code_of(caio::with_timeout(1ms, writer.flush())), std::errc::timed_out);
      CHECK(lost.empty());
    }
    // Its destructor cannot wait for the object.
    REQUIRE(lost.size() == 1);
    CHECK(lost[0].bytes == 4);
    CHECK(lost[0].path == "<object>");
    CHECK(sink.content == "abcdefghia long oneend12345");
  });
}

TEST_CASE("Object cursor: a FileStream keeps its position, its text and its gathering") {
  const support::TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const auto path = directory.file("file", "");
    {
      FileStream stream = co_await async_open(path, "w", {.encoding = "utf-16-le", .buffering = 100});
      Writer writer(stream);
      co_await writer("gr\u00fc\u00df\n");
      CHECK(stream.tell() == 10);
      CHECK(support::content_of(path).empty());
      co_await writer.flush();
      CHECK(support::content_of(path) == std::string("g\0r\0\xfc\0\xdf\0\n\0", 10));
      co_await stream.close();
    }
    FileStream stream = co_await async_open(path, "r", {.encoding = "utf-16-le"});
    LineReader lines(stream);
    CHECK_YIELDS(lines.readline(), "gr\u00fc\u00df\n");
    CHECK(stream.tell() == 10);
    stream.seek(4);
    Reader chunks(stream, 4);
    CHECK_YIELDS(chunks.read_chunk(), "\u00fc\u00df");
    CHECK_YIELDS(lines.readline(), "\n");
    co_await stream.close();
    CHECK_YIELDS(outcome::error_of(lines.readline()), EBADF);
  });
}

namespace {

/// A user's streams that do something of their own.
class Shouting : public FileStream {
 public:
  using FileStream::FileStream;
  Task<std::size_t> read_into(std::span<std::byte> memory) {
    const std::size_t count = co_await FileStream::read_into(memory);
    for (std::byte& each : memory.first(count)) {
      if (each != std::byte{'\n'}) each &= std::byte{0xdf};
    }
    co_return count;
  }
};
struct Counting : FileStream {
  using FileStream::FileStream;
  auto write(std::string_view text) {
    ++writes;
    return FileStream::write(text);
  }
  int writes = 0;
};
struct CountingFlushes : FileStream {
  using FileStream::FileStream;
  auto flush() {
    ++flushes;
    return FileStream::flush();
  }
  int flushes = 0;
};
struct Named : FileStream {
  using FileStream::FileStream;
  std::string title = "its own";
};

}  // namespace

TEST_CASE("Object cursor: what a class derived from FileStream does of its own is done") {
  const support::TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const auto path = directory.file("file", "one\ntwo\n");
    aiofile::AIOFile file(path, "rb+");
    co_await file.open();
    Shouting shouting(file.clone());
    LineReader loud(shouting);
    const std::optional<std::string_view> line = co_await loud.next();
    CHECK(line == "ONE\n");
    Named named(file.clone());
    LineReader lines(named);
    CHECK_YIELDS(lines.readline(), "one\n");
    CHECK(named.tell() == 4);  // the same cursor

    Counting counting(file.clone());
    Writer writer(counting);
    co_await writer("1");
    co_await writer("2");
    CHECK(counting.writes == 2);
    CHECK(counting.tell() == 2);
    LineReader rest(counting);
    CHECK_YIELDS(rest.readline(), "e\n");
    CHECK(counting.tell() == 4);
    CountingFlushes flushing(file.clone());
    Writer other(flushing);
    co_await other.flush();
    CHECK(flushing.flushes == 1);
    co_await file.close();
  });
}

TEST_CASE("Object cursor: after the end of its context it is closed") {
  Script script;
  script.gives("x");
  std::optional<Context> context(std::in_place, caio::Implementation::blocking);
  std::optional<Reader> reader;
  context->run([](Script& source, std::optional<Reader>& made) -> Task<> {
    made.emplace(source, 10);
    co_return;
  }(script, reader));
  context.reset();
  Context other(caio::Implementation::blocking);
  other.run([](Reader& dead) -> Task<> { CHECK_YIELDS(outcome::error_of(dead.read_chunk()), EBADF); }(*reader));
}
