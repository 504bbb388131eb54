#include <aiofile/file.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::FileError;
using aiofile::OpenOptions;
using caio::Context;
using caio::gather;
using caio::Task;
using caio::TaskGroup;
using outcome::bytes_of;
using outcome::error_of;
using outcome::is_open;
using outcome::pattern;
using outcome::text_of;
using outcome::vector_of;
using support::content_of;
using support::Fd;
using support::TemporaryDirectory;

namespace {

constexpr std::uint64_t beyond_int64 = std::uint64_t{1} << 63;
constexpr std::int64_t huge = std::int64_t{1} << 62;
constexpr std::uint64_t last_offset = std::numeric_limits<std::int64_t>::max();

Task<> read_into(std::string& result, AIOFile& file, std::int64_t size, std::uint64_t offset) {
  result = co_await file.read(size, offset);
}

Task<> write_and_count(AIOFile& file, std::string_view text, std::uint64_t offset, std::size_t& ended) {
  co_await file.write(text, offset);
  ++ended;
}

::mode_t permissions_of(const std::filesystem::path& path) {
  struct ::stat status {};
  ::stat(path.c_str(), &status);
  return status.st_mode & 07777;
}

/// A block at an address that O_DIRECT takes.
class Block {
 public:
  static constexpr std::size_t size = 4096;
  explicit Block(char fill) : memory_(static_cast<std::byte*>(std::aligned_alloc(size, size)), std::free) {
    std::fill_n(memory_.get(), size, static_cast<std::byte>(fill));
  }
  std::span<std::byte> span() const { return {memory_.get(), size}; }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> memory_;
};

}  // namespace

// ---- opening and closing -------------------------------------------------------------------------------------------

TEST_CASE("AIOFile: what was written is read back") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w+", {.context = &context});
    const std::size_t written = co_await file.write("hello world");
    CHECK(written == 11);
    const std::string all = co_await file.read();
    CHECK(all == "hello world");
    co_await file.close();
  });
}

TEST_CASE("AIOFile: is a handle that moves and is not copied") {
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<AIOFile>);
  STATIC_REQUIRE(std::is_nothrow_move_assignable_v<AIOFile>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<AIOFile>);
}

TEST_CASE("AIOFile: making one does no I/O") {
  const TemporaryDirectory directory;
  const AIOFile file(directory / "file", "w");
  CHECK(file.closed());
  CHECK_FALSE(std::filesystem::exists(directory / "file"));
}

TEST_CASE("AIOFile: an operation that is not awaited does nothing") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(directory / "file", "w");
    static_cast<void>(file.open());
    CHECK_FALSE(std::filesystem::exists(directory / "file"));
    co_await file;
    static_cast<void>(file.write("text"));
    static_cast<void>(file.read());
    static_cast<void>(file.fsync());
    static_cast<void>(file.close());
    CHECK_FALSE(file.closed());
    CHECK(context.stats().submitted == 1);
    CHECK(content_of(directory / "file").empty());
  });
}

TEST_CASE("AIOFile: the call that opens it yields the descriptor, later ones nothing") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(directory.file("file", "text"));
    const std::optional<int> first = co_await file.open();
    const std::optional<int> second = co_await file.open();
    REQUIRE(first.has_value());
    CHECK(*first == file.fileno());
    CHECK(is_open(*first));
    CHECK(second == std::nullopt);
  });
}

TEST_CASE("AIOFile: of three concurrent opens one yields the descriptor") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(directory.file("file", "text"));
    const auto [a, b, c] = co_await gather(file.open(), file.open(), file.open());
    CHECK(a.has_value() + b.has_value() + c.has_value() == 1);
    CHECK(outcome::descriptors_of(directory / "file") == 1);
  });
}

TEST_CASE("AIOFile: an open that failed can be tried again") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(directory / "file");
    const auto [a, b, c] = co_await gather(error_of(file.open()), error_of(file.open()), error_of(file.open()));
    CHECK(a == ENOENT);
    CHECK(b == ENOENT);
    CHECK(c == ENOENT);
    CHECK(file.closed());
    directory.file("file", "late");
    const std::optional<int> fd = co_await file.open();
    CHECK(fd.has_value());
    const std::string all = co_await file.read();
    CHECK(all == "late");
  });
}

TEST_CASE("AIOFile: one that was closed does not open again") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile used = co_await AIOFile(directory.file("file", "text"));
    co_await used.close();
    const int after_use = co_await error_of(used.open());
    CHECK(after_use == EBADF);
    AIOFile fresh(directory / "file");
    co_await fresh.close();
    CHECK(fresh.closed());
    const int after_nothing = co_await error_of(fresh.open());
    CHECK(after_nothing == EBADF);
  });
}

