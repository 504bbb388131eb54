#include <aiofile/tempfile/temporary_directory.hpp>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <caio/caio.hpp>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>

#include "../outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"
#include "trees.hpp"

using aiofile::tempfile::TemporaryTree;
using caio::Context;
using caio::Task;
using caio::detail::UniqueFd;
using outcome::error_of;
using trees::chain;
using trees::dig;
using trees::MemoryDirectory;
using Path = std::filesystem::path;

namespace {

/// Files, directories, links of every kind, a FIFO.
void fill(const Path& root, const Path& outside) {
  std::filesystem::create_directories(root / "a" / "b" / "c");
  std::filesystem::create_directories(root / "empty");
  for (const char* const name : {"x", "a/x", "a/b/x", "a/b/c/x", "a/..x", "a/...", "a/\xff"}) {
    std::ofstream(root / name) << "content";
  }
  std::filesystem::create_directory_symlink(outside, root / "link to directory");
  std::filesystem::create_symlink(outside / "precious", root / "a" / "link to file");
  std::filesystem::create_symlink("nowhere", root / "dangling");
  std::filesystem::create_directory_symlink(root, root / "a" / "loop");
  REQUIRE(::mkfifo((root / "fifo").c_str(), 0600) == 0);
}

}  // namespace

TEST_CASE("TemporaryDirectory: named as asked for, and gone with what is in it after close()") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const Path outside = directory / "outside";
    std::filesystem::create_directory(outside);
    directory.file("outside/precious", "precious");
    const std::size_t before = support::open_files();
    TemporaryTree tree = co_await aiofile::tempfile::TemporaryDirectory(
        {.suffix = ".d", .prefix = "work-", .dir = directory.path().native()});
    CHECK(support::open_files() == before);
    CHECK(tree.name().parent_path() == directory.path());
    CHECK(tree.name().filename().native().starts_with("work-"));
    CHECK(tree.name().extension() == ".d");
    CHECK(tree / "x" == tree.name() / "x");
    CHECK((std::filesystem::status(tree.name()).permissions() == std::filesystem::perms::owner_all));
    fill(tree.name(), outside);
    CHECK_FALSE(tree.closed());
    co_await tree.close();
    CHECK(tree.closed());
    CHECK_FALSE(std::filesystem::exists(tree.name()));
    CHECK(support::content_of(outside / "precious") == "precious");
    co_await tree.close();
    CHECK(support::open_files() == before);
  });
}

TEST_CASE("TemporaryDirectory: the destructor removes it, whether it was closed, moved or neither") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const auto make = [&directory] {
      return aiofile::tempfile::TemporaryDirectory({.dir = directory.path().native()});
    };
    {
      TemporaryTree first = co_await make();
      fill(first.name(), "/nowhere");
      TemporaryTree second = co_await make();
      const Path gone = first.name();
      first = std::move(second);
      CHECK_FALSE(std::filesystem::exists(gone));
      TemporaryTree closed = co_await make();
      co_await closed.close();
    }
    CHECK(std::filesystem::is_empty(directory.path()));
  });
}

TEST_CASE("TemporaryDirectory: wide ones, and deeper than a path may be long") {
  support::on_every_backend([](Context&) -> Task<> {
    const MemoryDirectory directory;
    TemporaryTree tree = co_await aiofile::tempfile::TemporaryDirectory({.dir = directory.path().native()});
    dig(tree.name(), 300);
    for (int i = 0; i < 3000; ++i) std::ofstream(tree / ("file with a name " + std::to_string(i)));
    for (int i = 0; i < 1000; ++i) std::filesystem::create_directory(tree / std::to_string(i));
    co_await tree.close();
    CHECK(std::filesystem::is_empty(directory.path()));
  });
}

