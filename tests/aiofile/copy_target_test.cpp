#include <aiofile/copy_target.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "copied_files.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/replaced_calls.hpp"
#include "support/temporary.hpp"

using aiofile::CopyOptions;
using aiofile::detail::CopyTarget;
using copied_files::entries_of;
using copied_files::failure_of;
using copied_files::mode_of;
using copied_files::status_of;
using support::content_of;

namespace fs = std::filesystem;

namespace {

/// A source, and what is made of it.
struct Files {
  support::TemporaryDirectory directory;
  fs::path from = directory.file("from", "the source");
  fs::path to = directory / "to";
  struct ::stat source = status_of(from);

  void open(CopyTarget& target) const { target.open(from, source); }
};

void put(const CopyTarget& target, std::string_view text) {
  REQUIRE(::pwrite(target.fd(), text.data(), text.size(), 0) == static_cast<::ssize_t>(text.size()));
}

}  // namespace

TEST_CASE("CopyTarget: a new file has the source's permissions less the umask, and is there from the beginning") {
  const Files files;
  REQUIRE(::chmod(files.from.c_str(), 06777) == 0);
  struct ::stat source = status_of(files.from);
  CopyTarget target(files.to, {});
  CHECK(target.fd() < 0);
  CHECK(target.path() == files.to);
  const ::mode_t umask = ::umask(027);
  target.open(files.from, source);
  ::umask(umask);
  CHECK(fs::exists(files.to));
  CHECK(mode_of(files.to) == 0750);
  CHECK(target.length() == 0);
  put(target, "copied");
  CHECK(target.length() == 6);
  target.finish(6, source);
  CHECK(target.fd() < 0);
  target.discard();
  CHECK(content_of(files.to) == "copied");
  CHECK(mode_of(files.to) == 0750);
}

TEST_CASE("CopyTarget: a replacement stands beside the file until it is finished, and gets its permissions") {
  const Files files;
  files.directory.file("to", "old");
  REQUIRE(::chmod(files.to.c_str(), 0604) == 0);
  CopyTarget target(files.to, {});
  files.open(target);
  CHECK(entries_of(files.directory.path()) == 3);
  put(target, "new");
  CHECK(content_of(files.to) == "old");
  target.finish(3, files.source);
  CHECK(content_of(files.to) == "new");
  CHECK(mode_of(files.to) == 0604);
  CHECK(entries_of(files.directory.path()) == 2);
}

TEST_CASE("CopyTarget: what a link leads to is replaced where it is") {
  const Files files;
  fs::create_directory(files.directory / "there");
  files.directory.file("there/real", "old");
  fs::create_symlink("there/real", files.to);
  CopyTarget target(files.to, {});
  files.open(target);
  CHECK(entries_of(files.directory / "there") == 2);
  put(target, "new");
  target.finish(3, files.source);
  CHECK(fs::is_symlink(files.to));
  CHECK(content_of(files.directory / "there/real") == "new");
  CHECK(entries_of(files.directory / "there") == 1);
}

TEST_CASE("CopyTarget: discarded or destroyed, it leaves what was there") {
  for (const bool exists : {false, true}) {
    for (const bool discarded : {false, true}) {
      const Files files;
      if (exists) files.directory.file("to", "old");
      {
        CopyTarget target(files.to, {});
        files.open(target);
        put(target, "half");
        if (discarded) {
          target.discard();
          CHECK(target.fd() < 0);
          CHECK(entries_of(files.directory.path()) == (exists ? 2 : 1));
          target.discard();
        }
      }
      CHECK(entries_of(files.directory.path()) == (exists ? 2 : 1));
      if (exists) CHECK(content_of(files.to) == "old");
    }
  }
}

TEST_CASE("CopyTarget: with keep_partial it is the file itself, and what was written stays") {
  const Files files;
  files.directory.file("to", "old and longer");
  const auto inode = status_of(files.to).st_ino;
  {
    CopyTarget target(files.to, {.keep_partial = true});
    files.open(target);
    CHECK(content_of(files.to).empty());
    put(target, "half");
  }
  CHECK(content_of(files.to) == "half");
  CHECK(status_of(files.to).st_ino == inode);
  {
    CopyTarget target(files.directory / "fresh", {.keep_partial = true});
    files.open(target);
    put(target, "half");
    target.discard();
  }
  CHECK(content_of(files.directory / "fresh") == "half");
}

