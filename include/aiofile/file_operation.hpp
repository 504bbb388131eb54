#pragma once
// What the operations on an open file have in common: admission, their place among those in flight, errors.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <string>
#include <utility>

#include <aiofile/block_transfer.hpp>
#include <aiofile/error.hpp>
#include <aiofile/shared_file.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/operation.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// The kernel refuses ranges that reach beyond it, although nothing is there to be read.
inline constexpr std::size_t last_offset = std::numeric_limits<std::int64_t>::max();

/// Text that takes longer to convert than a loop should be held up.
inline constexpr std::size_t quick_conversion = 64 * 1024;

enum class Access : std::uint8_t { any, read, write };

/// The engine of a file that is open; before that, the current one: there the operation fails.
inline caio::Engine& engine_of(const FileRef& file) {
  return file->engine ? *file->engine : *caio::Context::current().engine();
}

/// Whether it is worth a try to do without an operation. Looks at nothing but the engine on other threads.
inline bool works_in_place(const FileState& file) noexcept {
  return file.engine && file.engine->works_in_place() && file.life == FileState::Life::open;
}

/// A file that an operation uses. It counts among those in flight there, so that close() waits for it.
class FileUse {
 public:
  FileUse(FileRef file, Access access) : file_(std::move(file)), access_(access) {}

  [[nodiscard]] FileState& state() const noexcept { return *file_; }
  [[nodiscard]] OpenFile& file() const noexcept { return *file_->file; }

  /// Why nothing can be done with it; 0 if it can.
  [[nodiscard]] int obstacle() const noexcept {
    if (file_->life != FileState::Life::open) return EBADF;
    if (access_ == Access::read && !file_->mode.readable) return EBADF;
    if (access_ == Access::write && !file_->mode.writable) return EBADF;
    return 0;
  }

  void enter(caio::Request& request) noexcept {
    in_flight_.request = &request;
    if (access_ == Access::write) in_flight_.sequence = ++file().last_write;
    (access_ == Access::write ? file().writes : file().others).push_back(in_flight_);
  }

  /// `engine`: the operation's own. It tells who has waited, and is still there when the file's has ended.
  void leave(caio::Engine& engine) noexcept {
    if (in_flight_.linked()) leave_list(engine);
  }

  /// Something begins or ends that may change it.
  void count_change() noexcept { file().changes += access_ == Access::write; }

 private:
  void leave_list(caio::Engine& engine) noexcept {
    in_flight_.unlink();
    if (access_ == Access::write) {
      count_change();
      file().wake_sync(engine);
    }
    file().when_idle(engine);
  }

  FileRef file_;
  Access access_;
  InFlight in_flight_;
};

/// An operation on an open file. It holds the file's state, so that the AIOFile may move or go.
class FileOperation : public caio::OperationBase {
 protected:
  FileOperation(FileRef file, Access access, const char* what)
      : OperationBase(engine_of(file)), use_(std::move(file), access), what_(what) {}
  FileOperation(FileOperation&&) = default;
  ~FileOperation() { drop(); }

  /// First step, when the file has been found open and the mode right. True: finished.
  virtual bool begin() noexcept = 0;
  /// Next step, when the request has ended. True: finished.
  virtual bool proceed() noexcept { return true; }

  /// Takes the operation back. Derived classes whose members are used by the request call it in their destructors.
  void drop() noexcept {
    take_back();
    use_.leave(engine());
  }
  /// The first half of it: nobody holds the request any more, and `moved` is true.
  void take_back() noexcept {
    abandon();
    transfer_.drop(engine(), *this);
  }

  /// Starts a read or write of any place, also of an O_DIRECT file. As Engine::start().
  bool transfer() noexcept { return transfer_.start(engine(), file(), *this); }
  /// Whether writes go to the end of the file, whatever their offset.
  [[nodiscard]] bool appends() const noexcept { return state().mode.appending || descriptor.append(); }

  [[nodiscard]] FileState& state() const noexcept { return use_.state(); }
  [[nodiscard]] OpenFile& file() const noexcept { return use_.file(); }

  void check() const {
    if (error_) std::rethrow_exception(error_);
    if (result < 0) throw_error();
  }
  [[nodiscard]] virtual std::uint64_t transferred() const noexcept { return 0; }

  /// Lets a thread of the pool do some work, whose exception becomes error_. As Engine::start().
  template <auto work, class Self>
  bool work_on_pool(Self* self) noexcept {
    opcode = caio::Opcode::call;
    call = [](caio::Request& request) noexcept {
      static_cast<Self&>(static_cast<OperationBase&>(request)).template attempt<work, Self>();
    };
    return engine().start(*self);
  }
  template <auto work, class Self>
  void attempt() noexcept {
    try {
      (static_cast<Self*>(this)->*work)();
    } catch (...) {
      error_ = std::current_exception();
    }
  }

  /// Why the operation cannot begin; 0 if it can.
  [[nodiscard]] int obstacle() const noexcept { return engine().ended() ? EBADF : use_.obstacle(); }

  bool advance() noexcept override {
    if (!std::exchange(admitted_, true)) {
      if (const int error = obstacle(); error != 0) {
        result = -error;
        return true;
      }
      descriptor = file().descriptor;
      use_.count_change();
      const bool finished = begin();
      if (!descriptor.takes_nowait()) file().descriptor.refuses_nowait();  // asked once
      if (!finished) use_.enter(*this);
      return finished;
    }
    if (!transfer_.proceed(engine(), file(), *this) || !proceed()) return false;
    use_.leave(engine());
    return true;
  }

  std::exception_ptr error_;  // what is not the result of a system call

 private:
  void refused() noexcept override { result = -EBADF; }

  [[noreturn]] void throw_error() const {
    std::string text(what_);
    if (result == -EINVAL) text += transfer_.explain(file(), *this);
    throw FileError(text, state().path, static_cast<int>(-result), transferred());
  }

  FileUse use_;
  bool admitted_ = false;
  const char* what_;
  BlockTransfer transfer_;
};

/// An operation of one step; gives the request's result, or nothing.
template <class T>
class [[nodiscard]] SimpleFileOperation final : public FileOperation {
 public:
  SimpleFileOperation(FileRef file, Access access, const char* what, caio::Opcode code, std::int64_t argument)
      : FileOperation(std::move(file), access, what) {
    opcode = code;
    offset = argument;
  }

  T await_resume() const {
    check();
    if constexpr (!std::is_void_v<T>) return static_cast<T>(result);
  }

 private:
  bool begin() noexcept override { return engine().start(*this); }
};

}  // namespace aiofile::inline CAIO_ABI::detail
