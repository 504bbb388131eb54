#include <aiofile/tempfile/spooled_temporary_file.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <aiofile/async_open.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../outcome.hpp"
#include "support/catch.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::FileStream;
using aiofile::Whence;
using aiofile::tempfile::SpooledTemporaryFile;
using aiofile::tempfile::SpooledTemporaryStream;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::pattern;
using support::TemporaryDirectory;

namespace {

bool is_in_memory(int fd) {
  struct ::statfs status {};
  REQUIRE(::fstatfs(fd, &status) == 0);
  const std::string name = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)).native();
  return name.starts_with("/memfd:");
}

::off_t size_of(int fd) {
  struct ::stat status {};
  REQUIRE(::fstat(fd, &status) == 0);
  return status.st_size;
}

/// What a read gives, or where it finds what is no text: writes cut characters.
template <class A>
Task<std::string> got(A awaitable) {
  std::string text;
  try {
    text = co_await std::move(awaitable);
  } catch (const aiofile::DecodeError& error) {
    text = "not valid at byte " + std::to_string(error.offset());
  }
  co_return text;
}

template <class Stream>
Task<std::string> content_of(Stream& stream) {
  stream.seek(0);
  co_return co_await stream.read();
}

bool disk_fails = false;

int failing_open(const char* path, int flags, ::mode_t mode) {
  if (!disk_fails) return ::open(path, flags, mode);
  errno = ENOSPC;
  return -1;
}

}  // namespace

TEST_CASE("SpooledTemporaryFile: in memory until it is longer than max_size, then on disk, and all is kept") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context& context) -> Task<> {
    SpooledTemporaryStream file = co_await SpooledTemporaryFile(10, "w+b", {.dir = directory.path().native()});
    const int fd = file.fileno();
    CHECK_FALSE(file.rolled());
    CHECK(is_in_memory(fd));
    CHECK_YIELDS(file.write("12345"), 5U);
    CHECK_YIELDS(file.write(std::string("67890")), 5U);
    CHECK_FALSE(file.rolled());
    const std::uint64_t pooled = context.stats().pooled;
    file.seek(3);
    CHECK_YIELDS(file.read(4), "4567");
    if (context.implementation() == caio::Implementation::uring) CHECK(context.stats().pooled == pooled);
    CHECK_YIELDS(file.write("--"), 2U);  // over what is there
    CHECK_FALSE(file.rolled());
    CHECK_YIELDS(file.write("xy"), 2U);
    CHECK(file.rolled());
    CHECK(file.tell() == 11);
    CHECK(file.fileno() == fd);
    CHECK_FALSE(is_in_memory(fd));
    CHECK(std::filesystem::read_symlink(file.name()).parent_path() == directory.path());
    CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK_YIELDS(content_of(file), "1234567--xy");
    file.seek(3);
    CHECK_YIELDS(file.write("**"), 2U);
    CHECK_YIELDS(content_of(file), "123**67--xy");
    co_await file.close();
    CHECK(file.closed());
    CHECK_FALSE(outcome::is_open(fd));
  });
}

TEST_CASE("SpooledTemporaryFile: without a limit only rollover() brings it to disk") {
  support::on_every_backend([](Context&) -> Task<> {
    SpooledTemporaryStream file = co_await SpooledTemporaryFile();
    const std::string text = pattern(1'000'000);
    co_await file.write(std::string_view(text));
    CHECK_FALSE(file.rolled());
    file.seek(7);
    CHECK_YIELDS(file.readline(20), text.substr(7, 20));
    co_await file.rollover();
    CHECK(file.rolled());
    CHECK(file.tell() == 27);
    CHECK_YIELDS(file.read(5), text.substr(27, 5));
    const std::string all = co_await content_of(file);
    CHECK((all == text));
    co_await file.rollover();
    co_await file.write("more");
    CHECK(size_of(file.fileno()) == 1'000'004);
  });
}

TEST_CASE("SpooledTemporaryFile: holes stay holes, and lengths are what they were") {
  support::on_every_backend([](Context&) -> Task<> {
    SpooledTemporaryStream file = co_await SpooledTemporaryFile();
    const std::string part = pattern(40'000'000);
    co_await file.write("start");
    file.seek(std::int64_t{1} << 30);
    co_await file.write(std::string_view(part));
    co_await file.truncate(std::uint64_t{1} << 40);
    co_await file.rollover();
    struct ::stat status {};
    REQUIRE(::fstat(file.fileno(), &status) == 0);
    CHECK(status.st_size == ::off_t{1} << 40);
    CHECK(status.st_blocks * 512 < 500'000'000);  // XFS reserves more than there is
    file.seek(0);
    CHECK_YIELDS(file.read(6), std::string_view("start\0", 6));
    file.seek(std::int64_t{1} << 30);
    const std::string read = co_await file.read(40'000'000);
    CHECK((read == part));
  });
}

