#pragma once
// What the operations on a cursor have in common: their turn, the delivery of gathered bytes, reading ahead.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include <aiofile/cursor.hpp>
#include <aiofile/error.hpp>
#include <aiofile/file_operation.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Delivers a cursor's output to the file, on behalf of whichever operation needs it there.
class Delivery {
 public:
  /// Makes `request` the write, of all but the last `kept` bytes. It counts among the file's: a sync covers it.
  void prepare(Cursor& cursor, caio::Request& request, std::size_t kept = 0) noexcept {
    OpenFile& file = *cursor.file->file;
    request.opcode = caio::Opcode::write;
    request.descriptor = file.descriptor;
    request.to_pool = false;
    request.whole = true;
    request.buffer = const_cast<char*>(cursor.output.bytes().data());
    request.length = cursor.output.bytes().size() - kept;
    request.offset = cursor.positional() ? static_cast<std::int64_t>(cursor.output.offset()) : -1;
    request.append = cursor.file->mode.appending && !request.descriptor.append();
    ++file.changes;
    place_.request = &request;
    place_.sequence = ++file.last_write;
    file.writes.push_back(place_);
  }

  /// Takes note of how it has ended. `told`: an error reaches the program.
  void conclude(Cursor& cursor, const caio::Request& request, bool told) noexcept {
    OpenFile& file = *cursor.file->file;
    place_.unlink();
    ++file.changes;
    file.wake_sync(*cursor.file->engine);
    file.when_idle(*cursor.file->engine);
    cursor.output.written(request.moved);
    if (told && request.result < 0 && request.result != -ECANCELED) cursor.output.set_reported();
  }

 private:
  InFlight place_;
};

/// An operation on a cursor. Derived classes do what they are for in first() and next(), which may throw.
class CursorOperation : public FileOperation {
 protected:
  CursorOperation(CursorRef cursor, Access access, const char* what)
      : FileOperation(cursor->file, access, what), turn_(std::move(cursor)) {}
  CursorOperation(CursorOperation&&) = default;
  ~CursorOperation() {
    drop();
    turn_.end(engine());
  }

  [[nodiscard]] Cursor& cursor() const noexcept { return turn_.cursor(); }

  /// When the turn has come, and the output has been delivered where delivers_first() says so. True: finished.
  virtual bool first() = 0;
  /// When a request has ended that first() or next() have started.
  virtual bool next() { return true; }
  [[nodiscard]] virtual bool delivers_first() const noexcept { return !cursor().output.empty(); }

  /// How much of the output may stay.
  [[nodiscard]] virtual std::size_t keeps() const noexcept { return 0; }

  void drop() noexcept {
    take_back();
    if (turn_.taken()) give_up();
    FileOperation::drop();
  }

  /// Starts a read or write where the cursor's bytes are. As Engine::start().
  bool transfer() noexcept { return cursor().device ? transfer_to_device() : FileOperation::transfer(); }

  std::uint64_t transferred() const noexcept override { return 0; }

 private:
  // Not inlined, as files hardly ever need them.
  [[gnu::noinline]] bool transfer_to_device() noexcept {
    return cursor().device->start(engine(), *this, stop_token(), error_);
  }
  [[gnu::noinline]] void give_up() noexcept {
    if (cursor().device) cursor().device->abandon();
    if (!std::exchange(delivering_, false)) return;
    delivery_.conclude(cursor(), *this, false);
  }

  bool advance() noexcept final {
    if (!std::exchange(asked_, true)) {
      waiting_ = obstacle() == 0 && !turn_.take(engine(), *this);
      if (waiting_) return false;
    } else if (std::exchange(waiting_, false) && result < 0) {  // cancelled meanwhile
      turn_.end(engine());
      return true;
    }
    if (!FileOperation::advance()) return false;
    turn_.end(engine());
    return true;
  }

  template <class Step>
  bool guarded(Step step) noexcept {
    try {
      return step();
    } catch (...) {
      error_ = std::current_exception();
      return true;
    }
  }

  bool begin() noexcept final {
    return guarded([this] {
      if (!delivers_first()) return start();
      delivering_ = true;
      delivery_.prepare(cursor(), *this, keeps());
      return transfer() && delivered();
    });
  }

  bool proceed() noexcept final {
    return guarded([this] { return delivering_ ? delivered() : next(); });
  }

