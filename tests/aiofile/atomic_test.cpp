#include <aiofile/atomic.hpp>

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <caio/caio.hpp>
#include <caio/testing.hpp>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AtomicOptions;
using aiofile::AtomicWriter;
using aiofile::write_atomic;
using caio::Context;
using caio::Opcode;
using caio::Task;
using caio::testing::FaultBackend;
using caio::testing::FaultScript;
using outcome::bytes_of;
using outcome::error_of;
using outcome::failure_of;
using outcome::pattern;
using outcome::store_error;
using support::content_of;
using support::on_every_backend;
using support::ReplacedCalls;
using support::TemporaryDirectory;
using Path = std::filesystem::path;

namespace {

std::vector<std::string> names_in(const Path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}
using Names = std::vector<std::string>;

/// How many descriptors of this process are files in a directory, or were.
std::size_t open_below(const Path& directory) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone).parent_path() == directory) ++count;
  }
  return count;
}

struct ::stat status_of(const Path& path) {
  struct ::stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status;
}
unsigned permissions_of(const Path& path) { return status_of(path).st_mode & 07777U; }

/// A umask for a while.
class Umask {
 public:
  explicit Umask(::mode_t mask) : before_(::umask(mask)) {}
  Umask(const Umask&) = delete;
  Umask& operator=(const Umask&) = delete;
  ~Umask() { ::umask(before_); }

 private:
  ::mode_t before_;
};

const std::string old_content = "the old content";
const std::string new_content = pattern(100'000, 3);

Task<> replace_in_parts(Context& context, Path path) {
  AtomicWriter out = co_await AtomicWriter::open(std::move(path), {.context = &context});
  const std::string_view all = new_content;
  co_await out.write(all.substr(0, 10));
  co_await out.write(all.substr(10, 70'000));
  co_await out.write(std::string(all.substr(70'010)));
  co_await out.commit();
}

}  // namespace

TEST_CASE("write_atomic: makes a file, and replaces one, with views, strings and bytes") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Path path = directory / "file";
    const std::size_t before = support::open_files();
    co_await write_atomic(path, "first");
    CHECK(content_of(path) == "first");
    const auto first = status_of(path).st_ino;
    const Umask lasting(0);
    co_await write_atomic(path, std::string("second"));
    CHECK(content_of(path) == "second");
    CHECK(status_of(path).st_ino != first);
    co_await write_atomic(path, bytes_of("third"));
    CHECK(content_of(path) == "third");
    co_await write_atomic(path, "");
    CHECK(content_of(path).empty());
    const std::string large = pattern(3'000'000, 1);
    co_await write_atomic(path, large, {.durable = false});
    CHECK((content_of(path) == large));
    CHECK(names_in(directory.path()) == Names{"file"});
    CHECK(support::open_files() == before);
    CHECK(outcome::descriptors_of(directory.path()) == 0);
  });
}

TEST_CASE("write_atomic: who has the old file open keeps the old content") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Path path = directory.file("file", old_content);
    std::ifstream old(path);
    std::filesystem::create_hard_link(path, directory / "link");
    co_await write_atomic(path, new_content);
    CHECK(std::string(std::istreambuf_iterator<char>(old), {}) == old_content);
    CHECK(content_of(directory / "link") == old_content);
    CHECK((content_of(path) == new_content));
  });
}

TEST_CASE("AtomicWriter: nothing changes before commit(), all of it then") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Path path = directory.file("file", old_content);
    const std::size_t buffering = GENERATE(std::size_t{0}, std::size_t{4096});
    AtomicWriter out = co_await AtomicWriter::open(path, {.buffering = buffering});
    CHECK(out.name() == path);
    for (int i = 0; i < 100; ++i) CHECK_YIELDS(out.write(std::to_string(i) + "\n"), i < 10 ? 2U : 3U);
    CHECK(out.tell() == 290);
    CHECK(content_of(path) == old_content);
    CHECK_FALSE(out.committed());
    const Names during = names_in(directory.path());
    REQUIRE(during.size() == 2);
    CHECK(during[0].starts_with(".aiofile-"));
    CHECK(during[0].ends_with(".tmp"));
    co_await out.commit();
    CHECK(out.committed());
    CHECK(content_of(path).size() == 290);
    CHECK(content_of(path).starts_with("0\n1\n"));
    CHECK(names_in(directory.path()) == Names{"file"});
    co_await out.commit();
    co_await out.discard();
    CHECK(content_of(path).size() == 290);
    CHECK_YIELDS(error_of(out.write("more")), EBADF);
  });
}

