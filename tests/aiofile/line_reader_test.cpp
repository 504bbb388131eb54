#include <aiofile/line_reader.hpp>

#include <aiofile/async_open.hpp>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <memory>
#include <optional>
#include <random>
#include <span>
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
using caio::Context;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using outcome::pattern;
using support::Pipe;
using support::TemporaryDirectory;

namespace {

using Lines = std::vector<std::string>;

Lines split(std::string_view text, std::string_view separator) {
  Lines lines;
  while (!text.empty()) {
    const std::size_t at = text.find(separator);
    lines.emplace_back(text.substr(0, at == std::string_view::npos ? at : at + separator.size()));
    text.remove_prefix(lines.back().size());
  }
  return lines;
}

Task<Lines> by_next(LineReader reader) {
  Lines lines;
  while (const std::optional<std::string_view> line = co_await reader.next()) lines.emplace_back(*line);
  const std::optional<std::string_view> again = co_await reader.next();
  CHECK_FALSE(again.has_value());
  co_return lines;
}
Task<Lines> by_readline(LineReader reader) {
  Lines lines;
  for (;;) {
    std::string line = co_await reader.readline();
    if (line.empty()) co_return lines;
    lines.push_back(std::move(line));
  }
}
Task<Lines> by_batch(LineReader reader) {
  Lines lines;
  for (;;) {
    const std::span<const std::string_view> batch = co_await reader.next_batch();
    if (batch.empty()) co_return lines;
    lines.insert(lines.end(), batch.begin(), batch.end());
  }
}
/// All three in turn.
Task<Lines> by_turns(LineReader reader) {
  Lines lines;
  for (std::size_t turn = 0;; ++turn) {
    const std::size_t before = lines.size();
    if (turn % 5 == 4) {
      const std::span<const std::string_view> batch = co_await reader.next_batch();
      lines.insert(lines.end(), batch.begin(), batch.end());
    } else if (turn % 5 == 2) {
      std::string line = co_await reader.readline();
      if (!line.empty()) lines.push_back(std::move(line));
    } else {
      const std::optional<std::string_view> line = co_await reader.next();
      if (line) lines.emplace_back(*line);
    }
    if (lines.size() == before) co_return lines;
  }
}

/// Lines of lengths around blocks and chunks.
std::string many_lines(unsigned seed, std::string_view separator) {
  std::minstd_rand random(seed + 1);
  std::string text;
  for (int i = 0; i < 400; ++i) {
    const auto kind = static_cast<unsigned>(random() % 10);
    const std::size_t length = kind < 6 ? random() % 20 : kind < 9 ? 55 + random() % 20 : 250 + random() % 20;
    text += pattern(length, static_cast<unsigned>(random()));
    for (char& letter : text) {
      if (letter == '\n' || letter == '|') letter = 'x';
    }
    if (i == 399 && seed % 2 == 0) break;  // the last one may lack it
    text += '\1';
  }
  std::string result;
  for (const char letter : text) result += letter == '\1' ? std::string(separator) : std::string(1, letter);
  return result;
}

}  // namespace

TEST_CASE("LineReader: the same lines at every chunk size, with separators of any length, by every way") {
  const TemporaryDirectory directory;
  unsigned seed = 0;
  support::on_every_backend([&](Context&) -> Task<> {
    for (const char* const separator : {"\n", "\r\n", "|", "<=>", "0123456789"}) {
      ++seed;
      const std::string text = many_lines(seed, separator);
      const Lines wanted = split(text, separator);
      AIOFile file = co_await AIOFile(directory.file("file", text), seed % 3 == 0 ? "rb" : "r");
      for (const std::size_t chunk : {1U, 2U, 7U, 63U, 64U, 65U, 256U, 1000U, 64U * 1024}) {
        INFO(separator << " " << chunk);
        Lines lines = co_await by_next(LineReader(file, 0, chunk, separator));
        CHECK((lines == wanted));
        lines = co_await by_batch(LineReader(file, 0, chunk, separator));
        CHECK((lines == wanted));
        lines = co_await by_turns(LineReader(file, 0, chunk, separator));
        CHECK((lines == wanted));
      }
      Lines lines = co_await by_readline(LineReader(file, 0, 64 * 1024, separator));
      CHECK((lines == wanted));
      // From within.
      lines = co_await by_next(LineReader(file, wanted[0].size() + 1, 64, separator));
      CHECK((lines == split(text.substr(wanted[0].size() + 1), separator)));
      co_await file.close();
    }
  });
}

