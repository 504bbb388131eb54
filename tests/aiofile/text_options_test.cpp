#include <aiofile/aiofile.hpp>
#include <aiofile/text_options.hpp>

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "aiofile/outcome.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::Errors;
using aiofile::FileStream;
using aiofile::LineReader;
using aiofile::Newline;
using aiofile::OpenOptions;
using aiofile::Reader;
using aiofile::Writer;
using caio::Context;
using caio::Task;
using namespace std::string_literals;

namespace {

using Lines = std::vector<std::string>;

Task<Lines> all_lines(LineReader reader) {
  Lines lines;
  for (;;) {
    const std::optional<std::string_view> line = co_await reader.next();
    if (!line) break;
    lines.emplace_back(*line);
  }
  co_return lines;
}

/// The offset of the DecodeError with which it fails; -1 when it does not.
template <class A>
Task<std::int64_t> wrong_at(A awaitable) {
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (const aiofile::TextError& error) {
    co_return static_cast<std::int64_t>(error.offset());
  }
  co_return -1;
}

void put(const support::Fd& fd, std::string_view bytes) {
  REQUIRE(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<::ssize_t>(bytes.size()));
}

}  // namespace

TEST_CASE("Errors, Newline: are what their names say, at compile time") {
  STATIC_REQUIRE(Errors("strict") == Errors::strict);
  STATIC_REQUIRE(Errors("replace") == Errors::replace);
  STATIC_REQUIRE(Errors(std::string_view("ignore")) == Errors::ignore);
  STATIC_REQUIRE(Errors::strict != Errors::replace);
  STATIC_REQUIRE(Errors::replace != Errors::ignore);
  STATIC_REQUIRE(Newline("none") == Newline::none);
  STATIC_REQUIRE(Newline("\n") == Newline::none);
  STATIC_REQUIRE(Newline("universal") == Newline::universal);
  STATIC_REQUIRE(Newline("\r\n") == Newline::crlf);
  STATIC_REQUIRE(Newline::universal != Newline::none);
  STATIC_REQUIRE_FALSE(Errors("").known());
  STATIC_REQUIRE_FALSE(Errors("Strict").known());
  STATIC_REQUIRE_FALSE(Newline("\r").known());
  STATIC_REQUIRE_FALSE(Newline("").known());
  STATIC_REQUIRE(std::is_trivially_copyable_v<Errors>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<Newline>);
  const std::string word = "replace";
  const OpenOptions options{.errors = word, .newline = "\r\n"};
  CHECK(options.errors == Errors::replace);
  CHECK(options.newline == Newline::crlf);
}

TEST_CASE("Errors, Newline: a word that is unknown is an invalid argument when the file is made, in every mode") {
  for (const char* const mode : {"r", "w", "rb"}) {
    CHECK_THROWS_AS(AIOFile("file", mode, {.errors = "xmlcharrefreplace"}), std::invalid_argument);
    CHECK_THROWS_AS(AIOFile("file", mode, {.newline = "\r"}), std::invalid_argument);
    CHECK_THROWS_AS(aiofile::async_open("file", mode, {.newline = ""}), std::invalid_argument);
    CHECK_THROWS_AS(aiofile::async_open(0, mode, {.errors = ""}), std::invalid_argument);
  }
  CHECK_THROWS_AS(aiofile::read_file("file", "r", {.errors = "no"}), std::invalid_argument);
  CHECK_THROWS_AS(aiofile::write_file("file", "", "w", {.newline = "no"}), std::invalid_argument);
}

TEST_CASE("Errors, Newline: mean nothing in binary mode") {
  const support::TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    for (const Newline newline : {Newline::universal, Newline::crlf}) {
      const OpenOptions options{.errors = Errors::replace, .newline = newline};
      const auto path = directory / "file";
      co_await aiofile::write_file(path, "a\n\xff\r\nb", "wb", options);
      CHECK(support::content_of(path) == "a\n\xff\r\nb");
      FileStream stream = co_await aiofile::async_open(path, "rb", options);
      CHECK_YIELDS(stream.readline(), "a\n");
      CHECK_YIELDS(stream.read(), "\xff\r\nb");
      stream.seek(0);
      CHECK_YIELDS(stream.readlines(), (Lines{"a\n", "\xff\r\n", "b"}));
      co_await stream.close();
    }
  });
}

