#pragma once
// Opening and closing descriptors.

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include <caio/config.hpp>
#include <caio/operation.hpp>

namespace caio::inline CAIO_ABI {

namespace detail {

/// Opens a path. What may wait inside open(2), a FIFO without a peer, is opened with O_NONBLOCK and tried again by
/// timer, so that it holds no thread and can be cancelled (fifo(7)).
class Opening {
 public:
  Opening(const char* path, int flags, ::mode_t mode) noexcept : path_(path), flags_(flags | O_CLOEXEC), mode_(mode) {
    // O_EXCL makes a new regular file; the others never wait.
    constexpr int never_a_fifo = O_NONBLOCK | O_PATH | O_DIRECTORY;
    try_nonblock_ = (flags & never_a_fifo) == 0 && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
  }

  /// Closes a descriptor that came too late for anybody to take it.
  void drop(Engine& engine, const Request& request) const noexcept {
    if (!begun_ || paused_ || request.result < 0) return;
    engine.close_at_once(request.descriptor.is_foreign() ? request.descriptor
                                                         : Descriptor(static_cast<int>(request.result)));
  }

  /// One step: the first, or after `request` has ended. True: finished; `request.result` and `request.descriptor` tell.
  bool advance(Engine& engine, Request& request) noexcept {
    if (request.result == -ECANCELED && begun_) return true;
    if (!std::exchange(begun_, true) || (std::exchange(paused_, false) && request.result == 0)) {
      return attempt(engine, request);
    }
    return judge(engine, request);
  }

 private:
  bool attempt(Engine& engine, Request& request) noexcept {
    request.opcode = Opcode::open;
    request.descriptor = Descriptor();
    request.path = path_;
    request.offset = -1;
    request.open_flags = flags_ | (try_nonblock_ ? O_NONBLOCK : 0);
    request.open_mode = mode_;
    request.result = -ECANCELED;  // unless somebody says otherwise, nothing was opened
    return engine.start(request) && judge(engine, request);
  }

  bool judge(Engine& engine, Request& request) noexcept {
    if (request.result >= 0) {
      if (!request.descriptor.is_foreign()) classify(request);
      return true;
    }
    if (!try_nonblock_) return true;
    if (request.result == -EAGAIN &&
        engine.bypasses()) {  // a lease is being broken (fcntl(2), F_SETLEASE): open(2) waits for that
      try_nonblock_ = false;
      request.to_pool = true;
      return attempt(engine, request);
    }
    if (request.result != -ENXIO || !is_fifo()) return true;
    request.deadline = std::chrono::nanoseconds((std::chrono::steady_clock::now() + pause_).time_since_epoch()).count();
    pause_ = std::min<std::chrono::milliseconds>(pause_ * 2, std::chrono::milliseconds(32));
    paused_ = true;
    return engine.start_timer(request);
  }

  [[nodiscard]] bool is_fifo() const noexcept {
    struct ::stat status;
    return ::stat(path_, &status) == 0 && S_ISFIFO(status.st_mode);
  }

  void classify(Request& request) const noexcept {
    const int fd = static_cast<int>(request.result);
    request.descriptor = Descriptor(fd, flags_);
    // Left on, O_NONBLOCK would make io_uring answer EAGAIN instead of reading from the device.
    if (try_nonblock_ && !request.descriptor.is_fifo()) ::fcntl(fd, F_SETFL, flags_);
  }

  const char* path_;
  int flags_;
  ::mode_t mode_;
  bool try_nonblock_;
  bool begun_ = false;
  bool paused_ = false;
  std::chrono::milliseconds pause_{1};
};

}  // namespace detail

/// Gives a Descriptor. One that comes after the operation was destroyed is closed.
class [[nodiscard]] OpenOperation final : public OperationBase {
 public:
  OpenOperation(Engine& engine, std::filesystem::path file, int flags, ::mode_t mode)
      : OperationBase(engine), path_(std::move(file)) {
    result = -ECANCELED;
    open_flags = flags;
    open_mode = mode;
  }
  OpenOperation(OpenOperation&&) = default;
  ~OpenOperation() {
    abandon();
    if (opening_) opening_->drop(engine(), *this);
  }

  Descriptor await_resume() {
    if (result < 0) fail("open");
    opening_.reset();  // it is the caller's now
    return descriptor;
  }

 private:
  bool advance() noexcept override {
    if (!opening_) opening_.emplace(path_.c_str(), open_flags, open_mode);
    return opening_->advance(engine(), *this);
  }

  std::filesystem::path path_;
  std::optional<detail::Opening> opening_;
};

/// Closes a descriptor, whatever happens: neither a stop token nor its own destruction keeps it open.
class [[nodiscard]] CloseOperation final : public OperationBase {
 public:
  CloseOperation(Engine& engine, const Descriptor& closed) noexcept : OperationBase(engine) {
    opcode = Opcode::close;
    descriptor = closed;
    uncancellable = true;
    result = -ECANCELED;  // until it is done
  }
  CloseOperation(CloseOperation&&) = default;
  ~CloseOperation() {
    const bool unfinished = stage != Stage::idle;
    abandon();
    if (unfinished && result == -ECANCELED) close_here();
  }

  void await_resume() {
    if (result < 0) fail("close");
  }

 private:
  bool advance() noexcept override {
    if (!std::exchange(started_, true) && !engine().start(*this)) return false;
    if (result == -ECANCELED) close_here();
    return true;
  }
  void refused() noexcept override { close_here(); }

  void close_here() noexcept { engine().at_once(*this); }

  bool started_ = false;
};

}  // namespace caio::inline CAIO_ABI
