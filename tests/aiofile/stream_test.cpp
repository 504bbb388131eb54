#include <aiofile/stream.hpp>

#include <pty.h>

#include <aiofile/async_open.hpp>
#include <caio/gather.hpp>
#include <caio/result.hpp>
#include <caio/task_group.hpp>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "held_backend.hpp"
#include "outcome.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/simulated.hpp"
#include "support/temporary.hpp"

using aiofile::async_open;
using aiofile::FileStream;
using aiofile::Reader;
using caio::Context;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using outcome::pattern;
using outcome::store;
using support::TemporaryDirectory;

TEST_CASE("FileStream: says what it is") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "content");
  support::on_every_backend([&](Context& context) -> Task<> {
    FileStream stream = co_await async_open(path, "rb+");
    CHECK(stream.readable());
    CHECK(stream.writable());
    CHECK(stream.seekable());
    CHECK_FALSE(stream.isatty());
    CHECK_FALSE(stream.closed());
    CHECK(outcome::is_open(stream.fileno()));
    CHECK(stream.mode() == aiofile::parse_mode("rb+"));
    CHECK(stream.name() == path);
    CHECK(&stream.file().context() == &context);
    FileStream moved = std::move(stream);
    CHECK_YIELDS(moved.read(3), "con");
    const int fd = moved.fileno();
    co_await moved.close();
    CHECK(moved.closed());
    CHECK(moved.fileno() == -1);
    CHECK_FALSE(outcome::is_open(fd));
    CHECK_FALSE(moved.seekable());
    co_await moved.close();
  });
}

TEST_CASE("FileStream: over a file that was not opened, everything is EBADF") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "content");
  support::on_every_backend([&](Context&) -> Task<> {
    for (const char* const mode : {"r", "r+", "w", "a", "a+b"}) {
      FileStream stream(aiofile::AIOFile(path, mode), 100);
      CHECK(stream.tell() == 0);
      CHECK(stream.closed());
      CHECK_FALSE(stream.seekable());
      CHECK_YIELDS(error_of(stream.read()), EBADF);
      CHECK_YIELDS(error_of(stream.readline()), EBADF);
      CHECK_YIELDS(error_of(stream.write("x")), EBADF);
      CHECK_YIELDS(error_of(stream.seek(0, aiofile::Whence::end)), EBADF);
      CHECK_YIELDS(error_of(stream.truncate()), EBADF);
      CHECK_YIELDS(error_of(stream.flush()), EBADF);
      CHECK_THROWS_AS(stream.seek(1), aiofile::FileError);
      CHECK_THROWS_AS(stream.clone(), aiofile::FileError);
      co_await stream.close();
    }
    CHECK(support::content_of(path) == "content");
  });
}

TEST_CASE("FileStream: closed by its end") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "content");
  support::on_every_backend([&](Context&) -> Task<> {
    {
      FileStream stream = co_await async_open(path);
      co_await stream.read(1);
      CHECK(outcome::descriptors_of(path) == 1);
    }
    CHECK(outcome::descriptors_of(path) == 0);
  });
}

TEST_CASE("FileStream: clones share the descriptor, not the position") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "0123456789");
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path, "r+");
    CHECK_YIELDS(stream.read(5), "01234");
    FileStream first = stream.clone();
    FileStream second = clone(stream);
    CHECK(first.tell() == 0);
    CHECK(first.fileno() == stream.fileno());
    CHECK_YIELDS(first.read(3), "012");
    CHECK_YIELDS(stream.read(2), "56");
    CHECK_YIELDS(second.read(), "0123456789");
    CHECK_YIELDS(first.read(3), "345");
    co_await stream.write("X");
    CHECK_YIELDS(first.read(3), "6X8");  // although it had read ahead
    co_await first.close();
    CHECK_YIELDS(error_of(first.read(1)), EBADF);
    CHECK_YIELDS(stream.read(), "89");
    co_await stream.close();
    second.seek(7);
    CHECK_YIELDS(second.read(1), "X");
    second.seek(7);
    co_await second.write("7");
    co_await second.close();
    CHECK(outcome::descriptors_of(path) == 0);
    bool refused = false;
    try {
      static_cast<void>(second.clone());
    } catch (const aiofile::FileError& error) {
      refused = error.code().value() == EBADF;
    }
    CHECK(refused);
  });
}

