#include <aiofile/tempfile/options.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <aiofile/tempfile/place.hpp>
#include <caio/caio.hpp>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "../outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::FileStream;
using aiofile::detail::open_unnamed;
using aiofile::detail::TemporaryRequest;
using aiofile::tempfile::TemporaryOptions;
using caio::Context;
using caio::Task;
using caio::detail::UniqueFd;
using support::TemporaryDirectory;

namespace {

FileStream stream_of(const TemporaryRequest& request, UniqueFd fd, std::filesystem::path path = {}) {
  const caio::Descriptor descriptor(fd.get(), request.flags);
  return request.stream(request.engine(), std::move(fd), descriptor, std::move(path));
}

UniqueFd unnamed(const TemporaryRequest& request) { return open_unnamed(request.place, "test", request.flags); }

}  // namespace

TEST_CASE("TemporaryRequest: opens for reading and writing whatever the mode, and appends if that says so") {
  for (const char* const mode : {"r", "w", "x", "rb", "wb", "r+", "w+b", "x+b"}) {
    INFO(mode);
    CHECK(TemporaryRequest(mode, {}).flags == O_RDWR);
  }
  for (const char* const mode : {"a", "ab", "a+", "a+b"}) {
    INFO(mode);
    CHECK(TemporaryRequest(mode, {}).flags == (O_RDWR | O_APPEND));
  }
}

TEST_CASE("TemporaryRequest: a bad mode, encoding or name is refused at once") {
  for (const char* const mode : {"", "rw", "z", "b", "w++", "wbt"}) {
    INFO(mode);
    CHECK_THROWS_AS(TemporaryRequest(mode, {}), std::invalid_argument);
  }
  CHECK_THROWS_AS(TemporaryRequest("w", {.encoding = "nonsense"}), std::invalid_argument);
  CHECK_THROWS_AS(TemporaryRequest("w", {.errors = "nonsense"}), std::invalid_argument);
  CHECK_THROWS_AS(TemporaryRequest("w", {.newline = "nonsense"}), std::invalid_argument);
  CHECK_THROWS_AS(TemporaryRequest("w", {.suffix = "/x"}), std::invalid_argument);
  CHECK_THROWS_AS(TemporaryRequest("w", {.prefix = "../x"}), std::invalid_argument);
  CHECK_THROWS_AS(TemporaryRequest("w", {.prefix = std::string_view("a\0b", 3)}), std::invalid_argument);
  CHECK_THROWS_AS(TemporaryRequest("w", {.dir = std::string_view("a\0b", 3)}), std::invalid_argument);
}

TEST_CASE("TemporaryRequest: the views are copied, a copy and what is moved are as good") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::string mode = "w+";
    std::string suffix = ".end";
    std::string prefix = "begin.";
    std::string dir = directory.path().native();
    std::string encoding = "latin-1";
    const TemporaryOptions options = {.suffix = suffix, .prefix = prefix, .dir = dir, .encoding = encoding};
    TemporaryRequest first(mode, options);
    for (std::string* const each : {&mode, &suffix, &prefix, &dir, &encoding}) each->assign(each->size(), '/');
    const TemporaryRequest copy = first;
    const TemporaryRequest moved = std::move(first);
    for (const TemporaryRequest* const request : {&copy, &moved}) {
      CHECK(request->place.first() == directory.path());
      std::filesystem::path made;
      request->place.make_new_in(request->place.first(), [&made](const std::filesystem::path& path) {
        made = path;
        return 0;
      });
      CHECK(made.parent_path() == directory.path());
      CHECK(made.filename().native().starts_with("begin."));
      CHECK(made.extension() == ".end");
      FileStream stream = stream_of(*request, unnamed(*request));
      CHECK(stream.readable());
      CHECK(stream.writable());
      CHECK_FALSE(stream.mode().binary);
      CHECK_YIELDS(stream.write("caf\xc3\xa9"), 4U);
      co_await stream.close();
    }
  });
}

TEST_CASE("TemporaryRequest: a stream without a path is called /dev/fd/N, another by its path") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const TemporaryRequest request("w+b", {.dir = directory.path().native()});
    UniqueFd fd = unnamed(request);
    const int number = fd.get();
    FileStream stream = stream_of(request, std::move(fd));
    CHECK(stream.name() == "/dev/fd/" + std::to_string(number));
    CHECK(stream.fileno() == number);
    CHECK_FALSE(stream.closed());
    FileStream named = stream_of(request, unnamed(request), directory / "name");
    CHECK(named.name() == directory / "name");
    CHECK(named.fileno() != number);
    co_await named.close();
    co_await stream.close();
  });
}

TEST_CASE("TemporaryRequest: the stream owns its descriptor, and closes it once") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const TemporaryRequest request("w+b", {.dir = directory.path().native()});
    const std::size_t before = support::open_files();
    {
      FileStream closed = stream_of(request, unnamed(request));
      const int fd = closed.fileno();
      CHECK(outcome::is_open(fd));
      co_await closed.close();
      CHECK_FALSE(outcome::is_open(fd));
      CHECK(support::open_files() == before);
      // Nobody closes the number again.
      const UniqueFd other(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, fd));
      CHECK(other.get() == fd);
      { const FileStream gone = std::move(closed); }
      CHECK(outcome::is_open(fd));
    }
    { const FileStream dropped = stream_of(request, unnamed(request)); }
    CHECK(support::open_files() == before);
  });
}

TEST_CASE("TemporaryRequest: the stream has the mode, buffering and text options that were asked for") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string dir = directory.path().native();
    const TemporaryRequest gathering("wb", {.dir = dir, .buffering = 100});
    FileStream gathered = stream_of(gathering, unnamed(gathering));
    CHECK_FALSE(gathered.readable());
    co_await gathered.write("text");
    CHECK(::lseek(gathered.fileno(), 0, SEEK_END) == 0);
    co_await gathered.flush();
    CHECK(::lseek(gathered.fileno(), 0, SEEK_END) == 4);
    co_await gathered.close();

    const TemporaryRequest ending("w+", {.dir = dir, .newline = "\r\n"});
    FileStream lines = stream_of(ending, unnamed(ending));
    co_await lines.write("a\nb\n");
    CHECK(::lseek(lines.fileno(), 0, SEEK_END) == 6);
    co_await lines.close();

    const TemporaryRequest lenient("w+", {.dir = dir, .errors = "replace"});
    FileStream replaced = stream_of(lenient, unnamed(lenient));
    CHECK(::pwrite(replaced.fileno(), "a\xff", 2, 0) == 2);
    CHECK_YIELDS(replaced.read(), "a\xef\xbf\xbd");
    co_await replaced.close();
  });
}

TEST_CASE("TemporaryRequest: the context that was asked for, or the current one") {
  Context other(caio::Implementation::blocking);
  support::on_every_backend([&other](Context& context) -> Task<> {
    CHECK(TemporaryRequest("w", {}).engine() == context.engine());
    CHECK(TemporaryRequest("w", {.context = &other}).engine() == other.engine());
    co_return;
  });
}
