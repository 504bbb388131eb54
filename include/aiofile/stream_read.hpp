#pragma once
// A stream's operations that read.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <aiofile/cursor_operation.hpp>
#include <aiofile/read_operation.hpp>
#include <aiofile/separator.hpp>
#include <aiofile/text.hpp>
#include <caio/config.hpp>
#include <caio/detail/prompt.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Reads a number of bytes or code points, or all up to the end.
class [[nodiscard]] StreamRead : public BulkReading<InputOperation, std::string> {
 public:
  /// `size` -1: to the end; it counts code points in text mode, bytes else.
  StreamRead(CursorRef cursor, std::int64_t size)
      : BulkReading(std::move(cursor), "read"), size_(size), allowed_(size) {}
  StreamRead(StreamRead&&) = default;
  ~StreamRead() { drop(); }

  std::string await_resume() {
    check();
    return std::move(data_);
  }

 private:
  static constexpr std::size_t bulk = 64 * 1024;

  bool first() override {
    const bool binary = state().mode.binary;
    const bool all = size_ < 0 && (binary || !state().decodes);
    const std::size_t at_hand = input().content().size();
    const bool much = binary && size_ >= 0 && static_cast<std::size_t>(size_) >= at_hand + bulk;
    if (!cursor().positional() || !(all || much)) return InputOperation::first();
    // Into the result itself; what was read ahead is in the page cache.
    in_bulk_ = true;
    return start_reading(cursor().position(), size_, !binary) && conclude();
  }
  bool next() override {
    if (collecting_) return collected();
    if (!in_bulk_) return InputOperation::next();
    return continue_reading() && conclude();
  }

  bool conclude() {
    if (result >= 0 && !error_) input().restart(cursor().position() + filled());
    return true;
  }

  std::size_t wanted() noexcept override {
    const std::size_t usual = InputOperation::wanted();
    if (!state().mode.binary || size_ < 0) return usual;
    return std::max(usual, std::min(bulk, static_cast<std::size_t>(size_) - input().content().size()));
  }

  bool take(bool last) override {
    const std::string_view content = allowed_.within(input().content(), state().mode.binary);
    if (!allowed_.reached() && !(last && !input().unfinished())) return false;
    content_ = content;
    return true;
  }
  bool taken() override {
    collecting_ = true;
    if (content_.size() > quick_copy) return work_on_pool<&StreamRead::collect>(this) && collected();
    collect();
    return collected();
  }

  /// What fails takes nothing.
  void collect() {
    data_.assign(content_);
    digest();
  }
  bool collected() {
    collecting_ = false;
    if (!error_ && result >= 0) input().consume(content_.size());
    return true;
  }

  static constexpr std::size_t quick_copy = 1024 * 1024;

  std::int64_t size_;
  Limit allowed_;
  std::string_view content_;  // what is taken
  bool collecting_ = false;
  bool in_bulk_ = false;
};

/// All lines up to the end.
class [[nodiscard]] StreamReadlines final : public StreamRead {
 public:
  explicit StreamReadlines(CursorRef cursor) : StreamRead(std::move(cursor), -1) {}
  StreamReadlines(StreamReadlines&&) = default;
  ~StreamReadlines() { drop(); }

  std::vector<std::string> await_resume() {
    check();
    return std::move(lines_);
  }

 private:
  void digest() override {
    const std::string_view separator = state().line_end();
    for (std::string_view rest = data_; !rest.empty();) {
      const std::size_t end = end_of_line(rest, separator, 0);
      lines_.emplace_back(rest.substr(0, end == 0 ? rest.size() : end));
      rest.remove_prefix(lines_.back().size());
    }
  }

  std::vector<std::string> lines_;
};

/// Fills the caller's memory, with the bytes of the file, unless the end comes first.
class [[nodiscard]] StreamReadInto final : public InputOperation {
 public:
  StreamReadInto(CursorRef cursor, std::span<std::byte> memory)
      : InputOperation(std::move(cursor), "read"), memory_(memory) {}

  std::size_t await_resume() const {
    check();
    return count_;
  }

 private:
  static constexpr std::size_t direct = 8 * 1024;

