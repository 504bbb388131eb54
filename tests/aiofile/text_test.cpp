#include <aiofile/text.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

using aiofile::scan_utf8;
using aiofile::Utf8Scan;

namespace {

std::string encode(std::uint32_t code) {
  const auto byte = [](std::uint32_t value) { return static_cast<char>(value); };
  const auto next = [&](unsigned shift) { return byte(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) return {byte(code)};
  if (code < 0x800) return {byte(0xc0 | code >> 6), next(0)};
  if (code < 0x10000) return {byte(0xe0 | code >> 12), next(6), next(0)};
  return {byte(0xf0 | code >> 18), next(12), next(6), next(0)};
}

bool is_scalar(std::uint32_t code) { return code <= 0x10ffff && (code < 0xd800 || code > 0xdfff); }

/// The number of bytes of the character at the front; 0: none, and `cut` when it is the beginning of one.
std::size_t first_character(std::string_view text, bool& cut) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::size_t size = at(0) < 0x80 ? 1 : at(0) >> 5 == 6 ? 2 : at(0) >> 4 == 14 ? 3 : at(0) >> 3 == 30 ? 4 : 0;
  cut = false;
  if (size == 0) return 0;
  if (size > text.size()) {
    // The beginning of a character if some continuation makes it one.
    for (const char fill : {'\x80', '\x9f', '\xbf'}) {
      std::string whole(text);
      whole.resize(size, fill);
      bool ignored = false;
      cut = cut || first_character(whole, ignored) == size;
    }
    return 0;
  }
  std::uint32_t code = size == 1 ? at(0) : at(0) & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if (at(i) >> 6 != 2) return 0;
    code = code << 6 | (at(i) & 0x3f);
  }
  return is_scalar(code) && encode(code).size() == size ? size : 0;  // the shortest form only
}

/// Slow and simple.
Utf8Scan reference_scan(std::string_view text) {
  Utf8Scan scan;
  while (scan.valid < text.size()) {
    const std::size_t size = first_character(text.substr(scan.valid), scan.truncated);
    if (size == 0) break;
    scan.valid += size;
  }
  return scan;
}

bool agrees(std::string_view text) {
  const Utf8Scan got = scan_utf8(text);
  const Utf8Scan expected = reference_scan(text);
  return got.valid == expected.valid && got.truncated == expected.truncated;
}

/// The bytes at which the rules change.
const std::vector<unsigned>& edges() {
  static const std::vector<unsigned> list = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                             0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                             0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff};
  return list;
}

std::string bytes(std::initializer_list<unsigned> values) {
  std::string text;
  for (const unsigned value : values) text += static_cast<char>(value);
  return text;
}

}  // namespace

TEST_CASE("UTF-8: the reference knows what the standard says") {
  CHECK(reference_scan("a\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e").valid == 10);
  CHECK(reference_scan("a\xc0\x80").valid == 1);
  CHECK(reference_scan("\xed\xa0\x80").valid == 0);
  CHECK(reference_scan("\xf4\x90\x80\x80").valid == 0);
  CHECK(reference_scan("a\xe2\x82").truncated);
  CHECK_FALSE(reference_scan("a\xe0\x9f").truncated);
}

TEST_CASE("UTF-8: all sequences of one and of two bytes") {
  std::size_t wrong = 0;
  for (unsigned a = 0; a < 256; ++a) {
    wrong += agrees(bytes({a})) ? 0 : 1;
    for (unsigned b = 0; b < 256; ++b) wrong += agrees(bytes({a, b})) ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("UTF-8: sequences of three bytes, each first and second with the edges of the third") {
  std::size_t wrong = 0;
  for (unsigned a = 0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      for (const unsigned c : edges()) wrong += agrees(bytes({a, b, c})) ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("UTF-8: sequences of four and five bytes at all edges") {
  std::size_t wrong = 0;
  for (const unsigned a : edges()) {
    for (const unsigned b : edges()) {
      for (const unsigned c : edges()) {
        for (const unsigned d : edges()) {
          wrong += agrees(bytes({a, b, c, d})) ? 0 : 1;
          wrong += agrees(bytes({a, b, c, d, 0xbf})) ? 0 : 1;
        }
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("UTF-8: every character there is") {
  std::size_t wrong = 0;
  for (std::uint32_t code = 0; code <= 0x110400; ++code) {
    const std::string text = encode(code);
    const Utf8Scan scan = scan_utf8(text);
    wrong += (is_scalar(code) ? scan.valid == text.size() : scan.valid == 0) && !scan.truncated ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("UTF-8: longer forms, surrogates and what lies beyond are wrong, not cut") {
  for (const char* const text :
       {"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80",
        "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80",
        "\xfe", "\xff", "\x80", "\xbf"}) {
    const std::string_view sequence(text, std::string_view(text).empty() ? 2 : std::string_view(text).size());
    const Utf8Scan scan = scan_utf8(sequence);
    CHECK(scan.valid == 0);
    CHECK_FALSE(scan.truncated);
  }
}

TEST_CASE("UTF-8: a character that is cut by the end is told from a wrong one") {
  for (const std::string character : {"é", "€", "𝄞"}) {
    for (std::size_t kept = 1; kept < character.size(); ++kept) {
      for (std::size_t before = 0; before < 100; ++before) {
        const Utf8Scan scan = scan_utf8(std::string(before, 'a') + character.substr(0, kept));
        CHECK((scan.valid == before && scan.truncated));
      }
    }
  }
  CHECK_FALSE(scan_utf8("\xe2z").truncated);
  CHECK_FALSE(scan_utf8("\xe2\x82z").truncated);
}

TEST_CASE("UTF-8: a wrong byte is found at every place of a text") {
  const std::string ascii(200, 'a');
  std::string mixed;
  while (mixed.size() < 200) mixed += "é€ abc 𝄞 plain letters for a while, more than thirty-two of them ";
  for (const std::string& text : {ascii, mixed}) {
    CHECK(scan_utf8(text).valid == reference_scan(text).valid);
    for (std::size_t place = 0; place < 200; ++place) {
      for (const char bad : {'\x80', '\xff', '\xc0', '\xe2', '\xf0'}) {
        std::string wrong = text;
        wrong[place] = bad;
        INFO("byte " << place);
        CHECK(agrees(wrong));
      }
    }
  }
}

TEST_CASE("UTF-8: texts of any length are whole") {
  std::size_t wrong = 0;
  for (std::size_t length = 0; length < 300; ++length) {
    const std::string ascii(length, 'a');
    wrong += scan_utf8(ascii).valid == length ? 0 : 1;
    wrong += scan_utf8(ascii + "é" + ascii).valid == 2 * length + 2 ? 0 : 1;
  }
  CHECK(wrong == 0);
  CHECK(scan_utf8({}).valid == 0);
  CHECK(scan_utf8(std::string(100, '\0')).valid == 100);
}
