#pragma once
// The content of a spooled file: in memory (memfd_create(2)), then on disk under the same descriptor number.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <aiofile/cursor_operation.hpp>
#include <aiofile/error.hpp>
#include <aiofile/stream_write.hpp>
#include <aiofile/tempfile/options.hpp>
#include <aiofile/tempfile/place.hpp>
#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/system.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// -1 where there is none to be had: old kernels, sandboxes.
inline caio::detail::UniqueFd open_memory(int flags) noexcept {
  constexpr unsigned not_executable = 0x0008;  // MFD_NOEXEC_SEAL: Linux 6.3 complains in its log without it
  int fd = caio::system_calls.memfd_create("aiofile", MFD_CLOEXEC | not_executable);
  if (fd < 0 && errno == EINVAL) fd = caio::system_calls.memfd_create("aiofile", MFD_CLOEXEC);
  if (fd >= 0 && (flags & O_APPEND) != 0) ::fcntl(fd, F_SETFL, flags);
  return caio::detail::UniqueFd(fd);
}

/// Shared by a spooled stream and its operations; used in their turn.
class Spool {
 public:
  Spool(Place place, int flags, std::size_t max_size, bool rolled)
      : place_(std::move(place)), flags_(flags), max_size_(max_size), rolled_(rolled) {}

  [[nodiscard]] bool rolled() const noexcept { return rolled_; }
  /// Whether a file of so many bytes has to be on disk.
  [[nodiscard]] bool outgrown(std::uint64_t size) const noexcept {
    return !rolled_ && max_size_ != 0 && size > max_size_;
  }

 private:
  template <class Base>
  friend class Rolling;

  const Place place_;
  const int flags_;
  const std::size_t max_size_;  // 0: none
  bool rolled_;
};

/// An operation on a spooled stream that may have to bring the content to disk first.
template <class Base>
class Rolling : public Base {
 protected:
  template <class... Arguments>
  explicit Rolling(std::shared_ptr<Spool> spool, Arguments&&... arguments)
      : Base(std::forward<Arguments>(arguments)...), spool_(std::move(spool)) {}
  Rolling(Rolling&&) = default;
  ~Rolling() { this->drop(); }

  [[nodiscard]] const Spool& spool() const noexcept { return *spool_; }

  /// Brings it to disk, then calls then(). As Engine::start().
  bool roll() {
    step_ = Step::copy;
    return go_on();
  }
  /// What the operation is for.
  virtual bool then() = 0;

  bool next() override { return step_ == Step::none ? Base::next() : go_on(); }

 private:
  enum class Step : std::uint8_t { none, copy, exchange, free, end };

  static constexpr std::size_t piece = 16 * 1024 * 1024;  // a few ms; in between it can be cancelled

  bool go_on() {
    while (!this->error_ && this->result >= 0) {
      if (step_ == Step::end) {
        step_ = Step::none;
        return then();
      }
      if (step_ == Step::exchange) {
        exchange();
      } else if (!this->template work_on_pool<&Rolling::work>(this)) {
        return false;
      }
    }
    return true;
  }

  /// Nothing else uses the descriptor: the stream's operations run one after the other, and it has no clones.
  void exchange() {
    const int fd = this->file().descriptor.fileno();
    memory_ = caio::detail::UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!memory_ || ::dup3(disk_.get(), fd, O_CLOEXEC) < 0) {
      this->result = -errno;
      return;
    }
    disk_ = caio::detail::UniqueFd();
    spool_->rolled_ = true;
    this->descriptor = this->file().descriptor = caio::Descriptor(fd, spool_->flags_);
    step_ = Step::free;
  }

  void work() {
    if (step_ == Step::copy) {
      step_ = copy_some() ? Step::copy : Step::exchange;
    } else {
      memory_ = caio::detail::UniqueFd();  // frees the pages
      step_ = Step::end;
    }
  }

  /// A piece of the content, without the holes in it. False: that was all.
  bool copy_some() {
    const int memory = this->file().descriptor.fileno();
    if (!disk_) disk_ = open_unnamed(spool_->place_, "rollover", spool_->flags_ & ~O_APPEND);
    ::off_t from = ::lseek(memory, position_, SEEK_DATA);
    if (from < 0 && errno == ENXIO) {  // only a hole is left
      const ::off_t end = ::lseek(memory, 0, SEEK_END);
      if (end < 0 || caio::system_calls.ftruncate(disk_.get(), end) != 0) fail();
      if ((spool_->flags_ & O_APPEND) != 0) ::fcntl(disk_.get(), F_SETFL, spool_->flags_);
      return false;
    }
    if (from < 0 || ::lseek(disk_.get(), from, SEEK_SET) < 0) fail();
    const ::off_t end = std::min<::off_t>(::lseek(memory, from, SEEK_HOLE), from + static_cast<::off_t>(piece));
    while (from < end) {
      const ::ssize_t count = ::sendfile(disk_.get(), memory, &from, static_cast<std::size_t>(end - from));
      if (count == 0) errno = EIO;  // what is there cannot end
      if (count <= 0 && errno != EINTR) fail();
    }
    position_ = from;
    return true;
  }

  [[noreturn]] void fail() const { throw FileError("rollover", this->state().path, errno); }

  std::shared_ptr<Spool> spool_;
  caio::detail::UniqueFd disk_;
  caio::detail::UniqueFd memory_;
  ::off_t position_ = 0;
  Step step_ = Step::none;
};

template <class Source, class Result>
class [[nodiscard]] SpooledWrite final : public Rolling<StreamWrite<Source, Result>> {
  using Base = StreamWrite<Source, Result>;

 public:
  SpooledWrite(std::shared_ptr<Spool> spool, CursorRef cursor, Source source)
      : Rolling<Base>(std::move(spool), std::move(cursor), std::move(source)) {}

 private:
  bool put(std::string_view bytes) override {
    bytes_ = bytes;
    if (!this->spool().outgrown(this->cursor().write_position() + bytes.size())) return then();
    return this->roll();
  }
  bool then() override { return Base::put(bytes_); }

  std::string_view bytes_;
};

template <class Result, class Source>
auto write_spooled(std::shared_ptr<Spool> spool, CursorRef cursor, Source source) {
  return SpooledWrite<Source, Result>(std::move(spool), std::move(cursor), std::move(source));
}

class [[nodiscard]] SpooledTruncate final : public Rolling<StreamTruncate> {
 public:
  SpooledTruncate(std::shared_ptr<Spool> spool, CursorRef cursor, std::optional<std::uint64_t> wanted)
      : Rolling(std::move(spool), std::move(cursor), wanted) {}

 private:
  bool first() override { return spool().outgrown(new_length()) ? roll() : then(); }
  bool then() override { return StreamTruncate::first(); }
};

class [[nodiscard]] Rollover final : public Rolling<CursorOperation> {
 public:
  Rollover(std::shared_ptr<Spool> spool, CursorRef cursor)
      : Rolling(std::move(spool), std::move(cursor), Access::any, "rollover") {}

  void await_resume() const { check(); }

 private:
  bool first() override { return spool().rolled() || roll(); }
  bool then() override { return true; }
};

}  // namespace aiofile::inline CAIO_ABI::detail
