#pragma once
// A place in a file that moves as one reads and writes: what readers, writers and streams are handles of.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <aiofile/block_transfer.hpp>
#include <aiofile/device.hpp>
#include <aiofile/input.hpp>
#include <aiofile/output.hpp>
#include <aiofile/shared_file.hpp>
#include <caio/config.hpp>
#include <caio/detail/list.hpp>
#include <caio/detail/streams.hpp>
#include <caio/engine.hpp>
#include <caio/execute.hpp>

namespace aiofile::inline CAIO_ABI::detail {

class Cursor;
using CursorRef = std::shared_ptr<Cursor>;

/// An operation's turn with its cursor: they run one after the other, in the order they were started.
class Turn : public caio::detail::Link {
 public:
  explicit Turn(CursorRef cursor) noexcept : cursor_(std::move(cursor)) {}
  Turn(Turn&&) = default;

  [[nodiscard]] Cursor& cursor() const noexcept { return *cursor_; }
  /// Whether it has come.
  [[nodiscard]] inline bool taken() const noexcept;

  /// True: the turn is ours. False: the request is parked until it is.
  inline bool take(caio::Engine& engine, caio::Request& request) noexcept;
  /// Gives the turn, or the place in the queue, to the next. Does nothing without one.
  inline void end(caio::Engine& engine);
  /// Cancels who has the turn, unless it is immune, and who waits for it.
  inline void cancel_others(caio::Engine& engine) noexcept;
  void set_immune() noexcept { immune_ = true; }

 private:
  friend Cursor;

  CursorRef cursor_;
  caio::Request* request_ = nullptr;
  bool immune_ = false;
  std::optional<std::uint64_t> seek_;  // called for while this one was the last
};

/// Shared by the handles and their operations, and used on the context's thread.
class Cursor {
 public:
  /// `chunk`: bytes to read ahead; 0: more as reading goes on. `buffering`: bytes of writes to gather.
  Cursor(FileRef state, std::uint64_t position, std::size_t chunk, std::size_t buffering)
      : file(std::move(state)),
        input(file->encoding, file->mode.binary, position),
        chunk_(std::min(chunk, most_at_once)),
        buffering_(buffering) {}
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  ~Cursor() {
    if (output.empty() || file->engine->inherited()) return;  // a forked child's are the parent's bytes, too
    const int error = deliver_at_once();
    if (!output.empty() && !output.reported()) report(*file->engine, error);
  }

  const FileRef file;
  Input input;
  Output output;
  /// What is read and written instead of the file, if it is no file.
  std::unique_ptr<Device> device;

  /// Longer reads gain nothing, and the memory for one is there before its data.
  static constexpr std::size_t most_at_once = 1024 * 1024;

  [[nodiscard]] std::size_t buffering() const noexcept { return buffering_; }

  /// Where the next read or write takes place, in bytes.
  [[nodiscard]] std::uint64_t position() noexcept {
    settle();
    return input.position();
  }

  /// A pipe, terminal or the like, where one may have to wait for the other side.
  [[nodiscard]] bool is_stream() const noexcept {
    return file->file->descriptor.kind() == caio::Descriptor::Kind::stream;
  }
  /// Whether it makes a difference: else what was read ahead is never dropped.
  [[nodiscard]] bool positional() const noexcept { return !is_stream() && !file->file->own_position; }

  [[nodiscard]] bool seekable() const noexcept {
    const int fd = file->file->descriptor.fileno();
    return fd >= 0 && (positional() || (!file->file->own_position && ::lseek(fd, 0, SEEK_CUR) >= 0));
  }
  [[nodiscard]] bool is_terminal() const noexcept {
    return is_stream() && ::isatty(file->file->descriptor.fileno()) == 1;
  }
  void seek(std::uint64_t position) {
    settle();
    refresh();
    input.seek(position);
    ahead_ = first_ahead;
  }
  /// The same behind the operations that were started.
  void seek_in_turn(std::uint64_t position) {
    if (turns_.empty()) return seek(position);
    turns_.back().seek_ = position;
  }

