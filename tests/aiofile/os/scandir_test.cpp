#include <aiofile/os/scandir.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <caio/caio.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "../outcome.hpp"
#include "directory_calls.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

namespace os = aiofile::os;
using aiofile::FileError;
using caio::Context;
using caio::Implementation;
using caio::Task;
using outcome::error_of;
using outcome::failure_of;
using std::filesystem::file_type;
using Names = std::vector<std::string>;

namespace {

Names sorted(Names names) {
  std::sort(names.begin(), names.end());
  return names;
}

Task<std::vector<os::DirectoryEntry>> all_of(caio::Generator<os::DirectoryEntry> entries) {
  std::vector<os::DirectoryEntry> all;
  while (auto entry = co_await entries.next()) all.push_back(std::move(*entry));
  co_return all;
}

Names names_of(const std::vector<os::DirectoryEntry>& entries) {
  Names names;
  for (const os::DirectoryEntry& entry : entries) names.emplace_back(entry.name());
  return sorted(std::move(names));
}

const os::DirectoryEntry& find(const std::vector<os::DirectoryEntry>& entries, std::string_view name) {
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const auto& each) { return each.name() == name; });
  REQUIRE(found != entries.end());
  return *found;
}

/// One of each kind.
void fill(const support::TemporaryDirectory& directory) {
  directory.file("file", "12345");
  std::filesystem::create_directory(directory / "directory");
  std::filesystem::create_symlink("file", directory / "link");
  std::filesystem::create_directory_symlink("directory", directory / "directory link");
  std::filesystem::create_symlink("nowhere", directory / "broken");
  ::mkfifo((directory / "fifo").c_str(), 0600);
}

const Names filled = {"broken", "directory", "directory link", "fifo", "file", "link"};

/// Enough entries for several hand-overs, each an empty file; made once.
const std::filesystem::path& many() {
  static const support::TemporaryDirectory directory;
  static const bool made = [] {
    for (int i = 0; i < 1000; ++i) directory.file(std::to_string(i) + std::string(200, 'x'), "");
    return true;
  }();
  static_cast<void>(made);
  return directory.path();
}

std::atomic<int> calls = 0;

/// What fill() has made, with no link followed.
void check_filled(const std::vector<os::DirectoryEntry>& entries) {
  CHECK(names_of(entries) == filled);
  CHECK(find(entries, "file").type() == file_type::regular);
  CHECK(find(entries, "directory").type() == file_type::directory);
  CHECK(find(entries, "link").type() == file_type::symlink);
  CHECK(find(entries, "directory link").type() == file_type::symlink);
  CHECK(find(entries, "broken").type() == file_type::symlink);
  CHECK(find(entries, "fifo").type() == file_type::fifo);
}

}  // namespace

TEST_CASE("listdir: the names, without those of the directory itself and the one above") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    CHECK_YIELDS(os::listdir(directory.path()), Names());
    fill(directory);
    auto names = co_await os::listdir(directory.path());
    CHECK(sorted(std::move(names)) == filled);
  });
}

TEST_CASE("listdir: names are bytes, up to the longest") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    Names wanted = {"\xff\xfe", "a\nb", "...", ".hidden", "..x", std::string(255, 'n')};
    for (const std::string& name : wanted) directory.file(name, "");
    auto names = co_await os::listdir(directory.path());
    CHECK(sorted(std::move(names)) == sorted(wanted));
  });
}

TEST_CASE("listdir: more names than one hand-over reads") {
  static const Names wanted = [] {
    Names names;
    for (const auto& entry : std::filesystem::directory_iterator(many())) names.push_back(entry.path().filename());
    return sorted(names);
  }();
  support::on_every_backend([](Context&) -> Task<> {
    auto names = co_await os::listdir(many());
    CHECK(sorted(std::move(names)) == wanted);
  });
}

TEST_CASE("listdir: relative to a directory, which stays open") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    std::filesystem::create_directory(directory / "inner");
    directory.file("inner/file", "");
    const caio::detail::UniqueFd fd(::open(directory.path().c_str(), O_PATH | O_CLOEXEC));
    CHECK_YIELDS(os::listdir("inner", {fd.get()}), Names{"file"});
    CHECK_YIELDS(os::listdir(".", {fd.get()}), Names{"inner"});
    CHECK(outcome::is_open(fd.get()));
  });
}

