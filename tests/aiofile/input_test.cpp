#include <aiofile/input.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"

using aiofile::detail::Buffer;
using aiofile::detail::ByteOrder;
using aiofile::detail::find_encoding;
using aiofile::detail::Input;
using namespace std::string_literals;

namespace {

Input binary(std::uint64_t position = 0) { return {find_encoding("utf-8"), true, position}; }
Input text(std::string_view encoding, std::uint64_t position = 0) { return {find_encoding(encoding), false, position}; }
/// `kind`: an encoding, or "binary".
Input make(std::string_view kind, std::uint64_t position = 0) {
  return kind == "binary" ? binary(position) : text(kind, position);
}

/// As bytes come from a file.
void feed(Input& input, std::string_view bytes) {
  const std::span<char> room = input.room(bytes.size() + 3);
  std::memcpy(room.data(), bytes.data(), bytes.size());
  input.filled(bytes.size());
}

/// The bytes of a file, from where the input goes on.
void feed_file(Input& input, std::string_view file, std::size_t size) {
  feed(input, file.substr(std::min(file.size(), static_cast<std::size_t>(input.next_offset())), size));
}

/// Reads what may be read behind the content; AddressSanitizer sees whether it may.
unsigned sum_with_padding(const Input& input) {
  const std::string_view content = input.content();
  return std::accumulate(content.data(), content.data() + content.size() + Buffer::padding, 0U,
                         [](unsigned sum, char byte) { return sum + static_cast<unsigned char>(byte); });
}

std::size_t first_size(std::string_view content) {
  std::size_t size = 1;
  while (size < content.size() && (static_cast<unsigned char>(content[size]) & 0xc0U) == 0x80) ++size;
  return size;
}

/// One file in an encoding, with the offset of each character and of the end.
struct File {
  const char* encoding;
  std::string bytes;
  std::string content;
  std::vector<std::uint64_t> offsets;
};

const std::vector<File>& files() {
  static const std::vector<File> list{
      {"utf-8", "aé€𝄞z", "aé€𝄞z", {0, 1, 3, 6, 10, 11}},
      {"utf-8-sig",
       "\xef\xbb\xbf"
       "aé𝄞z",
       "aé𝄞z",
       {0, 4, 6, 10, 11}},
      {"latin-1", "a\xe9\xffz", "aéÿz", {0, 1, 2, 3, 4}},
      {"cp1252", "\x80\x80z", "€€z", {0, 1, 2, 3}},
      {"utf-16le", "a\0\xe9\0\xac\x20\x34\xd8\x1e\xddz\0"s, "aé€𝄞z", {0, 2, 4, 6, 10, 12}},
      {"utf-16",
       "\xff\xfe"
       "a\0\x34\xd8\x1e\xddz\0"s,
       "a𝄞z",
       {0, 4, 8, 10}},
      {"utf-16", "\xfe\xff\0a\xd8\x34\xdd\x1e\0z"s, "a𝄞z", {0, 4, 8, 10}},
      {"utf-32", "\xff\xfe\0\0a\0\0\0\x1e\xd1\x01\0"s, "a𝄞", {0, 8, 12}},
      {"shift_jis", "a\x93\xfa\xb6\x95\\z", "a日ｶ表z", {0, 1, 3, 4, 6, 7}},
      {"gb18030", "a\xd6\xd0\x94\x32\xbe\x34z", "a中𝄞z", {0, 1, 3, 7, 8}},
      {"iso-2022-jp", "a\x1b$B$\"$$\x1b(Bb\n", "aあいb\n", {0, 1, 6, 8, 12, 13}},
  };
  return list;
}

}  // namespace

TEST_CASE("Input: has nothing at first, and begins where it was told") {
  for (const std::uint64_t position : {std::uint64_t{0}, std::uint64_t{17}, std::uint64_t{1} << 40}) {
    for (const char* const kind : {"binary", "utf-8", "utf-16"}) {
      INFO(kind);
      const Input input = make(kind, position);
      CHECK(input.content().empty());
      CHECK(input.position() == position);
      CHECK(input.next_offset() == position);
      CHECK_FALSE(input.invalid());
      CHECK_FALSE(input.unfinished());
    }
  }
}

