#include <aiofile/os/walk.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <caio/caio.hpp>
#include <cerrno>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "../outcome.hpp"
#include "directory_calls.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"
#include "walks.hpp"

namespace os = aiofile::os;
using aiofile::FileError;
using caio::Context;
using caio::Task;
using caio::detail::UniqueFd;
using outcome::error_of;
using outcome::failure_of;
using std::filesystem::file_type;
using walks::make;
using walks::make_file;
using walks::Paths;
using walks::paths_of;
using walks::small;
using walks::small_paths;
using walks::sorted;
using walks::walked;
using walks::ways;

namespace {

std::atomic<int> calls = 0;

}  // namespace

TEST_CASE("walk: gives what is in a directory and below it, once") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    for (const os::WalkOptions& way : ways) CHECK_YIELDS(walked(directory.path(), way), Paths());
    make(directory, small);
    for (const os::WalkOptions& way : ways) CHECK_YIELDS(walked(directory.path(), way), small_paths);
  });
}

TEST_CASE("walk: a directory comes before what is in it, and that before the directory's neighbour") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, small);
    for (const os::WalkOptions& way : ways) {
      std::vector<std::filesystem::path> above = {directory.path()};  // by depth
      auto entries = os::walk(directory.path(), way);
      while (auto entry = co_await entries.next()) {
        REQUIRE(entry->depth() < above.size());
        CHECK(entry->path() == above[entry->depth()] / entry->name());
        above.resize(entry->depth() + 1);
        if (entry->is_dir()) above.push_back(entry->path());
      }
    }
  });
}

TEST_CASE("walk: with contents_first, a directory comes after what is in it") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    for (os::WalkOptions way : ways) {
      make(directory, small);
      way.contents_first = true;
      CHECK_YIELDS(walked(directory.path(), way), small_paths);
      auto entries = os::walk(directory.path(), way);
      while (auto entry = co_await entries.next()) std::filesystem::remove(entry->path());  // throws if not empty
      CHECK(std::filesystem::is_empty(directory.path()));
    }
  });
}

TEST_CASE("walk: no deeper than max_depth") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, small);
    for (os::WalkOptions way : ways) {
      way.max_depth = 0;
      CHECK_YIELDS(walked(directory.path(), way), (Paths{"a", "e", "h", "i"}));
      way.max_depth = 1;
      CHECK_YIELDS(walked(directory.path(), way),
                   (Paths{"a", "a/1", "a/2", "a/b", "a/d", "e", "e/5", "e/f", "h", "i"}));
      way.contents_first = true;
      CHECK_YIELDS(walked(directory.path(), way),
                   (Paths{"a", "a/1", "a/2", "a/b", "a/d", "e", "e/5", "e/f", "h", "i"}));
    }
  });
}

TEST_CASE("walk: a directory that is skipped is not entered") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, small);
    for (const os::WalkOptions& way : ways) {
      Paths names;
      auto entries = os::walk(directory.path(), way);
      while (auto entry = co_await entries.next()) {
        names.emplace_back(entry->name());
        if (entry->name() == "b" || entry->name() == "e" || entry->name() == "1") entry->skip();
      }
      CHECK(sorted(names) == Paths{"1", "2", "a", "b", "d", "e", "h", "i"});
    }
  });
}

TEST_CASE("walk: links are not followed, but for the walk's own directory") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, {"a/", "a/1", "b/"});
    std::filesystem::create_directory_symlink("../a", directory / "b/link");
    std::filesystem::create_directory_symlink("b", directory / "start");
    for (const os::WalkOptions& way : ways) {
      CHECK_YIELDS(walked(directory.path(), way), (Paths{"a", "a/1", "b", "b/link", "start"}));
      CHECK_YIELDS(walked(directory / "start", way), (Paths{"link"}));
      auto entries = os::walk(directory / "b", way);
      const auto link = co_await entries.next();
      REQUIRE(link);
      CHECK(link->type() == file_type::symlink);
      CHECK(link->is_link());
    }
  });
}

TEST_CASE("walk: with follow_links, directories are entered through links, but none in which the walk is") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, {"tree/a/1", "tree/b/", "outside/2"});
    std::filesystem::create_symlink("nowhere", directory / "tree/broken");
    std::filesystem::create_directory_symlink("../../outside", directory / "tree/a/out");
    std::filesystem::create_directory_symlink(".", directory / "tree/a/self");
    std::filesystem::create_directory_symlink("../a", directory / "tree/b/to a");
    std::filesystem::create_directory_symlink("..", directory / "tree/b/up");
    std::filesystem::create_directory_symlink("../tree", directory / "outside/around");
    std::filesystem::create_symlink("../../outside/2", directory / "tree/b/file");
    for (os::WalkOptions way : ways) {
      way.follow_links = true;
      const Paths wanted = {
          "a",      "a/1",      "a/out",      "a/out/2",      "a/out/around",      "a/self",      "b",    "b/file",
          "b/to a", "b/to a/1", "b/to a/out", "b/to a/out/2", "b/to a/out/around", "b/to a/self", "b/up", "broken"};
      CHECK_YIELDS(walked(directory / "tree", way), wanted);
      auto entries = os::walk(directory / "tree", way);
      std::map<std::string, file_type> types;
      while (auto entry = co_await entries.next()) types[std::string(entry->name())] = entry->type();
      CHECK(types["out"] == file_type::directory);
      CHECK(types["around"] == file_type::directory);
      CHECK(types["file"] == file_type::regular);
      CHECK(types["broken"] == file_type::symlink);
    }
  });
}