TEST_CASE("AtomicWriter: without commit() nothing changes, discarded or destroyed") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Path path = directory.file("file", old_content);
    {
      AtomicWriter out = co_await AtomicWriter::open(path);
      co_await out.write(new_content);
    }
    CHECK(names_in(directory.path()) == Names{"file"});
    {
      AtomicWriter out = co_await AtomicWriter::open(directory / "another", {.buffering = 1000});
      co_await out.write("gathered");
    }
    CHECK(names_in(directory.path()) == Names{"file"});
    AtomicWriter out = co_await AtomicWriter::open(path);
    co_await out.write(new_content);
    co_await out.discard();
    CHECK(names_in(directory.path()) == Names{"file"});
    CHECK_YIELDS(error_of(out.commit()), EBADF);
    co_await out.discard();
    CHECK(content_of(path) == old_content);
    CHECK(outcome::descriptors_of(directory.path()) == 0);
  });
}

TEST_CASE("AtomicWriter: a moved one goes on") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AtomicWriter first = co_await AtomicWriter::open(directory / "first");
    co_await first.write("one");
    AtomicWriter second = co_await AtomicWriter::open(directory / "second");
    second = std::move(first);
    co_await second.write("two");
    co_await second.commit();
    CHECK(names_in(directory.path()) == Names{"first"});
    CHECK(content_of(directory / "first") == "onetwo");
  });
}

TEST_CASE("AtomicWriter: commit() waits for the writes that were started before") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Path path = directory.file("file", old_content);
    AtomicWriter out = co_await AtomicWriter::open(path);
    const std::string part = pattern(300'000, 9);
    auto write = [](AtomicWriter& to, const std::string& text) -> Task<> { co_await to.write(std::string_view(text)); };
    caio::TaskGroup group;
    group.spawn(write(out, part));
    group.spawn(write(out, part));
    group.spawn(out.commit());
    co_await group.join();
    CHECK((content_of(path) == part + part));
  });
}

TEST_CASE("AtomicWriter: after a write that was cut short commit() refuses") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Path path = directory.file("file", old_content);
    AtomicWriter out = co_await AtomicWriter::open(path);
    std::stop_source source;
    source.request_stop();
    CHECK_YIELDS(error_of(caio::with_stop(source.get_token(), out.write(new_content))), ECANCELED);
    co_await out.write("the rest");
    const auto error = co_await failure_of(out.commit());
    REQUIRE(error);
    CHECK(error->code().value() == ECANCELED);
    CHECK(error->path1() == path);
    CHECK(content_of(path) == old_content);
    CHECK(names_in(directory.path()) == Names{"file"});
    CHECK_YIELDS(error_of(out.commit()), EBADF);
  });
}

TEST_CASE("AtomicWriter: a write that is started after commit() is refused, it would not be synced") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Path path = directory.file("file", old_content);
    const bool durable = GENERATE(true, false);
    AtomicWriter out = co_await AtomicWriter::open(path, {.durable = durable});
    co_await out.write("in time");
    int committed = -1;
    int written = -1;
    co_await caio::gather(store_error(out.commit(), committed), store_error(out.write(" late"), written));
    CHECK(committed == 0);
    CHECK(written == EBADF);
    CHECK(content_of(path) == "in time");
  });
}

