// What has a position or an order of its own keeps it: reads and writes at offset -1, and the readers of one pipe.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <caio/context.hpp>
#include <caio/task_group.hpp>
#include <cstddef>
#include <memory>
#include <string>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Task;
using caio::TaskGroup;
using support::bytes_of;
using support::Fd;
using support::on_every_backend;
using support::Pipe;
using support::room_in;
using support::TemporaryDirectory;

namespace {

struct alignas(4096) Block {
  std::array<std::byte, 4096> bytes{};
  static constexpr std::size_t size() { return 4096; }
};

Task<> note_byte(Context& context, int fd, char reader, std::string& notes) {
  std::string byte(1, '?');
  const std::size_t count = co_await context.read(fd, room_in(byte), -1);
  notes += reader;
  notes += count == 1 ? byte : "-";
}

}  // namespace

// Such a file refuses NOWAIT: a ring gives it to a worker.
TEST_CASE("Own order: offset -1 moves the position of a file in memory, too") {
  on_every_backend([](Context& context) -> Task<> {
    const Fd file(::memfd_create("own-order", MFD_CLOEXEC));
    REQUIRE(::pwrite(file.get(), "firstother", 10, 0) == 10);
    std::string text(5, '\0');
    CHECK_YIELDS(context.read(file.get(), room_in(text), -1), 5U);
    CHECK(text == "first");
    CHECK(::lseek(file.get(), 0, SEEK_CUR) == 5);
    CHECK_YIELDS(context.write(file.get(), bytes_of("third"), -1), 5U);
    CHECK_YIELDS(context.write(file.get(), bytes_of("fourth"), -1), 6U);
    CHECK(::lseek(file.get(), 0, SEEK_CUR) == 16);
    REQUIRE(::lseek(file.get(), 0, SEEK_SET) == 0);
    text.resize(16);
    CHECK_YIELDS(context.read(file.get(), room_in(text), -1), 16U);
    CHECK(text == "firstthirdfourth");
  });
}

// A ring's read of the device ends long after its submission, and would not move the position either.
TEST_CASE("Own order: offset -1 moves the position of an O_DIRECT file, too") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", std::string(Block::size(), '1') + std::string(Block::size(), '2'));
  on_every_backend([&](Context& context) -> Task<> {
    const Fd file(::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    if (!file) co_return;  // a file system without O_DIRECT
    const auto block = std::make_unique<Block>();
    for (const char wanted : {'1', '2'}) {
      CHECK_YIELDS(context.read(file.get(), block->bytes, -1), Block::size());
      CHECK(block->bytes.back() == static_cast<std::byte>(wanted));
    }
    CHECK_YIELDS(context.read(file.get(), block->bytes, -1), 0U);
  });
}

TEST_CASE("Own order: a read of a pipe that could go at once queues behind the one that waits") {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    std::string notes;
    TaskGroup group;
    group.spawn(note_byte(context, pipe.reader.get(), 'a', notes));
    REQUIRE(::write(pipe.writer.get(), "12", 2) == 2);
    group.spawn(note_byte(context, pipe.reader.get(), 'b', notes));
    co_await group.join();
    CHECK(notes == "a1b2");
  });
}
