#pragma once
// What a file that takes the place of another one gets from it.

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Gives a new file the owner, group, permissions and access control list of an old one, as far as we may. Set-ID bits
/// are dropped, as by any write. A group that does not become the old one may do what the others might.
inline int hand_on(const std::filesystem::path& from, const struct ::stat& old, int to) noexcept {
  static constexpr const char* acl_name = "system.posix_acl_access";
  ::mode_t mode = old.st_mode & 0777;
  struct ::stat made {};
  bool same_group = ::fchown(to, old.st_uid, old.st_gid) == 0 || ::fchown(to, ~::uid_t{0}, old.st_gid) == 0 ||
                    (::fstat(to, &made) == 0 && made.st_gid == old.st_gid);
  std::array<char, 4096> acl;
  const ::ssize_t size = ::lgetxattr(from.c_str(), acl_name, acl.data(), acl.size());
  if (size > 0) {
    // With a list, the group's bits are a mask over others' rights.
    same_group = ::fsetxattr(to, acl_name, acl.data(), static_cast<std::size_t>(size), 0) == 0 && same_group;
  } else {
    if (size < 0 && errno == ERANGE) same_group = false;
    ::fremovexattr(to, acl_name);  // one by default, from the directory
  }
  if (!same_group) mode = (mode & 0707) | ((mode & 07) << 3);
  if (::fchmod(to, mode) == 0) return 0;
  const int error = errno;
  // A file system without owners and modes, such as vfat, refuses what is so already.
  return error == EPERM && ::fstat(to, &made) == 0 && (made.st_mode & 0777 & ~mode) == 0 ? 0 : error;
}

}  // namespace aiofile::inline CAIO_ABI::detail