TEST_CASE("AIOFile: awaiting an lvalue opens it and yields itself") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(directory.file("file", "text"));
    AIOFile& same = co_await file;
    CHECK(&same == &file);
    CHECK_FALSE(file.closed());
    AIOFile& again = co_await file;
    CHECK(&again == &file);
  });
}

TEST_CASE("AIOFile: awaiting an rvalue opens it and yields it") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"));
    const std::string all = co_await file.read();
    CHECK(all == "text");
    int error = 0;
    try {
      AIOFile missing = co_await AIOFile(directory / "missing");
    } catch (const FileError& failure) {
      error = failure.code().value();
    }
    CHECK(error == ENOENT);
  });
}

TEST_CASE("AIOFile: says what it is") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(directory / "file", "wb+", {.encoding = "UTF8"});
    CHECK(file.closed());
    CHECK(file.fileno() == -1);
    CHECK(file.name() == directory / "file");
    CHECK(file.mode() == aiofile::parse_mode("w+b"));
    CHECK(file.encoding() == "utf-8");
    CHECK(&file.context() == &context);
    co_await file;
    CHECK_FALSE(file.closed());
    CHECK(is_open(file.fileno()));
    CHECK((::fcntl(file.fileno(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(&file.context() == &context);
    co_await file.close();
    CHECK(file.closed());
    CHECK(file.fileno() == -1);
    CHECK(file.name() == directory / "file");
  });
}

TEST_CASE("AIOFile: its context is the one of its options") {
  Context first;
  Context second;
  const TemporaryDirectory directory;
  AIOFile file(directory.file("file", "text"), "r", {.context = &second});
  CHECK(&file.context() == &second);
  auto use = [](AIOFile& used) -> Task<std::string> {
    co_await used;
    co_return co_await used.read();
  };
  CHECK(first.run(use(file)) == "text");
  CHECK(second.stats().submitted >= 2);
  CHECK(first.stats().submitted == 0);
}

TEST_CASE("AIOFile: the encoding is looked up before the constructor returns") {
  std::string encoding = "utf-8";
  const AIOFile file("file", "r", {.encoding = encoding});
  encoding = "other";
  CHECK(file.encoding() == "utf-8");
}

TEST_CASE("AIOFile: close lets go of the descriptor, and again does nothing") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"));
    const int fd = file.fileno();
    co_await file.close();
    CHECK_FALSE(is_open(fd));
    const Fd other(directory / "file", O_RDONLY);
    CHECK(other.get() == fd);
    co_await file.close();
    CHECK(is_open(fd));
  });
}

TEST_CASE("AIOFile: concurrent closes close once") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"));
    const int fd = file.fileno();
    const auto [a, b, c] = co_await gather(error_of(file.close()), error_of(file.close()), error_of(file.close()));
    CHECK(a == 0);
    CHECK(b == 0);
    CHECK(c == 0);
    CHECK_FALSE(is_open(fd));
  });
}

TEST_CASE("AIOFile: a close that comes while it opens waits for that") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(directory.file("file", "text"));
    const auto [opened, closed] = co_await gather(file.open(), error_of(file.close()));
    CHECK(opened.has_value());
    CHECK(closed == 0);
    CHECK(file.closed());
    CHECK(outcome::descriptors_of(directory / "file") == 0);
  });
}

TEST_CASE("AIOFile: close waits for the operations that were started before") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const std::string part = pattern(100'000);
    std::size_t ended = 0;
    TaskGroup group;
    for (std::size_t i = 0; i < 32; ++i) group.spawn(write_and_count(file, part, i * part.size(), ended));
    co_await file.close();
    CHECK(ended == 32);
    co_await group.join();
    CHECK(std::filesystem::file_size(directory / "file") == 32 * part.size());
  });
}

TEST_CASE("AIOFile: operations that are started during close are refused") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w+");
    const std::string part = pattern(100'000);
    const auto [written, closed, late] =
        co_await gather(file.write(part), error_of(file.close()), error_of(file.write("late")));
    CHECK(written == part.size());
    CHECK(closed == 0);
    CHECK(late == EBADF);
    CHECK(content_of(directory / "file") == part);
  });
}

TEST_CASE("AIOFile: close cancels a read of an idle pipe") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::Pipe pipe;
    AIOFile file = AIOFile::from_fd(pipe.reader.get(), "r");
    int error = 0;
    TaskGroup group;
    group.spawn(outcome::store_error(file.read(), error));
    co_await file.close();
    CHECK(error == ECANCELED);
    co_await group.join();
    CHECK(is_open(pipe.reader.get()));
  });
}

TEST_CASE("AIOFile: close cancels a write to a full pipe") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::Pipe pipe;
    const auto capacity = static_cast<std::size_t>(::fcntl(pipe.writer.get(), F_GETPIPE_SZ));
    AIOFile file = AIOFile::from_fd(pipe.writer.get(), "w");
    co_await file.write(pattern(capacity));
    int error = 0;
    TaskGroup group;
    group.spawn(outcome::store_error(file.write("more"), error));
    co_await file.close();
    CHECK(error == ECANCELED);
    co_await group.join();
  });
}

