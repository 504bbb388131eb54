#include <caio/context.hpp>

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <caio/task_group.hpp>

#include <array>
#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::ContextStats;
using caio::Descriptor;
using caio::gather;
using caio::Task;
using caio::TaskGroup;
using support::bytes_of;
using support::errno_of;
using support::numbers;
using support::on_every_backend;
using support::Pipe;
using support::room_in;
using support::TemporaryDirectory;
using namespace std::chrono_literals;

namespace {

constexpr int read_write = O_RDWR | O_CREAT;

/// Everything that reads give until the end.
Task<std::string> read_all(Context& context, const Descriptor& descriptor) {
  std::string all;
  std::string chunk(4096, '\0');
  for (;;) {
    const std::size_t count = co_await context.read(descriptor, room_in(chunk), -1);
    if (count == 0) co_return all;
    all.append(chunk, 0, count);
  }
}

Task<std::string> read_some(Context& context, int fd, std::size_t size) {
  std::string text(size, '\0');
  const std::size_t count = co_await context.read(fd, room_in(text), -1);
  text.resize(count);
  co_return text;
}

Task<> write_all(Context& context, const Descriptor& descriptor, std::string_view text) {
  while (!text.empty()) {
    const std::size_t count = co_await context.write(descriptor, bytes_of(text), -1);
    text.remove_prefix(count);
  }
}

struct Alive {
  explicit Alive(int& count) : count_(&count) { ++*count_; }
  Alive(const Alive& other) : count_(other.count_) { ++*count_; }
  Alive& operator=(const Alive&) = delete;
  ~Alive() { --*count_; }
  int* count_;
};

Task<> sleep_with(Context& context, Alive) { co_await context.sleep_for(1h); }

Task<> note_at(Context& context, caio::TimePoint time, int mark, std::vector<int>& order) {
  co_await context.sleep_until(time);
  order.push_back(mark);
}

std::string block(int number, std::size_t size) {
  std::string text = std::to_string(number) + ":";
  text.resize(size, static_cast<char>('a' + number % 26));
  return text;
}

Task<> write_and_read_block(Context& context, const Descriptor& file, int number, std::size_t size) {
  const std::string text = block(number, size);
  const std::int64_t offset = number * static_cast<std::int64_t>(size);
  const std::size_t written = co_await context.write(file, bytes_of(text), offset);
  std::string back(size, '\0');
  const std::size_t read = co_await context.read(file, room_in(back), offset);
  if (written != size || read != size || back != text) throw std::runtime_error("block " + std::to_string(number));
}

/// Suspends, and is resumed by a thread of its own through post().
class ThreadPost {
 public:
  explicit ThreadPost(Context& context) : context_(&context) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    thread_ = std::jthread([context = context_, waiter] { context->post(waiter); });
  }
  void await_resume() const {}

 private:
  Context* context_;
  std::jthread thread_;
};

}  // namespace

// --- reading and writing

TEST_CASE("Context: what was written is read back") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write);
    const std::size_t written = co_await context.write(file, bytes_of("hello world"), 0);
    CHECK(written == 11);
    std::string text(5, '?');
    const std::size_t read = co_await context.read(file, room_in(text), 6);
    CHECK(read == 5);
    CHECK(text == "world");
    co_await context.close(file);
    CHECK(support::content_of(directory / "file") == "hello world");
  });
}

TEST_CASE("Context: takes plain descriptors") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const support::Fd file(::open((directory / "file").c_str(), read_write | O_CLOEXEC, 0600));
    const std::size_t written = co_await context.write(file.get(), bytes_of("abc"), 2);
    CHECK(written == 3);
    co_await context.fsync(file.get());
    std::string text(9, '?');
    const std::size_t read = co_await context.read(file.get(), room_in(text), 0);
    CHECK(text.substr(0, read) == std::string("\0\0abc", 5));
  });
}

TEST_CASE("Context: zero bytes are read and written at once") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file(::open(directory.file("file", "abc").c_str(), O_RDWR | O_CLOEXEC));
    const std::size_t written = co_await context.write(file, {}, 100);
    CHECK(written == 0);
    const std::size_t read = co_await context.read(file, {}, 0);
    CHECK(read == 0);
    const std::size_t none = co_await context.readv(file, {}, 0);
    CHECK(none == 0);
    co_await context.close(file);
    CHECK(support::content_of(directory / "file") == "abc");
  });
}

TEST_CASE("Context: a read at the end is short and beyond it gives 0") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", "0123456789"), O_RDONLY);
    std::string text(200, '?');
    const std::size_t at_end = co_await context.read(file, room_in(text), 7);
    CHECK(at_end == 3);
    CHECK(text.starts_with("789?"));
    for (const std::int64_t offset : {std::int64_t{10}, std::int64_t{11}, std::int64_t{1} << 40}) {
      const std::size_t beyond = co_await context.read(file, room_in(text), offset);
      CHECK(beyond == 0);
    }
    co_await context.close(file);
  });
}

TEST_CASE("Context: an empty file gives nothing") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", ""), O_RDONLY);
    std::string text(10, '?');
    const std::size_t count = co_await context.read(file, room_in(text), 0);
    CHECK(count == 0);
    co_await context.close(file);
  });
}

TEST_CASE("Context: a write far beyond the end leaves a hole of zeros") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write);
    constexpr std::int64_t far = 5LL << 30;
    const std::size_t written = co_await context.write(file, bytes_of("x"), far);
    CHECK(written == 1);
    CHECK(std::filesystem::file_size(directory / "file") == far + 1);
    std::string text(100, '?');
    const std::size_t read = co_await context.read(file, room_in(text), far - 99);
    CHECK(read == 100);
    CHECK(text == std::string(99, '\0') + "x");
    co_await context.close(file);
  });
}

