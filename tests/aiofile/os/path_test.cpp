#include <aiofile/os/path.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/error.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <stop_token>
#include <string>

#include "aiofile/outcome.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

namespace os = aiofile::os;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::failure_of;
using support::TemporaryDirectory;

namespace {

/// A directory with something of each kind.
struct Kinds : TemporaryDirectory {
  Kinds() {
    file("file", "12345");
    std::filesystem::create_directory(*this / "directory");
    std::filesystem::create_symlink("file", *this / "to file");
    std::filesystem::create_symlink("directory", *this / "to directory");
    std::filesystem::create_symlink("nothing", *this / "to nothing");
    std::filesystem::create_symlink("loop", *this / "loop");
    std::filesystem::create_hard_link(*this / "file", *this / "same");
  }
};

struct Answers {
  const char* name;
  bool exists;
  bool is_file;
  bool is_dir;
  bool is_link;
};

constexpr Answers answers[] = {
    {"file", true, true, false, false},        {"directory", true, false, true, false},
    {"to file", true, true, false, true},      {"to directory", true, false, true, true},
    {"to nothing", false, false, false, true}, {"loop", false, false, false, true},
    {"nothing", false, false, false, false},   {"file/below", false, false, false, false},
    {"same", true, true, false, false},        {"directory/", true, false, true, false},
};

}  // namespace

TEST_CASE("exists, is_file, is_dir, is_link: as Python answers") {
  support::on_every_backend([](Context&) -> Task<> {
    const Kinds kinds;
    const support::Fd opened(kinds.path(), O_PATH | O_DIRECTORY);
    const os::At at{.directory = opened.get()};
    for (const Answers& wanted : answers) {
      INFO(wanted.name);
      const std::filesystem::path path = kinds / wanted.name;
      CHECK_YIELDS(os::exists(path), wanted.exists);
      CHECK_YIELDS(os::is_file(path), wanted.is_file);
      CHECK_YIELDS(os::is_dir(path), wanted.is_dir);
      CHECK_YIELDS(os::is_link(path), wanted.is_link);
      CHECK_YIELDS(os::exists(wanted.name, at), wanted.exists);
      CHECK_YIELDS(os::is_file(wanted.name, at), wanted.is_file);
      CHECK_YIELDS(os::is_dir(wanted.name, at), wanted.is_dir);
      CHECK_YIELDS(os::is_link(wanted.name, at), wanted.is_link);
    }
    CHECK_YIELDS(os::exists(kinds / std::string(300, 'n')), false);
    CHECK_YIELDS(os::is_file("/dev/null"), false);
  });
}

TEST_CASE("exists: a stop is an error, not a no") {
  support::on_every_backend([](Context&) -> Task<> {
    std::stop_source source;
    source.request_stop();
    CHECK_YIELDS(error_of(caio::with_stop(source.get_token(), os::exists("/"))), ECANCELED);
    CHECK_YIELDS(error_of(caio::with_stop(source.get_token(), os::access("/", F_OK))), ECANCELED);
  });
}

TEST_CASE("is_mount: where something is mounted") {
  support::on_every_backend([](Context&) -> Task<> {
    const Kinds kinds;
    std::filesystem::create_symlink("/proc", kinds / "to proc");
    const support::Fd root("/", O_PATH | O_DIRECTORY);
    CHECK_YIELDS(os::is_mount("/"), true);
    CHECK_YIELDS(os::is_mount("/proc"), true);
    CHECK_YIELDS(os::is_mount("proc", {.directory = root.get()}), true);
    CHECK_YIELDS(os::is_mount("/proc/self"), false);
    CHECK_YIELDS(os::is_mount(kinds.path()), false);
    CHECK_YIELDS(os::is_mount(kinds / "file"), false);
    CHECK_YIELDS(os::is_mount(kinds / "to proc"), false);
    CHECK_YIELDS(os::is_mount(kinds / "nothing"), false);
  });
}

TEST_CASE("is_mount: as it was done before statx(2) could tell") {
  using aiofile::detail::is_mount_by_parent;
  os::Stat directory;
  directory.device = 1;
  directory.inode = 2;
  os::Stat parent = directory;
  CHECK(is_mount_by_parent(directory, parent));  // the root
  parent.inode = 3;
  CHECK_FALSE(is_mount_by_parent(directory, parent));
  parent.device = 2;
  CHECK(is_mount_by_parent(directory, parent));
}