TEST_CASE("AIOFile: everything on one that is not open is EBADF") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile closed = co_await AIOFile(directory / "file", "w+");
    co_await closed.close();
    AIOFile fresh(directory / "file", "r+");
    std::vector<std::byte> memory(4);
    for (AIOFile* file : {&closed, &fresh}) {
      const int read = co_await error_of(file->read());
      const int read_nothing = co_await error_of(file->read(0));
      const int read_bytes = co_await error_of(file->read_bytes());
      const int read_into = co_await error_of(file->read_into(memory));
      const int write = co_await error_of(file->write("text"));
      const int write_nothing = co_await error_of(file->write(""));
      const int write_bytes = co_await error_of(file->write_bytes(memory));
      const int fsync = co_await error_of(file->fsync());
      const int fdsync = co_await error_of(file->fdsync());
      const int truncate = co_await error_of(file->truncate(0));
      const int size = co_await error_of(file->size());
      CHECK(std::vector{read, read_nothing, read_bytes, read_into, write, write_nothing, write_bytes, fsync, fdsync,
                        truncate, size} == std::vector<int>(11, EBADF));
      CHECK_THROWS_AS(file->clone(), FileError);
    }
  });
}

// ---- reading -------------------------------------------------------------------------------------------------------

TEST_CASE("AIOFile: reads of any size at any offset give what is there") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(200'001);
    AIOFile file = co_await AIOFile(directory.file("file", content));
    for (const std::int64_t size : {-1L, 0L, 1L, 4096L, 65'536L, 65'537L, 200'000L, 200'001L, 200'002L, 10'000'000L}) {
      for (const std::uint64_t offset : {0UL, 1UL, 4095UL, 65'536UL, 200'000UL, 200'001UL, 1'000'000UL}) {
        const std::string got = co_await file.read(size, offset);
        const std::string expected =
            offset > content.size()
                ? ""
                : content.substr(offset, size < 0 ? std::string::npos : static_cast<std::size_t>(size));
        INFO("size " << size << " offset " << offset);
        CHECK((got == expected));
      }
    }
  });
}

TEST_CASE("AIOFile: read_bytes gives the bytes without looking at them") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "a\xff\x80z"));
    const std::vector<std::byte> all = co_await file.read_bytes();
    CHECK(text_of(all) == "a\xff\x80z");
    const std::vector<std::byte> part = co_await file.read_bytes(2, 1);
    CHECK(text_of(part) == "\xff\x80");
    const std::vector<std::byte> nothing = co_await file.read_bytes(0);
    CHECK(nothing.empty());
  });
}

TEST_CASE("AIOFile: read_into fills the memory unless the end comes first") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(100'000);
    AIOFile file = co_await AIOFile(directory.file("file", content), "rb");
    std::vector<std::byte> memory(60'000, std::byte{'#'});
    const std::size_t full = co_await file.read_into(memory);
    CHECK(full == 60'000);
    CHECK((text_of(memory) == content.substr(0, 60'000)));
    const std::size_t rest = co_await file.read_into(memory, 60'000);
    CHECK(rest == 40'000);
    CHECK((text_of(std::span(memory).first(rest)) == content.substr(60'000)));
    CHECK((text_of(std::span(memory).subspan(rest)) == content.substr(40'000, 20'000)));
    const std::size_t end = co_await file.read_into(memory, 100'000);
    CHECK(end == 0);
    const std::size_t nothing = co_await file.read_into({});
    CHECK(nothing == 0);
  });
}

TEST_CASE("AIOFile: an empty file reads as nothing") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", ""));
    const std::string all = co_await file.read();
    const std::string some = co_await file.read(10);
    const std::string beyond = co_await file.read(10, 10);
    const std::vector<std::byte> bytes = co_await file.read_bytes();
    CHECK(all.empty());
    CHECK(some.empty());
    CHECK(beyond.empty());
    CHECK(bytes.empty());
  });
}

TEST_CASE("AIOFile: holes read as zeros") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::filesystem::resize_file(directory.file("file", "head"), 70'000);
    AIOFile file = co_await AIOFile(directory / "file");
    const std::string all = co_await file.read();
    CHECK((all == "head" + std::string(69'996, '\0')));
  });
}

TEST_CASE("AIOFile: a huge size costs no memory before the data exists") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "0123456789"));
    const std::string all = co_await file.read(huge);
    CHECK(all == "0123456789");
    CHECK(all.capacity() < 1'000'000);
    const std::string rest = co_await file.read(std::numeric_limits<std::int64_t>::max(), 5);
    CHECK(rest == "56789");
    const std::vector<std::byte> bytes = co_await file.read_bytes(huge, 8);
    CHECK(text_of(bytes) == "89");
  });
}

TEST_CASE("AIOFile: the last offsets there are lie beyond the end") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"), "r+");
    std::vector<std::byte> memory(10);
    for (const std::uint64_t offset : {last_offset, last_offset - 5}) {
      const std::string some = co_await file.read(10, offset);
      const std::string all = co_await file.read(-1, offset);
      const std::size_t count = co_await file.read_into(memory, offset);
      CHECK(some.empty());
      CHECK(all.empty());
      CHECK(count == 0);
    }
  });
}