TEST_CASE("Input: a transcoder only where the file's bytes are not the text's") {
  CHECK(binary().transcoder() == nullptr);
  CHECK(text("utf-8").transcoder() == nullptr);
  CHECK(Input(find_encoding("utf-16"), true, 0).transcoder() == nullptr);
  for (const char* const encoding : {"utf-8-sig", "utf-16", "latin-1", "ascii", "gbk"}) {
    CHECK(text(encoding).transcoder() != nullptr);
  }
}

TEST_CASE("Input: bytes are what they are in binary") {
  Input input(find_encoding("utf-16"), true, 100);
  feed(input, "\xff\xfe\0\xc3"s);
  CHECK(input.content() == "\xff\xfe\0\xc3"s);
  CHECK(input.bytes() == input.content());
  CHECK(input.position() == 100);
  CHECK(input.next_offset() == 104);
  CHECK_FALSE(input.unfinished());
  CHECK_FALSE(input.invalid());
  input.consume(1);
  CHECK(input.content() == "\xfe\0\xc3"s);
  CHECK(input.position() == 101);
  feed(input, "more");
  CHECK(input.content() == "\xfe\0\xc3more"s);
  CHECK(input.position() == 101);
  CHECK(input.next_offset() == 108);
}

TEST_CASE("Input: the position goes from character to character") {
  for (const File& file : files()) {
    for (std::size_t cut = 0; cut <= file.bytes.size(); ++cut) {
      INFO(file.encoding << " cut at " << cut);
      Input input = text(file.encoding);
      feed(input, std::string_view(file.bytes).substr(0, cut));
      feed(input, std::string_view(file.bytes).substr(cut));
      CHECK(input.content() == file.content);
      CHECK(input.next_offset() == file.bytes.size());
      CHECK_FALSE(input.unfinished());
      CHECK_FALSE(input.invalid());
      for (const std::uint64_t offset : file.offsets) {
        CHECK(input.position() == offset);
        if (!input.content().empty()) input.consume(first_size(input.content()));
      }
      CHECK(input.content().empty());
    }
  }
}

TEST_CASE("Input: the position counts from where one has started") {
  for (const File& file : files()) {
    if (std::string_view(file.encoding).ends_with("sig")) continue;  // the mark is one at the start only
    const std::uint64_t start = std::uint64_t{1} << 33;
    Input input = text(file.encoding, start);
    const std::size_t first = file.encoding == "utf-16"s ? 2 : file.encoding == "utf-32"s ? 4 : 0;
    if (file.bytes.starts_with("\xfe\xff")) input.transcoder()->set_order(ByteOrder::big);
    feed(input, std::string_view(file.bytes).substr(first));
    INFO(file.encoding);
    CHECK(input.content() == file.content);
    for (const std::uint64_t offset : file.offsets) {
      CHECK(input.position() == start + (offset == 0 ? 0 : offset - first));
      if (!input.content().empty()) input.consume(first_size(input.content()));
    }
  }
}

