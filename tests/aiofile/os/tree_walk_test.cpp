#include <aiofile/os/tree_walk.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <caio/caio.hpp>
#include <chrono>
#include <climits>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>

#include "../outcome.hpp"
#include "directory_calls.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"
#include "walks.hpp"

namespace os = aiofile::os;
using caio::Context;
using caio::Implementation;
using caio::Task;
using caio::detail::UniqueFd;
using walks::make;
using walks::make_deep;
using walks::make_file;
using walks::small;
using walks::small_paths;
using walks::walked;
using walks::ways;

namespace {

/// Whether a thread of this process waits for something (proc(5), stat).
bool sleeps(::pid_t thread) {
  const std::string status = support::content_of("/proc/self/task/" + std::to_string(thread) + "/stat");
  return status.substr(status.rfind(')')).starts_with(") S");
}

/// A clock on which nothing takes any time, unless the test says so.
std::atomic<int> microseconds = 0;
std::chrono::steady_clock::time_point clock_now() {
  return std::chrono::steady_clock::time_point(std::chrono::microseconds(microseconds));
}

std::atomic<int> calls = 0;
std::atomic<int> most_descriptors = 0;

}  // namespace

TEST_CASE("TreeWalk: directories are opened before their turn only where that is asked for") {
  support::on_every_backend([](Context& context) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, {"0/", "1/", "2/", "3/"});
    const support::ReplacedDirectoryCalls replaced;
    replaced->openat = [](int at, const char* path, int flags) {
      ++calls;
      return ::openat(at, path, flags);
    };
    replaced->now = clock_now;
    for (const os::WalkOptions& way : ways) {
      calls = 0;
      int given = 0;
      auto entries = os::walk(directory.path(), way);
      while (auto entry = co_await entries.next()) {
        ++given;
        if (way.parallel == 0 || context.implementation() == Implementation::blocking) CHECK(calls == given);
        if (given > 1 && way.parallel > 0 && context.implementation() != Implementation::blocking) CHECK(calls == 5);
      }
      CHECK(calls == 5);
    }
  });
}

TEST_CASE("TreeWalk: each directory is opened once") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, small);
    const support::ReplacedDirectoryCalls replaced;
    replaced->openat = [](int at, const char* path, int flags) {
      ++calls;
      return ::openat(at, path, flags);
    };
    replaced->now = clock_now;  // where too much time has passed, the next hand-over opens the one above again
    for (const os::WalkOptions& way : ways) {
      calls = 0;
      CHECK_YIELDS(walked(directory.path(), way), small_paths);
      CHECK(calls ==
            1 + std::count_if(small.begin(), small.end(), [](const auto& path) { return path.ends_with('/'); }));
    }
  });
}

TEST_CASE("TreeWalk: a directory that takes long to read does not hold up its neighbours' hand-over") {
  support::on_every_backend([](Context& context) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, small);
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = [](int fd, void* buffer, std::size_t size) -> ::ssize_t {
      microseconds += 600;
      return ::getdents64(fd, buffer, size);
    };
    replaced->now = clock_now;
    for (const os::WalkOptions& way : ways) {
      const std::uint64_t before = context.stats().pooled;
      CHECK_YIELDS(walked(directory.path(), way), small_paths);
      if (context.implementation() == Implementation::blocking) continue;
      CHECK(context.stats().pooled - before == 9);  // one for each directory
    }
  });
}

