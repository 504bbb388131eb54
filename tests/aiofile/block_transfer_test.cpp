#include <aiofile/block_transfer.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <aiofile/aiofile.hpp>
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::AlignedBuffer;
using aiofile::async_open;
using aiofile::FileError;
using aiofile::FileStream;
using aiofile::LineReader;
using aiofile::Reader;
using aiofile::Writer;
using caio::Context;
using caio::gather;
using caio::Implementation;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using outcome::failure_of;
using outcome::pattern;
using support::content_of;
using support::Fd;
using support::open_files;
using support::TemporaryDirectory;

namespace {

/// Whether the file system has O_DIRECT (tmpfs before Linux 6.6 has not).
bool has_direct(const TemporaryDirectory& directory) {
  const Fd fd(directory / "probe", O_RDWR | O_CREAT | O_DIRECT);
  if (!fd) WARN("this file system has no O_DIRECT");
  return static_cast<bool>(fd);
}

/// As support::on_every_backend, with a directory on a file system that has O_DIRECT.
template <class Test>
void on_every_backend(Test test) {
  support::on_every_backend([&](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    if (has_direct(directory)) co_await test(context, directory);
  });
}

bool is_direct(int fd) { return (::fcntl(fd, F_GETFL) & O_DIRECT) != 0; }

/// Plain reads and writes, and how they went.
struct Spy {
  static inline std::size_t direct = 0;  // bytes
  static inline std::size_t cached = 0;
  static inline std::size_t calls = 0;
  static inline std::size_t opened = 0;

  Spy() {
    direct = cached = calls = opened = 0;
    replaced->pread = [](int fd, void* memory, std::size_t size, ::off_t offset) {
      return counted(fd, ::pread(fd, memory, size, offset));
    };
    replaced->pwrite = [](int fd, const void* memory, std::size_t size, ::off_t offset) {
      return counted(fd, ::pwrite(fd, memory, size, offset));
    };
    replaced->open = [](const char* path, int flags, ::mode_t mode) {
      ++opened;
      return ::open(path, flags, mode);
    };
  }
  static ::ssize_t counted(int fd, ::ssize_t result) {
    ++calls;
    if (result > 0) (is_direct(fd) ? direct : cached) += static_cast<std::size_t>(result);
    return result;
  }

  support::ReplacedCalls replaced;
};

/// Runs a test where every transfer is a plain system call of this thread.
template <class Test>
void where_calls_are_plain(Test test) {
  if (!support::usable(Implementation::blocking)) return;
  const TemporaryDirectory directory;
  if (!has_direct(directory)) return;
  Context context(Implementation::blocking, {.speculate = false});
  context.run(test(directory));
}

std::string lines_of(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += pattern(i * 37 % 300, static_cast<unsigned>(i)) + "\n";
  return text;
}

Task<std::string> all_chunks(Reader reader) {
  std::string all;
  while (true) {
    const auto chunk = co_await reader.next();
    if (!chunk) break;
    all += *chunk;
  }
  co_return all;
}

}  // namespace

// ---- reading -------------------------------------------------------------------------------------------------------

TEST_CASE("O_DIRECT: AIOFile::read gives any range") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    const std::string content = pattern(700'001);
    AIOFile file = co_await AIOFile(directory.file("file", content), "r", {.flags = O_DIRECT});
    REQUIRE(is_direct(file.fileno()));
    CHECK_YIELDS(file.read(), content);
    CHECK_YIELDS(file.read(10, 4090), content.substr(4090, 10));
    CHECK_YIELDS(file.read(4096, 8192), content.substr(8192, 4096));
    CHECK_YIELDS(file.read(300'000, 1), content.substr(1, 300'000));
    CHECK_YIELDS(file.read(100, 699'990), content.substr(699'990));
    CHECK_YIELDS(file.read(100, 700'001), "");
    CHECK_YIELDS(file.read(100, 700'417), "");
    CHECK_YIELDS(file.read(100, 8'000'000), "");
    CHECK_YIELDS(file.read(-1, 650'000), content.substr(650'000));
    const auto bytes = co_await file.read_bytes(1000, 77);
    CHECK(outcome::text_of(bytes) == content.substr(77, 1000));
  });
}

TEST_CASE("O_DIRECT: files of every size around a block are read to their end") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    for (const std::size_t size : {0U, 1U, 511U, 512U, 513U, 4095U, 4096U, 4097U, 8192U, 65536U, 65537U}) {
      const std::string content = pattern(size);
      AIOFile file = co_await AIOFile(directory.file("file", content), "rb", {.flags = O_DIRECT});
      CHECK_YIELDS(file.read(), content);
      for (const std::size_t offset : {0U, 1U, 512U, 4096U}) {
        const std::string chunks = co_await all_chunks(Reader(file, offset));
        CHECK(chunks == content.substr(std::min(offset, size)));
      }
    }
  });
}

