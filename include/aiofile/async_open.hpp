#pragma once
// async_open: opens a file as a stream.

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>

#include <aiofile/file.hpp>
#include <aiofile/lifecycle_operations.hpp>
#include <aiofile/options.hpp>
#include <aiofile/stream.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

class [[nodiscard]] OpenStream final : public OpenFileOperation {
 public:
  OpenStream(AIOFile file, std::size_t buffering)
      : OpenFileOperation(file.context().engine(), state_of(file)), file_(std::move(file)), buffering_(buffering) {}

  FileStream await_resume() {
    OpenFileOperation::await_resume();
    return FileStream(std::move(file_), buffering_);
  }

 private:
  AIOFile file_;
  std::size_t buffering_;
};

/// What is open already.
class [[nodiscard]] AdoptStream {
 public:
  explicit AdoptStream(FileStream stream) : stream_(std::move(stream)) {}
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  FileStream await_resume() { return std::move(stream_); }

 private:
  FileStream stream_;
};

}  // namespace detail

/// Opens a file; yields a FileStream. Mode and encoding are looked up before the call returns (std::invalid_argument);
/// the rest is FileError.
[[nodiscard]] inline auto async_open(std::filesystem::path path, std::string_view mode = "r",
                                     OpenOptions options = {}) {
  return detail::OpenStream(AIOFile(std::move(path), mode, options), options.buffering);
}

/// Yields a FileStream over a descriptor of the caller's, which is never closed by us. It starts where the descriptor
/// stands (lseek(2)), and moves no further than its own position.
[[nodiscard]] inline auto async_open(int fd, std::string_view mode, OpenOptions options = {}) {
  const auto position = static_cast<std::uint64_t>(std::max<std::int64_t>(::lseek(fd, 0, SEEK_CUR), 0));
  return detail::AdoptStream(FileStream(AIOFile::from_fd(fd, mode, options), options.buffering, position));
}

}  // namespace aiofile::inline CAIO_ABI
