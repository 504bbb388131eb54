// Fuzz target: Transcoder against iconv(3) in one go: decoding in pieces of any size, encoding, and back again; and
// what errors and newline make of it against the plain ways to do the same.
#include <iconv.h>

#include <aiofile/transcoder.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz.hpp"

namespace {

using aiofile::Errors;
using aiofile::Newline;
using aiofile::detail::Encoding;
using aiofile::detail::Transcoder;

struct Known {
  const char* name;
  const char* iconv;  // its name there
  bool exact;         // what is encoded decodes to the same
};

constexpr std::array known{Known{"utf-8", "UTF-8", true},          Known{"utf-8-sig", "UTF-8", true},
                           Known{"utf-16", "UTF-16", true},        Known{"utf-16le", "UTF-16LE", true},
                           Known{"utf-16be", "UTF-16BE", true},    Known{"utf-32", "UTF-32", true},
                           Known{"utf-32le", "UTF-32LE", true},    Known{"utf-32be", "UTF-32BE", true},
                           Known{"latin-1", "LATIN1", true},       Known{"cp1252", "CP1252", true},
                           Known{"koi8-r", "KOI8-R", true},        Known{"gb18030", "GB18030", true},
                           Known{"shift_jis", "SHIFT_JIS", false}, Known{"euc-jp", "EUC-JP", false},
                           Known{"big5", "BIG5", false},           Known{"iso2022_jp", "ISO-2022-JP", false}};

const Encoding& encoding_of(const Known& each) {
  static const std::vector<Encoding> all = [] {
    std::vector<Encoding> list;
    for (const Known& one : known) list.push_back(aiofile::detail::find_encoding(one.name));
    return list;
  }();
  return all[static_cast<std::size_t>(&each - known.data())];
}

struct Converted {
  std::string text;
  std::size_t taken = 0;
  int error = 0;
};

Converted by_iconv(const char* to, const char* from, std::string_view input) {
  const ::iconv_t handle = ::iconv_open(to, from);
  fuzz::require(handle != reinterpret_cast<::iconv_t>(-1), "iconv knows the encoding");
  Converted result;
  result.text.resize(8 * input.size() + 64);
  std::string copy(input);
  char* from_here = copy.data();
  std::size_t left = copy.size();
  char* to_here = result.text.data();
  std::size_t room = result.text.size();
  if (::iconv(handle, &from_here, &left, &to_here, &room) == static_cast<std::size_t>(-1)) result.error = errno;
  if (result.error == 0) ::iconv(handle, nullptr, nullptr, &to_here, &room);
  ::iconv_close(handle);
  result.text.resize(result.text.size() - room);
  result.taken = input.size() - left;
  return result;
}

struct Decoded {
  std::string text;
  std::size_t taken = 0;
  std::uint64_t size = 0;  // of the text in the file, without a mark
  Transcoder::Outcome outcome = Transcoder::Outcome::all;
};

Decoded in_pieces(const Encoding& encoding, const std::string& bytes, std::size_t piece, bool to_the_end = false) {
  Transcoder transcoder(encoding);
  Decoded result;
  for (std::size_t end = 0; end < bytes.size() && result.outcome != Transcoder::Outcome::invalid;) {
    end = std::min(end + piece, bytes.size());
    const std::string here = bytes.substr(result.taken, end - result.taken);  // its own memory
    std::string_view left = here;
    result.outcome = transcoder.decode(left, result.taken == 0, result.text, to_the_end && end == bytes.size());
    result.taken = end - left.size();
  }
  transcoder.end();
  result.size = transcoder.encoded_size(result.text);
  return result;
}

void check_decoding(const Known& each, const std::string& bytes, std::size_t piece) {
  const Encoding& encoding = encoding_of(each);
  const Decoded whole = in_pieces(encoding, bytes, std::max<std::size_t>(bytes.size(), 1));
  const Decoded pieces = in_pieces(encoding, bytes, piece);
  fuzz::require(fuzz::valid_prefix(whole.text) == whole.text.size(), "what is decoded is UTF-8");
  fuzz::require(pieces.text == whole.text, "decoded in pieces as in one go");
  fuzz::require(pieces.outcome == whole.outcome && pieces.taken == whole.taken, "the same end in pieces");
  std::string_view input = bytes;
  if (std::string_view(each.name) == "utf-8-sig" && input.starts_with("\xef\xbb\xbf")) input.remove_prefix(3);
  const Converted plain = by_iconv("UTF-8", each.iconv, input);
  // Some of glibc's decoders give what lies beyond U+10FFFF: that is no text.
  const std::string_view text = std::string_view(plain.text).substr(0, fuzz::valid_prefix(plain.text));
  fuzz::require(whole.text == text, "decoded as iconv does");
  if (text.size() < plain.text.size()) return;
  fuzz::require((whole.outcome == Transcoder::Outcome::all) == (plain.error == 0), "all, as iconv says");
  if (encoding.form == aiofile::detail::Form::utf8) return;  // to iconv, F9 could begin a character; see text.cpp
  const bool cut = plain.error == EINVAL;
  fuzz::require((whole.outcome == Transcoder::Outcome::incomplete) == cut, "incomplete, as iconv says");
}

std::string with(std::string text, std::string_view each, std::string_view other) {
  for (std::size_t at = 0; (at = text.find(each, at)) != std::string::npos; at += other.size()) {
    text.replace(at, each.size(), other);
  }
  return text;
}

/// UTF-8 with one U+FFFD, or nothing, for each longest part that could begin a character.
std::string mended(std::string_view bytes, bool replace) {
  std::string text;
  while (!bytes.empty()) {
    std::size_t size = fuzz::character(bytes);
    if (size > 0) {
      text += bytes.substr(0, size);
    } else {
      size = 1;
      while (size < std::min<std::size_t>(bytes.size(), 3) &&
             fuzz::begins_character(std::string(bytes.substr(0, size + 1))))
        ++size;
      if (replace) text += "\xef\xbf\xbd";
    }
    bytes.remove_prefix(size);
  }
  return text;
}

void check_options(const Known& each, const std::string& bytes, std::size_t piece, Errors errors, bool universal) {
  Encoding encoding = encoding_of(each);
  encoding.errors = errors;
  const std::string whole = in_pieces(encoding, bytes, std::max<std::size_t>(bytes.size(), 1), true).text;
  encoding.newline = universal ? Newline::universal : Newline::none;
  const Decoded pieces = in_pieces(encoding, bytes, piece, true);
  const std::string wanted = universal ? with(with(whole, "\r\n", "\n"), "\r", "\n") : whole;
  fuzz::require(pieces.text == wanted, "decoded in pieces, whatever the options");
  fuzz::require(fuzz::valid_prefix(wanted) == wanted.size(), "what is mended is UTF-8");
  if (errors == Errors::strict) return;
  fuzz::require(pieces.outcome == Transcoder::Outcome::all && pieces.taken == bytes.size(), "all is mended");
  const bool empty = wanted.empty() && errors == Errors::ignore;
  if (!encoding.marked && !empty) fuzz::require(pieces.size == bytes.size(), "encoded_size, whatever the options");
  if (each.name == std::string_view("utf-8")) {
    fuzz::require(whole == mended(bytes, errors == Errors::replace), "one U+FFFD for each part");
  }
}

void check_returns(const Known& each, std::string_view text) {
  Encoding encoding = encoding_of(each);
  Transcoder plain(encoding);
  encoding.newline = Newline::crlf;
  Transcoder returns(encoding);
  std::string bytes;
  std::string wanted;
  const std::optional<std::size_t> wrong = returns.encode(text, false, bytes);
  fuzz::require(wrong == Transcoder(encoding_of(each)).encode(text, false, wanted), "the offset in the text given");
  if (wrong) return;
  wanted.clear();
  plain.encode(with(std::string(text), "\n", "\r\n"), false, wanted);
  fuzz::require(bytes == wanted, "each '\\n' is written as \"\\r\\n\"");
}

void check_encoding(const Known& each, std::string_view text) {
  Transcoder transcoder(encoding_of(each));
  std::string bytes;
  const std::optional<std::size_t> wrong = transcoder.encode(text, true, bytes);
  const bool tags = text.find("\xf3\xa0") != std::string_view::npos;  // iconv leaves them out without a word
  if (!encoding_of(each).marked && !tags) {
    const Converted plain = by_iconv(each.iconv, "UTF-8", text);
    fuzz::require(wrong.has_value() == (plain.error != 0), "encoded where iconv can");
    if (wrong) fuzz::require(*wrong == plain.taken, "the offset of what cannot be encoded");
    if (!wrong) fuzz::require(bytes == plain.text, "encoded as iconv does");
  }
  if (wrong || !each.exact) return;
  const Decoded again = in_pieces(encoding_of(each), bytes, std::max<std::size_t>(bytes.size(), 1));
  fuzz::require(again.text == text && again.outcome == Transcoder::Outcome::all, "there and back again");
  Transcoder size(encoding_of(each));
  std::string_view left = bytes;
  std::string decoded;
  size.decode(left, true, decoded);
  const std::size_t mark = encoding_of(each).marked && !text.empty() ? bytes.size() - size.encoded_size(decoded) : 0;
  fuzz::require(size.encoded_size(decoded) + mark == bytes.size() && mark <= 4, "encoded_size");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Source source(data, size);
  const Known& each = known[source.byte() % known.size()];
  const unsigned way = source.byte();
  const std::size_t piece = way % 64 + std::size_t{1};
  const std::string bytes(source.rest());
  check_decoding(each, bytes, piece);
  const std::string_view text = std::string_view(bytes).substr(0, fuzz::valid_prefix(bytes));
  check_encoding(each, text);
  check_options(each, bytes, piece, Errors::strict, true);
  check_options(each, bytes, piece, way & 64 ? Errors::replace : Errors::ignore, (way & 128) != 0);
  check_returns(each, text);
  return 0;
}
