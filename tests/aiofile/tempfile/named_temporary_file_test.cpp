#include <aiofile/tempfile/named_temporary_file.hpp>

#include <sys/stat.h>

#include <caio/caio.hpp>
#include <caio/testing.hpp>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>

#include "../outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::FileStream;
using aiofile::tempfile::NamedTemporaryFile;
using aiofile::tempfile::NamedTemporaryStream;
using caio::Context;
using caio::Task;
using outcome::error_of;
using support::content_of;
using support::TemporaryDirectory;

TEST_CASE("NamedTemporaryFile: has a name as asked for until it is closed") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    NamedTemporaryStream file =
        co_await NamedTemporaryFile("w+", {.suffix = ".txt", .prefix = "note-", .dir = directory.path().native()});
    const std::filesystem::path name = file.name();
    CHECK(name.is_absolute());
    CHECK(name.parent_path() == directory.path());
    CHECK(name.filename().native().starts_with("note-"));
    CHECK(name.extension() == ".txt");
    struct ::stat status {};
    REQUIRE(::stat(name.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0600);
    co_await file.write("text");
    CHECK(content_of(name) == "text");
    const int fd = file.fileno();
    co_await file.close();
    CHECK(file.closed());
    CHECK_FALSE(std::filesystem::exists(name));
    CHECK_FALSE(outcome::is_open(fd));
    co_await file.close();
    CHECK_YIELDS(error_of(file.write("more")), EBADF);
    CHECK(std::filesystem::is_empty(directory.path()));
  });
}

TEST_CASE("NamedTemporaryFile: goes with the stream, wherever that was moved") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    std::filesystem::path first;
    std::filesystem::path second;
    {
      NamedTemporaryStream file = co_await NamedTemporaryFile("w+b", {.dir = directory.path().native()});
      first = file.name();
      NamedTemporaryStream other = co_await NamedTemporaryFile("w+b", {.dir = directory.path().native()});
      second = other.name();
      file = std::move(other);
      CHECK_FALSE(std::filesystem::exists(first));
      CHECK(std::filesystem::exists(second));
      co_await file.write("x");
    }
    CHECK_FALSE(std::filesystem::exists(second));
    CHECK(outcome::descriptors_of(second) == 0);
  });
}

TEST_CASE("NamedTemporaryFile: without delete_on_close it stays until the stream's end") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    {
      NamedTemporaryStream file =
          co_await NamedTemporaryFile("w", {.dir = directory.path().native(), .delete_on_close = false});
      co_await file.write("kept");
      co_await file.close();
      CHECK(content_of(file.name()) == "kept");
    }
    CHECK(std::filesystem::is_empty(directory.path()));
  });
}

TEST_CASE("NamedTemporaryFile: closed twice at once, both wait until it is gone") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const auto close = [](NamedTemporaryStream& file) -> Task<> {
      co_await file.close();
      CHECK_FALSE(std::filesystem::exists(file.name()));
    };
    for (int round = 0; round < 20; ++round) {
      NamedTemporaryStream file = co_await NamedTemporaryFile("w", {.dir = directory.path().native()});
      co_await file.write("x");
      co_await caio::gather(close(file), close(file), close(file));
    }
    CHECK(std::filesystem::is_empty(directory.path()));
  });
}

TEST_CASE("NamedTemporaryFile: a relative directory, left meanwhile") {
  const TemporaryDirectory directory;
  const std::filesystem::path here = std::filesystem::current_path();
  support::on_every_backend([&](Context&) -> Task<> {
    std::filesystem::create_directory(directory / "inside");
    std::filesystem::current_path(directory.path());
    NamedTemporaryStream file = co_await NamedTemporaryFile("w", {.dir = "inside"});
    std::filesystem::current_path(here);
    CHECK(file.name().parent_path() == directory / "inside");
    co_await file.close();
    CHECK(std::filesystem::is_empty(directory / "inside"));
  });
}

TEST_CASE("NamedTemporaryFile: that it is gone already, or another's, is no error; that it cannot go is") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    NamedTemporaryStream file = co_await NamedTemporaryFile("w", {.dir = directory.path().native()});
    std::filesystem::remove(file.name());
    co_await file.close();
    NamedTemporaryStream replaced = co_await NamedTemporaryFile("w", {.dir = directory.path().native()});
    std::filesystem::remove(replaced.name());
    std::filesystem::create_directory(replaced.name());
    const auto error = co_await outcome::failure_of(replaced.close());
    REQUIRE(error);
    CHECK(error->code().value() == EISDIR);
    CHECK(error->path1() == replaced.name());
    std::filesystem::remove(replaced.name());
  });
}

