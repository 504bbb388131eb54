#include <aiofile/text.hpp>

#include <algorithm>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

using aiofile::count_code_points;
using aiofile::scan_utf8;
using aiofile::skip_code_points;
using aiofile::Utf8Scan;
using aiofile::whole_characters;

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

/// Where each character begins, and the end.
std::vector<std::size_t> boundaries(std::string_view text) {
  std::vector<std::size_t> list;
  bool ignored = false;
  for (std::size_t at = 0; at < text.size(); at += first_character(text.substr(at), ignored)) list.push_back(at);
  list.push_back(text.size());
  return list;
}

/// Random characters of mixed sizes, of which about `percent` are ASCII, `size` bytes in all.
std::string random_text(std::mt19937& random, std::size_t size, unsigned percent) {
  std::string text;
  while (text.size() < size) {
    const std::uint32_t limits[] = {0x80, 0x800, 0x10000, 0x110000};
    const std::uint32_t limit = random() % 100 < percent ? 0x80 : limits[random() % 4];
    const auto code = static_cast<std::uint32_t>(random() % limit);
    if (!is_scalar(code)) continue;
    const std::string character = encode(code);
    if (text.size() + character.size() <= size) text += character;
  }
  return text;
}

/// Texts of every length around the sizes of words and blocks.
const std::vector<std::string>& random_texts() {
  static const std::vector<std::string> list = [] {
    std::mt19937 random(20'240'901);
    std::vector<std::string> texts;
    for (std::size_t size = 0; size <= 80; ++size) {
      for (const unsigned percent : {0U, 30U, 90U, 100U}) texts.push_back(random_text(random, size, percent));
    }
    for (const std::size_t middle : {128U, 192U, 256U, 320U, 1024U}) {
      for (std::size_t size = middle - 9; size <= middle + 9; ++size) {
        for (const unsigned percent : {0U, 50U, 97U}) texts.push_back(random_text(random, size, percent));
      }
    }
    for (const char* const character : {"é", "€", "𝄞"}) {
      std::string text;
      while (text.size() < 300) text += character;
      for (std::size_t before = 0; before < 8; ++before) texts.push_back(std::string(before, 'a') + text);
    }
    return texts;
  }();
  return list;
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

TEST_CASE("UTF-8: code points are counted as by hand, in texts of every length") {
  std::size_t wrong = 0;
  for (const std::string& text : random_texts()) {
    REQUIRE(scan_utf8(text).valid == text.size());
    wrong += count_code_points(text) == boundaries(text).size() - 1 ? 0 : 1;
  }
  CHECK(wrong == 0);
  CHECK(count_code_points({}) == 0);
  CHECK(count_code_points(std::string(100, '\0')) == 100);
  CHECK(count_code_points(std::string(100, '\x7f')) == 100);
}

TEST_CASE("UTF-8: code points are counted at any address") {
  std::mt19937 random(5);
  const std::string text = random_text(random, 400, 30);
  const std::vector<std::size_t> places = boundaries(text);
  std::size_t wrong = 0;
  for (std::size_t first = 0; first < places.size(); ++first) {
    for (std::size_t last = first; last < places.size(); ++last) {
      const std::string_view part(text.data() + places[first], places[last] - places[first]);
      wrong += count_code_points(part) == last - first ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("UTF-8: every character there is counts as one") {
  std::size_t wrong = 0;
  for (std::uint32_t code = 0; code <= 0x10ffff; ++code) {
    if (!is_scalar(code)) continue;
    const std::string one = encode(code);
    wrong += count_code_points(one) == 1 ? 0 : 1;
    wrong += count_code_points(one + one + one + one + one + one + one + one) == 8 ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("UTF-8: skipping code points ends where they end, and tells how many there were") {
  std::size_t wrong = 0;
  for (const std::string& text : random_texts()) {
    const std::vector<std::size_t> places = boundaries(text);
    const std::size_t characters = places.size() - 1;
    for (std::size_t count = 0; count <= characters + 2; ++count) {
      std::size_t found = 1000;  // it is added to
      const std::size_t size = skip_code_points(text, count, found);
      const std::size_t expected = std::min(count, characters);
      wrong += size == places[expected] && found == 1000 + expected ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
  std::size_t found = 0;
  CHECK(skip_code_points({}, 5, found) == 0);
  CHECK(found == 0);
  CHECK(skip_code_points("aé", static_cast<std::size_t>(-1), found) == 3);
  CHECK(found == 2);
}

TEST_CASE("UTF-8: code points are skipped step by step as at once") {
  std::mt19937 random(11);
  for (const std::string& text : random_texts()) {
    std::size_t at = 0;
    std::size_t found = 0;
    std::size_t asked = 0;
    while (at < text.size()) {
      const std::size_t step = random() % 70;
      asked += step;
      at += skip_code_points(std::string_view(text).substr(at), step, found);
    }
    std::size_t at_once = 0;
    CHECK(skip_code_points(text, asked, at_once) == text.size());
    CHECK(found == at_once);
    CHECK(found == count_code_points(text));
  }
}

TEST_CASE("Limit: goes on counting where it was, in bytes or in code points") {
  const std::string_view text = "aé漢z";
  aiofile::detail::Limit characters(3);
  CHECK(characters.within(text.substr(0, 1), false) == "a");
  CHECK_FALSE(characters.reached());
  CHECK(characters.within(text.substr(0, 3), false) == "aé");
  CHECK_FALSE(characters.reached());
  CHECK(characters.within(text, false) == "aé漢");
  CHECK(characters.reached());
  aiofile::detail::Limit bytes(3);
  CHECK(bytes.within(text.substr(0, 2), true).size() == 2);
  CHECK_FALSE(bytes.reached());
  CHECK(bytes.within(text, true) == "aé");
  CHECK(bytes.reached());
  aiofile::detail::Limit all(-1);
  CHECK(all.within(text, false) == text);
  CHECK_FALSE(all.reached());
  aiofile::detail::Limit nothing(0);
  CHECK(nothing.within(text, false).empty());
  CHECK(nothing.reached());
}

TEST_CASE("UTF-8: whole characters up to a size, the first in any case") {
  std::size_t wrong = 0;
  for (const std::string& text : random_texts()) {
    const std::vector<std::size_t> places = boundaries(text);
    for (std::size_t size = 0; size <= text.size() + 3; ++size) {
      std::size_t expected = 0;
      for (const std::size_t place : places) expected = place <= size ? place : expected;
      if (expected == 0 && places.size() > 1) expected = places[1];
      wrong += whole_characters(text, size) == expected ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
  CHECK(whole_characters({}, 0) == 0);
  CHECK(whole_characters({}, 10) == 0);
  CHECK(whole_characters("𝄞a", 0) == 4);
  CHECK(whole_characters("𝄞a", 3) == 4);
  CHECK(whole_characters("𝄞a", 4) == 4);
  CHECK(whole_characters("a𝄞", 4) == 1);
}
