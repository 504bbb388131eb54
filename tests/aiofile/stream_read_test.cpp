#include <aiofile/stream_read.hpp>

#include <aiofile/async_open.hpp>
#include <algorithm>
#include <array>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::async_open;
using aiofile::DecodeError;
using aiofile::FileStream;
using aiofile::Whence;
using caio::Context;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using outcome::pattern;
using support::Pipe;
using support::TemporaryDirectory;

namespace {

const std::string token = "\xF0\x9F\x98\x80";  // one code point, four bytes

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

/// The offset of the DecodeError that is thrown; -1 without one.
template <class A>
Task<std::int64_t> decode_error_of(A awaitable) {
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (const DecodeError& error) {
    co_return static_cast<std::int64_t>(error.offset());
  }
  co_return -1;
}

}  // namespace

TEST_CASE("FileStream: long text that has to be decoded is gathered and handed over by the pool") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    std::string text;
    while (text.size() < 6'000'000) text += "a line that ends as on Windows\r\n";
    FileStream stream = co_await async_open(directory.file("file", text), "r", {.newline = "universal"});
    for (const bool by_lines : {false, true}) {
      stream.seek(0);
      const std::uint64_t before = context.stats().pooled;
      std::size_t characters = 0;
      if (by_lines) {
        const std::vector<std::string> lines = co_await stream.readlines();
        characters = lines.size() * lines.front().size();
      } else {
        const std::string all = co_await stream.read();
        characters = all.size();
        CHECK(std::count(all.begin(), all.end(), '\r') == 0);
      }
      CHECK(characters == text.size() - text.size() / 32);
      const std::uint64_t wanted = by_lines ? 1 : 3;  // the memory for it is there the second time
      if (context.implementation() != caio::Implementation::blocking) CHECK(context.stats().pooled >= before + wanted);
      CHECK(stream.tell() == text.size());
    }
    co_await stream.close();
  });
}

TEST_CASE("end_of_line: finds separators of any length, also begun in what was searched before") {
  using aiofile::detail::end_of_line;
  CHECK(end_of_line("", "\n", 0) == 0);
  CHECK(end_of_line("ab\nc\n", "\n", 0) == 3);
  CHECK(end_of_line("ab\nc\n", "\n", 3) == 5);
  CHECK(end_of_line("ab\nc", "\n", 3) == 0);
  CHECK(end_of_line("a\r\nb", "\r\n", 0) == 3);
  CHECK(end_of_line("a\r\nb", "\r\n", 2) == 3);
  CHECK(end_of_line("a\r\nb", "\r\n", 3) == 0);
  CHECK(end_of_line("xabcabd", "abd", 6) == 7);
  CHECK(end_of_line("abd", "abd", 0) == 3);
  CHECK(end_of_line("ab", "abd", 2) == 0);
}

TEST_CASE("StreamRead: text counts code points, binary counts bytes, and both end at the end") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", repeated(token, 10));
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream text = co_await async_open(path);
    CHECK_YIELDS(text.read(1), token);
    CHECK(text.tell() == 4);
    CHECK_YIELDS(text.read(0), "");
    CHECK_YIELDS(text.read(3), repeated(token, 3));
    CHECK(text.tell() == 16);
    CHECK_YIELDS(text.read(100), repeated(token, 6));
    CHECK_YIELDS(text.read(1), "");
    CHECK_YIELDS(text.read(), "");
    CHECK(text.tell() == 40);
    text.seek(0);
    CHECK_YIELDS(text.read(), repeated(token, 10));
    FileStream bytes = co_await async_open(path, "rb");
    CHECK_YIELDS(bytes.read(1), token.substr(0, 1));
    CHECK(bytes.tell() == 1);
    CHECK_YIELDS(bytes.read(6), repeated(token, 2).substr(1, 6));
    CHECK_YIELDS(bytes.read(), repeated(token, 10).substr(7));
    CHECK(bytes.tell() == 40);
    co_await text.close();
    co_await bytes.close();
  });
}

