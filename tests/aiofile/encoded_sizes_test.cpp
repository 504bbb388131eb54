#include <aiofile/encoded_sizes.hpp>
#include <aiofile/input.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

using aiofile::Errors;
using aiofile::Newline;
using aiofile::detail::EncodedSizes;
using aiofile::detail::Encoding;
using aiofile::detail::find_encoding;
using aiofile::detail::Form;
using aiofile::detail::Input;
using namespace std::string_literals;

namespace {

/// As bytes come from a file.
void feed(Input& input, std::string_view bytes) {
  std::memcpy(input.room(bytes.size()).data(), bytes.data(), bytes.size());
  input.filled(bytes.size());
}

/// All text from an offset on, in one go.
std::string text_from(const Encoding& encoding, std::string_view file, std::uint64_t offset,
                      aiofile::detail::ByteOrder order) {
  Input input(encoding, false, offset);
  if (input.transcoder() != nullptr) input.transcoder()->set_order(order);
  if (offset < file.size()) feed(input, file.substr(offset));
  input.ended();
  return std::string(input.content());
}

std::size_t first_size(std::string_view content) {
  std::size_t size = 1;
  while (size < content.size() && (static_cast<unsigned char>(content[size]) & 0xc0U) == 0x80) ++size;
  return size;
}

struct Alphabet {
  const char* encoding;
  std::vector<std::string> pieces;  // of files: characters, what is none, and parts
};

const std::vector<Alphabet>& alphabets() {
  static const std::vector<Alphabet> list{
      {"utf-8",
       {"a", "é", "中", "😀", "\r", "\n", "\r\n", "\xff", "\xe4", "\xe4\xb8", "\xf0\x9f\x98", "\xed\xa0\x80", "\x80"}},
      {"utf-8-sig", {"a", "é", "\r", "\n", "\xef\xbb\xbf", "\xff", "\xe4\xb8"}},
      {"ascii", {"a", "\r", "\n", "\x80", "\xff"}},
      {"cp1252", {"a", "\xe9", "\x80", "\r", "\n", "\x81"}},
      {"utf-16le", {"a\0"s, "\x2d\x4e"s, "\x3d\xd8\x00\xde"s, "\r\0"s, "\n\0"s, "\x3d\xd8"s, "\x00\xde"s}},
      {"utf-16", {"\0a"s, "\x4e\x2d"s, "\xd8\x3d\xde\x00"s, "\0\r"s, "\0\n"s, "\xd8\x3d"s, "\xde\x00"s}},
      {"utf-32le", {"a\0\0\0"s, "\x00\xf6\x01\x00"s, "\r\0\0\0"s, "\n\0\0\0"s, "\0\xd8\0\0"s, "\0\0\x11\0"s}},
      {"shift_jis", {"a", "\x93\xfa", "\xb6", "\r", "\n", "\xff", "\x93", "\x81\x20"}},
      {"gb18030", {"a", "\xd6\xd0", "\x94\x32\xbe\x34", "\r", "\n", "\xff", "\x94\x32"}},
  };
  return list;
}

std::string random_file(std::mt19937& random, const Alphabet& alphabet) {
  std::string file = alphabet.encoding == "utf-16"s ? "\xfe\xff" : "";
  for (std::size_t count = random() % 12; count > 0; --count)
    file += alphabet.pieces[random() % alphabet.pieces.size()];
  if (random() % 4 == 0) file += '\xd8';  // cut
  return file;
}

/// Reads a file in random pieces, character by character; gives what it says that is wrong.
std::string read_in_pieces(std::mt19937& random, const Encoding& encoding, const std::string& file) {
  const auto big = encoding.name == "utf-16" ? aiofile::detail::ByteOrder::big : aiofile::detail::ByteOrder::little;
  const std::string text = text_from(encoding, file, 0, big);
  Input input(encoding, false, 0);
  std::size_t taken = 0;
  bool ended = false;
  while (!ended || !input.content().empty()) {
    if (input.content().empty() || random() % 3 == 0) {
      const std::string_view rest = std::string_view(file).substr(input.next_offset());
      ended = rest.empty();
      ended ? input.ended() : feed(input, rest.substr(0, 1 + random() % 3));
    } else {
      const std::size_t size = first_size(input.content());
      if (text.compare(taken, size, input.content().substr(0, size)) != 0) return "another text in pieces";
      input.consume(size);
      taken += size;
    }
    if (input.invalid()) return taken + input.content().size() == text.size() ? "" : "invalid elsewhere";
    if (input.position() > input.next_offset()) return "a position behind what was read";
    if (text_from(encoding, file, input.position(), big) != text.substr(taken)) {
      return "the rest is another at " + std::to_string(input.position());
    }
  }
  if (input.unfinished()) return encoding.errors == Errors::strict ? "" : "unfinished";
  if (input.position() != file.size() && taken > 0) return "the end is elsewhere";
  return taken == text.size() ? "" : "less text in pieces";
}

}  // namespace

