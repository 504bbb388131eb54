#include <aiofile/copy_tree.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/error.hpp>
#include <algorithm>
#include <atomic>
#include <caio/caio.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "copied_files.hpp"
#include "os/directory_calls.hpp"
#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::CopiedTree;
using aiofile::CopyTreeOptions;
using aiofile::FileError;
using caio::Context;
using caio::Task;
using copied_files::mode_of;
using outcome::error_of;
using outcome::failure_of;

namespace fs = std::filesystem;

static_assert(std::is_trivially_copyable_v<CopiedTree>);

namespace {

/// What is below a directory: the name of each thing, and a file's content, or where a link leads.
std::map<std::string, std::string> content_of_tree(const fs::path& top) {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(top)) {
    const std::string name = entry.path().lexically_relative(top);
    if (entry.is_symlink()) {
      all[name] = "-> " + fs::read_symlink(entry.path()).string();
    } else {
      all[name] = entry.is_directory() ? "/" : support::content_of(entry.path());
    }
  }
  return all;
}

/// Files, directories and links below `directory / "from"`.
fs::path make_tree(const support::TemporaryDirectory& directory) {
  fs::create_directories(directory / "from/a/b/c");
  fs::create_directories(directory / "from/empty");
  directory.file("from/one", "1");
  directory.file("from/a/two", outcome::pattern(10'000));
  directory.file("from/a/b/nothing", "");
  directory.file("from/a/b/c/three", "3");
  fs::create_symlink("../one", directory / "from/a/to one");
  fs::create_symlink("nowhere", directory / "from/to nothing");
  fs::create_directory_symlink("a/b", directory / "from/to b");
  return directory / "from";
}

/// Names of which a hand-over reads some 280.
std::string long_name(const std::string& directory, int number) {
  return directory + "/" + std::string(200, 'n') + std::to_string(number);
}

std::atomic<int> reads = 0;

}  // namespace

TEST_CASE("copy_tree: all that is in a directory") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = make_tree(directory);
    for (const unsigned parallel : {1U, 4U, 64U}) {
      const CopyTreeOptions options{.parallel = parallel};
      const CopiedTree copied = co_await aiofile::copy_tree(from, directory / "to/", options);
      CHECK(content_of_tree(directory / "to") == content_of_tree(from));
      CHECK(copied.files == 4);
      CHECK(copied.directories == 5);
      CHECK(copied.links == 3);
      CHECK(copied.bytes == 10'002);
      fs::remove_all(directory / "to");
    }
    CHECK(support::open_files() < 100);
  });
}

TEST_CASE("copy_tree: more entries than are read at a time, on several levels") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    for (const char* const where : {"from", "from/x", "from/x/y"}) {
      fs::create_directory(directory / where);
      for (int i = 0; i < 400; ++i) directory.file(long_name(where, i), std::to_string(i));
    }
    const CopiedTree copied = co_await aiofile::copy_tree(directory / "from", directory / "to");
    CHECK(copied.files == 1200);
    CHECK((content_of_tree(directory / "to") == content_of_tree(directory / "from")));
    CHECK(outcome::descriptors_of(directory / "from") == 0);
    CHECK(outcome::descriptors_of(directory / "from/x") == 0);
  });
}

TEST_CASE("copy_tree: links are followed on request") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = make_tree(directory);
    fs::remove(from / "to nothing");
    fs::create_directory_symlink("from", directory / "link");
    const CopyTreeOptions options{.follow_links = true};
    const CopiedTree copied = co_await aiofile::copy_tree(directory / "link", directory / "to", options);
    CHECK(copied.links == 0);
    CHECK(support::content_of(directory / "to/a/to one") == "1");
    CHECK_FALSE(fs::is_symlink(directory / "to/a/to one"));
    CHECK_FALSE(fs::is_symlink(directory / "to/to b"));
    CHECK(support::content_of(directory / "to/to b/c/three") == "3");
    fs::create_symlink("nowhere", from / "to nothing");
    CHECK_YIELDS(error_of(aiofile::copy_tree(from, directory / "again", options)), ENOENT);
  });
}

