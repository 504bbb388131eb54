#include <aiofile/transcoder.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using aiofile::count_code_points;
using aiofile::Errors;
using aiofile::Newline;
using aiofile::detail::ByteOrder;
using aiofile::detail::find_encoding;
using aiofile::detail::Transcoder;
using Outcome = aiofile::detail::Transcoder::Outcome;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

Transcoder transcoder(std::string_view encoding) { return Transcoder(find_encoding(encoding)); }

/// Decodes pieces of a file, as they are read one after the other from its beginning.
class Decoding {
 public:
  explicit Decoding(std::string_view encoding) : transcoder_(find_encoding(encoding)) {}

  Outcome add(std::string_view piece) {
    read_ += piece.size();
    left_.insert(left_.end(), piece.begin(), piece.end());
    const std::vector<char> exact(left_.begin(), left_.end());  // nothing behind it may be read
    std::string_view bytes(exact.data(), exact.size());
    const Outcome outcome = transcoder_.decode(bytes, read_ == left_.size(), text);
    left_.assign(bytes.begin(), bytes.end());
    return outcome;
  }

  /// Where in the file that is which is not decoded.
  [[nodiscard]] std::size_t offset() const { return read_ - left_.size(); }
  [[nodiscard]] const Transcoder& transcoder() const { return transcoder_; }

  std::string text;

 private:
  Transcoder transcoder_;
  std::size_t read_ = 0;
  std::vector<char> left_;
};

struct Sample {
  const char* encoding;
  std::string bytes;
  std::string text;
};

// Expected bytes are Python's.
const std::vector<Sample>& samples() {
  static const std::vector<Sample> list = [] {
    const std::string utf16le = "a\0\xe9\0\xac \x34\xd8\x1e\xddz\0\n\0"s;
    const std::string utf16be = "\0a\0\xe9 \xac\xd8\x34\xdd\x1e\0z\0\n"s;
    const std::string utf32le = "a\0\0\0\xe9\0\0\0\xac \0\0\x1e\xd1\x01\0\n\0\0\0"s;
    const std::string utf32be = "\0\0\0a\0\0\0\xe9\0\0 \xac\0\x01\xd1\x1e\0\0\0\n"s;
    const std::string five = "aé€𝄞\n";
    const std::string six = "aé€𝄞z\n";
    return std::vector<Sample>{
        {"utf-16le", utf16le, six},
        {"utf-16be", utf16be, six},
        {"utf-16", "\xff\xfe" + utf16le, six},
        {"utf-32le", utf32le, five},
        {"utf-32be", utf32be, five},
        {"utf-32", "\xff\xfe\0\0"s + utf32le, five},
        {"utf-8-sig", "\xef\xbb\xbf" + six, six},
        {"ascii", "abc\n", "abc\n"},
        {"latin-1", "a\xe9\xf7\xff\n", "aé÷ÿ\n"},
        {"cp1252", "a\x80\x93\xe9\x94\x9e\n", "a€“é”ž\n"},
        {"cp1251", "\xcf\xf0\xe8\xe2\xe5\xf2, \xec\xe8\xf0\n", "Привет, мир\n"},
        {"koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4\n", "Привет\n"},
        {"cp037", "\xc8\x85\x93\x93\x96k@QZ", "Hello, é!"},
        {"cp1255", "\xf9\xec\xe5\xed\n", "שלום\n"},
        {"cp1258", "Xin ch\xe0o", "Xin chào"},
        {"shift_jis", "\x93\xfa\x96{AB\xb6\xc5\x95\\\x83\\\x81\x42\n", "日本ABｶﾅ表ソ。\n"},
        {"cp932", "\x87@\x93\xfa\x96{\x81`\n", "①日本～\n"},
        {"euc-jp", "\xc6\xfc\xcb\xdc\x41\x42\x8e\xb6\x8e\xc5\xc9\xbd\x8f\xb0\xa1\xa1\xa3\n", "日本ABｶﾅ表丂。\n"},
        {"gb18030", "a\xd6\xd0\xa8\xa6\xa2\xe3\x94\x32\xbe\x34\x81\x39\xee\x39z\n", "a中é€𝄞㐀z\n"},
        {"gbk", "a\xd6\xd0\xce\xc4z\n", "a中文z\n"},
        {"big5", "a\xa4\xa4\xa4\xe5z\xb3\\\n", "a中文z許\n"},
        {"euc-kr", "a\xc7\xd1\xb1\xb9\xbe\xeez\n", "a한국어z\n"},
        {"iso-2022-jp", "a\x1b$B$\"$$\x1b(Bb\x1b$B4A;z\x1b(B\nz", "aあいb漢字\nz"},
    };
  }();
  return list;
}

std::string utf8(std::uint32_t code) {
  const auto byte = [](std::uint32_t value) { return static_cast<char>(value); };
  const auto next = [&](unsigned shift) { return byte(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) return {byte(code)};
  if (code < 0x800) return {byte(0xc0 | code >> 6), next(0)};
  if (code < 0x10000) return {byte(0xe0 | code >> 12), next(6), next(0)};
  return {byte(0xf0 | code >> 18), next(12), next(6), next(0)};
}

/// Where the characters begin, and the end.
std::vector<std::size_t> boundaries(std::string_view text) {
  std::vector<std::size_t> list;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) & 0xc0U) != 0x80) list.push_back(at);
  }
  list.push_back(text.size());
  return list;
}

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

struct Encoded {
  std::string bytes;
  std::optional<std::size_t> wrong;
};

Encoded encode(std::string_view encoding, std::string_view text, bool at_start = false) {
  Encoded encoded;
  encoded.wrong = transcoder(encoding).encode(text, at_start, encoded.bytes);
  return encoded;
}

}  // namespace

// ---- decoding -----------------------------------------------------------------------------------------------------

TEST_CASE("Transcoder: decodes a file in one piece") {
  for (const Sample& sample : samples()) {
    INFO(sample.encoding);
    Decoding decoding(sample.encoding);
    CHECK(decoding.add(sample.bytes) == Outcome::all);
    CHECK(decoding.text == sample.text);
    CHECK(decoding.offset() == sample.bytes.size());
  }
}

TEST_CASE("Transcoder: a file in two pieces, cut at every byte, is the same") {
  for (const Sample& sample : samples()) {
    for (std::size_t cut = 0; cut <= sample.bytes.size(); ++cut) {
      INFO(sample.encoding << " cut at " << cut);
      Decoding decoding(sample.encoding);
      CHECK(decoding.add(sample.bytes.substr(0, cut)) != Outcome::invalid);
      CHECK(sample.text.starts_with(decoding.text));
      CHECK(decoding.add(sample.bytes.substr(cut)) == Outcome::all);
      CHECK(decoding.text == sample.text);
    }
  }
}

