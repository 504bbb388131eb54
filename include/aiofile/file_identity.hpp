#pragma once
// Which file it is, whatever it is called.

#include <sys/stat.h>

#include <cstdint>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;

  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// As stat(2) has found it.
inline FileIdentity identity_of(const struct ::stat& status) noexcept { return {status.st_dev, status.st_ino}; }

}  // namespace aiofile::inline CAIO_ABI::detail
