// Random sequences of operations on files against Python's own open(): python_sequences.py and python_text.py make
// them.

#include <stdio.h>

#include <aiofile/aiofile.hpp>
#include <caio/task.hpp>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::FileStream;
using aiofile::LineReader;
using aiofile::OpenOptions;
using aiofile::Reader;
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

/// A script's blocks of lines, one for each file. Empty without python3.
std::vector<Lines> sequences(const support::TemporaryDirectory& directory, const std::string& script, int count) {
  const std::string output = (directory / script).string();
  const std::string command = "python3 " AIOFILE_SOURCE_DIR "/tests/aiofile/" + script + " " + std::to_string(count) +
                              " " + directory.path().string() + " > " + output;
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

/// What it says that differs.
std::string difference(const char* what, const std::string& result, const std::string& wanted) {
  if (result == wanted) return {};
  return std::string(what) + " gave \"" + result.substr(0, 200) + "\", not \"" + wanted.substr(0, 200) + "\"";
}

/// All text and all lines of a file, by everything that reads it as a whole.
Task<std::string> read_whole(std::filesystem::path path, OpenOptions options, std::string text, Lines lines,
                             std::size_t chunk) {
  AIOFile file(path, "r", options);
  co_await file.open();
  const std::string whole = co_await file.read();
  std::string wrong = difference("AIOFile::read", whole, text);
  std::string chunks;
  Reader reader(file, 0, chunk);
  for (;;) {
    const std::optional<std::string_view> next = co_await reader.next();
    if (!next) break;
    chunks += *next;
  }
  wrong += difference("Reader", chunks, text);
  Lines cut;
  LineReader line_reader(file, 0, chunk);
  for (;;) {
    const std::string line = co_await line_reader.readline();
    if (line.empty()) break;
    cut.push_back(line);
  }
  if (cut != lines) wrong += "LineReader: other lines";
  co_await file.close();
  FileStream stream = co_await aiofile::async_open(path, "r", options);
  const std::string all = co_await stream.read();
  wrong += difference("FileStream::read", all, text);
  stream.seek(0);
  const Lines together = co_await stream.readlines();
  if (together != lines) wrong += "FileStream::readlines: other lines";
  co_await stream.close();
  co_return wrong;
}

/// Does what a block of python_text.py says; gives what came out differently.
Task<std::string> play_text(std::filesystem::path path, const Lines& lines, std::size_t seed) {
  std::string word;
  std::string mode;
  std::string encoding;
  std::string errors;
  std::string newline;
  std::string content;
  std::istringstream(lines.front()) >> word >> mode >> encoding >> errors >> newline >> content;
  std::ofstream(path, std::ios::binary) << plain(content);
  OpenOptions options{.encoding = encoding, .errors = errors, .newline = plain(newline)};
  if (mode == "w") options.buffering = seed % 3 * 10;
  FileStream stream = co_await aiofile::async_open(path, mode, options);
  std::string text;
  std::string wrong;
  for (std::size_t index = 1; index + 1 < lines.size() && wrong.empty(); ++index) {
    std::istringstream line(lines[index]);
    std::string given;
    std::string position;
    line >> word;
    if (word == "text") {
      line >> given;
      text = plain(given);
    } else if (word == "lines") {
      Lines wanted;
      while (line >> given) wanted.push_back(plain(given));
      // Few bytes at a time take a while.
      wrong = co_await read_whole(path, options, text, wanted, text.size() > 1000 ? 1000 + seed : 1 + seed % 7);
    } else if (word == "iterate") {
      line >> given;
      std::string all;
      aiofile::LineReader rest = stream.lines();
      for (;;) {
        const std::optional<std::string_view> next = co_await rest.next();
        if (!next) break;
        all += std::string(*next) + ",";
      }
      std::string wanted;
      std::istringstream parts(given == "-" ? "" : given);
      while (std::getline(parts, given, ',')) wanted += plain(given) + ",";
      wrong = difference("lines()", all, wanted);
    } else if (word == "write") {
      line >> given;
      const std::string written = plain(given);
      co_await stream.write(written);
    } else {
      std::int64_t size = 0;
      line >> size >> given >> position;
      if ((seed + index) % 3 == 0) stream.seek(static_cast<std::int64_t>(stream.tell()));
      std::string result;
      if (word == "read") {
        result = co_await stream.read(size);
      } else {
        result = co_await stream.readline(size);
      }
      wrong = difference(word.c_str(), result, plain(given));
      if (position != "-") wrong += difference("tell()", std::to_string(stream.tell()), position);
    }
    if (!wrong.empty()) wrong = lines.front().substr(0, 200) + "\n" + lines[index].substr(0, 80) + "\n" + wrong;
  }
  co_await stream.close();
  std::istringstream(lines.back()) >> word >> content;
  if (wrong.empty() && support::content_of(path) != plain(content)) {
    wrong = lines.front().substr(0, 200) + "\n" + difference("writing", support::content_of(path), plain(content));
  }
  co_return wrong;
}

Task<> play_all_text(std::filesystem::path path, const std::vector<Lines>& blocks, std::size_t count) {
  std::size_t different = 0;
  std::string first;
  for (std::size_t seed = 0; seed < count; ++seed) {
    const std::string wrong = co_await play_text(path, blocks[seed], seed);
    if (wrong.empty()) continue;
    ++different;
    if (first.empty()) first = "seed " + std::to_string(seed) + ": " + wrong;
  }
  INFO(first);
  CHECK(different == 0);
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
  static const std::vector<Lines> blocks = sequences(directory, "python_sequences.py", 10'000);
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

TEST_CASE("OpenOptions: with any newline and errors, 2000 files are read and written as Python does") {
  static const support::TemporaryDirectory directory;
  static const std::vector<Lines> blocks = sequences(directory, "python_text.py", 2000);
  if (blocks.empty()) {
    WARN("skipped: there is no python3");
    return;
  }
  REQUIRE(blocks.size() == 2000);
  const bool large = std::getenv("CAIO_TEST_LARGE") != nullptr;
  static std::size_t setup = 0;
  support::on_every_backend([&](Context&) {
    const bool all = large || setup++ == 0;
    return play_all_text(directory / "ours.txt", blocks, all ? blocks.size() : blocks.size() / 20);
  });
}
