#pragma once
// A whole file with one call.

#include <fcntl.h>

#include <concepts>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <aiofile/file.hpp>
#include <aiofile/options.hpp>
#include <caio/config.hpp>
#include <caio/task.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

inline caio::Task<std::string> read_whole(AIOFile file) {
  co_await file.open();
  std::string content = co_await file.read();
  co_await file.close();
  co_return content;
}

template <class Text>
caio::Task<> write_and_close(AIOFile file, Text text) {
  co_await file.open();
  co_await file.write(std::string_view(text));
  co_await file.close();
}

template <class Text>
caio::Task<> write_whole(AIOFile file, Text&& text) {
  if (!file.mode().writable) throw std::invalid_argument("aiofile::write_file: a mode that does not write");
  return write_and_close<std::remove_cvref_t<Text>>(std::move(file), std::forward<Text>(text));
}

}  // namespace detail

/// Yields all of a file as a std::string: its bytes, or with mode "r" its text in UTF-8 (OpenOptions::encoding says
/// what it is encoded in). Throws FileError, DecodeError; std::invalid_argument, from the call: a mode that does not
/// read, or would empty the file first.
inline caio::Task<std::string> read_file(std::filesystem::path path, std::string_view mode = "rb",
                                         const OpenOptions& options = {}) {
  AIOFile file(std::move(path), mode, options);
  if (!file.mode().readable || (file.mode().flags & O_TRUNC) != 0) {
    throw std::invalid_argument("aiofile::read_file: a mode that does not read, or empties the file");
  }
  return detail::read_whole(std::move(file));
}

/// Makes a file of `text`, or replaces what it had; with another mode it appends ("ab"), or refuses to replace ("xb").
/// A view's characters live until the await is done. What fails or is cancelled may leave a part, and nothing is
/// synced. Throws FileError, EncodeError; std::invalid_argument, from the call: a mode that does not write.
inline caio::Task<> write_file(std::filesystem::path path, std::string_view text, std::string_view mode = "wb",
                               const OpenOptions& options = {}) {
  return detail::write_whole(AIOFile(std::move(path), mode, options), text);
}
template <std::same_as<std::string> S>
caio::Task<> write_file(std::filesystem::path path, S&& text, std::string_view mode = "wb",
                        const OpenOptions& options = {}) {
  return detail::write_whole(AIOFile(std::move(path), mode, options), std::move(text));
}

}  // namespace aiofile::inline CAIO_ABI