TEST_CASE("Newline: universal, by everything that reads") {
  const support::TemporaryDirectory directory;
  const auto path = directory.file("file", "one\r\ntwo\rthree\n\r\rend\r");
  const std::string text = "one\ntwo\nthree\n\n\nend\n";
  const Lines lines{"one\n", "two\n", "three\n", "\n", "\n", "end\n"};
  support::on_every_backend([&](Context&) -> Task<> {
    const OpenOptions options{.newline = Newline::universal};
    CHECK_YIELDS(aiofile::read_file(path, "r", options), text);
    AIOFile file(path, "r", options);
    co_await file.open();
    CHECK_YIELDS(file.read(), text);
    CHECK_YIELDS(file.read(5, 3), "\ntwo");
    CHECK_YIELDS(file.read(4), "one\n");  // a range is a text of its own
    CHECK_YIELDS(file.read(4, 4), "\ntwo");
    for (const std::size_t chunk : {1U, 2U, 3U, 4U, 5U, 64U}) {
      CHECK_YIELDS(all_lines(LineReader(file, 0, chunk)), lines);
      std::string whole;
      Reader reader(file, 0, chunk);
      for (;;) {
        const std::string next = co_await reader.read_chunk();
        if (next.empty()) break;
        CHECK(next.size() <= chunk);
        whole += next;
      }
      CHECK(whole == text);
    }
    co_await file.close();

    FileStream stream = co_await aiofile::async_open(path, "r", options);
    CHECK_YIELDS(stream.read(4), "one\n");
    CHECK(stream.tell() == 5);
    CHECK_YIELDS(stream.peek(5), "two\nt");
    CHECK(stream.tell() == 5);
    CHECK_YIELDS(stream.readline(), "two\n");
    CHECK(stream.tell() == 9);
    CHECK_YIELDS(stream.readline(3), "thr");
    CHECK_YIELDS(stream.read(), "ee\n\n\nend\n");
    CHECK(stream.tell() == 21);
    stream.seek(4);
    CHECK_YIELDS(stream.readline(), "\n");
    stream.seek(0);
    CHECK_YIELDS(stream.readlines(), lines);
    stream.seek(5);
    CHECK_YIELDS(all_lines(stream.lines()), Lines(lines.begin() + 1, lines.end()));
    co_await stream.close();
  });
}

TEST_CASE("Newline: \"\\r\\n\" is what lines end with, and nothing is translated when reading") {
  const support::TemporaryDirectory directory;
  const auto path = directory.file("file", "one\r\ntwo\n2\rtwo\r\n\r\nend\r");
  const std::string text = "one\r\ntwo\n2\rtwo\r\n\r\nend\r";
  const Lines lines{"one\r\n", "two\n2\rtwo\r\n", "\r\n", "end\r"};
  support::on_every_backend([&](Context&) -> Task<> {
    for (const char* const encoding : {"utf-8", "latin-1"}) {
      const OpenOptions options{.encoding = encoding, .newline = "\r\n"};
      FileStream stream = co_await aiofile::async_open(path, "r", options);
      for (const std::string& line : lines) CHECK_YIELDS(stream.readline(), line);
      CHECK_YIELDS(stream.readline(), "");
      stream.seek(0);
      CHECK_YIELDS(stream.read(), text);
      stream.seek(0);
      CHECK_YIELDS(stream.readlines(), lines);
      stream.seek(0);
      CHECK_YIELDS(all_lines(stream.lines()), lines);
      stream.seek(0);
      CHECK_YIELDS(stream.readline(-1, "\n"), "one\r\n");
      CHECK_YIELDS(stream.readline(-1, "\n"), "two\n");
      CHECK_YIELDS(stream.readline(2), "2\r");
      for (const std::size_t chunk : {1U, 2U, 4U, 64U}) {
        CHECK_YIELDS(all_lines(LineReader(stream.file(), 0, chunk)), lines);
        CHECK_YIELDS(all_lines(LineReader(stream.file(), 5, chunk, "\n")),
                     (Lines{"two\n", "2\rtwo\r\n", "\r\n", "end\r"}));
      }
      co_await stream.close();
    }
  });
}

