#include <aiofile/tree_steps.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "copied_files.hpp"
#include "support/catch.hpp"
#include "support/temporary.hpp"

using aiofile::CopyTreeOptions;
using aiofile::detail::TreeSteps;
using copied_files::failure_of;
using copied_files::mode_of;
using copied_files::status_of;
using Kind = TreeSteps::Kind;

namespace fs = std::filesystem;

namespace {

template <class Step>
int error_of(Step step) {
  const auto failure = failure_of(step);
  return failure ? failure->code().value() : 0;
}

TreeSteps::Listing listing_of(const fs::path& from, const fs::path& to, const CopyTreeOptions& options = {}) {
  return {{Kind::directory, from, to, nullptr}, options.follow_links};
}

/// Its kinds by their names, of all batches.
std::map<std::string, Kind> kinds_of(const TreeSteps& steps, TreeSteps::Listing& listing) {
  std::map<std::string, Kind> kinds;
  for (;;) {
    while (const auto entry = steps.next(listing)) {
      CHECK(entry->from.parent_path() == listing.from);
      CHECK(entry->to == listing.to / entry->from.filename());
      kinds[entry->from.filename()] = entry->kind;
    }
    if (listing.directory.ended()) return kinds;
    steps.read_on(listing);
  }
}

const ::timespec old_times[2] = {{.tv_sec = 111, .tv_nsec = 5}, {.tv_sec = 222, .tv_nsec = 7}};

}  // namespace

TEST_CASE("TreeSteps: check() wants a directory that exists, or a link to one") {
  const support::TemporaryDirectory directory;
  directory.file("file", "");
  fs::create_directory(directory / "from");
  fs::create_directory_symlink("from", directory / "link");
  const auto error = [&](const char* from) {
    return error_of([&] { TreeSteps::check(directory / from, directory / "to"); });
  };
  CHECK(error("from") == 0);
  CHECK(error("link") == 0);
  CHECK(error("file") == ENOTDIR);
  CHECK(error("missing") == ENOENT);
  CHECK_FALSE(fs::exists(directory / "to"));
}

TEST_CASE("TreeSteps: check() finds the source above the copy, by whatever name") {
  const support::TemporaryDirectory directory;
  const fs::path from = directory / "from";
  fs::create_directories(from / "a/b");
  fs::create_directory(directory / "beside");
  fs::create_directory_symlink("from/a", directory / "inside");
  fs::create_directory_symlink("../beside", from / "outside");
  for (const char* const to : {"from", "from/", "from/new", "from/a/b/new", "from/new/deep", "inside/new", "./from/x",
                               "beside/../from/x", "inside/../new"}) {
    INFO(to);
    const auto failure = failure_of([&] { TreeSteps::check(from, directory / to); });
    REQUIRE(failure);
    CHECK(failure->code().value() == EINVAL);
    CHECK(failure->path1() == from);
    CHECK(failure->path2() == directory / to);
  }
  for (const char* const to : {"from2", "beside", "beside/new", "from/outside/new", "from/../to"}) {
    INFO(to);
    CHECK(error_of([&] { TreeSteps::check(from, directory / to); }) == 0);
  }
  CHECK(error_of([&] { TreeSteps::check("/", directory / "to"); }) == EINVAL);
}

TEST_CASE("TreeSteps: links are links, or what they lead to where links are followed") {
  const support::TemporaryDirectory directory;
  const fs::path from = directory / "from";
  fs::create_directories(from / "directory");
  directory.file("from/file", "");
  REQUIRE(::mkfifo((from / "fifo").c_str(), 0600) == 0);
  fs::create_symlink("file", from / "to file");
  fs::create_directory_symlink("directory", from / "to directory");
  fs::create_symlink("nowhere", from / "to nothing");
  for (const bool follow_links : {false, true}) {
    const CopyTreeOptions options{.follow_links = follow_links};
    const TreeSteps steps(options);
    auto listing = listing_of(from, directory / (follow_links ? "followed" : "plain"), options);
    steps.open(listing);
    CHECK(fs::is_directory(listing.to));
    const std::map<std::string, Kind> wanted{
        {"directory", Kind::directory},
        {"file", Kind::file},
        {"fifo", Kind::file},  // copying it tells
        {"to file", follow_links ? Kind::file : Kind::link},
        {"to directory", follow_links ? Kind::directory : Kind::link},
        {"to nothing", follow_links ? Kind::file : Kind::link},
    };
    CHECK((kinds_of(steps, listing) == wanted));
    CHECK(fs::is_empty(listing.to));
  }
}

