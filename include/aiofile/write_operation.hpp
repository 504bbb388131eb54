#pragma once
// Writing to an open file, and making it durable.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/file_operation.hpp>
#include <aiofile/transcoder.hpp>
#include <caio/config.hpp>
#include <caio/detail/in_place.hpp>
#include <caio/detail/prompt.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// The text in the file's encoding; EncodeError where it has none. `at_start`: for the file's beginning.
/// Allowed on any thread.
inline std::string encoded(const FileState& state, ByteOrder order, std::string_view text, bool at_start) {
  Transcoder transcoder(state.encoding);
  transcoder.set_order(order);
  std::string bytes;
  const std::optional<std::size_t> wrong = transcoder.encode(text, at_start, bytes);
  if (wrong) throw EncodeError(state.path, state.encoding.name, *wrong);
  return bytes;
}

/// Writes all of `source`, a view or a container that is taken over.
template <class Source>
class [[nodiscard]] WriteOperation final : public FileOperation {
 public:
  /// `text`: to be written in the file's encoding. `before`: what was done in place.
  WriteOperation(FileRef file, Source source, std::uint64_t start, bool text, const caio::detail::InPlace& before)
      : FileOperation(std::move(file), Access::write, "write"), source_(std::move(source)), start_(start), text_(text) {
    tried = before.tried;
    moved = before.moved;
  }
  WriteOperation(WriteOperation&&) = default;
  ~WriteOperation() { drop(); }

  std::size_t await_resume() const {
    check();
    return moved;
  }

 private:
  bool begin() noexcept override {
    if (!text_ || !state().encodes) return write(source_.data() + moved, source_.size() - moved);
    order_ = file().order;
    if (source_.size() <= quick_conversion) {
      attempt<&WriteOperation::encode, WriteOperation>();
      return error_ || write(encoded_.data(), encoded_.size());
    }
    encoding_ = true;
    return work_on_pool<&WriteOperation::encode>(this);
  }

  bool proceed() noexcept override {
    if (!std::exchange(encoding_, false)) return true;
    return error_ || result < 0 || write(encoded_.data(), encoded_.size());
  }

  bool write(const void* data, std::size_t size) noexcept {
    opcode = caio::Opcode::write;
    whole = true;
    // The kernel's buffer is not const, but only read.
    buffer = const_cast<void*>(data);
    length = size;
    offset = static_cast<std::int64_t>(start_ + moved);
    // A descriptor opened by us has O_APPEND; a borrowed one may lack it.
    append = state().mode.appending && !descriptor.append();
    if (length == 0) return true;
    return appends() ? transfer() : engine().start(*this);  // direct appends do not keep apart
  }

  void encode() {
    const std::string_view text(reinterpret_cast<const char*>(source_.data()), source_.size());
    encoded_ = encoded(state(), order_, text, at_start());
  }

  /// Only the file's first bytes have a byte-order mark before them.
  bool at_start() const noexcept {
    if (!state().mode.appending) return start_ == 0;
    return engine().size_at_once(descriptor) == 0;
  }

  std::uint64_t transferred() const noexcept override { return moved; }

  Source source_;
  std::string encoded_;
  std::uint64_t start_;
  bool text_;
  bool encoding_ = false;
  ByteOrder order_ = ByteOrder::little;
};

/// The same into the page cache.
template <class Source>
class WriteAttempt {
 public:
  using Operation = WriteOperation<Source>;
  static constexpr bool touches_file = true;

  WriteAttempt(FileRef file, Source source, std::uint64_t start, bool text)
      : file_(std::move(file)), source_(std::move(source)), start_(start), text_(text) {}

  bool at_once() noexcept {
    const FileState& state = *file_;
    if (!works_in_place(state) || !state.mode.writable || state.mode.appending || source_.empty() ||
        (text_ && state.encodes)) {
      return false;
    }
    done_ = state.engine->write_in_place(state.file->descriptor, source_.data(), source_.size(),
                                         static_cast<std::int64_t>(start_));
    if (done_.ended || done_.moved > 0) ++state.file->changes;
    return done_.ended;
  }
  [[nodiscard]] std::size_t result() const {
    if (done_.error != 0) throw FileError("write", file_->path, done_.error);
    return done_.moved;
  }
  void become(std::optional<Operation>& operation) {
    operation.emplace(std::move(file_), std::move(source_), start_, text_, done_);
  }

 private:
  FileRef file_;
  Source source_;
  std::uint64_t start_;
  bool text_;
  caio::detail::InPlace done_;
};

/// fsync or fdatasync, once all writes that were started before have ended. Syncs that wait together become one call.
template <class Base>
class Syncing : public Base {
 public:
  void await_resume() const { this->check(); }

 protected:
  template <class Subject>
  Syncing(Subject subject, bool data_only)
      : Base(std::move(subject), Access::any, data_only ? "fdsync" : "fsync"), data_only_(data_only) {}
  Syncing(Syncing&&) = default;
  ~Syncing() {
    this->abandon();
    if (this->begun() && leads()) {
      remember_failure();
      hand_on(false);
    }
    this->drop();
  }

  using Base::engine;
  using Base::file;
  using Base::opcode;
  using Base::result;

  bool start_sync() noexcept {
    // The kernel orders nothing within a batch: the sync is not even submitted before the writes have ended.
    this->length = static_cast<std::size_t>(file().last_write);
    opcode = data_only_ ? caio::Opcode::fdatasync : caio::Opcode::fsync;
    if (file().leader != nullptr || !file().written(this->length)) {
      engine().park(*this, file().syncs);
      return false;
    }
    file().leader = this;
    return lead();
  }

  bool continue_sync() noexcept {
    if (!leads()) return true;  // it has taken part in another's, or was cancelled
    return leading_ ? conclude() : lead();
  }

 private:
  [[nodiscard]] bool leads() const noexcept { return file().leader == this; }

  bool lead() noexcept {
    leading_ = true;
    caio::RequestList later;
    while (!file().syncs.empty()) {
      caio::Request& other = file().syncs.pop_front();
      const bool covered = file().written(other.length);
      (covered ? file().joined : later).push_back(other);
      if (covered && other.opcode == caio::Opcode::fsync) opcode = caio::Opcode::fsync;
    }
    file().syncs.append(later);
    if (file().sync_error != 0) {
      result = -file().sync_error;
      return conclude();
    }
    return engine().start(*this) && conclude();
  }

  bool conclude() noexcept {
    remember_failure();
    hand_on(result != -ECANCELED);
    return true;
  }

  /// What the kernel failed to write it marks clean and forgets: no later sync may say that all is well.
  void remember_failure() noexcept {
    if (leading_ && (result == -EIO || result == -ENOSPC || result == -EDQUOT)) {
      file().sync_error = static_cast<int>(-result);
    }
  }

  /// Ends the leadership. `valid`: the others share the result; else one of them begins anew.
  void hand_on(bool valid) noexcept {
    file().leader = nullptr;
    if (valid) {
      while (!file().joined.empty()) engine().unpark(file().joined.front(), result);
    } else {
      file().syncs.prepend(file().joined);
    }
    file().wake_sync(engine());
  }

  bool data_only_;
  bool leading_ = false;
};

class [[nodiscard]] SyncOperation final : public Syncing<FileOperation> {
 public:
  SyncOperation(FileRef file, bool data_only) : Syncing(std::move(file), data_only) {}

 private:
  bool begin() noexcept override { return start_sync(); }
  bool proceed() noexcept override { return continue_sync(); }
};

}  // namespace aiofile::inline CAIO_ABI::detail
