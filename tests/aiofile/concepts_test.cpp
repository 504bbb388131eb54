#include <aiofile/concepts.hpp>

#include <aiofile/aiofile.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::async_open;
using aiofile::AsyncReadable;
using aiofile::AsyncSeekable;
using aiofile::AsyncWritable;
using aiofile::FileStream;
using aiofile::IostreamFile;
using aiofile::LineReader;
using aiofile::MemoryFile;
using aiofile::Reader;
using aiofile::Whence;
using aiofile::Writer;
using caio::Context;
using caio::Task;
using support::TemporaryDirectory;

namespace {

/// A user's own file: one position in a string. It gives three bytes at a time, and suspends only sometimes.
class Own {
 public:
  explicit Own(std::string text) : text_(std::move(text)) {}

  Task<std::size_t> read_into(std::span<std::byte> memory) {
    if (++calls_ % 2 == 0) co_await Context::current().schedule();
    const std::size_t count = std::min({memory.size(), text_.size() - std::min(text_.size(), position_), max_});
    if (count > 0) std::memcpy(memory.data(), text_.data() + position_, count);
    position_ += count;
    co_return count;
  }
  Task<> write(std::string_view text) {
    if (++calls_ % 2 == 0) co_await Context::current().schedule();
    if (position_ > text_.size()) text_.resize(position_);
    text_.replace(position_, text.size(), text);
    position_ += text.size();
  }
  Task<> flush() { co_return; }
  Task<std::uint64_t> seek(std::int64_t offset, Whence whence) {
    const std::size_t from = whence == Whence::set ? 0 : whence == Whence::current ? position_ : text_.size();
    position_ = from + static_cast<std::size_t>(offset);
    co_return position_;
  }
  std::uint64_t tell() const { return position_; }

