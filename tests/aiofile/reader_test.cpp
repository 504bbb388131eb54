#include <aiofile/reader.hpp>

#include <aiofile/async_open.hpp>
#include <aiofile/writer.hpp>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::async_open;
using aiofile::FileStream;
using aiofile::Reader;
using aiofile::Writer;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::pattern;
using support::Pipe;
using support::TemporaryDirectory;

namespace {

Task<std::vector<std::string>> chunks_of(Reader reader) {
  std::vector<std::string> chunks;
  while (const std::optional<std::string_view> chunk = co_await reader.next()) chunks.emplace_back(*chunk);
  co_return chunks;
}

}  // namespace

TEST_CASE("Reader: exactly the chunks of the file, then the end") {
  const TemporaryDirectory directory;
  const std::string content = pattern(16 * 100 + 5);
  const auto path = directory.file("file", content);
  support::on_every_backend([&](Context&) -> Task<> {
    for (const char* const mode : {"r", "rb"}) {
      AIOFile file = co_await AIOFile(path, mode);
      const std::vector<std::string> chunks = co_await chunks_of(Reader(file, 0, 16));
      REQUIRE(chunks.size() == 101);
      std::string all;
      for (std::size_t i = 0; i < chunks.size(); ++i) {
        CHECK(chunks[i] == content.substr(16 * i, 16));
        all += chunks[i];
      }
      CHECK(all == content);
      Reader rest(file, 1600, 3);
      CHECK_YIELDS(rest.read_chunk(), content.substr(1600, 3));
      CHECK_YIELDS(rest.read_chunk(), content.substr(1603));
      CHECK_YIELDS(rest.read_chunk(), "");
      CHECK_YIELDS(rest.read_chunk(), "");
      const std::optional<std::string_view> end = co_await rest.next();
      CHECK_FALSE(end.has_value());
      const std::vector<std::string> beyond = co_await chunks_of(Reader(file, 5000));
      CHECK(beyond.empty());
      co_await file.close();
    }
  });
}

TEST_CASE("Reader: text comes in whole characters, one at least") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "中文aé");
  const std::vector<std::pair<std::size_t, std::vector<std::string>>> cases = {
      {1, {"中", "文", "a", "é"}}, {2, {"中", "文", "a", "é"}}, {4, {"中", "文a", "é"}},
      {5, {"中", "文a", "é"}},     {6, {"中文", "aé"}},         {100, {"中文aé"}}};
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file = co_await AIOFile(path);
    for (const auto& [size, wanted] : cases) {
      INFO(size);
      const std::vector<std::string> chunks = co_await chunks_of(Reader(file, 0, size));
      CHECK(chunks == wanted);
    }
    co_await file.close();
  });
}

TEST_CASE("Reader: other encodings, at any chunk size") {
  const TemporaryDirectory directory;
  const std::string text = "中文aé😀\nend";
  support::on_every_backend([&](Context&) -> Task<> {
    {
      FileStream stream = co_await async_open(directory / "file", "w", {.encoding = "utf-16"});
      co_await stream.write(std::string_view(text));
      co_await stream.close();
    }
    AIOFile file = co_await AIOFile(directory / "file", "r", {.encoding = "utf-16"});
    for (std::size_t size = 1; size < 30; ++size) {
      const std::vector<std::string> chunks = co_await chunks_of(Reader(file, 0, size));
      std::string all;
      for (const std::string& chunk : chunks) {
        CHECK((chunk.size() <= size || aiofile::count_code_points(chunk) == 1));
        all += chunk;
      }
      CHECK(all == text);
    }
    co_await file.close();
  });
}

TEST_CASE("Reader: invalid text is an error behind the text before it") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "abcdef\xff");
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file = co_await AIOFile(path);
    Reader reader(file, 0, 4);
    CHECK_YIELDS(reader.read_chunk(), "abcd");
    CHECK_YIELDS(reader.read_chunk(), "ef");
    std::optional<std::uint64_t> offset;
    try {
      co_await reader.next();
    } catch (const aiofile::DecodeError& error) {
      offset = error.offset();
    }
    CHECK(offset == 6U);
    co_await file.close();
  });
}

