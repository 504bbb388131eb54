#pragma once
// Encodings by name.

#include <iconv.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/text.hpp>
#include <aiofile/text_options.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

/// How a character and its bytes in the file correspond.
enum class Form : std::uint8_t {
  utf8,
  single_byte,
  utf16,
  utf32,
  other,  ///< only decoding tells
};

/// The byte order that a file's mark has told; without one, this machine's, which is little-endian.
enum class ByteOrder : std::uint8_t { little, big };

/// How text stands in a file.
struct Encoding {
  std::string name = "utf-8";  ///< the canonical one
  Form form = Form::utf8;
  bool marked = false;  ///< the file begins with a byte-order mark, which is no part of the text
  Errors errors = Errors::strict;
  Newline newline = Newline::none;

  /// The bytes that are read are not yet the text.
  [[nodiscard]] bool decodes() const noexcept { return converts() || newline == Newline::universal; }
  /// The text is not yet the bytes to write.
  [[nodiscard]] bool encodes() const noexcept { return converts() || newline == Newline::crlf; }
  /// What a line ends with when it has been read.
  [[nodiscard]] std::string_view line_end() const noexcept { return newline == Newline::crlf ? "\r\n" : "\n"; }

 private:
  [[nodiscard]] bool converts() const noexcept { return form != Form::utf8 || marked || errors != Errors::strict; }
};

/// A conversion of iconv(3), which is part of glibc.
class Iconv {
 public:
  Iconv() = default;
  /// Nothing where one of the two is not known.
  Iconv(const char* to, const char* from) : handle_(::iconv_open(to, from)) {
    if (!*this && errno == ENOMEM) throw std::bad_alloc();
  }
  Iconv(Iconv&& other) noexcept : handle_(std::exchange(other.handle_, none())) {}
  Iconv& operator=(Iconv&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Iconv() {
    if (*this) ::iconv_close(handle_);
  }
  explicit operator bool() const noexcept { return handle_ != none(); }

  /// Advances both; gives 0 or the errno: E2BIG, EILSEQ, EINVAL.
  int convert(const char*& input, std::size_t& input_size, char*& output, std::size_t& output_size) noexcept {
    char* unread = const_cast<char*>(input);  // not written to
    const bool failed = ::iconv(handle_, &unread, &input_size, &output, &output_size) == static_cast<std::size_t>(-1);
    input = unread;
    return failed ? errno : 0;
  }
  /// The same with room for `room` bytes at the end of `output`.
  int append(std::string_view& input, std::string& output, std::size_t room) {
    const std::size_t before = output.size();
    output.resize(before + room);
    const char* from = input.data();
    std::size_t left = input.size();
    char* to = output.data() + before;
    const int error = convert(from, left, to, room);
    output.resize(output.size() - room);
    input.remove_prefix(input.size() - left);
    return error;
  }
  /// Writes what leads back to the initial state.
  void finish(char*& output, std::size_t& output_size) noexcept {
    ::iconv(handle_, nullptr, nullptr, &output, &output_size);
  }
  void reset() noexcept { ::iconv(handle_, nullptr, nullptr, nullptr, nullptr); }

 private:
  static ::iconv_t none() noexcept { return reinterpret_cast<::iconv_t>(-1); }

  ::iconv_t handle_ = none();
};

/// The character of one byte, in UTF-8; empty: there is none. Some decoders hold it back, in wait for an accent: that
/// is fetched, and accents stay characters of their own, as they are in the file.
inline std::string decode_byte(Iconv& decode, unsigned byte) {
  const char letter = static_cast<char>(byte);
  std::array<char, 16> text;
  const char* from = &letter;
  char* to = text.data();
  std::size_t left = 1;
  std::size_t room = text.size();
  decode.reset();
  if (decode.convert(from, left, to, room) != 0) return {};
  decode.finish(to, room);
  return {text.data(), text.size() - room};
}

/// Whether each byte is one character, or none by any bytes that may follow.
inline bool is_single_byte(const char* name) {
  Iconv decode("UTF-8", name);
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (count_code_points(decode_byte(decode, byte)) == 1) continue;
    const std::array<char, 2> letters{static_cast<char>(byte), 'a'};
    const char* from = letters.data();
    std::size_t left = 1;
    std::array<char, 16> text;
    char* to = text.data();
    std::size_t room = text.size();
    decode.reset();
    if (decode.convert(from, left, to, room) != EILSEQ) return false;
  }
  return true;
}