TEST_CASE("FileStream: readline over the far side of what is read ahead, like a loop of read(1)") {
  const TemporaryDirectory directory;
  std::string content = "Hello\nworld\n";
  for (int i = 0; i < 10'000; ++i) content += 'h';
  const auto path = directory.file("file", content);
  support::on_every_backend([&](Context&) -> Task<> {
    for (const char* const mode : {"r", "rb"}) {
      FileStream stream = co_await async_open(path, mode);
      CHECK_YIELDS(stream.readline(), "Hello\n");
      CHECK_YIELDS(stream.readline(), "world\n");
      CHECK_YIELDS(stream.readline(), std::string(10'000, 'h'));
      CHECK_YIELDS(stream.readline(), "");
      stream.seek(0);
      std::string all;
      for (;;) {
        const std::string one = co_await stream.read(1);
        if (one.empty()) break;
        all += one;
      }
      CHECK((all == content));
      co_await stream.close();
    }
  });
}

TEST_CASE("FileStream: chunks from the position on, mixed with other operations") {
  const TemporaryDirectory directory;
  const std::string content = pattern(24'000);
  const auto path = directory.file("file", content);
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path, "rb");
    CHECK_YIELDS(stream.read(5), content.substr(0, 5));
    Reader chunks = stream.iter_chunked(1000);
    CHECK_YIELDS(chunks.read_chunk(), content.substr(5, 1000));
    CHECK(stream.tell() == 1005);
    CHECK_YIELDS(stream.read(2), content.substr(1005, 2));
    std::string rest;
    while (const auto chunk = co_await chunks.next()) rest += *chunk;
    CHECK((rest == content.substr(1007)));
    CHECK_THROWS_AS(stream.iter_chunked(0), std::invalid_argument);
    co_await stream.close();
  });
}

TEST_CASE("FileStream: its object may go while an operation runs") {
  const TemporaryDirectory directory;
  const std::string content = pattern(300'000);
  const auto path = directory.file("file", content);
  support::on_every_backend([&](Context&) -> Task<> {
    std::string text;
    int error = -1;
    TaskGroup group;
    {
      auto stream = std::make_unique<FileStream>(co_await async_open(path, "rb"));
      group.spawn(store(*stream, -1, text, error));
    }
    co_await group.join();
    CHECK(error == 0);
    CHECK((text == content));
    CHECK(outcome::descriptors_of(path) == 0);
  });
}

TEST_CASE("FileStream: a terminal works like a file, but for its position") {
  support::on_every_backend([](Context&) -> Task<> {
    int master = -1;
    int slave = -1;
    REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
    const support::Fd first(master);
    const support::Fd second(slave);
    FileStream stream = co_await async_open(slave, "r+");
    CHECK(stream.isatty());
    CHECK_FALSE(stream.seekable());
    CHECK(::write(master, "typed\nmore\n", 11) == 11);
    CHECK_YIELDS(stream.readline(), "typed\n");
    co_await stream.write("answer\n");
    CHECK_YIELDS(stream.readline(), "more\n");  // read ahead before the write
    FileStream other_end = co_await async_open(master, "rb");
    std::string seen;
    while (seen.find("answer") == std::string::npos) seen += co_await other_end.read(1);
    co_await other_end.close();
    co_await stream.close();
  });
}

TEST_CASE("FileStream: no allocation for reads into memory and for buffered writes") {
  const TemporaryDirectory directory;
  support::on_every_backend(
      [&](Context& context) -> Task<> {
        if (!support::counts_allocations) co_return;
        co_await context.offload([] {});  // starts the pool's only thread
        FileStream stream = co_await async_open(directory / "file", "wb+", {.buffering = 1000});
        std::vector<std::byte> memory(70);
        for (int i = 0; i < 100; ++i) co_await stream.write("0123456789");
        stream.seek(0);
        for (int i = 0; i < 2; ++i) co_await stream.read_into(memory);
        const std::size_t before = support::allocations();
        for (int i = 0; i < 10; ++i) co_await stream.read_into(memory);
        stream.seek(0);
        for (int i = 0; i < 100; ++i) co_await stream.write("9876543210");
        CHECK(support::allocations() == before);
        co_await stream.close();
      },
      {.pool_size = 1});
}

// ---- a simulated file system against a string -----------------------------------------------------------------------

namespace {

/// What a stream is to do, in memory.
struct Model {
  std::string content;
  std::size_t position = 0;

  std::string read(std::int64_t size) {
    const std::size_t from = std::min(position, content.size());
    const std::string text = content.substr(from, size < 0 ? std::string::npos : static_cast<std::size_t>(size));
    position += text.size();
    return text;
  }
  std::string readline() {
    const std::size_t from = std::min(position, content.size());
    const std::size_t end = content.find('\n', from);
    return read(static_cast<std::int64_t>((end == std::string::npos ? content.size() : end + 1) - from));
  }
  void write(std::string_view text) {
    if (content.size() < position + text.size()) content.resize(position + text.size());
    content.replace(position, text.size(), text);
    position += text.size();
  }
};

/// Random operations; those that fail move nothing. Gives the number of differences.
Task<int> simulate(std::uint64_t seed, Model& model, std::size_t buffering) {
  std::mt19937_64 random(seed);
  auto opened = co_await caio::as_result(async_open("file", "w+b", {.buffering = buffering}));
  while (!opened) opened = co_await caio::as_result(async_open("file", "w+b", {.buffering = buffering}));
  FileStream stream = std::move(opened).value();
  int differences = 0;
  for (int step = 0; step < 60; ++step) {
    const std::size_t before = model.position;
    const std::string kept = model.content;
    std::string wanted;
    std::string got;
    bool failed = false;
    try {
      switch (random() % 5) {
        case 0: {
          const auto size = static_cast<std::int64_t>(random() % 40) - 1;
          wanted = model.read(size);
          got = co_await stream.read(size);
          break;
        }
        case 1:
          wanted = model.readline();
          got = co_await stream.readline();
          break;
        case 2:
        case 3: {
          std::string text = pattern(random() % 30, static_cast<unsigned>(step));
          if (random() % 2 == 0) text += '\n';
          model.write(text);
          co_await stream.write(std::string_view(text));
          break;
        }
        default:
          model.position = random() % (model.content.size() + 1);
          stream.seek(static_cast<std::int64_t>(model.position));
          break;
      }
    } catch (const aiofile::FileError&) {
      failed = true;
    }
    if (failed) {
      model.position = before;
      if (model.content == kept) continue;
      // A write that has failed may have come some way: write it until it is done.
      const std::string tried = std::exchange(model.content, kept);
      stream.seek(static_cast<std::int64_t>(before));
      while (co_await error_of(stream.flush()) != 0) {
      }
      while (co_await error_of(stream.write(std::string_view(tried).substr(before))) != 0) {
      }
      model.content = tried;
      model.position = tried.size();
      continue;
    }
    differences += got != wanted;
    differences += stream.tell() != model.position;
  }
  while (co_await error_of(stream.flush()) != 0) {
  }
  static_cast<void>(co_await error_of(stream.close()));
  co_return differences;
}

}  // namespace

TEST_CASE("FileStream: short counts, plumbing and errors in any order change nothing that is seen") {
  int differences = 0;
  std::size_t errors = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    for (const std::size_t buffering : {0U, 16U, 1000U}) {
      caio::testing::MemoryFiles files;
      auto made = support::simulated(
          files, seed, {.short_counts = 40, .interruptions = 20, .errors = seed % 3 == 0 ? 5U : 0U, .delays = 50});
      const caio::testing::FaultBackend& faults = *made;
      Context context(std::move(made));
      Model model;
      INFO("seed " << seed << ", buffering " << buffering);
      differences = context.run(simulate(seed, model, buffering));
      errors += faults.counts().errors;
      CHECK(differences == 0);
      CHECK((files.content("file") == model.content));
      if (differences > 0) return;
    }
  }
  CHECK(errors > 100);
}
