// Many operations at once: each ends once, none fails, nothing is held up.

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <caio/context.hpp>
#include <cstdlib>
#include <vector>

#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Task;

namespace {

constexpr std::size_t block = 16;

/// CAIO_TEST_LARGE=1: as many as the library promises; else fewer, for every day.
std::size_t scaled(std::size_t count) {
  const char* const large = std::getenv("CAIO_TEST_LARGE");
  return large != nullptr && *large == '1' ? count : count / 50;
}

std::span<std::byte> block_of(std::vector<std::byte>& memory, std::size_t index) {
  return std::span(memory).subspan(index * block, block);
}

Task<> read_one(Context& context, const Descriptor& file, std::span<std::byte> memory, std::size_t index,
                std::size_t& ended) {
  const std::size_t count = co_await context.read(file, memory, static_cast<std::int64_t>(index % 256 * block));
  if (count == block && memory[0] == static_cast<std::byte>(index % 256)) ++ended;
}

void read_many(Context& context, std::size_t count) {
  const support::TemporaryDirectory directory;
  std::string content;
  for (int i = 0; i < 256; ++i) content.append(block, static_cast<char>(i));
  const Descriptor file(::open(directory.file("file", content).c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<std::byte> memory(count * block);
  std::size_t ended = 0;
  auto all = [&]() -> Task<> {
    std::vector<Task<>> reads;
    reads.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      reads.push_back(read_one(context, file, block_of(memory, i), i, ended));
    }
    co_await caio::gather(std::move(reads));
  };
  context.run(all());
  CHECK(ended == count);
  CHECK(context.stats().submitted == count);
  CHECK(context.stats().max_in_flight <= context.stats().submitted);
  ::close(file.fileno());
}

}  // namespace

TEST_CASE("Load: a million operations over a context that admits eight") {
  support::on_every_backend(
      [](Context& context) {
        read_many(context, scaled(1'000'000));
        CHECK(context.stats().max_in_flight <= 8);
      },
      {.max_requests = 8});
}

TEST_CASE("Load: a hundred thousand operations over a context of the default size") {
  support::on_every_backend([](Context& context) {
    read_many(context, scaled(100'000));
    CHECK(context.stats().max_in_flight <= 512);
  });
}

TEST_CASE("Load: a thousand reads of idle pipes hold nothing up") {
  support::on_every_backend(
      [](Context& context) {
        std::vector<std::array<int, 2>> pipes(400);
        for (auto& ends : pipes) REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
        std::size_t heard = 0;
        auto listen = [](Context& c, int fd, std::size_t& count) -> Task<> {
          std::byte letter{};
          count += co_await c.read(fd, std::span(&letter, 1), -1);
        };
        for (const auto& ends : pipes) {
          for (int i = 0; i < 3 && heard == 0; ++i) context.spawn(listen(context, ends[0], heard));
        }
        const support::TemporaryDirectory directory;
        const Descriptor file(::open(directory.file("file", "0123456789abcdef").c_str(), O_RDONLY | O_CLOEXEC));
        auto work = [&]() -> Task<> {
          std::array<std::byte, block> memory;
          for (int i = 0; i < 100; ++i) {
            const std::size_t count = co_await context.read(file, memory, 0);
            REQUIRE(count == block);
          }
        };
        context.run(work());
        auto settle = [&]() -> Task<> {
          while (context.stats().parked < 1200) co_await context.schedule();
        };
        context.run(settle());
        CHECK(heard == 0);
        CHECK(context.stats().parked == 1200);
        auto speak = [&]() -> Task<> {
          for (const auto& ends : pipes) {
            const std::size_t count = co_await context.write(ends[1], std::as_bytes(std::span("abc", 3)), -1);
            REQUIRE(count == 3);
          }
          while (heard < 1200) co_await context.sleep_for(std::chrono::milliseconds(1));
        };
        context.run(speak());
        for (const auto& ends : pipes) {
          ::close(ends[0]);
          ::close(ends[1]);
        }
        ::close(file.fileno());
      },
      {.max_requests = 4});
}
