#pragma once
// Awaitables that are not about descriptors: sleeping, changing threads, offloading.

#include <chrono>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include <caio/config.hpp>
#include <caio/operation.hpp>

namespace caio::inline CAIO_ABI {

/// Ends at a time of the steady clock; operation_canceled when stopped.
class [[nodiscard]] SleepOperation final : public OperationBase {
 public:
  SleepOperation(Engine& engine, TimePoint time) noexcept : OperationBase(engine) {
    deadline = std::chrono::nanoseconds(time.time_since_epoch()).count();
  }
  /// `duration` counts from the start, not from here.
  SleepOperation(Engine& engine, std::chrono::nanoseconds duration) noexcept
      : OperationBase(engine), duration_(duration) {}

  void await_resume() const {
    if (result < 0) fail("sleep");
  }

 private:
  bool advance() noexcept override {
    if (std::exchange(started_, true)) return true;
    if (duration_) {
      const auto now = std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch());
      const bool beyond = *duration_ > std::chrono::nanoseconds::max() - now;
      deadline = beyond ? std::chrono::nanoseconds::max().count() : (now + *duration_).count();
    }
    return engine().start_timer(*this);
  }

  std::optional<std::chrono::nanoseconds> duration_;
  bool started_ = false;
};

/// Resumes on the context's thread, behind what is ready there already.
class [[nodiscard]] ScheduleOperation final : public OperationBase {
 public:
  explicit ScheduleOperation(Engine& engine) noexcept : OperationBase(engine) {}

  void await_resume() const {
    if (result < 0) fail("schedule");
  }

 private:
  bool advance() noexcept override {
    if (std::exchange(started_, true)) return true;
    if (engine().ended() || engine().inherited()) {
      result = engine().ended() ? -ECANCELED : -EOWNERDEAD;
      return true;
    }
    if (travelled()) return true;
    stage = Stage::ended;
    engine().make_ready(*this);
    return false;
  }

  bool started_ = false;
};

/// Calls a function on the context's pool and gives its value or its exception.
template <class Function>
class [[nodiscard]] OffloadOperation final : public OperationBase {
 public:
  using Value = std::invoke_result_t<Function&>;

  OffloadOperation(Engine& engine, Function function) : OperationBase(engine), function_(std::move(function)) {
    opcode = Opcode::call;
    Request::call = [](Request& request) noexcept {
      auto& self = static_cast<OffloadOperation&>(static_cast<OperationBase&>(request));
      try {
        if constexpr (std::is_void_v<Value>) {
          self.function_();
        } else {
          self.outcome_.set_value(self.function_());
        }
      } catch (...) {
        self.outcome_.set_error(std::current_exception());
      }
    };
  }
  OffloadOperation(OffloadOperation&& other) noexcept(std::is_nothrow_move_constructible_v<Function>)
      : OperationBase(std::move(other)), function_(std::move(other.function_)) {}
  ~OffloadOperation() { abandon(); }

  Value await_resume() {
    if (result < 0) fail("offload");
    return outcome_.take();
  }

 private:
  bool advance() noexcept override { return std::exchange(started_, true) || engine().start(*this); }

  Function function_;
  detail::Outcome<Value> outcome_;
  bool started_ = false;
};

}  // namespace caio::inline CAIO_ABI
