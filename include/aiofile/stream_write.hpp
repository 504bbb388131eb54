#pragma once
// A stream's operations that write, move or end it.

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <aiofile/cursor_operation.hpp>
#include <aiofile/error.hpp>
#include <aiofile/write_operation.hpp>
#include <caio/config.hpp>
#include <caio/detail/prompt.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Writes all of `source`, a view or a string that is taken over, at the cursor. Result: void or std::size_t.
template <class Source, class Result>
class [[nodiscard]] StreamWrite : public CursorOperation {
 public:
  StreamWrite(CursorRef cursor, Source source)
      : CursorOperation(std::move(cursor), Access::write, "write"), source_(std::move(source)) {}
  StreamWrite(StreamWrite&&) = default;
  ~StreamWrite() { drop(); }

  Result await_resume() const {
    check();
    if constexpr (!std::is_void_v<Result>) return written_;
  }

 protected:
  enum class Step : std::uint8_t { encode, write };

  bool delivers_first() const noexcept override { return !cursor().output.empty() && !cursor().takes(room()); }
  std::size_t keeps() const noexcept override { return cursor().keeps(room()); }

  [[nodiscard]] std::size_t room() const noexcept {
    // An encoding may take more room than the text: then the output is delivered too early, which does no harm.
    return state().encodes ? 8 * source_.size() + 16 : source_.size();
  }

  bool first() override {
    if (!state().encodes) return put(source_);
    position_ = cursor().write_position();
    order_ = file().order;
    if (source_.size() <= quick_conversion) {
      encode();
      return put(encoded_);
    }
    step_ = Step::encode;
    return work_on_pool<&StreamWrite::encode>(this);
  }

  bool next() override {
    if (step_ == Step::encode) return error_ || result < 0 || put(encoded_);
    return wrote();
  }

  void encode() { encoded_ = encoded(state(), order_, source_, position_ == 0); }

  /// Writes `bytes`, which live as long as this.
  virtual bool put(std::string_view bytes) {
    written_ = bytes.size();
    if (bytes.empty()) return true;
    if (cursor().takes(bytes.size())) {
      cursor().add(bytes);
      return true;
    }
    step_ = Step::write;
    opcode = caio::Opcode::write;
    to_pool = false;
    whole = true;
    buffer = const_cast<char*>(bytes.data());  // not written to
    length = bytes.size();
    offset = cursor().positional() ? static_cast<std::int64_t>(cursor().position()) : -1;
    append = state().mode.appending && !descriptor.append();
    return transfer() && wrote();
  }

  bool wrote() {
    if (result >= 0) cursor().wrote(moved);
    return true;
  }

  std::uint64_t transferred() const noexcept override { return step_ == Step::write ? moved : 0; }

 private:
  Source source_;
  std::string encoded_;
  std::uint64_t position_ = 0;
  std::size_t written_ = 0;
  Step step_ = Step::encode;
  ByteOrder order_ = ByteOrder::little;
};

/// The same into the cursor's output, if that has room.
template <class Source, class Result>
class StreamWriteAttempt {
 public:
  using Operation = StreamWrite<Source, Result>;
  static constexpr bool touches_file = true;

  StreamWriteAttempt(CursorRef cursor, Source source) : cursor_(std::move(cursor)), source_(std::move(source)) {}

  bool at_once() { return cursor_->gather(source_); }
  Result result() const noexcept {
    if constexpr (!std::is_void_v<Result>) return source_.size();
  }
  void become(std::optional<Operation>& operation) { operation.emplace(std::move(cursor_), std::move(source_)); }

 private:
  CursorRef cursor_;
  Source source_;
};

template <class Result, class Source>
auto write_to_stream(CursorRef cursor, Source source) {
  return caio::detail::Prompt(StreamWriteAttempt<Source, Result>(std::move(cursor), std::move(source)));
}

enum class Origin : std::uint8_t { start, position, end };

/// Moves the cursor; gives the new position.
class [[nodiscard]] StreamSeek final : public CursorOperation {
 public:
  StreamSeek(CursorRef cursor, std::int64_t distance, Origin origin)
      : CursorOperation(std::move(cursor), Access::any, "seek"), distance_(distance), origin_(origin) {}

  std::uint64_t await_resume() const {
    check();
    return position_;
  }

 private:
  bool first() override {
    if (!cursor().seekable()) {
      result = -ESPIPE;
      return true;
    }
    if (origin_ != Origin::end) return move(origin_ == Origin::start ? 0 : cursor().position());
    opcode = caio::Opcode::size;
    return engine().start(*this) && next();
  }
  bool next() override { return result < 0 || move(static_cast<std::uint64_t>(result)); }

  bool move(std::uint64_t from) {
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    position_ = from + static_cast<std::uint64_t>(distance_);
    // Beyond `most` lies, too, what would be negative.
    if (position_ > most) throw std::invalid_argument("aiofile::FileStream::seek: to a negative position");
    cursor().seek(position_);
    return true;
  }

  std::int64_t distance_;
  Origin origin_;
  std::uint64_t position_ = 0;
};

/// Makes the file end at `length`, or at the cursor.
class [[nodiscard]] StreamTruncate : public CursorOperation {
 public:
  StreamTruncate(CursorRef cursor, std::optional<std::uint64_t> new_length)
      : CursorOperation(std::move(cursor), Access::write, "truncate"), length_(new_length) {}

  void await_resume() const { check(); }

 protected:
  bool first() override {
    opcode = caio::Opcode::truncate;
    offset = static_cast<std::int64_t>(new_length());
    if (!length_ && file().own_position) offset = ::lseek(descriptor.fileno(), 0, SEEK_CUR);
    if (offset >= 0) return engine().start(*this);
    result = -errno;
    return true;
  }

  [[nodiscard]] std::uint64_t new_length() const noexcept { return length_.value_or(cursor().position()); }

 private:
  std::optional<std::uint64_t> length_;
};

/// Delivers the output, and lets a device do likewise.
class [[nodiscard]] StreamFlush final : public CursorOperation {
 public:
  explicit StreamFlush(CursorRef cursor) : CursorOperation(std::move(cursor), Access::any, "flush") {}

  void await_resume() const { check(); }

 private:
  bool first() override {
    if (!cursor().device) return true;
    opcode = caio::Opcode::fsync;
    return transfer();
  }
};

/// Delivers the output and makes it durable.
class [[nodiscard]] StreamSync final : public Syncing<CursorOperation> {
 public:
  StreamSync(CursorRef cursor, bool data_only) : Syncing(std::move(cursor), data_only) {}

 private:
  bool first() override { return start_sync(); }
  bool next() override { return continue_sync(); }
};

}  // namespace aiofile::inline CAIO_ABI::detail