TEST_CASE("O_DIRECT: Reader gives its chunks from any offset on") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    const std::string content = pattern(200'001);
    AIOFile file = co_await AIOFile(directory.file("file", content), "rb", {.flags = O_DIRECT});
    for (const std::size_t offset : {0U, 3U, 5000U}) {
      for (const std::size_t size : {1000U, 4096U, 32'768U, 500'000U}) {
        Reader reader(file, offset, size);
        std::size_t at = offset;
        bool same = true;
        while (true) {
          const auto chunk = co_await reader.next();
          if (!chunk) break;
          same = same && *chunk == content.substr(at, size);
          at += chunk->size();
        }
        CHECK(same);
        CHECK(at == content.size());
      }
    }
  });
}

TEST_CASE("O_DIRECT: LineReader gives all lines") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    const std::string content = lines_of(3000);
    AIOFile file = co_await AIOFile(directory.file("file", content), "r", {.flags = O_DIRECT});
    for (const std::size_t offset : {0U, 1234U}) {
      LineReader lines(file, offset, 4096);
      std::string all;
      while (true) {
        const auto line = co_await lines.next();
        if (!line) break;
        all += *line;
      }
      CHECK(all == content.substr(offset));
    }
  });
}

TEST_CASE("O_DIRECT: text is decoded across blocks") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    std::string utf16;
    std::string wanted;
    for (int i = 0; i < 5000; ++i) {
      utf16 += std::string("\xe4\x00\x41\x00", 4);
      wanted +=
          "\xc3\xa4"
          "A";
    }
    const auto path = directory.file("file", utf16);
    FileStream stream = co_await async_open(path, "r", {.encoding = "utf-16-le", .flags = O_DIRECT});
    CHECK_YIELDS(stream.read(3001), wanted.substr(0, 4502));
    CHECK_YIELDS(stream.read(), wanted.substr(4502));
    co_await stream.close();
  });
}

TEST_CASE("O_DIRECT: a stream fills the caller's memory, wherever it is") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    const std::string content = pattern(600'000);
    FileStream stream = co_await async_open(directory.file("file", content), "rb", {.flags = O_DIRECT});
    AlignedBuffer memory(500'000);
    for (const std::size_t shift : {0U, 1U, 512U}) {
      for (const std::size_t offset : {0U, 512U, 77U}) {
        stream.seek(static_cast<std::int64_t>(offset));
        const std::span<std::byte> there = memory.span().subspan(shift, 300'007);
        const std::size_t count = co_await stream.read_into(there);
        CHECK(count == there.size());
        CHECK(std::memcmp(there.data(), content.data() + offset, count) == 0);
        CHECK(stream.tell() == offset + count);
      }
    }
    co_await stream.close();
  });
}