TEST_CASE("Input: characters are consumed while more bytes come") {
  std::mt19937 random(7);
  for (const File& file : files()) {
    INFO(file.encoding);
    std::size_t wrong = 0;
    for (int round = 0; round < 100; ++round) {
      Input input = text(file.encoding);
      std::string taken;
      std::size_t character = 0;
      while (taken.size() < file.content.size()) {
        if (input.content().empty() || random() % 2 == 0) {
          feed_file(input, file.bytes, 1 + random() % 3);
        } else {
          wrong += input.position() == file.offsets[character] ? 0 : 1;
          ++character;
          const std::size_t size = first_size(input.content());
          taken += input.content().substr(0, size);
          input.consume(size);
        }
      }
      wrong += taken == file.content ? 0 : 1;
      wrong += input.position() == file.bytes.size() ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("Input: reading on does not move the position") {
  for (const File& file : files()) {
    for (std::size_t taken = 0; taken < file.offsets.size(); ++taken) {
      INFO(file.encoding << " behind " << taken << " characters");
      Input input = text(file.encoding);
      std::size_t consumed = 0;
      while (input.next_offset() < file.bytes.size()) {
        feed_file(input, file.bytes, 1);
        for (; consumed < taken && !input.content().empty(); ++consumed) input.consume(first_size(input.content()));
        if (consumed == taken) CHECK(input.position() == file.offsets[taken]);
      }
    }
  }
}

TEST_CASE("Input: shifts do not lead the position astray, wherever the reads end") {
  const std::string file = "a\x1b$B$\"$$\x1b(Bb\n";
  const std::string content = "aあいb\n";
  const std::vector<std::size_t> ends{0, 1, 4, 7, 8, 9};
  for (std::size_t cut = 0; cut <= file.size(); ++cut) {
    for (const std::size_t taken : {0U, 1U, 3U, 4U, 5U}) {  // those next to a character of ASCII
      INFO("cut at " << cut << ", behind " << taken << " characters");
      Input input = text("iso-2022-jp");
      feed_file(input, file, cut);
      if (input.content().size() < ends[taken]) continue;
      input.consume(ends[taken]);
      Input fresh = text("iso-2022-jp", input.position());
      feed_file(fresh, file, file.size());
      CHECK(fresh.content() == content.substr(ends[taken]));
      feed_file(input, file, file.size());
      CHECK(input.content() == content.substr(ends[taken]));
      Input later = text("iso-2022-jp", input.position());
      feed_file(later, file, file.size());
      CHECK(later.content() == content.substr(ends[taken]));
    }
  }
}

TEST_CASE("Input: shifts belong to the character that follows") {
  Input input = text("iso-2022-jp");
  feed(input, "a\x1b$B$\"\x1b(B");
  CHECK(input.content() == "aあ");
  CHECK(input.position() == 0);
  input.consume(1);
  CHECK(input.position() == 1);
  input.consume(3);
  CHECK(input.position() == 6);
  feed(input, "b");
  CHECK(input.content() == "b");
  CHECK(input.position() == 6);
  input.consume(1);
  CHECK(input.position() == 10);
}

TEST_CASE("Input: at the end of the file shifts belong to the character before") {
  for (const std::size_t early : {0U, 1U, 4U}) {
    INFO(early);
    Input input = text("iso-2022-jp");
    feed(input, "a\x1b$B$\"\x1b(B");
    input.consume(early);
    input.ended();
    const std::uint64_t generation = input.generation();
    CHECK(input.position() == (early == 0 ? 0U : early == 1 ? 1U : 9U));
    if (early == 0) input.consume(1);
    if (early <= 1) {
      CHECK(input.content() == "あ");
      CHECK(input.position() == 1);
      input.consume(3);
    }
    CHECK(input.position() == 9);
    CHECK(input.generation() == generation);
    feed(input, "b");  // it has grown
    CHECK(input.position() == 9);
    CHECK(input.content() == "b");
    input.consume(1);
    CHECK(input.position() == 10);
  }
}

TEST_CASE("Input: the end of the file changes nothing where there are no shifts") {
  for (const File& file : files()) {
    if (file.encoding == "iso-2022-jp"s) continue;
    INFO(file.encoding);
    Input input = text(file.encoding);
    input.ended();
    CHECK(input.position() == 0);
    feed(input, file.bytes);
    input.ended();
    CHECK(input.content() == file.content);
    for (const std::uint64_t offset : file.offsets) {
      CHECK(input.position() == offset);
      if (!input.content().empty()) input.consume(first_size(input.content()));
    }
  }
}

TEST_CASE("Input: the end of the file gives what was held back, as another content") {
  Input input(find_encoding("utf-8", aiofile::Errors::replace, aiofile::Newline::universal), false, 0);
  feed(input, "a\r\xe4");
  CHECK(input.content() == "a");
  CHECK(input.unfinished());
  input.consume(1);
  CHECK(input.position() == 1);
  const std::uint64_t generation = input.generation();
  input.ended();
  CHECK(input.generation() != generation);
  CHECK_FALSE(input.unfinished());
  CHECK(input.content() == "\n�");
  CHECK(input.position() == 1);
  input.consume(1);
  CHECK(input.position() == 2);
  input.consume(3);
  CHECK(input.position() == 3);
}

TEST_CASE("Input: a restart at any character's position gives the rest of the text") {
  for (const File& file : files()) {
    if (file.encoding == "iso-2022-jp"s) continue;  // has a state
    Input input = text(file.encoding);
    feed(input, file.bytes);
    std::size_t at = 0;
    for (const std::uint64_t offset : file.offsets) {
      INFO(file.encoding << " at " << offset);
      input.restart(offset);
      CHECK(input.content().empty());
      CHECK(input.position() == offset);
      CHECK(input.next_offset() == offset);
      feed_file(input, file.bytes, file.bytes.size());
      CHECK(input.content() == std::string_view(file.content).substr(at));
      CHECK(input.position() == offset);
      if (!input.content().empty()) at += first_size(input.content());
    }
  }
}

TEST_CASE("Input: a restart forgets a shift") {
  Input input = text("iso-2022-jp");
  feed(input, "a\x1b$B$\"$");
  CHECK(input.unfinished());
  input.restart(0);
  CHECK_FALSE(input.unfinished());
  feed(input, "$\"");
  CHECK(input.content() == "$\"");
}

TEST_CASE("Input: the position at a marked file's start is before the mark") {
  Input input = text("utf-16");
  feed(input,
       "\xff\xfe"
       "a\0"s);
  CHECK(input.position() == 0);
  input.consume(0);
  CHECK(input.position() == 0);
  input.consume(1);
  CHECK(input.position() == 4);

  Input nothing = text("utf-16");
  feed(nothing, "\xff\xfe");
  CHECK(nothing.content().empty());
  CHECK(nothing.position() == 0);
  CHECK_FALSE(nothing.unfinished());
}

TEST_CASE("Input: a mark is one at the file's start only, however often one begins there") {
  for (const auto& [encoding, mark, letter] :
       {std::array{"utf-8-sig"s, "\xef\xbb\xbf"s, "a"s}, std::array{"utf-16"s, "\xff\xfe"s, "a\0"s},
        std::array{"utf-32"s, "\xff\xfe\0\0"s, "a\0\0\0"s}}) {
    INFO(encoding);
    const std::string file = mark + letter + mark + letter;
    for (std::size_t cut = 0; cut <= file.size(); ++cut) {
      Input input = text(encoding);
      feed_file(input, file, cut);
      feed_file(input, file, file.size());
      CHECK(input.content() ==
            "a\xef\xbb\xbf"
            "a");
      input.restart(0);
      feed_file(input, file, file.size());
      CHECK(input.content() ==
            "a\xef\xbb\xbf"
            "a");
      input.restart(mark.size() + letter.size());
      feed_file(input, file, cut);
      feed_file(input, file, file.size());
      CHECK(input.content() ==
            "\xef\xbb\xbf"
            "a");
    }
  }
}

// ---- what is no text -----------------------------------------------------------------------------------------------

TEST_CASE("Input: a character that is cut is unfinished, until the rest comes") {
  struct Cut {
    const char* encoding;
    std::string front;
    std::string rest;
    std::uint64_t at;
  };
  for (const Cut& cut : std::vector<Cut>{{"utf-8", "a\xe2\x82", "\xac", 1},
                                         {"utf-8", "\xf0", "\x9d\x84\x9e", 0},
                                         {"utf-8-sig", "\xef\xbb\xbf\xc3", "\xa9", 3},
                                         {"utf-8-sig", "\xef\xbb", "\xbfz", 0},
                                         {"utf-16",
                                          "\xff\xfe"
                                          "a\0\x34\xd8"s,
                                          "\x1e\xdd", 4},
                                         {"utf-16", "\xff", "\xfe", 0},
                                         {"utf-16le", "a\0b"s, "\0"s, 2},
                                         {"gb18030", "a\x94\x32\xbe", "\x34", 1},
                                         {"iso-2022-jp", "a\x1b$B$", "\"", 4}}) {
    INFO(cut.encoding << " " << cut.front.size());
    Input input = text(cut.encoding);
    feed(input, cut.front);
    CHECK(input.unfinished());
    CHECK_FALSE(input.invalid());
    CHECK(input.unfinished_at() == cut.at);
    input.consume(input.content().size());
    CHECK(input.unfinished());
    CHECK(input.unfinished_at() == cut.at);
    feed(input, cut.rest);
    CHECK_FALSE(input.unfinished());
    CHECK_FALSE(input.invalid());
  }
}

TEST_CASE("Input: what is no text stands behind the content") {
  struct Wrong {
    const char* encoding;
    std::string bytes;
    const char* content;
    std::uint64_t at;
  };
  for (const Wrong& wrong : std::vector<Wrong>{{"utf-8", "aé\xff more", "aé", 3},
                                               {"utf-8", "\x80", "", 0},
                                               {"utf-8", "a\xe2z", "a", 1},
                                               {"utf-8-sig",
                                                "\xef\xbb\xbf"
                                                "a\xffz",
                                                "a", 4},
                                               {"ascii", "abc\xc3\xa9", "abc", 3},
                                               {"cp1252", "\x80\x81", "€", 1},
                                               {"utf-16",
                                                "\xff\xfe"
                                                "a\0\0\xdc"
                                                "b\0"s,
                                                "a", 4},
                                               {"shift_jis", "\x93\xfa\x80", "日", 2},
                                               {"iso-2022-jp", "a\x1b$B$\"\x80\x80", "aあ", 6}}) {
    for (std::size_t cut = 0; cut <= wrong.bytes.size(); ++cut) {
      INFO(wrong.encoding << " cut at " << cut);
      Input input = text(wrong.encoding, 1000);
      input.restart(0);
      feed(input, std::string_view(wrong.bytes).substr(0, cut));
      feed(input, std::string_view(wrong.bytes).substr(cut));
      CHECK(input.invalid());
      CHECK(input.unfinished());
      CHECK(input.content() == wrong.content);
      CHECK(input.unfinished_at() == wrong.at);
      input.consume(input.content().size());
      CHECK(input.invalid());
      CHECK(input.unfinished_at() == wrong.at);
      CHECK(input.position() == wrong.at);
      feed(input, "zzzz");
      CHECK(input.invalid());
      CHECK(input.content().empty());
      input.restart(5);
      CHECK_FALSE(input.invalid());
      CHECK_FALSE(input.unfinished());
    }
  }
}

TEST_CASE("Input: in binary nothing is unfinished") {
  Input input = binary();
  for (const char* const bytes : {"\xe2\x82", "\xff", "\x80"}) {
    feed(input, bytes);
    CHECK_FALSE(input.unfinished());
    CHECK_FALSE(input.invalid());
    CHECK(input.unfinished_at() == input.next_offset());
  }
}

// ---- seeking -------------------------------------------------------------------------------------------------------

TEST_CASE("Input: a seek within what is here keeps it") {
  for (const char* const kind : {"binary", "utf-8"}) {
    INFO(kind);
    Input input = make(kind, 100);
    feed(input, "abcdefgh");
    const std::uint64_t generation = input.generation();
    input.seek(100);
    CHECK(input.content() == "abcdefgh");
    input.seek(103);
    CHECK(input.content() == "defgh");
    CHECK(input.position() == 103);
    CHECK(input.next_offset() == 108);
    input.seek(108);
    CHECK(input.content().empty());
    CHECK(input.position() == 108);
    CHECK(input.next_offset() == 108);
    CHECK(input.generation() == generation);
  }
}

TEST_CASE("Input: a seek outside of what is here goes on there") {
  for (const std::uint64_t target :
       {std::uint64_t{0}, std::uint64_t{99}, std::uint64_t{102}, std::uint64_t{109}, std::uint64_t{1} << 62}) {
    for (const char* const kind : {"binary", "utf-8", "latin-1"}) {
      INFO(kind);
      Input input = make(kind, 100);
      feed(input, "abcdefgh");
      input.consume(3);
      const std::uint64_t generation = input.generation();
      input.seek(target);
      CHECK(input.content().empty());
      CHECK(input.position() == target);
      CHECK(input.next_offset() == target);
      CHECK(input.generation() != generation);
      feed(input, "new");
      CHECK(input.content() == "new");
      CHECK(input.position() == target);
    }
  }
}

TEST_CASE("Input: after a seek to any byte, what comes is what a fresh input gives") {
  for (const char* const encoding : {"binary", "utf-8", "utf-8-sig", "utf-16le", "latin-1", "shift_jis"}) {
    const bool is_binary = encoding == "binary"s;
    const std::string file = "aé€𝄞zaé€𝄞z";
    for (std::size_t read = 0; read <= file.size(); ++read) {
      for (std::size_t target = 0; target <= file.size(); ++target) {
        INFO(encoding << " from " << read << " to " << target);
        Input input = make(encoding);
        feed_file(input, file, read);
        if (!input.content().empty()) input.consume(is_binary ? 1 : first_size(input.content()));
        input.seek(target);
        CHECK(input.position() == target);
        feed_file(input, file, file.size());
        Input fresh = make(encoding, target);
        feed_file(fresh, file, file.size());
        CHECK(input.content() == fresh.content());
        CHECK(input.invalid() == fresh.invalid());
        CHECK(input.unfinished() == fresh.unfinished());
        CHECK(input.unfinished_at() == fresh.unfinished_at());
      }
    }
  }
}

TEST_CASE("Input: a seek into a character is a seek to what is no text") {
  Input input = text("utf-8");
  feed(input, "aéz");
  input.seek(2);
  CHECK(input.position() == 2);
  feed_file(input, "aéz", 10);
  CHECK(input.content().empty());
  CHECK(input.invalid());
  CHECK(input.unfinished_at() == 2);
}

TEST_CASE("Input: a seek to where the text ends keeps what is unfinished") {
  Input input = text("utf-8");
  feed(input, "ab\xe2\x82");
  input.seek(2);
  CHECK(input.content().empty());
  CHECK(input.unfinished());
  CHECK(input.next_offset() == 4);
  feed(input, "\xac");
  CHECK(input.content() == "€");
  CHECK(input.position() == 2);
}

// ---- generations ---------------------------------------------------------------------------------------------------

TEST_CASE("Input: the generation stays while only consuming") {
  for (const char* const kind : {"binary", "utf-8", "utf-16le"}) {
    INFO(kind);
    Input input = make(kind);
    feed(input, "a\0b\0c\0"s);
    const std::uint64_t generation = input.generation();
    input.consume(0);
    input.consume(1);
    static_cast<void>(input.content());
    static_cast<void>(input.position());
    static_cast<void>(input.grown(10'000));
    CHECK(input.generation() == generation);
  }
}

TEST_CASE("Input: the generation changes with all that changes the content otherwise") {
  for (const char* const kind : {"binary", "utf-8", "utf-16le"}) {
    INFO(kind);
    Input input = make(kind);
    std::vector<std::uint64_t> seen{input.generation()};
    const auto check_new = [&] {
      CHECK(std::find(seen.begin(), seen.end(), input.generation()) == seen.end());
      seen.push_back(input.generation());
    };
    std::memset(input.room(10).data(), 'a', 10);
    check_new();
    input.filled(10);
    check_new();
    std::memset(input.room(4).data(), 'a', 4);
    check_new();
    input.filled(4);
    check_new();
    input.adopt(input.grown(10'000));
    check_new();
    if (!input.bytes().empty()) {
      input.consume_bytes(1);  // whole characters: no more than consume()
      CHECK(input.generation() == seen.back());
    }
    input.restart(3);
    check_new();
    input.seek(1000);
    check_new();
  }
}

TEST_CASE("Input: bytes taken out of a character leave text that is checked anew") {
  Input input = make("utf-8");
  feed(input, "\u4e2db");
  const std::uint64_t generation = input.generation();
  input.consume_bytes(1);
  CHECK(input.generation() != generation);
  CHECK(input.content().empty());
  CHECK(input.invalid());
  CHECK(input.position() == 1);
  input.consume_bytes(2);
  CHECK(input.content() == "b");
  CHECK_FALSE(input.invalid());
  CHECK(input.position() == 3);
}

// ---- memory --------------------------------------------------------------------------------------------------------

TEST_CASE("Input: padding bytes can be read behind the content, whatever its size") {
  for (std::size_t size = 1; size <= 260; ++size) {
    for (const char* const kind : {"binary", "utf-8", "utf-8-sig", "latin-1", "utf-16le"}) {
      INFO(kind);
      Input input = make(kind);
      const std::string piece = kind == "utf-16le"s ? "a\0"s : "a"s;
      std::string bytes;
      for (std::size_t i = 0; i < size; ++i) bytes += piece;
      const std::span<char> room = input.room(bytes.size());  // just that
      std::memcpy(room.data(), bytes.data(), bytes.size());
      input.filled(bytes.size());
      REQUIRE(input.content() == std::string(size, 'a'));
      CHECK(sum_with_padding(input) >= size * 'a');
      input.consume(size / 2);
      CHECK(sum_with_padding(input) >= (size - size / 2) * 'a');
      feed(input, piece);
      CHECK(sum_with_padding(input) >= (size - size / 2 + 1) * 'a');
    }
  }
}

TEST_CASE("Input: grows in two steps, as a buffer does") {
  for (const char* const encoding : {"binary", "utf-8", "utf-16le"}) {
    INFO(encoding);
    const bool wide = encoding == "utf-16le"s;
    Input input = make(encoding, 7);
    feed(input, wide ? "a\0b\0c"s : "ab\xe2"s);
    input.consume(1);
    const std::string content(input.content());
    const std::uint64_t position = input.position();
    const std::size_t growth = input.growth(100'000);
    CHECK(growth >= 100'000);
    Input::Larger larger = std::as_const(input).grown(100'000);
    CHECK((wide ? larger.text : larger.bytes).size() == growth);
    input.adopt(std::move(larger));
    CHECK(input.growth(100'000) == 0);
    CHECK(input.content() == content);
    CHECK(input.position() == position);
    const std::size_t allocations = support::allocations();
    const std::span<char> room = input.room(100'000);
    if (support::counts_allocations) CHECK(support::allocations() == allocations);
    CHECK(room.size() == 100'000);
    std::memcpy(room.data(), wide ? "\0" : "\x82\xac", wide ? 1 : 2);
    input.filled(wide ? 1 : 2);
    CHECK(input.content() == content + (wide ? "c" : encoding == "binary"s ? "\x82\xac" : "€"));
  }
}

TEST_CASE("Input: a room that stays empty changes nothing") {
  for (const char* const kind : {"binary", "utf-8", "latin-1"}) {
    INFO(kind);
    Input input = make(kind, 5);
    feed(input, "abc");
    std::memset(input.room(1000).data(), 'x', 1000);
    CHECK(input.content() == "abc");
    input.filled(0);
    CHECK(input.content() == "abc");
    CHECK(input.position() == 5);
    CHECK(input.next_offset() == 8);
    CHECK_FALSE(input.unfinished());
  }
}

TEST_CASE("Input: a long text that is taken in small pieces stays small") {
  const std::string block(4096, 'b');
  for (const char* const encoding : {"binary", "utf-8", "latin-1", "gbk"}) {
    INFO(encoding);
    Input input = make(encoding);
    std::size_t largest = 0;
    std::size_t grew_late = 0;
    for (int i = 0; i < 400; ++i) {
      const std::size_t growth = input.growth(block.size() + 3);
      largest = std::max(largest, growth);
      if (i >= 200 && growth > 0) ++grew_late;
      feed(input, block);
      while (input.content().size() >= 1000) input.consume(1000);
    }
    const bool decoded = input.transcoder() != nullptr;  // then there has to be room for longer text, too
    CHECK(largest <= (decoded ? 3 : 1) * (1000 + block.size() + 3) + Buffer::overhead);
    if (!decoded) CHECK(grew_late == 0);
    CHECK(input.position() == 400 * block.size() - input.content().size());
  }
}

// ---- bytes as such -------------------------------------------------------------------------------------------------

TEST_CASE("Input: bytes as such go beyond the text") {
  Input input = text("utf-8", 10);
  feed(input, "aé\xe2\x82");
  CHECK(input.content() == "aé");
  CHECK(input.bytes() == "aé\xe2\x82");
  input.consume_bytes(1);
  CHECK(input.content() == "é");
  CHECK(input.bytes() == "é\xe2\x82");
  CHECK(input.position() == 11);
  CHECK_FALSE(input.invalid());
  input.consume_bytes(3);  // into the last character
  CHECK(input.bytes() == "\x82");
  CHECK(input.content().empty());
  CHECK(input.position() == 14);
  CHECK(input.invalid());
  CHECK(input.unfinished_at() == 14);
  input.consume_bytes(1);
  CHECK(input.bytes().empty());
  CHECK_FALSE(input.invalid());
  CHECK_FALSE(input.unfinished());
  CHECK(input.position() == 15);
}

TEST_CASE("Input: text is checked anew after bytes were consumed") {
  Input input = text("utf-8");
  feed(input,
       "é\xff"
       "abc");
  CHECK(input.invalid());
  CHECK(input.unfinished_at() == 2);
  input.consume_bytes(1);
  CHECK(input.content().empty());
  CHECK(input.invalid());
  CHECK(input.unfinished_at() == 1);
  input.consume_bytes(2);
  CHECK(input.content() == "abc");
  CHECK_FALSE(input.invalid());
  CHECK_FALSE(input.unfinished());
  CHECK(input.position() == 3);
  feed(input, "é");
  CHECK(input.content() == "abcé");
}

TEST_CASE("Input: bytes as such in binary, and none where text is decoded") {
  Input input = binary(5);
  feed(input, "abc\xff");
  input.consume_bytes(2);
  CHECK(input.content() == "c\xff");
  CHECK(input.bytes() == "c\xff");
  CHECK(input.position() == 7);
  Input decoded = text("latin-1");
  feed(decoded, "abc");
  CHECK(decoded.bytes().empty());
  Input unfinished = text("utf-16le");
  feed(unfinished, "a\0b"s);
  CHECK(unfinished.unfinished());
  CHECK(unfinished.bytes().empty());
}

TEST_CASE("Input: in blocks, a read ends where a block does, and lies in memory as in the file") {
  for (const std::uint64_t start : {std::uint64_t{0}, std::uint64_t{100}, (std::uint64_t{1} << 40) + 4095}) {
    Input input = binary(start);
    for (const std::size_t wanted : {1U, 1000U, 4096U, 10'000U}) {
      const std::size_t size = input.align(wanted, 4096);
      CHECK(size >= wanted);
      CHECK(size < wanted + 4096);
      CHECK((input.next_offset() + size) % 4096 == 0);
      const auto address = reinterpret_cast<std::uintptr_t>(input.room(size).data());
      CHECK(address % 4096 == input.next_offset() % 4096);
      input.filled(size);
      input.consume(wanted / 2);
    }
  }
}
