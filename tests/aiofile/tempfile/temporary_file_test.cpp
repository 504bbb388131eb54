#include <aiofile/tempfile/temporary_file.hpp>

#include <sys/stat.h>

#include <caio/caio.hpp>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>

#include "../outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::FileStream;
using aiofile::tempfile::TemporaryFile;
using caio::Context;
using caio::Task;
using outcome::error_of;
using support::TemporaryDirectory;

namespace {

struct ::stat status_of(int fd) {
  struct ::stat status {};
  REQUIRE(::fstat(fd, &status) == 0);
  return status;
}

}  // namespace

TEST_CASE("TemporaryFile: is written, flushed, rewound and read, in the directory asked for") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context& context) -> Task<> {
    FileStream file = co_await TemporaryFile("w+b", {.dir = directory.path().native()});
    CHECK(&file.file().context() == &context);
    co_await file.write("one\ntwo\nthree");
    co_await file.flush();
    file.seek(0);
    CHECK_YIELDS(file.readline(), "one\n");
    CHECK_YIELDS(file.read(), "two\nthree");
    CHECK(status_of(file.fileno()).st_nlink == 0);
    CHECK((status_of(file.fileno()).st_mode & 07777) == 0600);
    CHECK(status_of(file.fileno()).st_dev == [&] {
      struct ::stat status {};
      ::stat(directory.path().c_str(), &status);
      return status.st_dev;
    }());
    CHECK(std::filesystem::is_empty(directory.path()));
    CHECK(file.name() == "/dev/fd/" + std::to_string(file.fileno()));
    CHECK(support::content_of(file.name()) == "one\ntwo\nthree");
    const int fd = file.fileno();
    co_await file.close();
    CHECK_FALSE(outcome::is_open(fd));
  });
}

TEST_CASE("TemporaryFile: modes and options are those of files") {
  support::on_every_backend([](Context&) -> Task<> {
    FileStream text = co_await TemporaryFile("w+", {.encoding = "latin-1"});
    co_await text.write("caf\xc3\xa9");
    CHECK(text.tell() == 4);
    text.seek(0);
    CHECK_YIELDS(text.read(), "caf\xc3\xa9");
    FileStream log = co_await TemporaryFile("a+b");
    co_await log.write("one");
    log.seek(0);
    co_await log.write("two");
    log.seek(0);
    CHECK_YIELDS(log.read(), "onetwo");
    FileStream only = co_await TemporaryFile("wb", {.buffering = 100});
    co_await only.write("gathered");
    CHECK(status_of(only.fileno()).st_size == 0);
    CHECK_YIELDS(error_of(only.read()), EBADF);
    CHECK_THROWS_AS(TemporaryFile("rw"), std::invalid_argument);
    CHECK_THROWS_AS(TemporaryFile("w", {.encoding = "nonsense"}), std::invalid_argument);
  });
}

TEST_CASE("TemporaryFile: options are copied by the call, and it does nothing before it is awaited") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::size_t before = support::open_files();
    std::optional<std::string> name(directory.path().native());
    auto opening = TemporaryFile("w+b", {.dir = *name, .context = &context});
    *name = std::string(name->size(), 'x');
    name.reset();
    CHECK(support::open_files() == before);
    FileStream file = co_await std::move(opening);
    CHECK(std::filesystem::read_symlink(file.name()).parent_path() == directory.path());
  });
}

TEST_CASE("TemporaryFile: no usable directory, a stop, and destruction on the way") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context& context) -> Task<> {
    const auto nowhere = directory / "nowhere";
    const auto error = co_await outcome::failure_of(TemporaryFile("w+b", {.dir = nowhere.native()}));
    REQUIRE(error);
    CHECK(error->code().value() == ENOENT);
    CHECK(error->path1() == nowhere);
    CHECK_YIELDS(error_of(TemporaryFile("w+b", {.dir = directory.file("file", "").native()})), ENOTDIR);
    std::stop_source source;
    source.request_stop();
    CHECK_YIELDS(error_of(caio::with_stop(source.get_token(), TemporaryFile())), ECANCELED);
    const std::size_t before = support::open_files();
    for (int turns = 0; turns < 20; ++turns) {
      caio::TaskGroup group;
      group.spawn([]() -> Task<> { co_await TemporaryFile(); }());
      for (int turn = 0; turn < turns; ++turn) co_await context.schedule();
    }
    CHECK(support::open_files() == before);
  });
}
