#include <aiofile/os/names.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/error.hpp>
#include <aiofile/os/path.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

#include "aiofile/outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/pipe.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

namespace os = aiofile::os;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::failure_of;
using std::filesystem::perms;
using support::content_of;
using support::Fd;
using support::TemporaryDirectory;

namespace {

struct ::stat status_of(const std::filesystem::path& path) {
  struct ::stat status {};
  ::lstat(path.c_str(), &status);
  return status;
}

/// What renames and what replaces are the same on Linux.
template <class Rename>
Task<> check_rename(Rename rename, std::string name) {
  const TemporaryDirectory directory;
  co_await rename(directory.file("a", "new"), directory.file("b", "old"), os::At(), os::At());
  CHECK(content_of(directory / "b") == "new");
  CHECK_FALSE(std::filesystem::exists(directory / "a"));

  std::filesystem::create_directories(directory / "from");
  std::filesystem::create_directories(directory / "to");
  const Fd from(directory / "from", O_PATH | O_DIRECTORY);
  const Fd to(directory / "to", O_PATH | O_DIRECTORY);
  directory.file("from/x", "here");
  co_await rename("x", "y", os::At{from.get()}, os::At{to.get()});
  CHECK(content_of(directory / "to/y") == "here");

  const auto missing = co_await failure_of(rename(directory / "c", directory / "d", os::At(), os::At()));
  REQUIRE(missing);
  CHECK(missing->code().value() == ENOENT);
  CHECK(missing->path1() == directory / "c");
  CHECK(missing->path2() == directory / "d");
  CHECK(std::string(missing->what()).find(name) != std::string::npos);
  CHECK_YIELDS(error_of(rename(directory / "b", directory / "to", os::At(), os::At())), EISDIR);
  CHECK_YIELDS(error_of(rename(directory / "to", directory / "b", os::At(), os::At())), ENOTDIR);
  const int not_empty = co_await error_of(rename(directory / "from", directory / "to", os::At(), os::At()));
  CHECK((not_empty == ENOTEMPTY || not_empty == EEXIST));  // as XFS says it; POSIX has both
  CHECK_YIELDS(error_of(rename(directory / "to", directory / "to/below", os::At(), os::At())), EINVAL);
  CHECK(content_of(directory / "b") == "new");
}

template <class Remove>
Task<> check_remove(Remove remove) {
  const TemporaryDirectory directory;
  const auto file = directory.file("file", "text");
  std::filesystem::create_symlink("file", directory / "link");
  co_await remove(directory / "link", os::At());
  CHECK_FALSE(std::filesystem::is_symlink(directory / "link"));
  CHECK(std::filesystem::exists(file));
  const Fd opened(directory.path(), O_PATH | O_DIRECTORY);
  co_await remove("file", os::At{opened.get()});
  CHECK_FALSE(std::filesystem::exists(file));
  const auto gone = co_await failure_of(remove(file, os::At()));
  REQUIRE(gone);
  CHECK(gone->code().value() == ENOENT);
  CHECK(gone->path1() == file);
  CHECK_YIELDS(error_of(remove(directory.path(), os::At())), EISDIR);
  CHECK_YIELDS(error_of(remove("/proc/version", os::At())), ::geteuid() == 0 ? EPERM : EACCES);
}

}  // namespace

TEST_CASE("rename: replaces what has the name") {
  support::on_every_backend([](Context&) -> Task<> {
    co_await check_rename([](auto&&... arguments) { return os::rename(arguments...); }, "rename");
  });
}

TEST_CASE("replace: the same") {
  support::on_every_backend([](Context&) -> Task<> {
    co_await check_rename([](auto&&... arguments) { return os::replace(arguments...); }, "replace");
  });
}

TEST_CASE("rename: not to another file system") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    if (status_of("/dev/shm").st_dev == status_of(directory.path()).st_dev) co_return;
    CHECK_YIELDS(error_of(os::rename(directory.file("file", ""), "/dev/shm/aiofile-names-test")), EXDEV);
  });
}

TEST_CASE("remove: a name, not a directory, and a link itself") {
  support::on_every_backend(
      [](Context&) -> Task<> { co_await check_remove([](auto&&... arguments) { return os::remove(arguments...); }); });
}

TEST_CASE("unlink: the same") {
  support::on_every_backend(
      [](Context&) -> Task<> { co_await check_remove([](auto&&... arguments) { return os::unlink(arguments...); }); });
}

TEST_CASE("link: one more name") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto file = directory.file("file", "text");
    std::filesystem::create_symlink("file", directory / "symbolic");
    co_await os::link(file, directory / "second");
    CHECK(status_of(file).st_nlink == 2);
    const Fd opened(directory.path(), O_PATH | O_DIRECTORY);
    const os::At at{.directory = opened.get()};
    co_await os::link("file", "third", at, at);
    CHECK(status_of(file).st_nlink == 3);
    CHECK(status_of(directory / "third").st_ino == status_of(file).st_ino);
    co_await os::link(directory / "symbolic", "fourth", {}, at);
    CHECK(std::filesystem::is_symlink(directory / "fourth"));
    const auto there = co_await failure_of(os::link(file, directory / "second"));
    REQUIRE(there);
    CHECK(there->code().value() == EEXIST);
    CHECK(there->path2() == directory / "second");
    CHECK_YIELDS(error_of(os::link(directory.path(), directory / "no")), EPERM);
  });
}