TEST_CASE("Transcoder: a file in three pieces and byte by byte is the same") {
  for (const Sample& sample : samples()) {
    INFO(sample.encoding);
    std::size_t wrong = 0;
    for (std::size_t first = 0; first <= sample.bytes.size(); ++first) {
      for (std::size_t second = first; second <= sample.bytes.size(); ++second) {
        Decoding decoding(sample.encoding);
        decoding.add(sample.bytes.substr(0, first));
        decoding.add(sample.bytes.substr(first, second - first));
        decoding.add(sample.bytes.substr(second));
        wrong += decoding.text == sample.text ? 0 : 1;
      }
    }
    CHECK(wrong == 0);

    Decoding decoding(sample.encoding);
    Outcome outcome = Outcome::all;
    for (const char& byte : sample.bytes) outcome = decoding.add({&byte, 1});
    CHECK(outcome == Outcome::all);
    CHECK(decoding.text == sample.text);
  }
}

TEST_CASE("Transcoder: says that a character is incomplete, and takes nothing of it") {
  struct Cut {
    const char* encoding;
    std::string bytes;
    std::size_t offset;
  };
  for (const Cut& cut : std::vector<Cut>{{"utf-16le", "a\0b"s, 2},
                                         {"utf-16le", "a\0\x34\xd8"s, 2},
                                         {"utf-16le", "a\0\x34\xd8\x1e"s, 2},
                                         {"utf-16be", "\0a\xd8\x34\xdd"s, 2},
                                         {"utf-32le", "a\0\0\0b"s, 4},
                                         {"utf-32be", "\0\0\0a\0\0\0"s, 4},
                                         {"utf-8-sig", "a\xc3"s, 1},
                                         {"utf-8-sig", "a\xf0\x9d\x84"s, 1},
                                         {"utf-8-sig", "\xef\xbb\xbf\xe2\x82"s, 3},
                                         {"shift_jis", "a\x93"s, 1},
                                         {"euc-jp", "a\x8f\xb0"s, 1},
                                         {"euc-jp", "a\x8e"s, 1},
                                         {"gb18030", "a\x81"s, 1},
                                         {"gb18030", "a\x81\x39\xee"s, 1},
                                         {"big5", "a\xa4"s, 1},
                                         {"euc-kr", "a\xc7"s, 1},
                                         {"iso-2022-jp", "a\x1b"s, 1},
                                         {"iso-2022-jp", "a\x1b$"s, 1},
                                         {"iso-2022-jp", "a\x1b$B$"s, 4}}) {
    INFO(cut.encoding << " " << cut.bytes.size());
    Decoding decoding(cut.encoding);
    CHECK(decoding.add(cut.bytes) == Outcome::incomplete);
    CHECK(decoding.offset() == cut.offset);
    CHECK(decoding.text == (cut.bytes.starts_with("\xef\xbb\xbf") ? "" : "a"));
  }
}

TEST_CASE("Transcoder: finds the first byte that is no text") {
  struct Wrong {
    const char* encoding;
    std::string bytes;
    std::size_t offset;
    const char* text;
  };
  const std::vector<Wrong> list{{"utf-16le", "a\0\0\xdc\0b\0"s, 2, "a"},                     // a second half alone
                                {"utf-16le", "a\0\x34\xd8z\0z\0"s, 2, "a"},                  // a first half alone
                                {"utf-16le", "a\0\x34\xd8\x34\xd8\x1e\xdd"s, 2, "a"},        // twice
                                {"utf-16be", "\0a\xdc\0\0b"s, 2, "a"},                       //
                                {"utf-16", "\xff\xfe"s + "a\0\0\xdc"s, 4, "a"},              //
                                {"utf-16", "\xfe\xff\0a\xdc\0"s, 4, "a"},                    //
                                {"utf-32le", "a\0\0\0\0\0\x11\0"s, 4, "a"},                  // beyond U+10FFFF
                                {"utf-32le", "a\0\0\0\0\xd8\0\0"s, 4, "a"},                  // a surrogate
                                {"utf-32be", "\0\0\0a\0\0\xdf\xff"s, 4, "a"},                //
                                {"utf-32", "\xff\xfe\0\0a\0\0\0\xff\xff\xff\xff"s, 8, "a"},  //
                                {"ascii", "ab\x80"s, 2, "ab"},
                                {"ascii", "ab\xff"s, 2, "ab"},
                                {"cp1252", "a\x80\x81z"s, 2, "a€"},
                                {"cp1252", "\x8d"s, 0, ""},
                                {"cp1252", "\x8f"s, 0, ""},
                                {"cp1252", "\x90"s, 0, ""},
                                {"cp1252", "\x9d"s, 0, ""},
                                {"cp1255", "\xe0\xd9"s, 1, "א"},
                                {"shift_jis", "a\x93\xfa\x80z"s, 3, "a日"},
                                {"shift_jis", "a\x82 "s, 1, "a"},
                                {"euc-jp", "a\xa4 "s, 1, "a"},
                                {"euc-jp", "a\xff"s, 1, "a"},
                                {"gb18030", "a\xff"s, 1, "a"},
                                {"gb18030", "a\xfe\x39\xfe\x39z"s, 1, "a"},
                                {"big5", "a\xa4\xa4\xff\xff"s, 3, "a中"},
                                {"euc-kr", "a\xc7 "s, 1, "a"},
                                {"iso-2022-jp", "a\x80"s, 1, "a"},
                                {"iso-2022-jp", "a\x1b$B$\"\x80\x80"s, 6, "aあ"}};
  for (const Wrong& wrong : list) {
    for (std::size_t cut = 0; cut <= wrong.bytes.size(); ++cut) {
      INFO(wrong.encoding << " wrong at " << wrong.offset << ", cut at " << cut);
      Decoding decoding(wrong.encoding);
      decoding.add(wrong.bytes.substr(0, cut));
      CHECK(decoding.add(wrong.bytes.substr(cut)) == Outcome::invalid);
      CHECK(decoding.offset() == wrong.offset);
      CHECK(decoding.text == wrong.text);
      CHECK(decoding.add("aaaaaaaa") == Outcome::invalid);  // more does not make it better
      CHECK(decoding.offset() == wrong.offset);
      CHECK(decoding.text == wrong.text);
    }
  }
}

TEST_CASE("Transcoder: UTF-8 with a mark is checked as strictly as without") {
  for (const char* const wrong :
       {"\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80",
        "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf7\xbf\xbf\xbf", "\xf8\x88\x80\x80\x80",
        "\xfc\x84\x80\x80\x80\x80", "\xfe", "\xff", "\x80", "\xbf", "\xc3z"}) {
    Decoding decoding("utf-8-sig");
    CHECK(decoding.add("\xef\xbb\xbf"
                       "é"s +
                       wrong) == Outcome::invalid);
    CHECK(decoding.offset() == 5);
    CHECK(decoding.text == "é");
  }
}

