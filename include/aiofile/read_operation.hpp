#pragma once
// Reading from an open file: into memory of the caller's, or into a string or vector that grows as the data comes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/file_operation.hpp>
#include <aiofile/text.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// The kernel refuses ranges that reach beyond it, although nothing is there to be read.
inline constexpr std::size_t last_offset = std::numeric_limits<std::int64_t>::max();

/// Fills the caller's memory unless the end of the file comes first.
class [[nodiscard]] ReadIntoOperation final : public FileOperation {
 public:
  ReadIntoOperation(FileRef file, std::span<std::byte> memory, std::uint64_t start)
      : FileOperation(std::move(file), Access::read, "read") {
    opcode = caio::Opcode::read;
    buffer = memory.data();
    length = std::min(memory.size(), last_offset - start);
    offset = static_cast<std::int64_t>(start);
    whole = true;
  }

  std::size_t await_resume() const {
    check();
    return moved;
  }

 private:
  bool begin() noexcept override { return length == 0 || engine().start(*this); }
  std::uint64_t transferred() const noexcept override { return moved; }
};

/// Reads up to `limit` bytes, or to the end, into a container that is made as large as the file says it is, and larger
/// as long as data comes: sizes are hints only (/proc has files of size 0).
template <class Container>
class [[nodiscard]] ReadOperation final : public FileOperation {
 public:
  /// `size` -1: to the end. `text`: the bytes must be whole characters.
  ReadOperation(FileRef file, std::int64_t size, std::uint64_t start, bool text)
      : FileOperation(std::move(file), Access::read, "read"), start_(start), text_(text) {
    if (size >= 0) limit_ = std::min(limit_, static_cast<std::size_t>(size));
  }
  ReadOperation(ReadOperation&&) = default;
  ~ReadOperation() { drop(); }

  Container await_resume() {
    if (error_) std::rethrow_exception(error_);
    check();
    if (wrong_at_) throw DecodeError(state().path, state().encoding, start_ + *wrong_at_);
    return std::move(data_);
  }

 private:
  enum class Step : std::uint8_t { grow, read, check };

  // What takes long on that many bytes (fresh pages, copies, a scan) is done by the pool and not on the loop's thread.
  static constexpr std::size_t quick_bytes = 1024 * 1024;
  static constexpr std::size_t small_limit = 64 * 1024;  // allocated without asking for the file's size
  static constexpr std::size_t first_guess = 16 * 1024;

  bool begin() noexcept override { return limit_ == 0 || grow(first_size()); }

  bool proceed() noexcept override {
    if (step_ == Step::read) return after_read();
    if (result < 0) return true;
    switch (step_) {
      case Step::grow: return error_ || read();
      case Step::read:
      case Step::check: break;
    }
    return true;
  }

  [[nodiscard]] std::size_t first_size() const noexcept {
    if (limit_ <= small_limit) return limit_;
    struct ::stat status;
    if (descriptor.kind() != caio::Descriptor::Kind::regular ||
        caio::system_calls.fstat(descriptor.fileno(), &status) != 0 || status.st_size <= 0) {
      return std::min(limit_, first_guess);
    }
    const auto size = static_cast<std::uint64_t>(status.st_size);
    const std::uint64_t left = size > start_ ? size - start_ : 0;
    return static_cast<std::size_t>(std::min<std::uint64_t>(limit_, left + 1));  // one more finds the end
  }

  bool grow(std::size_t size) noexcept {
    target_ = size;
    if (size <= quick_bytes) {
      resize();
      return error_ || read();
    }
    step_ = Step::grow;
    return work_on_pool([](ReadOperation& self) noexcept { self.resize(); }) && (error_ || read());
  }

  void resize() noexcept {
    try {
      data_.resize(target_);
    } catch (...) {
      error_ = std::current_exception();
    }
  }

  bool read() noexcept {
    step_ = Step::read;
    opcode = caio::Opcode::read;
    to_pool = false;
    whole = true;
    buffer = data_.data() + filled_;
    length = data_.size() - filled_;
    offset = static_cast<std::int64_t>(start_ + filled_);
    return engine().start(*this) && after_read();
  }

  bool after_read() noexcept {
    filled_ += moved;
    if (result < 0) return true;
    const bool at_end = length > 0;
    if (!at_end && filled_ < limit_) {
      return grow(std::min(limit_, std::max(2 * data_.size(), small_limit)));
    }
    data_.resize(filled_);
    if (!text_) return true;
    if (filled_ <= quick_bytes) {
      validate();
      return true;
    }
    step_ = Step::check;
    return work_on_pool([](ReadOperation& self) noexcept { self.validate(); });
  }

  void validate() noexcept {
    const Utf8Scan scan = scan_utf8({reinterpret_cast<const char*>(data_.data()), data_.size()});
    if (scan.valid < data_.size()) wrong_at_ = scan.valid;
  }

  template <class Work>
  bool work_on_pool(Work) noexcept {
    opcode = caio::Opcode::call;
    call = [](caio::Request& request) noexcept {
      Work()(static_cast<ReadOperation&>(static_cast<OperationBase&>(request)));
    };
    return engine().start(*this);
  }

  std::uint64_t transferred() const noexcept override { return filled_; }

  Container data_;
  std::size_t filled_ = 0;
  std::size_t target_ = 0;
  std::uint64_t start_;
  std::size_t limit_ = last_offset - start_;
  Step step_ = Step::grow;
  bool text_;
  std::optional<std::size_t> wrong_at_;
  std::exception_ptr error_;
};

}  // namespace aiofile::inline CAIO_ABI::detail