TEST_CASE("StreamRead: characters of several code points and bytes, one by one") {
  const std::string family = "👨‍👩‍👧 é中😀";
  const TemporaryDirectory directory;
  const auto path = directory.file("file", family);
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path);
    std::string all;
    std::size_t count = 0;
    for (;; ++count) {
      const std::string one = co_await stream.read(1);
      if (one.empty()) break;
      CHECK(aiofile::count_code_points(one) == 1);
      all += one;
      CHECK(stream.tell() == all.size());
    }
    CHECK(all == family);
    CHECK(count == aiofile::count_code_points(family));
    co_await stream.close();
  });
}

TEST_CASE("StreamRead: any mix of sizes gives the same, across what is read ahead") {
  const TemporaryDirectory directory;
  const std::string content = repeated("a中\n", 80'000);  // 400 000 bytes
  const auto path = directory.file("file", content);
  support::on_every_backend([&](Context&) -> Task<> {
    for (const std::int64_t size : {1'000, 4'097, 70'000, 100'000, 1'000'000}) {
      FileStream stream = co_await async_open(path);
      std::string all;
      for (std::string piece; all.empty() || !piece.empty();) {
        piece = co_await stream.read(size);
        CHECK(aiofile::count_code_points(piece) <= static_cast<std::size_t>(size));
        all += piece;
        CHECK(stream.tell() == all.size());
      }
      CHECK((all == content));
      co_await stream.close();
    }
  });
}

TEST_CASE("StreamRead: files whose size the system does not know are read to their end") {
  support::on_every_backend([](Context&) -> Task<> {
    FileStream stream = co_await async_open("/proc/self/status");
    const std::string first = co_await stream.readline();
    CHECK(first.substr(0, 5) == "Name:");
    const std::string rest = co_await stream.read();
    CHECK(rest.size() > 100);
    CHECK(rest.back() == '\n');
    stream.seek(0);
    CHECK_YIELDS(stream.readline(), first);
    co_await stream.close();
  });
}

TEST_CASE("StreamRead: what is appended later is found by reading on") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "one\ntw");
  support::on_every_backend([&](Context&) -> Task<> {
    directory.file("file", "one\ntw");
    FileStream stream = co_await async_open(path);
    CHECK_YIELDS(stream.read(), "one\ntw");
    CHECK_YIELDS(stream.read(), "");
    std::ofstream(path, std::ios::app) << "o\nthree";
    CHECK_YIELDS(stream.readline(), "o\n");
    CHECK_YIELDS(stream.read(2), "th");
    CHECK_YIELDS(stream.read(), "ree");
    co_await stream.close();
  });
}

TEST_CASE("StreamRead: invalid text is an error with its offset, takes nothing, and what stands before can be had") {
  const TemporaryDirectory directory;
  struct Case {
    std::string content;
    std::size_t wrong;  // offset
  };
  const std::string filler = repeated("é", 40'000);  // beyond what is read ahead at once
  const Case cases[] = {{"ab\xff"
                         "cd\n",
                         2},
                        {filler + "\xc3(" + filler, filler.size()},
                        {filler + "\xe4\xb8", filler.size()},       // cut at the end
                        {"\xed\xa0\x80", 0},                        // a surrogate
                        {filler + "x\n\xf4\x90\x80\x80", 80'002}};  // beyond U+10FFFF
  support::on_every_backend([&](Context&) -> Task<> {
    for (const Case& each : cases) {
      const auto path = directory.file("file", each.content);
      const auto wrong = static_cast<std::int64_t>(each.wrong);
      const std::string valid = each.content.substr(0, each.wrong);
      const auto characters = static_cast<std::int64_t>(aiofile::count_code_points(valid));
      FileStream stream = co_await async_open(path);
      CHECK_YIELDS(decode_error_of(stream.read()), wrong);
      CHECK(stream.tell() == 0);
      CHECK_YIELDS(decode_error_of(stream.read(characters + 1)), wrong);
      CHECK(stream.tell() == 0);
      CHECK_YIELDS(decode_error_of(stream.readlines()), wrong);
      CHECK_YIELDS(stream.read(characters), valid);
      CHECK_YIELDS(decode_error_of(stream.read(1)), wrong);
      CHECK_YIELDS(decode_error_of(stream.readline()), wrong);
      CHECK(stream.tell() == each.wrong);
      stream.seek(0);
      CHECK_YIELDS(stream.read(characters), valid);
      // Bytes are bytes.
      std::string all(each.content.size() - each.wrong + 10, ' ');
      const std::size_t count = co_await stream.read_into(std::as_writable_bytes(std::span(all)));
      CHECK((all.substr(0, count) == each.content.substr(each.wrong)));
      co_await stream.close();
    }
  });
}

TEST_CASE("StreamRead: wrong lengths are refused by the call") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "x");
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path);
    CHECK_THROWS_AS(stream.read(-2), std::invalid_argument);
    CHECK_THROWS_AS(stream.readline(-2), std::invalid_argument);
    CHECK_THROWS_AS(stream.readline(-1, ""), std::invalid_argument);
    co_await stream.close();
  });
}

