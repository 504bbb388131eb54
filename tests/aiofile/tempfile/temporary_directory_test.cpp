#include <aiofile/tempfile/temporary_directory.hpp>

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <caio/caio.hpp>
#include <cerrno>
#include <chrono>
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

using aiofile::detail::FileIdentity;
using aiofile::detail::TreeRemoval;
using aiofile::tempfile::TemporaryTree;
using caio::Context;
using caio::Task;
using caio::detail::UniqueFd;
using outcome::error_of;
using Path = std::filesystem::path;
constexpr auto forever = std::chrono::steady_clock::time_point::max();
constexpr auto at_once = std::chrono::steady_clock::time_point::min();

namespace {

/// On a file system in memory: on disks it takes ms to make and remove a directory.
class MemoryDirectory {
 public:
  MemoryDirectory() {
    std::string pattern = "/dev/shm/aiofile-test-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
    path_ = pattern;
  }
  MemoryDirectory(const MemoryDirectory&) = delete;
  MemoryDirectory& operator=(const MemoryDirectory&) = delete;
  ~MemoryDirectory() { std::filesystem::remove_all(path_); }

  Path operator/(const char* name) const { return path_ / name; }
  const Path& path() const { return path_; }

 private:
  Path path_;
};

FileIdentity identity_of(const Path& path) {
  aiofile::os::Stat status;
  REQUIRE(aiofile::detail::stat_at(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, status) == 0);
  return aiofile::detail::identity_of(status);
}

/// Directories called "d", each in the one before, `depth` of them in `root`; gives the innermost.
Path chain(const Path& root, int depth) {
  Path path = root;
  for (int level = 0; level < depth; ++level) path /= "d";
  std::filesystem::create_directories(path);
  return path;
}

/// In a forked child: mounts from now on are its own.
bool in_own_mounts() {
  const std::string user = std::to_string(::geteuid());
  const std::string group = std::to_string(::getegid());
  if (::unshare(CLONE_NEWNS) != 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    std::ofstream("/proc/self/uid_map") << user << " " << user << " 1";
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/gid_map") << group << " " << group << " 1";
  }
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

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

/// A chain of directories, each in the one before, made without long paths.
void dig(const Path& root, int depth) {
  UniqueFd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int level = 0; level < depth; ++level) {
    ::mkdirat(fd.get(), "directory with quite a long name", 0700);
    ::mkdirat(fd.get(), "beside", 0700);
    fd = UniqueFd(::openat(fd.get(), "directory with quite a long name", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  REQUIRE(fd);
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

TEST_CASE("TreeRemoval: depth takes few descriptors and no stack") {
  const MemoryDirectory directory;
  std::filesystem::create_directory(directory / "tree");
  dig(directory / "tree", 10'000);
  TreeRemoval removal(directory / "tree", identity_of(directory / "tree"));
  const std::size_t before = support::open_files();
  std::size_t most = 0;
  for (int step = 0; !removal.work(at_once); ++step) {
    if (step % 1000 == 0) most = std::max(most, support::open_files() - before);
  }
  CHECK(removal.error() == 0);
  CHECK(most > 0);
  CHECK(most <= 20);
  CHECK(std::filesystem::is_empty(directory.path()));
}

TEST_CASE("TemporaryDirectory: directories without permissions are no obstacle") {
  const support::TemporaryDirectory directory;
  REQUIRE(::chmod(directory.path().c_str(), 0777) == 0);
  const std::string answer = support::answer_in_child([&directory]() -> std::string {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return "no other user";
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

TEST_CASE("TreeRemoval: what is mounted inside is not entered, not even where it is the same file system") {
  const support::TemporaryDirectory directory;
  const Path mounted = directory / "tree" / "a" / "mounted";
  std::filesystem::create_directories(mounted);
  std::filesystem::create_directories(directory / "outside");
  std::ofstream(directory / "outside" / "precious") << "x";
  std::ofstream(directory / "tree" / "a" / "file") << "x";
  const bool bound = GENERATE(false, true);
  const std::string answer = support::answer_in_child([&]() -> std::string {
    if (!in_own_mounts()) return "no mounts";
    const int error = bound ? ::mount((directory / "outside").c_str(), mounted.c_str(), nullptr, MS_BIND, nullptr)
                            : ::mount("tmpfs", mounted.c_str(), "tmpfs", 0, nullptr);
    if (error != 0) return "no mounts";
    std::ofstream(mounted / "precious") << "x";
    TreeRemoval removal(directory / "tree", identity_of(directory / "tree"));
    if (!removal.work(forever)) return "not ended";
    if (removal.error() != EXDEV) return "error " + std::to_string(removal.error());
    if (removal.failed() != mounted) return removal.failed();
    return std::filesystem::exists(mounted / "precious") ? "kept" : "lost";
  });
  if (answer == "no mounts") {
    WARN("this user may not mount");
    return;
  }
  CHECK(answer == "kept");
  CHECK(std::filesystem::exists(directory / "outside" / "precious"));
  CHECK_FALSE(std::filesystem::exists(directory / "tree" / "a" / "file"));
}

TEST_CASE("TreeRemoval: permissions of what is not to be removed are left alone") {
  const MemoryDirectory directory;
  std::filesystem::permissions(directory.path(), std::filesystem::perms::all);
  const std::string answer = support::answer_in_child([&directory]() -> std::string {
    const bool may_mount = in_own_mounts();
    if (::geteuid() == 0 && (::setegid(65534) != 0 || ::seteuid(65534) != 0)) return "no other user";
    const auto none = std::filesystem::perms::none;
    const auto closed = [](const Path& path) { return std::filesystem::status(path).permissions() == none; };
    // Another one has its name.
    std::filesystem::create_directory(directory / "meant");
    std::filesystem::create_directory(directory / "replaced");
    std::filesystem::permissions(directory / "replaced", none);
    TreeRemoval other(directory / "replaced", identity_of(directory / "meant"));
    if (!other.work(forever) || other.error() != 0) return "not ended";
    if (!closed(directory / "replaced")) return "a replacement was changed";
    std::filesystem::remove(directory / "replaced");
    // Another file system is mounted there.
    const Path mounted = directory / "tree" / "mounted";
    std::filesystem::create_directories(mounted);
    static_cast<void>(::seteuid(0));
    if (!may_mount || ::mount("tmpfs", mounted.c_str(), "tmpfs", 0, "mode=0,uid=65534") != 0) return "no mounts";
    static_cast<void>(::seteuid(65534));
    TreeRemoval removal(directory / "tree", identity_of(directory / "tree"));
    if (!removal.work(forever) || removal.error() != EXDEV) return "error " + std::to_string(removal.error());
    return closed(mounted) ? "unchanged" : "a mount was changed";
  });
  if (answer == "no mounts") {
    WARN("this user may not mount");
    return;
  }
  CHECK(answer == "unchanged");
}

TEST_CASE("TreeRemoval: without a free descriptor it finds its way back") {
  const MemoryDirectory directory;
  const Path root = directory / "tree";
  const Path deepest = chain(root, 60);
  const std::string answer = support::answer_in_child([&]() -> std::string {
    TreeRemoval removal(root, identity_of(root));
    while (std::filesystem::exists(deepest)) removal.work(at_once);
    const ::rlimit limit{100, 100};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return "no limit";
    for (bool ended = false; !ended; ended = removal.work(at_once)) {
      while (::dup(STDERR_FILENO) >= 0) {
      }
    }
    return "error " + std::to_string(removal.error());
  });
  CHECK(answer == "error 0");
  CHECK_FALSE(std::filesystem::exists(root));
}

TEST_CASE("TreeRemoval: what keeps it from finding its way back is told") {
  const MemoryDirectory directory;
  const Path root = directory / "tree";
  const Path deepest = chain(root, 60);
  std::filesystem::permissions(directory.path(), std::filesystem::perms::all);
  const std::string answer = support::answer_in_child([&]() -> std::string {
    if (::geteuid() == 0) {
      for (Path each = deepest; each != directory.path(); each = each.parent_path()) {
        if (::chown(each.c_str(), 65534, 65534) != 0) return "no other user";
      }
      if (::setgid(65534) != 0 || ::setuid(65534) != 0) return "no other user";
    }
    TreeRemoval removal(root, identity_of(root));
    while (std::filesystem::exists(deepest)) removal.work(at_once);
    std::filesystem::permissions(root / "d", std::filesystem::perms::owner_exec);
    const bool ended = removal.work(forever);
    std::filesystem::permissions(root / "d", std::filesystem::perms::owner_all);
    if (!ended) return "not ended";
    if (!std::filesystem::is_empty(root / "d" / "d")) return "not emptied";
    return removal.failed().native() + ", error " + std::to_string(removal.error());
  });
  CHECK(answer == (root / "d" / "d").native() + ", error " + std::to_string(EACCES));
}

TEST_CASE("TreeRemoval: what is moved or replaced meanwhile leads it nowhere else") {
  const MemoryDirectory directory;
  const Path root = directory / "tree";
  const auto removal_of = [&](int steps) {
    TreeRemoval removal(root, identity_of(root));
    for (int step = 0; step < steps; ++step) {
      if (removal.work(at_once)) break;
    }
    return removal;
  };
  std::size_t moved_away = 0;
  for (int steps = 0; steps < 120; ++steps) {
    INFO("after " << steps << " steps");
    std::filesystem::remove_all(directory.path() / "tree");
    std::filesystem::remove_all(directory.path() / "outside");
    std::filesystem::create_directories(directory / "outside" / "beside");
    std::ofstream(directory / "outside" / "precious") << "precious";
    std::filesystem::create_directory(root);
    dig(root, 40);
    TreeRemoval removal = removal_of(steps);
    const Path first = root / "directory with quite a long name";
    const Path inner = first / "directory with quite a long name";
    // The inner part goes elsewhere, and a link to what is precious takes its place, and that of what is beside it.
    if (std::filesystem::exists(inner)) {
      ++moved_away;
      std::filesystem::rename(inner, directory / "outside" / "moved");
      std::filesystem::create_directory_symlink(directory / "outside", inner);
      if (std::filesystem::remove(first / "beside")) {
        std::filesystem::create_directory_symlink(directory / "outside", first / "beside");
      }
    }
    CHECK(removal.work(forever));
    CHECK(support::content_of(directory / "outside" / "precious") == "precious");
    CHECK(std::filesystem::exists(directory / "outside" / "beside"));
    CHECK((removal.error() == 0 || removal.error() == ESTALE || removal.error() == ENOTEMPTY));
    if (removal.error() == 0) CHECK_FALSE(std::filesystem::exists(root));
  }
  CHECK(moved_away > 20);
}

TEST_CASE("TreeRemoval: what is added meanwhile is removed, too") {
  const MemoryDirectory directory;
  const Path root = directory / "tree";
  for (int steps = 1; steps < 12; ++steps) {
    std::filesystem::create_directories(root / "a" / "b");
    std::ofstream(root / "a" / "file") << "x";
    TreeRemoval removal(root, identity_of(root));
    for (int step = 0; step < steps; ++step) {
      if (removal.work(at_once)) break;
    }
    bool ended = !std::filesystem::exists(root / "a");
    if (!ended) std::ofstream(root / "a" / "late") << "x";
    CHECK(removal.work(forever));
    CHECK(removal.error() == 0);
    CHECK(std::filesystem::is_empty(directory.path()));
  }
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
