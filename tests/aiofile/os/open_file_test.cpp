#include <aiofile/os/open_file.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/error.hpp>
#include <aiofile/file.hpp>
#include <caio/caio.hpp>
#include <caio/testing.hpp>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

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
using support::TemporaryDirectory;

TEST_CASE("stat of an open file: what fstat(2) says, in place") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "12345"), "r+");
    struct ::stat wanted;
    REQUIRE(::fstat(file.fileno(), &wanted) == 0);
    const caio::ContextStats before = context.stats();
    const os::Stat stat = co_await os::stat(file);
    CHECK(stat.inode == wanted.st_ino);
    CHECK(stat.device == wanted.st_dev);
    CHECK(stat.size == 5);
    CHECK(stat.type == std::filesystem::file_type::regular);
    const os::Stat same = co_await os::stat(file.fileno());
    CHECK(same.inode == stat.inode);
    CHECK(context.stats().handed_over == before.handed_over);
    std::filesystem::remove(directory / "file");
    const os::Stat removed = co_await os::stat(file);
    CHECK(removed.links == 0);
    const support::Pipe pipe;
    const os::Stat fifo = co_await os::stat(pipe.reader.get());
    CHECK(fifo.type == std::filesystem::file_type::fifo);
  });
}

TEST_CASE("stat of an open file: not open is EBADF") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(directory.file("file", ""));
    CHECK_YIELDS(error_of(os::stat(file)), EBADF);
    co_await file.open();
    CHECK_YIELDS(error_of(os::stat(file)), 0);
    co_await file.close();
    const auto closed = co_await outcome::failure_of(os::stat(file));
    REQUIRE(closed);
    CHECK(closed->code().value() == EBADF);
    CHECK(closed->path1() == file.name());
    CHECK_YIELDS(error_of(os::stat(-1)), EBADF);
  });
}

TEST_CASE("stat of an open file: the handle may go before it is awaited") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::optional<AIOFile> file(co_await AIOFile(directory.file("file", "123")));
    auto later = os::stat(*file);
    file.reset();
    const os::Stat stat = co_await std::move(later);
    CHECK(stat.size == 3);
  });
}

TEST_CASE("stat of an open file: a number of somebody else's is not taken for a descriptor") {
  caio::testing::MemoryFiles files;
  files.write("file", "text");
  Context context(std::make_unique<caio::testing::MemoryBackend>(files));
  context.run([]() -> Task<> {
    AIOFile file = co_await AIOFile("file");
    CHECK_YIELDS(error_of(os::stat(file)), EOPNOTSUPP);
    co_await file.close();
  }());
}

TEST_CASE("same_open_file: by whatever descriptors") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "text");
    AIOFile left = co_await AIOFile(path);
    AIOFile right = co_await AIOFile(path, "r+");
    AIOFile other = co_await AIOFile(directory.file("other", "text"));
    const support::Fd plain(path, O_RDONLY);
    CHECK_YIELDS(os::same_open_file(left, right), true);
    CHECK_YIELDS(os::same_open_file(left, left), true);
    CHECK_YIELDS(os::same_open_file(left, plain.get()), true);
    CHECK_YIELDS(os::same_open_file(left, other), false);
    co_await right.close();
    CHECK_YIELDS(error_of(os::same_open_file(left, right)), EBADF);
    CHECK_YIELDS(error_of(os::same_open_file(right, left)), EBADF);
  });
}