TEST_CASE("TreeWalk: deeper than paths are long, with few descriptors") {
  constexpr int depth = 150;
  static const support::TemporaryDirectory directory;
  static const std::string name(100, 'n');
  static const bool made = [] {
    // 40 directories are more than are read ahead: those above stay in use.
    make_deep(directory.path(), name, depth, [](int fd, int level) {
      for (int i = 0; i < (level % 10 == 0 ? 40 : 2); ++i) {
        const std::string beside = std::to_string(i);
        REQUIRE(::mkdirat(fd, beside.c_str(), 0700) == 0);
        const UniqueFd inner(::openat(fd, beside.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        make_file(inner.get(), "file");
      }
      if (level != depth - 1) return;
      for (int i = 0; i < 600; ++i) make_file(fd, (std::string(200, 'f') + std::to_string(i)).c_str());
    });
    return true;
  }();
  static_cast<void>(made);
  support::on_every_backend([](Context&) -> Task<> {
    const support::ReplacedDirectoryCalls replaced;
    replaced->openat = [](int at, const char* path, int flags) {
      const int fd = ::openat(at, path, flags);
      int before = most_descriptors;
      while (fd > before && !most_descriptors.compare_exchange_weak(before, fd)) {
      }
      return fd;
    };
    for (os::WalkOptions way : ways) {
      const UniqueFd lowest(::open("/", O_PATH | O_CLOEXEC));
      most_descriptors = 0;
      std::size_t errors = 0;
      std::size_t files = 0;
      std::size_t longest = 0;
      auto entries = os::walk(directory.path(), way);
      while (auto entry = co_await entries.next()) {
        if (entry->error() != 0) ++errors;
        if (entry->is_file()) ++files;
        longest = std::max(longest, entry->path().native().size());
      }
      CHECK(errors == 0);
      CHECK(files == 600 + 135 * 2 + 16 * 40);
      CHECK(longest > PATH_MAX);
      CHECK(most_descriptors < lowest.get() + 64 + 32);
      CHECK(most_descriptors > lowest.get());
    }
  });
}

TEST_CASE("TreeWalk: a directory that has taken another's place is not taken for it") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    // Deep enough that descriptors are not kept.
    make_deep(directory.path(), "d", 80, [](int fd, int level) {
      if (level < 70) return;
      ::mkdirat(fd, "a", 0700);
      ::mkdirat(fd, "b", 0700);
    });
    auto entries = os::walk(directory.path(), {.parallel = 0});
    while (auto entry = co_await entries.next()) {
      if (entry->depth() != 75) continue;
      const auto place = entry->path().parent_path();
      std::filesystem::rename(place, directory / "moved");
      std::filesystem::create_directories(place / "a/wrong");
      std::filesystem::create_directories(place / "b/wrong");
      std::filesystem::create_directories(place / "d/wrong");
      break;
    }
    while (auto entry = co_await entries.next()) {
      CHECK(entry->error() == 0);
      CHECK(entry->name() != "wrong");
    }
  });
}

TEST_CASE("TreeWalk: destroyed while threads read, it waits for them") {
  support::on_every_backend([](Context& context) -> Task<> {
    if (context.implementation() == Implementation::blocking) co_return;
    static std::atomic<int> inside;
    static std::atomic<bool> may_go;
    inside = 0;
    may_go = false;
    const support::TemporaryDirectory directory;
    make(directory, small);
    co_await walked(directory.path());
    const std::size_t before = support::open_files();
    const support::ReplacedDirectoryCalls replaced;
    replaced->openat = [](int at, const char* path, int flags) {
      if (at == AT_FDCWD) return ::openat(at, path, flags);
      ++inside;
      may_go.wait(false);
      const int fd = ::openat(at, path, flags);
      --inside;
      return fd;
    };
    std::atomic<bool> destroying = false;
    std::atomic<bool> destroyed = false;
    // Lets them go once the destructor sleeps.
    std::thread release([&, main = ::gettid()] {
      while (!destroying || !(destroyed || sleeps(main))) std::this_thread::yield();
      may_go = true;
      may_go.notify_all();
    });
    {
      caio::TaskGroup group;
      group.spawn([](std::filesystem::path path) -> Task<> { co_await walked(path); }(directory.path()));
      while (inside == 0) co_await context.schedule();
      destroying = true;
    }
    CHECK(inside == 0);
    destroyed = true;
    release.join();
    CHECK(support::open_files() == before);
  });
}
