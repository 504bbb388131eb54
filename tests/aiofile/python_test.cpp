// Random sequences of operations on a stream against Python's own open(): python_sequences.py makes them.

#include <stdio.h>

#include <aiofile/async_open.hpp>
#include <caio/task.hpp>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::FileStream;
using aiofile::Whence;
using caio::Context;
using caio::Task;

namespace {

std::string plain(const std::string& hexadecimal) {
  std::string bytes;
  if (hexadecimal == "-") return bytes;
  bytes.reserve(hexadecimal.size() / 2);
  for (std::size_t at = 0; at + 1 < hexadecimal.size(); at += 2) {
    const auto digit = [](char letter) { return letter <= '9' ? letter - '0' : letter - 'a' + 10; };
    bytes += static_cast<char>(digit(hexadecimal[at]) * 16 + digit(hexadecimal[at + 1]));
  }
  return bytes;
}

using Lines = std::vector<std::string>;

/// The blocks of lines, one for each file. Empty without python3.
std::vector<Lines> sequences(const support::TemporaryDirectory& directory, int count) {
  const std::string output = (directory / "sequences").string();
  const std::string command = "python3 " AIOFILE_SOURCE_DIR "/tests/aiofile/python_sequences.py " +
                              std::to_string(count) + " " + directory.path().string() + " > " + output;
  std::vector<Lines> blocks;
  if (std::system("python3 -c pass 2> /dev/null") != 0) return blocks;
  REQUIRE(std::system(command.c_str()) == 0);
  std::ifstream file(output);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("file ", 0) == 0) blocks.emplace_back();
    blocks.back().push_back(line);
  }
  return blocks;
}

/// Does what the lines say; gives the first that came out differently, or nothing.
Task<std::string> play(std::filesystem::path path, const Lines& lines) {
  std::string mode;
  std::string encoding;
  std::string content;
  std::string word;
  std::istringstream(lines.front()) >> word >> mode >> encoding >> content;
  std::ofstream(path, std::ios::binary) << plain(content);
  if (encoding == "-") encoding = "utf-8";
  FileStream stream = co_await aiofile::async_open(path, mode, {.encoding = encoding});
  std::string difference;
  for (std::size_t index = 1; index + 1 < lines.size() && difference.empty(); ++index) {
    std::istringstream line(lines[index]);
    std::string wanted = "-";
    std::string result = wanted;
    std::string position;
    line >> word;
    if (word == "read" || word == "readline") {
      std::int64_t size = 0;
      line >> size >> wanted >> position;
      wanted = plain(wanted);
      if (word == "read") {
        result = co_await stream.read(size);
      } else {
        result = co_await stream.readline(size);
      }
    } else if (word == "seek") {
      std::int64_t offset = 0;
      int whence = 0;
      line >> offset >> whence >> position;
      if (whence == 0 && index % 2 == 0) {
        stream.seek(offset);
      } else {
        const Whence from = whence == 0 ? Whence::set : whence == 1 ? Whence::current : Whence::end;
        co_await stream.seek(offset, from);
      }
    } else if (word == "write") {
      line >> content >> position;
      const std::string text = plain(content);
      co_await stream.write(text);
    } else {
      line >> position;
      co_await stream.truncate();
    }
    const bool there = position == "-" || position == std::to_string(stream.tell());
    if (result != wanted || !there) {
      difference = lines.front().substr(0, 80) + "\n" + lines[index].substr(0, 200) + "\ngave \"" + result + "\", at " +
                   std::to_string(stream.tell());
    }
  }
  co_await stream.close();
  std::istringstream(lines.back()) >> word >> content;
  if (difference.empty() && support::content_of(path) != plain(content)) difference = "the file's content";
  co_return difference;
}

Task<> play_all(std::filesystem::path path, const std::vector<Lines>& blocks, std::size_t count) {
  std::size_t different = 0;
  std::string first;
  for (std::size_t seed = 0; seed < count; ++seed) {
    const std::string difference = co_await play(path, blocks[seed]);
    if (difference.empty()) continue;
    ++different;
    if (first.empty()) first = "seed " + std::to_string(seed) + ": " + difference;
  }
  INFO(first);
  CHECK(different == 0);
}

}  // namespace

TEST_CASE("FileStream: 10 000 random sequences of operations do what Python's do") {
  // Once for all sections.
  static const support::TemporaryDirectory directory;
  static const std::vector<Lines> blocks = sequences(directory, 10'000);
  if (blocks.empty()) {
    WARN("skipped: there is no python3");
    return;
  }
  REQUIRE(blocks.size() == 10'000);
  // All of them on the best backend, some on each other way; with CAIO_TEST_LARGE all on each.
  const bool large = std::getenv("CAIO_TEST_LARGE") != nullptr;
  static std::size_t setup = 0;
  support::on_every_backend([&](Context&) {
    const bool all = large || setup++ == 0;
    return play_all(directory / "ours.txt", blocks, all ? blocks.size() : blocks.size() / 10);
  });
}