TEST_CASE("O_DIRECT: reading in sequence goes to the device in whole blocks, and copies nothing") {
  where_calls_are_plain([](const TemporaryDirectory& directory) -> Task<> {
    const std::string content = pattern(1'000'000);
    AIOFile file = co_await AIOFile(directory.file("file", content), "rb", {.flags = O_DIRECT});
    Reader reader(file, 100, 64 * 1024);
    const Spy spy;
    bool aligned = true;
    bool first = true;
    while (true) {
      const auto chunk = co_await reader.next();
      if (!chunk) break;
      // In memory as in the file: it was read to where it is.
      const auto address = reinterpret_cast<std::uintptr_t>(chunk->data());
      if (first) aligned = address % 4096 == 100;
      first = false;
    }
    CHECK(aligned);
    CHECK(Spy::cached == 0);
    CHECK(Spy::opened == 0);
    CHECK(Spy::direct < content.size() + 10'000);
    CHECK(Spy::calls <= content.size() / (64 * 1024) + 3);
  });
}

TEST_CASE("O_DIRECT: small chunks do not read a block twice") {
  where_calls_are_plain([](const TemporaryDirectory& directory) -> Task<> {
    const std::string content = pattern(400'000);
    AIOFile file = co_await AIOFile(directory.file("file", content), "rb", {.flags = O_DIRECT});
    const Spy spy;
    const std::string all = co_await all_chunks(Reader(file, 0, 1000));
    CHECK(all == content);
    CHECK(Spy::direct < content.size() + 5000);
  });
}

TEST_CASE("O_DIRECT: reading allocates nothing once its memory is there") {
  if (!support::counts_allocations) return;
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    FileStream stream = co_await async_open(directory.file("file", pattern(900'000)), "rb", {.flags = O_DIRECT});
    std::vector<std::byte> memory(9000);
    std::size_t before = 0;
    std::size_t sum = 0;
    for (int i = 0; i < 80; ++i) {
      if (i == 10) before = support::allocations();
      sum += co_await stream.read_into(memory);  // at odd places: cut into pieces
    }
    CHECK(support::allocations() <= before + 8);  // threads of the pool that begin late
    CHECK(sum == 80 * memory.size());
  });
}

// ---- writing -------------------------------------------------------------------------------------------------------

TEST_CASE("O_DIRECT: Writer writes pieces of any size, gathered or not") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    const std::string text = pattern(300'003);
    for (const std::size_t buffering : {0U, 100U, 5000U, 65'536U, 100'000U}) {
      for (const std::size_t offset : {0U, 777U}) {
        for (const std::size_t step : {700U, 33'333U}) {
          if (buffering < 1000 && step < 1000) continue;  // takes long
          AIOFile file = co_await AIOFile(directory / "file", "wb", {.flags = O_DIRECT});
          Writer writer(file, offset, buffering);
          for (std::size_t at = 0; at < text.size(); at += step)
            co_await writer(std::string_view(text).substr(at, step));
          co_await writer.flush();
          co_await file.close();
          CHECK((content_of(directory / "file") == std::string(offset, '\0') + text));
        }
      }
    }
  });
}

TEST_CASE("O_DIRECT: a write within a block leaves the rest of it, also in a file that cannot be read") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    std::string wanted = pattern(10'000);
    const auto path = directory.file("file", wanted);
    const Fd fd(path, O_WRONLY | O_DIRECT);
    FileStream stream = co_await async_open(fd.get(), "w");
    for (const std::size_t at : {0U, 100U, 4090U, 9999U, 12'000U}) {
      stream.seek(static_cast<std::int64_t>(at));
      co_await stream.write("0123456789");
      wanted.resize(std::max(wanted.size(), at + 10));
      wanted.replace(at, 10, "0123456789");
      CHECK(content_of(path) == wanted);
    }
    co_await stream.close();
  });
}

TEST_CASE("O_DIRECT: mode 'a' appends, gathered or not, beside others that append") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    for (const std::size_t buffering : {0U, 20'000U}) {
      std::string wanted = "begun\n";
      const auto path = directory.file("file", wanted);
      FileStream stream = co_await async_open(path, "ab", {.flags = O_DIRECT, .buffering = buffering});
      const Fd other(path, O_WRONLY | O_APPEND);
      std::string gathered;
      for (unsigned i = 0; i < 40; ++i) {
        const std::string text = pattern(i * 331 % 9000 + 1, i);
        co_await stream.write(text);
        gathered += text;
        if (i % 10 == 9) {
          co_await stream.flush();
          wanted += gathered + "other";
          gathered.clear();
          CHECK(::write(other.get(), "other", 5) == 5);
        }
      }
      co_await stream.close();
      CHECK(content_of(path) == wanted + gathered);
    }
  });
}

TEST_CASE("O_DIRECT: two clones append at once, and nothing is lost") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    FileStream first = co_await async_open(directory / "file", "ab", {.flags = O_DIRECT});
    FileStream second = first.clone();
    const std::string block(8192, 'b');
    const std::string piece(1000, 'p');
    for (int i = 0; i < 20; ++i) co_await gather(first.write(block), second.write(piece), second.write(piece));
    co_await second.close();
    co_await first.close();
    const std::string all = content_of(directory / "file");
    CHECK(std::count(all.begin(), all.end(), 'b') == 20 * 8192);
    CHECK(std::count(all.begin(), all.end(), 'p') == 40 * 1000);
    CHECK(all.size() == 20U * (8192 + 2000));
  });
}

TEST_CASE("O_DIRECT: an AIOFile in mode 'a' appends whatever it is given, several writes at once") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    AIOFile file = co_await AIOFile(directory / "file", "ab", {.flags = O_DIRECT});
    const std::string block(8192, 'b');
    const std::string piece(1000, 'p');
    for (int i = 0; i < 20; ++i) co_await gather(file.write(block), file.write(piece), file.write(piece));
    co_await file.close();
    const std::string all = content_of(directory / "file");
    CHECK(std::count(all.begin(), all.end(), 'b') == 20 * 8192);
    CHECK(std::count(all.begin(), all.end(), 'p') == 40 * 1000);
    CHECK(all.size() == 20U * (8192 + 2000));
  });
}

