#include <aiofile/os/stat.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <aiofile/error.hpp>
#include <aiofile/os/at.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aiofile/outcome.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

namespace os = aiofile::os;
using aiofile::detail::lookups_in_place;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::failure_of;
using std::filesystem::file_type;
using support::ReplacedCalls;
using support::TemporaryDirectory;

static_assert(std::is_trivially_copyable_v<os::Stat>);
static_assert(std::is_trivially_copyable_v<os::At>);

namespace {

os::Time time_of(const ::timespec& time) {
  return os::Time(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

int asked;  // how often openat2() was called

/// Lets openat2() fail with `error`.
template <int error>
void refuse(ReplacedCalls& calls) {
  asked = 0;
  lookups_in_place = true;
  calls->openat2 = [](int, const char*, const caio::OpenHow*) {
    ++asked;
    errno = error;
    return -1;
  };
}

/// The blocking backend does without: there a plain stat is in place, too.
bool looks_in_place(Context& context) {
  return context.engine()->works_in_place() && context.implementation() != caio::Implementation::blocking;
}

}  // namespace

TEST_CASE("stat: says what stat(2) says") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", outcome::pattern(5000));
    ::chmod(path.c_str(), 04640);
    ::link(path.c_str(), (directory / "other").c_str());
    if (::geteuid() == 0) ::chown(path.c_str(), 12, 34);
    struct ::stat wanted;
    REQUIRE(::stat(path.c_str(), &wanted) == 0);
    const os::Stat stat = co_await os::stat(path);
    CHECK(stat.device == wanted.st_dev);
    CHECK(stat.inode == wanted.st_ino);
    CHECK(stat.type == file_type::regular);
    CHECK(static_cast<unsigned>(stat.permissions) == (wanted.st_mode & 07777U));
    CHECK(stat.links == 2);
    CHECK(stat.user == wanted.st_uid);
    CHECK(stat.group == wanted.st_gid);
    CHECK(stat.size == 5000);
    CHECK(stat.blocks == static_cast<std::uint64_t>(wanted.st_blocks));
    CHECK(stat.block_size == static_cast<std::uint32_t>(wanted.st_blksize));
    CHECK(stat.represented == 0);
    CHECK(stat.accessed == time_of(wanted.st_atim));
    CHECK(stat.modified == time_of(wanted.st_mtim));
    CHECK(stat.changed == time_of(wanted.st_ctim));
  });
}

TEST_CASE("stat: says what statx(2) says beyond that, where it does") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "text");
    struct ::statx wanted;
    REQUIRE(::statx(AT_FDCWD, path.c_str(), 0, 0x3fff, &wanted) == 0);
    const os::Stat stat = co_await os::stat(path);
    CHECK(stat.born.has_value() == ((wanted.stx_mask & STATX_BTIME) != 0));
    if (stat.born) CHECK(*stat.born == time_of({wanted.stx_btime.tv_sec, wanted.stx_btime.tv_nsec}));
    if (stat.born) CHECK(*stat.born <= stat.modified);
#ifdef STATX_MNT_ID
    CHECK(stat.mount == wanted.stx_mnt_id);
#endif
#ifdef STATX_DIOALIGN
    CHECK(stat.memory_alignment == wanted.stx_dio_mem_align);
    CHECK(stat.offset_alignment == wanted.stx_dio_offset_align);
#endif
    const os::Stat elsewhere = co_await os::stat("/proc/self/status");
    CHECK_FALSE(elsewhere.born.has_value());
  });
}

TEST_CASE("stat: every type of file") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    REQUIRE(::mkfifo((directory / "fifo").c_str(), 0666) == 0);
    REQUIRE(::symlink("nowhere", (directory / "link").c_str()) == 0);
    const support::Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = "/proc/self/fd/" + std::to_string(::open(directory.path().c_str(), O_PATH | O_CLOEXEC));
    (name + "/socket").copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
    REQUIRE(::bind(listener.get(), reinterpret_cast<const ::sockaddr*>(&address), sizeof address) == 0);
    ::close(std::stoi(name.substr(14)));
    const std::pair<std::filesystem::path, file_type> all[] = {
        {directory.path(), file_type::directory},  {directory.file("f", ""), file_type::regular},
        {directory / "fifo", file_type::fifo},     {directory / "link", file_type::symlink},
        {directory / "socket", file_type::socket}, {"/dev/null", file_type::character}};
    for (const auto& [path, type] : all) {
      const os::Stat stat = co_await os::lstat(path);
      CHECK(stat.type == type);
    }
    const os::Stat null = co_await os::stat("/dev/null");
    CHECK(null.represented == ::gnu_dev_makedev(1, 3));
    CHECK(aiofile::detail::type_of(S_IFBLK | 0644) == file_type::block);
    CHECK(aiofile::detail::type_of(0644) == file_type::unknown);
  });
}

