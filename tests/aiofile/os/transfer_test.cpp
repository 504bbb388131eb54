#include <aiofile/os/transfer.hpp>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <aiofile/file.hpp>
#include <array>
#include <caio/caio.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <latch>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "aiofile/outcome.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

namespace os = aiofile::os;
using aiofile::AIOFile;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::failure_of;
using outcome::pattern;
using support::content_of;
using support::Fd;
using support::Pipe;
using support::TemporaryDirectory;

namespace {

constexpr std::uint64_t mebi = 1024 * 1024;
constexpr std::uint64_t everything = std::numeric_limits<std::uint64_t>::max();

/// Two ends of a stream.
struct Ends {
  Fd reader;
  Fd writer;
};

/// Pipes and sockets, that block and that do not.
constexpr std::size_t kinds = 4;
Ends make(std::size_t kind) {
  const int flags = kind % 2 == 0 ? 0 : O_NONBLOCK;
  if (kind < 2) {
    Pipe pipe(O_CLOEXEC | flags);
    return {std::move(pipe.reader), std::move(pipe.writer)};
  }
  std::array<int, 2> pair{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, pair.data()) == 0);
  return {Fd(pair[0]), Fd(pair[1])};
}

/// How much can be sent at least while nobody reads. A user who has many pipes gets small ones (pipe(7)); before Linux
/// 6.5 one waits for room in a socket as soon as a quarter of its buffer is used.
int room(const Ends& ends) {
  const int size = ::fcntl(ends.reader.get(), F_GETPIPE_SZ);
  return size > 0 ? size : 32 * 1024;
}

/// Until what is sent waits for room.
Task<> filled(Context& context, const Ends& ends) {
  const auto patience = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  for (int bytes = 0; bytes < room(ends);) {
    if (std::chrono::steady_clock::now() > patience) FAIL("only " << bytes << " bytes were sent");
    co_await context.offload([] {});
    REQUIRE(::ioctl(ends.reader.get(), FIONREAD, &bytes) == 0);
  }
  for (int i = 0; i < 20; ++i) co_await context.offload([] {});
}

Task<> collect(Context& context, int fd, std::string& text) {
  std::vector<std::byte> chunk(50'000);
  for (;;) {
    const std::size_t count = co_await context.read(fd, chunk, -1);
    if (count == 0) co_return;
    text += outcome::text_of(std::span(chunk).first(count));
  }
}

}  // namespace

TEST_CASE("copy_file_range: from one place to another") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(5 * mebi + 123);
    AIOFile from = co_await AIOFile(directory.file("from", content));
    AIOFile to = co_await AIOFile(directory.file("to", "0123456789"), "r+");
    CHECK_YIELDS(os::copy_file_range(from, 1000, to, 5, 4 * mebi), 4 * mebi);
    CHECK(content_of(directory / "to") == "01234" + content.substr(1000, 4 * mebi));
    CHECK_YIELDS(os::copy_file_range(from, 7, to, 0, everything), content.size() - 7);
    CHECK(content_of(directory / "to") == content.substr(7));
    CHECK_YIELDS(os::copy_file_range(from, content.size(), to, 0, 10), 0U);
    CHECK_YIELDS(os::copy_file_range(from, 0, to, 0, 0), 0U);
    const Fd plain(directory / "to", O_RDWR);
    CHECK_YIELDS(os::copy_file_range(plain.get(), 0, plain.get(), 6 * mebi, 100), 100U);
    CHECK(content_of(directory / "to").substr(6 * mebi) == content.substr(7, 100));
    const auto back = co_await to.read(3);  // neither descriptor has moved
    CHECK(back == content.substr(7, 3));
    CHECK(::lseek(from.fileno(), 0, SEEK_CUR) == 0);
  });
}