  bool first() override {
    if (memory_.empty()) return true;
    const bool raw = state().decodes;
    if (raw) {
      if (!cursor().positional()) {  // the bytes that are decoded already cannot be given back
        result = -EOPNOTSUPP;
        return true;
      }
      input().restart(cursor().position());
    }
    if (!cursor().positional() || (!raw && memory_.size() < input().bytes().size() + direct)) {
      return InputOperation::first();
    }
    const std::string_view here = input().bytes();
    count_ = here.size();
    if (count_ > 0) std::memcpy(memory_.data(), here.data(), count_);
    directly_ = true;
    opcode = caio::Opcode::read;
    to_pool = false;
    whole = true;
    buffer = memory_.data() + count_;
    length = std::min(memory_.size() - count_, last_offset - cursor().position() - count_);
    offset = static_cast<std::int64_t>(cursor().position() + count_);
    return transfer() && conclude();
  }
  bool next() override { return directly_ ? conclude() : InputOperation::next(); }

  bool conclude() {
    if (result < 0) return true;
    count_ += moved;
    input().restart(cursor().position() + count_);
    return true;
  }

  bool stuck() const noexcept override { return false; }

  bool take(bool last) override {
    const std::string_view here = input().bytes().substr(0, memory_.size());
    if (here.size() < memory_.size() && !last) return false;
    count_ = here.size();
    std::memcpy(memory_.data(), here.data(), count_);
    input().consume_bytes(count_);
    return true;
  }

  std::span<std::byte> memory_;
  std::size_t count_ = 0;
  bool directly_ = false;
};

/// Shows what comes next without taking it.
class [[nodiscard]] StreamPeek final : public InputOperation {
 public:
  StreamPeek(CursorRef cursor, std::size_t size) : InputOperation(std::move(cursor), "peek"), size_(size) {}

  /// Valid until the cursor's next operation.
  std::string_view await_resume() const {
    check();
    return seen_;
  }

 private:
  bool take(bool last) override {
    const std::string_view content = input().content();
    if (size_ == 0) return true;
    if (content.size() < size_ && !last) return false;
    if (content.empty()) return !input().unfinished();
    seen_ = content.substr(0, state().mode.binary ? size_ : whole_characters(content, size_));
    return true;
  }

  std::size_t size_;
  std::string_view seen_;
};

/// Reads up to and with the next separator, `size` code points or bytes at most.
class [[nodiscard]] StreamReadline final : public InputOperation {
 public:
  /// `separator` lives until the await is done. `size` -1: no limit.
  StreamReadline(CursorRef cursor, std::int64_t size, std::string_view separator)
      : InputOperation(std::move(cursor), "readline"), separator_(separator), allowed_(size) {}

  std::string await_resume() {
    check();
    return std::move(line_);
  }

 private:
  bool take(bool last) override {
    const std::string_view content = allowed_.within(input().content(), state().mode.binary);
    std::size_t end = end_of_line(content, separator_, searched_);
    searched_ = content.size();
    if (end == 0) {
      if (!allowed_.reached() && !(last && !input().unfinished())) return false;
      end = content.size();
    }
    line_.assign(content.substr(0, end));
    input().consume(end);
    return true;
  }

  std::string line_;
  std::string_view separator_;
  Limit allowed_;
  std::size_t searched_ = 0;  // bytes without a separator's end
};

/// The same of what has been read ahead.
class ReadlineAttempt {
 public:
  using Operation = StreamReadline;
  static constexpr bool touches_file = false;

  ReadlineAttempt(CursorRef cursor, std::int64_t size, std::string_view separator) noexcept
      : cursor_(std::move(cursor)), separator_(separator), size_(size) {}

  bool at_once() noexcept {
    if (size_ >= 0 || !cursor_->at_hand()) return false;
    length_ = end_of_line(cursor_->input.content(), separator_, 0);
    return length_ > 0;
  }
  [[nodiscard]] std::string result() {
    std::string line(cursor_->input.content().substr(0, length_));
    cursor_->input.consume(length_);
    return line;
  }
  void become(std::optional<Operation>& operation) { operation.emplace(std::move(cursor_), size_, separator_); }

 private:
  CursorRef cursor_;
  std::string_view separator_;
  std::int64_t size_;
  std::size_t length_ = 0;  // of the line that is at hand
};

}  // namespace aiofile::inline CAIO_ABI::detail
