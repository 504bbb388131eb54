#pragma once
// Descriptors, bytes and errors for the tests of the engine.

#include <fcntl.h>
#include <unistd.h>

#include <caio/request.hpp>
#include <caio/task.hpp>
#include <cstddef>
#include <filesystem>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "support/pipe.hpp"

namespace support {

inline caio::Request request_of(caio::Opcode opcode, int fd, void* buffer, std::size_t length, std::int64_t offset) {
  caio::Request request;
  request.opcode = opcode;
  request.descriptor = caio::Descriptor(fd);
  request.buffer = buffer;
  request.length = length;
  request.offset = offset;
  return request;
}

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::span<std::byte> room_in(std::string& text) { return std::as_writable_bytes(std::span(text)); }

inline std::string alphabet(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 26);
  return text;
}

/// How many of this process's descriptors are open on the path or below it; a context's own come and go as it needs
/// them.
inline std::size_t descriptors_on(const std::filesystem::path& path) {
  const std::string wanted = std::filesystem::canonical(path).string();
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry, gone).native().starts_with(wanted)) ++count;
  }
  return count;
}

/// 0, 1, 2 ... count - 1.
inline std::vector<int> numbers(int count) {
  std::vector<int> list(static_cast<std::size_t>(count));
  std::iota(list.begin(), list.end(), 0);
  return list;
}

/// The errno of the std::system_error that the operation throws, 0 when it succeeds.
template <class Awaitable>
caio::Task<int> errno_of(Awaitable operation) {
  try {
    static_cast<void>(co_await std::move(operation));
  } catch (const std::system_error& error) {
    co_return error.code().value();
  }
  co_return 0;
}

}  // namespace support
