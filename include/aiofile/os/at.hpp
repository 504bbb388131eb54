#pragma once
// Where relative paths begin.

#include <fcntl.h>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::os {

/// The directory in which a relative path begins: an open descriptor of the caller's (O_PATH will do), which stays open
/// until the await is done; by default the process's working directory. It means nothing to absolute paths.
struct At {
  int directory = AT_FDCWD;
};

}  // namespace aiofile::inline CAIO_ABI::os