TEST_CASE("StreamRead: not what the mode allows, and not after close()") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    for (const char* const mode : {"w", "a", "wb"}) {
      FileStream stream = co_await async_open(directory / "file", mode);
      CHECK_YIELDS(error_of(stream.read()), EBADF);
      CHECK_YIELDS(error_of(stream.readline()), EBADF);
      CHECK_YIELDS(error_of(stream.peek(1)), EBADF);
      auto lines = stream.lines();
      CHECK_YIELDS(error_of(lines.next()), EBADF);
      CHECK_FALSE(stream.readable());
      co_await stream.close();
    }
    FileStream stream = co_await async_open(directory.file("file", "a\nb\nc\n"));
    CHECK_YIELDS(stream.readline(), "a\n");
    auto lines = stream.lines();
    CHECK_YIELDS(lines.next(), "b\n");
    co_await stream.close();
    CHECK_YIELDS(error_of(lines.next()), EBADF);  // although it has been read ahead
    CHECK_YIELDS(error_of(lines.next_batch()), EBADF);
    CHECK_YIELDS(error_of(stream.read(1)), EBADF);
    CHECK_YIELDS(error_of(stream.readlines()), EBADF);
  });
}

TEST_CASE("StreamReadInto: fills the memory from what was read ahead and from the file") {
  const TemporaryDirectory directory;
  const std::string content = pattern(100'000);
  const auto path = directory.file("file", content);
  support::on_every_backend([&](Context&) -> Task<> {
    for (const char* const mode : {"r", "rb"}) {
      FileStream stream = co_await async_open(path, mode);
      std::array<std::byte, 4> four;
      CHECK_YIELDS(stream.read_into(four), 4);
      CHECK(outcome::text_of(four) == content.substr(0, 4));
      CHECK_YIELDS(stream.read(3), content.substr(4, 3));
      std::vector<std::byte> many(90'000);
      CHECK_YIELDS(stream.read_into(many), many.size());
      CHECK((outcome::text_of(many) == content.substr(7, many.size())));
      CHECK_YIELDS(stream.read_into(many), content.size() - 90'007);
      CHECK_YIELDS(stream.read_into(many), 0);
      CHECK_YIELDS(stream.read_into({}), 0);
      CHECK(stream.tell() == content.size());
      co_await stream.close();
    }
  });
}

TEST_CASE("StreamPeek: shows what the next read gives, without taking it") {
  const TemporaryDirectory directory;
  const std::string content = "é" + pattern(100'000);
  const auto path = directory.file("file", content);
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream bytes = co_await async_open(path, "rb");
    CHECK_YIELDS(bytes.peek(0), "");
    CHECK_YIELDS(bytes.peek(1), "\xc3");
    CHECK_YIELDS(bytes.peek(5), content.substr(0, 5));
    CHECK(bytes.tell() == 0);
    CHECK_YIELDS(bytes.read(1), "\xc3");
    CHECK_YIELDS(bytes.peek(70'000), content.substr(1, 70'000));
    CHECK_YIELDS(bytes.read(), content.substr(1));
    CHECK_YIELDS(bytes.peek(1), "");
    FileStream text = co_await async_open(path);
    CHECK_YIELDS(text.peek(1), "é");  // one character at least
    CHECK_YIELDS(text.peek(2), "é");
    CHECK_YIELDS(text.read(1), "é");
    CHECK_YIELDS(text.peek(3), content.substr(2, 3));
    CHECK(text.tell() == 2);
    co_await bytes.close();
    co_await text.close();
  });
}

TEST_CASE("StreamReadline: a limit loses nothing, CRLF stays, separators have any length") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "Hello\r\nwörld\n\n--end--rest");
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path);
    CHECK_YIELDS(stream.readline(0), "");
    CHECK_YIELDS(stream.readline(3), "Hel");
    CHECK_YIELDS(stream.readline(100), "lo\r\n");
    CHECK_YIELDS(stream.readline(2), "wö");
    CHECK_YIELDS(stream.readline(4), "rld\n");
    CHECK_YIELDS(stream.readline(), "\n");
    CHECK_YIELDS(stream.readline(-1, "--"), "--");
    CHECK_YIELDS(stream.readline(-1, "--"), "end--");
    CHECK_YIELDS(stream.readline(-1, "--"), "rest");
    CHECK_YIELDS(stream.readline(), "");
    CHECK(stream.tell() == 26);
    stream.seek(0);
    CHECK_YIELDS(stream.readline(-1, "\r\n"), "Hello\r\n");
    co_await stream.close();
  });
}