TEST_CASE("TreeSteps: read_on() goes through all batches of a large directory") {
  const support::TemporaryDirectory directory;
  fs::create_directory(directory / "from");
  constexpr std::size_t count = 3000;
  for (std::size_t i = 0; i < count; ++i) directory.file("from/a name of some length " + std::to_string(i), "");
  const TreeSteps steps({});
  auto listing = listing_of(directory / "from", directory / "to");
  steps.open(listing);
  CHECK_FALSE(listing.directory.ended());
  CHECK(kinds_of(steps, listing).size() == count);
  CHECK_FALSE(steps.next(listing));
}

TEST_CASE("TreeSteps: open() makes a new directory, or takes one that is there if it may") {
  const support::TemporaryDirectory directory;
  fs::create_directory(directory / "from");
  fs::create_directory(directory / "there");
  directory.file("file", "");
  const auto failure = [&](const char* from, const char* to, bool directories_exist) {
    const CopyTreeOptions options{.directories_exist = directories_exist};
    auto listing = listing_of(directory / from, directory / to, options);
    const auto error = failure_of([&] { TreeSteps(options).open(listing); });
    CHECK((!error || error->path1() == directory / (from == std::string("from") ? to : from)));
    return error ? error->code().value() : 0;
  };
  CHECK(failure("from", "new", false) == 0);
  CHECK(failure("from", "there", false) == EEXIST);
  CHECK(failure("from", "there", true) == 0);
  CHECK(failure("from", "file", false) == EEXIST);
  CHECK(failure("from", "file", true) == ENOTDIR);
  CHECK(failure("from", "missing/to", true) == ENOENT);
  CHECK(failure("missing", "other", true) == ENOENT);
  CHECK(failure("file", "other", true) == ENOTDIR);
  CHECK_FALSE(fs::exists(directory / "other"));
}

TEST_CASE("TreeSteps: a directory that leads back to one around it is ELOOP, and nothing is made") {
  const support::TemporaryDirectory directory;
  fs::create_directories(directory / "from/inner");
  fs::create_directory_symlink("../../from", directory / "from/inner/back");
  fs::create_directory_symlink(directory / "to", directory / "from/inner/to the copy");
  const CopyTreeOptions options{.follow_links = true};
  const TreeSteps steps(options);
  auto top = listing_of(directory / "from", directory / "to", options);
  steps.open(top);
  auto entry = steps.next(top);
  REQUIRE(entry);
  TreeSteps::Listing inner(*std::move(entry), true);
  steps.open(inner);
  int links = 0;
  while (auto link = steps.next(inner)) {
    ++links;
    const fs::path from = link->from;
    const fs::path to = link->to;
    CHECK(link->kind == Kind::directory);
    TreeSteps::Listing back(*std::move(link), true);
    const auto failure = failure_of([&] { steps.open(back); });
    REQUIRE(failure);
    CHECK(failure->code().value() == ELOOP);
    CHECK(failure->path1() == from);
    CHECK_FALSE(fs::exists(to));
  }
  CHECK(links == 2);
}

TEST_CASE("TreeSteps: a link is copied as it is, its text and on request its times") {
  const support::TemporaryDirectory directory;
  const fs::path from = directory / "from";
  fs::create_symlink("../some/where", from);
  REQUIRE(::utimensat(AT_FDCWD, from.c_str(), old_times, AT_SYMLINK_NOFOLLOW) == 0);
  const auto copy = [&](const char* to, const aiofile::CopyOptions& files) {
    return failure_of([&] { TreeSteps({.files = files}).copy_link({Kind::link, from, directory / to, nullptr}); });
  };
  CHECK_FALSE(copy("plain", {}));
  CHECK(fs::read_symlink(directory / "plain") == "../some/where");
  CHECK(status_of(directory / "plain").st_mtim.tv_sec != 222);
  CHECK_FALSE(copy("kept", {.preserve_times = true}));
  CHECK(status_of(directory / "kept").st_mtim.tv_sec == 222);
  CHECK(status_of(directory / "kept").st_mtim.tv_nsec == 7);
}