TEST_CASE("AIOFile: a write at the last offset there is fails and leaves the file alone") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"), "r+");
    const int error = co_await error_of(file.write("x", last_offset));
    CHECK((error == EFBIG || error == EINVAL));
    CHECK(content_of(directory / "file") == "text");
  });
}

TEST_CASE("AIOFile: a read sees a file that has grown since it was opened") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile writer = co_await AIOFile(directory / "file", "w");
    AIOFile reader = co_await AIOFile(directory / "file");
    co_await writer.write("first");
    co_await writer.fsync();
    const std::string once = co_await reader.read();
    CHECK(once == "first");
    co_await writer.write(" second", 5);
    const std::string twice = co_await reader.read();
    CHECK(twice == "first second");
  });
}

// ---- writing -------------------------------------------------------------------------------------------------------

TEST_CASE("AIOFile: writes views, strings, spans and vectors") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const std::string named = "named ";
    std::string given = "given, long enough to be on the heap ";
    std::vector<std::byte> vector = vector_of("vector");
    std::uint64_t at = 0;
    at += co_await file.write("view ", at);
    at += co_await file.write(named, at);
    at += co_await file.write(std::move(given), at);
    at += co_await file.write_bytes(bytes_of("span "), at);
    at += co_await file.write_bytes(std::move(vector), at);
    co_await file.close();
    CHECK(content_of(directory / "file") == "view named given, long enough to be on the heap span vector");
    CHECK(at == std::filesystem::file_size(directory / "file"));
    CHECK(named == "named ");
  });
}

TEST_CASE("AIOFile: strings and vectors that are taken over live as long as the write") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "wb");
    const std::string content = pattern(300'000);
    auto strings = [](AIOFile& used, const std::string& text) {
      std::string copy = text;
      return used.write(std::move(copy));
    };
    auto vectors = [](AIOFile& used, const std::string& text) {
      return used.write_bytes(vector_of(text), text.size());
    };
    auto first = strings(file, content);
    auto second = vectors(file, content);
    const auto [a, b] = co_await gather(std::move(first), std::move(second));
    CHECK(a == content.size());
    CHECK(b == content.size());
    CHECK((content_of(directory / "file") == content + content));
  });
}

TEST_CASE("AIOFile: writing nothing gives 0 and leaves the file alone") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w+");
    const std::size_t text = co_await file.write("", 1000);
    const std::size_t bytes = co_await file.write_bytes(std::vector<std::byte>(), 1000);
    CHECK(text == 0);
    CHECK(bytes == 0);
    const std::uint64_t size = co_await file.size();
    CHECK(size == 0);
  });
}

TEST_CASE("AIOFile: a write beyond the end leaves a hole") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    constexpr std::uint64_t far = 4 * 1024 * 1024;
    AIOFile file = co_await AIOFile(directory / "file", "wb+");
    co_await file.write("x", far);
    const std::uint64_t size = co_await file.size();
    CHECK(size == far + 1);
    struct ::stat status {};
    ::stat(file.name().c_str(), &status);
    CHECK(status.st_blocks * 512 < 1024 * 1024);
    const std::string all = co_await file.read();
    CHECK((all == std::string(far, '\0') + "x"));
  });
}

TEST_CASE("AIOFile: big writes and reads are whole") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(5'000'003);
    AIOFile file = co_await AIOFile(directory / "file", "w+");
    const std::size_t written = co_await file.write(content);
    CHECK(written == content.size());
    const std::string all = co_await file.read();
    CHECK((all == content));
    const std::string middle = co_await file.read(3'000'000, 1'000'001);
    CHECK((middle == content.substr(1'000'001, 3'000'000)));
  });
}

TEST_CASE("AIOFile: append mode writes at the end, whatever the offset") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string big = pattern(100'000);
    AIOFile file = co_await AIOFile(directory.file("file", "old "), "a+");
    co_await file.write("first ", 0);
    AIOFile other = co_await AIOFile(directory / "file", "a");
    co_await other.write("second ", 2);
    co_await file.write(big, 1);
    const std::string all = co_await file.read();
    CHECK((all == "old first second " + big));
  });
}

TEST_CASE("AIOFile: append mode creates a file that is missing") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::string expected;
    for (int session = 0; session < 3; ++session) {
      AIOFile file = co_await AIOFile(directory / "file", "a+");
      co_await file.write(std::to_string(session));
      expected += std::to_string(session);
      const std::string all = co_await file.read();
      CHECK(all == expected);
      co_await file.close();
    }
  });
}