TEST_CASE("listdir, scandir: errors name the operation, the path and the reason") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const auto file = directory.file("file", "");
    std::filesystem::create_symlink("loop", directory / "loop");
    const auto error = co_await failure_of(os::listdir(directory / "missing"));
    REQUIRE(error);
    CHECK(error->code().value() == ENOENT);
    CHECK(error->path1() == directory / "missing");
    CHECK(std::string(error->what()).find("listdir") != std::string::npos);
    CHECK_YIELDS(error_of(os::listdir(file)), ENOTDIR);
    CHECK_YIELDS(error_of(os::listdir(directory / "loop")), ELOOP);
    CHECK_YIELDS(error_of(os::listdir(directory / std::string(256, 'x'))), ENAMETOOLONG);
    CHECK_YIELDS(error_of(os::listdir("")), ENOENT);
    CHECK_YIELDS(error_of(os::listdir("x", {-1})), EBADF);

    const auto scanned = co_await failure_of(all_of(os::scandir(file)));
    REQUIRE(scanned);
    CHECK(scanned->code().value() == ENOTDIR);
    CHECK(scanned->path1() == file);
    CHECK(std::string(scanned->what()).find("scandir") != std::string::npos);
  });
  const std::string with_nul("a\0b", 3);
  CHECK_THROWS_AS(os::listdir(with_nul), std::invalid_argument);
  CHECK_THROWS_AS(os::scandir(with_nul), std::invalid_argument);
}

TEST_CASE("listdir, scandir: not awaited, they do nothing") {
  support::on_every_backend([](Context&) -> Task<> {
    calls = 0;
    const support::ReplacedDirectoryCalls replaced;
    replaced->openat = [](int, const char*, int) {
      ++calls;
      errno = EACCES;
      return -1;
    };
    static_cast<void>(os::listdir("x"));
    auto entries = os::scandir("x");
    CHECK(calls == 0);
    CHECK_YIELDS(error_of(all_of(std::move(entries))), EACCES);
    CHECK(calls == 1);
  });
}

TEST_CASE("listdir, scandir: an error in the middle") {
  support::on_every_backend([](Context&) -> Task<> {
    calls = 0;
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = [](int, void* buffer, std::size_t) -> ::ssize_t {
      // Two entries come with the first call, the error with the next.
      errno = EIO;
      if (calls++ % 2 != 0) return -1;
      const std::size_t first = support::put_record(buffer, "first", DT_REG);
      return static_cast<::ssize_t>(first + support::put_record(static_cast<char*>(buffer) + first, "second", DT_REG));
    };
    const support::TemporaryDirectory directory;
    directory.file("a", "");
    CHECK_YIELDS(error_of(os::listdir(directory.path())), EIO);

    auto entries = os::scandir(directory.path());
    int count = 0;
    int error = 0;
    try {
      while (auto entry = co_await entries.next()) ++count;
    } catch (const FileError& failure) {
      error = failure.code().value();
    }
    CHECK(error == EIO);
    CHECK(count == 2);
    const bool more = (co_await entries.next()).has_value();
    CHECK_FALSE(more);
  });
}

TEST_CASE("scandir: what was read before an error is given first") {
  support::on_every_backend([](Context&) -> Task<> {
    calls = 0;
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = [](int, void* buffer, std::size_t) -> ::ssize_t {
      errno = EIO;
      return calls++ == 0 ? static_cast<::ssize_t>(support::put_record(buffer, "first", DT_REG)) : -1;
    };
    auto entries = os::scandir(".");
    const auto first = co_await entries.next();
    REQUIRE(first);
    CHECK(first->name() == "first");
    int error = 0;
    try {
      co_await entries.next();
    } catch (const FileError& failure) {
      error = failure.code().value();
    }
    CHECK(error == EIO);
    const bool more = (co_await entries.next()).has_value();
    CHECK_FALSE(more);
  });
}

TEST_CASE("listdir, scandir: a directory that is removed meanwhile has come to its end") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = [](int fd, void* buffer, std::size_t size) -> ::ssize_t {
      std::filesystem::remove(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)));
      return ::getdents64(fd, buffer, size);
    };
    const support::TemporaryDirectory directory;
    std::filesystem::create_directory(directory / "inner");
    CHECK_YIELDS(os::listdir(directory / "inner"), Names());
    CHECK_FALSE(std::filesystem::exists(directory / "inner"));
    std::filesystem::create_directory(directory / "inner");
    const auto entries = co_await all_of(os::scandir(directory / "inner"));
    CHECK(entries.empty());
  });
}

