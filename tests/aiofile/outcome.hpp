#pragma once
// What the tests of files have in common: the errors of what is awaited, and descriptors of this process.

#include <fcntl.h>
#include <unistd.h>

#include <aiofile/error.hpp>
#include <caio/implementation.hpp>
#include <caio/task.hpp>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/pipe.hpp"

namespace outcome {

/// The FileError of what is awaited, if it fails.
template <class A>
caio::Task<std::optional<aiofile::FileError>> failure_of(A awaitable) {
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (const aiofile::FileError& error) {
    co_return error;
  }
  co_return std::nullopt;
}

/// What the exception says that is thrown, if one is.
template <class A>
caio::Task<std::string> thrown_by(A awaitable) {
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (const std::exception& error) {
    co_return error.what();
  }
  co_return "";
}

/// The errno of a FileError; 0 when it succeeds.
template <class A>
caio::Task<int> error_of(A awaitable) {
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (const aiofile::FileError& error) {
    co_return error.code().value();
  }
  co_return 0;
}

/// The same for a TaskGroup, which wants no result.
template <class A>
caio::Task<> store_error(A awaitable, int& error) {
  error = co_await error_of(std::move(awaitable));
}

inline bool is_open(int fd) { return std::filesystem::is_symlink("/proc/self/fd/" + std::to_string(fd)); }

/// How many descriptors of this process are open files of that name.
inline std::size_t descriptors_of(const std::filesystem::path& path) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone) == path) ++count;
  }
  return count;
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::vector<std::byte> vector_of(std::string_view text) {
  const auto bytes = bytes_of(text);
  return {bytes.begin(), bytes.end()};
}

/// Different bytes at every place, the same for the same `seed`.
inline std::string pattern(std::size_t size, unsigned seed = 0) {
  std::string text(size, '\0');
  std::uint32_t state = seed * 2654435761U + 12345U;
  for (char& letter : text) {
    state = state * 1664525U + 1013904223U;
    letter = static_cast<char>(' ' + (state >> 24) % 95);
  }
  return text;
}

/// The backends whose every transfer is a plain system call.
inline const caio::Implementation plain_backends[] = {caio::Implementation::thread, caio::Implementation::blocking};

/// What a stream's read gives, or the errno with which it fails.
template <class Stream>
caio::Task<> store(Stream& stream, std::int64_t size, std::string& text, int& error) {
  try {
    text = co_await stream.read(size);
    error = 0;
  } catch (const aiofile::FileError& failure) {
    error = failure.code().value();
  }
}

}  // namespace outcome