TEST_CASE("Reader: concurrent calls get consecutive chunks in order") {
  const TemporaryDirectory directory;
  const std::string content = pattern(64 * 1000);
  const auto path = directory.file("file", content);
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file = co_await AIOFile(path, "rb");
    Reader reader(file, 0, 1000);
    const std::vector<int> numbers(64);
    const std::vector<std::string> chunks = co_await caio::gather(numbers, [&](int) { return reader.read_chunk(); });
    for (std::size_t i = 0; i < chunks.size(); ++i) CHECK(chunks[i] == content.substr(1000 * i, 1000));
    co_await file.close();
  });
}

TEST_CASE("Reader: 1000 writes in shuffled order, then exactly 1000 chunks") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file = co_await AIOFile(directory / "file", "w+");
    const std::string token = pattern(36);
    std::vector<std::uint64_t> order(1000);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i * 387 % 1000;
    co_await caio::gather(order, [&](std::uint64_t slot) { return file.write(token, slot * token.size()); });
    const std::vector<std::string> chunks = co_await chunks_of(Reader(file, 0, token.size()));
    CHECK((chunks == std::vector<std::string>(1000, token)));
    co_await file.close();
  });
}

TEST_CASE("Reader: holds the file while the AIOFile moves and goes") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "content");
  support::on_every_backend([&](Context&) -> Task<> {
    std::optional<Reader> reader;
    {
      AIOFile file = co_await AIOFile(path);
      reader.emplace(file, 0, 4);
      const AIOFile moved = std::move(file);
      CHECK_YIELDS(reader->read_chunk(), "cont");
    }
    CHECK_YIELDS(reader->read_chunk(), "ent");
    CHECK(outcome::descriptors_of(path) == 1);
    reader.reset();
    CHECK(outcome::descriptors_of(path) == 0);
  });
}

TEST_CASE("Reader: sees what a writer beside it has written") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file = co_await AIOFile(directory / "file", "w+");
    Writer writer(file);
    Reader reader(file, 0, 8);
    CHECK_YIELDS(reader.read_chunk(), "");
    std::string all;
    for (int i = 0; i < 50; ++i) {
      co_await writer("part " + std::to_string(100 + i));
      all += co_await reader.read_chunk();
    }
    CHECK(all.size() == 400);
    CHECK((all == support::content_of(directory / "file")));
    co_await file.close();
  });
}

TEST_CASE("Reader: a pipe gives what has come") {
  support::on_every_backend([](Context&) -> Task<> {
    Pipe pipe;
    AIOFile file = AIOFile::from_fd(pipe.reader.get(), "rb");
    Reader reader(file, 0, 16);
    CHECK(::write(pipe.writer.get(), "0123456789", 10) == 10);
    CHECK_YIELDS(reader.read_chunk(), "0123456789");
    CHECK(::write(pipe.writer.get(), pattern(40).data(), 40) == 40);
    CHECK_YIELDS(reader.read_chunk(), pattern(40).substr(0, 16));
    CHECK_YIELDS(reader.read_chunk(), pattern(40).substr(16, 16));
    pipe.writer.reset();
    CHECK_YIELDS(reader.read_chunk(), pattern(40).substr(32));
    CHECK_YIELDS(reader.read_chunk(), "");
    co_await file.close();
  });
}

TEST_CASE("Reader: wrong arguments are refused, and a closed file is EBADF") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "content");
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file(path);
    CHECK_THROWS_AS(Reader(file, 0, 0), std::invalid_argument);
    CHECK_THROWS_AS(Reader(file, ~std::uint64_t{0}), std::invalid_argument);
    Reader reader(file);
    CHECK_YIELDS(error_of(reader.read_chunk()), EBADF);  // not yet
    co_await file.open();
    CHECK_YIELDS(reader.read_chunk(), "content");
    co_await file.close();
    CHECK_YIELDS(error_of(reader.next()), EBADF);
  });
}

TEST_CASE("Reader: no allocation for a chunk") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", pattern(100'000));
  support::on_every_backend(
      [&](Context& context) -> Task<> {
        if (!support::counts_allocations) co_return;
        co_await context.offload([] {});  // starts the pool's only thread
        AIOFile file = co_await AIOFile(path, "rb");
        Reader reader(file, 0, 1000);
        for (int i = 0; i < 10; ++i) co_await reader.next();
        const std::size_t before = support::allocations();
        for (int i = 0; i < 80; ++i) co_await reader.next();
        CHECK(support::allocations() == before);
        co_await file.close();
      },
      {.pool_size = 1});
}