  bool delivered() {
    delivering_ = false;
    delivery_.conclude(cursor(), *this, true);
    if (result < 0) return true;
    append = false;
    return start();
  }

  bool start() {
    cursor().refresh();
    return first();
  }

  Turn turn_;
  Delivery delivery_;
  bool asked_ = false;
  bool waiting_ = false;
  bool delivering_ = false;
};

/// An operation that takes something from the input: it reads ahead until there is enough, and only then consumes, so
/// that nothing is lost when it fails or goes.
class InputOperation : public CursorOperation {
 protected:
  InputOperation(CursorRef cursor, const char* what) : CursorOperation(std::move(cursor), Access::read, what) {}
  InputOperation(InputOperation&&) = default;
  ~InputOperation() {
    drop();
    if (reading_) keep();
  }

  [[nodiscard]] Input& input() const noexcept { return cursor().input; }

  /// Takes what is wanted. False: more is needed. `last`: there is no more, up to the end or to what is no text; then
  /// false makes that the error.
  virtual bool take(bool last) = 0;
  /// When take() was true: gives whether the operation is over.
  virtual bool taken() { return true; }
  /// More bytes would be of no use.
  [[nodiscard]] virtual bool stuck() const noexcept { return input().invalid(); }
  /// How many bytes to read next.
  [[nodiscard]] virtual std::size_t wanted() noexcept {
    // In proportion to what was not enough, so that a long line takes few reads.
    const std::size_t most = input().transcoder() != nullptr ? quick_conversion : longest_read;
    return std::max(cursor().ahead(), std::min(input().content().size(), most));
  }

  bool first() override { return look(); }
  bool next() override {
    if (!std::exchange(growing_, false)) return absorb();
    if (error_ || result < 0) return true;
    input().adopt(std::move(larger_));
    return read() && absorb();
  }

 private:
  static constexpr std::size_t longest_read = 256 * 1024;   // longer ones are not copied in place
  static constexpr std::size_t quick_growth = 1024 * 1024;  // fresh memory takes long: beyond this, on the pool

  bool look() {
    for (;;) {
      const bool last = ended_ || stuck();
      if (take(last)) return taken();
      if (last) throw DecodeError(state().path, state().encoding.name, input().unfinished_at());
      size_ = wanted();
      if (file().direct()) size_ = input().align(size_, file().block_size());
      if (input().growth(size_) > quick_growth) return grow();
      if (!read()) return false;
      if (!absorbed()) return true;
    }
  }

  bool grow() {
    growing_ = true;
    return work_on_pool<&InputOperation::allocate>(this);
  }

  void allocate() { larger_ = input().grown(size_); }

  bool read() {
    const auto memory = input().room(size_);
    opcode = caio::Opcode::read;
    to_pool = false;
    whole = false;
    buffer = memory.data();
    length = memory.size();
    offset = -1;
    if (cursor().positional()) {
      length = std::min(length, last_offset - input().next_offset());
      offset = static_cast<std::int64_t>(input().next_offset());
    }
    reading_ = true;
    return transfer();
  }

  bool absorb() { return !absorbed() || look(); }

  /// False: the read has failed.
  bool absorbed() {
    reading_ = false;
    if (result < 0 && moved == 0) return false;
    result = 0;
    ended_ = moved == 0;
    fill();
    return true;
  }

  void fill() {
    Transcoder* const transcoder = input().transcoder();
    if (transcoder == nullptr) return ended_ ? input().ended() : input().filled(moved);
    transcoder->set_order(file().order);  // another cursor may have seen the mark
    const std::uint64_t position = cursor().position();
    try {
      ended_ ? input().ended() : input().filled(moved);
    } catch (...) {                                          // no memory, or no iconv
      if (cursor().positional()) input().restart(position);  // it is read again
      throw;
    }
    file().order = transcoder->order();
  }

  /// What a pipe has given before the operation was destroyed is for the next one.
  void keep() noexcept {
    try {
      if (moved > 0) fill();
    } catch (...) {  // decoding needs memory: then it is lost
    }
  }

  std::size_t size_ = 0;
  Input::Larger larger_;
  bool growing_ = false;
  bool reading_ = false;
  bool ended_ = false;
};

}  // namespace aiofile::inline CAIO_ABI::detail
