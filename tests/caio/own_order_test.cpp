// What has a position or an order of its own keeps it: reads and writes at offset -1, and the readers of one pipe.

#include <sys/mman.h>
#include <unistd.h>

#include <caio/context.hpp>
#include <caio/task_group.hpp>
#include <string>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"

using caio::Context;
using caio::Task;
using caio::TaskGroup;
using support::bytes_of;
using support::Fd;
using support::on_every_backend;
using support::Pipe;
using support::room_in;

namespace {

Task<> note_byte(Context& context, int fd, char reader, std::string& notes) {
  std::string byte(1, '?');
  const std::size_t count = co_await context.read(fd, room_in(byte), -1);
  notes += reader;
  notes += count == 1 ? byte : "-";
}

}  // namespace

// Such a file refuses NOWAIT, and a worker of io_uring does not move its position.
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
