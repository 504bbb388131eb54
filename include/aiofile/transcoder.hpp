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
#include <system_error>
#include <utility>
#include <vector>

#include <aiofile/encoded_sizes.hpp>
#include <aiofile/encoding.hpp>
#include <aiofile/iconv.hpp>
#include <aiofile/text.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

class Transcoder {
 public:
  enum class Outcome : std::uint8_t {
    all,         ///< everything was decoded
    incomplete,  ///< what is left is the beginning of a character
    invalid,     ///< what is left is not valid; only with Errors::strict
  };

  explicit Transcoder(Encoding encoding) : encoding_(std::move(encoding)), sizes_(encoding_.form) {}

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
    sizes_.restart();
  }

  /// Appends the text of `bytes` to `text`, and leaves in `bytes` what could not be decoded yet. `at_start`: they are
  /// the file's first. `last`: they are its last, and only Errors::strict leaves anything; else a '\r' at their end may
  /// be held until it is known what follows.
  Outcome decode(std::string_view& bytes, bool at_start, std::string& text, bool last = false) {
    if (at_start && encoding_.marked) skip_mark(bytes);
    sizes_.begin(text.size());
    bool held = sizes_.held();
    Outcome outcome;
    do {
      const std::size_t from = text.size();
      if (held) text += '\r';
      const std::size_t before = text.size();
      outcome = decode_valid(bytes, text);
      if (text.size() > before) sizes_.go_on(from);
      if (encoding_.newline == Newline::universal) {
        const bool more = outcome == Outcome::invalid ? encoding_.errors == Errors::ignore : !last;
        held = unify_newlines(text, from, more);
      }
    } while (mend(bytes, outcome, last, text));
    sizes_.decoded(text.size(), held);
    return outcome;
  }
  [[nodiscard]] bool holds_return() const noexcept { return sizes_.held(); }

  /// How many bytes of the file the last characters that were decoded took; `text` is the end of all that was decoded.
  [[nodiscard]] std::uint64_t encoded_size(std::string_view text) const noexcept { return sizes_.of(text); }
  /// The file ends here: bytes without a character, shifts and what was left out, belong to what stands before them.
  /// False: there are none.
  bool end() { return sizes_.end(); }
  /// Of the characters decoded so far only the last, `text`, will be asked for.
  void forget_before(std::string_view text) { sizes_.forget_before(text); }

  /// Appends `text` in the file's encoding to `bytes`; whole by itself, so that writes can follow in any order.
  /// `at_start`: they become the file's first. Gives the offset in `text` of what cannot be expressed, if any.
  std::optional<std::size_t> encode(std::string_view text, bool at_start, std::string& bytes) {
    if (text.empty()) return std::nullopt;
    if (at_start && encoding_.marked) bytes += mark();
    std::string lines;
    if (encoding_.newline == Newline::crlf) text = lines = with_returns(text);
    if (encoding_.form != Form::utf8) {
      if (!encode_) encode_ = opened(name(), "UTF-8");
      encode_.reset();
    }
    std::size_t piece = text.size();
    for (std::string_view left = text; !left.empty();) {
      const std::string_view part = left.substr(0, whole_characters(left, piece));
      const std::size_t valid = encode_valid(part, bytes);
      left.remove_prefix(valid);
      piece *= 2;
      if (valid == part.size()) continue;
      if (encoding_.errors == Errors::strict) {
        const std::string_view good = text.substr(0, text.size() - left.size());
        return lines.empty() ? good.size() : good.size() - count_lines(good);
      }
      left.remove_prefix(first_unit(left));
      if (encoding_.errors == Errors::replace) encode_valid("?", bytes);
      piece = next_piece;
    }
    if (encoding_.form == Form::utf8) return std::nullopt;
    std::array<char, 16> ending;
    char* to = ending.data();
    std::size_t room = ending.size();
    encode_.finish(to, room);
    bytes.append(ending.data(), ending.size() - room);
    return std::nullopt;
  }

 private:
  // Before it says that a character cannot be encoded, iconv converts many that follow, in vain.
  static constexpr std::size_t next_piece = 32;
  // As long as a conversion may end anywhere, its memory must not be in proportion to what is left.
  static constexpr std::size_t small_room = 4096;
  // No character and no escape sequence of glibc's encodings is longer.
  static constexpr std::size_t longest_unit = 16;

  [[nodiscard]] const char* name() const noexcept {
    const bool big = order_ == ByteOrder::big;
    if (encoding_.form == Form::utf8) return "UTF-8";
    if (!encoding_.marked) return encoding_.name.c_str();
    return encoding_.form == Form::utf16 ? (big ? "UTF-16BE" : "UTF-16LE") : (big ? "UTF-32BE" : "UTF-32LE");
  }

  /// That it could be opened when the file was does not mean that it can be now: it is loaded from a file.
  static Iconv opened(const char* to, const char* from) {
    Iconv made(to, from);
    if (!made) throw std::system_error(errno, std::system_category(), "iconv_open");
    return made;
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

  Outcome decode_valid(std::string_view& bytes, std::string& text) {
    if (encoding_.form == Form::utf8) return check(bytes, text);
    if (encoding_.form == Form::single_byte) return look_up(bytes, text);
    if (!decode_) decode_ = opened("UTF-8", name());
    if (encoding_.form == Form::other) return decode_singly(bytes, text);
    int error = E2BIG;
    while (error == E2BIG) {
      const std::size_t room = bytes.size() + bytes.size() / 2 + 16;
      error = decode_.append(bytes, text, encoding_.errors == Errors::strict ? room : std::min(room, small_room));
    }
    return error == 0 ? Outcome::all : error == EINVAL ? Outcome::incomplete : Outcome::invalid;
  }

  /// Takes away what stands at the front of `bytes` and is no character. False: there is nothing to be mended.
  bool mend(std::string_view& bytes, Outcome outcome, bool last, std::string& text) {
    if (outcome == Outcome::all || encoding_.errors == Errors::strict) return false;
    if (outcome == Outcome::incomplete && !last) return false;
    const std::size_t size = outcome == Outcome::incomplete ? bytes.size() : wrong_size(bytes);
    bytes.remove_prefix(size);
    if (encoding_.errors == Errors::replace) {
      constexpr std::string_view replacement = "\xef\xbf\xbd";
      sizes_.replace(text.size(), size, replacement);
      text += replacement;
    } else {
      sizes_.skip(size);
    }
    return true;
  }

  /// How many bytes count as one error.
  [[nodiscard]] std::size_t wrong_size(std::string_view bytes) const noexcept {
    if (encoding_.form == Form::utf8) return first_unit(bytes);
    return std::clamp<std::size_t>(sizes_.unit(), 1, bytes.size());
  }

  /// Makes one '\n' of each "\r\n" and '\r' behind `from`. `more`: one at the end may get its '\n' yet; then it is
  /// taken away, and the result is true.
  bool unify_newlines(std::string& text, std::size_t from, bool more) {
    std::size_t at = text.find('\r', from);
    if (at == std::string::npos) return false;
    std::size_t to = at;
    while (at < text.size()) {
      const bool at_end = at + 1 == text.size();
      if (at_end && more) break;
      if (!at_end && text[at + 1] == '\n') {
        ++at;
        sizes_.join(to);
      }
      text[to++] = '\n';
      const std::size_t next = std::min(text.find('\r', ++at), text.size());
      std::string::traits_type::move(text.data() + to, text.data() + at, next - at);
      to += next - at;
      at = next;
    }
    const bool held = at < text.size();
    text.resize(to);
    return held;
  }

  static Outcome check(std::string_view& bytes, std::string& text) {
    const Utf8Scan scan = scan_utf8(bytes);
    text += bytes.substr(0, scan.valid);
    bytes.remove_prefix(scan.valid);
    return bytes.empty() ? Outcome::all : scan.truncated ? Outcome::incomplete : Outcome::invalid;
  }

  Outcome look_up(std::string_view& bytes, std::string& text) {
    if (letters_.empty()) {
      Iconv decode = opened("UTF-8", name());
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
        error = decode_.append(piece, text, 64);
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
      sizes_.add_shift(taken);  // shifts have no character of their own
      if (joins(added, text)) {
        sizes_.add_to_character();
      } else {
        for (std::size_t more = count_code_points(added); more > 0; --more) sizes_.add_character();
      }
    }
    return Outcome::all;
  }

  /// Whether `added`, the end of `text`, is the '\n' of a "\r\n" that will be one character.
  [[nodiscard]] bool joins(std::string_view added, std::string_view text) const noexcept {
    return encoding_.newline == Newline::universal && added == "\n" && text.ends_with("\r\n");
  }

  /// Appends the front of `text` that can be expressed; gives its size.
  std::size_t encode_valid(std::string_view text, std::string& bytes) {
    if (encoding_.form == Form::utf8) {
      const std::size_t valid = scan_utf8(text).valid;
      bytes += text.substr(0, valid);
      return valid;
    }
    std::string_view kept = text;
    if (text.find(tag_prefix) != text.npos) {
      Iconv other = opened(name(), "UTF-8");  // encode_ may be amid a text
      kept = text.substr(0, left_out(other, text));
    }
    std::string_view left = kept;
    int error = E2BIG;
    while (error == E2BIG) error = encode_.append(left, bytes, 2 * left.size() + 32);
    return kept.size() - left.size();
  }

  Encoding encoding_;
  ByteOrder order_ = ByteOrder::little;
  Iconv decode_;
  Iconv encode_;
  std::vector<std::string> letters_;  // Form::single_byte: the text of each byte
  EncodedSizes sizes_;
};

}  // namespace aiofile::inline CAIO_ABI::detail