TEST_CASE("SpooledTemporaryFile: truncating it to more than max_size rolls it, to less does not") {
  support::on_every_backend([](Context&) -> Task<> {
    SpooledTemporaryStream file = co_await SpooledTemporaryFile(100);
    co_await file.write("1234567890");
    file.seek(4);
    co_await file.truncate();
    CHECK_YIELDS(content_of(file), "1234");
    co_await file.truncate(100);
    CHECK_FALSE(file.rolled());
    co_await file.truncate(101);
    CHECK(file.rolled());
    CHECK(size_of(file.fileno()) == 101);
  });
}

TEST_CASE("SpooledTemporaryFile: lines, text and appending, in memory and on disk") {
  static constexpr std::size_t limits[] = {0, 8};
  static constexpr const char* parts[] = {"one ", "two ", "three"};
  support::on_every_backend([](Context&) -> Task<> {
    for (const std::size_t max_size : limits) {
      SpooledTemporaryStream text = co_await SpooledTemporaryFile(max_size, "w+", {.encoding = "utf-16"});
      const std::vector<std::string> first{"\xc3\xa4\n", "b"};
      co_await text.writelines(first);
      co_await text.write("\n\xe2\x82\xac");
      CHECK(text.rolled() == (max_size != 0));
      CHECK(size_of(text.fileno()) == 2 + 2 * 5);
      text.seek(0);
      auto lines = text.lines();
      CHECK_YIELDS(lines.next(), "\xc3\xa4\n");
      const std::vector<std::string> rest = co_await text.readlines();
      CHECK(rest == std::vector<std::string>{"b\n", "\xe2\x82\xac"});
      SpooledTemporaryStream log = co_await SpooledTemporaryFile(max_size, "a+");
      for (const char* const part : parts) {
        log.seek(0);
        co_await log.write(part);
      }
      CHECK(log.tell() == 13);
      CHECK_YIELDS(content_of(log), "one two three");
      CHECK(((::fcntl(log.fileno(), F_GETFL) & O_APPEND) != 0));
    }
  });
}