TEST_CASE("Context: gathers from and scatters to many buffers") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write);
    std::vector<std::string> parts;
    std::vector<::iovec> vectors;
    for (int i = 0; i < 100; ++i) parts.push_back(block(i, static_cast<std::size_t>(i + 4)));
    for (std::string& part : parts) vectors.push_back({part.data(), part.size()});
    const std::size_t written = co_await context.writev(file, vectors, 10);
    CHECK(written == 100 * 4 + 99 * 100 / 2);
    std::string first(10 + 4, '?');
    std::string second(5, '?');
    const std::array<::iovec, 2> into{{{first.data(), first.size()}, {second.data(), second.size()}}};
    const std::size_t read = co_await context.readv(file, into, 0);
    CHECK(read == 19);
    CHECK(first == std::string(10, '\0') + parts[0]);
    CHECK(second == parts[1]);
    co_await context.close(file);
  });
}

TEST_CASE("Context: offset -1 means the file's own position") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write);
    const std::size_t first = co_await context.write(file, bytes_of("hello "), -1);
    const std::size_t second = co_await context.write(file, bytes_of("world"), -1);
    CHECK(first + second == 11);
    ::lseek(file.fileno(), 4, SEEK_SET);
    std::string text(3, '?');
    const std::size_t third = co_await context.read(file, room_in(text), -1);
    CHECK(third == 3);
    CHECK(text == "o w");
    ::iovec vector{text.data(), 2};
    const std::size_t fourth = co_await context.readv(file, std::span(&vector, 1), -1);
    CHECK(fourth == 2);
    CHECK(text == "orw");
    CHECK(::lseek(file.fileno(), 0, SEEK_CUR) == 9);
    co_await context.close(file);
  });
}

TEST_CASE("Context: other negative offsets are refused by the call") {
  Context context(caio::Implementation::blocking);
  std::string text(1, '?');
  CHECK_THROWS_AS(context.read(0, room_in(text), -2), std::invalid_argument);
  CHECK_THROWS_AS(context.write(0, bytes_of(text), -2), std::invalid_argument);
  CHECK(context.stats().submitted == 0);
}

TEST_CASE("Context: O_APPEND writes go to the end whatever the offset") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", "0123"), O_WRONLY | O_APPEND);
    const std::size_t written = co_await context.write(file, bytes_of("45"), 0);
    CHECK(written == 2);
    co_await context.close(file);
    CHECK(support::content_of(directory / "file") == "012345");
  });
}

TEST_CASE("Context: 4 MiB in one write and one read") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write);
    std::string text(4 << 20, '\0');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 >> 5);
    const std::size_t written = co_await context.write(file, bytes_of(text), 0);
    CHECK(written == text.size());
    std::string back(text.size() + 1, '?');
    const std::size_t read = co_await context.read(file, room_in(back), 0);
    CHECK(read == text.size());
    back.pop_back();
    CHECK(back == text);
    co_await context.close(file);
  });
}

TEST_CASE("Context: syncs files and refuses what cannot be synced") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write);
    co_await context.write(file, bytes_of("abc"), 0);
    co_await context.fsync(file);
    co_await context.fdsync(file);
    co_await context.close(file);
    const Pipe pipe;
    const int on_pipe = co_await errno_of(context.fsync(pipe.writer.get()));
    CHECK(on_pipe == EINVAL);
    const int on_nothing = co_await errno_of(context.fdsync(-1));
    CHECK(on_nothing == EBADF);
  });
}

// --- opening and closing

TEST_CASE("Context: an open that fails gives the errno of open(2)") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::filesystem::path file = directory.file("file", "abc");
    const int missing = co_await errno_of(context.open(directory / "missing", O_RDONLY));
    CHECK(missing == ENOENT);
    const int existing = co_await errno_of(context.open(file, O_RDWR | O_CREAT | O_EXCL));
    CHECK(existing == EEXIST);
    const int not_directory = co_await errno_of(context.open(file, O_RDONLY | O_DIRECTORY));
    CHECK(not_directory == ENOTDIR);
    const int directory_written = co_await errno_of(context.open(directory.path(), O_WRONLY));
    CHECK(directory_written == EISDIR);
    const int too_long = co_await errno_of(context.open(directory / std::string(300, 'x'), O_RDONLY));
    CHECK(too_long == ENAMETOOLONG);
    const int empty = co_await errno_of(context.open("", O_RDONLY));
    CHECK(empty == ENOENT);
  });
}

TEST_CASE("Context: open adds O_CLOEXEC and nothing that can be seen") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", O_WRONLY | O_CREAT | O_APPEND);
    CHECK(::fcntl(file.fileno(), F_GETFD) == FD_CLOEXEC);
    CHECK((::fcntl(file.fileno(), F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK)) == (O_WRONLY | O_APPEND));
    CHECK(file.append());
    CHECK(file.kind() == Descriptor::Kind::regular);
    co_await context.close(file);
  });
}

TEST_CASE("Context: open creates with the permissions that were asked for") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write, 0640);
    struct ::stat status;
    ::fstat(file.fileno(), &status);
    const ::mode_t mask = ::umask(0);
    ::umask(mask);
    CHECK((status.st_mode & 0777) == (0640 & ~mask));
    co_await context.close(file);
  });
}

