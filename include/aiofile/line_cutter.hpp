#pragma once
// Cuts lines off what has been read ahead.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <aiofile/cursor.hpp>
#include <aiofile/separator.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// The ends of a window of lines, found in one pass; taking one is a lookup.
class LineCutter : public std::enable_shared_from_this<LineCutter> {
 public:
  LineCutter(CursorRef cursor, std::string separator) : cursor_(std::move(cursor)), separator_(std::move(separator)) {
    if (separator_.empty()) throw std::invalid_argument("aiofile::LineReader: an empty separator");
  }

  [[nodiscard]] const CursorRef& cursor() const noexcept { return cursor_; }

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

}  // namespace aiofile::inline CAIO_ABI::detail
