#pragma once
// NamedTemporaryFile: a file that is removed when it is closed.

#include <exception>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/owned_name.hpp>
#include <aiofile/path_operation.hpp>
#include <aiofile/stream.hpp>
#include <aiofile/stream_close.hpp>
#include <aiofile/tempfile/options.hpp>
#include <aiofile/tempfile/place.hpp>
#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/task.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

/// Closes, and removes the name in any case.
inline caio::Task<> close_and_remove(StreamClose close, std::shared_ptr<caio::Engine> engine,
                                     std::shared_ptr<OwnedName> name) {
  std::exception_ptr failure;
  try {
    co_await std::move(close);
  } catch (...) {
    failure = std::current_exception();
  }
  const int error = co_await remove_name(std::move(engine), name);
  if (failure) std::rethrow_exception(failure);
  if (error != 0) throw FileError("close", name->name(), error);
}

}  // namespace detail

namespace tempfile {

/// A FileStream whose file has a name(), an absolute path, for as long as the stream lives: close() removes it (unless
/// delete_on_close is false), and so does the destructor, by one unlink(2) in place. Move-only. That somebody has
/// removed or renamed it is no error; a forked child's copy removes nothing.
class NamedTemporaryStream : public FileStream {
 public:
  NamedTemporaryStream(FileStream stream, std::shared_ptr<detail::OwnedName> name, bool delete_on_close)
      : FileStream(std::move(stream)), name_(std::move(name)), delete_on_close_(delete_on_close) {}

  /// FileStream::close(), and removes the file even when that fails. Not stopped by a stop token. Again: does nothing.
  [[nodiscard]] caio::Task<> close() {
    if (!delete_on_close_) return closed_only(FileStream::close());
    return detail::close_and_remove(FileStream::close(), detail::state_of(file())->engine, name_);
  }

 private:
  static caio::Task<> closed_only(detail::StreamClose close) { co_await std::move(close); }

  std::shared_ptr<detail::OwnedName> name_;
  bool delete_on_close_;
};

}  // namespace tempfile

namespace detail {

inline caio::Task<tempfile::NamedTemporaryStream> open_named_temporary_file(TemporaryRequest request,
                                                                            bool delete_on_close) {
  const auto engine = request.engine();
  const auto name = std::make_shared<OwnedName>();
  const auto open = [&request, &name](const std::filesystem::path&) {
    caio::detail::UniqueFd fd;
    request.place.in_first_usable("NamedTemporaryFile", [&](const std::filesystem::path& directory) {
      return request.place.make_new_in(directory, [&](std::filesystem::path path) {
        const int error = open_new(path, request.flags, fd);
        if (error == 0) name->own(caio::detail::UniqueFd(), std::move(path));
        return error;
      });
    });
    return fd;
  };
  caio::detail::UniqueFd fd = co_await PathOperation(engine, "NamedTemporaryFile", request.place.first(), open);
  const caio::Descriptor descriptor(fd.get(), request.flags);
  co_return tempfile::NamedTemporaryStream(request.stream(engine, std::move(fd), descriptor, name->name()), name,
                                           delete_on_close);
}

}  // namespace detail

namespace tempfile {

/// Yields a NamedTemporaryStream on a new, empty file: prefix, twelve random letters, suffix; permissions 0600; nobody
/// else's file is ever opened (O_EXCL; after 128 names that exist already: EEXIST).
///
/// One hand-over to the pool. FileError when no directory can be used: of the one that was tried first.
/// std::invalid_argument, from the call: a bad mode or encoding, a prefix or suffix with a slash in it.
[[nodiscard]] inline caio::Task<NamedTemporaryStream> NamedTemporaryFile(std::string_view mode = "w+b",
                                                                         const TemporaryOptions& options = {}) {
  return detail::open_named_temporary_file(detail::TemporaryRequest(mode, options), options.delete_on_close);
}

}  // namespace tempfile

}  // namespace aiofile::inline CAIO_ABI
