// An open() that has to wait for the end of a lease (fcntl(2), F_SETLEASE) waits on the pool, and not in vain.

#include <fcntl.h>
#include <signal.h>

#include <caio/context.hpp>
#include <caio/task_group.hpp>
#include <filesystem>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Task;
using caio::TaskGroup;
using support::Fd;
using support::TemporaryDirectory;

TEST_CASE("Lease: an open waits until the one who has it lets go") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "text");
  const auto before = ::signal(SIGIO, SIG_IGN);  // how the kernel asks for the lease
  support::on_every_backend([&](Context& context) -> Task<> {
    if (context.implementation() == caio::Implementation::blocking) co_return;  // it would wait for its own thread
    const Fd holder(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (::fcntl(holder.get(), F_SETLEASE, F_WRLCK) != 0) co_return;  // a file system without leases
    bool opened = false;
    TaskGroup group;
    group.spawn([](Context& each, const std::filesystem::path& name, bool& done) -> Task<> {
      caio::Descriptor file = co_await each.open(name, O_RDONLY);
      done = true;
      co_await each.close(file);
    }(context, path, opened));
    // Once somebody has asked, F_GETLEASE says what the lease is to become.
    while (::fcntl(holder.get(), F_GETLEASE) == F_WRLCK) co_await context.schedule();
    CHECK_FALSE(opened);
    CHECK(::fcntl(holder.get(), F_SETLEASE, F_UNLCK) == 0);
    co_await group.join();
    CHECK(opened);
  });
  ::signal(SIGIO, before);
}
