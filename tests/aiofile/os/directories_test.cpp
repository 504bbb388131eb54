#include <aiofile/os/directories.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/error.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "aiofile/outcome.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

namespace os = aiofile::os;
using aiofile::detail::parent_length;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::failure_of;
using std::filesystem::create_directories;
using std::filesystem::is_directory;
using std::filesystem::perms;
using support::Fd;
using support::TemporaryDirectory;

namespace {

unsigned mode_of(const std::filesystem::path& path) {
  struct ::stat status {};
  ::stat(path.c_str(), &status);
  return status.st_mode & 07777U;
}

/// The umask is the whole process's: the tests may run with any.
unsigned masked(unsigned mode) {
  const ::mode_t mask = ::umask(0);
  ::umask(mask);
  return mode & ~mask;
}

}  // namespace

TEST_CASE("parent_length: what is named above") {
  CHECK(parent_length("a/b") == 1);
  CHECK(parent_length("a//b//") == 1);
  CHECK(parent_length("/a/b/c") == 4);
  CHECK(parent_length("./a") == 1);
  CHECK(parent_length("a") == 0);
  CHECK(parent_length("a/") == 0);
  CHECK(parent_length("/a") == 0);
  CHECK(parent_length("//a/") == 0);
  CHECK(parent_length("/") == 0);
  CHECK(parent_length("") == 0);
}

TEST_CASE("mkdir, rmdir: one directory") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    co_await os::mkdir(directory / "a");
    CHECK(mode_of(directory / "a") == masked(0777));
    co_await os::mkdir(directory / "b", perms{0711});
    CHECK(mode_of(directory / "b") == masked(0711));
    const Fd opened(directory.path(), O_PATH | O_DIRECTORY);
    const os::At at{.directory = opened.get()};
    co_await os::mkdir("c", perms::owner_all, at);
    CHECK(mode_of(directory / "c") == masked(0700));
    const auto there = co_await failure_of(os::mkdir(directory / "a"));
    REQUIRE(there);
    CHECK(there->code().value() == EEXIST);
    CHECK(there->path1() == directory / "a");
    CHECK_YIELDS(error_of(os::mkdir(directory / "x/y")), ENOENT);
    CHECK_YIELDS(error_of(os::mkdir(directory.file("file", "") / "y")), ENOTDIR);

    co_await os::rmdir(directory / "a");
    CHECK_FALSE(is_directory(directory / "a"));
    co_await os::rmdir("c", at);
    CHECK_FALSE(is_directory(directory / "c"));
    CHECK_YIELDS(error_of(os::rmdir(directory / "a")), ENOENT);
    CHECK_YIELDS(error_of(os::rmdir(directory / "file")), ENOTDIR);
    CHECK_YIELDS(error_of(os::rmdir(directory.path())), ENOTEMPTY);
    CHECK_YIELDS(error_of(os::rmdir("/proc")), ::geteuid() == 0 ? EBUSY : EACCES);
  });
}

TEST_CASE("makedirs: makes what is missing above, too") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    co_await os::makedirs(directory / "a/b/c", false, perms{0700});
    CHECK(mode_of(directory / "a/b/c") == masked(0700));
    CHECK(mode_of(directory / "a/b") == masked(0777));
    CHECK(mode_of(directory / "a") == masked(0777));
    co_await os::makedirs(directory / "a/b/d");
    CHECK(mode_of(directory / "a/b/d") == masked(0777));
    const std::string names[] = {"1/x/", "2/x//", "3/x/.", "4//x", "5/../6/x", "7/./x", "./8", "9"};
    for (const std::string& name : names) {
      INFO(name);
      co_await os::makedirs(directory.path().native() + "/" + name);
      CHECK(is_directory(directory / name));
    }
    const Fd opened(directory.path(), O_PATH | O_DIRECTORY);
    co_await os::makedirs("x/y/z", false, perms::all, {.directory = opened.get()});
    CHECK(is_directory(directory / "x/y/z"));
    CHECK_FALSE(std::filesystem::exists("x"));
    create_directories(directory / "real");
    std::filesystem::create_directory_symlink("real", directory / "link");
    co_await os::makedirs(directory / "link/below/it");
    CHECK(is_directory(directory / "real/below/it"));
  });
}

