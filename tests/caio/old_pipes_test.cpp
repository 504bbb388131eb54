// Pipes and sockets where RWF_NOWAIT is refused, as before Linux 6.5: their transfers go to the pool.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <caio/context.hpp>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <cerrno>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"

using caio::Context;
using caio::Task;
using support::bytes_of;
using support::on_every_backend;
using support::Pipe;
using support::room_in;
using support::Stranger;
using support::TokenByReference;

namespace {

/// While it lives, nothing on a stream can be tried without waiting.
class WithoutNowait {
 public:
  WithoutNowait() {
    caio::system_calls.preadv2 = [](int, const ::iovec*, int, ::off_t, int) -> ::ssize_t { return refuse(); };
    caio::system_calls.pwritev2 = [](int, const ::iovec*, int, ::off_t, int) -> ::ssize_t { return refuse(); };
  }
  WithoutNowait(const WithoutNowait&) = delete;
  WithoutNowait& operator=(const WithoutNowait&) = delete;
  ~WithoutNowait() {
    caio::system_calls.preadv2 = ::preadv2;
    caio::system_calls.pwritev2 = ::pwritev2;
  }

 private:
  static ::ssize_t refuse() {
    errno = EOPNOTSUPP;
    return -1;
  }
};

Task<> read_one(Context& context, int fd, std::string& got) {
  std::string letter(1, '?');
  co_await context.read(fd, room_in(letter), -1);
  got += letter;
}

/// Not a task of the context: its end does not ask it to stop.
Stranger<TokenByReference> write_one(Context& context, int fd, int& error) {
  try {
    co_await context.write(fd, bytes_of("y"), -1);
  } catch (const std::system_error& failure) {
    error = failure.code().value();
  }
}

}  // namespace

TEST_CASE("Old pipes: reads that wait get the bytes in the order in which they came") {
  const WithoutNowait mask;
  on_every_backend([](Context& context) -> Task<> {
    for (int round = 0; round < 50; ++round) {
      const Pipe pipe;
      std::string got;
      caio::TaskGroup group;
      for (int i = 0; i < 10; ++i) group.spawn(read_one(context, pipe.reader.get(), got));
      co_await context.schedule();
      co_await context.write(pipe.writer.get(), bytes_of("0123456789"), -1);
      co_await group.join();
      CHECK(got == "0123456789");
    }
  });
}

TEST_CASE("Old pipes: one that is cancelled while another is with the pool lets the next one through") {
  const WithoutNowait mask;
  on_every_backend([](Context& context) -> Task<> {
    const Pipe pipe;
    std::string got;
    {
      std::string lost;
      caio::TaskGroup group;
      for (int i = 0; i < 5; ++i) group.spawn(read_one(context, pipe.reader.get(), lost));
      co_await context.schedule();
    }
    caio::TaskGroup group;
    for (int i = 0; i < 3; ++i) group.spawn(read_one(context, pipe.reader.get(), got));
    co_await context.write(pipe.writer.get(), bytes_of("abc"), -1);
    co_await group.join();
    CHECK(got == "abc");
  });
}

TEST_CASE("Old pipes: a socket's reads go on after a short count, whatever the offset") {
  const WithoutNowait mask;
  on_every_backend([](Context& context) -> Task<> {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    const support::Fd reader(ends[0]);
    const support::Fd writer(ends[1]);
    for (const std::int64_t offset : {std::int64_t{0}, std::int64_t{7}}) {
      std::string text(5, '?');
      co_await context.write(writer.get(), bytes_of("hello"), offset);
      const std::size_t count = co_await context.read(reader.get(), room_in(text), offset);
      CHECK(text.substr(0, count) == "hello");
    }
  });
}

TEST_CASE("Old pipes: the order holds when the writer hangs up, too") {
  const WithoutNowait mask;
  on_every_backend([](Context& context) -> Task<> {
    for (int round = 0; round < 50; ++round) {
      Pipe pipe;
      std::string got;
      caio::TaskGroup group;
      for (int i = 0; i < 10; ++i) group.spawn(read_one(context, pipe.reader.get(), got));
      co_await context.schedule();
      co_await context.write(pipe.writer.get(), bytes_of("0123456789"), -1);
      pipe.writer = support::Fd();
      co_await group.join();
      CHECK(got == "0123456789");
    }
  });
}

TEST_CASE("Old pipes: a write for which the pool finds no room any more is told of the context's end") {
  const WithoutNowait mask;
  static int full = -1;
  static std::shared_ptr<caio::Engine> engine;
  for (const caio::Implementation implementation : support::backends()) {
    if (implementation == caio::Implementation::blocking) continue;
    const Pipe pipe;
    full = pipe.writer.get();
    REQUIRE(::fcntl(full, F_SETPIPE_SZ, 4096) == 4096);
    caio::system_calls.write = [](int fd, const void* bytes, std::size_t size) -> ::ssize_t {
      if (fd != full) return ::write(fd, bytes, size);
      while (!engine->ended()) std::this_thread::yield();
      static_cast<void>(!::write(fd, std::string(4096, 'x').data(), 4096));  // somebody else's
      return errno = EAGAIN, -1;
    };
    int error = 0;
    std::optional<Stranger<TokenByReference>> writer;
    {
      Context context(implementation);
      engine = context.engine();
      writer.emplace(write_one(context, full, error));
      context.run([](Context& its, Stranger<TokenByReference>& started) -> Task<> {
        started.start(std::stop_token());
        co_await its.schedule();
      }(context, *writer));
    }
    CHECK(error == ECANCELED);
    engine.reset();
    caio::system_calls.write = ::write;
  }
}

TEST_CASE("Old pipes: several at once on a device that cannot be polled") {
  on_every_backend([](Context& context) -> Task<> {
    const support::Fd device(::open("/dev/full", O_RDWR | O_CLOEXEC));
    REQUIRE(device);
    for (int round = 0; round < 10; ++round) {
      const auto written = co_await caio::gather(support::numbers(3), [&](int) {
        return support::errno_of(context.write(device.get(), bytes_of("text"), -1));
      });
      CHECK(written == std::vector<int>(3, ENOSPC));
      std::array<std::array<std::byte, 64>, 3> rooms{};
      const auto read = co_await caio::gather(support::numbers(3), [&](int number) {
        return support::errno_of(context.read(device.get(), rooms[static_cast<std::size_t>(number)], -1));
      });
      CHECK(read == std::vector<int>(3, 0));
    }
  });
}
