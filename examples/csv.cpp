// Reads a CSV file, whose first row gives the names, and prints each row as name=value. Without FILE it first makes
// one.
//   csv [FILE]
#include <aiofile/aiofile.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using aiofile::AIOFile;
using aiofile::Task;

/// A file that is no CSV: what() names it and the line.
class CsvError : public std::runtime_error {
 public:
  CsvError(const std::filesystem::path& path, std::size_t line, const std::string& text)
      : runtime_error(path.string() + ": line " + std::to_string(line) + ": " + text) {}
};

/// The rows of a CSV file (RFC 4180) as dictionaries; the first row gives the names. Empty lines are skipped.
class CsvReader {
 public:
  using Row = std::map<std::string, std::string, std::less<>>;

  explicit CsvReader(AIOFile& file) : path_(file.name()), lines_(file) {}

  /// The next row; nothing at the end. After a row with a wrong number of fields it can go on with the next.
  Task<std::optional<Row>> next() {
    if (names_.empty()) co_await read_names();
    const bool found = co_await read_record();
    if (!found) co_return std::nullopt;
    if (fields_.size() != names_.size()) {
      fail(record_line_, std::to_string(fields_.size()) + " fields instead of " + std::to_string(names_.size()));
    }
    Row row;
    for (std::size_t i = 0; i < names_.size(); ++i) row.emplace(names_[i], std::move(fields_[i]));
    co_return row;
  }

  /// In the order of the file; known after the first next().
  const std::vector<std::string>& names() const { return names_; }

 private:
  enum class State { field_start, plain, quoted, quote_in_quoted };

  Task<> read_names() {
    const bool found = co_await read_record();
    if (!found) co_return;
    for (auto name = fields_.begin(); name != fields_.end(); ++name) {
      if (std::find(fields_.begin(), name, *name) != name) fail(record_line_, "the name '" + *name + "' comes twice");
    }
    names_ = std::move(fields_);
  }

  /// Fills fields_; false at the end of the file.
  Task<bool> read_record() {
    fields_.clear();
    state_ = State::field_start;
    while (fields_.empty() || state_ == State::quoted) {
      const std::optional<std::string_view> line = co_await lines_.next();
      if (!line) {
        if (state_ == State::quoted) fail(quote_line_, "the quote is never closed");
        co_return false;
      }
      ++line_;
      parse(*line);
    }
    co_return true;
  }

  void parse(std::string_view line) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (line_ == 1 && line.starts_with(byte_order_mark)) line.remove_prefix(byte_order_mark.size());
    std::string_view text = line;
    if (text.ends_with('\n')) text.remove_suffix(1);
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (state_ != State::quoted) {
      if (text.empty()) return;
      record_line_ = line_;
      fields_.emplace_back();
    }
    for (const char c : text) parse(c);
    if (state_ == State::quoted) fields_.back() += line.substr(text.size());  // the line's end belongs to the field
  }

  void parse(char c) {
    if (state_ == State::quoted) {
      if (c == '"') {
        state_ = State::quote_in_quoted;
      } else {
        fields_.back() += c;
      }
    } else if (c == ',') {
      fields_.emplace_back();
      state_ = State::field_start;
    } else if (c == '"' && state_ == State::field_start) {
      state_ = State::quoted;
      quote_line_ = line_;
    } else if (state_ == State::quote_in_quoted) {
      if (c != '"') fail(line_, "text behind a closing quote");
      fields_.back() += c;
      state_ = State::quoted;
    } else {
      fields_.back() += c;
      state_ = State::plain;
    }
  }

  [[noreturn]] void fail(std::size_t line, const std::string& text) const { throw CsvError(path_, line, text); }

  std::filesystem::path path_;
  aiofile::LineReader lines_;
  std::vector<std::string> names_;
  std::vector<std::string> fields_;
  State state_ = State::field_start;
  std::size_t line_ = 0;
  std::size_t record_line_ = 0;
  std::size_t quote_line_ = 0;
};

Task<> print_rows(std::filesystem::path path) {
  AIOFile file = co_await AIOFile(std::move(path), "r");
  CsvReader rows(file);
  while (const std::optional<CsvReader::Row> row = co_await rows.next()) {
    for (const std::string& name : rows.names()) std::cout << name << "=" << row->at(name) << "\n";
    std::cout << "\n";
  }
  co_await file.close();
}

Task<> write_sample(std::filesystem::path path) {
  AIOFile file = co_await AIOFile(std::move(path), "w");
  co_await file.write(R"(name,born,words
Ada Lovelace,1815,"The Analytical Engine weaves algebraical patterns,
just as the Jacquard loom weaves flowers and leaves."
Grace Hopper,1906,"""It's easier to ask forgiveness than it is to get permission."""
)");
  co_await file.close();
}

}  // namespace

int main(int argc, char** argv) try {
  const std::filesystem::path path = argc > 1 ? argv[1] : "people.csv";
  if (argc == 1) aiofile::run(write_sample(path));
  aiofile::run(print_rows(path));
} catch (const std::exception& error) {
  std::cout.flush();
  std::fprintf(stderr, "csv: %s\n", error.what());
  return 1;
}