TEST_CASE("O_DIRECT: gathered writes go to the device in whole blocks, and only their end through the page cache") {
  where_calls_are_plain([](const TemporaryDirectory& directory) -> Task<> {
    for (const std::string_view mode : {"wb", "rb+"}) {
      directory.file(mode, "");
      const std::string text = pattern(500'001);
      FileStream stream = co_await async_open(directory / mode, mode, {.flags = O_DIRECT, .buffering = 64 * 1024});
      {
        const Spy spy;
        for (std::size_t at = 0; at < text.size(); at += 700) co_await stream.write(text.substr(at, 700));
        CHECK(Spy::cached == 0);
        CHECK(Spy::opened == 0);
        CHECK(Spy::direct % 4096 == 0);
        co_await stream.flush();
        CHECK(Spy::opened == 1);
        CHECK(Spy::direct + Spy::cached == text.size());
        CHECK(Spy::cached < 4096);
        CHECK(Spy::calls <= text.size() / (60 * 1024) + 3);
      }
      co_await stream.close();
      CHECK(content_of(directory / mode) == text);
    }
  });
}

TEST_CASE("O_DIRECT: a long write of a string goes to the device, but for its ends") {
  where_calls_are_plain([](const TemporaryDirectory& directory) -> Task<> {
    const std::string text = pattern(1'000'000);
    FileStream stream = co_await async_open(directory / "file", "wb", {.flags = O_DIRECT});
    const Spy spy;
    stream.seek(5);
    co_await stream.write(text);
    CHECK(Spy::cached < 2 * 4096);
    CHECK(Spy::direct + Spy::cached == text.size());
    co_await stream.close();
    CHECK((content_of(directory / "file") == std::string(5, '\0') + text));
  });
}

TEST_CASE("O_DIRECT: what one stream writes another reads, whichever way it went") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    FileStream writing = co_await async_open(directory / "file", "wb+", {.flags = O_DIRECT});
    FileStream reading = writing.clone();
    FileStream buffered = co_await async_open(directory / "file", "rb");
    std::string wanted;
    for (unsigned i = 0; i < 30; ++i) {
      const std::string text = pattern(i % 3 == 0 ? 8192 : i * 97, i);
      co_await writing.write(text);
      wanted += text;
      reading.seek(0);
      CHECK_YIELDS(reading.read(), wanted);
      buffered.seek(0);
      CHECK_YIELDS(buffered.read(), wanted);
    }
    co_await writing.truncate(1000);
    reading.seek(0);
    CHECK_YIELDS(reading.read(), wanted.substr(0, 1000));
    co_await writing.fsync();
    co_await reading.close();
    co_await writing.close();
  });
}

TEST_CASE("O_DIRECT: a random sequence leaves what it leaves in an ordinary file") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    for (unsigned seed = 0; seed < 6; ++seed) {
      std::mt19937 random(seed);
      const std::size_t buffering = seed % 2 == 0 ? 0 : 10'000;
      FileStream direct = co_await async_open(directory / "direct", "wb+", {.flags = O_DIRECT, .buffering = buffering});
      FileStream plain = co_await async_open(directory / "plain", "wb+");
      const std::string source = pattern(100'000);
      for (int i = 0; i < 60; ++i) {
        const std::size_t length = random() % (random() % 4 == 0 ? 60'000 : 5000) / (random() % 3 == 0 ? 512 : 1);
        const auto at = static_cast<std::int64_t>(random() % 100'000);
        switch (random() % 6) {
          case 0:
          case 1:
            co_await direct.write(std::string_view(source).substr(0, length));
            co_await plain.write(std::string_view(source).substr(0, length));
            break;
          case 2: {
            const std::string ours = co_await direct.read(static_cast<std::int64_t>(length));
            const std::string theirs = co_await plain.read(static_cast<std::int64_t>(length));
            CHECK(ours == theirs);
            break;
          }
          case 3: {
            const std::string ours = co_await direct.readline();
            const std::string theirs = co_await plain.readline();
            CHECK(ours == theirs);
            break;
          }
          case 4:
            direct.seek(at);
            plain.seek(at);
            break;
          default:
            co_await direct.truncate(static_cast<std::uint64_t>(at));
            co_await plain.truncate(static_cast<std::uint64_t>(at));
        }
        CHECK(direct.tell() == plain.tell());
      }
      co_await direct.close();
      co_await plain.close();
      CHECK(content_of(directory / "direct") == content_of(directory / "plain"));
    }
  });
}

