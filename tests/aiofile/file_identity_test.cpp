#include <aiofile/file_identity.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <aiofile/os/stat.hpp>
#include <filesystem>

#include "support/catch.hpp"
#include "support/temporary.hpp"

using aiofile::detail::FileIdentity;
using aiofile::detail::identity_of;

TEST_CASE("FileIdentity: is that of the file, by whatever name and call, and no other's") {
  const support::TemporaryDirectory directory;
  const auto one = directory.file("one", "1");
  const auto other = directory.file("other", "1");
  std::filesystem::create_hard_link(one, directory / "link");
  const auto found = [](const std::filesystem::path& path) {
    struct ::stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    aiofile::os::Stat same;
    REQUIRE(aiofile::detail::stat_at(AT_FDCWD, path.c_str(), 0, same) == 0);
    CHECK(identity_of(same) == identity_of(status));
    return identity_of(status);
  };
  CHECK(found(one) == found(directory / "link"));
  CHECK(found(one) != found(other));
  CHECK(found(one) != found("/proc/self/stat"));
  CHECK(found(one) != FileIdentity());
}