TEST_CASE("copy_tree: a link that leads back is no endless way") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    fs::create_directories(directory / "from/a/b");
    fs::create_directory_symlink("../../a", directory / "from/a/b/back");
    const CopyTreeOptions options{.follow_links = true};
    const auto failure = co_await failure_of(aiofile::copy_tree(directory / "from", directory / "to", options));
    REQUIRE(failure);
    CHECK(failure->code().value() == ELOOP);
    CHECK(failure->path1() == directory / "from/a/b/back");
    CHECK_FALSE(fs::exists(directory / "to/a/b/back"));

    // To what holds the copy: that would be copied into itself.
    fs::remove(directory / "from/a/b/back");
    fs::create_directory(directory / "beside");
    fs::create_directory_symlink(directory / "beside", directory / "from/a/out");
    CHECK_YIELDS(error_of(aiofile::copy_tree(directory / "from", directory / "beside/to", options)), ELOOP);

    // To a directory of the copy.
    fs::remove(directory / "from/a/out");
    fs::create_directory_symlink(directory / "deep/a", directory / "from/a/out");
    CHECK_YIELDS(error_of(aiofile::copy_tree(directory / "from", directory / "deep", options)), ELOOP);
    CHECK_FALSE(fs::exists(directory / "deep/a/out/out"));
  });
}

TEST_CASE("copy_tree: into itself, or onto itself, is EINVAL") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = make_tree(directory);
    fs::create_directory_symlink("from/a", directory / "inside");
    const CopyTreeOptions options{.directories_exist = true};
    for (const char* const to : {"from", "from/new", "from/a/new", "inside/new", "./from/empty/../x"}) {
      const auto failure = co_await failure_of(aiofile::copy_tree(from, directory / to, options));
      REQUIRE(failure);
      CHECK(failure->code().value() == EINVAL);
      CHECK(failure->path1() == from);
    }
    CHECK(content_of_tree(from).size() == 11);
    co_await aiofile::copy_tree(from, directory / "from2");
  });
}

TEST_CASE("copy_tree: what cannot be a source or a destination") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = make_tree(directory);
    const fs::path file = directory.file("file", "text");
    fs::create_directory(directory / "there");
    CHECK_YIELDS(error_of(aiofile::copy_tree(directory / "missing", directory / "to")), ENOENT);
    CHECK_YIELDS(error_of(aiofile::copy_tree(file, directory / "to")), ENOTDIR);
    CHECK_YIELDS(error_of(aiofile::copy_tree(from, directory / "missing/to")), ENOENT);
    CHECK_YIELDS(error_of(aiofile::copy_tree(from, directory / "there")), EEXIST);
    CHECK_YIELDS(error_of(aiofile::copy_tree(from, file)), EEXIST);
    const CopyTreeOptions options{.directories_exist = true};
    CHECK_YIELDS(error_of(aiofile::copy_tree(from, file, options)), ENOTDIR);
    CHECK(support::content_of(file) == "text");
    CHECK_FALSE(fs::exists(directory / "to"));
  });
}

TEST_CASE("copy_tree: into directories that exist, where files are replaced or not") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = make_tree(directory);
    fs::create_directories(directory / "to/a");
    directory.file("to/one", "old");
    directory.file("to/mine", "mine");
    fs::create_symlink("elsewhere", directory / "to/to nothing");
    const CopyTreeOptions options{.directories_exist = true};
    co_await aiofile::copy_tree(from, directory / "to", options);
    auto expected = content_of_tree(from);
    expected["mine"] = "mine";
    CHECK(content_of_tree(directory / "to") == expected);

    const CopyTreeOptions careful{.files = {.overwrite = false}, .directories_exist = true};
    CHECK_YIELDS(error_of(aiofile::copy_tree(from, directory / "to", careful)), EEXIST);
  });
}