TEST_CASE("EncodedSizes: the usual size is the form's") {
  struct Usual {
    Form form;
    std::uint64_t size;
  };
  for (const Usual& usual :
       {Usual{Form::utf8, 10}, Usual{Form::single_byte, 4}, Usual{Form::utf16, 10}, Usual{Form::utf32, 16}}) {
    EncodedSizes sizes(usual.form);
    const std::string text = "aé€𝄞";
    sizes.begin(0);
    sizes.decoded(text.size(), false);
    CHECK(sizes.of(text) == usual.size);
    CHECK(sizes.of("") == 0);
    sizes.decoded(text.size(), true);
    CHECK(sizes.of(text) == usual.size + sizes.unit());
    CHECK(sizes.of("") == sizes.unit());
    CHECK_FALSE(sizes.end());
  }
}

TEST_CASE("EncodedSizes: a special place counts with its character, and no longer when that is forgotten") {
  EncodedSizes sizes(Form::utf8);
  sizes.begin(5);            // the string had something already
  sizes.join(6);             // "x\n", which was "x\r\n"
  sizes.replace(7, 1, "�");  // of one byte
  sizes.skip(4);
  sizes.go_on(10);
  sizes.decoded(12, false);  // "x\n�yz"
  CHECK(sizes.of("x\n�yz") == 10);
  CHECK(sizes.of("\n�yz") == 9);
  CHECK(sizes.of("�yz") == 7);
  CHECK(sizes.of("yz") == 6);
  CHECK(sizes.of("z") == 1);
  sizes.forget_before("�yz");
  CHECK(sizes.of("�yz") == 7);
  CHECK(sizes.of("z") == 1);
  sizes.begin(0);
  sizes.skip(3);
  sizes.decoded(0, false);
  CHECK(sizes.of("z") == 4);
  CHECK(sizes.of("") == 3);  // it belongs to what follows,
  CHECK(sizes.end());        // until nothing does
  CHECK(sizes.of("z") == 4);
  CHECK(sizes.of("") == 0);
  CHECK_FALSE(sizes.end());
  sizes.restart();
  CHECK(sizes.of("z") == 1);
}

TEST_CASE("EncodedSizes: much that is left out is counted whole") {
  for (const Form form : {Form::utf8, Form::other}) {
    EncodedSizes sizes(form);
    sizes.begin(0);
    sizes.skip(std::size_t{1} << 33);
    sizes.go_on(0);
    if (form == Form::other) {
      sizes.add_shift(1);
      sizes.add_character();
    }
    sizes.decoded(1, false);
    CHECK(sizes.of("a") == (std::uint64_t{1} << 33) + 1);
  }
}

TEST_CASE("EncodedSizes: every position leads back to the same text, however it was read, replaced and translated") {
  const int rounds = std::getenv("CAIO_TEST_LARGE") != nullptr ? 2000 : 60;
  std::mt19937 random(11);
  for (const Alphabet& alphabet : alphabets()) {
    for (const Errors errors : {Errors::strict, Errors::replace, Errors::ignore}) {
      for (const Newline newline : {Newline::none, Newline::universal, Newline::crlf}) {
        const Encoding encoding = find_encoding(alphabet.encoding, errors, newline);
        std::string wrong;
        for (int round = 0; round < rounds && wrong.empty(); ++round) {
          const std::string file = random_file(random, alphabet);
          wrong = read_in_pieces(random, encoding, file);
          if (!wrong.empty()) {
            for (const char byte : file) wrong += " " + std::to_string(static_cast<unsigned char>(byte));
          }
        }
        INFO(alphabet.encoding << ", replace: " << (errors == Errors::replace) << ", ignore: "
                               << (errors == Errors::ignore) << ", universal: " << (newline == Newline::universal));
        CHECK(wrong == "");
      }
    }
  }
}
