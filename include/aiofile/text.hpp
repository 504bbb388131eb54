#pragma once
// Encodings by name, and the check of UTF-8.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

/// What a scan of UTF-8 has found.
struct Utf8Scan {
  std::size_t valid = 0;   ///< bytes that are whole, valid characters
  bool truncated = false;  ///< what follows is the beginning of a character, cut by the end
};

namespace detail {

/// How many bytes at the front are ASCII, in steps of 32.
inline std::size_t ascii_prefix(const char* data, std::size_t size) noexcept {
  std::size_t done = 0;
  for (; size - done >= 32; done += 32) {
    std::array<std::uint64_t, 4> words;
    std::memcpy(words.data(), data + done, sizeof words);
    if (((words[0] | words[1] | words[2] | words[3]) & 0x8080'8080'8080'8080U) != 0) break;
  }
  return done;
}

/// The second byte's range and the number of bytes that follow the first (Unicode 15, table 3-7); length 0: no
/// character begins like this.
struct Utf8Lead {
  std::uint8_t following;
  std::uint8_t low = 0x80;
  std::uint8_t high = 0xbf;
};

constexpr Utf8Lead utf8_lead(std::uint8_t first) noexcept {
  if (first >= 0xc2 && first <= 0xdf) return {1};
  if (first == 0xe0) return {2, 0xa0};        // shorter forms exist
  if (first == 0xed) return {2, 0x80, 0x9f};  // surrogates
  if (first >= 0xe1 && first <= 0xef) return {2};
  if (first == 0xf0) return {3, 0x90};
  if (first >= 0xf1 && first <= 0xf3) return {3};
  if (first == 0xf4) return {3, 0x80, 0x8f};  // beyond U+10FFFF
  return {0};
}

}  // namespace detail

/// Finds the longest valid prefix.
[[nodiscard]] inline Utf8Scan scan_utf8(std::string_view text) noexcept {
  const char* const data = text.data();
  const std::size_t size = text.size();
  std::size_t at = 0;
  while (at < size) {
    at += detail::ascii_prefix(data + at, size - at);
    // Through the next few bytes one by one, then the fast path again.
    for (const std::size_t pause = at + 64; at < size && at < pause;) {
      const auto first = static_cast<std::uint8_t>(data[at]);
      if (first < 0x80) {
        ++at;
        continue;
      }
      const detail::Utf8Lead lead = detail::utf8_lead(first);
      if (lead.following == 0) return {at, false};
      std::uint8_t low = lead.low;
      std::uint8_t high = lead.high;
      for (std::size_t next = 1; next <= lead.following; ++next) {
        if (at + next == size) return {at, true};
        const auto byte = static_cast<std::uint8_t>(data[at + next]);
        if (byte < low || byte > high) return {at, false};
        low = 0x80;
        high = 0xbf;
      }
      at += lead.following + std::size_t{1};
    }
  }
  return {size, false};
}

/// The canonical name of an encoding; case, '-' and '_' do not matter. std::invalid_argument when there is none.
[[nodiscard]] inline std::string canonical_encoding(std::string_view encoding) {
  std::string plain;
  for (const char letter : encoding) {
    if (letter == '-' || letter == '_') continue;
    plain += letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  }
  if (plain == "utf8") return "utf-8";
  throw std::invalid_argument("aiofile: unknown encoding \"" + std::string(encoding) + "\"");
}

}  // namespace aiofile::inline CAIO_ABI