TEST_CASE("AIOFile: append mode appends on a borrowed descriptor without O_APPEND, and leaves its flags alone") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd fd(directory.file("file", "old "), O_RDWR);
    const int flags = ::fcntl(fd.get(), F_GETFL);
    AIOFile file = AIOFile::from_fd(fd.get(), "a+");
    const std::string big = pattern(100'000);
    co_await file.write("new ", 0);
    co_await file.write(big, 0);
    co_await file.write_bytes(bytes_of(" end"), 1);
    CHECK(::fcntl(fd.get(), F_GETFL) == flags);
    const std::string all = co_await file.read();
    CHECK((all == "old new " + big + " end"));
  });
}

TEST_CASE("AIOFile: concurrent appends do not overwrite each other") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "a");
    std::vector<std::string> parts;
    for (unsigned i = 0; i < 100; ++i) parts.push_back(std::string(100, static_cast<char>(' ' + i % 95)));
    co_await gather(parts, [&](const std::string& part) { return file.write(part); });
    std::string all = content_of(directory / "file");
    REQUIRE(all.size() == 10'000);
    std::vector<std::string> found;
    for (std::size_t at = 0; at < all.size(); at += 100) found.push_back(all.substr(at, 100));
    std::sort(found.begin(), found.end());
    std::sort(parts.begin(), parts.end());
    CHECK(found == parts);
  });
}

TEST_CASE("AIOFile: a thousand writes in any order each reach their place") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    constexpr std::size_t size = 37;
    AIOFile file = co_await AIOFile(directory / "file", "w+");
    const std::string content = pattern(1000 * size);
    std::vector<std::size_t> order(1000);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(7));
    const auto written = co_await gather(order, [&](std::size_t index) {
      return file.write(std::string_view(content).substr(index * size, size), index * size);
    });
    CHECK(written == std::vector<std::size_t>(1000, size));
    const std::string all = co_await file.read();
    CHECK((all == content));
  });
}

TEST_CASE("AIOFile: parallel writes and reads of neighbouring chunks do not mix") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "wb+");
    std::vector<unsigned> indices(32);
    std::iota(indices.begin(), indices.end(), 0);
    co_await gather(indices, [&](unsigned index) { return file.write(pattern(8192, index), index * 8192); });
    const auto chunks = co_await gather(indices, [&](unsigned index) { return file.read(8192, index * 8192); });
    for (const unsigned index : indices) CHECK((chunks[index] == pattern(8192, index)));
  });
}

// ---- syncs, size and truncate --------------------------------------------------------------------------------------

TEST_CASE("AIOFile: syncs succeed, without writes too and on a file that is only read") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    co_await file.fsync();
    co_await file.write("text");
    co_await file.fdsync();
    co_await file.fsync();
    AIOFile reader = co_await AIOFile(directory / "file");
    co_await reader.fsync();
    const std::string all = co_await reader.read();
    CHECK(all == "text");
  });
}

TEST_CASE("AIOFile: truncate shortens and lengthens, and size follows") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "0123456789"), "r+");
    co_await file.truncate(4);
    const std::uint64_t shorter = co_await file.size();
    CHECK(shorter == 4);
    co_await file.truncate(6);
    const std::string longer = co_await file.read();
    CHECK(longer == std::string("0123\0\0", 6));
    co_await file.truncate(0);
    const std::string nothing = co_await file.read();
    CHECK(nothing.empty());
    constexpr std::uint64_t far = std::uint64_t{5} << 30;
    co_await file.truncate(far);
    const std::uint64_t size = co_await file.size();
    CHECK(size == far);
  });
}

// ---- clones --------------------------------------------------------------------------------------------------------

TEST_CASE("AIOFile: the last close of its clones closes the descriptor") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"), "rb");
    const int fd = file.fileno();
    AIOFile second = file.clone();
    AIOFile third = second.clone();
    CHECK(third.fileno() == fd);
    CHECK(third.name() == file.name());
    CHECK(third.mode() == file.mode());
    CHECK(third.encoding() == file.encoding());
    CHECK(&third.context() == &context);
    co_await file.close();
    CHECK(file.closed());
    CHECK_FALSE(second.closed());
    const std::string by_second = co_await second.read();
    CHECK(by_second == "text");
    co_await second.close();
    CHECK(is_open(fd));
    const std::string by_third = co_await third.read();
    CHECK(by_third == "text");
    co_await third.close();
    CHECK_FALSE(is_open(fd));
  });
}

TEST_CASE("AIOFile: closing a clone twice leaves the others open") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"));
    AIOFile second = file.clone();
    co_await second.close();
    co_await second.close();
    const std::string all = co_await file.read();
    CHECK(all == "text");
  });
}

