#include <aiofile/os/file_system.hpp>

#include <sys/statvfs.h>

#include <aiofile/error.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "aiofile/outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

namespace os = aiofile::os;
using caio::Context;
using caio::Task;

static_assert(std::is_trivially_copyable_v<os::StatVfs>);

TEST_CASE("statvfs: what statvfs(3) says, in bytes") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    struct ::statvfs wanted;
    struct ::statvfs after;
    os::StatVfs found;
    do {  // XFS has room for more files the more space is free, and others write to it
      REQUIRE(::statvfs(directory.path().c_str(), &wanted) == 0);
      found = co_await os::statvfs(directory.path());
      REQUIRE(::statvfs(directory.path().c_str(), &after) == 0);
    } while (after.f_files != wanted.f_files);
    const std::uint64_t total = std::filesystem::space(directory.path()).capacity;
    CHECK(found.capacity == total);
    CHECK(found.free <= found.capacity);
    CHECK(found.available <= found.free);
    CHECK(found.available > 0);
    CHECK(found.available % found.fragment_size == 0);
    CHECK(found.files == wanted.f_files);
    CHECK(found.files_free <= found.files);
    CHECK(found.files_available <= found.files_free);
    CHECK(found.block_size == wanted.f_bsize);
    CHECK(found.fragment_size == wanted.f_frsize);
    CHECK(found.name_length == wanted.f_namemax);
    CHECK(found.id == wanted.f_fsid);
    CHECK(found.flags == wanted.f_flag);
    const os::StatVfs sys = co_await os::statvfs("/sys");
    CHECK(sys.capacity == 0);
  });
}

TEST_CASE("statvfs: errors") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::TemporaryDirectory directory;
    const auto error = co_await outcome::failure_of(os::statvfs(directory / "nothing"));
    REQUIRE(error);
    CHECK(error->code().value() == ENOENT);
    CHECK(error->path1() == directory / "nothing");
    CHECK_YIELDS(outcome::error_of(os::statvfs(directory.file("file", "") / "below")), ENOTDIR);
  });
  CHECK_THROWS_AS(os::statvfs(std::string("\0", 1)), std::invalid_argument);
}
