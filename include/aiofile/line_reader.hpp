#pragma once
// LineReader: a file's lines.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <aiofile/cursor_operation.hpp>
#include <aiofile/file.hpp>
#include <aiofile/separator.hpp>
#include <aiofile/stream_read.hpp>
#include <caio/config.hpp>
#include <caio/detail/prompt.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

/// Cuts the lines off what a cursor has read ahead.
class LineCutter : public std::enable_shared_from_this<LineCutter> {
 public:
  LineCutter(CursorRef cursor, std::string separator) : cursor_(std::move(cursor)), separator_(std::move(separator)) {
    if (separator_.empty()) throw std::invalid_argument("aiofile::LineReader: an empty separator");
  }

  [[nodiscard]] const CursorRef& cursor() const noexcept { return cursor_; }
  [[nodiscard]] const std::string& separator() const noexcept { return separator_; }

  /// Consumes the next line. False: there is no whole one here. `searched`: bytes that do not end one.
  bool cut(std::size_t searched = 0) noexcept {
    if (!ready(searched)) return false;
    take_next();
    cursor_->input.consume(static_cast<std::size_t>(next_ - begin_));
    return true;
  }
  /// The same without an operation. False: it takes one. Always inlined, as its caller is: a call costs as much as a
  /// short line does.
  [[gnu::always_inline]] bool cut_at_hand() noexcept {
    if ((next_end_ == ends_count_ || !cursor_->taking(this)) && !begin_taking()) return false;
    take_next();
    cursor_->taken(next_);
    return true;
  }
  /// Takes back the line that was cut off at hand.
  void put_back() noexcept {
    cursor_->taken(begin_);
    next_ = begin_;
    --next_end_;
  }
  /// The line that was cut off. Put together here, of pointers: copies of a view just written would be slow.
  [[nodiscard]] std::string_view line() const noexcept { return {begin_, static_cast<std::size_t>(next_ - begin_)}; }

  /// Consumes all lines that are whole, and adds them to the batch; fewer when memory runs out.
  void cut_all() noexcept {
    const char* const first = next_;
    try {
      while (next_end_ < ends_count_ || find(0, false)) {
        std::size_t count = batch.size();
        batch.resize(count + ends_count_ - next_end_);  // where this fails nothing is taken
        while (next_end_ < ends_count_) {
          const char* const end = window_ + ends_[next_end_++];
          batch[count++] = {next_, static_cast<std::size_t>(end - next_)};
          next_ = end;
        }
      }
    } catch (const std::bad_alloc&) {
    }
    cursor_->input.consume(static_cast<std::size_t>(next_ - first));
  }

  /// Lines of the last batch.
  std::vector<std::string_view> batch;

 private:
  [[nodiscard]] bool knows_content() const noexcept {
    return generation_ == cursor_->input.generation() && next_ == cursor_->input.begin();
  }

  void take_next() noexcept {
    begin_ = next_;
    next_ = window_ + ends_[next_end_++];
  }

  /// Whether there is a line to take.
  bool ready(std::size_t searched) noexcept {
    const bool known = knows_content();
    return (known && next_end_ < ends_count_) || find(searched, !known);
  }

  [[gnu::noinline]] bool begin_taking() noexcept {
    if (!cursor_->at_hand() || !ready(0)) return false;
    cursor_->begin_taking(this);
    return true;
  }

  /// Fills ends_. False: there is none. `fresh`: the content is another than before. Not inlined, so that cut() is.
  [[gnu::noinline]] bool find(std::size_t searched, bool fresh) noexcept {
    const std::string_view content = cursor_->input.content();
    generation_ = cursor_->input.generation();
    if (fresh) next_ = content.data();
    next_end_ = ends_count_ = 0;
    const char* const end = content.data() + content.size();
    if (separator_.size() > 1) {
      const std::size_t size = end_of_line({next_, static_cast<std::size_t>(end - next_)}, separator_, searched);
      window_ = next_ + size;
      ends_[0] = 0;
      ends_count_ = size > 0 ? 1 : 0;
      return size > 0;
    }
    if (fresh) searched_to_ = next_ + std::min(searched, content.size());
    while (ends_count_ == 0 && searched_to_ < end) {
      window_ = searched_to_;
      const std::size_t size = std::min(static_cast<std::size_t>(end - window_), window_size);
      ends_count_ = find_ends(separator_.front(), window_, size, ends_);  // behind the input stand bytes to be read
      searched_to_ += size;
    }
    return ends_count_ > 0;
  }

  CursorRef cursor_;
  std::string separator_;
  std::uint64_t generation_ = ~std::uint64_t{0};
  const char* begin_ = nullptr;        // the line that was cut off last
  const char* next_ = nullptr;         // its end, where the next one begins
  const char* searched_to_ = nullptr;  // up to there, all ends of lines are known
  const char* window_ = nullptr;       // what ends_ counts from
  std::size_t next_end_ = 0;
  std::size_t ends_count_ = 0;
  std::uint16_t ends_[window_size + spare_ends];  // where lines end: in one pass, so that cutting is only a lookup
};

/// Reads until there is a line, or the end.
class [[nodiscard]] ReadLine : public InputOperation {
 public:
  explicit ReadLine(std::shared_ptr<LineCutter> cutter)
      : InputOperation(cutter->cursor(), "read"), cutter_(std::move(cutter)) {}

  /// Empty at the end; valid until the cursor's next operation.
  std::string_view await_resume() const {
    check();
    return line_;
  }