// ---- errors --------------------------------------------------------------------------------------------------------

TEST_CASE("O_DIRECT: a misaligned transfer at an offset says what was asked for and what is wanted") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    AIOFile file = co_await AIOFile(directory.file("file", pattern(20'000)), "rb+", {.flags = O_DIRECT});
    const auto [memory, offset] = file.direct_alignment();
    if (offset == 1 || memory < 512) co_return;
    AlignedBuffer buffer(8192, 8192);
    const auto wanted = " in multiples of " + std::to_string(offset) + ", memory aligned to " + std::to_string(memory);
    const auto read = co_await failure_of(file.read_into(buffer.span().subspan(256, 1000), 3));
    if (!read) {
      WARN("this file system takes any transfer");
      co_return;
    }
    CHECK(read->code().value() == EINVAL);
    CHECK(read->path1() == file.name());
    CHECK_THAT(read->what(), Catch::Contains("read: 1000 bytes at offset 3, memory aligned to 256: O_DIRECT wants"));
    CHECK_THAT(read->what(), Catch::Contains(wanted));
    const auto write = co_await failure_of(file.write_bytes(buffer.span().first(4096), 100));
    REQUIRE(write);
    CHECK_THAT(write->what(), Catch::Contains("write: 4096 bytes at offset 100, memory aligned to " +
                                              std::to_string(memory) + ": O_DIRECT wants"));
    CHECK(write->transferred() == 0);
    CHECK((content_of(directory / "file") == pattern(20'000)));
  });
}

TEST_CASE("O_DIRECT: another EINVAL is not explained by the alignment") {
  where_calls_are_plain([](const TemporaryDirectory& directory) -> Task<> {
    AIOFile file = co_await AIOFile(directory.file("file", pattern(20'000)), "rb", {.flags = O_DIRECT});
    const support::ReplacedCalls calls;
    calls->pread = [](int, void*, std::size_t, ::off_t) -> ::ssize_t {
      errno = EINVAL;
      return -1;
    };
    AlignedBuffer buffer(4096);
    const auto failure = co_await failure_of(file.read_into(buffer.span()));
    REQUIRE(failure);
    CHECK_THAT(failure->what(), !Catch::Contains("O_DIRECT"));
    const auto in_pieces = co_await failure_of(file.read(100, 3));
    REQUIRE(in_pieces);
    CHECK(in_pieces->code().value() == EINVAL);
  });
}

TEST_CASE("O_DIRECT: a kernel that refuses to read behind the end has said that it is the end") {
  where_calls_are_plain([](const TemporaryDirectory& directory) -> Task<> {
    AIOFile file = co_await AIOFile(directory.file("file", pattern(10'000)), "rb", {.flags = O_DIRECT});
    const support::ReplacedCalls calls;
    calls->pread = [](int fd, void* memory, std::size_t size, ::off_t offset) -> ::ssize_t {
      if (offset % 512 == 0) return ::pread(fd, memory, size, offset);
      errno = EINVAL;
      return -1;
    };
    AlignedBuffer buffer(16'384);
    CHECK_YIELDS(file.read_into(buffer.span()), 10'000U);
    CHECK(outcome::text_of(buffer.span().first(10'000)) == pattern(10'000));
  });
}

TEST_CASE("O_DIRECT: an error in the middle of a write tells how far it came") {
  where_calls_are_plain([](const TemporaryDirectory& directory) -> Task<> {
    FileStream stream = co_await async_open(directory / "file", "wb", {.flags = O_DIRECT});
    const support::ReplacedCalls calls;
    calls->pwrite = [](int fd, const void* memory, std::size_t size, ::off_t offset) -> ::ssize_t {
      if (offset < 4096) return ::pwrite(fd, memory, size, offset);
      errno = ENOSPC;
      return -1;
    };
    stream.seek(96);
    const auto failure = co_await failure_of(stream.write(pattern(20'000)));
    REQUIRE(failure);
    CHECK(failure->code().value() == ENOSPC);
    CHECK(failure->transferred() == 4000);
    CHECK(stream.tell() == 96);
    co_await stream.close();
  });
}

TEST_CASE("O_DIRECT: without a way round, a write of less than a block says why") {
  where_calls_are_plain([](const TemporaryDirectory& directory) -> Task<> {
    FileStream stream = co_await async_open(directory / "file", "wb", {.flags = O_DIRECT});
    {
      const support::ReplacedCalls calls;
      calls->open = [](const char*, int, ::mode_t) {
        errno = EACCES;
        return -1;
      };
      const auto failure = co_await failure_of(stream.write("text"));
      REQUIRE(failure);
      CHECK(failure->code().value() == EINVAL);
      CHECK_THAT(failure->what(), Catch::Contains("4 bytes at offset 0"));
      CHECK_THAT(failure->what(), Catch::Contains("without O_DIRECT: Permission denied"));
      CHECK(stream.tell() == 0);
    }
    co_await stream.write("text");
    co_await stream.close();
    CHECK(content_of(directory / "file") == "text");
  });
}

TEST_CASE("O_DIRECT: a device that refuses what should fit gets it through the page cache") {
  where_calls_are_plain([](const TemporaryDirectory& directory) -> Task<> {
    FileStream stream = co_await async_open(directory / "file", "wb", {.flags = O_DIRECT});
    const support::ReplacedCalls calls;
    calls->pwrite = [](int fd, const void* memory, std::size_t size, ::off_t offset) -> ::ssize_t {
      if (!is_direct(fd)) return ::pwrite(fd, memory, size, offset);
      errno = EINVAL;
      return -1;
    };
    co_await stream.write(pattern(50'001));
    co_await stream.close();
    CHECK((content_of(directory / "file") == pattern(50'001)));
  });
}

TEST_CASE("O_DIRECT: want of memory is an error, and takes nothing") {
  if (!support::counts_allocations) return;
  where_calls_are_plain([](const TemporaryDirectory& directory) -> Task<> {
    std::vector<std::byte> memory(1000);
    for (std::size_t nth = 1; nth <= 4; ++nth) {
      FileStream stream = co_await async_open(directory.file("file", "0123456789"), "rb+", {.flags = O_DIRECT});
      int read_error = 0;
      int write_error = 0;
      auto reading = stream.read_into(memory);
      support::fail_allocations(nth, 0);
      bool no_memory = false;
      try {
        static_cast<void>(co_await std::move(reading));
      } catch (const FileError& error) {
        read_error = error.code().value();
      } catch (const std::bad_alloc&) {
        no_memory = true;
      }
      support::allow_allocations();
      CHECK((read_error == 0 || read_error == ENOMEM));
      stream.seek(3);
      auto writing = stream.write("abc");
      support::fail_allocations(nth, 0);
      try {
        static_cast<void>(co_await std::move(writing));
      } catch (const FileError& error) {
        write_error = error.code().value();
      } catch (const std::bad_alloc&) {
        no_memory = true;
      }
      support::allow_allocations();
      CHECK((write_error == 0 || write_error == ENOMEM));
      stream.seek(0);
      const bool wrote = write_error == 0 && !no_memory;
      CHECK_YIELDS(stream.read(4), wrote ? "012a" : "0123");
      co_await stream.close();
    }
  });
}

// ---- the second descriptor -----------------------------------------------------------------------------------------

TEST_CASE("O_DIRECT: the second descriptor comes when it is needed and goes with the file") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    AIOFile nothing = co_await AIOFile(directory / "other", "wb");
    co_await nothing.write("warm");  // whatever a backend opens for itself
    const std::size_t before = open_files();
    {
      FileStream stream = co_await async_open(directory / "file", "wb+", {.flags = O_DIRECT});
      co_await stream.write(std::string(8192, 'a'));
      CHECK_YIELDS(stream.seek(100, aiofile::Whence::set), 100U);
      CHECK_YIELDS(stream.read(10), "aaaaaaaaaa");
      CHECK(open_files() == before + 1);
      FileStream other = stream.clone();
      co_await gather(stream.write("one"), other.write("two"));
      CHECK(open_files() == before + 2);
      co_await stream.close();
      CHECK(open_files() == before + 2);
      co_await other.close();
      CHECK(open_files() == before);
    }
    {
      FileStream stream = co_await async_open(directory / "file", "wb", {.flags = O_DIRECT});
      co_await stream.write("destroyed");
      CHECK(open_files() == before + 2);
    }
    CHECK(open_files() == before);
    CHECK(content_of(directory / "file") == "destroyed");
    {
      const Fd borrowed(directory / "file", O_RDWR | O_DIRECT);
      FileStream stream = co_await async_open(borrowed.get(), "r+b");
      co_await stream.write("borrowed");
      CHECK(open_files() == before + 2);
      co_await stream.close();
      CHECK(open_files() == before + 1);
      CHECK(outcome::is_open(borrowed.get()));
    }
  });
}

TEST_CASE("O_DIRECT: the second descriptor keeps O_DSYNC and O_APPEND, and nobody inherits it") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    FileStream stream = co_await async_open(directory / "file", "ab", {.flags = O_DIRECT | O_DSYNC});
    co_await stream.write("text");
    int second = -1;
    for (int fd = 3; fd < 256; ++fd) {
      if (fd == stream.fileno() || !outcome::is_open(fd)) continue;
      if (std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)) == directory / "file") second = fd;
    }
    REQUIRE(second >= 0);
    const int flags = ::fcntl(second, F_GETFL);
    CHECK((flags & O_ACCMODE) == O_WRONLY);
    CHECK((flags & (O_DSYNC | O_APPEND)) == (O_DSYNC | O_APPEND));
    CHECK((flags & O_DIRECT) == 0);
    CHECK((::fcntl(second, F_GETFD) & FD_CLOEXEC) != 0);
    co_await stream.close();
  });
}

TEST_CASE("O_DIRECT: the file may have been renamed or removed") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    FileStream stream = co_await async_open(directory / "file", "wb+", {.flags = O_DIRECT});
    std::filesystem::rename(directory / "file", directory / "renamed");
    const auto other = directory.file("file", "another");
    co_await stream.write("text");
    CHECK(content_of(directory / "renamed") == "text");
    CHECK(content_of(other) == "another");
    co_await stream.close();
    FileStream removed = co_await async_open(directory / "file", "wb+", {.flags = O_DIRECT});
    std::filesystem::remove(directory / "file");
    co_await removed.write("text");
    removed.seek(0);
    CHECK_YIELDS(removed.read(), "text");
    co_await removed.close();
  });
}

TEST_CASE("O_DIRECT: what closing the second descriptor reports is not lost") {
  where_calls_are_plain([](const TemporaryDirectory& directory) -> Task<> {
    const std::size_t before = open_files();
    FileStream stream = co_await async_open(directory / "file", "wb", {.flags = O_DIRECT});
    co_await stream.write("text");
    const support::ReplacedCalls calls;
    calls->close = [](int fd) {
      const bool direct = is_direct(fd);
      ::close(fd);
      errno = EDQUOT;
      return direct ? 0 : -1;
    };
    CHECK_YIELDS(error_of(stream.close()), EDQUOT);
    CHECK(open_files() == before);
  });
}

TEST_CASE("O_DIRECT: a destructor delivers what was gathered") {
  on_every_backend([](Context& context, const TemporaryDirectory& directory) -> Task<> {
    bool lost = false;
    context.on_lost_data([&](const caio::LostData&) { lost = true; });
    {
      FileStream stream = co_await async_open(directory / "file", "wb", {.flags = O_DIRECT, .buffering = 100'000});
      co_await stream.write(pattern(50'001));
    }
    CHECK_FALSE(lost);
    CHECK((content_of(directory / "file") == pattern(50'001)));
    CHECK(outcome::descriptors_of(directory / "file") == 0);
  });
}

// ---- ends ----------------------------------------------------------------------------------------------------------

TEST_CASE("O_DIRECT: transfers may be destroyed at any moment") {
  on_every_backend([](Context& context, const TemporaryDirectory& directory) -> Task<> {
    const std::string content = pattern(3'000'000);
    const auto path = directory.file("file", content);
    const auto write_all = [](FileStream& stream, const std::string& text) -> Task<> {
      co_await stream.write(std::string_view(text));
    };
    const auto read_all = [](FileStream& stream) -> Task<> { static_cast<void>(co_await stream.read()); };
    for (int turns = 0; turns < 12; ++turns) {
      {
        FileStream stream = co_await async_open(path, "rb+", {.flags = O_DIRECT});
        FileStream other = stream.clone();
        stream.seek(5);
        {
          TaskGroup group;
          group.spawn(write_all(stream, content));
          group.spawn(read_all(other));
          for (int i = 0; i < turns; ++i) co_await context.schedule();
        }
        // Nobody is in the way of those that come after.
        stream.seek(7);
        co_await stream.write("after");
        stream.seek(7);
        CHECK_YIELDS(stream.read(5), "after");
        co_await other.close();
        if (turns % 2 == 0) co_await stream.close();
      }
      CHECK(outcome::descriptors_of(path) == 0);
    }
    CHECK(std::filesystem::file_size(path) <= 3'000'005);
  });
}

TEST_CASE("O_DIRECT: what a destroyed delivery has written is not written again") {
  on_every_backend([](Context& context, const TemporaryDirectory& directory) -> Task<> {
    const auto flush = [](FileStream& stream) -> Task<> { co_await stream.flush(); };
    for (const std::size_t begun : {0U, 100U}) {
      for (int turns = 0; turns < 5; ++turns) {
        const auto path = directory.file("file", std::string(begun, '-'));
        FileStream stream = co_await async_open(path, "ab", {.flags = O_DIRECT, .buffering = 20'000});
        co_await stream.write(pattern(12'288));
        {
          TaskGroup group;
          group.spawn(flush(stream));
          for (int i = 0; i < turns; ++i) co_await context.schedule();
        }
        co_await stream.close();
        CHECK((content_of(path) == std::string(begun, '-') + pattern(12'288)));
      }
    }
  });
}

TEST_CASE("O_DIRECT: libaio reads in sequence without a thread") {
  if (!support::usable(Implementation::linux_aio)) return;
  const TemporaryDirectory directory;
  if (!has_direct(directory)) return;
  Context context(Implementation::linux_aio);
  context.run([](Context& here, const TemporaryDirectory& there) -> Task<> {
    const std::string content = pattern(500'001);
    AIOFile file = co_await AIOFile(there.file("file", content), "rb", {.flags = O_DIRECT});
    const std::uint64_t before = here.stats().pooled;
    const std::string all = co_await all_chunks(Reader(file, 3));
    CHECK(all == content.substr(3));
    CHECK(here.stats().pooled == before);
  }(context, directory));
}

TEST_CASE("O_DIRECT: a close that is destroyed on the way closes both descriptors") {
  on_every_backend([](Context& context, const TemporaryDirectory& directory) -> Task<> {
    const auto close = [](FileStream& stream) -> Task<> { co_await stream.close(); };
    static int closed_twice;
    closed_twice = 0;
    const support::ReplacedCalls calls;
    calls->close = [](int fd) {
      const int result = ::close(fd);
      if (result != 0) ++closed_twice;
      return result;
    };
    for (int turns = 0; turns < 6; ++turns) {
      FileStream stream = co_await async_open(directory / "file", "wb", {.flags = O_DIRECT, .buffering = 10'000});
      co_await stream.write("text");
      co_await stream.flush();
      co_await stream.write("more");
      CHECK(outcome::descriptors_of(directory / "file") == 2);
      {
        TaskGroup group;
        group.spawn(close(stream));
        for (int i = 0; i < turns; ++i) co_await context.schedule();
      }
      if (stream.closed()) CHECK(outcome::descriptors_of(directory / "file") == 0);
    }
    CHECK(closed_twice == 0);
    CHECK(outcome::descriptors_of(directory / "file") == 0);
  });
}

TEST_CASE("O_DIRECT: a transfer in pieces stops between two of them") {
  on_every_backend([](Context& context, const TemporaryDirectory& directory) -> Task<> {
    const std::string content = pattern(3'000'000);
    AIOFile file = co_await AIOFile(directory.file("file", content), "rb", {.flags = O_DIRECT});
    std::stop_source source;
    int error = -1;
    TaskGroup group;
    const auto stopped = [](AIOFile& from, std::stop_token token, int& result) -> Task<> {
      result = co_await error_of(caio::with_stop(std::move(token), from.read(-1, 1)));
    };
    group.spawn(stopped(file, source.get_token(), error));
    co_await context.schedule();
    source.request_stop();
    co_await group.join();
    CHECK(error == ECANCELED);
    CHECK_YIELDS(file.read(10, 1), content.substr(1, 10));
  });
}

TEST_CASE("O_DIRECT: a stream that was gathering closes, cut into pieces") {
  on_every_backend([](Context&, const TemporaryDirectory& directory) -> Task<> {
    FileStream stream = co_await async_open(directory / "file", "wb", {.flags = O_DIRECT, .buffering = 700'000});
    co_await stream.write("head");
    co_await stream.write(pattern(600'000));
    co_await stream.close();
    CHECK((content_of(directory / "file") == "head" + pattern(600'000)));
    CHECK(outcome::descriptors_of(directory / "file") == 0);
  });
}

// ---- no blocks -----------------------------------------------------------------------------------------------------

TEST_CASE("O_DIRECT: a pipe of packets is a pipe") {
  on_every_backend([](Context&, const TemporaryDirectory&) -> Task<> {
    const support::Pipe packets(O_DIRECT | O_CLOEXEC);
    FileStream writing = co_await async_open(packets.writer.get(), "w");
    FileStream reading = co_await async_open(packets.reader.get(), "r");
    co_await writing.write("line\nrest");
    CHECK_YIELDS(reading.readline(), "line\n");
  });
}
