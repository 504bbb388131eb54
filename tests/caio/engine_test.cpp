#include <caio/engine.hpp>

#include <fcntl.h>

#include <array>
#include <caio/context.hpp>
#include <caio/detail/frame_pool.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "caio/descriptors.hpp"
#include "caio/read_often.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Task;
using support::bytes_of;
using support::Pipe;
using support::read_often;
using support::room_in;
using support::TemporaryDirectory;
using namespace std::chrono_literals;

namespace {

struct alignas(4096) Page {
  std::array<std::byte, 4096> bytes{};
};

}  // namespace

TEST_CASE("Engine: an operation allocates nothing") {
  if (!caio::detail::recycles_frames) return;
  support::on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        const Descriptor file = co_await context.open(directory.file("file", std::string(4096, 'x')), O_RDWR);
        const Pipe pipe;
        const Descriptor reader(pipe.reader.get());
        const Descriptor writer(pipe.writer.get());
        std::string text(4096, '?');
        std::size_t before = 0;
        for (int i = 0; i < 1100; ++i) {
          if (i == 100) before = support::allocations();
          co_await context.read(file, room_in(text), 0);
          co_await context.write(file, bytes_of(text), 0);
          co_await context.write(writer, bytes_of("x"), -1);
          co_await context.read(reader, room_in(text).first(1), -1);
          co_await context.sleep_for(0s);
          co_await context.schedule();
        }
        const std::size_t after = support::allocations();
        CHECK(after == before);
        co_await context.close(file);
      },
      {.pool_size = 1});
}

TEST_CASE("Engine: an O_DIRECT read allocates nothing") {
  if (!caio::detail::recycles_frames) return;
  support::on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        const std::string path = directory.file("file", std::string(4096, 'x')).string();
        const support::Fd owner(::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
        if (!owner) co_return;  // a file system without O_DIRECT
        const Descriptor file(owner.get());
        auto page = std::make_unique<Page>();
        co_await read_often(context, file, page->bytes, 20);
        const std::size_t before = support::allocations();
        for (int i = 0; i < 100; ++i) co_await context.read(file, page->bytes, 0);
        const std::size_t after = support::allocations();
        CHECK(after == before);
        CHECK(page->bytes[4095] == std::byte{'x'});
      },
      {.pool_size = 1});
}

TEST_CASE("Engine: a child task allocates nothing") {
  if (!caio::detail::recycles_frames) return;
  support::on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        const Descriptor file = co_await context.open(directory.file("file", std::string(64, 'x')), O_RDONLY);
        std::string text(64, '?');
        for (int i = 0; i < 20; ++i) co_await read_often(context, file, room_in(text), 1);
        const std::size_t before = support::allocations();
        for (int i = 0; i < 200; ++i) co_await read_often(context, file, room_in(text), 1);
        const std::size_t after = support::allocations();
        CHECK(after == before);
        co_await context.close(file);
      },
      {.pool_size = 1});
}