TEST_CASE("Transcoder: what is decoded is valid UTF-8, whatever the bytes") {
  std::mt19937 random(1234);
  for (const char* const encoding :
       {"utf-16le", "utf-16", "utf-32be", "utf-8-sig", "ucs-2", "ucs-4", "ucs-4le", "cp1252", "cp1258", "shift_jis",
        "euc-jp", "gb18030", "big5-hkscs", "iso-2022-jp", "iso-2022-kr"}) {
    INFO(encoding);
    std::size_t wrong = 0;
    for (int round = 0; round < 500; ++round) {
      std::string bytes;
      const std::size_t range = round % 3 == 0 ? 256 : round % 3 == 1 ? 32 : 18;
      for (std::size_t i = 0; i < 16; ++i) bytes += static_cast<char>(random() % 2 == 0 ? random() % range : 0);
      Decoding decoding(encoding);
      decoding.add(bytes);
      wrong += aiofile::scan_utf8(decoding.text).valid == decoding.text.size() ? 0 : 1;
    }
    CHECK(wrong == 0);
    Decoding decoding(encoding);
    decoding.add("\0\x11\0\0\0\x11\0\0"s);
    CHECK(aiofile::scan_utf8(decoding.text).valid == decoding.text.size());
  }
}

TEST_CASE("Transcoder: Latin-1's bytes are the first 256 code points") {
  std::string bytes;
  std::string text;
  for (std::uint32_t code = 0; code < 256; ++code) {
    bytes += static_cast<char>(code);
    text += utf8(code);
  }
  Decoding decoding("latin-1");
  CHECK(decoding.add(bytes) == Outcome::all);
  CHECK(decoding.text == text);
  CHECK(encode("latin-1", text).bytes == bytes);
}

TEST_CASE("Transcoder: Windows-1252 has its own letters where Latin-1 has controls") {
  const std::string bytes =
      "\x80\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8e\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9e\x9f"
      "\xa0";
  const std::string text = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ\xc2\xa0";
  Decoding decoding("cp1252");
  CHECK(decoding.add(bytes) == Outcome::all);
  CHECK(decoding.text == text);
  CHECK(encode("cp1252", text).bytes == bytes);
}

TEST_CASE("Transcoder: no letter is held back in wait for an accent") {
  for (const char* const encoding : {"cp1258", "tcvn"}) {
    INFO(encoding);
    for (char letter = 'A'; letter <= 'Z'; ++letter) {
      Decoding decoding(encoding);
      CHECK(decoding.add({&letter, 1}) == Outcome::all);
      CHECK(decoding.text == std::string(1, letter));
      CHECK(decoding.transcoder().encoded_size(decoding.text) == 1);
    }
  }
  Decoding hebrew("windows-1255");
  CHECK(hebrew.add("\xe0") == Outcome::all);
  CHECK(hebrew.text == "א");
  CHECK(hebrew.add("\xe1") == Outcome::all);
  CHECK(hebrew.text == "אב");
}

TEST_CASE("Transcoder: accents that stand alone in the file are characters of their own") {
  Decoding decoding("cp1258");
  CHECK(decoding.add("a\xec\x65\xf2") == Outcome::all);
  CHECK(decoding.text ==
        "a\xcc\x81"
        "e\xcc\xa3");
  CHECK(decoding.transcoder().encoded_size("e\xcc\xa3") == 2);
  CHECK(encode("cp1258", decoding.text).bytes == "a\xec\x65\xf2");
  CHECK(encode("cp1258", "\xe1\xba\xbf").bytes == "\xea\xec");  // U+1EBF
}

TEST_CASE("Transcoder: every character there is, there and back") {
  std::string all;
  std::string small;  // decoding one by one takes long
  for (std::uint32_t code = 0; code <= 0x10ffff; ++code) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    all += utf8(code);
    if (code % 61 == 0 || code < 0x800) small += utf8(code);
  }
  for (const char* const encoding : {"utf-16le", "utf-16be", "utf-16", "utf-32le", "utf-32", "utf-8-sig"}) {
    INFO(encoding);
    const Encoded encoded = encode(encoding, all, true);
    CHECK_FALSE(encoded.wrong);
    Decoding decoding(encoding);
    CHECK(decoding.add(encoded.bytes) == Outcome::all);
    CHECK((decoding.text == all));
  }
  for (const char* const encoding : {"ucs-4le", "ucs-4"}) {
    INFO(encoding);
    const Encoded encoded = encode(encoding, small, true);
    CHECK_FALSE(encoded.wrong);
    Decoding decoding(encoding);
    CHECK(decoding.add(encoded.bytes) == Outcome::all);
    CHECK((decoding.text == small));
  }
}

TEST_CASE("Transcoder: long files, in pieces of any size") {
  std::mt19937 random(99);
  for (const Sample& sample : samples()) {
    INFO(sample.encoding);
    const std::string text = repeated(sample.text, 300);
    const Encoded encoded = encode(sample.encoding, text, true);
    CHECK_FALSE(encoded.wrong);
    Decoding whole(sample.encoding);
    CHECK(whole.add(encoded.bytes) == Outcome::all);
    CHECK((whole.text == text));
    Decoding pieces(sample.encoding);
    for (std::size_t at = 0; at < encoded.bytes.size();) {
      const std::size_t size = 1 + random() % 500;
      pieces.add(std::string_view(encoded.bytes).substr(at, size));
      at += size;
    }
    CHECK((pieces.text == text));
  }
}

TEST_CASE("Transcoder: decoded text is appended, to whatever is there") {
  Transcoder latin = transcoder("latin-1");
  std::string text = "before ";
  std::string_view bytes = "\xe9";
  CHECK(latin.decode(bytes, true, text) == Outcome::all);
  CHECK(text == "before é");
  CHECK(bytes.empty());
  CHECK(latin.decode(bytes, false, text) == Outcome::all);
  CHECK(text == "before é");
}

