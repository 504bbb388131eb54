#pragma once
// Reading from an open file: into memory of the caller's, or into a string or vector that grows as the data comes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/file_operation.hpp>
#include <aiofile/text.hpp>
#include <aiofile/transcoder.hpp>
#include <caio/config.hpp>
#include <caio/detail/in_place.hpp>
#include <caio/detail/prompt.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Fills the caller's memory unless the end of the file comes first.
class [[nodiscard]] ReadIntoOperation final : public FileOperation {
 public:
  /// `before`: what was done in place. `anywhere`: O_DIRECT or not, no place has to be aligned.
  ReadIntoOperation(FileRef file, std::span<std::byte> memory, std::uint64_t start, const caio::detail::InPlace& before,
                    bool anywhere)
      : FileOperation(std::move(file), Access::read, "read"), anywhere_(anywhere) {
    opcode = caio::Opcode::read;
    buffer = memory.data();
    length = memory.size();
    offset = static_cast<std::int64_t>(start);
    whole = true;
    tried = before.tried;
    consume(before.moved);
  }

  std::size_t await_resume() const {
    check();
    return moved;
  }

 private:
  bool begin() noexcept override { return length == 0 || (anywhere_ ? transfer() : engine().start(*this)); }
  std::uint64_t transferred() const noexcept override { return moved; }

  bool anywhere_;
};

/// The same from the page cache.
class ReadIntoAttempt {
 public:
  using Operation = ReadIntoOperation;
  static constexpr bool touches_file = true;

  ReadIntoAttempt(FileRef file, std::span<std::byte> memory, std::uint64_t start, bool anywhere = false) noexcept
      : file_(std::move(file)),
        memory_(memory.first(std::min(memory.size(), last_offset - start))),
        start_(start),
        anywhere_(anywhere) {}

  bool at_once() noexcept {
    if (!works_in_place(*file_) || !file_->mode.readable) return false;
    done_ = file_->engine->read_in_place(file_->file->descriptor, memory_.data(), memory_.size(),
                                         static_cast<std::int64_t>(start_));
    return done_.ended;
  }
  [[nodiscard]] std::size_t result() const noexcept { return done_.moved; }
  void become(std::optional<Operation>& operation) {
    operation.emplace(std::move(file_), memory_, start_, done_, anywhere_);
  }

 private:
  FileRef file_;
  std::span<std::byte> memory_;
  std::uint64_t start_;
  bool anywhere_;
  caio::detail::InPlace done_;
};

/// Reads up to a limit, or to the end, into a container that is made as large as the file says it is, and larger as
/// long as data comes: sizes are hints only (/proc has files of size 0). Base: FileOperation or what derives from it.
template <class Base, class Container>
class BulkReading : public Base {
 protected:
  template <class... Arguments>
  explicit BulkReading(Arguments&&... arguments) : Base(std::forward<Arguments>(arguments)...) {}
  BulkReading(BulkReading&&) = default;
  ~BulkReading() { this->drop(); }

  using Base::buffer;
  using Base::descriptor;
  using Base::engine;
  using Base::error_;
  using Base::length;
  using Base::opcode;
  using Base::result;
  using Base::state;

  /// `size` -1: to the end. `text`: the bytes must be whole characters. True: finished.
  bool start_reading(std::uint64_t start, std::int64_t size, bool text) noexcept {
    start_ = start;
    text_ = text;
    order_ = this->file().order;
    limit_ = last_offset - start;
    if (size >= 0) limit_ = std::min(limit_, static_cast<std::size_t>(size));
    return limit_ == 0 || grow(first_size());
  }

  bool continue_reading() noexcept {
    if (step_ == Step::read) return after_read();
    if (step_ == Step::digest) return digested();
    return result < 0 || error_ || read();
  }

  /// Done with what was read, on the pool if it is much.
  virtual void digest() {}

  std::uint64_t transferred() const noexcept override { return filled_; }

  /// Bytes taken from the file.
  [[nodiscard]] std::size_t filled() const noexcept { return filled_; }

  Container data_;

 private:
  enum class Step : std::uint8_t { grow, read, digest };