TEST_CASE("AIOFile: clones outlive the object that they were made from") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::optional<AIOFile> file(std::in_place, directory.file("file", "text"));
    co_await *file;
    const int fd = file->fileno();
    std::optional<AIOFile> copy(file->clone());
    std::optional<AIOFile> copy_of_copy(copy->clone());
    file.reset();
    const std::string first = co_await copy->read();
    CHECK(first == "text");
    copy.reset();
    const std::string second = co_await copy_of_copy->read();
    CHECK(second == "text");
    copy_of_copy.reset();
    CHECK_FALSE(is_open(fd));
  });
}

TEST_CASE("AIOFile: clones share one descriptor for reads and writes") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w+");
    AIOFile copy = file.clone();
    const auto [a, b] = co_await gather(file.write("left "), copy.write("right", 5));
    CHECK(a + b == 10);
    const std::string all = co_await copy.read();
    CHECK(all == "left right");
  });
}

// ---- borrowed descriptors ------------------------------------------------------------------------------------------

TEST_CASE("AIOFile: a borrowed descriptor is open at once, never closed, and keeps its flags and its position") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd fd(directory.file("file", "0123456789"), O_RDWR);
    const int flags = ::fcntl(fd.get(), F_GETFL);
    const int descriptor_flags = ::fcntl(fd.get(), F_GETFD);
    ::lseek(fd.get(), 3, SEEK_SET);
    {
      AIOFile file = AIOFile::from_fd(fd.get(), "r+");
      CHECK_FALSE(file.closed());
      CHECK(file.fileno() == fd.get());
      const std::optional<int> opened = co_await file.open();
      CHECK(opened == std::nullopt);
      const std::string all = co_await file.read();
      CHECK(all == "0123456789");
      co_await file.write("ab", 2);
      AIOFile copy = file.clone();
      co_await file.close();
      co_await copy.close();
      const int error = co_await error_of(file.read());
      CHECK(error == EBADF);
      AIOFile::from_fd(fd.get(), "r");
    }
    CHECK(is_open(fd.get()));
    CHECK(::fcntl(fd.get(), F_GETFL) == flags);
    CHECK(::fcntl(fd.get(), F_GETFD) == descriptor_flags);
    CHECK(::lseek(fd.get(), 0, SEEK_CUR) == 3);
    CHECK(content_of(directory / "file") == "01ab456789");
  });
}

TEST_CASE("AIOFile: a bad borrowed descriptor is EBADF at its use") {
  support::on_every_backend([](Context&) -> Task<> {
    AIOFile file = AIOFile::from_fd(-1, "r+");
    const int read = co_await error_of(file.read());
    const int write = co_await error_of(file.write("text"));
    const int size = co_await error_of(file.size());
    CHECK(read == EBADF);
    CHECK(write == EBADF);
    CHECK(size == EBADF);
  });
}

// ---- the ends of objects -------------------------------------------------------------------------------------------

TEST_CASE("AIOFile: a handle may move and go while its operations are in flight") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(300'000);
    std::vector<std::string> results(16);
    int fd = -1;
    TaskGroup group;
    {
      AIOFile file = co_await AIOFile(directory.file("file", content));
      fd = file.fileno();
      for (std::string& result : results) group.spawn(read_into(result, file, -1, 0));
      AIOFile moved = std::move(file);
    }
    co_await group.join();
    for (const std::string& result : results) CHECK((result == content));
    CHECK_FALSE(is_open(fd));
  });
}

TEST_CASE("AIOFile: frames that are destroyed in flight leave nothing behind") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(3'000'000);
    AIOFile file = co_await AIOFile(directory.file("file", content), "r+");
    std::vector<std::string> results(8);
    std::size_t ended = 0;
    {
      TaskGroup group;
      for (std::string& result : results) group.spawn(read_into(result, file, -1, 0));
      group.spawn(write_and_count(file, content, content.size(), ended));
    }
    CHECK(ended == 0);
    CHECK(context.stats().in_flight == 0);
    const std::string all = co_await file.read(static_cast<std::int64_t>(content.size()));
    CHECK((all == content));
    co_await file.close();
  });
}

TEST_CASE("AIOFile: one that outlives its context is closed, and does no harm") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      std::optional<AIOFile> file;
      int fd = -1;
      {
        Context context(implementation);
        auto open = [](std::optional<AIOFile>& place, std::filesystem::path path) -> Task<> {
          place = co_await AIOFile(path, "w+");
        };
        context.run(open(file, directory / "file"));
        fd = file->fileno();
      }
      Context other(implementation);
      auto use = [](AIOFile& used) -> Task<> {
        const int read = co_await error_of(used.read());
        const int write = co_await error_of(used.write("text"));
        const int size = co_await error_of(used.size());
        const int sync = co_await error_of(used.fsync());
        CHECK(std::vector{read, write, size, sync} == std::vector<int>(4, EBADF));
      };
      SECTION("and its end closes the descriptor") {
        other.run(use(*file));
        file.reset();
      }
      SECTION("and close closes the descriptor") {
        auto close = [](AIOFile& used) -> Task<> { co_await used.close(); };
        other.run(close(*file));
        CHECK(file->closed());
        other.run(use(*file));
      }
      CHECK_FALSE(is_open(fd));
    }
  }
}

