// Fuzz target: the parser of examples/csv.cpp, which sees one line at a time, against one that sees the whole file.
#include <set>

#include "fuzz.hpp"

#define main example_main
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type"
#include "../../examples/csv.cpp"
#pragma GCC diagnostic pop
#undef main

namespace {

struct Event {
  enum class Kind { row, wrong_count, error, end } kind;
  CsvReader::Row row = {};
};

/// The whole of RFC 4180 by position; what is wrong throws an int.
class Oracle {
 public:
  explicit Oracle(std::string_view text) : text_(text) {
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
  }

  Event next() {
    try {
      if (names_.empty()) {
        std::vector<std::string> names = record();
        if (std::set<std::string>(names.begin(), names.end()).size() < names.size()) return {Event::Kind::error};
        names_ = std::move(names);
      }
      const std::vector<std::string> fields = record();
      if (fields.empty()) return {Event::Kind::end};
      if (fields.size() != names_.size()) return {Event::Kind::wrong_count};
      Event event{Event::Kind::row};
      for (std::size_t i = 0; i < fields.size(); ++i) event.row[names_[i]] = fields[i];
      return event;
    } catch (int) {
      return {Event::Kind::error};
    }
  }

 private:
  /// The length of the line's end that stands here; a '\r' alone is one at the end of the file only.
  [[nodiscard]] std::size_t line_end() const {
    const std::string_view here = text_.substr(at_);
    if (here.starts_with("\n")) return 1;
    if (here.starts_with("\r\n")) return 2;
    return here == "\r" ? 1 : 0;
  }
  [[nodiscard]] bool at_end() const { return at_ == text_.size(); }

  std::vector<std::string> record() {
    while (line_end() > 0) at_ += line_end();
    std::vector<std::string> fields;
    if (at_end()) return fields;
    for (;;) {
      fields.push_back(text_[at_ < text_.size() ? at_ : 0] == '"' && !at_end() ? quoted() : plain());
      if (at_end()) return fields;
      if (line_end() > 0) {
        at_ += line_end();
        return fields;
      }
      ++at_;  // a comma
    }
  }

  std::string plain() {
    const std::size_t begin = at_;
    while (!at_end() && text_[at_] != ',' && line_end() == 0) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  std::string quoted() {
    std::string field;
    for (++at_;; ++at_) {
      if (at_end()) throw 0;
      if (text_[at_] != '"') {
        field += text_[at_];
        continue;
      }
      ++at_;
      if (at_end() || text_[at_] == ',' || line_end() > 0) return field;
      if (text_[at_] != '"') throw 0;
      field += '"';
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::string> names_;
};

Task<> compare(int fd, std::string_view content) {
  AIOFile file = AIOFile::from_fd(fd, "rb", {.context = &fuzz::context()});
  CsvReader reader(file);
  Oracle oracle(content);
  for (bool going = true; going;) {
    Event got{Event::Kind::end};
    try {
      std::optional<CsvReader::Row> row = co_await reader.next();
      if (row) {
        got.kind = Event::Kind::row;
        got.row = std::move(*row);
      }
    } catch (const CsvError& error) {
      const bool count = std::string_view(error.what()).find(" fields instead of ") != std::string_view::npos;
      got.kind = count ? Event::Kind::wrong_count : Event::Kind::error;
    }
    const Event wanted = oracle.next();
    fuzz::require(got.kind == wanted.kind, "a row, an error or the end, as the oracle says");
    fuzz::require(got.row == wanted.row, "the row's fields");
    going = got.kind == Event::Kind::row || got.kind == Event::Kind::wrong_count;
  }
  co_await file.close();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view content = fuzz::Source(data, size).rest();
  const fuzz::File file(content);
  fuzz::context().run(compare(file.fd(), content));
  return 0;
}
