#pragma once
// What the file system knows of an open file.

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include <aiofile/file_operation.hpp>
#include <aiofile/os/file_argument.hpp>
#include <aiofile/os/stat.hpp>
#include <caio/config.hpp>
#include <caio/task.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

class [[nodiscard]] StatFileOperation final : public FileOperation {
 public:
  StatFileOperation(FileRef file, const char* what) : FileOperation(std::move(file), Access::any, what) {}

  os::Stat await_resume() const {
    check();
    return stat_;
  }

 private:
  bool begin() noexcept override {
    result = descriptor.is_foreign() ? -EOPNOTSUPP : -stat_at(descriptor.fileno(), "", AT_EMPTY_PATH, stat_);
    return true;
  }

  os::Stat stat_;
};

}  // namespace detail

namespace os {

/// Yields the Stat of an open file, an AIOFile or a plain descriptor. In place, never suspends: fstat(2) on a local
/// file system does not block. FileError EBADF when it is not open.
inline auto stat(detail::FileArgument file) { return detail::StatFileOperation(file.take(), "stat"); }

/// Yields whether both are one file (bool). As stat() of open files.
inline caio::Task<bool> same_open_file(detail::FileArgument left, detail::FileArgument right) {
  const Stat first = co_await detail::StatFileOperation(left.take(), "same_open_file");
  const Stat second = co_await detail::StatFileOperation(right.take(), "same_open_file");
  co_return detail::identity_of(first) == detail::identity_of(second);
}

}  // namespace os
}  // namespace aiofile::inline CAIO_ABI