TEST_CASE("AIOFile: one that outlives its context and its thread is closed, and does no harm") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      std::optional<AIOFile> file;
      std::thread([&] {
        Context context(implementation);
        auto open = [](std::optional<AIOFile>& place, std::filesystem::path path) -> Task<> {
          place = co_await AIOFile(path, "w+");
        };
        context.run(open(file, directory / "file"));
      }).join();
      const int fd = file->fileno();
      Context other(implementation);
      auto use = [](AIOFile& used) -> Task<> {
        const int read = co_await error_of(used.read());
        CHECK(read == EBADF);
        const int close = co_await error_of(used.close());
        CHECK(close == 0);
      };
      other.run(use(*file));
      file.reset();
      CHECK_FALSE(is_open(fd));
    }
  }
}

// ---- modes, options, arguments -------------------------------------------------------------------------------------

TEST_CASE("AIOFile: 'x' creates and refuses what exists") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "x");
    co_await file.write("mine");
    AIOFile again(directory / "file", "x+");
    const int error = co_await error_of(again.open());
    CHECK(error == EEXIST);
    CHECK(content_of(directory / "file") == "mine");
  });
}

TEST_CASE("AIOFile: 'w' and 'w+' empty the file, 'r+' and 'a' keep it") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    for (const char* const mode : {"r", "r+", "a", "a+", "w", "w+"}) {
      INFO(mode);
      AIOFile file = co_await AIOFile(directory.file("file", "content"), mode);
      CHECK(content_of(directory / "file") == (mode[0] == 'w' ? "" : "content"));
      co_await file.close();
    }
  });
}

TEST_CASE("AIOFile: a new file has the permissions asked for, less the umask") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const ::mode_t before = ::umask(027);
    co_await AIOFile(directory / "default", "w");
    co_await AIOFile(directory / "private", "w", {.permissions = 0600});
    co_await AIOFile(directory / "all", "x", {.permissions = 0777});
    ::umask(before);
    CHECK(permissions_of(directory / "default") == 0640);
    CHECK(permissions_of(directory / "private") == 0600);
    CHECK(permissions_of(directory / "all") == 0750);
  });
}

TEST_CASE("AIOFile: extra flags reach open(2)") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::filesystem::create_symlink(directory.file("file", "text"), directory / "link");
    AIOFile link(directory / "link", "r", {.flags = O_NOFOLLOW});
    const int error = co_await error_of(link.open());
    CHECK(error == ELOOP);
    AIOFile synchronous = co_await AIOFile(directory / "file", "r+", {.flags = O_DSYNC});
    CHECK((::fcntl(synchronous.fileno(), F_GETFL) & O_DSYNC) != 0);
    co_await synchronous.write("TEXT");
    const std::string all = co_await synchronous.read();
    CHECK(all == "TEXT");
  });
}

TEST_CASE("AIOFile: an O_DIRECT file is read and written in aligned blocks") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(directory / "file", "wb+", {.flags = O_DIRECT});
    const int error = co_await error_of(file.open());
    if (error == EINVAL) {
      WARN("this file system has no O_DIRECT");
      co_return;
    }
    REQUIRE(error == 0);
    CHECK((::fcntl(file.fileno(), F_GETFL) & O_DIRECT) != 0);
    const Block first('1');
    const Block second('2');
    const Block read('0');
    const auto [a, b] = co_await gather(file.write_bytes(first.span()), file.write_bytes(second.span(), Block::size));
    CHECK(a + b == 2 * Block::size);
    const std::size_t at_second = co_await file.read_into(read.span(), Block::size);
    CHECK(at_second == Block::size);
    CHECK((text_of(read.span()) == std::string(Block::size, '2')));
    const std::size_t at_end = co_await file.read_into(read.span(), 2 * Block::size);
    CHECK(at_end == 0);
    const std::size_t overwritten = co_await file.write_bytes(second.span());
    CHECK(overwritten == Block::size);
    co_await file.close();
    CHECK((content_of(directory / "file") == std::string(2 * Block::size, '2')));
  });
}