TEST_CASE("TemporaryDirectory: directories without permissions are no obstacle") {
  const support::TemporaryDirectory directory;
  REQUIRE(::chmod(directory.path().c_str(), 0777) == 0);
  const std::string answer = support::answer_in_child([&directory]() -> std::string {
    if (::geteuid() == 0 && !support::become_nobody()) return "no other user";
    Context context(caio::Implementation::blocking);
    const auto work = [](const Path& where) -> Task<> {
      TemporaryTree tree = co_await aiofile::tempfile::TemporaryDirectory({.dir = where.native()});
      fill(tree.name(), "/");
      for (const char* const name : {"a/b/c", "a/b", "a", "empty", "."}) {
        std::filesystem::permissions(tree / name, std::filesystem::perms::none);
      }
      co_await tree.close();
    };
    context.run(work(directory.path()));
    const auto read_only = [](const Path& where) -> Task<> {
      TemporaryTree tree = co_await aiofile::tempfile::TemporaryDirectory({.dir = where.native()});
      fill(tree.name(), "/");
      for (const char* const name : {"a/b/c", "a/b", "a", "empty", "."}) {
        std::filesystem::permissions(tree / name,
                                     std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
      }
    };
    context.run(read_only(directory.path()));
    return "done";
  });
  if (answer == "no other user") {
    WARN("this user may not become another");
    return;
  }
  CHECK(answer == "done");
  CHECK(std::filesystem::is_empty(directory.path()));
}

TEST_CASE(
    "TemporaryDirectory: what cannot be removed is told by its path, the rest goes; a second close() tries again") {
  // A directory that is marked immutable, as root may: chattr(1).
  const auto mark = [](const Path& path, bool immutable) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    int flags = 0;
    constexpr unsigned long get = 0x80086601;  // FS_IOC_GETFLAGS
    constexpr unsigned long set = 0x40086602;
    if (::ioctl(fd.get(), get, &flags) != 0) return false;
    flags = immutable ? flags | 0x10 : flags & ~0x10;
    return ::ioctl(fd.get(), set, &flags) == 0;
  };
  support::on_every_backend([&](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    for (const bool ignored : {false, true}) {
      TemporaryTree tree = co_await aiofile::tempfile::TemporaryDirectory(
          {.dir = directory.path().native(), .ignore_cleanup_errors = ignored});
      fill(tree.name(), "/nowhere");
      if (!mark(tree / "a" / "b" / "x", true)) {
        WARN("this user, or this file system, cannot make a file immutable");
        co_return;
      }
      const auto error = co_await outcome::failure_of(tree.close());
      CHECK(error.has_value() != ignored);
      if (error) {
        CHECK(error->code().value() == EPERM);
        CHECK(error->path1() == tree / "a" / "b" / "x");
      }
      CHECK_FALSE(tree.closed());
      CHECK(std::filesystem::exists(tree / "a" / "b" / "x"));
      CHECK_FALSE(std::filesystem::exists(tree / "a" / "b" / "c"));
      CHECK_FALSE(std::filesystem::exists(tree / "fifo"));
      CHECK(mark(tree / "a" / "b" / "x", false));
      co_await tree.close();
      CHECK(tree.closed());
      CHECK(std::filesystem::is_empty(directory.path()));
    }
  });
}

TEST_CASE("TemporaryDirectory: closed twice at once, both wait until it is gone") {
  support::on_every_backend([](Context&) -> Task<> {
    const MemoryDirectory directory;
    const auto close = [](TemporaryTree& tree) -> Task<> {
      co_await tree.close();
      CHECK(tree.closed());
      CHECK_FALSE(std::filesystem::exists(tree.name()));
    };
    for (int round = 0; round < 10; ++round) {
      TemporaryTree tree = co_await aiofile::tempfile::TemporaryDirectory({.dir = directory.path().native()});
      for (int i = 0; i < 30; ++i) chain(tree / std::to_string(i), 20);
      co_await caio::gather(close(tree), close(tree), close(tree));
    }
  });
}

