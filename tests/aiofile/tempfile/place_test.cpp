#include <aiofile/tempfile/place.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/replaced_calls.hpp"
#include "support/temporary.hpp"

using aiofile::FileError;
using aiofile::detail::open_unnamed;
using aiofile::detail::Place;
using support::ReplacedCalls;
using support::TemporaryDirectory;
using Path = std::filesystem::path;

namespace {

/// The directories that are tried when each fails, with TMPDIR as given; in a child, whose environment it is.
std::string tried_with(const char* tmpdir) {
  return support::answer_in_child([tmpdir]() -> std::string {
    if (tmpdir == nullptr) {
      ::unsetenv("TMPDIR");
    } else {
      ::setenv("TMPDIR", tmpdir, 1);
    }
    std::filesystem::current_path("/usr");
    std::string list;
    try {
      Place("", "tmp", "").in_first_usable("try", [&list](const Path& directory) {
        const int error = list.empty() ? EROFS : ENOSPC;
        list += directory.native() + " ";
        return error;
      });
    } catch (const FileError& error) {
      list += error.path1().native() + " " + std::to_string(error.code().value());
    }
    return list;
  });
}

int refusal = 0;

}  // namespace

TEST_CASE("Place: TMPDIR, /tmp, /var/tmp, the working directory; the error is the first one's") {
  const std::string error = std::to_string(EROFS);
  CHECK(tried_with(nullptr) == "/tmp /var/tmp /usr /tmp " + error);
  CHECK(tried_with("") == "/tmp /var/tmp /usr /tmp " + error);
  CHECK(tried_with("/mine") == "/mine /tmp /var/tmp /usr /mine " + error);
  CHECK(tried_with("mine") == "/usr/mine /tmp /var/tmp /usr mine " + error);
}

TEST_CASE("Place: a directory that was asked for is the only one, the first that works the last") {
  std::vector<Path> tried;
  const auto fails = [&tried](const Path& directory) { return tried.push_back(directory), ENOENT; };
  CHECK_THROWS_AS(Place("/nowhere", "", "").in_first_usable("try", fails), FileError);
  CHECK(tried == std::vector<Path>{"/nowhere"});
  tried.clear();
  Place("", "", "").in_first_usable("try", [&tried](const Path& directory) {
    tried.push_back(directory);
    return tried.size() == 2 ? 0 : ENOENT;
  });
  CHECK(tried.size() == 2);
}

TEST_CASE("Place: names that would lead elsewhere are refused") {
  CHECK_THROWS_AS(Place("", "a/b", ""), std::invalid_argument);
  CHECK_THROWS_AS(Place("", "", "/"), std::invalid_argument);
  CHECK_THROWS_AS(Place("", std::string_view("a\0b", 3), ""), std::invalid_argument);
  CHECK_THROWS_AS(Place(std::string_view("a\0b", 3), "", ""), std::invalid_argument);
}

TEST_CASE("open_unnamed: a file that nobody can find, with or without O_TMPFILE") {
  const TemporaryDirectory directory;
  const std::size_t before = support::open_files();
  for (const int error : {0, EOPNOTSUPP, EISDIR, ENOENT}) {
    ReplacedCalls calls;
    refusal = error;
    calls->open = [](const char* path, int flags, ::mode_t mode) {
      if (refusal == 0 || (flags & O_TMPFILE) != O_TMPFILE) return ::open(path, flags, mode);
      errno = refusal;
      return -1;
    };
    const auto fd = open_unnamed(Place(directory.path().native(), "", ""), "test", 0);
    REQUIRE(fd);
    struct ::stat status {};
    REQUIRE(::fstat(fd.get(), &status) == 0);
    CHECK(status.st_nlink == 0);
    CHECK((status.st_mode & 07777) == 0600);
    CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(fd.get(), F_GETFL) & O_ACCMODE) == O_RDWR);
    const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
    CHECK(::linkat(AT_FDCWD, link.c_str(), AT_FDCWD, (directory / "name").c_str(), AT_SYMLINK_FOLLOW) != 0);
    CHECK(std::filesystem::is_empty(directory.path()));
  }
  CHECK(support::open_files() == before);
}

TEST_CASE("open_unnamed: another error is no reason to make a name") {
  const TemporaryDirectory directory;
  ReplacedCalls calls;
  calls->open = [](const char* path, int flags, ::mode_t mode) {
    if ((flags & O_TMPFILE) != O_TMPFILE) return ::open(path, flags, mode);
    errno = ENOSPC;
    return -1;
  };
  int error = 0;
  try {
    open_unnamed(Place(directory.path().native(), "", ""), "test", 0);
  } catch (const FileError& failure) {
    error = failure.code().value();
  }
  CHECK(error == ENOSPC);
}