TEST_CASE("scandir: names, paths, types and inodes") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    fill(directory);
    const auto entries = co_await all_of(os::scandir(directory.path()));
    check_filled(entries);
    CHECK(find(entries, "file").is_file());
    CHECK_FALSE(find(entries, "directory").is_file());
    CHECK(find(entries, "directory").is_dir());
    CHECK_FALSE(find(entries, "directory link").is_dir());
    CHECK(find(entries, "directory link").is_link());
    CHECK_FALSE(find(entries, "directory").is_link());
    for (const os::DirectoryEntry& entry : entries) {
      struct ::stat status {};
      REQUIRE(::lstat(entry.path().c_str(), &status) == 0);
      CHECK(entry.inode() == status.st_ino);
      CHECK(entry.path() == directory.path() / entry.name());
      CHECK(entry.stat() == nullptr);
      CHECK(entry.error() == 0);
    }
  });
}

TEST_CASE("scandir: a path is the one that was given, and the name") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    directory.file("file", "");
    auto slash = os::scandir(directory.path().string() + "/");
    const auto entry = co_await slash.next();
    REQUIRE(entry);
    CHECK(entry->path().native() == directory.path().native() + "/file");
    const caio::detail::UniqueFd fd(::open(directory.path().c_str(), O_PATH | O_CLOEXEC));
    auto relative = os::scandir(".", {}, {fd.get()});
    const auto other = co_await relative.next();
    REQUIRE(other);
    CHECK(other->path().native() == "./file");
    auto root = os::scandir("/");
    const auto top = co_await root.next();
    REQUIRE(top);
    CHECK(top->path().native() == "/" + std::string(top->name()));
  });
}

TEST_CASE("scandir: types are asked for where the file system does not tell") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = support::getdents_without_types;
    const support::TemporaryDirectory directory;
    fill(directory);
    const auto entries = co_await all_of(os::scandir(directory.path()));
    check_filled(entries);
    CHECK(find(entries, "file").stat() == nullptr);
    const auto followed = co_await all_of(os::scandir(directory.path(), {.follow_links = true}));
    CHECK(find(followed, "directory link").type() == file_type::directory);
    CHECK(find(followed, "directory link").is_link());
    CHECK_FALSE(find(followed, "directory").is_link());
  });
}

TEST_CASE("scandir: a type that nobody knows stays unknown, and marks of the file system's own count for nothing") {
  support::on_every_backend([](Context&) -> Task<> {
    calls = 0;
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = [](int, void* buffer, std::size_t) -> ::ssize_t {
      if (calls++ > 0) return 0;
      const std::size_t first = support::put_record(buffer, "file/no directory", DT_UNKNOWN);
      return static_cast<::ssize_t>(first +
                                    support::put_record(static_cast<char*>(buffer) + first, "b", 0xf0 | DT_REG));
    };
    const support::TemporaryDirectory directory;
    directory.file("file", "");
    const auto entries = co_await all_of(os::scandir(directory.path()));
    REQUIRE(entries.size() == 2);
    CHECK(entries[0].type() == file_type::unknown);
    CHECK(entries[0].error() == 0);
    CHECK(entries[1].type() == file_type::regular);
    CHECK_FALSE(entries[1].is_link());
  });
}

TEST_CASE("scandir: with Stats") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    fill(directory);
    const auto entries = co_await all_of(os::scandir(directory.path(), {.stat = true}));
    CHECK(names_of(entries) == filled);
    for (const os::DirectoryEntry& entry : entries) {
      struct ::stat status {};
      REQUIRE(::lstat(entry.path().c_str(), &status) == 0);
      REQUIRE(entry.stat() != nullptr);
      CHECK(entry.stat()->inode == status.st_ino);
      CHECK(entry.stat()->size == static_cast<std::uint64_t>(status.st_size));
      CHECK(entry.stat()->type == entry.type());
      CHECK(entry.error() == 0);
    }
    CHECK(find(entries, "file").stat()->size == 5);
    CHECK(find(entries, "link").type() == file_type::symlink);
  });
}

TEST_CASE("scandir: links are followed where that is asked for") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    fill(directory);
    const auto entries = co_await all_of(os::scandir(directory.path(), {.stat = true, .follow_links = true}));
    CHECK(names_of(entries) == filled);
    CHECK(find(entries, "link").type() == file_type::regular);
    CHECK(find(entries, "link").is_link());
    CHECK(find(entries, "link").stat()->size == 5);
    CHECK(find(entries, "directory link").is_dir());
    CHECK(find(entries, "directory link").stat()->type == file_type::directory);
    CHECK(find(entries, "directory link").inode() != find(entries, "directory").inode());
    CHECK(find(entries, "broken").type() == file_type::symlink);
    CHECK(find(entries, "broken").is_link());
    REQUIRE(find(entries, "broken").stat() != nullptr);
    CHECK(find(entries, "broken").stat()->type == file_type::symlink);
    CHECK_FALSE(find(entries, "file").is_link());

    const auto types = co_await all_of(os::scandir(directory.path(), {.follow_links = true}));
    CHECK(find(types, "link").type() == file_type::regular);
    CHECK(find(types, "broken").type() == file_type::symlink);
    CHECK(find(types, "link").stat() == nullptr);
  });
}