TEST_CASE("stat: follows a link, lstat does not") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    directory.file("file", "12345");
    REQUIRE(::symlink("file", (directory / "link").c_str()) == 0);
    const os::Stat file = co_await os::stat(directory / "link");
    CHECK(file.type == file_type::regular);
    CHECK(file.size == 5);
    const os::Stat link = co_await os::lstat(directory / "link");
    CHECK(link.type == file_type::symlink);
    CHECK(link.size == 4);
    CHECK(link.inode != file.inode);
  });
}

TEST_CASE("stat: errors name the path") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto file = directory.file("file", "");
    REQUIRE(::symlink("loop", (directory / "loop").c_str()) == 0);
    REQUIRE(::symlink("nothing", (directory / "broken").c_str()) == 0);
    CHECK_YIELDS(error_of(os::stat(file / "below")), ENOTDIR);
    CHECK_YIELDS(error_of(os::stat(directory / "loop")), ELOOP);
    CHECK_YIELDS(error_of(os::stat(directory / "broken")), ENOENT);
    CHECK_YIELDS(error_of(os::stat(directory / std::string(300, 'n'))), ENAMETOOLONG);
    CHECK_YIELDS(error_of(os::stat("")), ENOENT);
    CHECK_YIELDS(error_of(os::stat(file.native() + "/")), ENOTDIR);
    CHECK_YIELDS(error_of(os::stat("file", {.directory = 9999})), EBADF);
    for (int time = 0; time < 2; ++time) {  // the second time, that there is nothing is cached
      const auto missing = co_await failure_of(os::lstat(directory / "missing"));
      REQUIRE(missing);
      CHECK(missing->code().value() == ENOENT);
      CHECK(missing->path1() == directory / "missing");
      CHECK(std::string(missing->what()).find("lstat") != std::string::npos);
    }
  });
}

TEST_CASE("stat: a path with a NUL in it is refused by the call") {
  using namespace std::string_literals;
  CHECK_THROWS_AS(os::stat("a\0b"s), std::invalid_argument);
  CHECK_THROWS_AS(os::lstat("\0"s), std::invalid_argument);
}

TEST_CASE("stat: below a directory that is open") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto file = directory.file("file", "123");
    const support::Fd opened(directory.path(), O_PATH | O_DIRECTORY);
    const os::Stat stat = co_await os::stat("file", {.directory = opened.get()});
    CHECK(stat.size == 3);
    const os::Stat link = co_await os::lstat("file", {.directory = opened.get()});
    CHECK(link.inode == stat.inode);
    const os::Stat absolute = co_await os::stat(file, {.directory = opened.get()});
    CHECK(absolute.inode == stat.inode);
    CHECK_YIELDS(error_of(os::stat("file")), ENOENT);
  });
}

TEST_CASE("stat: nothing happens before it is awaited") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    auto later = os::stat(directory / "file");
    auto moved = std::move(later);
    directory.file("file", "1234");
    const os::Stat stat = co_await std::move(moved);
    CHECK(stat.size == 4);
  });
}

TEST_CASE("stat: its times can be had on the file clock") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "text");
  const os::Stat stat = caio::run([](auto name) -> Task<os::Stat> { co_return co_await os::stat(name); }(path));
  CHECK(std::chrono::file_clock::from_sys(stat.modified) == std::filesystem::last_write_time(path));
}

