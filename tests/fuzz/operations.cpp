// Fuzz target: any sequence of operations on a stream against a string with a position, as the documentation has it;
// on the blocking backend or the pool, in binary or UTF-8, gathering writes or not, appending or not.
#include <aiofile/aiofile.hpp>
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "fuzz.hpp"

namespace {

constexpr std::size_t largest_file = 64 * 1024;

/// What a text operation may give; nothing: it is a DecodeError.
using Text = std::optional<std::string_view>;

class Model {
 public:
  Model(std::string initial, bool text, bool appending)
      : content(std::move(initial)), text_(text), appending_(appending) {
    if (appending) position = content.size();
  }

  [[nodiscard]] std::string_view left() const {
    return std::string_view(content).substr(std::min(position, content.size()));
  }

  Text read(std::int64_t size) {
    const std::string_view good = valid();
    std::size_t end = good.size();
    if (size >= 0) {
      const auto most = static_cast<std::size_t>(size);
      end = text_ ? fuzz::characters(good, most) : std::min(good.size(), most);
      if (count(good.substr(0, end)) == most) return take(end);
    }
    return good.size() < left().size() ? Text() : take(end);
  }
  Text readline(std::int64_t size, std::string_view separator) {
    const std::string_view good = valid();
    std::string_view allowed = good;
    bool enough = false;
    if (size >= 0) {
      const auto most = static_cast<std::size_t>(size);
      allowed = good.substr(0, text_ ? fuzz::characters(good, most) : std::min(good.size(), most));
      enough = count(allowed) == most;
    }
    const std::size_t found = allowed.find(separator);
    if (found != std::string_view::npos) return take(found + separator.size());
    return enough || good.size() == left().size() ? take(allowed.size()) : Text();
  }
  [[nodiscard]] Text peek(std::size_t size) const {
    const std::string_view good = valid();
    if (size == 0) return "";
    if (good.empty()) return left().empty() ? Text("") : Text();
    if (!text_) return good.substr(0, size);
    std::size_t whole = fuzz::character(good);
    while (whole < good.size() && whole + fuzz::character(good.substr(whole)) <= size) {
      whole += fuzz::character(good.substr(whole));
    }
    return good.substr(0, whole);
  }
  void write(std::string_view bytes) {
    if (bytes.empty()) return;
    if (appending_) position = content.size();
    if (content.size() < position + bytes.size()) content.resize(position + bytes.size());
    bytes.copy(content.data() + position, bytes.size());
    position += bytes.size();
  }
  std::string_view take(std::size_t size) {
    const std::string_view front = left().substr(0, size);
    position += front.size();
    return front;
  }

  std::string content;
  std::size_t position = 0;

 private:
  [[nodiscard]] std::string_view valid() const { return text_ ? left().substr(0, fuzz::valid_prefix(left())) : left(); }
  [[nodiscard]] std::size_t count(std::string_view good) const {
    if (!text_) return good.size();
    std::size_t all = 0;
    for (; !good.empty(); good.remove_prefix(fuzz::character(good))) ++all;
    return all;
  }

