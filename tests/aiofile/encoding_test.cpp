#include <aiofile/encoding.hpp>

#include <stdexcept>
#include <string>
#include <string_view>

#include "support/catch.hpp"

using aiofile::canonical_encoding;
using aiofile::detail::Encoding;
using aiofile::detail::find_encoding;
using aiofile::detail::Form;

namespace {

bool known(std::string_view name) {
  try {
    find_encoding(name);
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

}  // namespace

TEST_CASE("Encodings: UTF-8 under all its names") {
  for (const char* const name : {"utf-8", "UTF-8", "utf8", "Utf_8", "U-T_F-8"})
    CHECK(canonical_encoding(name) == "utf-8");
}

TEST_CASE("Encodings: an unknown one is refused by name") {
  for (const char* const name : {"", "-", "klingon", "utf-88", "utf 8", "utf-8\n", "tf8"}) {
    CHECK_THROWS_AS(canonical_encoding(name), std::invalid_argument);
  }
  CHECK_THROWS_WITH(canonical_encoding("klingon"), Catch::Contains("\"klingon\""));
}

TEST_CASE("Encodings: the default is UTF-8, whose bytes are the text's") {
  const Encoding encoding;
  CHECK(encoding.name == "utf-8");
  for (const Encoding& plain : {encoding, find_encoding("utf-8")}) {
    CHECK_FALSE(plain.decodes());
    CHECK_FALSE(plain.encodes());
  }
  for (const char* const name : {"utf-8-sig", "utf-16", "utf-32le", "latin-1", "ascii", "gbk"}) {
    INFO(name);
    CHECK(find_encoding(name).decodes());
    CHECK(find_encoding(name).encodes());
  }
}

TEST_CASE("Encodings: Unicode's forms, and which of them begin with a mark") {
  struct Expected {
    const char* name;
    const char* canonical;
    Form form;
    bool marked;
  };
  for (const Expected& expected : {Expected{"UTF_8_SIG", "utf-8-sig", Form::utf8, true},
                                   {"utf-16", "utf-16", Form::utf16, true},
                                   {"UTF16", "utf-16", Form::utf16, true},
                                   {"utf-16-le", "utf-16le", Form::utf16, false},
                                   {"UTF-16LE", "utf-16le", Form::utf16, false},
                                   {"utf_16_be", "utf-16be", Form::utf16, false},
                                   {"utf-32", "utf-32", Form::utf32, true},
                                   {"utf-32-le", "utf-32le", Form::utf32, false},
                                   {"UTF32BE", "utf-32be", Form::utf32, false}}) {
    INFO(expected.name);
    const Encoding encoding = find_encoding(expected.name);
    CHECK(encoding.name == expected.canonical);
    CHECK(encoding.form == expected.form);
    CHECK(encoding.marked == expected.marked);
  }
}

TEST_CASE("Encodings: those with one byte for each character") {
  for (const char* const name :
       {"latin-1",      "Latin1",     "iso-8859-1", "ISO8859-1",  "l1",          "ascii",  "US-ASCII",   "iso-8859-2",
        "iso8859-5",    "iso-8859-7", "iso-8859-8", "iso8859-15", "iso-8859-16", "cp1250", "cp1251",     "cp1252",
        "windows-1252", "cp1253",     "cp1254",     "cp1256",     "cp1257",      "koi8-r", "koi8-u",     "cp437",
        "cp850",        "cp866",      "macintosh",  "tis-620",    "cp037",       "ibm500", "windows-874"}) {
    INFO(name);
    const Encoding encoding = find_encoding(name);
    CHECK(encoding.form == Form::single_byte);
    CHECK_FALSE(encoding.marked);
  }
}

TEST_CASE("Encodings: those of which only decoding tells") {
  for (const char* const name : {"shift_jis",   "Shift-JIS",  "sjis",   "cp932", "euc-jp",      "EUC_JP",   "eucjp",
                                 "iso-2022-jp", "iso2022-jp", "gb2312", "gbk",   "gb18030",     "GB-18030", "big5",
                                 "big5-hkscs",  "euc-kr",     "cp949",  "johab", "iso-2022-kr", "euc-tw"}) {
    INFO(name);
    const Encoding encoding = find_encoding(name);
    CHECK(encoding.form == Form::other);
    CHECK_FALSE(encoding.marked);
  }
}

TEST_CASE("Encodings: the same under several names") {
  CHECK(canonical_encoding("Latin_1") == "iso-8859-1");
  CHECK(canonical_encoding("ISO-8859-1") == "iso-8859-1");
  CHECK(canonical_encoding("us_ascii") == "ascii");
  CHECK(canonical_encoding("CP1252") == "cp1252");
  CHECK(canonical_encoding("cp-1252") == "cp1252");
  CHECK(canonical_encoding("KOI8-R") == "koi8-r");
  for (const char* const name : {"windows-1252", "Windows_1252", "WINDOWS1252", "shift_jis", "SHIFT-JIS", "euc_kr"}) {
    INFO(name);
    CHECK(known(name));
  }
}

TEST_CASE("Encodings: iconv's own names, even those that have an underscore only") {
  for (const char* const name : {"MS_KANJI", "ms_kanji", "JIS_C6220-1969-RO", "ISO_8859-15:1998", "ANSI_X3.4-1968"}) {
    INFO(name);
    CHECK(known(name));
  }
}

TEST_CASE("Encodings: a canonical name finds itself") {
  for (const char* const name : {"UTF8", "utf_8_sig", "UTF-16", "utf-32-be", "Latin1", "US-ASCII", "Windows-1252",
                                 "windows1252", "Shift_JIS", "EUC-JP", "GB18030", "KOI8-R", "MS_KANJI"}) {
    INFO(name);
    const Encoding encoding = find_encoding(name);
    const Encoding again = find_encoding(encoding.name);
    CHECK(again.name == encoding.name);
    CHECK(again.form == encoding.form);
    CHECK(again.marked == encoding.marked);
  }
}

TEST_CASE("Encodings: iconv's options are no part of a name") {
  for (const char* const name : {"ascii//IGNORE", "ascii//TRANSLIT", "ascii/", "utf-8//IGNORE", "cp1252//", "//", "/",
                                 "utf-16//ignore", "ascii,translit", "iso-10646/utf8/"}) {
    INFO(name);
    CHECK_FALSE(known(name));
  }
}

TEST_CASE("Encodings: what iconv would overlook in a name makes it unknown") {
  for (const std::string& name :
       {std::string("+"), std::string("utf+8"), std::string("utf-8+"), std::string("cp+1252"), std::string(" cp1252"),
        std::string("cp1252 "), std::string("cp1252\0", 7), std::string("cp1252\0x", 8), std::string("\0", 1),
        std::string("cp1252\n"), std::string("ascii;"), std::string("cp125\xc2\xb2"), std::string("*"),
        std::string(100'000, 'a')}) {
    INFO(name.substr(0, 20));
    CHECK_FALSE(known(name));
  }
}

TEST_CASE("Encodings: dashes alone are not the locale's encoding") {
  for (const char* const name : {"", "-", "_", "--", "-_-", ".", ":"}) {
    INFO(name);
    CHECK_FALSE(known(name));
  }
}

TEST_CASE("Encodings: one whose every text begins with a mark is refused") {
  for (const char* const name : {"unicode", "csunicode"}) {
    INFO(name);
    CHECK_FALSE(known(name));
  }
}

TEST_CASE("Encodings: one whose decoder keeps what is cut to itself is refused") {
  for (const char* const name : {"utf-7", "UTF7", "csUTF7", "utf-7-imap", "tscii"}) {
    INFO(name);
    CHECK_FALSE(known(name));
  }
}
