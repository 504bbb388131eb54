#pragma once
// A disk that is full, and the backends on which that can be played.

#include <unistd.h>

#include <caio/context.hpp>
#include <cerrno>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"

namespace outcome {

/// A disk that is full from the second on, until it has room again.
inline bool disk_is_full = false;

inline void fill_disk(support::ReplacedCalls& calls) {
  disk_is_full = true;
  calls->pwrite = [](int fd, const void* data, std::size_t size, ::off_t offset) -> ::ssize_t {
    if (!disk_is_full) return ::pwrite(fd, data, size, offset);
    if (offset + static_cast<::off_t>(size) > 3) {  // three bytes go in
      if (offset < 3) return ::pwrite(fd, data, static_cast<std::size_t>(3 - offset), offset);
      errno = ENOSPC;
      return -1;
    }
    return ::pwrite(fd, data, size, offset);
  };
}

/// On each backend whose every transfer is a plain system call.
template <class Test>
void on_plain_backends(Test test) {
  for (const caio::Implementation implementation : plain_backends) {
    if (!support::wanted(implementation)) continue;
    DYNAMIC_SECTION(caio::name(implementation)) {
      caio::Context context(implementation, {.speculate = false});
      context.run(test(context));
    }
  }
}

}  // namespace outcome
