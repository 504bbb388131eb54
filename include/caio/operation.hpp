#pragma once
// The awaitables that own a request. They live in the awaiting coroutine's frame: nothing is allocated per operation.

#include <coroutine>
#include <cstddef>
#include <optional>
#include <stop_token>
#include <string_view>
#include <system_error>
#include <utility>

#include <caio/config.hpp>
#include <caio/engine.hpp>
#include <caio/loop.hpp>
#include <caio/request.hpp>
#include <caio/task.hpp>

namespace caio::inline CAIO_ABI {

/// What every operation has in common: it starts when awaited, on its context's thread or travelling there, obeys the
/// awaiting coroutine's stop token, resumes the coroutine on the context's thread, and may be destroyed at any moment
/// (on that thread): it is cancelled, and the destructor waits until nobody holds its buffers.
class OperationBase : protected Request {
 public:
  /// Movable until it is started.
  OperationBase(OperationBase&& other) noexcept : Request(other), engine_(other.engine_) {
    assert(!other.begun_ && "an operation that was started does not move");
  }
  OperationBase& operator=(OperationBase&&) = delete;

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    waiter_ = waiter;
    if constexpr (!std::is_void_v<Promise>) token_.inherit(waiter.promise());
    if (!engine_->on_own_thread()) {
      Loop::adopt(*engine_);
      if (!engine_->on_own_thread()) return travel();
    }
    return !step();
  }

 protected:
  explicit OperationBase(Engine& engine) noexcept : engine_(&engine) {
    run = [](Job& job) noexcept {
      auto& self = static_cast<OperationBase&>(job);
      self.stage = Stage::idle;
      if (self.step()) self.resume();
    };
  }
  virtual ~OperationBase() { abandon(); }

  /// One step on the context's thread: first to begin, then whenever the request has ended. True: finished, with the
  /// result in the request; false: the request was started again and has not ended.
  virtual bool advance() noexcept = 0;

  /// Instead of advance(), on any thread, when the operation's context has ended and cannot be travelled to.
  virtual void refused() noexcept { result = engine_->inherited() ? -EOWNERDEAD : -ECANCELED; }

  /// Takes the request back from whoever holds it. A derived class whose members the request uses calls it in its own
  /// destructor, before they go.
  void abandon() noexcept {
    if (stage == Stage::idle) return;
    disarm();
    engine_->discard(*this);
  }

  /// Cancels another operation of this thread, whatever context it belongs to.
  static void cancel(Request& other) noexcept { static_cast<OperationBase&>(other).engine_->cancel(other); }

  [[nodiscard]] Engine& engine() const noexcept { return *engine_; }
  [[nodiscard]] bool begun() const noexcept { return begun_; }
  [[nodiscard]] bool travelled() const noexcept { return travelled_; }
  [[nodiscard]] const std::stop_token& stop_token() const noexcept { return token_.get(); }
  [[noreturn]] void fail(const char* what) const {
    throw std::system_error(static_cast<int>(-result), std::system_category(), what);
  }

 private:
  struct Stopper {
    OperationBase* operation;
    void operator()() const noexcept { operation->stop(); }
  };

  bool travel() noexcept {
    travelled_ = begun_ = true;
    stage = Stage::travelling;
    if (!engine_->inherited() && engine_->post(*this)) return true;  // it may be over by now: nothing may follow
    stage = Stage::idle;
    travelled_ = false;
    refused();
    return false;
  }

  bool step() noexcept {
    if (!stepped_) {
      begun_ = stepped_ = true;
      if (token_.get().stop_requested() && !uncancellable) {
        result = -ECANCELED;
        return true;
      }
    }
    if (advance()) return true;
    // Only now: an operation that does not suspend never pays for it.
    if (!stop_callback_ && !uncancellable && token_.get().stop_possible()) {
      stop_callback_.emplace(token_.get(), Stopper{this});
    }
    return false;
  }

  void resume() noexcept {
    disarm();
    detail::resume(waiter_);  // destroys this object, usually
  }

  /// Never resumes inline: the cancelled request ends in its turn.
  void stop() noexcept {
    if (engine_->on_own_thread()) return engine_->cancel(*this);
    cancel_.errand = Job::Errand::cancel;
    cancel_.target = this;
    cancel_posted_ = engine_->post(cancel_);
  }

  void disarm() noexcept {
    stop_callback_.reset();  // waits for a stop() that runs on another thread
    if (std::exchange(cancel_posted_, false)) engine_->empty_inbox();
  }

  Engine* engine_;
  std::coroutine_handle<> waiter_;
  detail::InheritedStopToken token_;
  std::optional<std::stop_callback<Stopper>> stop_callback_;
  CancelJob cancel_;
  bool begun_ = false;
  bool stepped_ = false;
  bool travelled_ = false;
  bool cancel_posted_ = false;
};

/// One system call on a descriptor: reads and writes give std::size_t, syncs give nothing. std::system_error on
/// failure.
template <class T>
class [[nodiscard]] Operation final : public OperationBase {
 public:
  /// `origin`: where to remember what was found out about the descriptor; used at the start only.
  Operation(Engine& engine, const Request& request, const Descriptor* origin, const char* what) noexcept
      : OperationBase(engine), origin_(origin), what_(what) {
    opcode = request.opcode;
    descriptor = request.descriptor;
    buffer = request.buffer;
    length = request.length;
    offset = request.offset;
  }

  T await_resume() const {
    if (result < 0 && moved == 0) fail(what_);
    if constexpr (!std::is_void_v<T>) return moved > 0 ? moved : static_cast<std::size_t>(result);
  }

 private:
  bool advance() noexcept override {
    if (std::exchange(started_, true)) return true;
    const bool ended = engine().start(*this);
    if (origin_ != nullptr && !descriptor.takes_nowait()) origin_->refuses_nowait();
    return ended;
  }

  const Descriptor* origin_;
  const char* what_;
  bool started_ = false;
};

}  // namespace caio::inline CAIO_ABI