TEST_CASE("LineReader: empty files, empty lines, no separator at the end") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    for (const char* const text : {"", "\n", "\n\n\n", "a", "a\n", "\na", "a\n\nb", "\r\n\r", "é\n中"}) {
      INFO(text);
      AIOFile file = co_await AIOFile(directory.file("file", text));
      const Lines lines = co_await by_next(LineReader(file));
      CHECK(lines == split(text, "\n"));
      const Lines batches = co_await by_batch(LineReader(file, 0, 1));
      CHECK(batches == split(text, "\n"));
      co_await file.close();
    }
  });
}

TEST_CASE("LineReader: one line far longer than a chunk, in linear time") {
  const TemporaryDirectory directory;
  const std::string line(4'000'000, 'x');
  const auto path = directory.file("file", "short\n" + line + "\nshort");
  support::on_every_backend([&](Context& context) -> Task<> {
    AIOFile file = co_await AIOFile(path);
    LineReader reader(file, 0, 1000);
    const std::uint64_t before = context.stats().submitted;
    std::optional<std::string_view> next = co_await reader.next();
    CHECK(next == "short\n");
    next = co_await reader.next();
    REQUIRE(next.has_value());
    CHECK((next->substr(0, line.size()) == line));
    CHECK(next->size() == line.size() + 1);
    CHECK(context.stats().submitted - before < 80);
    next = co_await reader.next();
    CHECK(next == "short");
    co_await file.close();
  });
}

TEST_CASE("LineReader: invalid text is an error behind the lines before it") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file",
                                   "one\ntwo\nthr\xff"
                                   "ee\nfour\n");
  support::on_every_backend([&](Context&) -> Task<> {
    for (const std::size_t chunk : {1U, 5U, 1000U}) {
      AIOFile file = co_await AIOFile(path);
      LineReader reader(file, 0, chunk);
      CHECK_YIELDS(reader.readline(), "one\n");
      CHECK_YIELDS(reader.readline(), "two\n");
      for (int times = 0; times < 2; ++times) {
        std::optional<std::uint64_t> offset;
        try {
          co_await reader.next();
        } catch (const aiofile::DecodeError& error) {
          offset = error.offset();
        }
        CHECK(offset == 11U);
      }
      co_await file.close();
    }
  });
}

TEST_CASE("LineReader: lines of a pipe, one by one, and beside other readers of the stream") {
  support::on_every_backend([](Context&) -> Task<> {
    Pipe pipe;
    FileStream stream = co_await async_open(pipe.reader.get(), "r");
    LineReader lines = stream.lines();
    CHECK(::write(pipe.writer.get(), "one\ntwo\nthr", 11) == 11);
    CHECK_YIELDS(lines.next(), "one\n");
    CHECK_YIELDS(stream.read(1), "t");
    CHECK_YIELDS(lines.next(), "wo\n");
    TaskGroup group;
    std::string line;
    group.spawn([](LineReader& from, std::string& to) -> Task<> { to = co_await from.readline(); }(lines, line));
    CHECK(line.empty());
    CHECK(::write(pipe.writer.get(), "ee\nfour", 7) == 7);
    co_await group.join();
    CHECK(line == "three\n");
    pipe.writer.reset();
    CHECK_YIELDS(lines.next(), "four");
    const std::optional<std::string_view> end = co_await lines.next();
    CHECK_FALSE(end.has_value());
    co_await stream.close();
  });
}