TEST_CASE("NamedTemporaryFile: the name goes even when the file cannot be closed without an error, or after a stop") {
  const TemporaryDirectory directory;
  for (const caio::Implementation implementation : support::backends()) {
    auto made = std::make_unique<caio::testing::FaultBackend>(
        caio::make_backend(implementation),
        caio::testing::FaultScript().fail(caio::Opcode::close, caio::testing::every, EIO));
    Context context(std::move(made));
    const auto work = [](const TemporaryDirectory& place) -> Task<> {
      NamedTemporaryStream file = co_await NamedTemporaryFile("w", {.dir = place.path().native()});
      CHECK_YIELDS(error_of(file.close()), EIO);
      CHECK(std::filesystem::is_empty(place.path()));
    };
    context.run(work(directory));
  }
  support::on_every_backend([&](Context&) -> Task<> {
    NamedTemporaryStream file = co_await NamedTemporaryFile("w", {.dir = directory.path().native()});
    std::stop_source source;
    source.request_stop();
    co_await caio::with_stop(source.get_token(), file.close());
    CHECK(std::filesystem::is_empty(directory.path()));
  });
}

TEST_CASE("NamedTemporaryFile: destroyed at any moment of opening, writing and closing, nothing stays") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context& context) -> Task<> {
    const auto work = [](const TemporaryDirectory& place) -> Task<> {
      NamedTemporaryStream file = co_await NamedTemporaryFile("w", {.dir = place.path().native()});
      co_await file.write(std::string(500'000, 'x'));
      co_await file.close();
    };
    for (int turns = 0; turns < 40; ++turns) {
      {
        caio::TaskGroup group;
        group.spawn(work(directory));
        for (int turn = 0; turn < turns; ++turn) co_await context.schedule();
      }
      CHECK(std::filesystem::is_empty(directory.path()));
    }
  });
}

TEST_CASE("NamedTemporaryFile: names that are taken are passed over") {
  const TemporaryDirectory directory;
  static int taken;
  support::on_every_backend([&](Context&) -> Task<> {
    support::ReplacedCalls calls;
    taken = 100;
    calls->open = [](const char* path, int flags, ::mode_t mode) {
      if (taken == 0) return ::open(path, flags, mode);
      --taken;
      CHECK((flags & (O_EXCL | O_CREAT | O_CLOEXEC)) == (O_EXCL | O_CREAT | O_CLOEXEC));
      errno = EEXIST;
      return -1;
    };
    NamedTemporaryStream file = co_await NamedTemporaryFile("w", {.dir = directory.path().native()});
    CHECK(std::filesystem::exists(file.name()));
    taken = 1000;
    CHECK_YIELDS(error_of(NamedTemporaryFile("w", {.dir = directory.path().native()})), EEXIST);
    taken = 0;
    co_await file.close();
  });
  CHECK_THROWS_AS(NamedTemporaryFile("w", {.suffix = "/x"}), std::invalid_argument);
  CHECK_THROWS_AS(NamedTemporaryFile("w", {.prefix = "../x"}), std::invalid_argument);
  CHECK_THROWS_AS(NamedTemporaryFile("nonsense"), std::invalid_argument);
  Context context;
  CHECK(context.run(error_of(NamedTemporaryFile("w", {.suffix = std::string(300, 'x')}))) == ENAMETOOLONG);
}

TEST_CASE("NamedTemporaryFile: a forked child's copy removes nothing, and one that outlives its context is removed") {
  const TemporaryDirectory directory;
  std::optional<NamedTemporaryStream> file;
  {
    Context context;
    const auto work = [](std::optional<NamedTemporaryStream>& place, std::string where) -> Task<> {
      place.emplace(co_await NamedTemporaryFile("w", {.dir = where}));
    };
    context.run(work(file, directory.path().native()));
    const std::string answer = support::answer_in_child([&file]() -> std::string {
      file.reset();
      return "done";
    });
    CHECK(answer == "done");
    CHECK(std::filesystem::exists(file->name()));
  }
  CHECK(std::filesystem::exists(file->name()));
  file.reset();
  CHECK(std::filesystem::is_empty(directory.path()));
}

TEST_CASE("NamedTemporaryFile: a FileStream wherever one is wanted") {
  support::on_every_backend([](Context&) -> Task<> {
    NamedTemporaryStream file = co_await NamedTemporaryFile("w+b");
    const auto use = [](FileStream& stream) -> Task<> { co_await stream.write("through a reference"); };
    co_await use(file);
    file.seek(0);
    CHECK_YIELDS(file.read(), "through a reference");
    CHECK(std::filesystem::equivalent(file.name().parent_path(), std::filesystem::temp_directory_path()));
    co_await file.close();
  });
}
