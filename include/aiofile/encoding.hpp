#pragma once
// Encodings by name.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/iconv.hpp>
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