  /// Where the next write goes.
  [[nodiscard]] std::uint64_t write_position() const noexcept {
    return file->mode.appending && output.empty() ? end() : input.position();
  }
  /// Whether the output has room for so many bytes from here.
  [[nodiscard]] bool takes(std::size_t size) const noexcept {
    return output.takes(size, positional() ? input.position() : output.end(), buffering_);
  }
  /// How much of the output may wait for `size` more bytes from here: on an O_DIRECT file, what is no whole block yet.
  [[nodiscard]] std::size_t keeps(std::size_t size) const noexcept {
    OpenFile& open = *file->file;
    if (!open.direct() || file->mode.appending || input.position() != output.end()) return 0;
    const std::size_t rest = output.end() % open.block_size();
    return rest < output.bytes().size() && rest + size <= buffering_ ? rest : 0;
  }
  void add(std::string_view bytes) {
    const std::uint64_t position = write_position();
    if (file->file->direct()) output.align(file->file->block_size(), output.empty() ? position : output.end());
    output.add(bytes, position);
    move(output.end(), bytes.size());
  }
  /// Adds text to the output without an operation. False: it needs one.
  bool gather(std::string_view text) {
    if (text.size() > buffering_ || !idle() || !file->mode.writable || file->encodes) return false;
    settle();
    refresh();
    if (text.empty() || !takes(text.size())) return false;
    add(text);
    return true;
  }
  /// `count` bytes were written to the file.
  void wrote(std::size_t count) { move(file->mode.appending ? end() : input.position() + count, count); }

  /// Drops what was read ahead if the file has been changed through us since then.
  void refresh() {
    if (changes_ == file->file->changes) return;
    changes_ = file->file->changes;
    if (positional()) input.restart(input.position());
  }

  /// How much to read next.
  [[nodiscard]] std::size_t ahead() noexcept {
    if (chunk_ != 0) return chunk_;
    return std::exchange(ahead_, std::min(2 * ahead_, most_ahead));
  }

  /// Brings the output to the file without waiting, for a destructor or when the context has ended. What stays in the
  /// output has met with the error that it gives.
  int deliver_at_once() noexcept {
    caio::Engine& engine = *file->engine;
    caio::Request request;
    request.opcode = caio::Opcode::write;
    OpenFile& open = *file->file;
    request.descriptor = open.direct() ? BlockTransfer::cached_at_once(open) : open.descriptor;
    request.append = file->mode.appending && !request.descriptor.append();
    request.result = file->life == FileState::Life::open ? 0 : -EBADF;
    while (request.result >= 0 && !output.empty()) {
      request.buffer = const_cast<char*>(output.bytes().data());
      request.length = output.bytes().size();
      request.offset = positional() ? static_cast<std::int64_t>(output.offset()) : -1;
      if (!is_stream()) {
        engine.at_once(request);
        if (request.result == 0) request.result = -EIO;
      } else if (!caio::detail::stream_is_ready(request) || !caio::detail::transfer_nowait(request)) {
        request.result = -EAGAIN;  // nobody waits here for whoever reads a pipe
      }
      if (request.result > 0) output.written(static_cast<std::size_t>(request.result));
    }
    return request.result < 0 ? static_cast<int>(-request.result) : 0;
  }

  /// Whether what is here may be taken without an operation. False on other threads, which may look at nothing more.
  [[nodiscard]] bool at_hand() noexcept {
    if (!idle() || !output.empty() || changes_ != file->file->changes) return false;
    settle();
    return true;
  }