TEST_CASE("copy_file_range: errors") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", pattern(10'000));
    AIOFile reads = co_await AIOFile(path);
    AIOFile both = co_await AIOFile(path, "r+");
    AIOFile appends = co_await AIOFile(directory / "appended", "a");
    const Pipe pipe;
    CHECK_YIELDS(error_of(os::copy_file_range(both, 0, reads, 0, 10)), EBADF);
    CHECK_YIELDS(error_of(os::copy_file_range(appends, 0, both, 0, 10)), EBADF);
    CHECK_YIELDS(error_of(os::copy_file_range(both, 0, appends, 0, 10)), EBADF);
    CHECK_YIELDS(error_of(os::copy_file_range(both, 0, both, 100, 1000)), EINVAL);
    CHECK_YIELDS(error_of(os::copy_file_range(both, 0, pipe.writer.get(), 0, 10)), EINVAL);
    CHECK_YIELDS(error_of(os::copy_file_range(-1, 0, both, 0, 10)), EBADF);
    co_await both.close();
    CHECK_YIELDS(error_of(os::copy_file_range(reads, 0, both, 0, 10)), EBADF);
  });
  CHECK_THROWS_AS(os::copy_file_range(0, everything, 1, 0, 1), std::invalid_argument);
  CHECK_THROWS_AS(os::copy_file_range(0, 0, 1, everything, 1), std::invalid_argument);
}

TEST_CASE("sendfile: into a file, at its position") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(3 * mebi + 7);
    AIOFile in = co_await AIOFile(directory.file("in", content));
    const Fd out(directory.file("out", "0123456789"), O_RDWR);
    REQUIRE(::lseek(out.get(), 4, SEEK_SET) == 4);
    CHECK_YIELDS(os::sendfile(out.get(), in, 10, 2 * mebi + 1), 2 * mebi + 1);
    CHECK_YIELDS(os::sendfile(out.get(), in.fileno(), 100, everything), content.size() - 100);
    CHECK(content_of(directory / "out") == "0123" + content.substr(10, 2 * mebi + 1) + content.substr(100));
    CHECK_YIELDS(os::sendfile(out.get(), in, content.size(), 10), 0U);
    CHECK_YIELDS(os::sendfile(out.get(), in, 0, 0), 0U);
    const auto start = co_await in.read(3);
    CHECK(start == content.substr(0, 3));
  });
}

TEST_CASE("sendfile: into a stream, whether it blocks or not") {
  support::on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        const std::string content = pattern(3 * mebi + 7);
        AIOFile in = co_await AIOFile(directory.file("in", content));
        for (std::size_t kind = 0; kind < kinds; ++kind) {
          INFO("kind " << kind);
          Ends ends = make(kind);
          std::string got;
          caio::TaskGroup group;
          group.spawn(collect(context, ends.reader.get(), got));
          AIOFile out = AIOFile::from_fd(ends.writer.get(), "w");
          CHECK_YIELDS(os::sendfile(out, in, 1, 2 * mebi), 2 * mebi);
          CHECK_YIELDS(os::sendfile(out, in, 5, everything), content.size() - 5);
          co_await out.close();
          ends.writer.reset();
          co_await group.join();
          CHECK(got == content.substr(1, 2 * mebi) + content.substr(5));
        }
      },
      {.pool_size = 1});
}

TEST_CASE("sendfile: a stream that blocks no more after the first piece gets each byte once") {
  aiofile::detail::SendPiece piece(0);
  const TemporaryDirectory directory;
  const Fd in(directory.file("in", "0123456789"), O_RDONLY);
  const Pipe pipe(O_CLOEXEC);
  CHECK(piece(pipe.writer.get(), in.get(), 0, 5) == 5);
  CHECK(piece.pending().size() == 5);
  REQUIRE(::fcntl(pipe.writer.get(), F_SETFL, O_NONBLOCK) == 0);
  CHECK(piece(pipe.writer.get(), in.get(), 5, 5) == 5);
  CHECK(piece.pending().empty());
}