TEST_CASE("AtomicWriter: a commit() that is stopped or fails closes the file") {
  const auto closed_after = [](Context& context, int wanted, bool stopped) -> Task<> {
    const TemporaryDirectory directory;
    const Path path = directory.file("file", old_content);
    AtomicWriter out = co_await AtomicWriter::open(path, {.context = &context});
    co_await out.write(new_content);
    std::stop_source source;
    if (stopped) source.request_stop();
    CHECK_YIELDS(error_of(caio::with_stop(source.get_token(), out.commit())), wanted);
    CHECK(names_in(directory.path()) == Names{"file"});
    CHECK(open_below(directory.path()) == 0);
    CHECK_YIELDS(error_of(out.write("more")), EBADF);
    CHECK(content_of(path) == old_content);
  };
  for (const caio::Implementation implementation : support::backends()) {
    Context context(std::make_unique<FaultBackend>(caio::make_backend(implementation),
                                                   FaultScript().fail(Opcode::fsync, caio::testing::every, EIO)));
    context.run(closed_after(context, EIO, false));
    context.run(closed_after(context, ECANCELED, true));
  }
}

TEST_CASE("write_atomic: a new file has the permissions asked for less the umask") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Umask mask(027);
    co_await write_atomic(directory / "default", "x");
    CHECK(permissions_of(directory / "default") == 0640);
    co_await write_atomic(directory / "secret", "x", {.permissions = 0600});
    CHECK(permissions_of(directory / "secret") == 0600);
  });
}

TEST_CASE("write_atomic: a replaced file hands on its permissions and owner, unless told otherwise") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Umask mask(077);
    const Path path = directory.file("file", old_content);
    for (const ::mode_t mode : {0644U, 0666U, 0400U, 0777U, 04755U, 0604U}) {
      std::filesystem::permissions(path, std::filesystem::perms(mode));
      co_await write_atomic(path, "x", {.permissions = 0640});
      CHECK(permissions_of(path) == (mode & 0777));
    }
    co_await write_atomic(path, "x", {.permissions = 0640, .keep_permissions = false});
    CHECK(permissions_of(path) == 0600);
    if (support::gives_files_away()) {
      REQUIRE(::chown(path.c_str(), 1234, 5678) == 0);
      co_await write_atomic(path, "y");
      CHECK(status_of(path).st_uid == 1234);
      CHECK(status_of(path).st_gid == 5678);
      co_await write_atomic(path, "z", {.keep_permissions = false});
      CHECK(status_of(path).st_uid == ::geteuid());
    }
  });
}

TEST_CASE("write_atomic: a group that cannot be kept gets no more than the others had") {
  if (::geteuid() != 0) {
    WARN("only root can become another user");
    return;
  }
  const TemporaryDirectory directory;
  const Path path = directory.file("file", old_content);
  REQUIRE(::chmod(directory.path().c_str(), 0777) == 0);
  REQUIRE(::chown(path.c_str(), 0, 0) == 0);
  REQUIRE(::chmod(path.c_str(), 0674) == 0);
  const std::string answer = support::answer_in_child([&]() -> std::string {
    if (::chdir(directory.path().c_str()) != 0 || !support::become_nobody()) return "no other user";
    Context context(caio::Implementation::blocking);
    context.run(write_atomic("file", "new"));
    return "done";
  });
  if (answer == "no other user") {
    WARN("this user may not become another");
    return;
  }
  CHECK(answer == "done");
  CHECK(content_of(path) == "new");
  CHECK(status_of(path).st_uid == 65534);
  CHECK(permissions_of(path) == 0644);
}