TEST_CASE("Context: close lets go of the descriptor, and twice is EBADF") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write);
    CHECK(support::descriptors_on(directory.path()) == 1);
    co_await context.close(file);
    CHECK(support::descriptors_on(directory.path()) == 0);
    const int again = co_await errno_of(context.close(file));
    CHECK(again == EBADF);
  });
}

// --- errors

TEST_CASE("Context: a bad descriptor is EBADF in every operation") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor closed = co_await context.open(directory / "file", read_write);
    co_await context.close(closed);
    std::string text(8, '?');
    ::iovec vector{text.data(), text.size()};
    const std::span<const ::iovec> vectors(&vector, 1);
    const int read = co_await errno_of(context.read(closed, room_in(text), 0));
    CHECK(read == EBADF);
    const int write = co_await errno_of(context.write(closed, bytes_of(text), 0));
    CHECK(write == EBADF);
    const int readv = co_await errno_of(context.readv(closed, vectors, 0));
    CHECK(readv == EBADF);
    const int writev = co_await errno_of(context.writev(closed, vectors, -1));
    CHECK(writev == EBADF);
    const int fsync = co_await errno_of(context.fsync(closed));
    CHECK(fsync == EBADF);
    const int number = co_await errno_of(context.read(-1, room_in(text), 0));
    CHECK(number == EBADF);
  });
}

TEST_CASE("Context: the wrong access is EBADF and a directory is EISDIR") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", "abc"), O_RDONLY);
    const Descriptor folder = co_await context.open(directory.path(), O_RDONLY | O_DIRECTORY);
    std::string text(8, '?');
    const int write = co_await errno_of(context.write(file, bytes_of(text), 0));
    CHECK(write == EBADF);
    const int read = co_await errno_of(context.read(folder, room_in(text), 0));
    CHECK(read == EISDIR);
    co_await context.close(file);
    co_await context.close(folder);
  });
}

TEST_CASE("Context: a buffer outside of memory is EFAULT") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", "abc"), O_RDWR);
    const std::span<std::byte> nowhere(reinterpret_cast<std::byte*>(std::uintptr_t{8}), 16);
    const int read = co_await errno_of(context.read(file, nowhere, 0));
    CHECK(read == EFAULT);
    const int write = co_await errno_of(context.write(file, nowhere, 0));
    CHECK(write == EFAULT);
    co_await context.close(file);
  });
}

TEST_CASE("Context: a full device is ENOSPC") {
  on_every_backend([](Context& context) -> Task<> {
    const Descriptor full = co_await context.open("/dev/full", O_WRONLY);
    const int at_position = co_await errno_of(context.write(full, bytes_of("x"), -1));
    CHECK(at_position == ENOSPC);
    const int at_offset = co_await errno_of(context.write(full, bytes_of("x"), 0));
    CHECK(at_offset == ENOSPC);
    co_await context.close(full);
  });
}

TEST_CASE("Context: of 100 operations at once the wrong ones fail alone") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write);
    const Descriptor folder = co_await context.open(directory.path(), O_RDONLY | O_DIRECTORY);
    co_await context.write(file, bytes_of(std::string(100, 'x')), 0);
    std::vector<std::string> texts(100, std::string(1, '?'));
    const std::vector<int> errors = co_await gather(numbers(100), [&](int i) {
      const Descriptor& target = i % 10 == 3 ? folder : file;
      std::string& text = texts[static_cast<std::size_t>(i)];
      if (i % 10 == 7) return errno_of(context.read(-1, room_in(text), i));
      return errno_of(context.read(target, room_in(text), i));
    });
    for (int i = 0; i < 100; ++i) {
      INFO("operation " << i);
      const int expected = i % 10 == 3 ? EISDIR : i % 10 == 7 ? EBADF : 0;
      CHECK(errors[static_cast<std::size_t>(i)] == expected);
      CHECK(texts[static_cast<std::size_t>(i)] == (expected == 0 ? "x" : "?"));
    }
    co_await context.close(file);
    co_await context.close(folder);
  });
}

// --- many at once

TEST_CASE("Context: 40 parallel transfers with room for one or two wait their turn") {
  const unsigned room = GENERATE(1U, 2U);
  DYNAMIC_SECTION("room for " << room) {
    on_every_backend(
        [](Context& context) -> Task<> {
          const TemporaryDirectory directory;
          const Descriptor file = co_await context.open(directory / "file", read_write);
          co_await gather(numbers(40), [&](int i) { return write_and_read_block(context, file, i, 4096); });
          co_await context.close(file);
          std::string expected;
          for (int i = 0; i < 40; ++i) expected += block(i, 4096);
          CHECK(support::content_of(directory / "file") == expected);
        },
        {.max_requests = room});
  }
}

TEST_CASE("Context: no more than max_requests are in flight") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      Context context(implementation, {.max_requests = 2, .speculate = false});
      context.run([](Context& each) -> Task<> {
        const TemporaryDirectory directory;
        const Descriptor file = co_await each.open(directory / "file", read_write);
        co_await gather(numbers(40), [&](int i) { return write_and_read_block(each, file, i, 512); });
        co_await each.close(file);
      }(context));
      CHECK(context.stats().max_in_flight <= 2);
      CHECK(context.stats().handed_over >= 82);
    }
  }
}

TEST_CASE("Context: 32 parallel chunks of 8 KiB do not mix") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write);
    co_await gather(numbers(32), [&](int i) { return write_and_read_block(context, file, i, 8192); });
    co_await context.close(file);
  });
}

