#include <caio/backends/blocking.hpp>

#include <fcntl.h>
#include <caio/context.hpp>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Implementation;
using caio::Task;

namespace {

std::size_t threads() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++count;
  return count;
}

}  // namespace

TEST_CASE("BlockingBackend: files need no thread") {
  const support::TemporaryDirectory directory;
  const std::size_t before = threads();
  Context context(Implementation::blocking, {.speculate = false});
  context.run([](Context& each, std::filesystem::path path) -> Task<> {
    const caio::Descriptor file = co_await each.open(std::move(path), O_RDWR | O_CREAT);
    const std::size_t written = co_await each.write(file, support::bytes_of("hello"), 0);
    CHECK(written == 5);
    std::string text(5, '?');
    const std::size_t read = co_await each.read(file, support::room_in(text), 0);
    CHECK(read == 5);
    CHECK(text == "hello");
    co_await each.fsync(file);
    co_await each.close(file);
  }(context, directory / "file"));
  CHECK(threads() <= before);  // those of tests before may be ending
  CHECK(context.stats().pooled == 0);
  CHECK(context.stats().handed_over == 5);
}

TEST_CASE("BlockingBackend: a pipe that waits does not hold up the loop") {
  Context context(Implementation::blocking);
  context.run([](Context& each) -> Task<> {
    const support::Pipe pipe;
    const auto read = [](Context& mine, int fd) -> Task<std::size_t> {
      std::string text(10, '?');
      const std::size_t count = co_await mine.read(fd, support::room_in(text), -1);
      co_return count;
    };
    const auto write = [](Context& mine, int fd) -> Task<> {
      co_await mine.sleep_for(std::chrono::milliseconds(1));
      co_await mine.write(fd, support::bytes_of("late"), -1);
    };
    const auto [count] = co_await caio::gather(read(each, pipe.reader.get()), write(each, pipe.writer.get()));
    CHECK(count == 4);
  }(context));
}
