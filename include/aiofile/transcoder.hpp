#pragma once
// From a file's encoding to UTF-8 and back, piece by piece.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <aiofile/encoding.hpp>
#include <aiofile/text.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

class Transcoder {
 public:
  enum class Outcome : std::uint8_t {
    all,         ///< everything was decoded
    incomplete,  ///< what is left is the beginning of a character
    invalid,     ///< what is left is not valid
  };

  explicit Transcoder(Encoding encoding) : encoding_(std::move(encoding)) {}

  [[nodiscard]] ByteOrder order() const noexcept { return order_; }
  /// What is known from elsewhere.
  void set_order(ByteOrder order) noexcept {
    if (order == order_) return;
    order_ = order;
    decode_ = Iconv();
    encode_ = Iconv();
  }

  /// Forgets the beginning of what was decoded before.
  void restart() {
    if (decode_) decode_.reset();
    widths_.clear();
    pending_ = 0;
  }

  /// Appends the text of `bytes` to `text`, and leaves in `bytes` what could not be decoded yet. `at_start`: they are
  /// the file's first.
  Outcome decode(std::string_view& bytes, bool at_start, std::string& text) {
    if (at_start && encoding_.marked) skip_mark(bytes);
    if (encoding_.form == Form::utf8) return check(bytes, text);
    if (encoding_.form == Form::single_byte) return look_up(bytes, text);
    if (!decode_) decode_ = Iconv("UTF-8", name());
    if (encoding_.form == Form::other) return decode_singly(bytes, text);
    int error = E2BIG;
    while (error == E2BIG) error = convert(decode_, bytes, text, bytes.size() + bytes.size() / 2 + 16);
    return error == 0 ? Outcome::all : error == EINVAL ? Outcome::incomplete : Outcome::invalid;
  }

