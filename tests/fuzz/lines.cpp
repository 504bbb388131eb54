// Fuzz target: every way to read lines, with any separator and chunk size, against cutting the content at once.
#include <aiofile/aiofile.hpp>
#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz.hpp"

namespace {

constexpr std::array<std::string_view, 8> separators{"\n", "\r\n",    std::string_view("\0", 1), "\n\n", "a", "aab",
                                                     "\r", "--------"};

struct Wanted {
  std::vector<std::string_view> lines;
  bool fails = false;  // at the end, by a DecodeError
};

Wanted cut(std::string_view content, std::string_view separator, std::size_t chunk, bool text) {
  Wanted wanted;
  std::string_view left = text ? content.substr(0, fuzz::valid_prefix(content)) : content;
  wanted.fails = left.size() < content.size();
  while (!left.empty()) {
    std::size_t found = left.find(separator);
    if (fuzz::planted && separator == "\r\n" && found != std::string_view::npos) {
      const auto at = static_cast<std::size_t>(left.data() - content.data()) + found + 1;
      if (at % chunk == 0) found = left.find(separator, found + 2);  // the mistake: blind where two chunks meet
    }
    if (found == std::string_view::npos && wanted.fails) break;
    const std::size_t end = found == std::string_view::npos ? left.size() : found + separator.size();
    wanted.lines.push_back(left.substr(0, end));
    left.remove_prefix(end);
  }
  return wanted;
}

/// Takes lines off the front of what is wanted.
class Expectation {
 public:
  explicit Expectation(Wanted wanted) : wanted_(std::move(wanted)) {}

  void line(std::string_view got) {
    if (at_ == wanted_.lines.size()) {
      fuzz::require(got.empty() && !wanted_.fails, "no line more than there are");
      over_ = true;
      return;
    }
    fuzz::require(got == wanted_.lines[at_++], "the next line");
  }
  void batch(std::span<const std::string_view> lines) {
    if (lines.empty()) line({});
    for (const std::string_view each : lines) line(each);
  }
  void failed() {
    fuzz::require(wanted_.fails && at_ == wanted_.lines.size(), "an error behind the last good line only");
    over_ = true;
  }
  [[nodiscard]] bool over() const { return over_; }

 private:
  Wanted wanted_;
  std::size_t at_ = 0;
  bool over_ = false;
};

caio::Task<> by_reader(int fd, const char* mode, std::size_t chunk, std::string_view separator, fuzz::Source ways,
                       Expectation& wanted) {
  aiofile::AIOFile file = aiofile::AIOFile::from_fd(fd, mode, {.context = &fuzz::context()});
  aiofile::LineReader reader(file, 0, chunk, std::string(separator));
  while (!wanted.over()) {
    const unsigned way = ways.byte() % 4;
    try {
      if (way == 0) {
        const std::string line = co_await reader.readline();
        wanted.line(line);
      } else if (way == 1) {
        const std::span<const std::string_view> lines = co_await reader.next_batch();
        wanted.batch(lines);
      } else {
        const std::optional<std::string_view> line = co_await reader.next();
        wanted.line(line.value_or(""));
      }
    } catch (const aiofile::DecodeError&) {
      wanted.failed();
    }
  }
  co_await file.close();
}

caio::Task<> by_stream(int fd, const char* mode, std::string_view separator, fuzz::Source ways, Expectation& wanted) {
  aiofile::FileStream stream = co_await aiofile::async_open(fd, mode, {.context = &fuzz::context()});
  std::string line;
  while (!wanted.over()) {
    // A line may come in pieces, of so many code points or bytes each; a long separator would be cut as well.
    const std::int64_t most = separator.size() > 1 || ways.empty() ? -1 : ways.byte() + std::int64_t{1};
    try {
      const std::string piece = co_await stream.readline(most, separator);
      line += piece;
      if (!piece.empty() && most > 0 && !line.ends_with(separator) && static_cast<std::int64_t>(piece.size()) >= most) {
        continue;
      }
      wanted.line(line);
      line.clear();
    } catch (const aiofile::DecodeError&) {
      if (!line.empty()) co_return;  // pieces may end within a line that never ends
      wanted.failed();
    }
  }
  co_await stream.close();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Source source(data, size);
  const unsigned kind = source.byte();
  const std::size_t chunk = kind % 8 == 7 ? 1000 + source.word() : source.byte() % 80 + std::size_t{1};
  const std::string_view separator = separators[source.byte() % separators.size()];
  const fuzz::Source ways(source.take(8));
  const std::string_view content = source.rest();
  const fuzz::File file(content);
  for (const char* mode : {"rb", "r"}) {
    const bool text = mode == std::string_view("r");
    Expectation wanted(cut(content, separator, chunk, text));
    fuzz::context().run(by_reader(file.fd(), mode, chunk, separator, ways, wanted));
    Expectation again(cut(content, separator, chunk, text));
    if (!fuzz::planted) fuzz::context().run(by_stream(file.fd(), mode, separator, ways, again));
  }
  return 0;
}
