#include <aiofile/tempfile/remove_tree.hpp>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/os/stat.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/temporary.hpp"
#include "trees.hpp"

using aiofile::detail::FileIdentity;
using aiofile::detail::TreeRemoval;
using trees::chain;
using trees::dig;
using trees::MemoryDirectory;
using Path = std::filesystem::path;
constexpr auto forever = std::chrono::steady_clock::time_point::max();
constexpr auto at_once = std::chrono::steady_clock::time_point::min();

namespace {

FileIdentity identity_of(const Path& path) {
  aiofile::os::Stat status;
  REQUIRE(aiofile::detail::stat_at(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, status) == 0);
  return aiofile::detail::identity_of(status);
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

}  // namespace

TEST_CASE("TreeRemoval: files of every kind go, and nothing that links lead to") {
  const support::TemporaryDirectory directory;
  const Path root = directory / "tree";
  std::filesystem::create_directories(root / "a" / "b");
  std::filesystem::create_directories(directory / "outside");
  directory.file("outside/precious", "precious");
  for (const char* const name : {"x", "a/..x", "a/...", "a/b/\xff"}) std::ofstream(root / name) << "content";
  std::filesystem::create_directory_symlink(directory / "outside", root / "link to directory");
  std::filesystem::create_symlink(directory / "outside" / "precious", root / "a" / "link to file");
  std::filesystem::create_hard_link(directory / "outside" / "precious", root / "a" / "other name");
  std::filesystem::create_symlink("nowhere", root / "dangling");
  REQUIRE(::mkfifo((root / "fifo").c_str(), 0600) == 0);
  const std::size_t before = support::open_files();
  {
    TreeRemoval removal(root, identity_of(root));
    CHECK(removal.work(forever));
    CHECK(removal.error() == 0);
    CHECK(removal.failed().empty());
  }
  CHECK(support::open_files() == before);
  CHECK_FALSE(std::filesystem::exists(root));
  CHECK(support::content_of(directory / "outside" / "precious") == "precious");
}

TEST_CASE("TreeRemoval: what is not the directory that is meant stays, and is no error") {
  const MemoryDirectory directory;
  std::filesystem::create_directories(directory / "meant");
  std::filesystem::create_directories(directory / "other");
  std::ofstream(directory / "other" / "precious") << "x";
  std::ofstream(directory / "file") << "x";
  std::filesystem::create_directory_symlink("meant", directory / "link");
  for (const char* const name : {"missing", "missing/too", "other", "file", "file/too", "link"}) {
    INFO(name);
    TreeRemoval removal(directory / name, identity_of(directory / "meant"));
    CHECK(removal.work(at_once));
    CHECK(removal.error() == 0);
    CHECK(removal.failed().empty());
  }
  for (const char* const name : {"meant", "other/precious", "file", "link"}) {
    CHECK(std::filesystem::exists(directory / name));
  }
}

TEST_CASE("TreeRemoval: works a step at a time, and when it is done it does not begin again") {
  const MemoryDirectory directory;
  const Path root = directory / "tree";
  chain(root, 3);
  TreeRemoval removal(root, identity_of(root));
  int steps = 1;
  while (!removal.work(at_once)) {
    ++steps;
    CHECK(std::filesystem::exists(root));
  }
  CHECK(steps > 4);
  CHECK_FALSE(std::filesystem::exists(root));

  std::filesystem::create_directory(directory / "later");
  TreeRemoval early(root, identity_of(directory / "later"));
  CHECK(early.work(forever));
  std::filesystem::rename(directory / "later", root);
  CHECK(early.work(forever));
  CHECK(std::filesystem::exists(root));
}

TEST_CASE("TreeRemoval: the first error is told with its path, and the rest goes") {
  const MemoryDirectory directory;
  const Path root = directory / "tree";
  std::filesystem::create_directories(root / "a" / "foreign");
  std::ofstream(root / "a" / "foreign" / "kept") << "x";
  std::ofstream(root / "a" / "file") << "x";
  std::filesystem::create_directories(root / "b" / "c");
  std::filesystem::permissions(directory.path(), std::filesystem::perms::all);
  const std::string answer = support::answer_in_child([&]() -> std::string {
    if (::geteuid() != 0) return "no other user";
    for (const char* const name : {"", "a", "b", "b/c"}) {
      if (::chown((root / name).c_str(), 65534, 65534) != 0) return "no other user";
    }
    if (!support::become_nobody()) return "no other user";
    TreeRemoval removal(root, identity_of(root));
    if (!removal.work(forever)) return "not ended";
    return removal.failed().native() + ", error " + std::to_string(removal.error());
  });
  if (answer == "no other user") {
    WARN("this user may not become another");
    return;
  }
  // That the directories with it are not empty comes later.
  CHECK(answer == (root / "a" / "foreign" / "kept").native() + ", error " + std::to_string(EACCES));
  CHECK(std::filesystem::exists(root / "a" / "foreign" / "kept"));
  CHECK_FALSE(std::filesystem::exists(root / "a" / "file"));
  CHECK_FALSE(std::filesystem::exists(root / "b"));
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
  if (answer == "no other user") {
    WARN("this user may not become another");
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
      if (!support::become_nobody()) return "no other user";
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
  if (answer == "no other user") {
    WARN("this user may not become another");
    return;
  }
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