TEST_CASE("StreamReadline: a separator is seen wherever what is read ahead ends") {
  const TemporaryDirectory directory;
  const std::string separator = "<|>";
  support::on_every_backend([&](Context&) -> Task<> {
    for (std::size_t length = 8 * 1024 - 4; length <= 8 * 1024 + 1; ++length) {
      const std::string first = std::string(length, '<') + separator;
      FileStream stream = co_await async_open(directory.file("file", first + "x<|>"), "rb");
      CHECK_YIELDS(stream.readline(-1, separator), first);
      CHECK_YIELDS(stream.readline(-1, separator), "x<|>");
      CHECK_YIELDS(stream.readline(-1, separator), "");
      co_await stream.close();
    }
  });
}

TEST_CASE("StreamReadline: one long line costs linear time") {
  const TemporaryDirectory directory;
  const std::string line(3'000'000, 'x');
  const auto path = directory.file("file", line + "\nshort\n");
  support::on_every_backend([&](Context& context) -> Task<> {
    FileStream stream = co_await async_open(path);
    const std::uint64_t before = context.stats().submitted;
    CHECK_YIELDS(stream.readline(), line + "\n");
    CHECK(context.stats().submitted - before < 60);  // reads, and growth on the pool
    CHECK_YIELDS(stream.readline(), "short\n");
    co_await stream.close();
  });
}

TEST_CASE("StreamReadlines: all lines from the position on") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "first\nsecond\r\n\nlast");
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path);
    CHECK_YIELDS(stream.read(2), "fi");
    const std::vector<std::string> lines = co_await stream.readlines();
    const std::vector<std::string> wanted = {"rst\n", "second\r\n", "\n", "last"};
    CHECK(lines == wanted);
    const std::vector<std::string> none = co_await stream.readlines();
    CHECK(none.empty());
    CHECK(stream.tell() == 19);
    co_await stream.close();
  });
}