 private:
  static constexpr std::size_t max_ = 3;
  std::string text_;
  std::size_t position_ = 0;
  unsigned calls_ = 0;
};

struct OnlyReads {
  Task<std::size_t> read_into(std::span<std::byte>);
};
struct OnlyWrites {
  Task<> write(std::string_view);
  Task<> flush();
};
struct NeverFlushes {
  Task<> write(std::string_view);
};
struct ReadsAtOnce {
  std::size_t read_into(std::span<std::byte>);  // not awaitable
};
struct ReadsNothing {
  Task<> read_into(std::span<std::byte>);
};
struct TakesFlags {
  Task<std::size_t> read_into(std::span<std::byte>, bool exact = false);
  Task<> write(std::string_view, int flags = 0);
  Task<> flush();
};
template <class Offset>
struct TakesOffset {
  Task<std::size_t> read_into(std::span<std::byte>, Offset offset = Offset());
  Task<> write(std::string_view, Offset offset = Offset());
  Task<> flush();
};
struct OnlyTells {
  std::uint64_t tell() const;
};

template <class File>
concept Complete = AsyncReadable<File> && AsyncWritable<File> && AsyncSeekable<File>;

static_assert(Complete<FileStream> && Complete<MemoryFile> && Complete<IostreamFile> && Complete<Own>);
static_assert(AsyncReadable<OnlyReads> && !AsyncWritable<OnlyReads> && !AsyncSeekable<OnlyReads>);
static_assert(!AsyncReadable<OnlyWrites> && AsyncWritable<OnlyWrites> && !AsyncSeekable<OnlyWrites>);
static_assert(!AsyncWritable<NeverFlushes>);
static_assert(!AsyncReadable<ReadsAtOnce> && !AsyncReadable<ReadsNothing> && !AsyncSeekable<OnlyTells>);
// Without a position, the same bytes would be read for ever.
static_assert(!AsyncReadable<AIOFile> && !AsyncWritable<AIOFile> && !AsyncSeekable<AIOFile>);
template <class Offset>
constexpr bool is_positional = !AsyncReadable<TakesOffset<Offset>> && !AsyncWritable<TakesOffset<Offset>>;
static_assert(is_positional<std::uint64_t> && is_positional<std::int64_t> && is_positional<long long>);
static_assert(is_positional<unsigned long long> && is_positional<std::size_t>);
static_assert(is_positional<std::optional<std::uint64_t>>);
static_assert(AsyncReadable<TakesFlags> && AsyncWritable<TakesFlags>);
static_assert(!AsyncReadable<std::stringstream> && !AsyncWritable<std::stringstream> && !AsyncReadable<int>);
static_assert(!AsyncReadable<const FileStream> && !AsyncWritable<const FileStream>);

// An object that is only passing would be gone before what reads it.
static_assert(!std::is_constructible_v<Reader, Own> && !std::is_constructible_v<LineReader, FileStream>);
static_assert(!std::is_constructible_v<Reader, OnlyWrites&> && !std::is_constructible_v<Writer, OnlyReads&>);

// ---- code as users write it ----------------------------------------------------------------------------------------

Task<int> count_words(AsyncReadable auto& file) {
  int words = 0;
  bool inside = false;
  Reader reader(file, 7);
  while (const std::optional<std::string_view> chunk = co_await reader.next()) {
    for (const char letter : *chunk) {
      const bool letter_inside = letter != ' ' && letter != '\n';
      if (letter_inside && !inside) ++words;
      inside = letter_inside;
    }
  }
  co_return words;
}

Task<std::vector<std::string>> lines_of(AsyncReadable auto& file, std::size_t chunk, std::string separator) {
  std::vector<std::string> lines;
  LineReader reader(file, chunk, separator);
  while (const std::optional<std::string_view> line = co_await reader.next()) lines.emplace_back(*line);
  co_return lines;
}

template <AsyncReadable File>
Task<std::string> all_of(File& file) {
  std::string text;
  Reader reader(file);
  for (;;) {
    const std::string chunk = co_await reader.read_chunk();
    if (chunk.empty()) co_return text;
    text += chunk;
  }
}

template <class File>
requires AsyncWritable<File> && AsyncSeekable<File> Task<> append_twice(File& file, std::string text) {
  co_await file.seek(0, Whence::end);
  Writer writer(file);
  co_await writer(text);
  co_await writer.write(std::move(text));
  co_await writer.flush();
}

// ---- the same for every kind ---------------------------------------------------------------------------------------

const std::string poem = "one two\nthree\n\nfour five six\r\nthe end";

template <class File>
Task<> check_file(File& file) {
  CHECK_YIELDS(count_words(file), 8);
  CHECK(file.tell() == poem.size());
  CHECK_YIELDS(count_words(file), 0);

  const std::uint64_t start = co_await file.seek(0, Whence::set);
  CHECK(start == 0);
  const std::vector<std::string> wanted{"one two\n", "three\n", "\n", "four five six\r\n", "the end"};
  for (const std::size_t chunk : {1U, 5U, 64U, 65536U}) {
    co_await file.seek(0, Whence::set);
    const std::vector<std::string> lines = co_await lines_of(file, chunk, "\n");
    CHECK(lines == wanted);
  }
  co_await file.seek(-7, Whence::end);
  CHECK(file.tell() == poem.size() - 7);
  CHECK_YIELDS(all_of(file), "the end");
  co_await file.seek(8, Whence::set);
  const std::uint64_t moved = co_await file.seek(6, Whence::current);
  CHECK(moved == 14);
  const std::vector<std::string> by_other = co_await lines_of(file, 4, "ve");
  CHECK(by_other == std::vector<std::string>{"\nfour five", " six\r\nthe end"});

  std::byte memory[5];
  co_await file.seek(0, Whence::set);
  const std::size_t first = co_await file.read_into(memory);
  CHECK(first >= 1);
  CHECK(outcome::text_of(std::span(memory).first(first)) == poem.substr(0, first));
  const std::size_t none = co_await file.read_into({});
  CHECK(none == 0);
  CHECK(file.tell() == first);

  co_await append_twice(file, "!?");
  CHECK(file.tell() == poem.size() + 4);
  co_await file.seek(4, Whence::set);
  co_await file.write("TWO");
  CHECK(file.tell() == 7);
  co_await file.flush();
  co_await file.seek(0, Whence::set);
  CHECK_YIELDS(all_of(file), "one TWO" + poem.substr(7) + "!?!?");
}

}  // namespace

TEST_CASE("concepts: one body for a file, memory, standard streams and a class of one's own") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const std::string wanted = "one TWO" + poem.substr(7) + "!?!?";
    {
      INFO("FileStream");
      FileStream file = co_await async_open(directory.file("file", poem), "r+");
      co_await check_file(file);
      co_await file.close();
      CHECK(support::content_of(directory / "file") == wanted);
    }
    {
      INFO("FileStream, gathering");
      FileStream file = co_await async_open(directory.file("file", poem), "r+b", {.buffering = 4096});
      co_await check_file(file);
      co_await file.close();
      CHECK(support::content_of(directory / "file") == wanted);
    }
    {
      INFO("MemoryFile");
      MemoryFile file(poem);
      co_await check_file(file);
      CHECK(file.contents() == wanted);
    }
    {
      INFO("std::stringstream");
      std::stringstream stream(poem);
      IostreamFile file(stream);
      co_await check_file(file);
      CHECK(stream.str() == wanted);
    }
    {
      INFO("std::fstream");
      std::fstream stream(directory.file("file", poem), std::ios::in | std::ios::out | std::ios::binary);
      IostreamFile file(stream);
      co_await check_file(file);
      co_await file.close();
      CHECK(support::content_of(directory / "file") == wanted);
    }
    {
      INFO("a class of one's own");
      Own file(poem);
      co_await check_file(file);
    }
  });
}