TEST_CASE("write_atomic: an access control list is handed on, and none is taken from the directory") {
  // acl(5) as xattr(7) has it: version 2; user::rw-, user:1234:r--, group::---, mask::rw-, other::---
  struct Entry {
    std::uint16_t tag, permissions;
    std::uint32_t id;
  };
  struct List {
    std::uint32_t version = 2;
    std::array<Entry, 5> entries{{{0x01, 6, ~0U}, {0x02, 4, 1234}, {0x04, 0, ~0U}, {0x10, 6, ~0U}, {0x20, 0, ~0U}}};
  };
  const List list;
  const TemporaryDirectory directory;
  const Path path = directory.file("file", old_content);
  const char* const access = "system.posix_acl_access";
  if (::setxattr(path.c_str(), access, &list, sizeof list, 0) != 0) {
    WARN("no access control lists on this file system");
    return;
  }
  on_every_backend([&](Context&) -> Task<> {
    co_await write_atomic(path, "x");
    List kept;
    kept.entries = {};
    CHECK(::getxattr(path.c_str(), access, &kept, sizeof kept) == sizeof kept);
    CHECK(kept.entries[1].id == 1234);
    CHECK(kept.entries[2].permissions == 0);
    CHECK(permissions_of(path) == 0660);
    // A directory's default list is for new files, not for those that are replaced.
    REQUIRE(::setxattr(directory.path().c_str(), "system.posix_acl_default", &list, sizeof list, 0) == 0);
    const Path plain = directory.file("plain", "x");
    ::removexattr(plain.c_str(), access);
    REQUIRE(::chmod(plain.c_str(), 0644) == 0);
    co_await write_atomic(plain, "y");
    CHECK(::getxattr(plain.c_str(), access, nullptr, 0) == -1);
    CHECK(permissions_of(plain) == 0644);
    co_await write_atomic(directory / "fresh", "z");
    CHECK(::getxattr((directory / "fresh").c_str(), access, nullptr, 0) == sizeof list);
    std::filesystem::remove(directory / "fresh");
    ::removexattr(directory.path().c_str(), "system.posix_acl_default");
  });
}

TEST_CASE("write_atomic: a symbolic link stays, and what it points to is replaced or made") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::filesystem::create_directory(directory / "there");
    const Path target = directory.file("there/target", old_content);
    std::filesystem::create_symlink("there/target", directory / "relative");
    std::filesystem::create_symlink(directory / "relative", directory / "chain");
    std::filesystem::create_symlink("there/new", directory / "dangling");
    co_await write_atomic(directory / "chain", "new");
    CHECK(content_of(target) == "new");
    CHECK(std::filesystem::is_symlink(directory / "chain"));
    CHECK(std::filesystem::is_symlink(directory / "relative"));
    co_await write_atomic(directory / "dangling", "made");
    CHECK(content_of(directory / "there" / "new") == "made");
    CHECK(std::filesystem::is_symlink(directory / "dangling"));
    CHECK(names_in(directory / "there") == Names{"new", "target"});
  });
}

TEST_CASE("write_atomic: somebody else's link in a directory for all is not followed") {
  if (!support::gives_files_away()) {
    WARN("only root can give links away");
    return;
  }
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Path target = directory.file("target", old_content);
    std::filesystem::create_directory(directory / "for all");
    const Path link = directory / "for all/link";
    std::filesystem::create_symlink("../target", link);
    const auto permit = [&](::mode_t mode) { REQUIRE(::chmod((directory / "for all").c_str(), mode) == 0); };
    permit(01777);
    CHECK_YIELDS(error_of(write_atomic(link, "own")), 0);
    REQUIRE(::lchown(link.c_str(), 1234, 1234) == 0);
    CHECK_YIELDS(error_of(write_atomic(link, "another's")), EACCES);
    std::filesystem::create_symlink("for all/link", directory / "chain");
    CHECK_YIELDS(error_of(write_atomic(directory / "chain", "another's")), EACCES);
    CHECK(content_of(target) == "own");
    permit(0777);
    CHECK_YIELDS(error_of(write_atomic(link, "not sticky")), 0);
    permit(01775);
    CHECK_YIELDS(error_of(write_atomic(link, "not for all")), 0);
    permit(01777);
    REQUIRE(::chown((directory / "for all").c_str(), 1234, 1234) == 0);
    CHECK_YIELDS(error_of(write_atomic(link, "its directory")), 0);
    CHECK(content_of(target) == "its directory");
    CHECK(names_in(directory / "for all") == Names{"link"});
  });
}

