#pragma once
// Context: where operations are started, and the loop that drives them.

#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/detail/child.hpp>
#include <caio/detail/spawned.hpp>
#include <caio/engine.hpp>
#include <caio/gather.hpp>
#include <caio/loop.hpp>
#include <caio/open_operation.hpp>
#include <caio/operation.hpp>
#include <caio/operations.hpp>
#include <caio/options.hpp>
#include <caio/selection.hpp>
#include <caio/task.hpp>

namespace caio::inline CAIO_ABI {

namespace detail {

/// A Descriptor, or a plain int that is classified here. A named Descriptor remembers what the operation finds out.
struct DescriptorArgument {
  DescriptorArgument(const Descriptor& named) noexcept
      : value(named), origin(&named) {}                                  // NOLINT(google-explicit-constructor)
  DescriptorArgument(Descriptor&& passing) noexcept : value(passing) {}  // NOLINT(google-explicit-constructor)
  DescriptorArgument(int fd) noexcept : value(fd) {}                     // NOLINT(google-explicit-constructor)

  Descriptor value;
  const Descriptor* origin = nullptr;
};

template <class T>
Child root(Task<T> task, Outcome<T>& outcome) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(task);
    } else {
      outcome.set_value(co_await std::move(task));
    }
  } catch (...) {
    outcome.set_error(std::current_exception());
  }
}

template <class Rep, class Period>
std::chrono::nanoseconds saturated(std::chrono::duration<Rep, Period> duration) noexcept {
  using Wide = std::chrono::duration<double, std::nano>;
  if (Wide(duration) >= Wide(std::chrono::nanoseconds::max())) return std::chrono::nanoseconds::max();
  if (Wide(duration) <= Wide(0)) return std::chrono::nanoseconds(0);
  return std::chrono::ceil<std::chrono::nanoseconds>(duration);
}

}  // namespace detail