TEST_CASE("scandir: what vanishes before its Stat is left out, and shifts no other's") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = [](int fd, void* buffer, std::size_t size) -> ::ssize_t {
      const ::ssize_t count = ::getdents64(fd, buffer, size);
      ::unlinkat(fd, "2", 0);
      return count;
    };
    const support::TemporaryDirectory directory;
    for (const char* const name : {"1", "2", "3", "4"}) {
      directory.file(name, std::string(static_cast<std::size_t>(name[0] - '0'), 'x'));
    }
    const auto entries = co_await all_of(os::scandir(directory.path(), {.stat = true}));
    CHECK(names_of(entries) == Names{"1", "3", "4"});
    for (const os::DirectoryEntry& entry : entries) {
      CHECK(entry.stat()->size == static_cast<std::uint64_t>(entry.name()[0] - '0'));
    }
  });
}

TEST_CASE("scandir: a Stat that fails is that entry's error") {
  support::on_every_backend([](Context&) -> Task<> {
    calls = 0;
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = [](int, void* buffer, std::size_t) -> ::ssize_t {
      if (calls++ > 0) return 0;
      const std::size_t first = support::put_record(buffer, "file/no directory", DT_REG);
      return static_cast<::ssize_t>(first + support::put_record(static_cast<char*>(buffer) + first, "file", DT_REG));
    };
    const support::TemporaryDirectory directory;
    directory.file("file", "");
    const auto entries = co_await all_of(os::scandir(directory.path(), {.stat = true}));
    REQUIRE(entries.size() == 2);
    CHECK(entries[0].error() == ENOTDIR);
    CHECK(entries[0].stat() == nullptr);
    CHECK(entries[0].type() == file_type::regular);
    CHECK(entries[1].error() == 0);
    CHECK(entries[1].stat() != nullptr);
  });
}

TEST_CASE("scandir: more entries than one hand-over reads, and each outlives the generator") {
  support::on_every_backend([](Context&) -> Task<> {
    std::size_t wanted = 0;
    for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator(many())) ++wanted;
    for (const bool stat : {false, true}) {
      const auto entries = co_await all_of(os::scandir(many(), {.stat = stat}));
      const Names names = names_of(entries);
      CHECK(names.size() == wanted);
      CHECK(std::set<std::string>(names.begin(), names.end()).size() == wanted);
    }
  });
}

TEST_CASE("scandir: nothing is allocated for an entry") {
  support::on_every_backend([](Context&) -> Task<> {
    std::size_t count = 0;
    const std::size_t before = support::allocations();
    auto entries = os::scandir(many());
    while (auto entry = co_await entries.next()) ++count;
    CHECK(count == 1000);
    if (support::counts_allocations) CHECK(support::allocations() - before < 100);
  });
}

TEST_CASE("scandir: the directory is read on the pool, but for the blocking backend") {
  support::on_every_backend([](Context& context) -> Task<> {
    static std::atomic<std::thread::id> reader;
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = [](int fd, void* buffer, std::size_t size) -> ::ssize_t {
      reader = std::this_thread::get_id();
      return ::getdents64(fd, buffer, size);
    };
    co_await all_of(os::scandir("/"));
    const bool here = reader == std::this_thread::get_id();
    CHECK(here == (context.implementation() == Implementation::blocking));
  });
}

TEST_CASE("listdir, scandir: stopped, they fail with ECANCELED") {
  support::on_every_backend([](Context&) -> Task<> {
    std::stop_source source;
    source.request_stop();
    CHECK_YIELDS(error_of(caio::with_stop(source.get_token(), os::listdir("/"))), ECANCELED);
    const auto error = co_await failure_of(caio::with_stop(source.get_token(), all_of(os::scandir("/"))));
    REQUIRE(error);
    CHECK(error->code().value() == ECANCELED);
    CHECK(error->path1() == "/");
  });
}

TEST_CASE("scandir: left at any entry, it leaves no descriptor") {
  support::on_every_backend([](Context&) -> Task<> {
    for (const std::size_t wanted : {0UL, 1UL, 2UL, 500UL, 999UL, 1000UL}) {
      auto entries = os::scandir(many());
      std::size_t count = 0;
      while (count < wanted) {
        const auto entry = co_await entries.next();
        if (!entry) break;
        ++count;
      }
      CHECK(count == wanted);
    }
    CHECK(outcome::descriptors_of(many()) == 0);
  });
}