TEST_CASE("symlink: holds what it was given, and readlink gives it back") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd opened(directory.path(), O_PATH | O_DIRECTORY);
    const os::At at{.directory = opened.get()};
    std::string longest;
    while (longest.size() < 4000) longest += "0123456789/";
    if (::symlink(longest.c_str(), (directory / "longest").c_str()) != 0) longest.resize(1000);  // XFS
    const std::string targets[] = {
        "file", "../no//where/", "/absolute", std::string(255, 'a'), std::string(256, 'b'), std::string(257, 'c'),
        longest};
    for (const std::string& target : targets) {
      const std::string name = "link" + std::to_string(target.size());
      co_await os::symlink(target, directory / name);
      CHECK_YIELDS(os::readlink(directory / name), target);
      co_await os::symlink(target, name + "at", at);
      CHECK_YIELDS(os::readlink(name + "at", at), target);
    }
    const auto there = co_await failure_of(os::symlink("file", directory / "link4"));
    REQUIRE(there);
    CHECK(there->code().value() == EEXIST);
    CHECK(there->path1() == "file");
    CHECK(there->path2() == directory / "link4");
    CHECK_YIELDS(error_of(os::symlink("", directory / "empty")), ENOENT);
    CHECK_YIELDS(error_of(os::readlink(directory.file("file", ""))), EINVAL);
    CHECK_YIELDS(error_of(os::readlink(directory / "nothing")), ENOENT);
  });
}

TEST_CASE("getcwd, abspath: from the working directory, by the words alone") {
  support::on_every_backend([](Context& context) -> Task<> {
    const std::filesystem::path here = std::filesystem::current_path();
    const std::uint64_t before = context.stats().submitted;
    CHECK_YIELDS(os::getcwd(), here);
    const std::pair<std::string, std::string> all[] = {{"a", here / "a"},
                                                       {"", here},
                                                       {".", here},
                                                       {"./a/../b/", here / "b"},
                                                       {"a//b/./", here / "a/b"},
                                                       {"..", here.parent_path()},
                                                       {"/", "/"},
                                                       {"/..", "/"},
                                                       {"/a/b/../../c", "/c"},
                                                       {"/a/", "/a"},
                                                       {"/a/..", "/"},
                                                       {"nothing/../a", here / "a"}};
    for (const auto& [path, wanted] : all) {
      INFO(path);
      CHECK_YIELDS(os::abspath(path), wanted);
    }
    CHECK(context.stats().submitted == before);  // in place
  });
  CHECK_THROWS_AS(os::abspath(std::string("a\0", 2)), std::invalid_argument);
}

TEST_CASE("getcwd: in a directory that was removed") {
  const TemporaryDirectory directory;
  const auto gone = directory / "gone";
  std::filesystem::create_directory(gone);
  CHECK(support::answer_in_child([&] {
          std::filesystem::current_path(gone);
          std::filesystem::remove(gone);
          Context context(caio::Implementation::blocking);
          const auto answer = [&](auto awaitable) {
            return std::to_string(context.run(error_of(std::move(awaitable))));
          };
          return answer(os::getcwd()) + " " + answer(os::abspath("a")) + " " + answer(os::abspath("/a"));
        }) == std::to_string(ENOENT) + " " + std::to_string(ENOENT) + " 0");
}

TEST_CASE("chmod: with the special bits, and of what a link leads to") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto file = directory.file("file", "");
    std::filesystem::create_symlink("file", directory / "link");
    co_await os::chmod(file, perms{04751});
    CHECK((status_of(file).st_mode & 07777U) == 04751);
    co_await os::chmod(directory / "link", perms::owner_read);
    CHECK((status_of(file).st_mode & 07777U) == 0400);
    const Fd opened(directory.path(), O_PATH | O_DIRECTORY);
    co_await os::chmod("file", perms::none, {.directory = opened.get()});
    CHECK((status_of(file).st_mode & 07777U) == 0);
    CHECK_YIELDS(error_of(os::chmod(directory / "nothing", perms::all)), ENOENT);
  });
}