TEST_CASE("LineReader: a stream's lines begin at its position and move it") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "first\nsecond\nthird\nfourth\n");
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path, "r+");
    CHECK_YIELDS(stream.read(3), "fir");
    LineReader lines = stream.lines();
    CHECK_YIELDS(lines.next(), "st\n");
    CHECK(stream.tell() == 6);
    CHECK_YIELDS(lines.next(), "second\n");
    stream.seek(0);
    CHECK_YIELDS(lines.next(), "first\n");
    CHECK_YIELDS(stream.readline(), "second\n");
    CHECK_YIELDS(lines.next(), "third\n");
    co_await stream.write("F");  // what was read ahead is no longer so
    CHECK_YIELDS(lines.next(), "ourth\n");
    stream.seek(19);
    CHECK_YIELDS(lines.next(), "Fourth\n");
    co_await stream.file().write("X", 1);
    stream.seek(0);
    CHECK_YIELDS(lines.next(), "fXrst\n");
    co_await stream.file().write("Y", 7);
    CHECK_YIELDS(lines.next(), "sYcond\n");  // although it had been read ahead
    co_await stream.file().write("ie", 1);
    co_await stream.file().write("e", 7);
    co_await stream.file().write("r", 2);
    co_await stream.close();
    directory.file("file", "first\nsecond\nthird\nfourth\n");
  });
}

TEST_CASE("LineReader: wrong arguments are refused, and a closed file is EBADF") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "a\nb\n");
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file(path);
    CHECK_THROWS_AS(LineReader(file, 0, 0), std::invalid_argument);
    CHECK_THROWS_AS(LineReader(file, 0, 10, ""), std::invalid_argument);
    CHECK_THROWS_AS(LineReader(file, ~std::uint64_t{0}), std::invalid_argument);
    LineReader reader(file);
    CHECK_YIELDS(error_of(reader.next()), EBADF);
    co_await file.open();
    LineReader moved = std::move(reader);
    CHECK_YIELDS(moved.next(), "a\n");
    co_await file.close();
    CHECK_YIELDS(error_of(moved.next()), EBADF);
  });
}

TEST_CASE("LineReader: next() may be destroyed while it waits") {
  support::on_every_backend([](Context&) -> Task<> {
    Pipe pipe;
    AIOFile file = AIOFile::from_fd(pipe.reader.get(), "r");
    std::optional<LineReader> reader(std::in_place, file);
    {
      TaskGroup group;
      group.spawn([](LineReader& from) -> Task<> { co_await from.next(); }(*reader));
      CHECK(::write(pipe.writer.get(), "half", 4) == 4);
      co_await caio::sleep_for(std::chrono::milliseconds(0));
    }
    CHECK(::write(pipe.writer.get(), " line\n", 6) == 6);
    CHECK_YIELDS(reader->next(), "half line\n");
    {
      TaskGroup group;  // the reader goes first
      group.spawn([](LineReader& from) -> Task<> { co_await from.next(); }(*reader));
      reader.reset();
    }
    co_await file.close();
  });
}

TEST_CASE("LineReader: gives nothing more when its context has ended, not even what was read ahead") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "one\ntwo\nthree\nfour\n");
  auto context = std::make_unique<Context>();
  AIOFile file(path, "rb", {.context = context.get()});
  std::optional<aiofile::LineReader> reader;
  context->run([](AIOFile& opened, std::optional<aiofile::LineReader>& lines) -> Task<> {
    co_await opened.open();
    lines.emplace(opened);
    CHECK_YIELDS(lines->readline(), "one\n");
    CHECK_YIELDS(lines->readline(), "two\n");
  }(file, reader));
  context.reset();
  Context other;
  other.run([](aiofile::LineReader& lines) -> Task<> {
    CHECK_YIELDS(error_of(lines.readline()), EBADF);
    CHECK_YIELDS(error_of(lines.next()), EBADF);
  }(*reader));
}