TEST_CASE("makedirs: a directory that is there will do, if asked for, and nothing else") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto file = directory.file("file", "");
    std::filesystem::create_symlink("nothing", directory / "broken");
    create_directories(directory / "a/b");
    std::filesystem::create_directory_symlink("a", directory / "link");
    const auto there = co_await failure_of(os::makedirs(directory / "a/b"));
    REQUIRE(there);
    CHECK(there->code().value() == EEXIST);
    CHECK(there->path1() == directory / "a/b");
    CHECK_YIELDS(error_of(os::makedirs(directory / "a/b", true)), 0);
    CHECK_YIELDS(error_of(os::makedirs(directory / "a/b/", true)), 0);
    CHECK_YIELDS(error_of(os::makedirs(directory / "link", true)), 0);
    CHECK_YIELDS(error_of(os::makedirs("/", true)), 0);
    CHECK_YIELDS(error_of(os::makedirs(".", true)), 0);
    CHECK_YIELDS(error_of(os::makedirs("/")), EEXIST);
    CHECK_YIELDS(error_of(os::makedirs("", true)), ENOENT);
    CHECK_YIELDS(error_of(os::makedirs(file, true)), EEXIST);
    CHECK_YIELDS(error_of(os::makedirs(directory / "broken", true)), EEXIST);
    CHECK_YIELDS(error_of(os::makedirs(directory / "broken/x/y", true)), ENOENT);
    CHECK_YIELDS(error_of(os::makedirs(file / "x/y/z", true)), ENOTDIR);
    CHECK_YIELDS(error_of(os::makedirs(directory / "a" / std::string(300, 'n') / "x", true)), ENAMETOOLONG);
    CHECK_YIELDS(error_of(os::makedirs("/proc/nothing/x", true)), ENOENT);
  });
}

TEST_CASE("makedirs: many who make the same") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    for (int round = 0; round < 20; ++round) {
      const auto top = directory / std::to_string(round);
      std::vector<decltype(os::makedirs(top))> all;
      for (int i = 0; i < 16; ++i) all.push_back(os::makedirs(top / "b/c/d/e" / (i % 2 == 0 ? "" : "f"), true));
      co_await caio::gather(std::move(all));
      CHECK(is_directory(top / "b/c/d/e/f"));
    }
  });
}

TEST_CASE("makedirs: as long as a path can be") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd opened(directory.path(), O_PATH | O_DIRECTORY);
    const os::At at{.directory = opened.get()};
    const std::string name(90, 'd');
    std::string deep = name;
    while (deep.size() < 4094) deep += '/' + name;  // 45 times 91, less a slash, is 4094
    co_await os::makedirs(deep, false, perms::all, at);
    CHECK(::faccessat(opened.get(), deep.c_str(), F_OK, 0) == 0);
    co_await os::removedirs(deep, at);
    CHECK_FALSE(std::filesystem::exists(directory / name));
    CHECK_YIELDS(error_of(os::makedirs(deep + "/d", false, perms::all, at)), ENAMETOOLONG);
    CHECK_FALSE(std::filesystem::exists(directory / name));
  });
}

TEST_CASE("removedirs: up to the first that is not empty") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    directory.file("keep", "");
    create_directories(directory / "a/b/c");
    co_await os::removedirs(directory / "a/b/c/");
    CHECK_FALSE(is_directory(directory / "a"));
    CHECK(is_directory(directory.path()));
    create_directories(directory / "a/b/c");
    directory.file("a/file", "");
    const Fd opened(directory.path(), O_PATH | O_DIRECTORY);
    co_await os::removedirs("a/b/c", {.directory = opened.get()});
    CHECK_FALSE(is_directory(directory / "a/b"));
    CHECK(std::filesystem::exists(directory / "a/file"));
    create_directories(directory / "x/y/z");
    const auto error = co_await failure_of(os::removedirs(directory / "x/y"));
    REQUIRE(error);
    CHECK(error->code().value() == ENOTEMPTY);
    CHECK(error->path1() == directory / "x/y");
    CHECK(is_directory(directory / "x/y/z"));
    CHECK_YIELDS(error_of(os::removedirs(directory / "nothing")), ENOENT);
  });
}

TEST_CASE("renames: makes what is above the new name, and removes what is empty above the old one") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    directory.file("keep", "");
    create_directories(directory / "a/b");
    directory.file("a/b/file", "text");
    co_await os::renames(directory / "a/b/file", directory / "x/y/z");
    CHECK(support::content_of(directory / "x/y/z") == "text");
    CHECK_FALSE(is_directory(directory / "a"));
    const Fd opened(directory.path(), O_PATH | O_DIRECTORY);
    const os::At at{.directory = opened.get()};
    directory.file("x/more", "");
    co_await os::renames("x/y/z", "plain", at, at);
    CHECK(support::content_of(directory / "plain") == "text");
    CHECK_FALSE(is_directory(directory / "x/y"));
    CHECK(std::filesystem::exists(directory / "x/more"));
    co_await os::renames(directory / "plain", directory / "x/more");
    CHECK(support::content_of(directory / "x/more") == "text");
    const auto missing = co_await failure_of(os::renames(directory / "nothing", directory / "new/name"));
    REQUIRE(missing);
    CHECK(missing->code().value() == ENOENT);
    CHECK(missing->path1() == directory / "nothing");
    CHECK(missing->path2() == directory / "new/name");
    CHECK(is_directory(directory / "new"));  // as in Python
    CHECK_YIELDS(error_of(os::renames(directory / "keep", directory / "x/more/below/it")), ENOTDIR);
    CHECK(std::filesystem::exists(directory / "keep"));
  });
}