TEST_CASE("Context: 4000 operations at once all end") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write);
    std::string content;
    for (int i = 0; i < 4000; ++i) content += static_cast<char>('a' + i % 23);
    co_await context.write(file, bytes_of(content), 0);
    std::string back(4000, '?');
    const std::vector<std::size_t> counts = co_await gather(numbers(4000), [&](int i) {
      return context.read(file, room_in(back).subspan(static_cast<std::size_t>(i), 1), i);
    });
    CHECK(std::count(counts.begin(), counts.end(), std::size_t{1}) == 4000);
    CHECK(back == content);
    co_await context.close(file);
  });
}

// --- pipes, terminals and other streams

TEST_CASE("Context: a pipe read waits for the bytes") {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    TaskGroup group;
    std::string got;
    group.spawn([](Context& each, int fd, std::string& result) -> Task<> {
      result = co_await read_some(each, fd, 100);
    }(context, pipe.reader.get(), got));
    co_await context.sleep_for(1ms);
    CHECK(got.empty());
    const std::size_t written = co_await context.write(pipe.writer.get(), bytes_of("hello"), -1);
    CHECK(written == 5);
    co_await group.join();
    CHECK(got == "hello");
  });
}

TEST_CASE("Context: the end of a pipe is 0 bytes") {
  on_every_backend([](Context& context) -> Task<> {
    Pipe pipe;
    co_await context.write(pipe.writer.get(), bytes_of("last"), 0);
    pipe.writer = support::Fd();
    const Descriptor reader(pipe.reader.get());
    const std::string all = co_await read_all(context, reader);
    CHECK(all == "last");
  });
}

TEST_CASE("Context: scatters from and gathers to a pipe") {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    std::string first = "abc";
    std::string second = "defg";
    const std::array<::iovec, 2> vectors{{{first.data(), first.size()}, {second.data(), second.size()}}};
    const std::size_t written = co_await context.writev(pipe.writer.get(), vectors, -1);
    CHECK(written == 7);
    first = "...";
    second = "....";
    const std::size_t read = co_await context.readv(pipe.reader.get(), vectors, -1);
    CHECK(read == 7);
    CHECK(first + second == "abcdefg");
  });
}

TEST_CASE("Context: more than a pipe holds goes through while somebody reads") {
  on_every_backend([](Context& context) -> Task<> {
    Pipe pipe;
    std::string text(1 << 20, '\0');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i % 251);
    const Descriptor reader(pipe.reader.get());
    const Descriptor writer(pipe.writer.get());
    TaskGroup group;
    std::string got;
    group.spawn([](Context& each, const Descriptor& from, std::string& result) -> Task<> {
      result = co_await read_all(each, from);
    }(context, reader, got));
    co_await write_all(context, writer, text);
    pipe.writer = support::Fd();
    co_await group.join();
    CHECK(got == text);
  });
}

TEST_CASE("Context: O_NONBLOCK is left as the owner of a pipe set it") {
  const int flags = GENERATE(0, O_NONBLOCK);
  DYNAMIC_SECTION("flags " << flags) {
    on_every_backend([flags](Context& context) -> Task<> {
      const Pipe pipe(flags | O_CLOEXEC);
      TaskGroup group;
      group.spawn([](Context& each, int fd) -> Task<> { co_await each.write(fd, bytes_of("x"), -1); }(
                                                context, pipe.writer.get()));
      const std::string got = co_await read_some(context, pipe.reader.get(), 10);
      CHECK(got == "x");
      co_await group.join();
      CHECK((::fcntl(pipe.reader.get(), F_GETFL) & O_NONBLOCK) == flags);
      CHECK((::fcntl(pipe.writer.get(), F_GETFL) & O_NONBLOCK) == flags);
    });
  }
}

TEST_CASE("Context: a write to a pipe without a reader is EPIPE and no signal") {
  on_every_backend([](Context& context) -> Task<> {
    Pipe pipe;
    pipe.reader = support::Fd();
    const int one = co_await errno_of(context.write(pipe.writer.get(), bytes_of("x"), -1));
    CHECK(one == EPIPE);
    const std::string large(200'000, 'x');
    const int many = co_await errno_of(context.write(pipe.writer.get(), bytes_of(large), -1));
    CHECK(many == EPIPE);
  });
}

TEST_CASE("Context: a reader that goes ends a write that waits") {
  on_every_backend([](Context& context) -> Task<> {
    Pipe pipe(O_CLOEXEC | O_NONBLOCK);
    const std::string fill(4096, 'x');
    while (::write(pipe.writer.get(), fill.data(), fill.size()) > 0) {
    }
    TaskGroup group;
    int error = 0;
    group.spawn([](Context& each, int fd, int& result) -> Task<> {
      result = co_await errno_of(each.write(fd, bytes_of("x"), -1));
    }(context, pipe.writer.get(), error));
    co_await context.sleep_for(1ms);
    CHECK(error == 0);
    pipe.reader = support::Fd();
    co_await group.join();
    CHECK(error == EPIPE);
  });
}

TEST_CASE("Context: 200 idle pipes do not hold up a file") {
  on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        const Descriptor file = co_await context.open(directory / "file", read_write);
        std::vector<Pipe> pipes(200);
        std::vector<std::string> got(pipes.size());
        TaskGroup group;
        for (std::size_t i = 0; i < pipes.size(); ++i) {
          group.spawn([](Context& each, int fd, std::string& result) -> Task<> {
            result = co_await read_some(each, fd, 10);
          }(context, pipes[i].reader.get(), got[i]));
        }
        co_await gather(numbers(40), [&](int i) { return write_and_read_block(context, file, i, 4096); });
        CHECK(context.stats().parked == 200);
        for (std::size_t i = 0; i < pipes.size(); ++i) {
          const std::string text = std::to_string(i);
          const std::size_t count = co_await context.write(pipes[i].writer.get(), bytes_of(text), -1);
          if (count != text.size()) FAIL("short write");
        }
        co_await group.join();
        for (std::size_t i = 0; i < pipes.size(); ++i) {
          if (got[i] != std::to_string(i)) FAIL("pipe " << i << " gave " << got[i]);
        }
        co_await context.close(file);
      },
      {.max_requests = 8, .pool_size = 2});
}