TEST_CASE("stat: a time beyond what a Time can tell is the first or the last") {
  using aiofile::detail::time_of;
  const auto time = [](std::int64_t seconds, std::uint32_t nanoseconds) {
    ::statx_timestamp stamp{};
    stamp.tv_sec = seconds;
    stamp.tv_nsec = nanoseconds;
    return time_of(stamp).time_since_epoch().count();
  };
  CHECK(time(-1, 1) == -999'999'999);
  CHECK(time(9'223'372'035, 999'999'999) == 9'223'372'035'999'999'999);
  CHECK(time(-9'223'372'036, 1) == -9'223'372'035'999'999'999);
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  constexpr auto least = std::numeric_limits<std::int64_t>::min();
  for (const std::int64_t seconds : {std::int64_t{9'223'372'036}, std::int64_t{10'413'792'000}, most}) {
    CHECK(time(seconds, 999'999'999) == most);
  }
  for (const std::int64_t seconds : {std::int64_t{-9'223'372'037}, std::int64_t{-62'135'596'800}, least}) {
    CHECK(time(seconds, 0) == least);
  }

  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto file = directory.file("file", "");
    constexpr ::time_t year_2300 = 10'413'792'000;
    const ::timespec times[2] = {{.tv_sec = year_2300, .tv_nsec = 5}, {.tv_sec = 1, .tv_nsec = 5}};
    REQUIRE(::utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
    struct ::stat status {};
    REQUIRE(::stat(file.c_str(), &status) == 0);
    if (status.st_atim.tv_sec != year_2300) {
      WARN("this file system does not reach the year 2300");
      co_return;
    }
    const os::Stat found = co_await os::stat(file);
    CHECK(found.accessed == os::Time::max());
    CHECK(found.modified == os::Time(std::chrono::nanoseconds(1'000'000'005)));
  });
}

TEST_CASE("stat: cached metadata is had in place, as long as speculation is on") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "text");
    co_await os::stat(path);
    const std::size_t descriptors = support::open_files();
    std::uint64_t in_place = 0;
    const bool speculates = looks_in_place(context) && lookups_in_place;             // else not with this kernel
    for (int round = 0; round < (speculates ? 100 : 1) && in_place < 10; ++round) {  // a mount makes it refuse for once
      const caio::ContextStats before = context.stats();
      for (int i = 0; i < 10; ++i) co_await os::stat(path);
      const caio::ContextStats after = context.stats();
      in_place = after.speculated - before.speculated;
      const bool blocking = context.implementation() == caio::Implementation::blocking;
      CHECK(after.pooled - before.pooled == (blocking ? 0 : 10 - in_place));
    }
    CHECK(in_place == (speculates ? 10U : 0U));
    CHECK(support::open_files() == descriptors);
  });
}

TEST_CASE("stat: what has changed is seen at once") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "");
    for (std::uint64_t size = 0; size < 10; ++size) {
      const os::Stat stat = co_await os::stat(path);
      CHECK(stat.size == size);
      std::ofstream(path, std::ios::app) << 'x';
    }
    std::filesystem::remove(path);
    CHECK_YIELDS(error_of(os::stat(path)), ENOENT);
    directory.file("file", "");
    CHECK_YIELDS(error_of(os::stat(path)), 0);
  });
}

TEST_CASE("stat: a file system that may have to ask is asked on the pool") {
  Context context(caio::Implementation::thread);
  context.run([](Context& own) -> Task<> {
    co_await os::stat("/proc/self/status");
    CHECK(own.stats().speculated == 0);
    CHECK(own.stats().pooled == 1);
  }(context));
}

TEST_CASE("stat: a lookup that needs I/O is for the pool") {
  ReplacedCalls calls;
  refuse<EAGAIN>(calls);
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "123");
    for (int i = 0; i < 3; ++i) {
      const os::Stat stat = co_await os::stat(path);
      CHECK(stat.size == 3);
    }
    CHECK(context.stats().speculated == 0);
    CHECK(asked == (looks_in_place(context) ? 3 : 0));
    CHECK(lookups_in_place);
  });
}

TEST_CASE("stat: where openat2(2) is not to be had it is asked for once") {
  ReplacedCalls calls;
  refuse<ENOSYS>(calls);
  SECTION("an old kernel") {}
  SECTION("a kernel that does not know RESOLVE_CACHED") { refuse<EINVAL>(calls); }
  SECTION("a sandbox") { refuse<EPERM>(calls); }
  Context context(caio::Implementation::thread);
  context.run([]() -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "123");
    for (int i = 0; i < 3; ++i) {
      const os::Stat stat = co_await os::stat(path);
      CHECK(stat.size == 3);
    }
  }());
  CHECK(asked == 1);
  CHECK_FALSE(lookups_in_place);
  lookups_in_place = true;
}

TEST_CASE("stat: one that is stopped before it begins asks nothing, cached or not") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "text");
    co_await os::stat(path);
    std::stop_source source;
    source.request_stop();
    CHECK_YIELDS(error_of(caio::with_stop(source.get_token(), os::stat(path))), ECANCELED);
  });
}

TEST_CASE("stat: others run beside one that is cached all the time") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "text");
    bool other = false;
    context.spawn([](bool& ran) -> Task<> {
      ran = true;
      co_return;
    }(other));
    for (int i = 0; i < 1000 && !other; ++i) co_await os::stat(path);
    CHECK(other);
  });
}

TEST_CASE("stat: many at once, more than the pool has threads") {
  support::on_every_backend(
      [](Context&) -> Task<> {
        const TemporaryDirectory directory;
        std::vector<decltype(os::stat(std::filesystem::path()))> all;
        for (int i = 0; i < 100; ++i) {
          all.push_back(os::stat(directory.file(std::to_string(i), std::string(static_cast<std::size_t>(i), 'x'))));
        }
        const std::vector<os::Stat> stats = co_await caio::gather(std::move(all));
        for (std::size_t i = 0; i < stats.size(); ++i) CHECK(stats[i].size == i);
      },
      {.max_requests = 8, .pool_size = 2});
}