  /// For one who takes many small pieces of what is at hand: from now on it only says up to where it has taken, and
  /// that is consumed when somebody else uses the cursor.
  void begin_taking(const void* taker) noexcept {
    taker_ = taker;
    taken_to_ = input.begin();
  }
  /// Whether that is so, and what is here may be taken still.
  [[nodiscard]] bool taking(const void* taker) const noexcept {
    return file_is_open_here() && taker_ == taker && changes_ == file->file->changes;
  }
  void taken(const char* to) noexcept { taken_to_ = to; }

 private:
  friend Turn;

  /// Open, on the context's own thread, and nobody has the turn.
  [[nodiscard]] bool idle() const noexcept { return file->engine && file_is_open_here() && turns_.empty(); }

  [[nodiscard]] bool file_is_open_here() const noexcept {
    return file->engine->working_here() && file->life == FileState::Life::open;
  }

  /// Ends the taking; whoever has or needs no turn does so first.
  void settle() noexcept {
    if (taker_ == nullptr) return;
    taker_ = nullptr;
    input.consume(static_cast<std::size_t>(taken_to_ - input.begin()));
  }

  static constexpr std::size_t first_ahead = 8 * 1024;
  static constexpr std::size_t most_ahead = 64 * 1024;

  void move(std::uint64_t position_in_file, std::size_t count) {
    if (positional()) return input.restart(position_in_file);
    // What was read ahead from a terminal stays; who only writes to a pipe counts bytes.
    if (!file->mode.readable) input.restart(input.position() + count);
  }

  [[nodiscard]] std::uint64_t end() const noexcept {
    const bool sized = positional() && file->engine != nullptr;
    const std::int64_t size = sized ? file->engine->size_at_once(file->file->descriptor) : -1;
    return size >= 0 ? static_cast<std::uint64_t>(size) : input.position();
  }

  void report(caio::Engine& engine, int error) noexcept {
    try {
      const caio::LostData lost{file->path.string(), output.bytes().size(), {error, std::system_category()}};
      if (engine.on_lost_data) return engine.on_lost_data(lost);
      std::fprintf(stderr, "aiofile: %s: %llu bytes lost: %s\n", lost.path.c_str(),
                   static_cast<unsigned long long>(lost.bytes), lost.error.message().c_str());
    } catch (...) {  // a destructor has nobody to tell
    }
  }

  std::size_t chunk_;
  std::size_t ahead_ = first_ahead;
  std::size_t buffering_;
  std::uint64_t changes_ = 0;
  const void* taker_ = nullptr;
  const char* taken_to_ = nullptr;  // the taker's
  caio::detail::List<Turn> turns_;  // in order; the first one's operation runs
  caio::RequestList waiting_;       // those of the others
};

inline bool Turn::taken() const noexcept { return linked() && &cursor_->turns_.front() == this; }

inline bool Turn::take(caio::Engine& engine, caio::Request& request) noexcept {
  request_ = &request;
  cursor_->settle();
  cursor_->turns_.push_back(*this);
  if (taken()) return true;
  engine.park(request, cursor_->waiting_);
  return false;
}

inline void Turn::end(caio::Engine& engine) {
  if (!linked()) return;
  const bool ran = taken();
  if (seek_ && ran) cursor_->seek(*seek_);
  if (seek_ && !ran) static_cast<Turn*>(previous)->seek_ = seek_;
  unlink();
  if (!ran || cursor_->turns_.empty()) return;
  caio::Request& heir = *cursor_->turns_.front().request_;
  if (heir.stage == caio::Request::Stage::parked) engine.unpark(heir);  // else it has been cancelled, and will see so
}

inline void Turn::cancel_others(caio::Engine& engine) noexcept {
  if (cursor_->turns_.empty()) return;
  const Turn& front = cursor_->turns_.front();
  if (!front.immune_) engine.cancel(*front.request_);
  caio::RequestList others;
  while (!cursor_->waiting_.empty()) {
    caio::Request& other = cursor_->waiting_.pop_front();
    others.push_back(other);
    engine.cancel(other);
  }
  cursor_->waiting_.append(others);
}

}  // namespace aiofile::inline CAIO_ABI::detail
