#pragma once
// The end of a stream.

#include <cerrno>
#include <utility>

#include <aiofile/block_transfer.hpp>
#include <aiofile/cursor_operation.hpp>
#include <aiofile/lifecycle_operations.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Waits for the cursor's operations, delivers the output, and closes the file in any case.
class [[nodiscard]] StreamClose final : public CloseFileOperation {
 public:
  explicit StreamClose(CursorRef cursor)
      : CloseFileOperation(engine_of(cursor->file), cursor->file), turn_(std::move(cursor)) {}
  StreamClose(StreamClose&&) = default;
  ~StreamClose() {
    abandon();
    transfer_.drop(engine(), *this);
    if (step_ == Step::deliver) delivery_.conclude(cursor(), *this, false);
    turn_.end(engine());
  }

  void await_resume() const {
    if (error_ != 0) throw FileError("close", state().path, error_, delivered_);
    CloseFileOperation::await_resume();
  }

 private:
  enum class Step : std::uint8_t { ask, wait, deliver, close };

  [[nodiscard]] Cursor& cursor() const noexcept { return turn_.cursor(); }

  bool advance() noexcept override {
    switch (step_) {
      case Step::ask:
        if (state().life != Life::open) break;
        step_ = Step::wait;
        // A read of an idle pipe would keep us waiting for ever.
        if (cursor().is_stream()) turn_.cancel_others(engine());
        turn_.set_immune();  // against another close(): only a stop ends the delivery
        if (!turn_.take(engine(), *this)) return false;
        [[fallthrough]];
      case Step::wait:
        if (cursor().output.empty() || state().life != Life::open) break;
        step_ = Step::deliver;
        reported_ = cursor().output.reported();
        delivery_.prepare(cursor(), *this);
        uncancellable = !cursor().is_stream();  // only for a pipe's reader one may have to wait
        if (!transfer_.start(engine(), *cursor().file->file, *this)) return false;
        [[fallthrough]];
      case Step::deliver:
        if (!transfer_.proceed(engine(), *cursor().file->file, *this)) return false;
        delivered();
        break;
      case Step::close: break;
    }
    step_ = Step::close;
    if (!CloseFileOperation::advance()) return false;
    turn_.end(engine());
    return true;
  }

  /// The context has ended, and nobody waits any more.
  void refused() noexcept override {
    reported_ = cursor().output.reported();
    if (!cursor().output.empty() && !engine().inherited()) deliver_at_once();
    CloseFileOperation::refused();
  }

  void deliver_at_once() noexcept {
    const std::size_t before = cursor().output.bytes().size();
    result = -cursor().deliver_at_once();
    moved += before - cursor().output.bytes().size();
    take_error();
  }

  void delivered() noexcept {
    delivery_.conclude(cursor(), *this, true);
    if (result == -ECANCELED && engine().ended()) return deliver_at_once();
    take_error();
  }

  void take_error() noexcept {
    if (result < 0 && !reported_) {
      error_ = static_cast<int>(-result);
      delivered_ = moved;
    }
    cursor().output.clear();
    uncancellable = true;
    append = false;
    result = 0;
  }

  Turn turn_;
  Delivery delivery_;
  BlockTransfer transfer_;
  Step step_ = Step::ask;
  bool reported_ = false;
  int error_ = 0;
  std::uint64_t delivered_ = 0;
};

}  // namespace aiofile::inline CAIO_ABI::detail
