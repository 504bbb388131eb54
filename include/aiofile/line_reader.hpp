#pragma once
// LineReader: a file's lines.

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

#include <aiofile/concepts.hpp>
#include <aiofile/cursor_operation.hpp>
#include <aiofile/file.hpp>
#include <aiofile/line_cutter.hpp>
#include <aiofile/object_cursor.hpp>
#include <caio/config.hpp>
#include <caio/detail/prompt.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

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
  /// A line that was cut off at hand.
  static std::optional<std::string_view> given(const LineCutter& cutter) noexcept { return cutter.line(); }
};

/// The same of what has been read ahead.
template <class Line>
class LineAttempt {
 public:
  using Operation = Line;
  static constexpr bool touches_file = false;

  explicit LineAttempt(LineCutter& cutter) noexcept : cutter_(&cutter) {}

  bool at_once() noexcept { return cutter_->cut_at_hand(); }
  [[nodiscard]] auto result() const { return Line::given(*cutter_); }
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
  static std::string given(LineCutter& cutter) {
    try {
      return std::string(cutter.line());
    } catch (const std::bad_alloc&) {
      cutter.put_back();  // what fails takes nothing
      throw;
    }
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
  LineReader(AIOFile& file, std::uint64_t offset, std::size_t chunk_size, std::string line_sep)
      : LineReader(
            std::make_shared<detail::Cursor>(detail::state_of(file), detail::checked_offset(offset, "LineReader"),
                                             chunk_size, std::size_t{0}),
            std::move(line_sep)) {
    check(chunk_size);
  }
  /// The same with the file's own: "\n", or "\r\n" if OpenOptions::newline says so.
  explicit LineReader(AIOFile& file, std::uint64_t offset = 0, std::size_t chunk_size = 64 * 1024)
      : LineReader(file, offset, chunk_size, std::string(detail::state_of(file)->line_end())) {}
  /// Reads on from where `source` stands; it lives as long as the LineReader. A FileStream is read as by lines(), ahead
  /// as the stream sees fit. Others are read ahead by read_into() for their bytes, which are not checked to be text,
  /// and what was read ahead is the LineReader's alone; what they throw is thrown. std::invalid_argument: as above.
  template <AsyncReadable Source>
  LineReader(Source& source, std::size_t chunk_size, std::string line_sep)
      : LineReader(detail::reading_cursor(source, chunk_size), std::move(line_sep)) {
    check(chunk_size);
  }
  /// The same with a FileStream's own separator, or "\n".
  template <AsyncReadable Source>
  explicit LineReader(Source& source, std::size_t chunk_size = 64 * 1024)
      : LineReader(detail::reading_cursor(source, chunk_size)) {
    check(chunk_size);
  }
  LineReader(LineReader&&) = default;
  LineReader& operator=(LineReader&&) = default;

  /// Yields std::optional<std::string_view>: the next line with its separator (the last one may lack it), nullopt at
  /// the end; valid until the next call. One at a time. Throws FileError, DecodeError.
  auto next() { return caio::detail::Prompt(detail::LineAttempt<detail::NextLine>(*cutter_)); }
  /// The same as a std::string, empty at the end. As with next(), a line that was read ahead is given even when a stop
  /// has been asked for.
  auto readline() { return caio::detail::Prompt(detail::LineAttempt<detail::CopyLine>(*cutter_)); }
  /// Yields std::span<const std::string_view>: all lines that are whole in what was read ahead, after reading on if
  /// there is none, or the unterminated last one; empty at the end; valid until the next call.
  auto next_batch() { return detail::ReadLines(cutter_); }

 private:
  friend FileStream;

  explicit LineReader(const detail::CursorRef& cursor) : LineReader(cursor, std::string(cursor->file->line_end())) {}
  LineReader(detail::CursorRef cursor, std::string line_sep)
      : cutter_(std::make_shared<detail::LineCutter>(std::move(cursor), std::move(line_sep))) {}

  static void check(std::size_t chunk_size) {
    if (chunk_size == 0) throw std::invalid_argument("aiofile::LineReader: a chunk size of 0");
  }

  std::shared_ptr<detail::LineCutter> cutter_;
};

}  // namespace aiofile::inline CAIO_ABI