TEST_CASE("get_size, get_atime, get_mtime, get_ctime: what stat() says") {
  support::on_every_backend([](Context&) -> Task<> {
    const Kinds kinds;
    const auto now = std::chrono::system_clock::now();
    const ::timespec times[] = {{.tv_sec = 1000, .tv_nsec = 1}, {.tv_sec = 2000, .tv_nsec = 2}};
    ::utimensat(AT_FDCWD, (kinds / "file").c_str(), static_cast<const ::timespec*>(times), 0);
    const auto link = kinds / "to file";
    CHECK_YIELDS(os::get_size(link), 5U);
    CHECK_YIELDS(os::get_atime(link), os::Time(std::chrono::seconds(1000) + std::chrono::nanoseconds(1)));
    CHECK_YIELDS(os::get_mtime(link), os::Time(std::chrono::seconds(2000) + std::chrono::nanoseconds(2)));
    const os::Time changed = co_await os::get_ctime(link);
    CHECK(changed > now - std::chrono::seconds(2));
    const support::Fd opened(kinds.path(), O_PATH | O_DIRECTORY);
    CHECK_YIELDS(os::get_size("file", {.directory = opened.get()}), 5U);
    CHECK_YIELDS(os::get_ctime("file", {.directory = opened.get()}), changed);
    CHECK_YIELDS(error_of(os::get_size(kinds / "to nothing")), ENOENT);
    CHECK_YIELDS(error_of(os::get_atime(kinds / "loop")), ELOOP);
    CHECK_YIELDS(error_of(os::get_mtime(kinds / "file/below")), ENOTDIR);
    CHECK_YIELDS(error_of(os::get_ctime(kinds / "nothing")), ENOENT);
  });
}

TEST_CASE("same_file: by whatever names") {
  support::on_every_backend([](Context&) -> Task<> {
    const Kinds kinds;
    kinds.file("equal", "12345");
    CHECK_YIELDS(os::same_file(kinds / "file", kinds / "same"), true);
    CHECK_YIELDS(os::same_file(kinds / "file", kinds / "to file"), true);
    CHECK_YIELDS(os::same_file(kinds / "to directory", kinds / "directory/."), true);
    CHECK_YIELDS(os::same_file(kinds / "file", kinds / "equal"), false);
    CHECK_YIELDS(os::same_file("/proc", "/sys"), false);  // both may be inode 1
    const support::Fd opened(kinds.path(), O_PATH | O_DIRECTORY);
    const os::At at{.directory = opened.get()};
    CHECK_YIELDS(os::same_file("file", kinds / "same", at), true);
    CHECK_YIELDS(os::same_file("file", "same", at, at), true);
    const auto left = co_await failure_of(os::same_file(kinds / "nothing", kinds / "file"));
    REQUIRE(left);
    CHECK(left->code().value() == ENOENT);
    CHECK(left->path1() == kinds / "nothing");
    const auto right = co_await failure_of(os::same_file(kinds / "file", kinds / "loop"));
    REQUIRE(right);
    CHECK(right->code().value() == ELOOP);
    CHECK(right->path1() == kinds / "loop");
  });
  CHECK_THROWS_AS(os::same_file("a", std::string("b\0", 2)), std::invalid_argument);
}

TEST_CASE("access: what the real user may do") {
  support::on_every_backend([](Context&) -> Task<> {
    const Kinds kinds;
    const auto path = kinds / "file";
    for (const ::mode_t permissions : {0600U, 0700U, 0400U, 0000U}) {
      ::chmod(path.c_str(), permissions);
      for (int mode = F_OK; mode <= (R_OK | W_OK | X_OK); ++mode) {
        const bool wanted = ::access(path.c_str(), mode) == 0;
        CHECK_YIELDS(os::access(path, mode), wanted);
      }
    }
    CHECK_YIELDS(os::access(path, F_OK), true);
    CHECK_YIELDS(os::access(path, X_OK), false);  // not even root
    CHECK_YIELDS(os::access(kinds / "directory", X_OK), true);
    CHECK_YIELDS(os::access(kinds / "to nothing", F_OK), false);
    CHECK_YIELDS(os::access(kinds / "loop", R_OK), false);
    CHECK_YIELDS(os::access(kinds / "file/below", F_OK), false);
    const support::Fd opened(kinds.path(), O_PATH | O_DIRECTORY);
    CHECK_YIELDS(os::access("directory", X_OK, {.directory = opened.get()}), true);
    CHECK_YIELDS(os::access("directory", X_OK), false);
  });
  CHECK_THROWS_AS(os::access("/", 8), std::invalid_argument);
  CHECK_THROWS_AS(os::access("/", -1), std::invalid_argument);
}