TEST_CASE("copy_tree: permissions less the umask, also those that keep us out") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = make_tree(directory);
    ::chmod((from / "a/b").c_str(), 0577);
    ::chmod((from / "a").c_str(), 01777);
    const ::mode_t umask = ::umask(027);
    co_await aiofile::copy_tree(from, directory / "to");
    const CopyTreeOptions options{.files = {.preserve_permissions = true}};
    co_await aiofile::copy_tree(from, directory / "preserved", options);
    ::umask(umask);
    CHECK(mode_of(directory / "to/a/b") == 0550);
    CHECK(mode_of(directory / "to/a") == 0750);
    CHECK(mode_of(directory / "preserved/a/b") == 0577);
    CHECK(mode_of(directory / "preserved/a") == 01777);
    for (const char* const name : {"from/a/b", "to/a/b", "preserved/a/b"}) ::chmod((directory / name).c_str(), 0700);
  });
}

TEST_CASE("copy_tree: times are kept on request, of directories and links, too") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = make_tree(directory);
    const char* const names[] = {"one", "a/two", "to nothing", "a/b/c", "a/b", "a", "empty", "."};
    const ::timespec times[2] = {{.tv_sec = 111, .tv_nsec = 5}, {.tv_sec = 222, .tv_nsec = 7}};
    for (const char* const name : names) {
      REQUIRE(::utimensat(AT_FDCWD, (from / name).c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
    }
    const CopyTreeOptions options{.files = {.preserve_times = true}};
    co_await aiofile::copy_tree(from, directory / "to", options);
    for (const char* const name : names) {
      INFO(name);
      struct ::stat status {};
      REQUIRE(::lstat((directory / "to" / name).c_str(), &status) == 0);
      CHECK(status.st_mtim.tv_sec == 222);
      CHECK(status.st_mtim.tv_nsec == 7);
    }
  });
}

TEST_CASE("copy_tree: the first failure ends it, unless somebody is told of each") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = make_tree(directory);
    REQUIRE(::mkfifo((from / "a/fifo").c_str(), 0600) == 0);
    REQUIRE(::mkfifo((from / "fifo").c_str(), 0600) == 0);
    CHECK_YIELDS(error_of(aiofile::copy_tree(from, directory / "to")), EINVAL);

    std::set<std::string> failed;
    auto on_error = [&](const FileError& error) {
      CHECK(error.code().value() == EINVAL);
      failed.insert(error.path1().string());
    };
    const CopyTreeOptions options{.on_error = on_error};
    const CopiedTree copied = co_await aiofile::copy_tree(from, directory / "again", options);
    CHECK(failed == std::set<std::string>{from / "a/fifo", from / "fifo"});
    CHECK(copied.files == 4);
    fs::remove(from / "fifo");
    fs::remove(from / "a/fifo");
    CHECK(content_of_tree(directory / "again") == content_of_tree(from));
    CHECK_YIELDS(error_of(aiofile::copy_tree(from, directory / "again", options)), EEXIST);
  });
}

TEST_CASE("copy_tree: what could be read of a directory is copied before its error is told") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = directory / "from";
    fs::create_directory(from);
    for (int i = 0; i < 400; ++i) directory.file(long_name("from", i), "");
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = [](int fd, void* buffer, std::size_t size) -> ::ssize_t {
      if (++reads == 3) return errno = EIO, -1;
      return ::getdents64(fd, buffer, std::min<std::size_t>(size, 40 * 1024));
    };
    std::size_t failures = 0;
    auto on_error = [&](const FileError& error) {
      ++failures;
      CHECK(error.code().value() == EIO);
      CHECK(error.path1() == from);
    };
    reads = 0;
    const CopyTreeOptions options{.on_error = on_error};
    const CopiedTree copied = co_await aiofile::copy_tree(from, directory / "to", options);
    CHECK(failures == 1);
    CHECK(copied.files > 250);
    CHECK(copied.files < 400);
    reads = 0;
    CHECK_YIELDS(error_of(aiofile::copy_tree(from, directory / "again")), EIO);
    CHECK(outcome::descriptors_of(from) == 0);
  });
}

