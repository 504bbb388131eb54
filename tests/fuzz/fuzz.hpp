#pragma once
// What the fuzz targets share: decisions drawn from the input, files in memory, and a violation that ends the run.

#include <sys/mman.h>
#include <unistd.h>

#include <caio/caio.hpp>
#include <caio/detail/unique_fd.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace fuzz {

/// The control: a target that is built with a mistake of its own, which has to be found.
#ifdef AIOFILE_PLANT_BUG
inline constexpr bool planted = true;
#else
inline constexpr bool planted = false;
#endif

inline void require(bool held, const char* promise) {
  if (held) return;
  std::fprintf(stderr, "violated: %s\n", promise);
  std::abort();
}

/// The input: bytes that decide, then the rest.
class Source {
 public:
  Source(const std::uint8_t* data, std::size_t size) : left_(reinterpret_cast<const char*>(data), size) {}
  explicit Source(std::string_view bytes) : left_(bytes) {}

  [[nodiscard]] bool empty() const { return left_.empty(); }
  /// 0 behind the end.
  std::uint8_t byte() {
    if (left_.empty()) return 0;
    const auto first = static_cast<std::uint8_t>(left_.front());
    left_.remove_prefix(1);
    return first;
  }
  std::uint16_t word() {
    const unsigned high = byte();
    return static_cast<std::uint16_t>(high << 8 | byte());
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int i = 0; i < 4; ++i) value = value << 16 | word();
    return value;
  }
  std::string_view take(std::size_t size) {
    const std::string_view front = left_.substr(0, size);
    left_.remove_prefix(front.size());
    return front;
  }
  std::string_view rest() { return take(left_.size()); }

 private:
  std::string_view left_;
};

/// A file in memory.
class File {
 public:
  explicit File(std::string_view content = {}) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    const auto written = ::pwrite(fd_.get(), content.data(), content.size(), 0);
    require(written == static_cast<::ssize_t>(content.size()), "a file in memory can be made");
  }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::string content() const {
    std::string text(static_cast<std::size_t>(::lseek(fd_.get(), 0, SEEK_END)), '\0');
    const auto got = ::pread(fd_.get(), text.data(), text.size(), 0);
    require(got == static_cast<::ssize_t>(text.size()), "a file in memory can be read");
    return text;
  }

 private:
  caio::detail::UniqueFd fd_;
};

/// One for all runs.
inline caio::Context& context(bool threads = false) {
  static caio::Context blocking(caio::Implementation::blocking);
  static caio::Context thread(caio::Implementation::thread, {.pool_size = 1, .speculate = false});
  return threads ? thread : blocking;
}

/// A UTF-8 decoder that does nothing fast: the length of the character at the front, 0 if there is none.
inline std::size_t character(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t at) { return static_cast<std::uint32_t>(static_cast<std::uint8_t>(text[at])); };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc0 || first >= 0xf8 || text.size() < length) return 0;
  std::uint32_t point = first & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    point = point << 6 | (byte(i) & 0x3f);
  }
  constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = point >= 0xd800 && point <= 0xdfff;
  return point < smallest[length] || point > 0x10ffff || surrogate ? 0 : length;
}

/// Whether some bytes would make a character of it. Only the second byte has other bounds than 80..bf.
inline bool begins_character(const std::string& text) {
  if (text.empty() || text.size() > 3) return false;
  for (const char next : {'\x80', '\x8f', '\x90', '\x9f', '\xa0', '\xbf'}) {
    const std::string longer = text + next;
    if (character(longer) == longer.size() || begins_character(longer)) return true;
  }
  return false;
}

/// The bytes of whole, valid characters at the front.
inline std::size_t valid_prefix(std::string_view text) {
  std::size_t valid = 0;
  for (std::size_t next = 0; (next = character(text.substr(valid))) > 0;) valid += next;
  return valid;
}

/// The bytes of the first `count` characters.
inline std::size_t characters(std::string_view valid, std::size_t count) {
  std::size_t bytes = 0;
  for (; count > 0 && bytes < valid.size(); --count) bytes += character(valid.substr(bytes));
  return bytes;
}

}  // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