TEST_CASE("CopyTarget: without overwrite what exists is EEXIST, and stays") {
  for (const bool keep_partial : {false, true}) {
    const Files files;
    files.directory.file("to", "old");
    CopyTarget target(files.to, {.overwrite = false, .keep_partial = keep_partial});
    const auto failure = failure_of([&] { files.open(target); });
    REQUIRE(failure);
    CHECK(failure->code().value() == EEXIST);
    CHECK(failure->path1() == files.to);
    target.discard();
    CHECK(content_of(files.to) == "old");
    CHECK(entries_of(files.directory.path()) == 2);
  }
}

TEST_CASE("CopyTarget: what somebody else has put in the place of its file stays") {
  for (const bool exists : {false, true}) {
    const Files files;
    if (exists) files.directory.file("to", "old");
    fs::path theirs = files.to;
    {
      CopyTarget target(files.to, {});
      files.open(target);
      for (const auto& entry : fs::directory_iterator(files.directory.path())) {
        if (entry.path().filename().native().starts_with(".aiofile-")) theirs = entry.path();
      }
      CHECK((theirs != files.to) == exists);
      fs::rename(files.directory.file("theirs", "theirs"), theirs);
    }
    CHECK(content_of(theirs) == "theirs");
    if (exists) CHECK(content_of(files.to) == "old");
  }
}

TEST_CASE("CopyTarget: what is reserved is not its length, and is given back when it was in vain") {
  constexpr std::uint64_t much = 4 * copied_files::mebi;
  for (const bool finished : {true, false}) {
    const Files files;
    CopyTarget target(files.to, {.keep_partial = true});
    files.open(target);
    CHECK(target.reserved() == 0);
    if (!target.reserve(0, much)) {
      WARN("nothing can be reserved on this file system");
      return;
    }
    CHECK(target.reserved() == much);
    CHECK(target.length() == 0);
    CHECK(static_cast<std::uint64_t>(status_of(files.to).st_blocks) * 512 >= much);
    put(target, "short");
    if (finished) target.finish(5, files.source);
    target.discard();
    CHECK(content_of(files.to) == "short");
    CHECK(status_of(files.to).st_blocks * 512 <= 65536);
  }
}

TEST_CASE("CopyTarget: what cannot be reserved is not counted") {
  const Files files;
  CopyTarget target(files.to, {});
  files.open(target);
  CHECK_FALSE(target.reserve(0, 0));  // EINVAL, fallocate(2)
  CHECK(target.reserved() == 0);
}

