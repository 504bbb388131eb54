#pragma once
// UTF-8: its check, and its code points.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
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

namespace detail {

/// How many bytes the first character takes; or what stands there instead of one and counts as one error: the beginning
/// of a character as far as it goes, or a single byte (Unicode 15, 3.9, "U+FFFD Substitution of Maximal Subparts").
inline std::size_t first_unit(std::string_view text) noexcept {
  std::size_t size = 1;
  while (size < text.size() && scan_utf8(text.substr(0, size)).truncated) {
    const Utf8Scan longer = scan_utf8(text.substr(0, size + 1));
    if (longer.valid == 0 && !longer.truncated) break;
    ++size;
  }
  return size;
}

}  // namespace detail

/// How many code points valid UTF-8 has.
[[nodiscard]] inline std::size_t count_code_points(std::string_view text) noexcept {
  std::size_t following = 0;  // bytes that are not a character's first: 10xxxxxx
  std::size_t at = 0;
  for (; text.size() - at >= 8; at += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + at, sizeof word);
    following += static_cast<std::size_t>(std::popcount((word >> 7) & (~word >> 6) & 0x0101'0101'0101'0101U));
  }
  for (; at < text.size(); ++at) following += (static_cast<std::uint8_t>(text[at]) & 0xc0U) == 0x80;
  return text.size() - following;
}

/// How many bytes of valid UTF-8 its first `count` code points take: all, if it has fewer. Adds to `found` how many
/// code points these are.
[[nodiscard]] inline std::size_t skip_code_points(std::string_view text, std::size_t count,
                                                  std::size_t& found) noexcept {
  constexpr std::size_t block = 64;
  std::size_t at = 0;
  std::size_t left = count;
  for (; text.size() - at >= block; at += block) {
    const std::size_t here = count_code_points(text.substr(at, block));
    if (here > left) break;
    left -= here;
  }
  for (; at < text.size(); ++at) {
    if ((static_cast<std::uint8_t>(text[at]) & 0xc0U) == 0x80) continue;
    if (left == 0) break;
    --left;
  }
  found += count - left;
  return at;
}

namespace detail {

inline std::size_t count_lines(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

/// With a '\r' before each '\n'.
inline std::string with_returns(std::string_view text) {
  std::string lines;
  lines.reserve(text.size() + count_lines(text));
  for (std::size_t end; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1)) {
    lines.append(text.substr(0, end)).append("\r\n");
  }
  return lines.append(text);
}

/// How much an operation may take: a number of code points or bytes, or all there is.
class Limit {
 public:
  /// -1: all.
  explicit Limit(std::int64_t size) noexcept : size_(size) {}

  /// The front of `content` that is allowed. Called again with more, it goes on counting where it was.
  std::string_view within(std::string_view content, bool binary) noexcept {
    if (size_ < 0) return content;
    const auto most = static_cast<std::size_t>(size_);
    if (binary) {
      counted_ = found_ = std::min(content.size(), most);
    } else {
      counted_ += skip_code_points(content.substr(counted_), most - found_, found_);
    }
    return content.substr(0, counted_);
  }
  /// Whether the last one was all that is allowed.
  [[nodiscard]] bool reached() const noexcept { return size_ >= 0 && found_ == static_cast<std::size_t>(size_); }

 private:
  std::int64_t size_;
  std::size_t counted_ = 0;  // bytes, with found_ code points or bytes
  std::size_t found_ = 0;
};

}  // namespace detail

/// The longest front of valid UTF-8 that consists of whole characters and has `size` bytes at most; the first character
/// in any case.
[[nodiscard]] inline std::size_t whole_characters(std::string_view text, std::size_t size) noexcept {
  if (size >= text.size()) return text.size();
  const auto follows = [&](std::size_t at) { return (static_cast<std::uint8_t>(text[at]) & 0xc0U) == 0x80; };
  std::size_t end = size;
  while (end > 0 && follows(end)) --end;
  if (end > 0) return end;
  const std::size_t longest = std::min<std::size_t>(text.size(), 4);  // what is longer is no character
  end = std::size_t{1};
  while (end < longest && follows(end)) ++end;
  return end;
}

}  // namespace aiofile::inline CAIO_ABI
