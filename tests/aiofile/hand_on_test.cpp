#include <aiofile/hand_on.hpp>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/temporary.hpp"

namespace {

struct ::stat status_of(const std::filesystem::path& path) {
  struct ::stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status;
}

/// What chattr(1) does: then nobody may change its mode, as on a file system that has none.
bool mark_immutable(int fd, bool immutable) {
  constexpr unsigned long get = 0x80086601;  // FS_IOC_GETFLAGS
  constexpr unsigned long set = 0x40086602;
  int flags = 0;
  if (::ioctl(fd, get, &flags) != 0) return false;
  flags = immutable ? flags | 0x10 : flags & ~0x10;
  return ::ioctl(fd, set, &flags) == 0;
}

}  // namespace

TEST_CASE("hand_on: where a mode cannot be changed, one that grants no more will do") {
  const support::TemporaryDirectory directory;
  const auto from = directory.file("from", "");
  const auto to = directory.file("to", "");
  const support::Fd fd(to, O_RDWR);
  REQUIRE(::chmod(to.c_str(), 0640) == 0);
  if (!mark_immutable(fd.get(), true)) {
    WARN("this user, or this file system, cannot make a file immutable");
    return;
  }
  const auto handed_on = [&](::mode_t mode) {
    REQUIRE(::chmod(from.c_str(), mode) == 0);
    return aiofile::detail::hand_on(from, status_of(from), fd.get());
  };
  CHECK(handed_on(0640) == 0);
  CHECK(handed_on(0644) == 0);
  CHECK(handed_on(0755) == 0);
  CHECK(handed_on(0600) == EPERM);
  CHECK(handed_on(0444) == EPERM);
  REQUIRE(::chown(from.c_str(), ::uid_t(-1), 5678) == 0);
  CHECK(handed_on(0640) == EPERM);  // its group may do no more than others
  CHECK(handed_on(0644) == 0);
  CHECK(mark_immutable(fd.get(), false));
  CHECK(handed_on(0600) == 0);
  CHECK((status_of(to).st_mode & 0777) == 0600);
}