  // What takes long on that many bytes (fresh pages, copies, a scan) is done by the pool and not on the loop's thread.
  static constexpr std::size_t quick_bytes = 1024 * 1024;
  static constexpr std::size_t small_limit = 64 * 1024;  // allocated without asking for the file's size
  static constexpr std::size_t first_guess = 16 * 1024;

  [[nodiscard]] std::size_t first_size() const noexcept {
    if (limit_ <= small_limit) return limit_;
    const bool has_size = descriptor.kind() == caio::Descriptor::Kind::regular || descriptor.is_foreign();
    const std::int64_t known = has_size ? this->engine().size_at_once(descriptor) : 0;
    if (known <= 0) return std::min(limit_, first_guess);
    const auto size = static_cast<std::uint64_t>(known);
    const std::uint64_t left = size > start_ ? size - start_ : 0;
    return static_cast<std::size_t>(std::min<std::uint64_t>(limit_, left + 1));  // one more finds the end
  }

  bool grow(std::size_t size) noexcept {
    target_ = size;
    if (size <= quick_bytes) {
      this->template attempt<&BulkReading::resize, BulkReading>();
      return error_ || read();
    }
    step_ = Step::grow;
    return this->template work_on_pool<&BulkReading::resize>(this) && (error_ || result < 0 || read());
  }

  bool read() noexcept {
    step_ = Step::read;
    opcode = caio::Opcode::read;
    this->to_pool = false;
    this->whole = true;
    buffer = data_.data() + filled_;
    length = data_.size() - filled_;
    this->offset = static_cast<std::int64_t>(start_ + filled_);
    return this->transfer() && after_read();
  }

  bool after_read() noexcept {
    filled_ += this->moved;
    if (result < 0) return true;
    const bool at_end = length > 0;
    if (!at_end && filled_ < limit_) {
      return grow(std::min(limit_, std::max(2 * data_.size(), small_limit)));
    }
    step_ = Step::digest;
    if (filled_ <= (text_ && state().decodes ? quick_conversion : quick_bytes)) {
      this->template attempt<&BulkReading::finish, BulkReading>();
      return digested();
    }
    return this->template work_on_pool<&BulkReading::finish>(this);
  }

  bool digested() noexcept {
    if (start_ == 0) this->file().order = order_;  // what decode() has found, maybe on another thread
    return true;
  }

  void resize() { data_.resize(target_); }

  void finish() {
    data_.resize(filled_);
    if constexpr (std::is_same_v<Container, std::string>) {
      if (text_ && state().decodes) {
        decode();
      } else if (text_) {
        const std::size_t valid = scan_utf8(data_).valid;
        if (valid < filled_) refuse(valid);
      }
    }
    digest();
  }

  void decode() {
    Transcoder transcoder(state().encoding);
    transcoder.set_order(order_);
    std::string text;
    std::string_view left(data_.data(), data_.size());
    const Transcoder::Outcome outcome = transcoder.decode(left, start_ == 0, text, true);
    order_ = transcoder.order();
    if (outcome != Transcoder::Outcome::all && !left.empty()) refuse(data_.size() - left.size());
    data_ = std::move(text);
  }

  [[noreturn]] void refuse(std::size_t at) const {
    throw DecodeError(state().path, state().encoding.name, start_ + at);
  }

  std::size_t filled_ = 0;
  std::size_t target_ = 0;
  std::uint64_t start_ = 0;
  std::size_t limit_ = 0;
  Step step_ = Step::grow;
  bool text_ = false;
  ByteOrder order_ = ByteOrder::little;
};

/// The file layer's own: at a given offset.
template <class Container>
class [[nodiscard]] ReadOperation final : public BulkReading<FileOperation, Container> {
 public:
  ReadOperation(FileRef file, std::int64_t size, std::uint64_t start, bool text)
      : BulkReading<FileOperation, Container>(std::move(file), Access::read, "read"),
        size_(size),
        start_(start),
        text_(text) {}
  ReadOperation(ReadOperation&&) = default;
  ~ReadOperation() { this->drop(); }

  Container await_resume() {
    this->check();
    return std::move(this->data_);
  }

 private:
  bool begin() noexcept override { return this->start_reading(start_, size_, text_); }
  bool proceed() noexcept override { return this->continue_reading(); }

  std::int64_t size_;
  std::uint64_t start_;
  bool text_;
};

}  // namespace aiofile::inline CAIO_ABI::detail