TEST_CASE("Newline: writing \"\\r\\n\" counts the bytes in the file, gathered or not") {
  const support::TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const auto path = directory / "file";
    for (const std::size_t buffering : {0U, 5U, 100U}) {
      FileStream stream = co_await aiofile::async_open(path, "w+", {.buffering = buffering, .newline = "\r\n"});
      CHECK_YIELDS(stream.write("a\nb"), 4U);
      CHECK(stream.tell() == 4);
      CHECK_YIELDS(stream.write("\r\n"s), 3U);
      const Lines some{"x\n", "", "y"};
      co_await stream.writelines(some);
      CHECK(stream.tell() == 11);
      CHECK_YIELDS(stream.write(""), 0U);
      stream.seek(0);
      CHECK_YIELDS(stream.read(), "a\r\nb\r\r\nx\r\ny");
      co_await stream.close();
      CHECK(support::content_of(path) == "a\r\nb\r\r\nx\r\ny");
    }
    AIOFile file(path, "r+", {.newline = "\r\n"});
    co_await file.open();
    CHECK_YIELDS(file.write("\n", 4), 2U);
    CHECK_YIELDS(file.write_bytes(outcome::bytes_of("\n"), 0), 1U);
    Writer writer(file, 6, 16);
    co_await writer("\n-");
    co_await writer.flush();
    co_await file.close();
    CHECK(support::content_of(path) == "\n\r\nb\r\n\r\n-\ny");

    const std::string large(300'000, '\n');  // converted on the pool
    co_await aiofile::write_file(path, large, "w", {.newline = "\r\n"});
    CHECK(std::filesystem::file_size(path) == 600'000);
    CHECK_YIELDS(aiofile::read_file(path, "r", {.newline = "universal"}), large);
    co_await aiofile::write_file(path, "\n\r", "w", {.newline = "universal"});
    CHECK(support::content_of(path) == "\n\r");
  });
}

TEST_CASE("Errors: replaced or left out, by everything that reads") {
  const support::TemporaryDirectory directory;
  const auto path = directory.file("file", "a\xff\xe4\xb8|é\n\xf0\x9f\x98z\xe4");
  support::on_every_backend([&](Context&) -> Task<> {
    for (const Errors errors : {Errors::replace, Errors::ignore}) {
      const bool replaced = errors == Errors::replace;
      const OpenOptions options{.errors = errors};
      const std::string text = replaced ? "a��|é\n�z�" : "a|é\nz";
      CHECK_YIELDS(aiofile::read_file(path, "r", options), text);
      FileStream stream = co_await aiofile::async_open(path, "r", options);
      CHECK_YIELDS(stream.read(2), replaced ? "a�" : "a|");
      CHECK(stream.tell() == (replaced ? 2U : 5U));
      CHECK_YIELDS(stream.read(1), replaced ? "�" : "é");
      CHECK(stream.tell() == (replaced ? 4U : 7U));
      CHECK_YIELDS(stream.readline(), replaced ? "|é\n" : "\n");
      CHECK(stream.tell() == 8);
      CHECK_YIELDS(stream.readline(), replaced ? "�z�" : "z");
      CHECK(stream.tell() == 13);
      stream.seek(3);
      CHECK_YIELDS(stream.read(2), replaced ? "�|" : "|é");
      std::byte memory[4];
      stream.seek(1);
      CHECK_YIELDS(stream.read_into(memory), 4U);  // bytes are as they are
      CHECK(outcome::text_of(memory) == "\xff\xe4\xb8|");
      CHECK_YIELDS(stream.read(), replaced ? "é\n�z�" : "é\nz");
      AIOFile& file = stream.file();
      CHECK_YIELDS(file.read(3), replaced ? "a��" : "a");  // a range that cuts a character
      CHECK_YIELDS(file.read(1, 6), replaced ? "�" : "");
      CHECK_YIELDS(file.read_bytes(3, 1), outcome::vector_of("\xff\xe4\xb8"));
      for (const std::size_t chunk : {1U, 2U, 3U, 64U}) {
        CHECK_YIELDS(all_lines(LineReader(file, 0, chunk)), (replaced ? Lines{"a��|é\n", "�z�"} : Lines{"a|é\n", "z"}));
      }
      co_await stream.close();
    }
  });
}