TEST_CASE("write_atomic: what cannot be replaced is said, by the path that was given") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::filesystem::create_symlink("loop", directory / "loop");
    std::filesystem::create_symlink("fifo", directory / "link");
    directory.file("file", "x");
    REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
    const Names before = names_in(directory.path());
    const std::pair<Path, int> cases[] = {
        {directory.path(), EISDIR},
        {directory.path() / "", EISDIR},
        {directory.path() / ".", EISDIR},
        {directory / "new" / "", EISDIR},  // as open(2) says
        {"/", EISDIR},
        {"", ENOENT},
        {directory / "fifo", EOPNOTSUPP},
        {directory / "link", EOPNOTSUPP},
        {"/dev/null", EOPNOTSUPP},
        {directory / "loop", ELOOP},
        {directory / "no" / "file", ENOENT},
        {directory / "file" / "file", ENOTDIR},
        {directory / std::string(300, 'x'), ENAMETOOLONG},
        {"/proc/no file", ENOENT},
    };
    for (const auto& [path, wanted] : cases) {
      INFO(path);
      const auto error = co_await failure_of(write_atomic(path, "x"));
      REQUIRE(error);
      CHECK(error->code().value() == wanted);
      CHECK(error->path1() == path);
    }
    CHECK(names_in(directory.path()) == before);
    CHECK_THROWS_AS(write_atomic(std::string("a\0b", 3), "x"), std::invalid_argument);
    CHECK_THROWS_AS(AtomicWriter::open(std::string("a\0b", 3)), std::invalid_argument);
    // A name as long as may be: the temporary one is not made of it.
    co_await write_atomic(directory / std::string(255, 'x'), "x");
    CHECK(content_of(directory / std::string(255, 'x')) == "x");
  });
}

TEST_CASE("AtomicWriter: a rename that fails leaves no temporary") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Path path = directory / "file";
    AtomicWriter out = co_await AtomicWriter::open(path);
    co_await out.write("x");
    std::filesystem::create_directory(path);
    const auto error = co_await failure_of(out.commit());
    REQUIRE(error);
    CHECK(error->code().value() == EISDIR);
    CHECK(error->path1() == path);
    CHECK_FALSE(out.committed());
    CHECK(names_in(directory.path()) == Names{"file"});
  });
}

TEST_CASE("write_atomic: the directory may be renamed meanwhile, and the working directory changed") {
  const TemporaryDirectory directory;
  const Path here = std::filesystem::current_path();
  on_every_backend([&](Context&) -> Task<> {
    std::filesystem::create_directory(directory / "before");
    std::filesystem::current_path(directory / "before");
    AtomicWriter out = co_await AtomicWriter::open("file");
    std::filesystem::current_path(here);
    std::filesystem::rename(directory / "before", directory / "after");
    co_await out.write("x");
    co_await out.commit();
    CHECK(names_in(directory / "after") == Names{"file"});
    CHECK(content_of(directory / "after" / "file") == "x");
    std::filesystem::remove_all(directory / "after");
  });
}

namespace {

// What was on the disk whenever something was synced, in order.
std::vector<std::string> history;
Path watched;
int failing_sync = 0;

int watched_fsync(int fd) {
  struct ::stat status {};
  ::fstat(fd, &status);
  history.push_back(S_ISDIR(status.st_mode) ? "directory" : "file of " + std::to_string(status.st_size));
  history.back() += content_of(watched) == old_content ? ", old" : ", new";
  if (failing_sync == static_cast<int>(history.size())) {
    errno = EIO;
    return -1;
  }
  return ::fsync(fd);
}

}  // namespace

TEST_CASE("write_atomic: the content is synced before the rename, the directory after it; nothing if not durable") {
  for (const caio::Implementation implementation : outcome::plain_backends) {
    if (!support::wanted(implementation)) continue;
    Context context(implementation);
    ReplacedCalls calls;
    calls->fsync = watched_fsync;
    const TemporaryDirectory directory;
    watched = directory.file("file", old_content);
    history.clear();
    failing_sync = 0;
    context.run(write_atomic(watched, new_content));
    CHECK(history == Names{"file of 100000, old", "directory, new"});
    directory.file("file", old_content);
    history.clear();
    context.run(write_atomic(watched, new_content, {.durable = false}));
    CHECK(history.empty());
    CHECK((content_of(watched) == new_content));
  }
}