TEST_CASE("TemporaryDirectory: that it is gone, or another's is there, is no error") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const auto make = [&directory] {
      return aiofile::tempfile::TemporaryDirectory({.dir = directory.path().native()});
    };
    TemporaryTree gone = co_await make();
    std::filesystem::remove(gone.name());
    co_await gone.close();
    CHECK(gone.closed());
    TemporaryTree replaced = co_await make();
    std::filesystem::rename(replaced.name(), directory / "elsewhere");
    std::filesystem::create_directory(replaced.name());
    directory.file((replaced.name().filename() / "precious").native(), "x");
    co_await replaced.close();
    CHECK(std::filesystem::exists(replaced / "precious"));
    TemporaryTree linked = co_await make();
    std::filesystem::remove(linked.name());
    std::filesystem::create_directory_symlink(replaced.name(), linked.name());
    co_await linked.close();
    CHECK(std::filesystem::exists(replaced / "precious"));
    CHECK(std::filesystem::is_symlink(linked.name()));
  });
}

TEST_CASE("TemporaryDirectory: stopped or destroyed while it is closed, the rest goes with it") {
  support::on_every_backend([](Context& context) -> Task<> {
    const MemoryDirectory directory;
    for (int turns = 0; turns < 12; ++turns) {
      {
        std::optional<TemporaryTree> tree(
            co_await aiofile::tempfile::TemporaryDirectory({.dir = directory.path().native()}));
        for (int i = 0; i < 800; ++i) std::ofstream(*tree / std::to_string(i));
        int error = -1;
        {
          caio::TaskGroup group;
          group.spawn(outcome::store_error(tree->close(), error));
          for (int turn = 0; turn < turns && error == -1; ++turn) co_await context.schedule();
          if (turns % 3 == 0) {
            group.request_stop();
            co_await group.join();
            CHECK((error == 0 || error == ECANCELED));
            CHECK(tree->closed() == (error == 0));
          }
          if (turns % 3 == 1) tree.reset();  // the handle goes first
        }
      }
      CHECK(std::filesystem::is_empty(directory.path()));
    }
  });
}

TEST_CASE("TemporaryDirectory: destroyed on the way to it, nothing stays; errors; wrong arguments") {
  support::on_every_backend([](Context& context) -> Task<> {
    const support::TemporaryDirectory directory;
    const auto work = [](const Path& where) -> Task<> {
      const TemporaryTree tree = co_await aiofile::tempfile::TemporaryDirectory({.dir = where.native()});
    };
    for (int turns = 0; turns < 10; ++turns) {
      {
        caio::TaskGroup group;
        group.spawn(work(directory.path()));
        for (int turn = 0; turn < turns; ++turn) co_await context.schedule();
      }
      CHECK(std::filesystem::is_empty(directory.path()));
    }
    const Path nowhere = directory / "nowhere";
    CHECK_YIELDS(error_of(aiofile::tempfile::TemporaryDirectory({.dir = nowhere.native()})), ENOENT);
  });
  CHECK_THROWS_AS(aiofile::tempfile::TemporaryDirectory({.prefix = "a/b"}), std::invalid_argument);
}

TEST_CASE("TemporaryDirectory: a forked child's copy removes nothing, one that outlives its context is removed") {
  const support::TemporaryDirectory directory;
  std::optional<TemporaryTree> tree;
  {
    Context context;
    const auto work = [](std::optional<TemporaryTree>& place, const Path& where) -> Task<> {
      place.emplace(co_await aiofile::tempfile::TemporaryDirectory({.dir = where.native()}));
    };
    context.run(work(tree, directory.path()));
    fill(tree->name(), "/nowhere");
    const std::string answer = support::answer_in_child([&tree]() -> std::string {
      tree.reset();
      return "done";
    });
    CHECK(answer == "done");
    CHECK(std::filesystem::exists(*tree / "a" / "b" / "c" / "x"));
  }
  tree.reset();
  CHECK(std::filesystem::is_empty(directory.path()));
}
