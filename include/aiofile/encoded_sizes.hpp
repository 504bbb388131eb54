#pragma once
// How many bytes of a file the text takes that was decoded from it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <aiofile/encoding.hpp>
#include <aiofile/text.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// The encoding's form tells the usual size of text. Kept are only the places where it is another: what was replaced,
/// left out or translated; and with Form::other, the size of each character.
class EncodedSizes {
 public:
  explicit EncodedSizes(Form form) noexcept : form_(form) {}

  /// Of the last characters that were decoded; `text` is the end of all that was decoded.
  [[nodiscard]] std::uint64_t of(std::string_view text) const noexcept {
    const auto first = first_place(text);
    const std::uint64_t special = first == places_.end() ? 0 : extra_ - first->before;
    return usual(text, held_ ? 1 : 0) + special + shifts_ +
           skipped_;  // what has no character belongs to the one that follows
  }
  /// Only the last characters, `text`, will be asked for.
  void forget_before(std::string_view text) {
    places_.erase(places_.begin(), first_place(text));
    const std::size_t kept = std::min(count_code_points(text) + (held_ ? 1 : 0), widths_.size());
    widths_.erase(widths_.begin(), widths_.end() - static_cast<std::ptrdiff_t>(kept));
  }
  /// Forgets everything.
  void restart() noexcept {
    widths_.clear();
    places_.clear();
    shifts_ = skipped_ = 0;
    held_ = false;
  }
  /// The file ends here: what has no character belongs to the one before it. False: there is no such thing.
  bool end() {
    const std::uint64_t rest = shifts_ + skipped_;
    note(decoded_, rest);
    shifts_ = skipped_ = 0;
    return rest > 0;
  }

  // ---- while text is decoded: offsets are those in the string to which it is appended -----------------------------

  void begin(std::size_t size) noexcept { origin_ = decoded_ - size; }
  /// `held`: a '\r' was decoded that is not in the text yet.
  void decoded(std::size_t size, bool held) noexcept {
    decoded_ = origin_ + size;
    held_ = held;
  }
  [[nodiscard]] bool held() const noexcept { return held_; }

  /// Form::other: bytes that are no character, but belong to the next one.
  void add_shift(std::size_t bytes) noexcept { shifts_ += bytes; }
  /// Form::other: a character, with the shifts before it.
  void add_character() { widths_.push_back(static_cast<std::uint16_t>(std::exchange(shifts_, 0))); }
  /// Form::other: a '\n' that becomes one character with the '\r' before it.
  void add_to_character() noexcept {
    widths_.back() = static_cast<std::uint16_t>(widths_.back() + std::exchange(shifts_, 0));
  }

  /// Bytes were left out.
  void skip(std::size_t bytes) noexcept { skipped_ += bytes; }
  /// The first character behind what was left out begins at `offset`.
  void go_on(std::size_t offset) { note(origin_ + offset + 1, std::exchange(skipped_, 0)); }
  /// The character at `offset` takes the place of so many bytes.
  void replace(std::size_t offset, std::size_t bytes, std::string_view character) {
    if (form_ != Form::other) return note(origin_ + offset + 1, bytes - usual(character, 0));
    add_shift(bytes);
    add_character();
  }
  /// The '\n' at `offset` stands for "\r\n".
  void join(std::size_t offset) { note(origin_ + offset + 1, unit()); }

  /// Bytes of an ASCII character; Form::other: 0, the widths tell.
  [[nodiscard]] std::size_t unit() const noexcept {
    switch (form_) {
      case Form::utf8:
      case Form::single_byte: return 1;
      case Form::utf16: return 2;
      case Form::utf32: return 4;
      case Form::other: break;
    }
    return 0;
  }

 private:
  /// A character whose size is not the usual one.
  struct Place {
    std::uint64_t at;      // decoded bytes, to within that character
    std::uint64_t before;  // what all places before it have more than usual, modulo 2^64
  };

  /// `returns`: so many '\r' more.
  [[nodiscard]] std::uint64_t usual(std::string_view text, std::size_t returns) const noexcept {
    if (form_ == Form::utf8) return text.size() + returns;
    const std::size_t characters = count_code_points(text) + returns;
    if (form_ == Form::utf16) {
      // Characters beyond U+FFFF begin with 0xf0 or more in UTF-8 and have two units in UTF-16.
      const auto large =
          std::count_if(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xf0; });
      return 2 * (characters + static_cast<std::uint64_t>(large));
    }
    if (form_ != Form::other) return unit() * characters;
    std::uint64_t size = 0;
    const std::size_t known = std::min(characters, widths_.size());
    for (std::size_t back = 1; back <= known; ++back) size += widths_[widths_.size() - back];
    return size;
  }

  /// The first place within `text`, the end of all that was decoded.
  [[nodiscard]] std::vector<Place>::const_iterator first_place(std::string_view text) const noexcept {
    return std::upper_bound(places_.begin(), places_.end(), decoded_ - text.size(),
                            [](std::uint64_t at, const Place& place) { return at < place.at; });
  }

  void note(std::uint64_t at, std::uint64_t more) {
    if (more == 0) return;
    places_.push_back({at, extra_});
    extra_ += more;
  }

  Form form_;
  bool held_ = false;
  std::vector<std::uint16_t> widths_;  // Form::other: of each character
  std::vector<Place> places_;          // in order
  std::uint64_t extra_ = 0;            // what all places have more than usual, modulo 2^64
  std::uint64_t decoded_ = 0;          // bytes of text
  std::uint64_t origin_ = 0;           // what decoded_ was where the string begins, modulo 2^64
  std::size_t shifts_ = 0;             // bytes since the last character
  std::size_t skipped_ = 0;            // bytes left out since then
};

}  // namespace aiofile::inline CAIO_ABI::detail