TEST_CASE("chown, lchown: one, the other, or both") {
  if (::geteuid() != 0) {
    WARN("only root can give files away");
    return;
  }
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto file = directory.file("file", "");
    const auto link = directory / "link";
    std::filesystem::create_symlink("file", link);
    const Fd opened(directory.path(), O_PATH | O_DIRECTORY);
    const os::At at{.directory = opened.get()};
    co_await os::chown(link, 12, 34);
    CHECK(status_of(file).st_uid == 12);
    CHECK(status_of(file).st_gid == 34);
    CHECK(status_of(link).st_uid == 0);
    co_await os::chown("file", std::nullopt, 56, at);
    CHECK(status_of(file).st_uid == 12);
    CHECK(status_of(file).st_gid == 56);
    co_await os::lchown(link, 78, std::nullopt);
    CHECK(status_of(link).st_uid == 78);
    CHECK(status_of(link).st_gid == 0);
    co_await os::lchown("link", std::nullopt, 90, at);
    CHECK(status_of(link).st_gid == 90);
    CHECK(status_of(file).st_gid == 56);
    CHECK_YIELDS(error_of(os::chown(directory / "nothing", 1, 1)), ENOENT);
    CHECK_YIELDS(error_of(os::lchown(directory / "nothing", 1, 1)), ENOENT);
  });
}

TEST_CASE("utime: to the nanosecond, one at a time, or now") {
  support::on_every_backend([](Context&) -> Task<> {
    using std::chrono::nanoseconds;
    using std::chrono::seconds;
    const TemporaryDirectory directory;
    const auto file = directory.file("file", "");
    std::filesystem::create_symlink("file", directory / "link");
    const os::Time accessed(seconds(1'000'000'000) + nanoseconds(123'456'789));
    const os::Time modified(seconds(-1000) + nanoseconds(1));  // before 1970
    co_await os::utime(directory / "link", accessed, modified);
    CHECK(status_of(file).st_atim.tv_sec == 1'000'000'000);
    CHECK(status_of(file).st_atim.tv_nsec == 123'456'789);
    CHECK(status_of(file).st_mtim.tv_sec == -1000);
    CHECK(status_of(file).st_mtim.tv_nsec == 1);
    CHECK_YIELDS(os::get_mtime(file), modified);
    const Fd opened(directory.path(), O_PATH | O_DIRECTORY);
    co_await os::utime("file", std::nullopt, os::Time(seconds(5)), {.directory = opened.get()});
    CHECK(status_of(file).st_atim.tv_sec == 1'000'000'000);
    CHECK(status_of(file).st_mtim.tv_sec == 5);
    co_await os::utime(file, os::Time(seconds(7)), std::nullopt);
    CHECK(status_of(file).st_atim.tv_sec == 7);
    CHECK(status_of(file).st_mtim.tv_sec == 5);
    const ::time_t before = ::time(nullptr) - 1;
    co_await os::utime("file", {.directory = opened.get()});
    CHECK(status_of(file).st_atim.tv_sec >= before);
    CHECK(status_of(file).st_mtim.tv_sec >= before);
    CHECK_YIELDS(error_of(os::utime(directory / "nothing")), ENOENT);
    CHECK_YIELDS(error_of(os::utime(file / "below", accessed, modified)), ENOTDIR);
    CHECK_YIELDS(error_of(os::utime(directory / "nothing", std::nullopt, std::nullopt)), 0);
  });
}

TEST_CASE("utime: the whole range of a Time") {
  const auto spec = [](std::int64_t nanoseconds) {
    const ::timespec found = aiofile::detail::timespec_of(os::Time(std::chrono::nanoseconds(nanoseconds)));
    return std::pair<std::int64_t, long>(found.tv_sec, found.tv_nsec);
  };
  using Pair = std::pair<std::int64_t, long>;
  CHECK(spec(0) == Pair(0, 0));
  CHECK(spec(-1) == Pair(-1, 999'999'999));
  CHECK(spec(-1'000'000'000) == Pair(-1, 0));
  CHECK(spec(std::numeric_limits<std::int64_t>::max()) == Pair(9'223'372'036, 854'775'807));
  CHECK(spec(std::numeric_limits<std::int64_t>::min()) == Pair(-9'223'372'037, 145'224'192));
}

TEST_CASE("os: one that is stopped before it begins does nothing") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto file = directory.file("file", "");
    std::stop_source source;
    source.request_stop();
    CHECK_YIELDS(error_of(caio::with_stop(source.get_token(), os::remove(file))), ECANCELED);
    CHECK_YIELDS(error_of(caio::with_stop(source.get_token(), os::rename(file, directory / "x"))), ECANCELED);
    CHECK(std::filesystem::exists(file));
  });
}

TEST_CASE("os: a path with a NUL in it is refused by the call, wherever it stands") {
  const std::string path("a\0b", 3);
  CHECK_THROWS_AS(os::remove(path), std::invalid_argument);
  CHECK_THROWS_AS(os::rename(path, "b"), std::invalid_argument);
  CHECK_THROWS_AS(os::rename("b", path), std::invalid_argument);
  CHECK_THROWS_AS(os::link("b", path), std::invalid_argument);
  CHECK_THROWS_AS(os::symlink(path, "b"), std::invalid_argument);
  CHECK_THROWS_AS(os::readlink(path), std::invalid_argument);
}
