#pragma once
// Writing to an open file, and making it durable.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <aiofile/file_operation.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Writes all of `source`, a view or a container that is taken over.
template <class Source>
class [[nodiscard]] WriteOperation final : public FileOperation {
 public:
  WriteOperation(FileRef file, Source source, std::uint64_t start)
      : FileOperation(std::move(file), Access::write, "write"), source_(std::move(source)) {
    opcode = caio::Opcode::write;
    offset = static_cast<std::int64_t>(start);
    whole = true;
  }
  WriteOperation(WriteOperation&&) = default;
  ~WriteOperation() { drop(); }

  std::size_t await_resume() const {
    check();
    return moved;
  }

 private:
  bool begin() noexcept override {
    // The kernel's buffer is not const, but only read.
    buffer = const_cast<void*>(static_cast<const void*>(source_.data()));
    length = source_.size();
    // A descriptor opened by us has O_APPEND; a borrowed one may lack it.
    append = state().mode.appending && !descriptor.append();
    return length == 0 || engine().start(*this);
  }
  std::uint64_t transferred() const noexcept override { return moved; }

  Source source_;
};

/// fsync or fdatasync, once all writes that were started before have ended. Syncs that wait together become one call.
class [[nodiscard]] SyncOperation final : public FileOperation {
 public:
  SyncOperation(FileRef file, bool data_only)
      : FileOperation(std::move(file), Access::any, data_only ? "fdsync" : "fsync"), data_only_(data_only) {}
  SyncOperation(SyncOperation&&) = default;
  ~SyncOperation() {
    abandon();
    if (begun() && leads()) {
      remember_failure();
      hand_on(false);
    }
    drop();
  }

  void await_resume() const { check(); }

 private:
  bool begin() noexcept override {
    // The kernel orders nothing within a batch: the sync is not even submitted before the writes have ended.
    length = static_cast<std::size_t>(file().last_write);
    opcode = data_only_ ? caio::Opcode::fdatasync : caio::Opcode::fsync;
    if (file().leader != nullptr || !file().written(length)) {
      engine().park(*this, file().syncs);
      return false;
    }
    file().leader = this;
    return lead();
  }

  bool proceed() noexcept override {
    if (!leads()) return true;  // it has taken part in another's, or was cancelled
    return leading_ ? conclude() : lead();
  }

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
    wake_sync();
  }

  bool data_only_;
  bool leading_ = false;
};

}  // namespace aiofile::inline CAIO_ABI::detail