  bool text_;
  bool appending_;
};

/// What was awaited gives the wanted text, or fails where there is none.
template <class Awaitable>
caio::Task<> yields(Awaitable awaitable, Text wanted, const char* what) {
  bool failed = false;
  try {
    const auto got = co_await std::move(awaitable);
    fuzz::require(wanted.has_value() && std::string_view(got) == *wanted, what);
  } catch (const aiofile::DecodeError&) {
    failed = true;
  }
  fuzz::require(failed == !wanted.has_value(), "a DecodeError where the text is wrong");
}

caio::Task<> next_line(aiofile::FileStream& stream, Text wanted) {
  aiofile::LineReader lines = stream.lines();
  bool failed = false;
  try {
    const auto got = co_await lines.next();
    fuzz::require(wanted.has_value() && got.value_or("") == *wanted, "lines().next()");
  } catch (const aiofile::DecodeError&) {
    failed = true;
  }
  fuzz::require(failed == !wanted.has_value(), "a DecodeError where the text is wrong");
}

caio::Task<> move(aiofile::FileStream& stream, Model& model, std::int64_t distance, aiofile::Whence whence) {
  std::int64_t from = 0;
  if (whence == aiofile::Whence::current) from = static_cast<std::int64_t>(model.position);
  if (whence == aiofile::Whence::end) from = static_cast<std::int64_t>(model.content.size());
  bool refused = false;
  try {
    const std::uint64_t position = co_await stream.seek(distance, whence);
    model.position = static_cast<std::size_t>(from + distance);
    fuzz::require(position == model.position, "seek()");
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  fuzz::require(refused == (from + distance < 0), "a negative position is refused");
}

constexpr std::array<std::string_view, 8> pieces{"a",
                                                 "line\n",
                                                 "\xc3\xa4",
                                                 "\xe2\x82\xac uro\n",
                                                 "\xf0\x9f\x98\x80",
                                                 "\r\n",
                                                 "0123456789012345678901234567890123456789",
                                                 "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n"};

caio::Task<> play(fuzz::Source source, unsigned kind) {
  const bool text = (kind & 1) != 0;
  const bool appending = (kind & 2) != 0;
  caio::Context& context = fuzz::context((kind & 8) != 0);
  const std::size_t buffering = (kind & 4) != 0 ? source.byte() : 0;
  Model model(std::string(source.take(source.byte())), text, appending);
  const fuzz::File file(model.content);
  const char* const mode = appending ? (text ? "a+" : "a+b") : (text ? "r+" : "r+b");
  aiofile::FileStream stream =
      co_await aiofile::async_open(file.fd(), mode, {.context = &context, .buffering = buffering});
  while (!source.empty()) {
    const unsigned what = source.byte();
    const std::int64_t size = static_cast<std::int64_t>(source.byte() * (what >= 128 ? 200U : 1U)) - 1;
    const auto count = static_cast<std::size_t>(size + 1);
    switch (what % 16) {
      case 0: co_await yields(stream.read(size), model.read(size), "read()"); break;
      case 1: co_await yields(stream.readline(size), model.readline(size, "\n"), "readline()"); break;
      case 2:
        co_await yields(stream.readline(-1, "\r\n"), model.readline(-1, "\r\n"), "readline() by another end");
        break;
      case 3: co_await yields(stream.peek(count), model.peek(count), "peek()"); break;
      case 4: co_await next_line(stream, model.readline(-1, "\n")); break;
      case 5: {
        std::string memory(count, '\0');
        const std::size_t got = co_await stream.read_into(std::as_writable_bytes(std::span(memory)));
        fuzz::require(std::string_view(memory).substr(0, got) == model.take(count), "read_into()");
        break;
      }
      case 6:
      case 7:
      case 8: {
        if (model.position + count > largest_file || model.content.size() > largest_file) break;
        std::string piece(pieces[count % pieces.size()]);
        if (!text && what % 16 == 8) piece = std::string(count, static_cast<char>(what));
        const std::size_t written = co_await stream.write(std::string_view(piece));
        fuzz::require(written == piece.size(), "write() writes all");
        model.write(piece);
        break;
      }
      case 9:
        stream.seek(static_cast<std::int64_t>(count));
        model.position = count;
        break;
      case 10: co_await move(stream, model, size - 64, aiofile::Whence::current); break;
      case 11: co_await move(stream, model, size - 128, aiofile::Whence::end); break;
      case 12: {
        co_await stream.truncate(count);
        model.content.resize(count);
        break;
      }
      case 13:
        if (model.position > 2 * largest_file) break;
        co_await stream.truncate();
        model.content.resize(model.position);
        break;
      case 14:
        co_await stream.flush();
        fuzz::require(file.content() == model.content, "the file after flush()");
        break;
      default: {
        const std::array<std::string_view, 3> lines{"one\n", "", "three\n"};
        if (model.content.size() > largest_file || model.position > largest_file) break;
        co_await stream.writelines(lines);
        model.write("one\nthree\n");
        break;
      }
    }
    fuzz::require(stream.tell() == model.position, "tell()");
  }
  co_await stream.close();
  fuzz::require(file.content() == model.content, "the file at the end");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Source source(data, size);
  const unsigned kind = source.byte();
  fuzz::context((kind & 8) != 0).run(play(source, kind));
  return 0;
}