 protected:
  [[nodiscard]] LineCutter& cutter() const noexcept { return *cutter_; }

  bool take(bool last) override {
    if (cutter_->cut(searched_)) {
      line_ = cutter_->line();
      return true;
    }
    searched_ = input().content().size();
    return last && take_rest();
  }

  /// The unterminated last line.
  bool take_rest() {
    if (input().unfinished()) return false;
    line_ = input().content();
    input().consume(line_.size());
    return true;
  }

  std::string_view line_;

 private:
  std::shared_ptr<LineCutter> cutter_;
  std::size_t searched_ = 0;
};

class [[nodiscard]] NextLine final : public ReadLine {
 public:
  using ReadLine::ReadLine;
  std::optional<std::string_view> await_resume() const {
    const std::string_view line = ReadLine::await_resume();
    return line.empty() ? std::nullopt : std::optional(line);
  }
};

/// The same of what has been read ahead.
class NextLineAttempt {
 public:
  using Operation = NextLine;
  static constexpr bool touches_file = false;

  explicit NextLineAttempt(LineCutter& cutter) noexcept : cutter_(&cutter) {}

  bool at_once() noexcept { return cutter_->cut_at_hand(); }
  [[nodiscard]] std::optional<std::string_view> result() const noexcept { return cutter_->line(); }
  void become(std::optional<Operation>& operation) { operation.emplace(cutter_->shared_from_this()); }

 private:
  LineCutter* cutter_;  // a counted reference for each line would cost more than the line
};

class [[nodiscard]] CopyLine final : public ReadLine {
 public:
  using ReadLine::ReadLine;
  std::string await_resume() {
    check();
    return std::move(copy_);
  }

 private:
  bool take(bool last) override {
    if (!ReadLine::take(last)) return false;
    try {
      copy_.assign(line_);
    } catch (const std::bad_alloc&) {
      input().put_back(line_.size());  // what fails takes nothing
      throw;
    }
    return true;
  }

  std::string copy_;
};

/// The same of what has been read ahead.
class CopyLineAttempt {
 public:
  using Operation = CopyLine;
  static constexpr bool touches_file = false;

  explicit CopyLineAttempt(LineCutter& cutter) noexcept : cutter_(&cutter) {}

  bool at_once() noexcept { return cutter_->cut_at_hand(); }
  [[nodiscard]] std::string result() const {
    const std::string_view line = cutter_->line();
    try {
      return std::string(line);
    } catch (const std::bad_alloc&) {
      cutter_->put_back();  // what fails takes nothing
      throw;
    }
  }
  void become(std::optional<Operation>& operation) { operation.emplace(cutter_->shared_from_this()); }

 private:
  LineCutter* cutter_;
};

/// Reads until there are lines, or the end.
class [[nodiscard]] ReadLines final : public ReadLine {
 public:
  using ReadLine::ReadLine;
  std::span<const std::string_view> await_resume() const {
    check();
    return cutter().batch;
  }

 private:
  bool take(bool last) override {
    std::vector<std::string_view>& batch = cutter().batch;
    batch.clear();
    batch.reserve(1);  // before the line is taken
    if (!ReadLine::take(last)) return false;
    if (line_.empty()) return true;
    batch.push_back(line_);
    cutter().cut_all();
    return true;
  }
};

}  // namespace detail

class FileStream;

/// Reads a file line by line, from an offset on. Move-only; it holds the file's state, so that the AIOFile may move or
/// go. The reader itself lives until next() or readline() is done.
class LineReader {
 public:
  /// `offset` and `chunk_size`, the bytes to read ahead. Lines end with `line_sep`, whatever its length.
  /// std::invalid_argument: a chunk size of 0, an empty separator, an offset beyond INT64_MAX.
  explicit LineReader(AIOFile& file, std::uint64_t offset = 0, std::size_t chunk_size = 64 * 1024,
                      std::string line_sep = "\n")
      : LineReader(
            std::make_shared<detail::Cursor>(detail::state_of(file), detail::checked_offset(offset, "LineReader"),
                                             chunk_size, std::size_t{0}),
            std::move(line_sep)) {
    if (chunk_size == 0) throw std::invalid_argument("aiofile::LineReader: a chunk size of 0");
  }
  LineReader(LineReader&&) = default;
  LineReader& operator=(LineReader&&) = default;

  /// Yields std::optional<std::string_view>: the next line with its separator (the last one may lack it), nullopt at
  /// the end; valid until the next call. One at a time. Throws FileError, DecodeError.
  auto next() { return caio::detail::Prompt(detail::NextLineAttempt(*cutter_)); }
  /// The same as a std::string, empty at the end. As with next(), a line that was read ahead is given even when a stop
  /// has been asked for.
  auto readline() { return caio::detail::Prompt(detail::CopyLineAttempt(*cutter_)); }
  /// Yields std::span<const std::string_view>: all lines that are whole in what was read ahead, after reading on if
  /// there is none, or the unterminated last one; empty at the end; valid until the next call.
  auto next_batch() { return detail::ReadLines(cutter_); }

 private:
  friend FileStream;

  LineReader(detail::CursorRef cursor, std::string line_sep)
      : cutter_(std::make_shared<detail::LineCutter>(std::move(cursor), std::move(line_sep))) {}

  std::shared_ptr<detail::LineCutter> cutter_;
};

}  // namespace aiofile::inline CAIO_ABI