TEST_CASE("Errors: strict says where, also when newlines are translated") {
  const support::TemporaryDirectory directory;
  const auto path = directory.file("file", "a\r\nb\r\xff\n");
  const auto cut = directory.file("cut", "\r\n\r\xe4");
  support::on_every_backend([&](Context&) -> Task<> {
    const OpenOptions options{.newline = "universal"};
    FileStream stream = co_await aiofile::async_open(path, "r", options);
    CHECK_YIELDS(wrong_at(stream.read()), 5);
    CHECK_YIELDS(wrong_at(stream.file().read()), 5);
    CHECK(stream.tell() == 0);
    CHECK_YIELDS(stream.readline(), "a\n");
    CHECK_YIELDS(stream.readline(), "b\n");  // no '\n' can follow
    CHECK(stream.tell() == 5);
    CHECK_YIELDS(wrong_at(stream.readline()), 5);
    co_await stream.close();
    stream = co_await aiofile::async_open(cut, "r", options);
    CHECK_YIELDS(stream.read(2), "\n\n");
    CHECK_YIELDS(wrong_at(stream.read(1)), 3);
    co_await stream.close();
  });
}

TEST_CASE("Errors: what cannot be written is '?' or nothing; strict says where in the text given") {
  const support::TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const auto path = directory / "file";
    for (const std::size_t buffering : {0U, 100U}) {
      FileStream stream = co_await aiofile::async_open(
          path, "w", {.encoding = "latin-1", .buffering = buffering, .errors = "replace", .newline = "\r\n"});
      CHECK_YIELDS(stream.write("é\nж"), 4U);
      CHECK(stream.tell() == 4);
      co_await stream.close();
      CHECK(support::content_of(path) == "\xe9\r\n?");
      stream = co_await aiofile::async_open(path, "w", {.buffering = buffering, .errors = Errors::ignore});
      CHECK_YIELDS(stream.write("a\xff"), 1U);
      CHECK_YIELDS(stream.write("\xff"), 0U);
      CHECK(stream.tell() == 1);
      co_await stream.close();
      CHECK(support::content_of(path) == "a");
      stream = co_await aiofile::async_open(path, "w", {.encoding = "latin-1", .newline = "\r\n"});
      CHECK_YIELDS(wrong_at(stream.write("\n\nж")), 2);
      CHECK_YIELDS(wrong_at(stream.file().write("\nж")), 1);
      co_await stream.close();
    }
  });
}

TEST_CASE("Newline: what is read from a pipe waits for the '\\n' of a '\\r', and not for more") {
  support::on_every_backend([&](Context& context) -> Task<> {
    support::Pipe pipe;
    FileStream stream = co_await aiofile::async_open(pipe.reader.get(), "r", {.newline = Newline::universal});
    put(pipe.writer, "a\r");
    CHECK_YIELDS(stream.read(1), "a");
    caio::TaskGroup group;
    std::string line;
    const auto read_line = [](FileStream& from, std::string& into) -> Task<> { into = co_await from.readline(); };
    group.spawn(read_line(stream, line));
    co_await context.schedule();  // it has begun to wait
    CHECK(line.empty());
    put(pipe.writer, "\nb\r");
    co_await group.join();
    CHECK(line == "\n");
    {
      caio::TaskGroup stopped;
      stopped.spawn(read_line(stream, line));
      co_await context.schedule();  // it has begun to wait
    }
    put(pipe.writer, "c\r\n\r");
    CHECK_YIELDS(stream.readline(), "b\n");  // nothing is lost with who has waited
    CHECK_YIELDS(stream.readline(), "c\n");
    pipe.writer.reset();
    CHECK_YIELDS(stream.readline(), "\n");
    CHECK_YIELDS(stream.readline(), "");
    CHECK(stream.tell() == 9);
    co_await stream.close();
  });
}