TEST_CASE("AIOFile: many O_DIRECT reads at once each get their block") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::string content;
    for (unsigned i = 0; i < 64; ++i) content += pattern(Block::size, i);
    AIOFile file(directory.file("file", content), "rb", {.flags = O_DIRECT});
    const int error = co_await error_of(file.open());
    if (error == EINVAL) {
      WARN("this file system has no O_DIRECT");
      co_return;
    }
    std::vector<Block> blocks;
    for (unsigned i = 0; i < 64; ++i) blocks.emplace_back('-');
    std::vector<unsigned> indices(64);
    std::iota(indices.begin(), indices.end(), 0);
    co_await gather(indices, [&](unsigned i) { return file.read_into(blocks[i].span(), i * Block::size); });
    for (unsigned i = 0; i < 64; ++i) CHECK((text_of(blocks[i].span()) == pattern(Block::size, i)));
  });
}

TEST_CASE("AIOFile: wrong arguments are refused by the call") {
  const TemporaryDirectory directory;
  AIOFile file(directory / "file", "w+");
  std::vector<std::byte> memory(4);
  CHECK_THROWS_AS(AIOFile(directory / "file", "rw"), std::invalid_argument);
  CHECK_THROWS_AS(AIOFile(directory / "file", ""), std::invalid_argument);
  CHECK_THROWS_AS(AIOFile::from_fd(0, "z"), std::invalid_argument);
  CHECK_THROWS_AS(AIOFile(std::string("a\0b", 3)), std::invalid_argument);
  CHECK_THROWS_AS(AIOFile(directory / "file", "r", {.encoding = "klingon"}), std::invalid_argument);
  CHECK_THROWS_AS(AIOFile(directory / "file", "r", {.encoding = ""}), std::invalid_argument);
  CHECK_THROWS_AS(file.read(-2), std::invalid_argument);
  CHECK_THROWS_AS(file.read_bytes(std::numeric_limits<std::int64_t>::min()), std::invalid_argument);
  CHECK_THROWS_AS(file.read(1, beyond_int64), std::invalid_argument);
  CHECK_THROWS_AS(file.read(1, static_cast<std::uint64_t>(-1)), std::invalid_argument);
  CHECK_THROWS_AS(file.read_bytes(1, beyond_int64), std::invalid_argument);
  CHECK_THROWS_AS(file.read_into(memory, beyond_int64), std::invalid_argument);
  CHECK_THROWS_AS(file.write("text", beyond_int64), std::invalid_argument);
  CHECK_THROWS_AS(file.write(std::string("text"), beyond_int64), std::invalid_argument);
  CHECK_THROWS_AS(file.write_bytes(memory, beyond_int64), std::invalid_argument);
  CHECK_THROWS_AS(file.write_bytes(vector_of("text"), beyond_int64), std::invalid_argument);
  CHECK_THROWS_AS(file.truncate(beyond_int64), std::invalid_argument);
  CHECK_FALSE(std::filesystem::exists(directory / "file"));
}

TEST_CASE("AIOFile: text in other encodings, whole and in ranges") {
  using namespace std::string_view_literals;
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file = co_await AIOFile(directory / "file", "w+", {.encoding = "utf-16"});
    CHECK(file.encoding() == "utf-16");
    CHECK_YIELDS(file.write("a\u00e9"), 6U);  // with the mark
    CHECK_YIELDS(file.write(std::string("b"), 6), 2U);
    CHECK_YIELDS(file.write("", 0), 0U);
    CHECK(content_of(directory / "file") ==
          "\xff\xfe"
          "a\0\xe9\0b\0"sv);
    CHECK_YIELDS(file.read(), "a\u00e9b");
    CHECK_YIELDS(file.read(2, 4), "\u00e9");
    CHECK_YIELDS(file.read(-1, 6), "b");
    std::optional<std::uint64_t> wrong;
    try {
      co_await file.read(3, 2);
    } catch (const aiofile::DecodeError& error) {
      wrong = error.offset();
    }
    CHECK(wrong == 4U);
    co_await file.close();
    AIOFile latin = co_await AIOFile(directory / "file", "w+", {.encoding = "latin-1"});
    wrong.reset();
    try {
      co_await latin.write("\u00e9\u4e2d");
    } catch (const aiofile::EncodeError& error) {
      wrong = error.offset();
    }
    CHECK(wrong == 2U);
    CHECK(content_of(directory / "file").empty());
    const std::string large(300'000, 'x');  // converted by the pool
    CHECK_YIELDS(latin.write(large + "\u00e9"), large.size() + 1);
    CHECK_YIELDS(latin.read(), large + "\u00e9");
    const std::string bytes = "\u00e9";
    co_await latin.write_bytes(std::as_bytes(std::span(bytes)), 0);  // bytes are bytes
    CHECK(content_of(directory / "file").substr(0, 3) == "\u00e9x");
    co_await latin.close();
    AIOFile appending = co_await AIOFile(directory / "new", "a", {.encoding = "utf-16"});
    co_await appending.write("a");
    co_await appending.write("b");
    co_await appending.close();
    CHECK(content_of(directory / "new") ==
          "\xff\xfe"
          "a\0b\0"sv);
    std::filesystem::remove(directory / "new");
  });
}