TEST_CASE("StreamRead: a pipe gives lines and characters as they come, and its end") {
  support::on_every_backend([](Context&) -> Task<> {
    Pipe pipe;
    FileStream stream = co_await async_open(pipe.reader.get(), "r");
    CHECK_FALSE(stream.seekable());
    const std::string text = "line é\nmore ";
    CHECK(::write(pipe.writer.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    CHECK_YIELDS(stream.peek(4), "line");
    CHECK_YIELDS(stream.readline(), "line é\n");  // although the pipe is open
    CHECK_YIELDS(stream.read(4), "more");
    CHECK(::write(pipe.writer.get(), "\xc3", 1) == 1);
    TaskGroup group;
    std::string last;
    group.spawn([](FileStream& from, std::string& to) -> Task<> { to = co_await from.read(2); }(stream, last));
    CHECK(last.empty());  // it waits for the rest of the character
    CHECK(::write(pipe.writer.get(), "\xa9!", 2) == 2);
    co_await group.join();
    CHECK(last == " é");
    pipe.writer.reset();
    CHECK_YIELDS(stream.read(), "!");
    CHECK_YIELDS(stream.read(), "");
    CHECK(stream.tell() == 16);
    CHECK_THROWS_AS(stream.seek(0), aiofile::FileError);
    CHECK_YIELDS(error_of(stream.seek(0, Whence::current)), ESPIPE);
    co_await stream.close();
  });
}

TEST_CASE("StreamRead: what an abandoned or cancelled read has taken from a pipe is not lost") {
  support::on_every_backend([](Context&) -> Task<> {
    Pipe pipe;
    FileStream stream = co_await async_open(pipe.reader.get(), "rb");
    auto read = [](FileStream& from, int& error) -> Task<> { error = co_await error_of(from.read(100)); };
    int error = -1;
    {
      TaskGroup group;
      group.spawn(read(stream, error));
      CHECK(::write(pipe.writer.get(), "abc", 3) == 3);
      co_await caio::sleep_for(std::chrono::milliseconds(0));
    }
    CHECK(error == -1);  // destroyed
    TaskGroup group;
    group.spawn(read(stream, error));
    CHECK(::write(pipe.writer.get(), "def", 3) == 3);
    group.request_stop();
    co_await group.join();
    CHECK(error == ECANCELED);
    pipe.writer.reset();
    CHECK_YIELDS(stream.read(), "abcdef");
    co_await stream.close();
  });
}

TEST_CASE("StreamRead: other encodings, in pieces of any size") {
  const TemporaryDirectory directory;
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += i % 7 == 0 ? "\n" : i % 3 == 0 ? "😀" : i % 2 == 0 ? "é" : "a";
  support::on_every_backend([&](Context&) -> Task<> {
    for (const char* const encoding : {"utf-16", "utf-16be", "utf-32", "utf-8-sig", "gb18030"}) {
      INFO(encoding);
      {
        FileStream stream = co_await async_open(directory / "file", "w", {.encoding = encoding});
        co_await stream.write(std::string_view(text));
        co_await stream.close();
      }
      FileStream stream = co_await async_open(directory / "file", "r", {.encoding = encoding});
      CHECK_YIELDS(stream.read(), text);
      stream.seek(0);
      std::string all;
      std::vector<std::uint64_t> positions;
      for (std::int64_t size = 1;; size = size % 1'000 + 13) {
        positions.push_back(stream.tell());
        const std::string piece = co_await stream.read(size);
        if (piece.empty()) break;
        all += piece;
      }
      CHECK((all == text));
      CHECK(positions.back() == std::filesystem::file_size(directory / "file"));
      // Every position leads back to the same text.
      const std::uint64_t middle = positions[positions.size() / 2];
      stream.seek(static_cast<std::int64_t>(middle));
      const std::string rest = co_await stream.read();
      CHECK((rest == text.substr(text.size() - rest.size())));
      CHECK(rest.size() > 100);
      co_await stream.close();
    }
  });
}

TEST_CASE("StreamRead: errors of other encodings tell the byte in the file") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    using namespace std::string_view_literals;
    FileStream half = co_await async_open(directory.file("file",
                                                         "\xff\xfe"
                                                         "a\0b\0\x3d"sv),
                                          "r", {.encoding = "utf-16"});
    CHECK_YIELDS(half.read(2), "ab");
    CHECK_YIELDS(decode_error_of(half.read(1)), 6);
    CHECK(half.tell() == 6);
    FileStream lone = co_await async_open(directory.file("lone",
                                                         "a\0\x00\xd8"
                                                         "b\0"sv),
                                          "r", {.encoding = "utf-16le"});
    CHECK_YIELDS(decode_error_of(lone.read()), 2);
    FileStream ascii = co_await async_open(directory.file("ascii", "abc\x80"), "r", {.encoding = "ascii"});
    CHECK_YIELDS(decode_error_of(ascii.readline()), 3);
    CHECK_YIELDS(ascii.read(3), "abc");
    co_await half.close();
    co_await lone.close();
    co_await ascii.close();
  });
}