TEST_CASE("Errors: the end of a pipe ends a character that is cut") {
  support::on_every_backend([&](Context&) -> Task<> {
    for (const Errors errors : {Errors::strict, Errors::replace, Errors::ignore}) {
      support::Pipe pipe;
      FileStream stream = co_await aiofile::async_open(pipe.reader.get(), "r", {.errors = errors});
      Reader chunks = stream.iter_chunked(100);
      put(pipe.writer, "a\xe4");
      CHECK_YIELDS(chunks.read_chunk(), "a");
      put(pipe.writer, "\xb8\xad\xff\xe4\xb8");
      if (errors == Errors::strict) {
        CHECK_YIELDS(chunks.read_chunk(), "中");
      } else {
        CHECK_YIELDS(chunks.read_chunk(), errors == Errors::replace ? "中�" : "中");
      }
      pipe.writer.reset();
      if (errors == Errors::strict) {
        CHECK_YIELDS(wrong_at(stream.read()), 4);
      } else {
        CHECK_YIELDS(stream.read(), errors == Errors::replace ? "�" : "");
        CHECK(stream.tell() == 7);
      }
      co_await stream.close();
    }
  });
}

TEST_CASE("Newline: a file that grows behind its end goes on with what has come") {
  const support::TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const auto path = directory.file("log", "one\r");
    FileStream stream = co_await aiofile::async_open(path, "r", {.errors = "replace", .newline = "universal"});
    CHECK_YIELDS(stream.readline(), "one\n");  // as in Python, the end decides
    CHECK_YIELDS(stream.readline(), "");
    CHECK(stream.tell() == 4);
    {
      const support::Fd log(path, O_WRONLY | O_APPEND);
      put(log, "two\r\n\xe4");
    }
    CHECK_YIELDS(stream.readline(), "two\n");
    CHECK_YIELDS(stream.readline(), "�");
    {
      const support::Fd log(path, O_WRONLY | O_APPEND);
      put(log, "\xb8");
    }
    CHECK(stream.tell() == 10);
    CHECK_YIELDS(stream.readline(), "�");
    co_await stream.close();
  });
}

TEST_CASE("Newline, Errors: positions are right with writes between the reads, and in clones") {
  const support::TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const auto path = directory.file("file", "a\r\n\xff\r\nc\r\nd");
    FileStream stream = co_await aiofile::async_open(path, "r+", {.errors = "ignore", .newline = "universal"});
    CHECK_YIELDS(stream.readline(), "a\n");
    CHECK_YIELDS(stream.readline(), "\n");
    CHECK(stream.tell() == 6);
    CHECK_YIELDS(stream.write("C"), 1U);
    CHECK(stream.tell() == 7);
    CHECK_YIELDS(stream.readline(), "\n");
    CHECK(stream.tell() == 9);
    FileStream other = stream.clone();
    CHECK_YIELDS(other.read(), "a\n\nC\nd");
    CHECK_YIELDS(stream.read(), "d");
    co_await other.close();
    co_await stream.close();

    const auto nothing = directory.file("nothing", "\xff\xff");
    stream = co_await aiofile::async_open(nothing, "r+", {.errors = "ignore"});
    CHECK_YIELDS(stream.read(), "");
    CHECK(stream.tell() == 2);
    co_await stream.write("x");
    co_await stream.close();
    CHECK(support::content_of(nothing) == "\xff\xffx");
  });
}