TEST_CASE("Context: reads of one pipe that wait get its bytes in order") {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    std::string got;
    TaskGroup group;
    for (int i = 0; i < 10; ++i) {
      group.spawn([](Context& each, int fd, std::string& result) -> Task<> {
        const std::string byte = co_await read_some(each, fd, 1);
        result += byte;
      }(context, pipe.reader.get(), got));
    }
    co_await context.sleep_for(1ms);
    co_await context.write(pipe.writer.get(), bytes_of("0123456789"), -1);
    co_await group.join();
    CHECK(got == "0123456789");
  });
}

TEST_CASE("Context: one socket is read and written at the same time") {
  on_every_backend([](Context& context) -> Task<> {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    const support::Fd here(ends[0]);
    const support::Fd there(ends[1]);
    TaskGroup group;
    std::string answer;
    group.spawn([](Context& each, int fd, std::string& result) -> Task<> {
      result = co_await read_some(each, fd, 100);
    }(context, here.get(), answer));
    co_await context.write(here.get(), bytes_of("question"), -1);
    const std::string question = co_await read_some(context, there.get(), 100);
    CHECK(question == "question");
    co_await context.write(there.get(), bytes_of("answer"), -1);
    co_await group.join();
    CHECK(answer == "answer");
  });
}

TEST_CASE("Context: a write to a socket without a peer is EPIPE and no signal") {
  on_every_backend([](Context& context) -> Task<> {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    const support::Fd here(ends[0]);
    ::close(ends[1]);
    const int error = co_await errno_of(context.write(here.get(), bytes_of("x"), -1));
    CHECK(error == EPIPE);
  });
}

TEST_CASE("Context: the writer of a FIFO waits for the reader's open") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::filesystem::path path = directory / "fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    bool opened = false;
    TaskGroup group;
    group.spawn([](Context& each, std::filesystem::path fifo, bool& flag) -> Task<> {
      const Descriptor writer = co_await each.open(std::move(fifo), O_WRONLY);
      flag = true;
      co_await each.write(writer, bytes_of("through"), -1);
      co_await each.close(writer);
    }(context, path, opened));
    co_await context.sleep_for(3ms);
    CHECK_FALSE(opened);
    const Descriptor reader = co_await context.open(path, O_RDONLY);
    const std::string text = co_await read_all(context, reader);
    CHECK(text == "through");
    co_await group.join();
    co_await context.close(reader);
  });
}

TEST_CASE("Context: the reader of a FIFO waits for the writer's bytes") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::filesystem::path path = directory / "fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    bool ended = false;
    std::string text;
    TaskGroup group;
    group.spawn([](Context& each, std::filesystem::path fifo, std::string& result, bool& flag) -> Task<> {
      const Descriptor reader = co_await each.open(std::move(fifo), O_RDONLY);
      result = co_await read_all(each, reader);
      flag = true;
      co_await each.close(reader);
    }(context, path, text, ended));
    co_await context.sleep_for(3ms);
    CHECK_FALSE(ended);
    const Descriptor writer = co_await context.open(path, O_WRONLY);
    co_await context.write(writer, bytes_of("through"), -1);
    co_await context.close(writer);
    co_await group.join();
    CHECK(text == "through");
  });
}

TEST_CASE("Context: the open of a FIFO is destroyed while it waits") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::filesystem::path path = directory / "fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    {
      TaskGroup group;
      group.spawn([](Context& each, std::filesystem::path fifo) -> Task<> {
        co_await each.open(std::move(fifo), O_WRONLY);
      }(context, path));
      co_await context.sleep_for(3ms);
    }
    CHECK(support::descriptors_on(directory.path()) == 0);
  });
}

TEST_CASE("Context: /proc/cpuinfo is read to its end") {
  on_every_backend([](Context& context) -> Task<> {
    const Descriptor file = co_await context.open("/proc/cpuinfo", O_RDONLY);
    const std::string all = co_await read_all(context, file);
    CHECK(all.size() > 100);
    CHECK(all.find("processor") != std::string::npos);
    CHECK(std::count(all.begin(), all.end(), '\n') > 5);
    std::string start(9, '?');
    const std::size_t count = co_await context.read(file, room_in(start), 0);
    CHECK(start.substr(0, count) == all.substr(0, 9));
    co_await context.close(file);
  });
}

TEST_CASE("Context: a terminal gives a line when it is complete") {
  on_every_backend([](Context& context) -> Task<> {
    const support::Fd terminal(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!terminal || ::grantpt(terminal.get()) != 0 || ::unlockpt(terminal.get()) != 0) {
      WARN("no pseudo terminals here");
      co_return;
    }
    const Descriptor line = co_await context.open(::ptsname(terminal.get()), O_RDWR | O_NOCTTY);
    std::string got;
    TaskGroup group;
    group.spawn([](Context& each, int fd, std::string& result) -> Task<> {
      result = co_await read_some(each, fd, 100);
    }(context, line.fileno(), got));
    co_await context.write(terminal.get(), bytes_of("half"), -1);
    co_await context.sleep_for(2ms);
    CHECK(got.empty());
    co_await context.write(terminal.get(), bytes_of(" a line\n"), -1);
    co_await group.join();
    CHECK(got == "half a line\n");
    co_await context.close(line);
  });
}

