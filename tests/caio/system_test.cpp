#include <caio/system.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <caio/context.hpp>
#include <caio/detail/unique_fd.hpp>
#include <cerrno>
#include <chrono>
#include <system_error>

#include "support/catch.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Implementation;
using caio::system_calls;
using caio::Task;
using caio::detail::UniqueFd;
using support::ReplacedCalls;

namespace {

std::atomic<int> calls;

constexpr std::array by_system_calls{Implementation::thread, Implementation::blocking};

caio::ContextOptions plain() {
  caio::ContextOptions options;
  options.speculate = false;
  return options;
}

Task<int> error_of_read(Context& context, int fd) {
  std::array<std::byte, 4> buffer{};
  try {
    co_await context.read(fd, buffer, 0);
  } catch (const std::system_error& error) {
    co_return error.code().value();
  }
  co_return 0;
}

Task<std::size_t> read(Context& context, int fd) {
  std::array<std::byte, 4> buffer{};
  co_return co_await context.read(fd, buffer, 0);
}

constexpr std::chrono::seconds patience{60};

Task<> nap(Context& context, std::chrono::nanoseconds duration) {
  try {
    co_await context.sleep_for(duration);
  } catch (const std::system_error&) {  // the context has ended
  }
}

}  // namespace

TEST_CASE("SystemCalls: an operation sees what a replaced entry answers") {
  const support::TemporaryDirectory directory;
  const UniqueFd file(::open(directory.file("text", "abcd").c_str(), O_RDONLY | O_CLOEXEC));
  for (const Implementation implementation : by_system_calls) {
    Context context(implementation, plain());
    {
      const ReplacedCalls restore;
      system_calls.pread = [](int, void*, std::size_t, ::off_t) -> ::ssize_t { return errno = EIO, -1; };
      CHECK(context.run(error_of_read(context, file.get())) == EIO);
    }
    CHECK(context.run(read(context, file.get())) == 4);
  }
}

TEST_CASE("SystemCalls: EINTR is tried again until there is an answer") {
  const support::TemporaryDirectory directory;
  const UniqueFd file(::open(directory.file("text", "abcd").c_str(), O_RDONLY | O_CLOEXEC));
  for (const Implementation implementation : by_system_calls) {
    const ReplacedCalls restore;
    calls = 0;
    system_calls.pread = [](int fd, void* buffer, std::size_t size, ::off_t offset) -> ::ssize_t {
      if (++calls < 5) return errno = EINTR, -1;
      return ::pread(fd, buffer, size, offset);
    };
    Context context(implementation, plain());
    CHECK(context.run(read(context, file.get())) == 4);
    CHECK(calls == 5);
  }
}

TEST_CASE("SystemCalls: a context without descriptors to be had says so") {
  const ReplacedCalls restore;
  system_calls.eventfd = [](unsigned, int) { return errno = EMFILE, -1; };
  std::error_code code;
  try {
    const Context context(Implementation::blocking);
  } catch (const std::system_error& error) {
    code = error.code();
  }
  CHECK(code == std::errc::too_many_files_open);
}

TEST_CASE("SystemCalls: a wait for readiness that cannot be set up fails the operation, not the context") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  support::on_every_backend([&](Context& context) {
    {
      const ReplacedCalls restore;
      system_calls.epoll_create = [](int) { return errno = EMFILE, -1; };
      CHECK(context.run(error_of_read(context, reader.get())) == EMFILE);
    }
    REQUIRE(::write(writer.get(), "xy", 2) == 2);
    CHECK(context.run(read(context, reader.get())) == 2);
  });
}

TEST_CASE("SystemCalls: a completion that comes while the descriptor to sleep on is being made wakes the context") {
  const UniqueFd file(::memfd_create("caio-test", MFD_CLOEXEC));
  REQUIRE(::pwrite(file.get(), "abcd", 4, 0) == 4);
  for (const Implementation implementation : support::backends()) {
    Context neighbour(Implementation::blocking);
    neighbour.run([](Context& context) -> Task<> { co_await context.schedule(); }(neighbour));
    const ReplacedCalls restore;
    Context context(implementation, plain());
    system_calls.eventfd = [](unsigned value, int flags) {
      ::poll(nullptr, 0, 20);  // long enough for the read to end
      return ::eventfd(value, flags);
    };
    context.spawn(nap(context, patience));  // a wake-up that is lost ends by this one
    const auto start = std::chrono::steady_clock::now();
    CHECK(context.run(read(context, file.get())) == 4);
    CHECK(std::chrono::steady_clock::now() - start < patience);
  }
}