TEST_CASE("CopyTarget: gets the length it is told, be it a hole at the end or less than was written") {
  for (const std::uint64_t length : {std::uint64_t{3}, std::uint64_t{100'000}}) {
    const Files files;
    CopyTarget target(files.to, {});
    files.open(target);
    put(target, "abcdef");
    target.finish(length, files.source);
    CHECK(fs::file_size(files.to) == length);
    CHECK(content_of(files.to).starts_with("abc"));
  }
}

TEST_CASE("CopyTarget: permissions and times are the source's on request, set-user-ID only its owner's") {
  const Files files;
  const ::timespec times[2] = {{.tv_sec = 1'000'000'000, .tv_nsec = 123'456'789}, {.tv_sec = 999, .tv_nsec = 7}};
  REQUIRE(::chmod(files.from.c_str(), 06751) == 0);
  REQUIRE(::utimensat(AT_FDCWD, files.from.c_str(), times, 0) == 0);
  struct ::stat source = status_of(files.from);
  const auto copied_as = [&](const char* name) {
    CopyTarget target(files.directory / name, {.preserve_permissions = true, .preserve_times = true});
    target.open(files.from, source);
    put(target, "x");
    target.finish(1, source);
    return status_of(files.directory / name);
  };
  const struct ::stat same = copied_as("same");
  CHECK((same.st_mode & 07777) == 06751);
  CHECK(same.st_atim.tv_sec == 1'000'000'000);
  CHECK(same.st_atim.tv_nsec == 123'456'789);
  CHECK(same.st_mtim.tv_sec == 999);
  CHECK(same.st_mtim.tv_nsec == 7);
  source.st_uid += 1;
  CHECK((copied_as("of another user").st_mode & 07777) == 0751);
  source.st_uid -= 1;
  source.st_gid += 1;
  CHECK((copied_as("of another group").st_mode & 07777) == 0751);
}

TEST_CASE("CopyTarget: what is no regular file, or the source itself, is refused and stays") {
  const Files files;
  fs::create_directory(files.directory / "directory");
  REQUIRE(::mkfifo((files.directory / "fifo").c_str(), 0600) == 0);
  fs::create_hard_link(files.from, files.directory / "hard");
  fs::create_symlink("nowhere", files.directory / "dangling");
  const struct {
    const char* name;
    bool keep_partial;
    int error;
  } cases[] = {{"directory", false, EISDIR}, {"directory", true, EISDIR}, {"fifo", false, EINVAL},
               {"fifo", true, ENXIO},        {"hard", false, EINVAL},     {"hard", true, EINVAL},
               {"from/x", false, ENOTDIR},   {"from/x", true, ENOTDIR},   {"none/x", false, ENOENT},
               {"dangling", false, ENOENT}};
  for (const auto& each : cases) {
    INFO(each.name << (each.keep_partial ? ", keep_partial" : ""));
    CopyTarget target(files.directory / each.name, {.keep_partial = each.keep_partial});
    const auto failure = failure_of([&] { files.open(target); });
    REQUIRE(failure);
    CHECK(failure->code().value() == each.error);
    const bool itself = each.name == std::string_view("hard");
    CHECK(failure->path1() == (itself ? files.from : files.directory / each.name));
    CHECK(failure->path2() == (itself ? files.directory / each.name : fs::path()));
  }
  CHECK(content_of(files.from) == "the source");
  CHECK(entries_of(files.directory.path()) == 5);
}

TEST_CASE("CopyTarget: a failure of the last steps leaves what was there") {
  for (const bool exists : {false, true}) {
    const Files files;
    if (exists) files.directory.file("to", "old");
    const auto error_of_finish = [&](std::uint64_t length) {
      CopyTarget target(files.to, {});
      files.open(target);
      put(target, "new");
      const auto failure = failure_of([&] { target.finish(length, files.source); });
      CHECK((!failure || failure->path1() == files.to));
      return failure ? failure->code().value() : 0;
    };
    const support::ReplacedCalls calls;
    calls->ftruncate = [](int, ::off_t) {
      errno = EIO;
      return -1;
    };
    CHECK(error_of_finish(2) == EIO);
    calls->close = [](int fd) {
      ::close(fd);
      errno = EDQUOT;
      return -1;
    };
    CHECK(error_of_finish(3) == EDQUOT);
    CHECK(entries_of(files.directory.path()) == (exists ? 2 : 1));
    if (exists) CHECK(content_of(files.to) == "old");
    calls->close = [](int fd) {
      ::close(fd);
      errno = EINTR;  // it is closed all the same
      return -1;
    };
    CHECK(error_of_finish(3) == 0);
    CHECK(content_of(files.to) == "new");
  }
}

TEST_CASE("CopyTarget: where its name has become a directory, it fails and takes its file away") {
  const Files files;
  files.directory.file("to", "old");
  CopyTarget target(files.to, {});
  files.open(target);
  fs::remove(files.to);
  fs::create_directory(files.to);
  const auto failure = failure_of([&] { target.finish(0, files.source); });
  REQUIRE(failure);
  CHECK(failure->path1() == files.to);
  CHECK(entries_of(files.directory.path()) == 2);
}

TEST_CASE("CopyTarget: a forked child takes nothing away from its parent") {
  for (const bool exists : {false, true}) {
    const Files files;
    if (exists) files.directory.file("to", "old");
    std::optional<CopyTarget> target(std::in_place, files.to, CopyOptions());
    files.open(*target);
    const std::size_t during = entries_of(files.directory.path());
    CHECK(support::answer_in_child([&] {
            target.reset();
            return std::string("gone");
          }) == "gone");
    CHECK(entries_of(files.directory.path()) == during);
    put(*target, "new");
    target->finish(3, files.source);
    CHECK(content_of(files.to) == "new");
  }
}
