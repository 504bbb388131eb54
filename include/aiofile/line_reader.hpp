#pragma once
// LineReader: a file's lines.

#include <bit>
#include <concepts>
#include <coroutine>
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
    Input& input = cursor_->input;
    if (places_ == 0 || generation_ != input.generation() || next_ != input.begin()) {
      if (!find(searched)) return false;
    }
    begin_ = next_;
    next_ = block_ + std::countr_zero(places_) + separator_.size();
    places_ &= places_ - 1;
    input.consume(static_cast<std::size_t>(next_ - begin_));
    return true;
  }
  /// The line that was cut off. Put together here, of pointers: copies of a view just written would be slow.
  [[nodiscard]] std::string_view line() const noexcept { return {begin_, static_cast<std::size_t>(next_ - begin_)}; }

  /// Lines of the last batch.
  std::vector<std::string_view> batch;

 private:
  /// Sets block_ and places_ so that they tell the next ends of lines. False: there is none.
  bool find(std::size_t searched) noexcept {
    const std::string_view content = cursor_->input.content();
    if (content.empty()) return false;
    if (separator_.size() > 1) {
      places_ = 0;
      generation_ = cursor_->input.generation();
      next_ = content.data();
      const std::size_t size = end_of_line(content, separator_, searched);
      if (size == 0) return false;
      block_ = next_ + size - separator_.size();
      places_ = 1;
      return true;
    }
    if (next_ != content.data() || generation_ != cursor_->input.generation()) {
      generation_ = cursor_->input.generation();
      next_ = content.data();
      end_ = next_ + content.size();
      look_at(next_ + searched);
    }
    while (places_ == 0) {
      if (static_cast<std::size_t>(end_ - block_) <= block_size) return false;
      look_at(block_ + block_size);
    }
    return true;
  }

  void look_at(const char* block) noexcept {
    block_ = block;
    places_ = places_of(separator_.front(), block);  // the input has bytes behind its end that may be read
    const auto left = static_cast<std::size_t>(end_ - block);
    if (left < block_size) places_ &= (std::uint64_t{1} << left) - 1;
  }

  CursorRef cursor_;
  std::string separator_;
  // Where lines end in the block that is being worked off; with a longer separator, one bit for the next one.
  std::uint64_t generation_ = ~std::uint64_t{0};
  const char* begin_ = nullptr;  // the line that was cut off last
  const char* next_ = nullptr;   // its end, where the next one begins
  const char* end_ = nullptr;    // of what is here
  const char* block_ = nullptr;
  std::uint64_t places_ = 0;
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
    try {
      for (batch.emplace_back(); cutter().cut(); batch.emplace_back()) batch.back() = cutter().line();
      batch.pop_back();
    } catch (const std::bad_alloc&) {  // the batch ends here
    }
    return true;
  }
};

}  // namespace detail

class FileStream;

/// Reads a file line by line, from an offset on. Move-only; it holds the file's state, so that the AIOFile may move or
/// go.
class LineReader {
 public:
  /// The awaitable of next(): does not suspend while a whole line has been read ahead.
  class [[nodiscard]] Next {
   public:
    explicit Next(detail::LineCutter& cutter) noexcept : cutter_(&cutter) {}

    bool await_ready() noexcept { return cutter_->cursor()->at_hand() && cutter_->cut(); }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> waiter) {
      reading_.emplace(cutter_->shared_from_this());
      return reading_->await_suspend(waiter);
    }
    std::optional<std::string_view> await_resume() const {
      if (!reading_) return cutter_->line();
      const std::string_view line = reading_->await_resume();
      return line.empty() ? std::nullopt : std::optional(line);
    }

   private:
    detail::LineCutter* cutter_;
    std::optional<detail::ReadLine> reading_;
  };

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
  /// the end; valid until the next call. One at a time; the reader lives until it is done. Throws FileError,
  /// DecodeError.
  auto next() { return Next(*cutter_); }
  /// The same as a std::string, empty at the end.
  auto readline() { return detail::CopyLine(cutter_); }
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
