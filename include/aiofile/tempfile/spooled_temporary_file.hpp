#pragma once
// SpooledTemporaryFile: a file in memory that goes to disk when it grows.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/file.hpp>
#include <aiofile/path_operation.hpp>
#include <aiofile/stream.hpp>
#include <aiofile/tempfile/options.hpp>
#include <aiofile/tempfile/place.hpp>
#include <aiofile/tempfile/spool.hpp>
#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/task.hpp>

namespace aiofile::inline CAIO_ABI {

namespace tempfile {

/// A FileStream, but for clone() and file(), whose content is in memory at first. The operation that makes the file
/// longer than max_size brings it to disk before it does its work; if that fails, all is as it was. Operations run in
/// the order they were started, also across that. fileno() stays the same.
class SpooledTemporaryStream : private FileStream {
 public:
  SpooledTemporaryStream(FileStream stream, std::shared_ptr<detail::Spool> spool)
      : FileStream(std::move(stream)), spool_(std::move(spool)) {}

  using FileStream::close;
  using FileStream::closed;
  using FileStream::fdsync;
  using FileStream::fileno;
  using FileStream::flush;
  using FileStream::fsync;
  using FileStream::iter_chunked;
  using FileStream::lines;
  using FileStream::mode;
  using FileStream::name;
  using FileStream::peek;
  using FileStream::read;
  using FileStream::read_into;
  using FileStream::readable;
  using FileStream::readline;
  using FileStream::readlines;
  using FileStream::seek;
  using FileStream::seekable;
  using FileStream::tell;
  using FileStream::writable;

  /// As FileStream's.
  auto write(std::string_view text) {
    return detail::write_spooled<std::size_t>(spool_, detail::cursor_of(*this), text);
  }
  template <std::same_as<std::string> S>
  auto write(S&& text) {
    return detail::write_spooled<std::size_t>(spool_, detail::cursor_of(*this), std::move(text));
  }
  template <class Range>
  auto writelines(const Range& lines) {
    std::string text;
    for (const auto& line : lines) text += std::string_view(line);
    return detail::write_spooled<void>(spool_, detail::cursor_of(*this), std::move(text));
  }
  auto truncate() { return detail::SpooledTruncate(spool_, detail::cursor_of(*this), std::nullopt); }
  auto truncate(std::uint64_t length) {
    return detail::SpooledTruncate(spool_, detail::cursor_of(*this), detail::checked_offset(length, "truncate"));
  }

  /// Brings the content to disk now. Again: does nothing.
  auto rollover() { return detail::Rollover(spool_, detail::cursor_of(*this)); }
  /// Whether it is there.
  [[nodiscard]] bool rolled() const noexcept { return spool_->rolled(); }

 private:
  std::shared_ptr<detail::Spool> spool_;
};

}  // namespace tempfile

namespace detail {

inline caio::Task<tempfile::SpooledTemporaryStream> open_spooled_temporary_file(TemporaryRequest request,
                                                                                std::size_t max_size) {
  const auto engine = request.engine();
  caio::detail::UniqueFd fd = open_memory(request.flags);
  caio::Descriptor descriptor = caio::Descriptor::memory(fd.get(), request.flags);
  const bool rolled = !fd;
  if (rolled) {
    const auto open = [&request](const std::filesystem::path&) {
      return open_unnamed(request.place, "SpooledTemporaryFile", request.flags);
    };
    fd = co_await PathOperation(engine, "SpooledTemporaryFile", request.place.first(), open);
    descriptor = caio::Descriptor(fd.get(), request.flags);
  }
  auto spool = std::make_shared<Spool>(request.place, request.flags, max_size, rolled);
  co_return tempfile::SpooledTemporaryStream(request.stream(engine, std::move(fd), descriptor), std::move(spool));
}

}  // namespace detail

namespace tempfile {

/// Yields a SpooledTemporaryStream: in memory up to max_size bytes, then in an unnamed file as TemporaryFile() makes
/// it. max_size 0: only rollover() moves it. The memory is the kernel's (memfd_create(2), without any pool or disk;
/// one descriptor); where that is not to be had, the file is on disk at once. Options: dir, encoding, context.
///
/// std::invalid_argument, from the call: a bad mode or encoding, buffering.
[[nodiscard]] inline caio::Task<SpooledTemporaryStream> SpooledTemporaryFile(std::size_t max_size = 0,
                                                                             std::string_view mode = "w+b",
                                                                             const TemporaryOptions& options = {}) {
  if (options.buffering != 0) throw std::invalid_argument("aiofile::tempfile::SpooledTemporaryFile: buffering");
  return detail::open_spooled_temporary_file(detail::TemporaryRequest(mode, options), max_size);
}

}  // namespace tempfile

}  // namespace aiofile::inline CAIO_ABI