TEST_CASE("Transcoder: letters that grow the most when decoded find room") {
  const std::string bytes(10'000, '\x80');
  Decoding euro("cp1252");
  CHECK(euro.add(bytes) == Outcome::all);
  CHECK((euro.text == repeated("€", 10'000)));
  const std::string ideographs = repeated("\x2d\x4e", 10'000);
  Decoding utf16("utf-16le");
  CHECK(utf16.add(ideographs) == Outcome::all);
  CHECK((utf16.text == repeated("中", 10'000)));
}

// ---- byte-order marks ----------------------------------------------------------------------------------------------

TEST_CASE("Transcoder: a byte-order mark at the start is no part of the text and tells the order") {
  struct Marked {
    const char* encoding;
    std::string bytes;
    ByteOrder order;
  };
  for (const Marked& marked : std::vector<Marked>{{"utf-16",
                                                   "\xff\xfe"
                                                   "a\0"s,
                                                   ByteOrder::little},
                                                  {"utf-16", "\xfe\xff\0a"s, ByteOrder::big},
                                                  {"utf-32", "\xff\xfe\0\0a\0\0\0"s, ByteOrder::little},
                                                  {"utf-32", "\0\0\xfe\xff\0\0\0a"s, ByteOrder::big},
                                                  {"utf-8-sig",
                                                   "\xef\xbb\xbf"
                                                   "a"s,
                                                   ByteOrder::little}}) {
    for (std::size_t cut = 0; cut <= marked.bytes.size(); ++cut) {
      INFO(marked.encoding << " cut at " << cut);
      Decoding decoding(marked.encoding);
      decoding.add(marked.bytes.substr(0, cut));
      CHECK(decoding.add(marked.bytes.substr(cut)) == Outcome::all);
      CHECK(decoding.text == "a");
      CHECK(decoding.transcoder().order() == marked.order);
    }
  }
}

TEST_CASE("Transcoder: the beginning of a mark is incomplete, a mark alone is all") {
  for (const auto& [encoding, mark] :
       {std::pair("utf-16", "\xff\xfe"s), std::pair("utf-16", "\xfe\xff"s), std::pair("utf-32", "\xff\xfe\0\0"s),
        std::pair("utf-32", "\0\0\xfe\xff"s), std::pair("utf-8-sig", "\xef\xbb\xbf"s)}) {
    for (std::size_t size = 1; size < mark.size(); ++size) {
      INFO(encoding << " " << size);
      Decoding decoding(encoding);
      CHECK(decoding.add(mark.substr(0, size)) == Outcome::incomplete);
      CHECK(decoding.offset() == 0);
    }
    Decoding decoding(encoding);
    CHECK(decoding.add(mark) == Outcome::all);
    CHECK(decoding.text.empty());
    CHECK(decoding.offset() == mark.size());
  }
}

TEST_CASE("Transcoder: a file that should begin with a mark and does not is little-endian") {
  Decoding utf16("utf-16");
  CHECK(utf16.add("a\0b\0"s) == Outcome::all);
  CHECK(utf16.text == "ab");
  CHECK(utf16.transcoder().order() == ByteOrder::little);
  Decoding utf32("utf-32");
  CHECK(utf32.add("a\0\0\0"s) == Outcome::all);
  CHECK(utf32.text == "a");
  Decoding utf8_sig("utf-8-sig");
  CHECK(utf8_sig.add("\xc3\xa9") == Outcome::all);
  CHECK(utf8_sig.text == "é");
}

TEST_CASE("Transcoder: a second mark is a character") {
  for (const auto& [encoding, bytes] :
       {std::pair("utf-16",
                  "\xff\xfe\xff\xfe"
                  "a\0"s),
        std::pair("utf-16", "\xfe\xff\xfe\xff\0a"s), std::pair("utf-32", "\xff\xfe\0\0\xff\xfe\0\0a\0\0\0"s),
        std::pair("utf-8-sig",
                  "\xef\xbb\xbf\xef\xbb\xbf"
                  "a"s)}) {
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
      INFO(encoding << " cut at " << cut);
      Decoding decoding(encoding);
      decoding.add(bytes.substr(0, cut));
      decoding.add(bytes.substr(cut));
      CHECK(decoding.text ==
            "\xef\xbb\xbf"
            "a");
    }
  }
}

TEST_CASE("Transcoder: a mark is a character where it is not the file's first, or where none is expected") {
  Transcoder utf16 = transcoder("utf-16");
  std::string text;
  std::string_view bytes(
      "\xff\xfe"
      "a\0",
      4);
  CHECK(utf16.decode(bytes, false, text) == Outcome::all);
  CHECK(text ==
        "\xef\xbb\xbf"
        "a");
  for (const auto& [encoding, marked] :
       {std::pair("utf-16le", "\xff\xfe"s), std::pair("utf-16be", "\xfe\xff"s), std::pair("utf-32le", "\xff\xfe\0\0"s),
        std::pair("gb18030", "\x84\x31\x95\x33"s)}) {
    INFO(encoding);
    Decoding decoding(encoding);
    CHECK(decoding.add(marked) == Outcome::all);
    CHECK(decoding.text == "\xef\xbb\xbf");
  }
}

TEST_CASE("Transcoder: the order that is known from elsewhere holds where there is no mark") {
  for (const auto& [encoding, bytes] : {std::pair("utf-16", "\0a"s), std::pair("utf-32", "\0\0\0a"s)}) {
    Transcoder big = transcoder(encoding);
    CHECK(big.order() == ByteOrder::little);
    big.set_order(ByteOrder::big);
    CHECK(big.order() == ByteOrder::big);
    std::string text;
    std::string_view left = bytes;
    CHECK(big.decode(left, false, text) == Outcome::all);
    CHECK(text == "a");
    left = bytes;
    CHECK(big.decode(left, true, text) == Outcome::all);
    CHECK(text == "aa");
    CHECK(big.order() == ByteOrder::big);
    std::string encoded;
    CHECK_FALSE(big.encode("a", false, encoded));
    CHECK(encoded == bytes);
  }
}

TEST_CASE("Transcoder: the order may become known in between") {
  Transcoder both = transcoder("utf-16");
  std::string text;
  std::string bytes;
  std::string_view little("a\0", 2);
  std::string_view big("\0b", 2);
  CHECK(both.decode(little, false, text) == Outcome::all);
  CHECK_FALSE(both.encode("a", false, bytes));
  both.set_order(ByteOrder::big);
  CHECK(both.decode(big, false, text) == Outcome::all);
  CHECK_FALSE(both.encode("b", false, bytes));
  both.set_order(ByteOrder::little);
  little = std::string_view("c\0", 2);
  CHECK(both.decode(little, false, text) == Outcome::all);
  CHECK_FALSE(both.encode("c", false, bytes));
  CHECK(text == "abc");
  CHECK(bytes == "a\0\0bc\0"s);
}

TEST_CASE("Transcoder: a mark is written once, at the start") {
  struct Marked {
    const char* encoding;
    ByteOrder order;
    std::string mark;
    std::string letter;
  };
  for (const Marked& marked : std::vector<Marked>{{"utf-16", ByteOrder::little, "\xff\xfe", "a\0"s},
                                                  {"utf-16", ByteOrder::big, "\xfe\xff", "\0a"s},
                                                  {"utf-32", ByteOrder::little, "\xff\xfe\0\0"s, "a\0\0\0"s},
                                                  {"utf-32", ByteOrder::big, "\0\0\xfe\xff"s, "\0\0\0a"s},
                                                  {"utf-8-sig", ByteOrder::little, "\xef\xbb\xbf", "a"}}) {
    INFO(marked.encoding);
    Transcoder encoder = transcoder(marked.encoding);
    encoder.set_order(marked.order);
    std::string bytes;
    CHECK_FALSE(encoder.encode("", true, bytes));
    CHECK(bytes.empty());
    CHECK_FALSE(encoder.encode("a", true, bytes));
    CHECK(bytes == marked.mark + marked.letter);
    CHECK_FALSE(encoder.encode("a", false, bytes));
    CHECK(bytes == marked.mark + marked.letter + marked.letter);
  }
  for (const char* const encoding : {"utf-16le", "utf-16be", "utf-32le", "utf-32be", "latin-1", "gb18030", "ucs-2"}) {
    INFO(encoding);
    CHECK(encode(encoding, "a", true).bytes == encode(encoding, "a", false).bytes);
    CHECK(encode(encoding, "aa").bytes == encode(encoding, "a").bytes + encode(encoding, "a").bytes);
  }
}

TEST_CASE("Transcoder: writes in the order that the mark has told") {
  Transcoder both = transcoder("utf-16");
  std::string text;
  std::string bytes;
  CHECK_FALSE(both.encode("a", false, bytes));
  std::string_view file("\xfe\xff\0z", 4);
  CHECK(both.decode(file, true, text) == Outcome::all);
  CHECK_FALSE(both.encode("a", false, bytes));
  CHECK(bytes == "a\0\0a"s);
}

// ---- encoding ------------------------------------------------------------------------------------------------------

TEST_CASE("Transcoder: encodes what it decodes, in one piece") {
  for (const Sample& sample : samples()) {
    INFO(sample.encoding);
    const Encoded encoded = encode(sample.encoding, sample.text, true);
    CHECK_FALSE(encoded.wrong);
    CHECK(encoded.bytes == sample.bytes);
  }
}

TEST_CASE("Transcoder: texts that are encoded by themselves follow each other in any order") {
  for (const Sample& sample : samples()) {
    INFO(sample.encoding);
    const std::vector<std::size_t> places = boundaries(sample.text);
    for (const std::size_t cut : places) {
      Transcoder encoder = transcoder(sample.encoding);
      const std::string first = sample.text.substr(0, cut);
      const std::string second = sample.text.substr(cut);
      std::string first_bytes;
      std::string second_bytes;
      CHECK_FALSE(encoder.encode(first, false, first_bytes));
      CHECK_FALSE(encoder.encode(second, false, second_bytes));
      Decoding there(sample.encoding);
      CHECK(there.add(first_bytes + second_bytes) == Outcome::all);
      CHECK(there.text == sample.text);
      Decoding back(sample.encoding);
      CHECK(back.add(second_bytes + first_bytes) == Outcome::all);
      CHECK(back.text == second + first);
    }
  }
}

TEST_CASE("Transcoder: shifts are undone at the end of each text") {
  CHECK(encode("iso-2022-jp", "あ").bytes == "\x1b$B$\"\x1b(B");
  CHECK(encode("iso-2022-jp", "aあ").bytes == "a\x1b$B$\"\x1b(B");
  CHECK(encode("iso-2022-jp", "a").bytes == "a");
}

TEST_CASE("Transcoder: encoded text is appended, to whatever is there") {
  std::string bytes = "before ";
  Transcoder latin = transcoder("latin-1");
  CHECK_FALSE(latin.encode("é", false, bytes));
  CHECK(bytes == "before \xe9");
  CHECK_FALSE(latin.encode("", false, bytes));
  CHECK(bytes == "before \xe9");
}

TEST_CASE("Transcoder: letters that grow the most when encoded find room") {
  for (const std::size_t count : {1U, 16U, 17U, 31U, 32U, 33U, 10'000U}) {
    CHECK((encode("utf-32le", std::string(count, 'a')).bytes == repeated("a\0\0\0"s, count)));
    CHECK((encode("iso-2022-jp", repeated("aあ", count)).bytes == repeated("a\x1b$B$\"\x1b(B", count)));
  }
}

TEST_CASE("Transcoder: text that cannot be expressed is found, by its offset in the text") {
  struct Wrong {
    const char* encoding;
    std::string text;
    std::size_t offset;
  };
  for (const Wrong& wrong : std::vector<Wrong>{{"ascii", "abcé", 3},
                                               {"ascii", "é", 0},
                                               {"latin-1", "é€z", 2},
                                               {"latin-1", "é“", 2},
                                               {"cp1252", "€é\xc2\x81", 5},
                                               {"cp1252", "日", 0},
                                               {"cp1251", "мир é", 7},
                                               {"koi8-r", "Привет €", 13},
                                               {"shift_jis", "日本𝄞", 6},
                                               {"shift_jis", "日本한", 6},
                                               {"euc-jp", "日é한", 5},
                                               {"gbk", "中𝄞", 3},
                                               {"big5", "中한", 3},
                                               {"euc-kr", "한𝄞", 3},
                                               {"iso-2022-jp", "aあ한", 4},
                                               {"iso-2022-jp", "あいaé", 7},
                                               {"ucs-2", "a𝄞", 1}}) {
    INFO(wrong.encoding << " " << wrong.text);
    CHECK(encode(wrong.encoding, wrong.text).wrong == wrong.offset);
    CHECK(encode(wrong.encoding, wrong.text, true).wrong == wrong.offset);
    const std::string filler = repeated("ab", 5000);
    CHECK(encode(wrong.encoding, filler + wrong.text).wrong == filler.size() + wrong.offset);
  }
}

TEST_CASE("Transcoder: an encoder goes on after text that it could not express") {
  for (const Sample& sample : samples()) {
    INFO(sample.encoding);
    Transcoder encoder = transcoder(sample.encoding);
    std::string ignored;
    CHECK(encoder.encode(sample.text + "\xff", true, ignored) == sample.text.size());
    std::string bytes;
    CHECK_FALSE(encoder.encode(sample.text, true, bytes));
    CHECK(bytes == sample.bytes);
  }
}

TEST_CASE("Transcoder: an encoder that failed behind a shift begins anew") {
  Transcoder encoder = transcoder("iso-2022-jp");
  for (const std::string& wrong : {"あ\xff"s, "あ한"s, "あ\xf3\xa0\x81\x81"s}) {
    std::string ignored;
    CHECK(encoder.encode(wrong, false, ignored) == 3U);
    std::string bytes;
    CHECK_FALSE(encoder.encode("い", false, bytes));
    CHECK(bytes == "\x1b$B$$\x1b(B");
  }
}

TEST_CASE("Transcoder: tag characters are not left out in silence") {
  const std::string tag = "\xf3\xa0\x81\x81";  // U+E0041
  for (const char* const encoding : {"ascii", "latin-1", "cp1252", "koi8-r", "cp1258", "shift_jis", "euc-jp", "gbk",
                                     "big5", "euc-kr", "iso-2022-jp", "iso-2022-kr", "ucs-2"}) {
    INFO(encoding);
    CHECK(encode(encoding, "ab" + tag + "z").wrong == 2U);
    CHECK(encode(encoding, tag).wrong == 0U);
    CHECK(encode(encoding, "a\xf3\xa0\x80\x80").wrong == 1U);
    CHECK(encode(encoding, "a\xf3\xa0\x81\xbf").wrong == 1U);
  }
  for (const char* const encoding : {"utf-16le", "utf-16", "utf-32", "utf-8-sig", "gb18030"}) {
    INFO(encoding);
    const std::string text = "ab" + tag + "z" + tag;
    const Encoded encoded = encode(encoding, text, true);
    CHECK_FALSE(encoded.wrong);
    Decoding decoding(encoding);
    CHECK(decoding.add(encoded.bytes) == Outcome::all);
    CHECK(decoding.text == text);
  }
}

TEST_CASE("Transcoder: text that is not UTF-8 cannot be encoded") {
  for (const char* const encoding :
       {"utf-16le", "utf-16", "utf-32be", "utf-8-sig", "latin-1", "gb18030", "shift_jis", "iso-2022-jp"}) {
    for (const char* const wrong : {"\xff", "\x80", "\xc3", "\xc3z", "\xe2\x82", "\xed\xa0\x80", "\xed\xbf\xbf",
                                    "\xc0\xaf", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xf0\x9d\x84"}) {
      INFO(encoding << " " << std::string_view(wrong).size());
      CHECK(encode(encoding, "ab"s + wrong).wrong == 2U);
    }
  }
}

// ---- sizes ---------------------------------------------------------------------------------------------------------

TEST_CASE("Transcoder: knows how many bytes each end of the text took") {
  for (const Sample& sample : samples()) {
    if (sample.encoding == "iso-2022-jp"sv) continue;
    INFO(sample.encoding);
    Decoding decoding(sample.encoding);
    decoding.add(sample.bytes);
    for (const std::size_t place : boundaries(sample.text)) {
      const std::string_view suffix = std::string_view(decoding.text).substr(place);
      CHECK(decoding.transcoder().encoded_size(suffix) == encode(sample.encoding, suffix).bytes.size());
    }
  }
}

TEST_CASE("Transcoder: the sizes are the same when the file came byte by byte") {
  for (const Sample& sample : samples()) {
    INFO(sample.encoding);
    Decoding whole(sample.encoding);
    whole.add(sample.bytes);
    Decoding pieces(sample.encoding);
    for (const char& byte : sample.bytes) pieces.add({&byte, 1});
    for (const std::size_t place : boundaries(sample.text)) {
      const std::string_view suffix = std::string_view(sample.text).substr(place);
      CHECK(whole.transcoder().encoded_size(suffix) == pieces.transcoder().encoded_size(suffix));
    }
  }
}

TEST_CASE("Transcoder: shifts count with the character they precede") {
  Decoding decoding("iso-2022-jp");
  CHECK(decoding.add("a\x1b$B$\"$$\x1b(Bb\x1b$B4A"s) == Outcome::all);
  CHECK(decoding.text == "aあいb漢");
  const Transcoder& decoder = decoding.transcoder();
  CHECK(decoder.encoded_size("aあいb漢") == 17);
  CHECK(decoder.encoded_size("あいb漢") == 16);
  CHECK(decoder.encoded_size("いb漢") == 11);
  CHECK(decoder.encoded_size("b漢") == 9);
  CHECK(decoder.encoded_size("漢") == 5);
  CHECK(decoder.encoded_size("") == 0);
}

TEST_CASE("Transcoder: shifts beyond count are taken, and counted") {
  // glibc's ISO-2022-JP-2 has escape sequences of four bytes.
  for (int wide = 0; wide < 12; ++wide) {
    for (int narrow = 0; narrow < 12; ++narrow) {
      INFO(wide << " and " << narrow);
      const std::string shifts = repeated("\x1b$(D", static_cast<std::size_t>(wide)) +
                                 repeated("\x1b(B", static_cast<std::size_t>(narrow) + 1);
      const std::string text = "hello, this is more text than that";
      Decoding decoding("iso-2022-jp-2");
      CHECK(decoding.add("a" + shifts + text) == Outcome::all);
      CHECK(decoding.text == "a" + text);
      CHECK(decoding.transcoder().encoded_size(text) == shifts.size() + text.size());
    }
  }
  const std::string shifts = repeated("\x1b$B\x1b(B", 500);
  Decoding decoding("iso-2022-jp");
  CHECK(decoding.add("a" + shifts + "b") == Outcome::all);
  CHECK(decoding.text == "ab");
  CHECK(decoding.transcoder().encoded_size("b") == shifts.size() + 1);
  CHECK(decoding.transcoder().encoded_size("ab") == shifts.size() + 2);
}

TEST_CASE("Transcoder: characters that come in pairs have the size of both") {
  // Big5-HKSCS has two letters with an accent each that Unicode writes as two characters.
  Decoding decoding("big5-hkscs");
  CHECK(decoding.add("a\x88\x62z\x88\xa5y") == Outcome::all);
  CHECK(decoding.text == "a\xc3\x8a\xcc\x84zê\xcc\x8cy");
  CHECK(decoding.transcoder().encoded_size(decoding.text) == 7);
  CHECK(decoding.transcoder().encoded_size("\xc3\x8a\xcc\x84zê\xcc\x8cy") == 6);
  CHECK(decoding.transcoder().encoded_size("zê\xcc\x8cy") == 4);
  CHECK(decoding.transcoder().encoded_size("y") == 1);
}

TEST_CASE("Transcoder: what was forgotten does not change the sizes of the rest") {
  for (const Sample& sample : samples()) {
    const std::vector<std::size_t> places = boundaries(sample.text);
    for (std::size_t first = 0; first < places.size(); ++first) {
      INFO(sample.encoding << " from " << first);
      Transcoder decoder = transcoder(sample.encoding);
      std::string text;
      std::string_view bytes = sample.bytes;
      decoder.decode(bytes, true, text);
      std::vector<std::uint64_t> sizes;
      for (const std::size_t place : places)
        sizes.push_back(decoder.encoded_size(std::string_view(text).substr(place)));
      decoder.forget_before(std::string_view(text).substr(places[first]));
      for (std::size_t later = first; later < places.size(); ++later) {
        CHECK(decoder.encoded_size(std::string_view(text).substr(places[later])) == sizes[later]);
      }
      std::string more;
      bytes = sample.bytes;
      decoder.decode(bytes, false, more);
      CHECK(decoder.encoded_size(more.substr(more.size() - 1)) == sizes[sizes.size() - 2]);
    }
  }
}

namespace {

struct Mended {
  const char* encoding;
  std::string bytes;
  std::string replaced;  // Python's
};

const std::vector<Mended>& mended() {
  static const std::vector<Mended> list{
      {"utf-8",
       "a\xff\xfe"
       "b",
       "a��b"},
      {"utf-8",
       "\xe4\xb8"
       "a\xe4\xb8",
       "�a�"},
      {"utf-8", "\xf0\x9f\x98\xf0\x9f\x98\x80\xf0\x9f", "�😀�"},
      {"utf-8", "\xed\xa0\x80|\xc0\xaf|\xf4\x90\x80\x80|\xe0\x80", "���|��|����|��"},
      {"utf-8",
       "\x80\xbf"
       "a\xc3",
       "��a�"},
      {"utf-8-sig", "\xef\xbb\xbf\xef\xbb\xbf\xff", "\ufeff�"},
      {"ascii", "a\x80\xff", "a��"},
      {"cp1252", "\x80\x81\x82", "€�‚"},
      {"utf-16le",
       "\x00\xd8"
       "a\0\x00\xdc\x3d\xd8"s,
       "�a��"},
      {"utf-16le", "a\0\x3d\xd8\x00"s, "a�"},
      {"utf-16be", "\xd8\x00\xd8\x3d\xde\x00\0"s, "�😀�"},
      {"utf-32le", "\0\xd8\0\0a\0\0\0\0\0\x11\0\0"s, "�a��"},
      {"shift_jis", "a\xff\x93\xfa\x93", "a�日�"},
      {"gb18030",
       "\xd6\xd0\xff"
       "a\x94\x32\xbe",
       "中�a�"},
      {"euc-jp", "\xc6\xfc\xffz\xc6", "日�z�"},
  };
  return list;
}

std::string without_replacements(std::string text) {
  for (std::size_t at; (at = text.find("�")) != std::string::npos;) text.erase(at, 3);
  return text;
}

}  // namespace

TEST_CASE("Transcoder: replaces or leaves out what is no text, in one go as in pieces") {
  for (const Mended& each : mended()) {
    for (const Errors errors : {Errors::replace, Errors::ignore}) {
      const std::string wanted = errors == Errors::replace ? each.replaced : without_replacements(each.replaced);
      for (std::size_t piece = 1; piece <= each.bytes.size(); ++piece) {
        Transcoder decoder(find_encoding(each.encoding, errors, Newline::none));
        std::string text;
        std::size_t done = 0;
        for (std::size_t end = 0; end < each.bytes.size();) {
          end = std::min(end + piece, each.bytes.size());
          std::string_view left = std::string_view(each.bytes).substr(done, end - done);
          CHECK(decoder.decode(left, done == 0, text, end == each.bytes.size()) != Outcome::invalid);
          done = end - left.size();
        }
        INFO(each.encoding << " " << each.replaced << " in pieces of " << piece);
        CHECK(text == wanted);
        CHECK(done == each.bytes.size());
      }
    }
  }
}

TEST_CASE("Transcoder: strict leaves what is no text, even at the end") {
  for (const Mended& each : mended()) {
    INFO(each.encoding << " " << each.replaced);
    Transcoder decoder = transcoder(each.encoding);
    std::string text;
    std::string_view left = each.bytes;
    CHECK(decoder.decode(left, true, text, true) != Outcome::all);
    CHECK(text == each.replaced.substr(0, each.replaced.find("�")));
  }
}

TEST_CASE("Transcoder: universal newlines, wherever the pieces end") {
  const std::string ends = "\ra\r\nb\n\r\n\r\r\n\n\rc\r";
  const std::string wanted = "\na\nb\n\n\n\n\n\nc\n";
  for (const char* const encoding : {"utf-8", "latin-1", "utf-16", "utf-16be", "utf-32", "shift_jis", "iso-2022-jp"}) {
    Transcoder encoder = transcoder(encoding);
    std::string bytes;
    REQUIRE_FALSE(encoder.encode(ends, true, bytes));
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
      INFO(encoding << " in pieces of " << piece);
      Transcoder decoder(find_encoding(encoding, Errors::strict, Newline::universal));
      std::string text;
      std::size_t done = 0;
      for (std::size_t end = 0; end < bytes.size();) {
        end = std::min(end + piece, bytes.size());
        std::string_view left = std::string_view(bytes).substr(done, end - done);
        decoder.decode(left, done == 0, text, end == bytes.size());
        done = end - left.size();
        CHECK(text.find('\r') == std::string::npos);
        if (end == bytes.size()) CHECK_FALSE(decoder.holds_return());
      }
      CHECK(text == wanted);
    }
  }
}

TEST_CASE("Transcoder: a '\\r' waits for what follows, not for what is no text") {
  const auto decode = [](Errors errors, std::string_view bytes, bool last) {
    Transcoder decoder(find_encoding("utf-8", errors, Newline::universal));
    std::string text;
    decoder.decode(bytes, true, text, last);
    return std::pair(text, decoder.holds_return());
  };
  CHECK(decode(Errors::strict, "a\r", false) == std::pair("a"s, true));
  CHECK(decode(Errors::strict, "a\r", true) == std::pair("a\n"s, false));
  CHECK(decode(Errors::strict, "a\r\xe4", false) == std::pair("a"s, true));
  CHECK(decode(Errors::strict, "a\r\xe4", true) == std::pair("a\n"s, false));
  CHECK(decode(Errors::strict, "a\r\xff", false) == std::pair("a\n"s, false));
  CHECK(decode(Errors::replace, "a\r\xff", false) == std::pair("a\n�"s, false));
  CHECK(decode(Errors::ignore, "a\r\xff", false) == std::pair("a"s, true));
  CHECK(decode(Errors::ignore, "a\r\xff\n", false) == std::pair("a\n"s, false));
  CHECK(decode(Errors::ignore, "a\r\xff\xe4", true) == std::pair("a\n"s, false));
}

TEST_CASE("Transcoder: the other newlines change nothing that is read") {
  for (const Newline newline : {Newline::none, Newline::crlf}) {
    Transcoder decoder(find_encoding("latin-1", Errors::strict, newline));
    std::string text;
    std::string_view bytes = "a\r\nb\rc\n\r";
    CHECK(decoder.decode(bytes, true, text) == Outcome::all);
    CHECK(text == "a\r\nb\rc\n\r");
  }
}

TEST_CASE("Transcoder: a shift behind a \"\\r\\n\" belongs to the character that follows") {
  Transcoder decoder(find_encoding("iso-2022-jp", Errors::strict, Newline::universal));
  std::string text;
  std::string_view bytes = "a\r\n\x1b$B$\"";
  CHECK(decoder.decode(bytes, true, text) == Outcome::all);
  CHECK(text == "a\nあ");
  CHECK(decoder.encoded_size("あ") == 5);
  CHECK(decoder.encoded_size("\nあ") == 7);
  CHECK(decoder.encoded_size(text) == 8);
}

TEST_CASE("Transcoder: much that is no text takes no longer than it must") {
  const std::string wrong(1 << 18, '\xd8');
  for (const char* const encoding : {"utf-8", "ascii", "utf-16le"}) {
    Transcoder decoder(find_encoding(encoding, Errors::replace, Newline::none));
    std::string text;
    std::string_view left = wrong;
    CHECK(decoder.decode(left, true, text, true) == Outcome::all);
    CHECK(text.size() == 3 * wrong.size() / (encoding == "utf-16le"s ? 2 : 1));
    CHECK(decoder.encoded_size(text) == wrong.size());
  }
  std::string letters;
  for (int i = 0; i < 1 << 18; ++i) letters += "ſ";
  for (const char* const encoding : {"latin-1", "shift_jis", "iso-2022-jp"}) {
    Transcoder encoder(find_encoding(encoding, Errors::replace, Newline::none));
    std::string bytes;
    CHECK_FALSE(encoder.encode(letters, true, bytes));
    CHECK(bytes == std::string(1 << 18, '?'));
    bytes.clear();
    CHECK_FALSE(encoder.encode(std::string(1 << 18, '\x80'), true, bytes));
    CHECK(bytes == std::string(1 << 18, '?'));
  }
}

TEST_CASE("Transcoder: an encoding that cannot be had any more is an error, whatever errors are replaced") {
  for (const Errors errors : {Errors::strict, Errors::replace}) {
    aiofile::detail::Encoding unknown = find_encoding("shift_jis", errors, Newline::none);
    unknown.name = "gone";
    Transcoder transcoder(unknown);
    std::string text;
    std::string_view left = "text";
    CHECK_THROWS_AS(transcoder.decode(left, true, text, true), std::system_error);
    CHECK_THROWS_AS(transcoder.encode("text", true, text), std::system_error);
    CHECK(text.empty());
  }
}

TEST_CASE("Transcoder: text that cannot be expressed is replaced by '?' or left out") {
  struct Expressed {
    const char* encoding;
    std::string text;
    std::string replaced;  // Python's
    std::string ignored;
  };
  for (const Expressed& each : std::vector<Expressed>{
           {"latin-1", "aж€é日本z", "a??\xe9??z", "a\xe9z"},
           {"ascii", "é", "?", ""},
           {"cp1252", "€ж", "\x80?", "\x80"},
           {"shift_jis", "日é本", "\x93\xfa?\x96\x7b", "\x93\xfa\x96\x7b"},
           {"iso-2022-jp", "日é本", "\x1b$BF|\x1b(B?\x1b$BK\\\x1b(B", "\x1b$BF|K\\\x1b(B"},
           {"utf-8", "a\xff\xe4\xb8z\xed\xa0\x80", "a??z???", "az"},
           {"utf-8-sig", "\xff", "\xef\xbb\xbf?", "\xef\xbb\xbf"},
           {"utf-16le", "a\xc3", "a\0?\0"s, "a\0"s},
           {"latin-1", "a\xf3\xa0\x80\xa1z", "a?z", "az"},
           {"latin-1", "a\xf3\xa0", "a?", "a"},
       }) {
    INFO(each.encoding << " " << each.text);
    for (const Errors errors : {Errors::replace, Errors::ignore}) {
      Transcoder encoder(find_encoding(each.encoding, errors, Newline::none));
      std::string bytes;
      CHECK_FALSE(encoder.encode(each.text, true, bytes));
      CHECK(bytes == (errors == Errors::replace ? each.replaced : each.ignored));
    }
    CHECK(encode(each.encoding, each.text).wrong);
  }
}

TEST_CASE("Transcoder: writes \"\\r\\n\", and says where in the text given something cannot be expressed") {
  struct Written {
    const char* encoding;
    std::string bytes;
  };
  const std::string text = "a\nb\r\n\n";
  for (const Written& each : std::vector<Written>{{"utf-8", "a\r\nb\r\r\n\r\n"},
                                                  {"latin-1", "a\r\nb\r\r\n\r\n"},
                                                  {"utf-16le", "a\0\r\0\n\0b\0\r\0\r\0\n\0\r\0\n\0"s},
                                                  {"shift_jis", "a\r\nb\r\r\n\r\n"}}) {
    INFO(each.encoding);
    for (const Errors errors : {Errors::strict, Errors::replace}) {
      Transcoder encoder(find_encoding(each.encoding, errors, Newline::crlf));
      std::string bytes;
      CHECK_FALSE(encoder.encode(text, true, bytes));
      CHECK(bytes == each.bytes);
    }
    for (const Newline newline : {Newline::none, Newline::universal, Newline::crlf}) {
      Transcoder encoder(find_encoding(each.encoding, Errors::strict, newline));
      std::string bytes;
      CHECK(encoder.encode("\n\nab\xff\n", true, bytes) == 4);
      CHECK(encoder.encode("\n\xff", true, bytes) == 1);
      CHECK(encoder.encode("\xff\n", true, bytes) == 0);
    }
  }
  Transcoder universal(find_encoding("latin-1", Errors::strict, Newline::universal));
  std::string bytes;
  CHECK_FALSE(universal.encode(text, true, bytes));
  CHECK(bytes == text);
}

TEST_CASE("Transcoder: restart() forgets shifts, sizes and what was pending") {
  Transcoder decoder = transcoder("iso-2022-jp");
  const auto decode = [&](std::string_view bytes) {
    std::string text;
    CHECK(decoder.decode(bytes, false, text) == Outcome::all);
    return text;
  };
  CHECK(decode("a\x1b$B$\"") == "aあ");
  decoder.restart();
  CHECK(decode("$\"") == "$\"");
  CHECK(decoder.encoded_size("aa$\"") == 2);
  CHECK(decode("a\x1b$B") == "a");
  decoder.restart();
  CHECK(decode("b") == "b");
  CHECK(decoder.encoded_size("b") == 1);

  Transcoder fresh = transcoder("utf-16");
  fresh.restart();
  fresh.set_order(ByteOrder::big);
  fresh.restart();
  std::string text;
  std::string_view bytes("\0a", 2);
  CHECK(fresh.decode(bytes, false, text) == Outcome::all);
  CHECK(text == "a");
}
