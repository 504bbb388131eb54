#pragma once
// Open files as arguments.

#include <utility>

#include <aiofile/file.hpp>
#include <aiofile/shared_file.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// An AIOFile, whose state it holds, or a plain descriptor, which stays open until the await is done.
class FileArgument {
 public:
  FileArgument(const AIOFile& file) : file_(state_of(file)) {}            // NOLINT(google-explicit-constructor)
  FileArgument(int fd) : file_(state_of(AIOFile::from_fd(fd, "r+b"))) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] FileRef take() noexcept { return std::move(file_); }

 private:
  FileRef file_;
};

}  // namespace aiofile::inline CAIO_ABI::detail