/// Whether it can be decoded piece by piece and encoded write by write: not if letters are held back, or a mark is
/// written before each text.
inline bool is_regular(const char* name) {
  Iconv encode(name, "UTF-8");
  Iconv decode("UTF-8", name);
  std::array<char, 32> bytes;
  const char* from = "A";
  char* to = bytes.data();
  std::size_t left = 1;
  std::size_t room = bytes.size();
  if (encode.convert(from, left, to, room) != 0) return false;
  const std::string_view encoded(bytes.data(), bytes.size() - room);
  if (encoded.starts_with("\xff\xfe") || encoded.starts_with("\xfe\xff")) return false;
  std::array<char, 16> text;
  const char* again = bytes.data();
  left = encoded.size();
  to = text.data();
  room = text.size();
  return decode.convert(again, left, to, room) == 0 && std::string_view(text.data(), text.size() - room) == "A";
}

/// Looks an encoding up, under the names that iconv(3) and Python know; case does not matter. std::invalid_argument
/// when there is none.
inline Encoding find_encoding(std::string_view wanted) {
  if (wanted == "utf-8") return {};  // every open() asks
  std::string given;
  std::string plain;
  std::string dashed;
  bool allowed = !wanted.empty();
  for (char letter : wanted) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    const bool usual = (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9');
    // iconv's own '/' would add options such as //IGNORE: what cannot be converted is an error here.
    allowed = allowed && (usual || std::string_view("-_.:").find(letter) != std::string_view::npos);
    given += letter;
    dashed += letter == '_' ? '-' : letter;
    if (letter != '-' && letter != '_') plain += letter;
  }
  if (plain == "utf8") return {};
  if (plain == "utf8sig") return {"utf-8-sig", Form::utf8, true};
  if (plain == "utf16") return {"utf-16", Form::utf16, true};
  if (plain == "utf16le") return {"utf-16le", Form::utf16, false};
  if (plain == "utf16be") return {"utf-16be", Form::utf16, false};
  if (plain == "utf32") return {"utf-32", Form::utf32, true};
  if (plain == "utf32le") return {"utf-32le", Form::utf32, false};
  if (plain == "utf32be") return {"utf-32be", Form::utf32, false};
  if (plain == "latin1" || plain == "iso88591" || plain == "l1") return {"iso-8859-1", Form::single_byte, false};
  if (plain == "ascii" || plain == "usascii") return {"ascii", Form::single_byte, false};
  // iconv takes "" for the locale's; its decoders of these two keep to themselves what ends in the middle.
  allowed = allowed && !plain.empty() && plain.find("utf7") == std::string::npos && plain != "tscii";
  const std::string code_page = plain.starts_with("windows") ? "cp" + plain.substr(7) : plain;
  for (const std::string& name : {given, dashed, plain, code_page}) {
    if (!allowed || !Iconv("UTF-8", name.c_str()) || !Iconv(name.c_str(), "UTF-8")) continue;
    const bool single = is_single_byte(name.c_str());
    if (single || is_regular(name.c_str())) return {name, single ? Form::single_byte : Form::other, false};
  }
  throw std::invalid_argument("aiofile: unknown encoding \"" + std::string(wanted) + "\"");
}

/// The same with what else is said of a file's text.
inline Encoding find_encoding(std::string_view wanted, Errors errors, Newline newline) {
  if (!errors.known()) {
    throw std::invalid_argument("aiofile: OpenOptions::errors is not \"strict\", \"replace\" or \"ignore\"");
  }
  if (!newline.known()) {
    throw std::invalid_argument(R"(aiofile: OpenOptions::newline is not "none", "universal", "\n" or "\r\n")");
  }
  Encoding encoding = find_encoding(wanted);
  encoding.errors = errors;
  encoding.newline = newline;
  return encoding;
}

}  // namespace detail

/// The canonical name of an encoding: "utf-8" for "UTF8". std::invalid_argument when it is unknown.
[[nodiscard]] inline std::string canonical_encoding(std::string_view encoding) {
  return detail::find_encoding(encoding).name;
}

}  // namespace aiofile::inline CAIO_ABI