TEST_CASE("Context: /dev/zero and /dev/null") {
  on_every_backend([](Context& context) -> Task<> {
    const Descriptor zero = co_await context.open("/dev/zero", O_RDONLY);
    const Descriptor null = co_await context.open("/dev/null", O_RDWR);
    std::string text(10'000, '?');
    const std::size_t zeros = co_await context.read(zero, room_in(text), 0);
    CHECK(text.substr(0, zeros) == std::string(zeros, '\0'));
    CHECK(zeros > 0);
    const std::size_t written = co_await context.write(null, bytes_of(text), -1);
    CHECK(written > 0);
    const std::size_t nothing = co_await context.read(null, room_in(text), -1);
    CHECK(nothing == 0);
    co_await context.close(zero);
    co_await context.close(null);
  });
}

// --- offload

TEST_CASE("Context: offload gives the function's value, on another thread") {
  on_every_backend([](Context& context) -> Task<> {
    const std::thread::id here = std::this_thread::get_id();
    const std::thread::id there = co_await context.offload([] { return std::this_thread::get_id(); });
    CHECK(there != here);
    CHECK(std::this_thread::get_id() == here);
  });
}

TEST_CASE("Context: offload takes and gives move-only values, and nothing") {
  on_every_backend([](Context& context) -> Task<> {
    auto number = std::make_unique<int>(7);
    auto operation = context.offload([number = std::move(number)]() mutable { return std::move(number); });
    const std::unique_ptr<int> back = co_await std::move(operation);
    CHECK(*back == 7);
    bool called = false;
    co_await context.offload([&called] { called = true; });
    CHECK(called);
  });
}

TEST_CASE("Context: offload rethrows what the function throws") {
  on_every_backend([](Context& context) -> Task<> {
    std::string message;
    try {
      co_await context.offload([] { throw std::runtime_error("from the pool"); });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    CHECK(message == "from the pool");
  });
}

TEST_CASE("Context: a pool of one thread does not deadlock") {
  on_every_backend(
      [](Context& context) -> Task<> {
        std::vector<int> results =
            co_await gather(numbers(50), [&](int i) { return context.offload([i] { return i * i; }); });
        CHECK(results[49] == 49 * 49);
      },
      {.pool_size = 1});
}

// --- time

TEST_CASE("Context: sleepers wake in the order of their times") {
  on_every_backend([](Context& context) -> Task<> {
    std::vector<int> order;
    const auto now = std::chrono::steady_clock::now();
    co_await gather(note_at(context, now + 6ms, 3, order), note_at(context, now + 2ms, 1, order),
                    note_at(context, now + 4ms, 2, order));
    CHECK(order == std::vector{1, 2, 3});
  });
}

TEST_CASE("Context: sleepers with the same time wake in the order of their start") {
  on_every_backend([](Context& context) -> Task<> {
    const auto time = std::chrono::steady_clock::now() + 2ms;
    std::vector<int> order;
    co_await gather(numbers(100), [&](int i) {
      return [](Context& each, caio::TimePoint until, int mark, std::vector<int>& marks) -> Task<> {
        co_await each.sleep_until(until);
        marks.push_back(mark);
      }(context, time, i, order);
    });
    CHECK(order == numbers(100));
  });
}

TEST_CASE("Context: no sleep ends early") {
  on_every_backend([](Context& context) -> Task<> {
    const auto start = std::chrono::steady_clock::now();
    co_await context.sleep_for(3ms);
    CHECK(std::chrono::steady_clock::now() - start >= 3ms);
    const auto wall = std::chrono::system_clock::now() + 2ms;
    co_await context.sleep_until(wall);
    CHECK(std::chrono::system_clock::now() >= wall);
    co_await caio::sleep_for(std::chrono::duration<double, std::milli>(0.5));
  });
}

TEST_CASE("Context: sleeps of zero, negative and past times end") {
  on_every_backend([](Context& context) -> Task<> {
    const auto start = std::chrono::steady_clock::now();
    co_await context.sleep_for(0s);
    co_await context.sleep_for(-1h);
    co_await context.sleep_for(std::chrono::hours::min());
    co_await context.sleep_until(start - 1h);
    co_await context.sleep_until(caio::TimePoint::min());
    co_await context.sleep_until(std::chrono::system_clock::time_point());
    CHECK(std::chrono::steady_clock::now() - start < 10s);
  });
}

TEST_CASE("Context: the longest sleeps neither end nor hold up others") {
  on_every_backend([](Context& context) -> Task<> {
    int alive = 0;
    {
      TaskGroup group;
      auto sleeper = [](Context& each, Alive, int kind) -> Task<> {
        if (kind == 0) co_await each.sleep_for(std::chrono::hours::max());
        if (kind == 1) co_await each.sleep_for(std::chrono::nanoseconds::max());
        if (kind == 2) co_await each.sleep_until(caio::TimePoint::max());
      };
      for (int kind = 0; kind < 3; ++kind) group.spawn(sleeper(context, Alive(alive), kind));
      co_await context.sleep_for(2ms);
      CHECK(alive == 3);
    }
    CHECK(alive == 0);
  });
}

// --- resuming

TEST_CASE("Context: schedule resumes behind what is ready") {
  on_every_backend([](Context& context) -> Task<> {
    std::string order;
    auto turn = [](Context& each, char mark, std::string& marks) -> Task<> {
      for (int i = 0; i < 3; ++i) {
        co_await each.schedule();
        marks += mark;
      }
    };
    co_await gather(turn(context, 'a', order), turn(context, 'b', order));
    CHECK(order == "ababab");
  });
}

TEST_CASE("Context: post resumes on the context's thread") {
  on_every_backend([](Context& context) -> Task<> {
    const std::thread::id here = std::this_thread::get_id();
    for (int i = 0; i < 20; ++i) {
      ThreadPost post(context);
      co_await post;
      if (std::this_thread::get_id() != here) FAIL("on another thread");
    }
  });
}

TEST_CASE("Context: posts from several threads all arrive") {
  on_every_backend([](Context& context) -> Task<> {
    int resumed = 0;
    co_await gather(numbers(32), [&](int) {
      return [](Context& each, int& count) -> Task<> {
        ThreadPost post(each);
        co_await post;
        ++count;
      }(context, resumed);
    });
    CHECK(resumed == 32);
  });
}

TEST_CASE("Context: schedule brings a coroutine to the context's thread") {
  on_every_backend([](Context& context) -> Task<> {
    const std::thread::id here = std::this_thread::get_id();
    ThreadPost post(context);
    co_await context.schedule();
    co_await post;
    CHECK(std::this_thread::get_id() == here);
  });
}

// --- spawn

TEST_CASE("Context: a spawned task runs beside the others") {
  on_every_backend([](Context& context) -> Task<> {
    bool ran = false;
    context.spawn([](bool& flag) -> Task<> {
      flag = true;
      co_return;
    }(ran));
    CHECK_FALSE(ran);
    co_await context.schedule();
    CHECK(ran);
  });
}

TEST_CASE("Context: the failure of a spawned task goes to on_error") {
  on_every_backend([](Context& context) -> Task<> {
    std::string message;
    context.spawn(
        []() -> Task<> {
          throw std::runtime_error("spawned");
          co_return;
        }(),
        [&message](std::exception_ptr error) {
          try {
            std::rethrow_exception(error);
          } catch (const std::runtime_error& failure) {
            message = failure.what();
          }
        });
    co_await context.schedule();
    CHECK(message == "spawned");
  });
}

TEST_CASE("Context: a spawned task that waits when its context ends is no failure") {
  for (const bool watched : {false, true}) {
    std::error_code told;
    {
      Context context;
      std::function<void(std::exception_ptr)> on_error;
      if (watched) {
        on_error = [&told](const std::exception_ptr& error) {
          try {
            std::rethrow_exception(error);
          } catch (const std::system_error& failure) {
            told = failure.code();
          }
        };
      }
      context.spawn([](Context& each) -> Task<> { co_await each.sleep_for(1h); }(context), std::move(on_error));
      context.run([](Context& each) -> Task<> { co_await each.schedule(); }(context));
    }
    CHECK((told == std::errc::operation_canceled) == watched);
  }
}

TEST_CASE("Context: a spawned task that answers its context's end with another failure terminates") {
  const int status = support::in_child([]() -> std::string {
                       std::set_terminate([] { ::_exit(7); });
                       Context context(caio::Implementation::blocking);
                       context.spawn([](Context& each) -> Task<> {
                         bool slept = true;
                         try {
                           co_await each.sleep_for(1h);
                         } catch (const std::system_error&) {
                           slept = false;
                         }
                         if (!slept) throw std::runtime_error("spawned");
                       }(context));
                       context.poll();
                       return "";
                     }).status;
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
}

TEST_CASE("Context: the failure of a spawned task without on_error terminates") {
  const int status = support::in_child([]() -> std::string {
                       std::set_terminate([] { ::_exit(7); });
                       Context context(caio::Implementation::blocking);
                       context.spawn([]() -> Task<> {
                         throw std::runtime_error("spawned");
                         co_return;
                       }());
                       context.poll();
                       return "";
                     }).status;
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
}

TEST_CASE("Context: spawned tasks that never end go with the context") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      int alive = 0;
      {
        Context context(implementation);
        for (int i = 0; i < 5; ++i) context.spawn(sleep_with(context, Alive(alive)), [](const std::exception_ptr&) {});
        const Pipe pipe;
        context.spawn([](Context& each, int fd, Alive) -> Task<> { co_await read_some(each, fd, 1); }(
                                                           context, pipe.reader.get(), Alive(alive)),
                      [](const std::exception_ptr&) {});
        context.run([](Context& each) -> Task<> { co_await each.sleep_for(1ms); }(context));
        CHECK(alive == 6);
      }
      CHECK(alive == 0);
    }
  }
}

