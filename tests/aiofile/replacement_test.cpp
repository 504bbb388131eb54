#include <aiofile/replacement.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <string_view>

#include "copied_files.hpp"
#include "support/catch.hpp"
#include "support/replaced_calls.hpp"
#include "support/temporary.hpp"

using aiofile::detail::Replacement;
using copied_files::entries_of;
using copied_files::failure_of;
using copied_files::mode_of;
using support::content_of;
using support::TemporaryDirectory;

namespace fs = std::filesystem;

namespace {

/// Makes the new file, with a content.
void write(Replacement& replacement, std::string_view text) {
  const caio::detail::UniqueFd fd = replacement.begin();
  REQUIRE(::write(fd.get(), text.data(), text.size()) == static_cast<::ssize_t>(text.size()));
}

}  // namespace

TEST_CASE("Replacement: stands beside the old file, and takes its place when it is committed") {
  const TemporaryDirectory directory;
  const fs::path path = directory.file("file", "old");
  Replacement replacement(path, {});
  CHECK(replacement.path() == path);
  CHECK(entries_of(directory.path()) == 1);
  write(replacement, "new");
  CHECK(content_of(path) == "old");
  CHECK(content_of(directory / replacement.temporary()->name().native()) == "new");
  CHECK_FALSE(replacement.committed());
  replacement.commit();
  CHECK(replacement.committed());
  CHECK(content_of(path) == "new");
  CHECK(entries_of(directory.path()) == 1);
}

TEST_CASE("Replacement: its end leaves the old file, and nothing else, unless it was committed") {
  const TemporaryDirectory directory;
  const fs::path path = directory.file("file", "old");
  for (const bool committed : {false, true}) {
    const std::size_t before = support::open_descriptors();
    {
      Replacement replacement(path, {.durable = committed});
      CHECK(replacement.durable() == committed);
      write(replacement, "new");
      CHECK(entries_of(directory.path()) == 2);
      if (committed) replacement.commit();
    }
    CHECK(content_of(path) == (committed ? "new" : "old"));
    CHECK(entries_of(directory.path()) == 1);
    CHECK(support::open_descriptors() == before);
  }
}

TEST_CASE("Replacement: is concluded once") {
  Replacement replacement("file", {});
  CHECK_FALSE(replacement.concluded());
  CHECK(replacement.conclude());
  CHECK(replacement.concluded());
  CHECK_FALSE(replacement.conclude());
}

TEST_CASE("Replacement: has the old file's permissions, or those it is given less the umask") {
  const TemporaryDirectory directory;
  const fs::path old = directory.file("old", "");
  REQUIRE(::chmod(old.c_str(), 0604) == 0);
  const auto mode = [&](const char* name, bool keep_permissions) {
    Replacement replacement(directory / name, {.permissions = 0666, .keep_permissions = keep_permissions});
    const ::mode_t umask = ::umask(027);
    write(replacement, "x");
    ::umask(umask);
    return mode_of(directory / replacement.temporary()->name().native());
  };
  CHECK(mode("old", true) == 0604);
  CHECK(mode("old", false) == 0640);
  CHECK(mode("fresh", true) == 0640);
}

TEST_CASE("Replacement: what cannot be replaced is told by the path that was given, and nothing is made") {
  const TemporaryDirectory directory;
  fs::create_directory(directory / "directory");
  fs::create_symlink("loop", directory / "loop");
  REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
  const struct {
    const char* name;
    int error;
  } cases[] = {{"directory", EISDIR}, {"directory/", EISDIR}, {"directory/..", EISDIR}, {"loop", ELOOP},
               {"fifo", EOPNOTSUPP},  {"none/file", ENOENT},  {"fifo/file", ENOTDIR}};
  for (const auto& each : cases) {
    INFO(each.name);
    Replacement replacement(directory / each.name, {});
    const auto failure = failure_of([&] { static_cast<void>(replacement.begin()); });
    REQUIRE(failure);
    CHECK(failure->code().value() == each.error);
    CHECK(failure->path1() == directory / each.name);
  }
  CHECK(entries_of(directory.path()) == 3);
  Replacement nothing("", {});
  const auto failure = failure_of([&] { static_cast<void>(nothing.begin()); });
  REQUIRE(failure);
  CHECK(failure->code().value() == ENOENT);
}

TEST_CASE("Replacement: goes through a chain of links, also to what is not there yet") {
  const TemporaryDirectory directory;
  fs::create_directory(directory / "there");
  fs::create_symlink("there/target", directory / "link");
  fs::create_symlink(directory / "link", directory / "chain");
  for (const char* const text : {"first", "second"}) {
    Replacement replacement(directory / "chain", {});
    write(replacement, text);
    CHECK(fs::exists(directory / "there" / replacement.temporary()->name()));
    replacement.commit();
    CHECK(content_of(directory / "there/target") == text);
  }
  CHECK(fs::is_symlink(directory / "link"));
  CHECK(fs::is_symlink(directory / "chain"));
}

TEST_CASE("Replacement: a link that is replaced while it is followed leads nowhere else") {
  static fs::path link;
  const TemporaryDirectory directory;
  directory.file("first", "old");
  directory.file("second", "old");
  link = directory / "link";
  fs::create_symlink("first", link);
  const support::ReplacedCalls calls;
  calls->open = [](const char* path, int flags, ::mode_t mode) {
    const int fd = ::open(path, flags, mode);
    if (path == link && (flags & O_PATH) != 0) {
      fs::remove(link);
      fs::create_symlink("second", link);
    }
    return fd;
  };
  Replacement replacement(link, {});
  write(replacement, "new");
  replacement.commit();
  CHECK(content_of(directory / "first") == "new");
  CHECK(content_of(directory / "second") == "old");
  CHECK(fs::read_symlink(link) == "second");
}

TEST_CASE("Replacement: a failed sync of the directory is told after the change, unless there is nothing to sync") {
  static int error;
  for (const int each : {EIO, EINVAL}) {
    error = each;
    const TemporaryDirectory directory;
    const fs::path path = directory.file("file", "old");
    const support::ReplacedCalls calls;
    calls->fsync = [](int) {
      errno = error;
      return -1;
    };
    Replacement replacement(path, {});
    write(replacement, "new");
    const auto failure = failure_of([&] { replacement.commit(); });
    CHECK(failure.has_value() == (each == EIO));
    CHECK(replacement.committed());
    CHECK(content_of(path) == "new");
    CHECK(entries_of(directory.path()) == 1);
  }
}

TEST_CASE("Replacement: where its name has become a directory, commit() fails, and its end takes its file away") {
  const TemporaryDirectory directory;
  {
    Replacement replacement(directory / "file", {});
    write(replacement, "new");
    fs::create_directory(directory / "file");
    const auto failure = failure_of([&] { replacement.commit(); });
    REQUIRE(failure);
    CHECK(failure->code().value() == EISDIR);
    CHECK_FALSE(replacement.committed());
  }
  CHECK(entries_of(directory.path()) == 1);
}
