#include <aiofile/mode.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"

using aiofile::Mode;
using aiofile::parse_mode;

namespace {

/// All orders of the letters.
std::vector<std::string> orders_of(std::string letters) {
  std::sort(letters.begin(), letters.end());
  std::vector<std::string> list;
  do {
    list.push_back(letters);
  } while (std::next_permutation(letters.begin(), letters.end()));
  return list;
}

Mode expected(char kind, bool plus, bool binary) {
  Mode mode;
  mode.readable = kind == 'r' || plus;
  mode.writable = kind != 'r' || plus;
  mode.appending = kind == 'a';
  mode.created = kind == 'x';
  mode.plus = plus;
  mode.binary = binary;
  mode.flags = plus ? O_RDWR : kind == 'r' ? O_RDONLY : O_WRONLY;
  if (kind == 'w') mode.flags |= O_CREAT | O_TRUNC;
  if (kind == 'a') mode.flags |= O_CREAT | O_APPEND;
  if (kind == 'x') mode.flags |= O_CREAT | O_EXCL;
  return mode;
}

static_assert(parse_mode("r").flags == O_RDONLY);
static_assert(parse_mode("wb+").binary && parse_mode("wb+").readable && parse_mode("wb+").writable);
static_assert(parse_mode("a").appending && !parse_mode("a").readable);
static_assert(parse_mode("x").created && parse_mode("x").flags == (O_WRONLY | O_CREAT | O_EXCL));
static_assert(parse_mode("+tr") == parse_mode("r+"));

}  // namespace

TEST_CASE("Mode: every valid string, in every order") {
  std::size_t count = 0;
  for (const char kind : {'r', 'w', 'a', 'x'}) {
    for (const bool plus : {false, true}) {
      for (const std::string content : {"", "t", "b"}) {
        for (const std::string& text : orders_of(kind + content + (plus ? "+" : ""))) {
          INFO(text);
          CHECK(parse_mode(text) == expected(kind, plus, content == "b"));
          ++count;
        }
      }
    }
  }
  CHECK(count == 4 * (1 + 2 + 2 + 2 + 6 + 6));
}

TEST_CASE("Mode: every other string of up to four letters is refused") {
  const std::string letters = "rwax+btzU ";
  std::vector<std::string> texts = {""};
  std::size_t accepted = 0;
  for (std::size_t begin = 0, length = 0; length <= 4; ++length) {
    const std::size_t end = texts.size();
    for (std::size_t i = begin; i < end; ++i) {
      const std::string text = texts[i];
      try {
        parse_mode(text);
        ++accepted;
      } catch (const std::invalid_argument&) {
      }
      if (length < 4) {
        for (const char letter : letters) texts.push_back(text + letter);
      }
    }
    begin = end;
  }
  CHECK(texts.size() == 11'111);
  CHECK(accepted == 4 * (1 + 2 + 2 + 2 + 6 + 6));
}

TEST_CASE("Mode: what the seeds let through is refused") {
  for (const char* const text :
       {"",   "b",  "+", "t",  "rx", "wx", "rz", "rr",   "ww", "r++", "rbt",  "rtb",  "rbb", "rtt",
        "r ", " r", "R", "rw", "ra", "wa", "xa", "rb+b", "rU", "r\n", "r+bt", "read", "ä"}) {
    INFO(text);
    CHECK_THROWS_AS(parse_mode(text), std::invalid_argument);
  }
  CHECK_THROWS_AS(parse_mode(std::string_view("r\0", 2)), std::invalid_argument);
}

TEST_CASE("Mode: the reason is in the error's text") {
  CHECK_THROWS_WITH(parse_mode("r++"), Catch::Contains("'+' at most once"));
  CHECK_THROWS_WITH(parse_mode("rw"), Catch::Contains("one of r w a x"));
  CHECK_THROWS_WITH(parse_mode("b"), Catch::Contains("one of r w a x"));
  CHECK_THROWS_WITH(parse_mode("q"), Catch::Contains("consists of"));
}