TEST_CASE("sendfile: while a stream takes no more, no thread waits, and it can be stopped") {
  support::on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        const std::string content = pattern(3 * mebi);
        AIOFile in = co_await AIOFile(directory.file("in", content));
        for (std::size_t kind = 0; kind < kinds; ++kind) {
          INFO("kind " << kind);
          Ends ends = make(kind);
          std::stop_source source;
          std::optional<aiofile::FileError> error;
          caio::TaskGroup group;
          group.spawn([](int out, AIOFile& file, std::stop_token token, auto& result) -> Task<> {
            result = co_await failure_of(caio::with_stop(token, os::sendfile(out, file, 0, everything)));
          }(ends.writer.get(), in, source.get_token(), error));
          co_await filled(context, ends);  // the only thread is free
          const auto wanted = static_cast<std::size_t>(room(ends));
          CHECK_FALSE(error);
          source.request_stop();
          co_await group.join();
          REQUIRE(error);
          CHECK(error->code().value() == ECANCELED);
          ends.writer.reset();
          std::string got;
          co_await collect(context, ends.reader.get(), got);
          CHECK(error->transferred() == got.size());
          CHECK(got.size() >= wanted);
          CHECK(got == content.substr(0, got.size()));
        }
      },
      {.pool_size = 1});
}

TEST_CASE("sendfile: closing the stream's file ends its wait; the file that is read is waited for, too") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile in = co_await AIOFile(directory.file("in", pattern(3 * mebi)));
    for (std::size_t kind = 0; kind < kinds; ++kind) {
      Ends ends = make(kind);
      AIOFile out = AIOFile::from_fd(ends.writer.get(), "w");
      int error = 0;
      caio::TaskGroup group;
      group.spawn(outcome::store_error(os::sendfile(out, in, 0, everything), error));
      co_await filled(context, ends);
      CHECK(error == 0);
      co_await out.close();
      co_await group.join();
      CHECK(error == ECANCELED);
    }
    co_await in.close();
  });
}

TEST_CASE("sendfile: what a thread is at work on does not begin to wait when one of the files is being closed") {
  support::on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        const auto path = directory.file("in", pattern(3 * mebi));
        for (std::size_t kind = 0; kind < 2 * kinds; ++kind) {
          AIOFile in = co_await AIOFile(path);
          const Ends ends = make(kind % kinds);
          AIOFile out = AIOFile::from_fd(ends.writer.get(), "w");
          int sent = 0;
          int closed = -1;
          std::latch closing(1);
          caio::TaskGroup group;
          if (context.implementation() != caio::Implementation::blocking) {  // there, all is done in its turn
            group.spawn([](Context& own, std::latch& latch) -> Task<> {
              co_await own.offload([&latch] { latch.wait(); });
            }(context, closing));
          }
          group.spawn(outcome::store_error(os::sendfile(out, in, 0, everything), sent));
          AIOFile& first = kind < kinds ? out : in;
          group.spawn(outcome::store_error(first.close(), closed));
          closing.count_down();
          co_await group.join();
          CHECK(sent == ECANCELED);
          CHECK(closed == 0);
        }
      },
      {.pool_size = 1});
}

TEST_CASE("sendfile: closing the file that is read, of another context, leaves that context's own waits alone") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    Context other(context.implementation());
    const auto path = directory.file("in", pattern(3 * mebi));
    for (std::size_t kind = 0; kind < kinds; ++kind) {
      AIOFile in = co_await AIOFile(path, "r", {.context = &other});
      const Ends ends = make(kind);
      int sent = 0;
      caio::TaskGroup group;
      group.spawn(outcome::store_error(os::sendfile(ends.writer.get(), in, 0, everything), sent));
      co_await filled(context, ends);
      co_await in.close();
      co_await group.join();
      CHECK(sent == ECANCELED);
      CHECK(context.stats().parked == 0);
      CHECK(other.stats().parked == 0);
    }
    const Pipe pipe;
    std::string got;
    caio::TaskGroup reading;
    reading.spawn([](Context& its, int fd, std::string& text) -> Task<> {
      text.resize(1);
      co_await its.read(fd, std::as_writable_bytes(std::span(text)), -1);
    }(other, pipe.reader.get(), got));
    CHECK(other.stats().parked == 1);
    CHECK(::write(pipe.writer.get(), "x", 1) == 1);
    co_await reading.join();
    CHECK(got == "x");
  });
}

