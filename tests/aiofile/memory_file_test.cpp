#include <aiofile/memory_file.hpp>

#include <unistd.h>

#include <aiofile/reader.hpp>
#include <aiofile/writer.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::FileError;
using aiofile::FileStream;
using aiofile::LineReader;
using aiofile::MemoryFile;
using aiofile::Reader;
using aiofile::Whence;
using aiofile::Writer;
using caio::Context;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using outcome::failure_of;
using outcome::pattern;

namespace {

/// Code that knows nothing of memory.
Task<std::size_t> number_lines(FileStream input, FileStream& output) {
  std::size_t count = 0;
  LineReader lines = input.lines();
  while (const std::optional<std::string_view> line = co_await lines.next()) {
    co_await output.write(std::to_string(++count) + ": " + std::string(*line));
  }
  co_await input.close();
  co_await output.close();
  co_return count;
}

Task<std::string> patch(AIOFile& file) {
  co_await file.write("XY", 2);
  co_return co_await file.read(-1, 1);
}

/// Descriptors of files that are only memory.
std::size_t held() { return outcome::descriptors_of("/memfd:aiofile (deleted)"); }

}  // namespace

TEST_CASE("MemoryFile: what is written for a FileStream or an AIOFile runs on it") {
  support::on_every_backend([&](Context&) -> Task<> {
    MemoryFile input("red\ngreen\nblue", "r");
    MemoryFile output;
    CHECK_YIELDS(number_lines(std::move(input), output), 3);
    CHECK(output.closed());
    CHECK(output.contents() == "1: red\n2: green\n3: blue");
    CHECK(input.contents() == "red\ngreen\nblue");

    MemoryFile patched("abcdef");
    CHECK_YIELDS(patch(patched.file()), "bXYef");
    CHECK(patched.contents() == "abXYef");
  });
}

TEST_CASE("MemoryFile: the mode says what is allowed, and empties nothing") {
  support::on_every_backend([&](Context&) -> Task<> {
    MemoryFile both("abc");
    CHECK_YIELDS(both.read(1), "a");
    co_await both.write("BCD");
    CHECK(both.tell() == 4);
    CHECK(both.contents() == "aBCD");

    MemoryFile read_only("abc", "r");
    CHECK_YIELDS(error_of(read_only.write("x")), EBADF);
    CHECK_YIELDS(read_only.read(), "abc");

    MemoryFile write_only("abc", "w");
    CHECK_YIELDS(error_of(write_only.read()), EBADF);
    co_await write_only.write("xy");
    CHECK(write_only.contents() == "xyc");

    MemoryFile log("abc", "a+");
    CHECK(log.tell() == 3);
    log.seek(0);
    co_await log.write("de");
    CHECK(log.tell() == 5);
    CHECK(log.contents() == "abcde");

    const MemoryFile empty;
    CHECK(empty.contents().empty());
    CHECK(empty.name() == "<memory>");
    CHECK(empty.seekable());
    CHECK_FALSE(empty.isatty());
  });
}

TEST_CASE("MemoryFile: text is decoded, and found wrong, as in a file") {
  support::on_every_backend([&](Context&) -> Task<> {
    MemoryFile text("\u00e4\u00f6\u00fc");
    CHECK_YIELDS(text.read(2), "\u00e4\u00f6");
    CHECK(text.tell() == 4);
    MemoryFile bytes("\u00e4\u00f6\u00fc", "rb");
    CHECK_YIELDS(bytes.read(2), "\u00e4");

    MemoryFile latin("\xe4\n", "r+", {.encoding = "latin-1"});
    CHECK_YIELDS(latin.readline(), "\u00e4\n");
    co_await latin.write("\u00f6");
    CHECK(latin.contents() == "\xe4\n\xf6");

    MemoryFile broken("ab\xff", "r");
    std::optional<std::uint64_t> wrong_at;
    std::string message;
    try {
      co_await broken.read();
    } catch (const aiofile::DecodeError& error) {
      wrong_at = error.offset();
      message = error.what();
    }
    CHECK(wrong_at == 2);
    CHECK(message.find("<memory>") != std::string::npos);
  });
}