TEST_CASE("walk: with Stats, and where the file system tells no types") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, small);
    directory.file("a/b/c/4", "1234");
    for (os::WalkOptions way : ways) {
      way.stat = true;
      auto entries = os::walk(directory.path(), way);
      std::size_t count = 0;
      while (auto entry = co_await entries.next()) {
        ++count;
        REQUIRE(entry->stat() != nullptr);
        CHECK(entry->stat()->type == entry->type());
        if (entry->name() == "4") CHECK(entry->stat()->size == 4);
      }
      CHECK(count == small_paths.size());
    }
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = support::getdents_without_types;
    for (const os::WalkOptions& way : ways) CHECK_YIELDS(walked(directory.path(), way), small_paths);
  });
}

TEST_CASE("walk: relative to a directory, which stays open") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, {"x/a/1"});
    const UniqueFd fd(::open(directory.path().c_str(), O_PATH | O_CLOEXEC));
    const Paths paths = co_await paths_of(os::walk("x", {}, {fd.get()}), "x");
    CHECK(paths == Paths{"a", "a/1"});
    CHECK(outcome::is_open(fd.get()));
  });
}

TEST_CASE("walk: fails where its own directory cannot be opened") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const auto file = directory.file("file", "");
    const auto error = co_await failure_of(walked(directory / "missing"));
    REQUIRE(error);
    CHECK(error->code().value() == ENOENT);
    CHECK(error->path1() == directory / "missing");
    CHECK(std::string(error->what()).find("walk") != std::string::npos);
    CHECK_YIELDS(error_of(walked(file)), ENOTDIR);
    CHECK_YIELDS(error_of(walked("")), ENOENT);
  });
  CHECK_THROWS_AS(os::walk(std::string("a\0b", 3)), std::invalid_argument);
}

TEST_CASE("walk: fails at the end where its own directory cannot be read to its end") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, {"a/", "a/1"});
    const support::ReplacedDirectoryCalls replaced;
    calls = 0;
    replaced->getdents = [](int fd, void* buffer, std::size_t size) -> ::ssize_t {
      if (++calls != 2) return ::getdents64(fd, buffer, size);
      errno = EIO;
      return -1;
    };
    auto entries = os::walk(directory.path());
    Paths names;
    int error = 0;
    try {
      while (auto entry = co_await entries.next()) names.emplace_back(entry->name());
    } catch (const FileError& failure) {
      error = failure.code().value();
      CHECK(failure.path1() == directory.path());
    }
    CHECK(names == Paths{"a", "1"});
    CHECK(error == EIO);
  });
}

TEST_CASE("walk: a directory that cannot be opened is given again, with the error, and the walk goes on") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, small);
    const support::ReplacedDirectoryCalls replaced;
    replaced->openat = [](int at, const char* path, int flags) {
      if (std::string_view(path) != "b" && std::string_view(path) != "h") return ::openat(at, path, flags);
      errno = EACCES;
      return -1;
    };
    for (os::WalkOptions way : ways) {
      CHECK_YIELDS(walked(directory.path(), way), (Paths{"a", "a/1", "a/2", "a/b", "a/b:13", "a/d", "e", "e/5", "e/f",
                                                         "e/f/g", "e/f/g/6", "h", "h:13", "i"}));
      way.contents_first = true;
      CHECK_YIELDS(walked(directory.path(), way),
                   (Paths{"a", "a/1", "a/2", "a/b:13", "a/d", "e", "e/5", "e/f", "e/f/g", "e/f/g/6", "h:13", "i"}));
    }
  });
}

TEST_CASE("walk: what could be read of a directory comes before its error") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, {"a/1", "a/b/2", "c/3"});
    static ::ino_t bad = 0;
    struct ::stat status {};
    ::stat((directory / "a").c_str(), &status);
    bad = status.st_ino;
    const support::ReplacedDirectoryCalls replaced;
    replaced->getdents = [](int fd, void* buffer, std::size_t size) -> ::ssize_t {
      const ::ssize_t count = ::getdents64(fd, buffer, size);
      struct ::stat found {};
      ::fstat(fd, &found);
      if (count != 0 || found.st_ino != bad) return count;
      errno = EIO;
      return -1;
    };
    for (const os::WalkOptions& way : ways) {
      CHECK_YIELDS(walked(directory.path(), way), (Paths{"a", "a/1", "a/b", "a/b/2", "a:5", "c", "c/3"}));
      const Paths order = co_await paths_of(os::walk(directory.path(), way), directory.path());
      const auto place = [&](const char* path) { return std::find(order.begin(), order.end(), path); };
      CHECK(place("a/b/2") < place("a:5"));
    }
  });
}