  /// How many bytes of the file the last characters that were decoded took; `text` is the end of all that was decoded.
  [[nodiscard]] std::uint64_t encoded_size(std::string_view text) const noexcept {
    switch (encoding_.form) {
      case Form::utf8: return text.size();
      case Form::single_byte: return count_code_points(text);
      case Form::utf32: return 4 * count_code_points(text);
      case Form::utf16: {
        // Characters beyond U+FFFF begin with 0xf0 or more in UTF-8 and have two units in UTF-16.
        const auto large =
            std::count_if(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xf0; });
        return 2 * (count_code_points(text) + static_cast<std::uint64_t>(large));
      }
      case Form::other: break;
    }
    std::uint64_t size = pending_;  // shifts belong to the character that follows
    const std::size_t characters = std::min(count_code_points(text), widths_.size());
    for (std::size_t back = 1; back <= characters; ++back) size += widths_[widths_.size() - back];
    return size;
  }
  /// The file ends here: shifts that were taken belong to what stands before them.
  void pass_shifts() noexcept {
    if (!widths_.empty()) widths_.back() = static_cast<std::uint16_t>(widths_.back() + pending_);
    pending_ = 0;
  }
  /// Of the characters decoded so far only the last, `text`, will be asked for.
  void forget_before(std::string_view text) {
    if (encoding_.form != Form::other) return;
    const std::size_t kept = std::min(count_code_points(text), widths_.size());
    widths_.erase(widths_.begin(), widths_.end() - static_cast<std::ptrdiff_t>(kept));
  }

  /// Appends `text` in the file's encoding to `bytes`; whole by itself, so that writes can follow in any order.
  /// `at_start`: they become the file's first. Gives the offset in `text` of what cannot be expressed, if any.
  std::optional<std::size_t> encode(std::string_view text, bool at_start, std::string& bytes) {
    if (text.empty()) return std::nullopt;
    if (at_start && encoding_.marked) bytes += mark();
    if (encoding_.form == Form::utf8) {
      bytes += text;
      const std::size_t valid = scan_utf8(text).valid;
      return valid < text.size() ? std::optional(valid) : std::nullopt;
    }
    if (!encode_) encode_ = Iconv(name(), "UTF-8");
    encode_.reset();
    std::string_view left = text;
    int error = E2BIG;
    while (error == E2BIG) error = convert(encode_, left, bytes, 2 * left.size() + 32);
    if (error != 0) return text.size() - left.size();
    std::array<char, 16> ending;
    char* to = ending.data();
    std::size_t room = ending.size();
    encode_.finish(to, room);
    bytes.append(ending.data(), ending.size() - room);
    return swallowed(text);
  }

 private:
  // No character and no escape sequence of glibc's encodings is longer.
  static constexpr std::size_t longest_unit = 16;

  [[nodiscard]] const char* name() const noexcept {
    const bool big = order_ == ByteOrder::big;
    if (encoding_.form == Form::utf8) return "UTF-8";
    if (!encoding_.marked) return encoding_.name.c_str();
    return encoding_.form == Form::utf16 ? (big ? "UTF-16BE" : "UTF-16LE") : (big ? "UTF-32BE" : "UTF-32LE");
  }

  [[nodiscard]] std::string_view mark() const noexcept {
    const bool big = order_ == ByteOrder::big;
    if (encoding_.form == Form::utf8) return "\xef\xbb\xbf";
    if (encoding_.form == Form::utf16) return big ? "\xfe\xff" : "\xff\xfe";
    return big ? std::string_view("\0\0\xfe\xff", 4) : std::string_view("\xff\xfe\0\0", 4);
  }

  /// A mark of which only a part is here is not text yet either, and comes again with the rest.
  void skip_mark(std::string_view& bytes) {
    const ByteOrder before = order_;
    for (const ByteOrder order : {ByteOrder::little, ByteOrder::big}) {
      set_order(order);
      if (!bytes.starts_with(mark())) continue;
      bytes.remove_prefix(mark().size());
      return;
    }
    set_order(before);
  }

  /// One call of iconv with room for `room` bytes at the end of `output`.
  static int convert(Iconv& iconv, std::string_view& input, std::string& output, std::size_t room) {
    const std::size_t before = output.size();
    output.resize(before + room);
    const char* from = input.data();
    std::size_t left = input.size();
    char* to = output.data() + before;
    const int error = iconv.convert(from, left, to, room);
    output.resize(output.size() - room);
    input.remove_prefix(input.size() - left);
    return error;
  }

  static Outcome check(std::string_view& bytes, std::string& text) {
    const Utf8Scan scan = scan_utf8(bytes);
    text += bytes.substr(0, scan.valid);
    bytes.remove_prefix(scan.valid);
    return bytes.empty() ? Outcome::all : scan.truncated ? Outcome::incomplete : Outcome::invalid;
  }

  Outcome look_up(std::string_view& bytes, std::string& text) {
    if (letters_.empty()) {
      Iconv decode("UTF-8", name());
      std::vector<std::string> letters;
      for (unsigned byte = 0; byte < 256; ++byte) letters.push_back(decode_byte(decode, byte));
      letters_ = std::move(letters);  // all of them or none
    }
    for (; !bytes.empty(); bytes.remove_prefix(1)) {
      const std::string& letter = letters_[static_cast<unsigned char>(bytes.front())];
      if (letter.empty()) return Outcome::invalid;
      text += letter;
    }
    return Outcome::all;
  }

  /// Gives the decoder one byte more until it takes some, to learn how many belong to each character.
  Outcome decode_singly(std::string_view& bytes, std::string& text) {
    while (!bytes.empty()) {
      const std::size_t before = text.size();
      std::size_t taken = 0;
      int error = EINVAL;
      for (std::size_t size = 1; size <= std::min(bytes.size(), longest_unit) && taken == 0; ++size) {
        std::string_view piece = bytes.substr(0, size);
        error = convert(decode_, piece, text, 64);
        taken = size - piece.size();
        if (error == EILSEQ) return Outcome::invalid;
      }
      if (taken == 0) return bytes.size() < longest_unit ? Outcome::incomplete : Outcome::invalid;
      const std::string_view added = std::string_view(text).substr(before);
      if (scan_utf8(added).valid < added.size()) {  // some of glibc's decoders give what lies beyond U+10FFFF
        text.resize(before);
        return Outcome::invalid;
      }
      bytes.remove_prefix(taken);
      pending_ += taken;  // shifts have no character of their own
      for (std::size_t more = count_code_points(added); more > 0; --more) {
        widths_.push_back(static_cast<std::uint16_t>(std::exchange(pending_, 0)));
      }
    }
    return Outcome::all;
  }

  /// The offset of a character that iconv leaves out without a word: glibc does so with tags, U+E0000..U+E007F.
  std::optional<std::size_t> swallowed(std::string_view text) {
    constexpr std::string_view tags = "\xf3\xa0";
    for (std::size_t at = text.find(tags); at != std::string_view::npos; at = text.find(tags, at + 1)) {
      if (size_of(text.substr(at, 4), 1) == size_of(text.substr(at, 4), 2)) return at;
    }
    return std::nullopt;
  }

  /// How many bytes a character takes, that many times, with what the encoding puts before it.
  std::size_t size_of(std::string_view character, int times) {
    std::string bytes;
    encode_.reset();
    for (; times > 0; --times) {
      std::string_view left = character;
      convert(encode_, left, bytes, 32);
    }
    return bytes.size();
  }

  Encoding encoding_;
  ByteOrder order_ = ByteOrder::little;
  Iconv decode_;
  Iconv encode_;
  std::vector<std::string> letters_;   // Form::single_byte: the text of each byte
  std::vector<std::uint16_t> widths_;  // Form::other: bytes of each character that was decoded
  std::size_t pending_ = 0;            // bytes taken since then
};

}  // namespace aiofile::inline CAIO_ABI::detail
