#include <aiofile/iconv.hpp>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "support/catch.hpp"

using aiofile::detail::decode_byte;
using aiofile::detail::Iconv;
using aiofile::detail::is_regular;
using aiofile::detail::is_single_byte;
using aiofile::detail::left_out;

namespace {

/// All that comes out, and the errno.
std::pair<std::string, int> converted(Iconv& iconv, std::string_view input, std::size_t room = 64) {
  std::array<char, 64> memory;
  const char* from = input.data();
  std::size_t left = input.size();
  char* to = memory.data();
  std::size_t free = room;
  const int error = iconv.convert(from, left, to, free);
  CHECK(from == input.data() + input.size() - left);
  CHECK(to == memory.data() + room - free);
  return {std::string(memory.data(), to), error};
}

}  // namespace

TEST_CASE("Iconv: converts, and tells what stands in the way") {
  Iconv iconv("UTF-16LE", "UTF-8");
  REQUIRE(iconv);
  CHECK(converted(iconv, "aé") == std::pair(std::string("a\0\xe9\0", 4), 0));
  CHECK(converted(iconv, "abc", 4) == std::pair(std::string("a\0b\0", 4), E2BIG));
  CHECK(converted(iconv, "a\xff") == std::pair(std::string("a\0", 2), EILSEQ));
  CHECK(converted(iconv, "a\xc3") == std::pair(std::string("a\0", 2), EINVAL));
}

TEST_CASE("Iconv: an unknown encoding makes none, and a moved one belongs to its new owner") {
  CHECK_FALSE(Iconv());
  CHECK_FALSE(Iconv("UTF-8", "klingon"));
  Iconv first("UTF-8", "ISO-8859-1");
  Iconv second(std::move(first));
  CHECK(second);
  Iconv third;
  third = std::move(second);
  CHECK(converted(third, "\xe9") == std::pair(std::string("é"), 0));
}

TEST_CASE("Iconv: shifts are undone at the end, and forgotten by a reset") {
  Iconv encode("ISO-2022-JP", "UTF-8");
  REQUIRE(encode);
  CHECK(converted(encode, "あ").first == "\x1b$B$\"");
  std::array<char, 16> ending;
  char* to = ending.data();
  std::size_t room = ending.size();
  encode.finish(to, room);
  CHECK(std::string(ending.data(), to) == "\x1b(B");
  CHECK(room == ending.size() - 3);

  CHECK(converted(encode, "あ").first == "\x1b$B$\"");
  CHECK(converted(encode, "あ").first == "$\"");
  encode.reset();
  CHECK(converted(encode, "a").first == "a");
}

TEST_CASE("Iconv: appends behind what is there, as far as there is room") {
  Iconv encode("UTF-16BE", "UTF-8");
  std::string bytes = "x";
  std::string_view text = "abc";
  CHECK(encode.append(text, bytes, 4) == E2BIG);
  CHECK(text == "c");
  CHECK(bytes == std::string("x\0a\0b", 5));
  CHECK(encode.append(text, bytes, 4) == 0);
  CHECK(text.empty());
  CHECK(bytes == std::string("x\0a\0b\0c", 7));
}

TEST_CASE("decode_byte: the character, also one that the decoder holds back, or nothing") {
  Iconv latin("UTF-8", "ISO-8859-1");
  CHECK(decode_byte(latin, 0xe9) == "é");
  CHECK(decode_byte(latin, 0) == std::string(1, '\0'));
  Iconv ascii("UTF-8", "ASCII");
  CHECK(decode_byte(ascii, 0x80).empty());
  Iconv vietnamese("UTF-8", "CP1258");
  CHECK(decode_byte(vietnamese, 'a') == "a");
  CHECK(decode_byte(vietnamese, 0xcc) == "\u0300");
}

TEST_CASE("is_single_byte, is_regular: what each encoding of iconv is like") {
  for (const char* const name : {"ISO-8859-1", "ASCII", "CP1258", "KOI8-R"}) CHECK(is_single_byte(name));
  for (const char* const name : {"UTF-8", "UTF-16LE", "SHIFT_JIS", "ISO-2022-JP"}) CHECK_FALSE(is_single_byte(name));
  for (const char* const name : {"SHIFT_JIS", "ISO-2022-JP", "UTF-16LE"}) CHECK(is_regular(name));
  for (const char* const name : {"UTF-16", "UNICODE"}) CHECK_FALSE(is_regular(name));
}

TEST_CASE("left_out: the first tag character that glibc drops, where it drops them") {
  const std::string tag = "\xf3\xa0\x81\x81";  // U+E0041
  for (const char* const name : {"ISO-8859-1", "ISO-2022-JP", "SHIFT_JIS"}) {
    INFO(name);
    Iconv encode(name, "UTF-8");
    CHECK(left_out(encode, "ab" + tag + "z" + tag) == 2);
    CHECK(left_out(encode, "abz") == std::string_view::npos);
    CHECK(left_out(encode, "") == std::string_view::npos);
  }
  for (const char* const name : {"UTF-16LE", "GB18030"}) {
    INFO(name);
    Iconv encode(name, "UTF-8");
    CHECK(left_out(encode, "ab" + tag + "z" + tag) == std::string_view::npos);
  }
}