TEST_CASE("Context: a spawned task that waits for nobody goes with the context") {
  int alive = 0;
  {
    Context context(caio::Implementation::blocking);
    context.spawn([](Alive) -> Task<> { co_await std::suspend_always(); }(Alive(alive)));
    context.poll();
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("Context: spawn is allowed before the first run and from a thread") {
  on_every_backend([](Context& context) {
    std::atomic<int> ran = 0;
    auto count = [](std::atomic<int>& counter) -> Task<> {
      ++counter;
      co_return;
    };
    context.spawn(count(ran));
    std::jthread([&] { context.spawn(count(ran)); }).join();
    context.run([](Context& each, std::atomic<int>& counter) -> Task<> {
      while (counter < 2) co_await each.schedule();
    }(context, ran));
    CHECK(ran == 2);
  });
}

// --- run

TEST_CASE("Context: run gives the task's value or exception") {
  on_every_backend([](Context& context) {
    CHECK(context.run([]() -> Task<std::string> { co_return "value"; }()) == "value");
    CHECK(*context.run([]() -> Task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); }()) == 3);
    auto failing = []() -> Task<> {
      throw std::runtime_error("failed");
      co_return;
    };
    CHECK_THROWS_WITH(context.run(failing()), "failed");
    context.run([](Context& each) -> Task<> { co_await each.schedule(); }(context));
  });
}

