#include <aiofile/iostream_file.hpp>

#include <aiofile/line_reader.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::FileError;
using aiofile::IostreamFile;
using aiofile::LineReader;
using aiofile::Whence;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::failure_of;
using outcome::pattern;
using support::TemporaryDirectory;

namespace {

/// Writes, and leaves nothing of it with the stream.
Task<> write_through(IostreamFile& file, std::string_view text) {
  co_await file.write(text);
  co_await file.flush();
}

}  // namespace

TEST_CASE("IostreamFile: reads what is asked for, up to the end") {
  const std::string content = pattern(3'000'000);
  support::on_every_backend([&](Context&) -> Task<> {
    std::istringstream stream(content);
    IostreamFile file(stream);
    CHECK(file.readable());
    CHECK_FALSE(file.writable());
    CHECK(file.seekable());
    CHECK_YIELDS(file.read(5), content.substr(0, 5));
    CHECK_YIELDS(file.read(0), "");
    CHECK(file.tell() == 5);
    const std::string middle = co_await file.read(1'500'000);
    CHECK((middle == content.substr(5, 1'500'000)));
    std::vector<std::byte> memory(1'200'000);
    CHECK_YIELDS(file.read_into(memory), memory.size());
    CHECK((outcome::text_of(memory) == content.substr(1'500'005, memory.size())));
    const std::string rest = co_await file.read();
    CHECK((rest == content.substr(2'700'005)));
    CHECK_YIELDS(file.read(), "");
    CHECK_YIELDS(file.read_into(memory), 0);
    CHECK(file.tell() == content.size());
    CHECK(stream.good());  // its state is the caller's
  });
}

TEST_CASE("IostreamFile: there is one position") {
  support::on_every_backend([&](Context&) -> Task<> {
    std::stringstream stream;
    stream << "0123456789";
    stream.get();
    IostreamFile file(stream);
    CHECK(file.tell() == 1);
    CHECK_YIELDS(file.write("ab"), 2);
    CHECK_YIELDS(file.read(2), "34");
    CHECK_YIELDS(file.write(std::string("cd")), 2);
    CHECK(stream.str() == "0ab34cd789");
    CHECK(file.tell() == 7);
    CHECK_YIELDS(file.seek(-3, Whence::current), 4);
    CHECK_YIELDS(file.read(1), "4");
    CHECK_YIELDS(file.seek(-1, Whence::end), 9);
    co_await file.write("XY");
    CHECK(stream.str() == "0ab34cd78XY");
    CHECK_YIELDS(file.seek(0, Whence::set), 0);
    CHECK_YIELDS(file.read(), "0ab34cd78XY");

    std::ostringstream only_out("head", std::ios::ate);
    IostreamFile out(only_out);
    CHECK(out.tell() == 4);
    CHECK_FALSE(out.readable());
    co_await out.write("er");
    CHECK_YIELDS(out.seek(0, Whence::set), 0);
    co_await out.write("H");
    CHECK_YIELDS(out.seek(0, Whence::end), 6);
    CHECK(only_out.str() == "Header");
  });
}

TEST_CASE("IostreamFile: files, and their errors") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    {
      std::ofstream stream(directory.file("file", "old\n"), std::ios::app);
      IostreamFile file(stream);
      co_await file.write("new\n");
      CHECK(support::content_of(directory / "file") == "old\n");  // the stream keeps it
      co_await file.flush();
      CHECK(support::content_of(directory / "file") == "old\nnew\n");
      co_await file.write("last\n");
      co_await file.close();
      CHECK(support::content_of(directory / "file") == "old\nnew\nlast\n");
      CHECK(stream.is_open());
    }
    {
      std::ifstream stream(directory / "file");
      IostreamFile file(stream);
      LineReader lines(file, 5);
      CHECK_YIELDS(lines.readline(), "old\n");
      CHECK_YIELDS(lines.readline(), "new\n");
    }
    {
      std::ifstream stream(directory / "none");
      IostreamFile file(stream);
      CHECK_YIELDS(error_of(file.read()), EIO);  // it has failed to open
    }
    {
      std::ifstream stream(directory.path());
      IostreamFile file(stream);
      const std::optional<FileError> failure = co_await failure_of(file.read());
      REQUIRE(failure.has_value());
      CHECK(failure->code().value() == EISDIR);
      CHECK(failure->path1() == "<iostream>");
    }
    {
      std::ofstream stream("/dev/full");
      IostreamFile file(stream);
      co_await file.write("x");
      CHECK_YIELDS(error_of(file.flush()), ENOSPC);
      const std::optional<FileError> failure = co_await failure_of(file.write(pattern(100'000)));
      REQUIRE(failure.has_value());
      CHECK(failure->code().value() == ENOSPC);
      CHECK_YIELDS(error_of(file.close()), ENOSPC);
      CHECK(file.closed());
    }
  });
}

TEST_CASE("IostreamFile: the position in a stream that appends is known after a flush") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    {
      std::ofstream stream(directory.file("file", "12345"), std::ios::app);
      IostreamFile file(stream);
      co_await write_through(file, "67");
      CHECK(file.tell() == 7);
      co_await file.write("8");
      CHECK(file.tell() == 8);
      co_await file.close();
      CHECK(file.tell() == 8);
    }
    {
      std::fstream stream(directory.file("file", "12345"), std::ios::app | std::ios::in | std::ios::out);
      IostreamFile file(stream);
      CHECK_YIELDS(file.read(2), "12");
      co_await file.flush();
      CHECK(file.tell() == 2);
      co_await write_through(file, "67");
      CHECK(file.tell() == 7);
      CHECK_YIELDS(file.seek(-3, Whence::current), 4);
      CHECK_YIELDS(file.read(), "567");
      co_await write_through(file, "8");
      CHECK(file.tell() == 8);
      CHECK(support::content_of(directory / "file") == "12345678");
    }
    {
      std::stringstream stream("abcdef");  // two positions, of which one counts
      IostreamFile file(stream);
      CHECK_YIELDS(file.read(4), "abcd");
      co_await file.flush();
      CHECK(file.tell() == 4);
    }
  });
}