TEST_CASE("write_atomic: a failed sync of the content changes nothing, one of the directory is told after the change") {
  for (const caio::Implementation implementation : outcome::plain_backends) {
    if (!support::wanted(implementation)) continue;
    Context context(implementation);
    ReplacedCalls calls;
    calls->fsync = watched_fsync;
    const TemporaryDirectory directory;
    for (failing_sync = 1; failing_sync <= 2; ++failing_sync) {
      watched = directory.file("file", old_content);
      history.clear();
      const auto error = context.run(failure_of(write_atomic(watched, new_content)));
      REQUIRE(error);
      CHECK(error->code().value() == EIO);
      CHECK(error->path1() == watched);
      CHECK((content_of(watched) == (failing_sync == 1 ? old_content : new_content)));
      CHECK(names_in(directory.path()) == Names{"file"});
    }
    failing_sync = 0;
  }
}

TEST_CASE("write_atomic: when the clean-up fails, too, the first error is told") {
  static Path place;
  for (const caio::Implementation implementation : outcome::plain_backends) {
    if (!support::wanted(implementation)) continue;
    Context context(implementation, {.speculate = false});
    const TemporaryDirectory directory;
    place = directory.path();
    ReplacedCalls calls;
    calls->pwrite = [](int, const void*, std::size_t, ::off_t) -> ::ssize_t {
      // What unlink(2) refuses to remove.
      const Path temporary = place / names_in(place).at(0);
      std::filesystem::remove(temporary);
      std::filesystem::create_directory(temporary);
      errno = ENOSPC;
      return -1;
    };
    const auto error = context.run(failure_of(write_atomic(directory / "file", new_content)));
    REQUIRE(error);
    CHECK(error->code().value() == ENOSPC);
    CHECK(std::filesystem::is_directory(place / names_in(place).at(0)));
  }
}

