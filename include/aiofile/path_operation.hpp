#pragma once
// An operation on a path: a few system calls that no ring does better, made together on a thread of the pool.

#include <cerrno>
#include <exception>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <aiofile/error.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/implementation.hpp>
#include <caio/operation.hpp>
#include <caio/task.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// std::invalid_argument for a path with a NUL in it, behind which the system would not look.
inline std::filesystem::path checked_path(std::filesystem::path path) {
  if (path.native().find('\0') != std::string::npos) throw std::invalid_argument("aiofile: a path with a NUL in it");
  return path;
}

/// Of the context that an option names; none: the current one.
inline std::shared_ptr<caio::Engine> engine_of(caio::Context* context) {
  return (context != nullptr ? *context : caio::Context::current()).engine();
}

/// Yields what `function(path)` gives, or rethrows what it throws. One hand-over to the pool, however many system
/// calls; on the blocking backend it is called in place. The context is Context::current() at the call that makes it.
///
/// Stopped before it has begun: FileError ECANCELED. What a thread has begun is waited for, also by the destructor.
/// Nothing is allocated beside what the function does.
template <class Function>
class [[nodiscard]] PathOperation final : public caio::OperationBase {
 public:
  using Value = std::invoke_result_t<Function&, const std::filesystem::path&>;

  /// `what` is a literal. `function` lives in the operation; its views must live until the await is done.
  /// std::invalid_argument: a path with a NUL in it.
  PathOperation(const char* what, std::filesystem::path name, Function function)
      : PathOperation(caio::Context::current().engine(), what, std::move(name), std::move(function)) {}
  PathOperation(std::shared_ptr<caio::Engine> engine, const char* what, std::filesystem::path name, Function function)
      : OperationBase(*engine),
        engine_(std::move(engine)),
        what_(what),
        name_(checked_path(std::move(name))),
        function_(std::move(function)) {
    opcode = caio::Opcode::call;
    Request::call = [](caio::Request& request) noexcept {
      static_cast<PathOperation&>(static_cast<OperationBase&>(request)).work();
    };
  }
  PathOperation(PathOperation&& other) noexcept(std::is_nothrow_move_constructible_v<Function>)
      : OperationBase(std::move(other)),
        engine_(std::move(other.engine_)),
        what_(other.what_),
        name_(std::move(other.name_)),
        function_(std::move(other.function_)) {}
  ~PathOperation() { abandon(); }

  Value await_resume() {
    if (result < 0) throw FileError(what_, name_, static_cast<int>(-result));
    return outcome_.take();
  }

 private:
  bool advance() noexcept override {
    if (std::exchange(started_, true)) return true;
    if (engine().backend().implementation() != caio::Implementation::blocking || engine().ended() ||
        engine().inherited()) {
      return engine().start(*this);
    }
    work();
    stage = Stage::ended;  // resumed in its turn, as after any operation of that backend
    engine().make_ready(*this);
    return false;
  }

  void work() noexcept {
    try {
      if constexpr (std::is_void_v<Value>) {
        function_(name_);
      } else {
        outcome_.set_value(function_(name_));
      }
    } catch (...) {
      outcome_.set_error(std::current_exception());
    }
  }

  std::shared_ptr<caio::Engine> engine_;
  const char* what_;
  std::filesystem::path name_;
  Function function_;
  caio::detail::Outcome<Value> outcome_;
  bool started_ = false;
};

}  // namespace aiofile::inline CAIO_ABI::detail
