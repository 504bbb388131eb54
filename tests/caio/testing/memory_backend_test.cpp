#include <caio/testing/memory_backend.hpp>

#include <fcntl.h>

#include <aiofile/aiofile.hpp>
#include <array>
#include <memory>
#include <string>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using caio::Context;
using caio::Descriptor;
using caio::Task;
using caio::testing::MemoryBackend;
using caio::testing::MemoryFiles;
using support::bytes_of;
using support::errno_of;
using support::room_in;

namespace {

struct Disk {
  MemoryFiles files;
  Context context{std::make_unique<MemoryBackend>(files)};
};

Task<int> open_error(Context& context, std::string path, int flags) {
  try {
    const Descriptor file = co_await context.open(path, flags);
    co_await context.close(file);
  } catch (const std::system_error& error) {
    co_return error.code().value();
  }
  co_return 0;
}

}  // namespace

TEST_CASE("MemoryBackend: opening obeys its flags") {
  Disk disk;
  disk.files.write("there", "content");
  disk.context.run([](Context& context, MemoryFiles& files) -> Task<> {
    CHECK_YIELDS(open_error(context, "missing", O_RDONLY), ENOENT);
    CHECK_YIELDS(open_error(context, "there", O_WRONLY | O_CREAT | O_EXCL), EEXIST);
    CHECK_YIELDS(open_error(context, "there", O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK_YIELDS(open_error(context, "there", O_RDONLY), 0);
    CHECK(files.content("there") == "content");
    CHECK_YIELDS(open_error(context, "there", O_WRONLY | O_TRUNC), 0);
    CHECK(files.content("there").empty());
    CHECK_YIELDS(open_error(context, "new", O_WRONLY | O_CREAT), 0);
    CHECK(files.contains("new"));
  }(disk.context, disk.files));
  CHECK(disk.files.open_count() == 0);
}

TEST_CASE("MemoryBackend: positional and own positions, vectors, appends, as the kernel's") {
  Disk disk;
  disk.context.run([](Context& context, MemoryFiles& files) -> Task<> {
    const Descriptor file = co_await context.open("file", O_RDWR | O_CREAT);
    CHECK(file.is_foreign());
    CHECK_YIELDS(context.write(file, bytes_of("hello"), -1), 5U);
    CHECK_YIELDS(context.write(file, bytes_of(" world"), -1), 6U);
    CHECK_YIELDS(context.write(file, bytes_of("J"), 0), 1U);
    std::string text(20, '?');
    CHECK_YIELDS(context.read(file, room_in(text), -1), 0U);
    CHECK_YIELDS(context.read(file, room_in(text), 6), 5U);
    CHECK(text.substr(0, 5) == "world");
    std::string left(4, '?');
    std::string right(30, '?');
    const std::array<::iovec, 2> vectors{::iovec{left.data(), left.size()}, ::iovec{right.data(), right.size()}};
    CHECK_YIELDS(context.readv(file, vectors, 0), 11U);
    CHECK(left + right.substr(0, 7) == "Jello world");
    CHECK_YIELDS(context.writev(file, std::span(vectors).first(1), 20), 4U);
    CHECK(files.content("file") == std::string("Jello world\0\0\0\0\0\0\0\0\0Jell", 24));
    co_await context.fsync(file);
    co_await context.close(file);
    const Descriptor log = co_await context.open("file", O_WRONLY | O_APPEND);
    CHECK_YIELDS(context.write(log, bytes_of("!"), 0), 1U);
    CHECK(files.content("file").back() == '!');
    CHECK_YIELDS(errno_of(context.read(log, room_in(text), 0)), EBADF);
    co_await context.close(log);
    CHECK_YIELDS(errno_of(context.close(log)), EBADF);
    CHECK_YIELDS(errno_of(context.write(log, bytes_of("!"), 0)), EBADF);
  }(disk.context, disk.files));
}

TEST_CASE("MemoryBackend: a name never reaches the disk, and a descriptor of the disk is not its own") {
  const support::TemporaryDirectory directory;
  const std::string path = directory.file("file", "on disk").string();
  Disk disk;
  disk.context.run([](Context& context, std::string name) -> Task<> {
    CHECK_YIELDS(open_error(context, name, O_RDONLY), ENOENT);
    const support::Fd fd(::open(name.c_str(), O_RDWR | O_CLOEXEC));
    std::string text(4, '?');
    CHECK_YIELDS(errno_of(context.read(fd.get(), room_in(text), 0)), EBADF);
    CHECK_YIELDS(errno_of(context.write(fd.get(), bytes_of("x"), 0)), EBADF);
  }(disk.context, path));
  CHECK(support::content_of(path) == "on disk");
}

TEST_CASE("MemoryBackend: pipes, timers and the pool work beside it") {
  Disk disk;
  disk.context.run([](Context& context) -> Task<> {
    const support::Pipe pipe;
    std::string text(4, '?');
    const auto [read, written] = co_await caio::gather(context.read(pipe.reader.get(), room_in(text), -1),
                                                       context.write(pipe.writer.get(), bytes_of("pipe"), -1));
    CHECK(read == 4);
    CHECK(written == 4);
    CHECK(text == "pipe");
    CHECK_YIELDS(context.offload([] { return 3; }), 3);
    co_await context.sleep_for(std::chrono::microseconds(10));
  }(disk.context));
}

TEST_CASE("MemoryBackend: files, streams, lines and text are what they are on a disk") {
  Disk disk;
  disk.files.write("lines", "one\ntwo\nthree");
  disk.files.write("utf16", std::string("\xff\xfe"
                                        "a\0b\0",
                                        6));
  disk.context.run([]() -> Task<> {
    auto lines = co_await aiofile::async_open("lines", "r+");
    CHECK(lines.seekable());
    CHECK_FALSE(lines.isatty());
    CHECK_YIELDS(lines.readline(), "one\n");
    CHECK_YIELDS(lines.readline(), "two\n");
    CHECK_YIELDS(lines.read(), "three");
    co_await lines.write("\nfour");
    CHECK_YIELDS(lines.file().size(), 18U);
    co_await lines.truncate(7);
    CHECK_YIELDS(lines.seek(0, aiofile::Whence::end), 7U);
    co_await lines.close();
    AIOFile text = co_await AIOFile("utf16", "a+", {.encoding = "utf-16"});
    CHECK_YIELDS(text.read(), "ab");
    co_await text.write("c");
    co_await text.close();
  }());
  CHECK(disk.files.content("lines") == "one\ntwo");
  CHECK(disk.files.content("utf16") == std::string("\xff\xfe"
                                                   "a\0b\0c\0",
                                                   8));
}

TEST_CASE("MemoryBackend: a handle that goes without close() lets go, and a stream delivers what it gathered") {
  Disk disk;
  disk.context.run([](MemoryFiles& files) -> Task<> {
    {
      AIOFile file = co_await AIOFile("file", "w");
      auto stream = co_await aiofile::async_open("stream", "w", {.buffering = 100});
      co_await stream.write("gathered");
      CHECK(files.open_count() == 2);
      CHECK(files.content("stream").empty());
    }
    CHECK(files.open_count() == 0);
    CHECK(files.content("stream") == "gathered");
  }(disk.files));
}

TEST_CASE("MemoryBackend: closes a pipe of the system's") {
  Disk disk;
  const support::Pipe pipe;
  const int copy = ::dup(pipe.reader.get());
  disk.context.run([](Context& context, int fd) -> Task<> { co_await context.close(fd); }(disk.context, copy));
  CHECK(::fcntl(copy, F_GETFD) == -1);
}
