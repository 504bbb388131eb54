#include <aiofile/path_watch.hpp>

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <caio/caio.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/replaced_calls.hpp"
#include "support/temporary.hpp"

using aiofile::detail::PathWatch;
using support::Fd;
using support::ReplacedCalls;
using support::TemporaryDirectory;
using News = aiofile::detail::PathWatch::News;

namespace {

namespace fs = std::filesystem;

struct Watching {
  caio::Context context;
  PathWatch watch{context.engine()};

  void look(const fs::path& path, int fd = -1) {
    watch.begin();
    watch.follow(path);
    if (fd >= 0) watch.watch(fd);
    watch.end();
  }

  /// What is told of all that has happened.
  News news() const {
    alignas(::inotify_event) std::array<std::byte, 4096> events;
    News news = News::none;
    for (;;) {
      const ::ssize_t count = ::read(watch.descriptor().fileno(), events.data(), events.size());
      if (count <= 0) return news;
      news = std::max(news, watch.news(std::span(events).first(static_cast<std::size_t>(count))));
    }
  }

  /// How many inodes are watched.
  std::size_t watches() const {
    std::ifstream info("/proc/self/fdinfo/" + std::to_string(watch.descriptor().fileno()));
    std::size_t count = 0;
    for (std::string line; std::getline(info, line);) count += line.starts_with("inotify ") ? 1 : 0;
    return count;
  }
};

void touch(const fs::path& path) { std::ofstream(path, std::ios::app) << "x"; }

}  // namespace

TEST_CASE("PathWatch: tells of a name, and of no other in its directory") {
  const TemporaryDirectory directory;
  Watching watching;
  watching.look(directory / "file");
  CHECK_FALSE(watching.watch.blind());
  touch(directory / "other");
  fs::rename(directory / "other", directory / "another");
  CHECK(watching.news() == News::none);
  touch(directory / "file");
  CHECK(watching.news() == News::names);
  touch(directory / "file");
  CHECK(watching.news() == News::none);  // its content is not watched
  fs::rename(directory / "file", directory / "away");
  CHECK(watching.news() == News::names);
  fs::rename(directory / "away", directory / "file");
  CHECK(watching.news() == News::names);
  fs::permissions(directory / "file", fs::perms::owner_all);
  CHECK(watching.news() == News::names);
  fs::remove(directory / "file");
  CHECK(watching.news() == News::names);
}

TEST_CASE("PathWatch: tells of an open file's content, whatever its name is by now") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "");
  const Fd file(path, O_RDWR);
  fs::rename(path, directory / "renamed");
  Watching watching;
  watching.look(path, file.get());
  CHECK(::write(file.get(), "x", 1) == 1);
  CHECK(watching.news() == News::content);
  CHECK(::ftruncate(file.get(), 0) == 0);
  CHECK(watching.news() == News::content);
  fs::remove(directory / "renamed");
  CHECK(watching.news() == News::names);
}

TEST_CASE("PathWatch: tells of every directory and link on the way") {
  const TemporaryDirectory directory;
  fs::create_directories(directory / "a/b");
  fs::create_directories(directory / "c/d");
  touch(directory / "c/d/file");
  fs::create_symlink("../c/./d", directory / "a/link");
  fs::create_symlink(directory / "a/link/../d/file", directory / "a/b/path");
  const fs::path path = directory / "a/b/../b/path";
  Watching watching;
  watching.look(path);
  CHECK(watching.news() == News::none);
  // Each is renamed and put back.
  for (const char* const name : {"a", "a/b", "a/b/path", "a/link", "c", "c/d", "c/d/file"}) {
    INFO(name);
    fs::rename(directory / name, directory / "moved");
    CHECK(watching.news() == News::names);
    fs::rename(directory / "moved", directory / name);
    CHECK(watching.news() == News::names);
  }
}

TEST_CASE("PathWatch: what a new look does not meet is not watched any more") {
  const TemporaryDirectory directory;
  fs::create_directories(directory / "a");
  fs::create_directories(directory / "b");
  const auto path = directory.file("a/file", "");
  const Fd file(path, O_RDWR);
  Watching watching;
  watching.look(path);
  const std::size_t without_file = watching.watches();
  watching.look(path, file.get());
  CHECK(watching.watches() == without_file + 1);
  watching.look(path, file.get());
  CHECK(watching.watches() == without_file + 1);
  // The directory of both stays, for the other name.
  watching.look(directory / "b/file");
  CHECK(watching.watches() == without_file);
  CHECK(watching.news() == News::none);  // that watches are gone is none
  CHECK(::write(file.get(), "x", 1) == 1);
  fs::rename(directory / "a", directory / "away");
  CHECK(watching.news() == News::none);
  touch(directory / "b/file");
  CHECK(watching.news() == News::names);
  watching.look(directory / "missing/file");
  CHECK(watching.watches() == without_file - 1);
}

TEST_CASE("PathWatch: links in a circle end the way") {
  const TemporaryDirectory directory;
  fs::create_symlink("loop", directory / "loop");
  Watching watching;
  watching.look(directory / "loop");
  fs::remove(directory / "loop");
  CHECK(watching.news() == News::names);
}

TEST_CASE("PathWatch: events that were lost mean anything") {
  const Watching watching;
  ::inotify_event event{};
  event.mask = IN_Q_OVERFLOW;
  event.wd = -1;
  CHECK(watching.watch.news(std::as_bytes(std::span(&event, 1))) == News::names);
  CHECK(watching.watch.news({}) == News::none);
}

TEST_CASE("PathWatch: is blind where something cannot be watched, and sees again") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "");
  const Fd file(path, O_RDWR);
  Watching watching;
  CHECK(watching.watch);
  {
    const ReplacedCalls calls;
    calls->inotify_add_watch = [](int, const char*, std::uint32_t) { return errno = ENOSPC, -1; };
    watching.look(path);
    CHECK(watching.watch.blind());
    // Without /proc there is no way to the file.
    calls->inotify_add_watch = [](int fd, const char* name, std::uint32_t mask) {
      if (std::string_view(name).starts_with("/proc/")) return errno = ENOENT, -1;
      return ::inotify_add_watch(fd, name, mask);
    };
    watching.look(path);
    CHECK_FALSE(watching.watch.blind());
    watching.look(path, file.get());
    CHECK(watching.watch.blind());
  }
  watching.look(path, file.get());
  CHECK_FALSE(watching.watch.blind());
  watching.look(directory / "missing/file");  // the name that is missing is watched
  CHECK_FALSE(watching.watch.blind());
}

TEST_CASE("PathWatch: without an instance it is blind, and nothing else") {
  const ReplacedCalls calls;
  calls->inotify_init = [](int) { return errno = EMFILE, -1; };
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "");
  const Fd file(path, O_RDWR);
  Watching watching;
  watching.look(path, file.get());
  CHECK_FALSE(watching.watch);
  CHECK(watching.watch.blind());
}