TEST_CASE("copy_tree: a directory that cannot get its times is told of, and the others get theirs") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = directory / "from";
    for (const char* name : {"a", "b", "c"}) fs::create_directories(from / name);
    directory.file("from/b/file", "1");
    const auto long_ago = fs::last_write_time(from) - std::chrono::hours(1000);
    for (const char* name : {"a", "b", "c", "."}) fs::last_write_time(from / name, long_ago);
    const fs::path to = directory / "to";
    std::set<std::string> failed;
    auto on_error = [&](const FileError& error) { failed.insert(error.path1().filename().string()); };
    auto progress = [&](std::uint64_t, std::uint64_t) { fs::remove_all(to / "b"); };  // before it gets its times
    const CopyTreeOptions options{
        .files = {.preserve_times = true, .progress = progress}, .parallel = 1, .on_error = on_error};
    co_await aiofile::copy_tree(from, to, options);
    CHECK(failed == std::set<std::string>{"b"});
    for (const char* name : {"a", "c", "."}) CHECK((fs::last_write_time(to / name) == long_ago));
  });
}

TEST_CASE("copy_tree: progress is the bytes of all") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = make_tree(directory);
    std::vector<std::uint64_t> seen;
    auto progress = [&](std::uint64_t done, std::uint64_t total) {
      CHECK(total == 0);
      seen.push_back(done);
    };
    const CopyTreeOptions options{.files = {.progress = progress}};
    co_await aiofile::copy_tree(from, directory / "to", options);
    CHECK(seen.size() == 4);
    CHECK(std::is_sorted(seen.begin(), seen.end()));
    CHECK(seen.back() == 10'002);
  });
}

TEST_CASE("copy_tree: wrong arguments are refused by the call") {
  CHECK_THROWS_AS(aiofile::copy_tree(std::string("a\0b", 3), "c"), std::invalid_argument);
  CHECK_THROWS_AS(aiofile::copy_tree("c", std::string("a\0b", 3)), std::invalid_argument);
  CHECK_THROWS_AS(aiofile::copy_tree("a", "b", {.parallel = 0}), std::invalid_argument);
  CHECK_THROWS_AS(aiofile::copy_tree("a", "b", {.parallel = 65}), std::invalid_argument);
  CHECK_THROWS_AS(aiofile::copy_tree("a", "b", {.files = {.buffer_size = 0}}), std::invalid_argument);
}

TEST_CASE("copy_tree: a stop ends it, also where somebody is told of failures; files are whole") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    fs::create_directory(directory / "from");
    const std::string content = outcome::pattern(5'000);
    for (int i = 0; i < 50; ++i) directory.file("from/" + std::to_string(i), content);
    for (const int stop_at : {0, 1, 10}) {
      std::stop_source source;
      if (stop_at == 0) source.request_stop();
      int calls = 0;
      auto progress = [&](std::uint64_t, std::uint64_t) {
        if (++calls == stop_at) source.request_stop();
      };
      auto on_error = [](const FileError&) { FAIL("a stop is no failure of a file"); };
      const CopyTreeOptions options{.files = {.progress = progress}, .on_error = on_error};
      CHECK_YIELDS(error_of(caio::with_stop(source.get_token(),
                                            aiofile::copy_tree(directory / "from", directory / "to", options))),
                   ECANCELED);
      CHECK(calls < 50);
      if (!fs::exists(directory / "to")) continue;
      for (const auto& [name, text] : content_of_tree(directory / "to")) CHECK((text == content));
      fs::remove_all(directory / "to");
    }
  });
}

TEST_CASE("copy_tree: destroyed at any moment, it leaves whole files and no descriptor") {
  support::on_every_backend([](Context& context) -> Task<> {
    const support::TemporaryDirectory directory;
    const fs::path from = make_tree(directory);
    for (int i = 0; i < 400; ++i) directory.file(long_name("from/empty", i), "text");
    const auto wanted = content_of_tree(from);
    for (int turns = 0; turns < 40; turns += 1 + turns / 4) {
      int error = -1;
      {
        caio::TaskGroup group;
        group.spawn(outcome::store_error(aiofile::copy_tree(from, directory / "to"), error));
        for (int i = 0; i < turns && error < 0; ++i) co_await context.schedule();
      }
      if (fs::exists(directory / "to")) {
        for (const auto& [name, text] : content_of_tree(directory / "to")) CHECK(text == wanted.at(name));
      }
      CHECK(outcome::descriptors_of(from / "empty") == 0);
      fs::remove_all(directory / "to");
    }
  });
}