TEST_CASE("MemoryFile: all that a stream does") {
  support::on_every_backend([&](Context&) -> Task<> {
    const std::string content = pattern(1'500'000);
    MemoryFile file(content, "r+b");
    const std::string all = co_await file.read();
    CHECK((all == content));
    const std::uint64_t end = co_await file.seek(0, Whence::end);
    CHECK(end == content.size());
    co_await file.write(content);
    co_await file.fsync();
    CHECK((file.contents() == content + content));
    co_await file.truncate(3);
    CHECK(file.contents() == content.substr(0, 3));
    file.seek(5);
    co_await file.write("!");
    CHECK((file.contents() == content.substr(0, 3) + std::string(2, '\0') + "!"));

    FileStream other = file.clone();
    CHECK_YIELDS(other.read(3), content.substr(0, 3));
    co_await other.close();
    CHECK_YIELDS(error_of(other.read()), EBADF);
    CHECK(file.tell() == 6);

    MemoryFile gathering("", "w", {.buffering = 100});
    co_await gathering.write("soon");
    CHECK(gathering.contents().empty());
    co_await gathering.flush();
    CHECK(gathering.contents() == "soon");
    co_await gathering.write("er");
    co_await gathering.close();
    CHECK(gathering.contents() == "sooner");
  });
}

TEST_CASE("MemoryFile: readers and writers over it share its position") {
  support::on_every_backend([&](Context&) -> Task<> {
    MemoryFile file("one|two|three");
    LineReader lines(file, 1, "|");
    const std::optional<std::string_view> line = co_await lines.next();
    CHECK(line == "one|");
    CHECK(file.tell() == 4);
    Reader chunks(file, 3);
    const std::optional<std::string_view> chunk = co_await chunks.next();
    CHECK(chunk == "two");
    Writer writer(file);
    co_await writer("/");
    CHECK_YIELDS(file.read(), "three");
    CHECK(file.contents() == "one|two/three");
  });
}

TEST_CASE("MemoryFile: is read in place where that is allowed") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      Context context(implementation);
      context.run([](Context& inside) -> Task<> {
        MemoryFile file(pattern(20'000), "rb");
        std::byte memory[4096];
        const std::uint64_t before = inside.stats().speculated;
        co_await file.file().read_into(memory, 100);
        co_await file.file().read_into(memory, 8000);
        CHECK(inside.stats().speculated == before + 2);
        const std::size_t behind = co_await file.file().read_into(memory, 19'990);
        CHECK(behind == 10);
      }(context));
    }
  }
}

TEST_CASE("MemoryFile: leaves no descriptor, whenever it goes") {
  support::on_every_backend([&](Context&) -> Task<> {
    const std::string content = pattern(3'000'000);
    {
      MemoryFile file(content, "rb");
      CHECK(held() == 1);
      FileStream stream = std::move(file);
      co_await stream.close();
    }
    CHECK(held() == 0);
    std::string text;
    int error = -1;
    {
      TaskGroup readers;
      {
        MemoryFile file(content, "rb");
        readers.spawn(outcome::store(file, -1, text, error));
      }
      co_await readers.join();  // the operation holds what it needs
    }
    CHECK(error == 0);
    CHECK((text == content));
    {
      MemoryFile file(content, "rb");
      TaskGroup destroyed;
      destroyed.spawn(outcome::store(file, -1, text, error));
    }
    CHECK(held() == 0);
  });
}

TEST_CASE("MemoryFile: what goes wrong in the constructor") {
  CHECK_THROWS_AS(MemoryFile("", "q"), std::invalid_argument);
  CHECK_THROWS_AS(MemoryFile("", "r", {.encoding = "klingon"}), std::invalid_argument);
  {
    const support::ReplacedCalls replaced;
    caio::system_calls.memfd_create = [](const char*, unsigned) {
      errno = EMFILE;
      return -1;
    };
    try {
      const MemoryFile file;
      FAIL("made");
    } catch (const FileError& error) {
      CHECK(error.code().value() == EMFILE);
      CHECK(error.path1() == "<memory>");
    }
  }
  {
    const support::ReplacedCalls replaced;
    static int calls;
    calls = 0;
    caio::system_calls.pwrite = [](int fd, const void* bytes, std::size_t size, ::off_t offset) -> ::ssize_t {
      switch (++calls) {
        case 1: errno = EINTR; return -1;
        case 2: return ::pwrite(fd, bytes, size < 2 ? size : 2, offset);
        case 3: return ::pwrite(fd, bytes, size, offset);
        default: errno = ENOSPC; return -1;
      }
    };
    CHECK(MemoryFile("abcd").contents() == "abcd");
    try {
      const MemoryFile file("abcd");
      FAIL("made");
    } catch (const FileError& error) {
      CHECK(error.code().value() == ENOSPC);
    }
  }
  CHECK(held() == 0);
}