TEST_CASE("write_atomic: whatever fails, however often, the old content stays and nothing beside it") {
  std::size_t cells = 0;
  for (const caio::Implementation implementation : support::backends()) {
    const TemporaryDirectory directory;
    auto made = std::make_unique<FaultBackend>(caio::make_backend(implementation), FaultScript());
    FaultBackend& faults = *made;
    Context context(std::move(made));
    context.on_lost_data([](const caio::LostData&) {});
    for (const Opcode opcode : {Opcode::write, Opcode::fsync, Opcode::close}) {
      for (const int failure : {EIO, ENOSPC, EDQUOT, EINVAL}) {
        for (std::uint64_t nth = 1;; ++nth) {
          const Path path = directory.file("file", old_content);
          FaultScript script;
          script.shorten(Opcode::write, caio::testing::every, 30'000).fail(opcode, nth, failure);
          faults.set_script(script);
          const int error = context.run(error_of(replace_in_parts(context, path)));
          const bool met = faults.counts().errors > 0;
          INFO(caio::name(implementation) << ", opcode " << static_cast<int>(opcode) << ", request " << nth);
          CHECK(error == (met ? failure : 0));
          CHECK((content_of(path) == (error == 0 ? new_content : old_content)));
          CHECK(names_in(directory.path()) == Names{"file"});
          CHECK(outcome::descriptors_of(directory.path()) == 0);
          faults.set_script(FaultScript());
          if (!met) break;
          ++cells;
        }
      }
    }
  }
  CHECK(cells >= 4 * 7 * support::backends().size());
}

TEST_CASE("write_atomic: stopped or destroyed at any moment, the file is old or new, and nothing is beside it") {
  std::size_t old_ones = 0;
  std::size_t new_ones = 0;
  for (const caio::Implementation implementation : support::backends()) {
    const TemporaryDirectory directory;
    auto made = std::make_unique<FaultBackend>(caio::make_backend(implementation), FaultScript());
    FaultBackend& faults = *made;
    Context context(std::move(made));
    for (const bool destroyed : {false, true}) {
      // In steps that grow: on a fast machine a disk takes very many turns.
      for (int turns = 0, ended = 0; turns < 10'000'000 && ended < 3; turns += 1 + turns / 16) {
        INFO(caio::name(implementation) << (destroyed ? ", destroyed" : ", stopped") << " after " << turns);
        const Path path = directory.file("file", old_content);
        faults.set_script(FaultScript(static_cast<std::uint64_t>(turns), {.short_counts = 30, .delays = 50}));
        int error = -1;
        {
          caio::TaskGroup group;
          group.spawn(outcome::store_error(replace_in_parts(context, path), error));
          for (int turn = 0; turn < turns && error == -1; ++turn) context.poll();
          if (error != -1) ++ended;
          if (!destroyed) {
            group.request_stop();
            context.run(group.join());
            CHECK((error == 0 || error == ECANCELED));
          }
        }
        const std::string content = content_of(path);
        const bool is_new = content == new_content;
        CHECK((is_new || content == old_content));
        if (error == 0) CHECK(is_new);
        if (error == ECANCELED) CHECK_FALSE(is_new);
        CHECK(names_in(directory.path()) == Names{"file"});
        CHECK(outcome::descriptors_of(directory.path()) == 0);
        ++(is_new ? new_ones : old_ones);
      }
    }
  }
  // At least what is stopped at once, and what has ended.
  CHECK(old_ones >= 2 * support::backends().size());
  CHECK(new_ones >= 6 * support::backends().size());
}

TEST_CASE("AtomicWriter: a forked child's copy removes nothing") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::optional<AtomicWriter> out(co_await AtomicWriter::open(directory / "file"));
    co_await out->write("parent's");
    const std::string answer = support::answer_in_child([&out]() -> std::string {
      out.reset();
      return "done";
    });
    CHECK(answer == "done");
    CHECK(names_in(directory.path()).size() == 1);
    co_await out->commit();
    CHECK(content_of(directory / "file") == "parent's");
  });
}

TEST_CASE("AtomicWriter: several threads may write to one") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AtomicWriter out = co_await AtomicWriter::open(directory / "file");
    constexpr std::size_t times = 300;
    std::atomic<bool> ended = false;
    std::thread other([&] {
      Context own;
      const auto write = [](Context& here, AtomicWriter& to) -> Task<> {
        for (std::size_t i = 0; i < times; ++i) {
          co_await here.schedule();  // a write resumes on its file's thread
          co_await to.write("x");
        }
        co_await here.schedule();
      };
      own.run(write(own, out));
      ended = true;
    });
    for (std::size_t i = 0; i < times; ++i) co_await out.write("y");
    while (!ended) co_await context.schedule();
    other.join();
    co_await out.commit();
    CHECK(content_of(directory / "file").size() == 2 * times);
  });
}

TEST_CASE("AtomicWriter: one that outlives its context leaves nothing") {
  const TemporaryDirectory directory;
  std::optional<AtomicWriter> out;
  {
    Context context;
    auto work = [](std::optional<AtomicWriter>& place, Path path) -> Task<> {
      place.emplace(co_await AtomicWriter::open(std::move(path)));
      co_await place->write("x");
    };
    context.run(work(out, directory / "file"));
  }
  CHECK(names_in(directory.path()).size() == 1);
  Context other;
  CHECK(other.run(error_of(out->commit())) != 0);
  CHECK(names_in(directory.path()).empty());
}

TEST_CASE("write_atomic: many at once on one path, one of them wins whole") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Path path = directory / "file";
    std::vector<std::string> contents;
    for (unsigned i = 0; i < 8; ++i) contents.push_back(pattern(20'000 + 1000 * i, i));
    co_await caio::gather(
        contents, [&path](const std::string& content) { return write_atomic(path, std::string_view(content)); });
    CHECK(std::count(contents.begin(), contents.end(), content_of(path)) == 1);
    CHECK(names_in(directory.path()) == Names{"file"});
  });
}