TEST_CASE("TreeSteps: a link replaces what is no directory, or is EEXIST without overwrite") {
  const support::TemporaryDirectory directory;
  const fs::path from = directory / "from";
  fs::create_symlink("new", from);
  fs::create_symlink("old", directory / "link");
  directory.file("file", "text");
  fs::create_directory(directory / "directory");
  const auto failure = [&](const fs::path& source, const fs::path& to, bool overwrite) {
    const TreeSteps steps({.files = {.overwrite = overwrite}});
    return failure_of([&] { steps.copy_link({Kind::link, source, to, nullptr}); });
  };
  for (const char* const name : {"link", "file"}) {
    const auto refused = failure(from, directory / name, false);
    REQUIRE(refused);
    CHECK(refused->code().value() == EEXIST);
    CHECK(refused->path1() == directory / name);
    CHECK_FALSE(failure(from, directory / name, true));
    CHECK(fs::read_symlink(directory / name) == "new");
  }
  const auto refused = failure(from, directory / "directory", true);
  REQUIRE(refused);
  CHECK(refused->code().value() == EISDIR);
  CHECK(refused->path1() == directory / "directory");
  const auto missing = failure(directory / "missing", directory / "to", true);
  REQUIRE(missing);
  CHECK(missing->code().value() == ENOENT);
  CHECK(missing->path1() == directory / "missing");
}

TEST_CASE("TreeSteps: a directory may be written to until its settings are applied") {
  const support::TemporaryDirectory directory;
  const fs::path from = directory / "from";
  fs::create_directory(from);
  REQUIRE(::chmod(from.c_str(), 0555) == 0);
  REQUIRE(::utimensat(AT_FDCWD, from.c_str(), old_times, 0) == 0);
  const auto opened = [&](const char* to, const aiofile::CopyOptions& files) {
    auto listing = listing_of(from, directory / to);
    TreeSteps({.files = files}).open(listing);
    CHECK((mode_of(directory / to) & 0700) == 0700);
    return std::move(listing.setting);
  };
  const aiofile::CopyOptions all{.preserve_permissions = true, .preserve_times = true};
  std::vector<TreeSteps::Setting> settings{opened("plain", {}).value()};
  TreeSteps({}).apply(settings);
  CHECK((mode_of(directory / "plain") & 0700) == 0500);
  CHECK(status_of(directory / "plain").st_mtim.tv_sec != 222);
  settings.push_back(opened("kept", all).value());
  TreeSteps({.files = all}).apply(settings);
  CHECK(mode_of(directory / "kept") == 0555);
  CHECK(status_of(directory / "kept").st_mtim.tv_sec == 222);
  REQUIRE(::chmod(from.c_str(), 0755) == 0);
  const ::mode_t umask = ::umask(022);
  CHECK_FALSE(opened("as it is", {}));
  ::umask(umask);
}

TEST_CASE("TreeSteps: settings are applied from the last, some hundreds at a time") {
  const support::TemporaryDirectory directory;
  const TreeSteps steps({});
  std::vector<TreeSteps::Setting> settings;
  for (int i = 0; i < 300; ++i) {
    fs::create_directory(directory / std::to_string(i));
    fs::permissions(directory / std::to_string(i), fs::perms::owner_all);  // whatever the umask
    settings.push_back({directory / std::to_string(i), 0750, {}});
  }
  steps.apply(settings);
  CHECK(settings.size() == 44);
  CHECK(mode_of(directory / "43") != 0750);
  CHECK(mode_of(directory / "44") == 0750);
  CHECK(mode_of(directory / "299") == 0750);
  steps.apply(settings);
  CHECK(settings.empty());
  CHECK(mode_of(directory / "0") == 0750);
  steps.apply(settings);
}

TEST_CASE("TreeSteps: a setting that fails is told and taken, and those before it are left for the next time") {
  const support::TemporaryDirectory directory;
  const TreeSteps steps({.files = {.preserve_times = true}});
  std::vector<TreeSteps::Setting> settings;
  for (const char* const name : {"first", "missing", "last"}) {
    if (name != std::string("missing")) fs::create_directory(directory / name);
    settings.push_back({directory / name, 0750, {old_times[0], old_times[1]}});
  }
  const auto failure = failure_of([&] { steps.apply(settings); });
  REQUIRE(failure);
  CHECK(failure->code().value() == ENOENT);
  CHECK(failure->path1() == directory / "missing");
  CHECK(mode_of(directory / "last") == 0750);
  CHECK(settings.size() == 1);
  steps.apply(settings);
  CHECK(status_of(directory / "first").st_mtim.tv_sec == 222);
}
