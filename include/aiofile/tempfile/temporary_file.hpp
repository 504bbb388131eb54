#pragma once
// TemporaryFile: a file without a name.

#include <filesystem>
#include <string_view>
#include <utility>

#include <aiofile/path_operation.hpp>
#include <aiofile/stream.hpp>
#include <aiofile/tempfile/options.hpp>
#include <aiofile/tempfile/place.hpp>
#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/task.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

inline caio::Task<FileStream> open_temporary_file(TemporaryRequest request) {
  const auto engine = request.engine();
  const auto open = [&request](const std::filesystem::path&) {
    return open_unnamed(request.place, "TemporaryFile", request.flags);
  };
  caio::detail::UniqueFd fd = co_await PathOperation(engine, "TemporaryFile", request.place.first(), open);
  const caio::Descriptor descriptor(fd.get(), request.flags);
  co_return request.stream(engine, std::move(fd), descriptor);
}

}  // namespace detail

namespace tempfile {

/// Yields a FileStream on a new, empty file that nobody else can open: it has no name, and goes with its last
/// descriptor, whatever happens to the process (O_TMPFILE; where the file system has none, it is unlinked at once). Its
/// permissions are 0600, its name() is /dev/fd/N. Options: dir, encoding, buffering, context.
///
/// One hand-over to the pool. FileError when no directory can be used: of the one that was tried first.
/// std::invalid_argument, from the call: a bad mode or encoding.
[[nodiscard]] inline caio::Task<FileStream> TemporaryFile(std::string_view mode = "w+b",
                                                          const TemporaryOptions& options = {}) {
  return detail::open_temporary_file(detail::TemporaryRequest(mode, options));
}

}  // namespace tempfile

}  // namespace aiofile::inline CAIO_ABI
