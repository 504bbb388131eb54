#pragma once
// Opening and closing files.

#include <cerrno>
#include <optional>
#include <utility>

#include <aiofile/error.hpp>
#include <aiofile/shared_file.hpp>
#include <caio/config.hpp>
#include <caio/open_operation.hpp>
#include <caio/operation.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Both change a file's life, and wait for each other.
class LifecycleOperation : public caio::OperationBase {
 protected:
  using Life = FileState::Life;

  LifecycleOperation(caio::Engine& engine, FileRef file) : OperationBase(engine), file_(std::move(file)) {}
  LifecycleOperation(LifecycleOperation&&) = default;

  [[nodiscard]] FileState& state() const noexcept { return *file_; }

  bool wait_for_change() noexcept {
    engine().park(*this, state().waiting);
    return false;
  }
  void change(Life life) noexcept {
    state().life = life;
    while (!state().waiting.empty()) engine().unpark(state().waiting.front());
  }
  void check(const char* what) const {
    if (result < 0) throw FileError(what, state().path, static_cast<int>(-result));
  }

 private:
  FileRef file_;
};

/// Opens the file unless it is open. The first of several concurrent ones does it, the others wait for that one.
class [[nodiscard]] OpenFileOperation : public LifecycleOperation {
 public:
  OpenFileOperation(std::shared_ptr<caio::Engine> engine, FileRef file)
      : LifecycleOperation(*engine, std::move(file)), engine_(std::move(engine)) {}
  OpenFileOperation(OpenFileOperation&&) = default;
  ~OpenFileOperation() {
    abandon();
    if (!opening_) return;
    opening_->drop(engine(), *this);
    change(Life::fresh);
  }

  /// The descriptor, from the call that opened it.
  std::optional<int> await_resume() {
    check("open");
    return opened_;
  }

 private:
  bool advance() noexcept override {
    if (opening_) return opening_->advance(engine(), *this) && opened();
    if (result < 0) return true;  // cancelled while it waited
    switch (state().life) {
      case Life::fresh: break;
      case Life::opening: return wait_for_change();
      case Life::open: return true;
      case Life::closing:
      case Life::closed: result = -EBADF; return true;
    }
    change(Life::opening);
    opening_.emplace(state().path.c_str(), state().mode.flags | state().extra_flags, state().permissions);
    return opening_->advance(engine(), *this) && opened();
  }

  bool opened() noexcept {
    // Reading a directory fails in every way there is: say so at once.
    const bool wanted = (state().extra_flags & (O_PATH | O_DIRECTORY)) != 0;
    if (result >= 0 && descriptor.is_directory() && !wanted) {
      opening_->drop(engine(), *this);
      result = -EISDIR;
    }
    opening_.reset();
    if (result < 0) {
      change(Life::fresh);
      return true;
    }
    opened_ = descriptor.fileno();
    state().engine = engine_;
    state().file->descriptor = descriptor;
    state().file->owners = 1;
    change(Life::open);
    return true;
  }

  std::shared_ptr<caio::Engine> engine_;
  std::optional<caio::detail::Opening> opening_;
  std::optional<int> opened_;
};

/// Closes this handle; the last of a descriptor's handles waits for the operations in flight and closes the descriptor.
class [[nodiscard]] CloseFileOperation : public LifecycleOperation {
 public:
  CloseFileOperation(caio::Engine& engine, FileRef file) : LifecycleOperation(engine, std::move(file)) {
    uncancellable = true;
  }
  CloseFileOperation(CloseFileOperation&&) = default;
  ~CloseFileOperation() {
    abandon();
    if (!closing_) return;
    if (closing_cached_ && result != -ECANCELED) open_file().cached = caio::Descriptor();
    // Destroyed on the way: the descriptor goes all the same.
    if (submitted_ && result != -ECANCELED) {
      forget();
    } else if (open_file().idle()) {
      open_file().close(&engine());
    } else {
      open_file().close_when_idle = true;
    }
    change(Life::closed);
  }

  void await_resume() const { check("close"); }

 protected:
  bool advance() noexcept override {
    if (submitted_) return closed();
    if (closing_cached_) cached_closed();
    if (closing_) return close_descriptor();
    switch (state().life) {
      case Life::opening:
      case Life::closing: return wait_for_change();
      case Life::closed: return true;
      case Life::fresh: change(Life::closed); return true;
      case Life::open: break;
    }
    if (--open_file().owners > 0) {
      change(Life::closed);
      report_failed_sync();
      return true;
    }
    closing_ = true;
    change(Life::closing);
    cancel_waits(open_file().writes);
    cancel_waits(open_file().others);
    if (open_file().idle()) return close_descriptor();
    engine().park(*this, open_file().closers);
    return false;
  }

  void refused() noexcept override {
    result = 0;
    if (state().life == Life::open && --open_file().owners == 0) open_file().close(&engine());
    state().life = Life::closed;
  }

 private:
  [[nodiscard]] OpenFile& open_file() const noexcept { return *state().file; }
  void forget() noexcept { open_file().descriptor = caio::Descriptor(); }

  /// A read of an idle pipe would keep close() waiting for ever; so would one that begins when work on the pool has
  /// ended.
  void cancel_waits(caio::detail::List<InFlight>& operations) noexcept {
    caio::detail::List<InFlight> looked_at;
    while (!operations.empty()) {
      InFlight& operation = operations.pop_front();
      looked_at.push_back(operation);
      caio::Request& request = *operation.request;
      if (request.descriptor.kind() != caio::Descriptor::Kind::stream) continue;
      if (request.is_read() || request.is_write()) cancel(request);
      if (request.opcode == caio::Opcode::call) request.cancel_requested = true;
    }
    operations.append(looked_at);
  }

  bool close_descriptor() noexcept {
    if (open_file().cached.fileno() >= 0) {
      closing_cached_ = true;
      opcode = caio::Opcode::close;
      descriptor = open_file().cached;
      result = -ECANCELED;  // until it is done
      if (!engine().start(*this)) return false;
      cached_closed();
    }
    submitted_ = true;
    opcode = caio::Opcode::close;
    descriptor = open_file().descriptor;
    if (open_file().borrowed) {
      result = 0;
      return closed();
    }
    result = -ECANCELED;  // until it is done
    return engine().start(*this) && closed();
  }

  void cached_closed() noexcept {
    closing_cached_ = false;
    if (result == -ECANCELED || result == -EOWNERDEAD) {  // the context has ended
      engine().close_at_once(descriptor);
    } else if (result < 0) {
      open_file().sync_error = static_cast<int>(-result);  // what a network's file system could not write
    }
    open_file().cached = caio::Descriptor();
  }

  void report_failed_sync() noexcept {
    if (result >= 0) result = -open_file().sync_error;
  }

  bool closed() noexcept {
    if (result == -ECANCELED || result == -EOWNERDEAD) {  // the context has ended
      open_file().close(&engine());
      result = 0;
    }
    forget();
    closing_ = false;
    change(Life::closed);
    report_failed_sync();
    return true;
  }

  bool closing_ = false;
  bool closing_cached_ = false;
  bool submitted_ = false;
};

}  // namespace aiofile::inline CAIO_ABI::detail