/// A run loop with a backend. It belongs to the first thread that runs, polls or flushes it; operations may be awaited
/// on any thread and resume on the context's. Contexts of one thread are driven together.
///
/// Its end resumes who still waits with operation_canceled and waits until the kernel has let go of every buffer.
class Context {
 public:
  /// The preferred backend; where its making fails, the next best. std::invalid_argument for options out of range.
  explicit Context(ContextOptions options = {}) {
    detail::checked(options);
    auto backend = detail::make_preferred(options, note_);
    start(std::move(backend), options);
  }
  /// std::system_error when that one is unavailable.
  explicit Context(Implementation implementation, ContextOptions options = {})
      : Context(make_backend(implementation, options), options) {}
  /// A backend of the user's own.
  explicit Context(std::unique_ptr<Backend> backend, ContextOptions options = {}) {
    start(std::move(backend), detail::checked(options));
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() {
    {
      const Loop::Ending ending(*engine_);
      engine_->end();
    }
    Loop::prune();
    engine_->handle = nullptr;
  }

  /// The context that runs on this thread, else this thread's default one, made at its first use.
  static Context& current() {
    if (const Engine* const running = Loop::running()) return *static_cast<Context*>(running->handle);
    static thread_local Context default_context;
    return default_context;
  }

  [[nodiscard]] Implementation implementation() const noexcept { return engine_->backend().implementation(); }

  /// Which backend, which kernel features, and why not the others; several lines.
  [[nodiscard]] std::string explain() const {
    std::string text = engine_->backend().explain() + "\n";
    const ContextOptions& options = engine_->options();
    text += "max_requests " + std::to_string(options.max_requests) + ", pool_size " +
            std::to_string(options.pool_size) + ", speculation " + (options.speculate ? "on" : "off") + "\n" + note_;
    for (const Implementation other : implementations) {
      const std::string reason = other == implementation() ? "" : why_unavailable(other);
      if (!reason.empty()) text += std::string(name(other)) + " is not available: " + reason + "\n";
    }
    return text;
  }

  [[nodiscard]] ContextStats stats() const noexcept { return engine_->stats(); }

  /// Told when a destructor could not deliver buffered bytes to a file; the default writes one line to stderr.
  void on_lost_data(std::function<void(const LostData&)> handler) { engine_->on_lost_data = std::move(handler); }
  /// Told when a destructor has waited 5 s for the kernel to let go of a buffer, and every 5 s again.
  void on_stall(std::function<void(const Stall&)> handler) { engine_->on_stall = std::move(handler); }

  /// Drives this context until the task ends; gives its value or rethrows its exception. std::logic_error when this
  /// thread is already inside run() or poll(), or when the context belongs to another thread.
  template <class T>
  T run(Task<T> task) {
    const Loop::Driving driving(*engine_, "run");
    detail::Outcome<T> outcome;
    {
      detail::Children root;
      root.start(detail::root(std::move(task), outcome), detail::no_stop_token);
      while (!root.all_ended()) {
        Loop::turn(true);
        if (engine_->inherited()) throw std::logic_error("caio::Context::run: the process has forked inside");
      }
      Loop::prepare_foreign_sleep(*engine_);
    }
    return outcome.take();
  }

  /// Starts a task in its turn; the context owns it. A failure goes to `on_error`, or to std::terminate, unless it is
  /// only the operation_canceled of a wait that the context's end has cut short.
  void spawn(Task<> task, std::function<void(std::exception_ptr)> on_error = {}) {
    Loop::adopt(*engine_);
    detail::Spawned::start(*engine_, std::move(task), std::move(on_error));
  }

  // ---- embedding in another event loop ---------------------------------------------------------------------------

  /// Readable when poll() has something to do, due timers included; never changes. -1 when out of descriptors.
  [[nodiscard]] int fileno() const noexcept { return Loop::fileno(*engine_); }

  /// Submits what is queued, before the other loop sleeps. True: call poll() now, do not sleep.
  bool flush() {
    const Loop::Driving driving(*engine_, "flush");
    Loop::flush();
    return Loop::prepare_foreign_sleep(*engine_);
  }

  /// Does what there is to do and never blocks; gives the number of coroutines resumed.
  std::size_t poll() {
    const Loop::Driving driving(*engine_, "poll");
    const std::size_t resumed = Loop::turn(false);
    Loop::flush();
    Loop::prepare_foreign_sleep(*engine_);
    return resumed;
  }

  // ---- operations ------------------------------------------------------------------------------------------------
  // One system call each, as the kernel does it: counts may be short. Buffers live until the await is done. Offset -1:
  // the descriptor's own position. They throw std::system_error with the kernel's errno, or operation_canceled.

  /// Yields the bytes read: 0 at the end of the file.
  auto read(detail::DescriptorArgument descriptor, std::span<std::byte> buffer, std::int64_t offset) {
    return transfer(Opcode::read, descriptor, buffer.data(), buffer.size(), offset, "read");
  }
  /// Yields the bytes written.
  auto write(detail::DescriptorArgument descriptor, std::span<const std::byte> buffer, std::int64_t offset) {
    return transfer(Opcode::write, descriptor, const_cast<std::byte*>(buffer.data()), buffer.size(), offset, "write");
  }
  /// At most IOV_MAX (1024) buffers; the vectors themselves live until the await is done, too.
  auto readv(detail::DescriptorArgument descriptor, std::span<const ::iovec> buffers, std::int64_t offset) {
    return transfer(Opcode::readv, descriptor, const_cast<::iovec*>(buffers.data()), buffers.size(), offset, "readv");
  }
  auto writev(detail::DescriptorArgument descriptor, std::span<const ::iovec> buffers, std::int64_t offset) {
    return transfer(Opcode::writev, descriptor, const_cast<::iovec*>(buffers.data()), buffers.size(), offset, "writev");
  }
  /// Orders nothing by itself: await the writes it is to cover first.
  auto fsync(detail::DescriptorArgument descriptor) {
    return operation<void>(Opcode::fsync, descriptor, nullptr, 0, -1, "fsync");
  }
  /// Likewise, without the metadata that is not needed to read the data back (fdatasync(2)).
  auto fdsync(detail::DescriptorArgument descriptor) {
    return operation<void>(Opcode::fdatasync, descriptor, nullptr, 0, -1, "fdatasync");
  }

  /// Yields a Descriptor; O_CLOEXEC is added. A FIFO without a peer holds no thread, and the wait can be cancelled.
  auto open(std::filesystem::path path, int flags, ::mode_t permissions = 0666) {
    return OpenOperation(*engine_, std::move(path), flags, permissions);
  }
  /// Lets go of the descriptor even when it is cancelled or fails.
  auto close(Descriptor descriptor) { return CloseOperation(*engine_, descriptor); }

  /// Yields what `function()` gives, called on the pool. It must not wait for the context's thread.
  template <std::invocable Function>
  auto offload(Function function) {
    return OffloadOperation<Function>(*engine_, std::move(function));
  }

  template <class Rep, class Period>
  auto sleep_for(std::chrono::duration<Rep, Period> duration) {
    return SleepOperation(*engine_, detail::saturated(duration));
  }
  auto sleep_until(TimePoint time) { return SleepOperation(*engine_, time); }
  /// A time of another clock is converted when this is called.
  template <class Clock, class Duration>
  auto sleep_until(std::chrono::time_point<Clock, Duration> time) {
    return sleep_for(time - Clock::now());
  }

  /// Resumes on this context's thread, behind what is ready there.
  auto schedule() { return ScheduleOperation(*engine_); }

  /// Resumes `coroutine` on this context's thread. From any thread; allocates. After the context's end it does nothing.
  void post(std::coroutine_handle<> coroutine) { detail::Posted::post(*engine_, coroutine); }

  /// The shared state behind this handle: it outlives the context where files still hold it.
  [[nodiscard]] std::shared_ptr<Engine> engine() const noexcept { return engine_; }

 private:
  void start(std::unique_ptr<Backend> backend, const ContextOptions& options) {
    engine_ = std::make_shared<Engine>(std::move(backend), options);
    engine_->handle = this;
  }

  template <class T>
  Operation<T> operation(Opcode opcode, const detail::DescriptorArgument& descriptor, void* buffer, std::size_t length,
                         std::int64_t offset, const char* what) {
    Request request;
    request.opcode = opcode;
    request.descriptor = descriptor.value;
    request.buffer = buffer;
    request.length = length;
    request.offset = offset;
    return Operation<T>(*engine_, request, descriptor.origin, what);
  }
  Operation<std::size_t> transfer(Opcode opcode, const detail::DescriptorArgument& descriptor, void* buffer,
                                  std::size_t length, std::int64_t offset, const char* what) {
    if (offset < -1) throw std::invalid_argument(std::string("caio::Context::") + what + ": a negative offset");
    return operation<std::size_t>(opcode, descriptor, buffer, length, offset, what);
  }

  std::string note_;
  std::shared_ptr<Engine> engine_;
};

/// Context::current().run(task).
template <class T>
T run(Task<T> task) {
  return Context::current().run(std::move(task));
}

/// On Context::current().
template <class Rep, class Period>
auto sleep_for(std::chrono::duration<Rep, Period> duration) {
  return Context::current().sleep_for(duration);
}

}  // namespace caio::inline CAIO_ABI