TEST_CASE("walk: what vanishes is no error") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const support::ReplacedDirectoryCalls replaced;
    replaced->openat = [](int at, const char* path, int flags) {
      const bool vanishes = std::string_view(path) == "removed" || std::string_view(path) == "replaced";
      if (vanishes) ::unlinkat(at, path, AT_REMOVEDIR);
      if (std::string_view(path) == "replaced") make_file(at, path);
      return ::openat(at, path, flags);
    };
    for (const os::WalkOptions& way : ways) {
      make(directory, {"a/removed/", "a/1"});
      CHECK_YIELDS(walked(directory.path(), way), (Paths{"a", "a/1", "a/removed"}));
      make(directory, {"a/replaced/"});
      CHECK_YIELDS(walked(directory.path(), way), (Paths{"a", "a/1", "a/replaced"}));
      std::filesystem::remove(directory / "a/replaced");
    }
  });
}

TEST_CASE("walk: a link that takes a directory's place is not followed") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, {"secret/1", "tree/a/"});
    auto entries = os::walk(directory / "tree", {.parallel = 0});
    const auto entry = co_await entries.next();
    REQUIRE(entry);
    CHECK(entry->is_dir());
    std::filesystem::remove(directory / "tree/a");
    std::filesystem::create_directory_symlink("../secret", directory / "tree/a");
    const bool more = (co_await entries.next()).has_value();
    CHECK_FALSE(more);
  });
}

TEST_CASE("walk: a directory with more entries than one hand-over reads, and directories among them") {
  static const support::TemporaryDirectory directory;
  static Paths wanted;
  if (wanted.empty()) {
    for (int i = 0; i < 400; ++i) {
      const std::string name = "x/" + std::to_string(i) + std::string(250, 'n');
      make(directory, {name + "/in"});
      wanted.insert(wanted.end(), {name, name + "/in"});
      directory.file("x/" + std::to_string(i), "");
      wanted.push_back("x/" + std::to_string(i));
    }
    wanted.emplace_back("x");
    wanted = sorted(std::move(wanted));
  }
  support::on_every_backend([](Context&) -> Task<> {
    for (os::WalkOptions way : ways) {
      CHECK_YIELDS(walked(directory.path(), way), wanted);
      way.stat = true;
      way.contents_first = true;
      CHECK_YIELDS(walked(directory.path(), way), wanted);
    }
    CHECK(outcome::descriptors_of(directory / "x") == 0);
  });
}

TEST_CASE("walk: left at any entry, it leaves no descriptor") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, small);
    co_await walked(directory.path());
    const std::size_t before = support::open_files();
    for (const os::WalkOptions& way : ways) {
      for (std::size_t wanted = 0; wanted <= small_paths.size(); ++wanted) {
        auto entries = os::walk(directory.path(), way);
        for (std::size_t i = 0; i < wanted; ++i) {
          const bool given = (co_await entries.next()).has_value();
          CHECK(given);
        }
      }
    }
    CHECK(support::open_files() == before);
  });
}

TEST_CASE("walk: whoever asks for the next entry is resumed on the context's thread") {
  support::on_every_backend([](Context& context) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, small);
    for (const os::WalkOptions& way : ways) {
      auto entries = os::walk(directory.path(), way);
      const std::thread::id home = std::this_thread::get_id();
      std::size_t count = 0;
      std::size_t elsewhere = 0;
      std::atomic<bool> ended = false;
      std::thread other([&] {
        Context own;
        const auto read = [&](Context& here) -> Task<> {
          for (;;) {
            const auto entry = co_await entries.next();
            if (std::this_thread::get_id() != home) ++elsewhere;
            co_await here.schedule();
            if (!entry) break;
            ++count;
          }
        };
        own.run(read(own));
        ended = true;
      });
      while (!ended) co_await context.schedule();
      other.join();
      CHECK(count == small_paths.size());
      CHECK(elsewhere == 0);
    }
  });
}

TEST_CASE("walk: an entry outlives its walk") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, small);
    std::vector<os::WalkEntry> kept;
    {
      auto entries = os::walk(directory.path());
      while (auto entry = co_await entries.next()) kept.push_back(*entry);
    }
    Paths paths;
    for (const os::WalkEntry& entry : kept) paths.push_back(entry.path().lexically_relative(directory.path()));
    CHECK(sorted(paths) == small_paths);
  });
}

TEST_CASE("walk: stopped, it fails with ECANCELED") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    make(directory, small);
    for (const os::WalkOptions& way : ways) {
      std::stop_source at_once;
      at_once.request_stop();
      const auto error = co_await failure_of(caio::with_stop(at_once.get_token(), walked(directory.path(), way)));
      REQUIRE(error);
      CHECK(error->code().value() == ECANCELED);
      CHECK(error->path1() == directory.path());

      std::stop_source later;
      const auto stops = [](std::stop_source source, std::filesystem::path path, os::WalkOptions options) -> Task<> {
        auto entries = os::walk(path, options);
        while (auto entry = co_await entries.next()) source.request_stop();
      };
      CHECK_YIELDS(error_of(caio::with_stop(later.get_token(), stops(later, directory.path(), way))), ECANCELED);
    }
  });
}