TEST_CASE("Context: a nested run is a std::logic_error, and the outer one goes on") {
  on_every_backend([](Context& context) -> Task<> {
    auto nothing = []() -> Task<> { co_return; };
    CHECK_THROWS_AS(context.run(nothing()), std::logic_error);
    CHECK_THROWS_AS(context.poll(), std::logic_error);
    Context other(caio::Implementation::blocking);
    CHECK_THROWS_AS(other.run(nothing()), std::logic_error);
    co_await context.schedule();
  });
}

TEST_CASE("Context: driving one that belongs to another thread is a std::logic_error") {
  on_every_backend([](Context& context) {
    auto nothing = []() -> Task<> { co_return; };
    context.run(nothing());
    int refused = 0;
    std::jthread([&] {
      try {
        context.run(nothing());
      } catch (const std::logic_error&) {
        ++refused;
      }
      try {
        context.poll();
      } catch (const std::logic_error&) {
        ++refused;
      }
      try {
        context.flush();
      } catch (const std::logic_error&) {
        ++refused;
      }
    }).join();
    CHECK(refused == 3);
    context.run(nothing());
  });
}

TEST_CASE("Context: one of a thread that is gone is a std::logic_error, too") {
  Context context(caio::Implementation::blocking);
  auto nothing = []() -> Task<> { co_return; };
  std::jthread([&] { context.run(nothing()); }).join();
  CHECK_THROWS_AS(context.run(nothing()), std::logic_error);
  // A new thread may live where the old one's memory was.
  int refused = 0;
  for (int i = 0; i < 3; ++i) {
    std::jthread([&] {
      try {
        context.run(nothing());
      } catch (const std::logic_error&) {
        ++refused;
      }
    }).join();
  }
  CHECK(refused == 3);
}

TEST_CASE("Context: current() is the running one, else the thread's own") {
  Context& mine = Context::current();
  CHECK(&Context::current() == &mine);
  Context other(caio::Implementation::blocking);
  CHECK(&Context::current() == &mine);
  Context* running = nullptr;
  other.run([](Context*& result) -> Task<> {
    result = &Context::current();
    co_return;
  }(running));
  CHECK(running == &other);
  CHECK(&Context::current() == &mine);
  Context* theirs = nullptr;
  std::jthread([&theirs] { theirs = &Context::current(); }).join();
  CHECK(theirs != &mine);
}

// --- options, explain, stats

TEST_CASE("Context: options out of range are refused") {
  using caio::Implementation;
  CHECK_THROWS_AS(Context(Implementation::blocking, {.max_requests = 0}), std::invalid_argument);
  CHECK_THROWS_AS(Context(Implementation::blocking, {.max_requests = 65537}), std::invalid_argument);
  CHECK_THROWS_AS(Context(Implementation::blocking, {.pool_size = 0}), std::invalid_argument);
  CHECK_THROWS_AS(Context(Implementation::blocking, {.pool_size = 129}), std::invalid_argument);
  CHECK_THROWS_AS(Context({.max_requests = 0}), std::invalid_argument);
  for (const Implementation implementation : support::backends()) {
    for (const unsigned max_requests : {1U, 32218U, 65536U}) {
      Context context(implementation, {.max_requests = max_requests, .pool_size = 128});
      CHECK(context.run([]() -> Task<int> { co_return 1; }()) == 1);
    }
  }
}

TEST_CASE("Context: explain() names the backend, its options, and what is missing") {
  for (const caio::Implementation implementation : support::backends()) {
    const Context context(implementation, {.max_requests = 77, .pool_size = 3, .speculate = false});
    const std::string text = context.explain();
    CHECK(text.starts_with(std::string(caio::name(implementation)) + ":"));
    CHECK(text.find("max_requests 77") != std::string::npos);
    CHECK(text.find("pool_size 3") != std::string::npos);
    CHECK(text.find("speculation off") != std::string::npos);
    CHECK(context.implementation() == implementation);
  }
}

TEST_CASE("Context: stats() count what was done") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory / "file", read_write);
    const ContextStats before = context.stats();
    for (int i = 0; i < 10; ++i) co_await context.write(file, bytes_of("x"), i);
    const ContextStats after = context.stats();
    CHECK(after.submitted == before.submitted + 10);
    CHECK(after.completed == before.completed + 10);
    CHECK(after.speculated + after.handed_over >= before.speculated + before.handed_over + 10);
    CHECK(after.in_flight == 0);
    TaskGroup group;
    int alive = 0;
    group.spawn(sleep_with(context, Alive(alive)));
    CHECK(context.stats().parked == 1);
    group.request_stop();
    const int ended = co_await errno_of(group.join());
    CHECK(ended == ECANCELED);
    CHECK(context.stats().cancelled == after.cancelled + 1);
    co_await context.close(file);
  });
}

TEST_CASE("Context: small writes are done in place only where speculation is on") {
  for (const bool speculate : {true, false}) {
    Context context(caio::Implementation::thread, {.speculate = speculate});
    context.run([](Context& each) -> Task<> {
      const TemporaryDirectory directory;
      const Descriptor file = co_await each.open(directory / "file", read_write);
      for (int i = 0; i < 10; ++i) co_await each.write(file, bytes_of("0123456789"), i);
      CHECK(support::content_of(directory / "file") == "0000000000123456789");
      co_await each.close(file);
    }(context));
    CHECK((context.stats().speculated > 0) == speculate);
  }
}