TEST_CASE("SpooledTemporaryFile: what encoded text needs decides, to the byte") {
  support::on_every_backend([](Context&) -> Task<> {
    SpooledTemporaryStream file = co_await SpooledTemporaryFile(6, "w+", {.encoding = "utf-16-le"});
    co_await file.write("abc");
    CHECK_FALSE(file.rolled());
    co_await file.write("d");
    CHECK(file.rolled());
    SpooledTemporaryStream latin = co_await SpooledTemporaryFile(2, "w+", {.encoding = "latin-1"});
    co_await latin.write("\xc3\xa4\xc3\xa4");
    CHECK_FALSE(latin.rolled());
    const std::string large = pattern(100'000);
    co_await latin.write(std::string_view(large));  // encoded on the pool
    CHECK(latin.rolled());
    CHECK(size_of(latin.fileno()) == 100'002);
  });
}

TEST_CASE("SpooledTemporaryFile: operations run in the order they were started, also across the rollover") {
  support::on_every_backend([](Context&) -> Task<> {
    SpooledTemporaryStream file = co_await SpooledTemporaryFile(1000);
    std::string wanted;
    std::vector<std::string> parts;
    for (unsigned i = 0; i < 200; ++i) {
      parts.push_back(pattern(1 + i % 17, i));
      wanted += parts.back();
    }
    std::string read;
    const auto write = [](SpooledTemporaryStream& to, const std::string& text) -> Task<> {
      co_await to.write(std::string_view(text));
    };
    const auto read_all = [](SpooledTemporaryStream& from, std::string& text) -> Task<> {
      co_await from.seek(0, Whence::set);
      text = co_await from.read();
    };
    caio::TaskGroup group;
    for (const std::string& part : parts) group.spawn(write(file, part));
    group.spawn(read_all(file, read));
    co_await group.join();
    CHECK(file.rolled());
    CHECK(read == wanted);
  });
}

TEST_CASE("SpooledTemporaryFile: a rollover that fails or is destroyed leaves all as it was") {
  support::on_every_backend([](Context& context) -> Task<> {
    SpooledTemporaryStream file = co_await SpooledTemporaryFile(10);
    co_await file.write("12345");
    {
      support::ReplacedCalls calls;
      calls->open = failing_open;
      disk_fails = true;
      CHECK_YIELDS(error_of(file.write("678901")), ENOSPC);
      CHECK_YIELDS(error_of(file.truncate(11)), ENOSPC);
      CHECK_YIELDS(error_of(file.rollover()), ENOSPC);
      disk_fails = false;
    }
    CHECK_FALSE(file.rolled());
    CHECK(file.tell() == 5);
    CHECK(size_of(file.fileno()) == 5);
    const std::size_t before = support::open_files();
    for (int turns = 0; turns < 10 && !file.rolled(); ++turns) {
      const auto work = [](SpooledTemporaryStream& stream) -> Task<> { co_await stream.rollover(); };
      {
        caio::TaskGroup group;
        group.spawn(work(file));
        for (int turn = 0; turn < turns; ++turn) co_await context.schedule();
      }
      CHECK(support::open_files() == before);
      CHECK_YIELDS(content_of(file), "12345");
    }
    co_await file.write("678901");
    CHECK(file.rolled());
    CHECK_YIELDS(content_of(file), "12345678901");
  });
}

TEST_CASE("SpooledTemporaryFile: where the kernel gives no memory files, it is on disk at once") {
  support::on_every_backend([](Context&) -> Task<> {
    support::ReplacedCalls calls;
    calls->memfd_create = [](const char*, unsigned) {
      errno = ENOSYS;
      return -1;
    };
    SpooledTemporaryStream file = co_await SpooledTemporaryFile(10);
    CHECK(file.rolled());
    co_await file.write("text");
    co_await file.rollover();
    CHECK_YIELDS(content_of(file), "text");
  });
}

TEST_CASE("SpooledTemporaryFile: a closed one, wrong arguments") {
  support::on_every_backend([](Context&) -> Task<> {
    SpooledTemporaryStream file = co_await SpooledTemporaryFile(10, "w");
    CHECK_YIELDS(error_of(file.read()), EBADF);
    CHECK_FALSE(file.readable());
    co_await file.close();
    CHECK_YIELDS(error_of(file.write("x")), EBADF);
    CHECK_YIELDS(error_of(file.rollover()), EBADF);
    CHECK_YIELDS(error_of(file.truncate(100)), EBADF);
  });
  CHECK_THROWS_AS(SpooledTemporaryFile(10, "nonsense"), std::invalid_argument);
  CHECK_THROWS_AS(SpooledTemporaryFile(10, "w", {.encoding = "nonsense"}), std::invalid_argument);
  CHECK_THROWS_AS(SpooledTemporaryFile(10, "w", {.buffering = 1}), std::invalid_argument);
}

TEST_CASE("SpooledTemporaryFile: a random sequence gives what a file on disk gives, whenever it rolls") {
  const TemporaryDirectory directory;
  for (const caio::Implementation implementation : support::backends()) {
    Context context(implementation);
    const auto play = [&](std::uint64_t seed, const char* mode, std::string_view encoding) -> Task<> {
      std::mt19937_64 random(seed);
      FileStream disk = co_await aiofile::async_open(directory.file("file", ""), mode, {.encoding = encoding});
      SpooledTemporaryStream spooled = co_await SpooledTemporaryFile(1 + random() % 600, mode, {.encoding = encoding});
      for (int step = 0; step < 60; ++step) {
        INFO(caio::name(implementation) << ", " << mode << " " << encoding << ", seed " << seed << ", step " << step);
        const auto number = static_cast<std::int64_t>(random() % 50);
        switch (random() % 7) {
          case 0:
          case 1:
          case 2: {
            std::string text = pattern(static_cast<std::size_t>(number), static_cast<unsigned>(random()));
            for (char& letter : text) letter = letter < 'D' ? '\n' : letter;
            text += "\xc3\xa4";
            co_await disk.write(std::string_view(text));
            co_await spooled.write(std::string_view(text));
            break;
          }
          case 3: {
            const std::string wanted = co_await got(disk.read(number));
            CHECK_YIELDS(got(spooled.read(number)), wanted);
            break;
          }
          case 4: {
            const std::string wanted = co_await got(disk.readline());
            CHECK_YIELDS(got(spooled.readline()), wanted);
            break;
          }
          case 5:
            disk.seek(0);
            spooled.seek(0);
            break;
          default:
            if (random() % 4 == 0) co_await spooled.rollover();
            co_await disk.truncate();
            co_await spooled.truncate();
            break;
        }
        CHECK(disk.tell() == spooled.tell());
      }
      const std::string wanted = co_await got(content_of(disk));
      CHECK_YIELDS(got(content_of(spooled)), wanted);
    };
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
      context.run(play(seed, "w+", "utf-8"));
      context.run(play(seed, "w+b", "utf-8"));
      context.run(play(seed, "w+", "utf-16"));
      context.run(play(seed, "a+b", "utf-8"));
    }
  }
}