TEST_CASE("sendfile: who waits for the file that is read is told, whichever of two contexts has ended") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("in", pattern(3 * mebi));
    for (std::size_t kind = 0; kind < kinds; ++kind) {
      for (const bool reads : {true, false}) {  // the one that ends
        std::optional<Context> other(context.implementation());
        const Ends ends = make(kind);
        AIOFile in = co_await AIOFile(path, "r", {.context = reads ? &*other : &context});
        AIOFile out = AIOFile::from_fd(ends.writer.get(), "w", {.context = reads ? &context : &*other});
        int sent = -1;
        int closed = -1;
        caio::TaskGroup group;
        group.spawn(outcome::store_error(os::sendfile(out, in, 0, everything), sent));
        co_await filled(context, ends);
        group.spawn(outcome::store_error(in.close(), closed));
        CHECK(closed == -1);
        other.reset();
        co_await group.join();
        CHECK(sent == ECANCELED);
        CHECK(closed == 0);
        CHECK(outcome::descriptors_of(path) == 0);
      }
    }
  });
}

TEST_CASE("sendfile: destroyed while it waits, it lets go of everything") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile in = co_await AIOFile(directory.file("in", pattern(3 * mebi)));
    const std::size_t before = support::open_files();
    for (std::size_t kind = 0; kind < kinds; ++kind) {
      const Ends ends = make(kind);
      caio::TaskGroup group;
      group.spawn([](int out, AIOFile& file) -> Task<> { co_await os::sendfile(out, file, 0, everything); }(
                                                 ends.writer.get(), in));
      co_await filled(context, ends);
    }
    CHECK(support::open_files() == before);
    co_await in.close();
  });
}

TEST_CASE("sendfile: errors, with what was sent before") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(3 * mebi);
    AIOFile in = co_await AIOFile(directory.file("in", content));
    AIOFile only_writes = co_await AIOFile(directory / "out", "w");
    const Fd appends(directory / "appended", O_WRONLY | O_CREAT | O_APPEND);
    const Pipe pipe;
    CHECK_YIELDS(error_of(os::sendfile(pipe.writer.get(), only_writes, 0, 10)), EBADF);
    CHECK_YIELDS(error_of(os::sendfile(in, in, 0, 10)), EBADF);
    CHECK_YIELDS(error_of(os::sendfile(appends.get(), in, 0, 10)), EINVAL);
    CHECK_YIELDS(error_of(os::sendfile(-1, in, 0, 10)), EBADF);
    CHECK_YIELDS(error_of(os::sendfile(pipe.writer.get(), pipe.reader.get(), 0, 10)), ESPIPE);
    for (std::size_t kind = 0; kind < kinds; ++kind) {
      INFO("kind " << kind);
      Ends ends = make(kind);
      std::optional<aiofile::FileError> error;
      caio::TaskGroup group;
      group.spawn([](int out, AIOFile& file, auto& result) -> Task<> {
        result = co_await failure_of(os::sendfile(out, file, 0, everything));
      }(ends.writer.get(), in, error));
      co_await filled(context, ends);
      CHECK_FALSE(error);
      const auto wanted = static_cast<std::uint64_t>(room(ends));
      ends.reader.reset();
      co_await group.join();
      REQUIRE(error);
      CHECK(error->code().value() == EPIPE);
      CHECK(error->transferred() >= wanted);
      CHECK_YIELDS(error_of(os::sendfile(ends.writer.get(), in, 0, 10)), EPIPE);
    }
  });
  CHECK_THROWS_AS(os::sendfile(1, 0, everything, 1), std::invalid_argument);
}
