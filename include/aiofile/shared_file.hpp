#pragma once
// What the handles of an open file share: the descriptor, the operations in flight, and the order of syncs.

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>

#include <aiofile/aligned.hpp>
#include <aiofile/block_pieces.hpp>
#include <aiofile/encoding.hpp>
#include <aiofile/mode.hpp>
#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/detail/list.hpp>
#include <caio/engine.hpp>
#include <caio/request.hpp>
#include <caio/system.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// An operation's place in its file's list of those in flight.
struct InFlight : caio::detail::Link {
  caio::Request* request = nullptr;
  std::uint64_t sequence = 0;  // of a write: syncs wait for the smaller ones
};

/// An open descriptor with all that its owners do with it. Used on the context's thread.
struct OpenFile {
  caio::Descriptor descriptor;
  bool borrowed = false;      // never closed by us
  bool own_position = false;  // streams read and write where the descriptor stands, as all who share it do
  unsigned owners = 0;        // handles that are open

  std::uint64_t changes = 0;            // grows when something begins or ends to change the file through us
  ByteOrder order = ByteOrder::little;  // as the byte-order mark says that was read
  caio::detail::List<InFlight> writes;  // in the order they were started
  caio::detail::List<InFlight> others;
  std::uint64_t last_write = 0;
  caio::RequestList closers;     // a close() that waits until nothing is in flight
  bool close_when_idle = false;  // that close() was destroyed

  caio::RequestList syncs;          // wait for their turn; `length` is the last write that each covers
  caio::RequestList joined;         // take part in the sync that runs
  caio::Request* leader = nullptr;  // the one that runs it
  int sync_error = 0;               // of a failed sync: the kernel reports it once and then forgets

  caio::Descriptor cached;                    // of an O_DIRECT file: without that, for parts of blocks; always ours
  std::unique_ptr<BlockPieces> spare_pieces;  // from one transfer to the next
  Alignment known_alignment{0, 0};

  /// O_DIRECT on a file with blocks. (A pipe's O_DIRECT means packets.)
  [[nodiscard]] bool direct() const noexcept {
    return descriptor.direct() && descriptor.kind() != caio::Descriptor::Kind::stream;
  }
  /// What its transfers have to be multiples of. Asks once.
  [[nodiscard]] Alignment alignment() noexcept {
    if (known_alignment.offset == 0) known_alignment = direct() ? direct_alignment(descriptor) : Alignment{};
    return known_alignment;
  }
  /// In what it is read ahead and gathered.
  [[nodiscard]] std::size_t block_size() noexcept { return BlockPieces::block_size(alignment()); }

  [[nodiscard]] bool idle() const noexcept { return writes.empty() && others.empty(); }
  /// Whether all writes up to `sequence` have ended.
  [[nodiscard]] bool written(std::uint64_t sequence) const noexcept {
    return writes.empty() || writes.front().sequence > sequence;
  }
  /// Lets the oldest sync begin whose writes have ended, unless one runs.
  void wake_sync(caio::Engine& engine) noexcept {
    if (leader != nullptr || syncs.empty() || !written(syncs.front().length)) return;
    leader = &syncs.front();
    engine.unpark(*leader);
  }
  /// Lets a close() begin that has waited for what has ended now.
  void when_idle(caio::Engine& engine) noexcept {
    if (!idle()) return;
    if (!closers.empty()) engine.unpark(closers.front());
    if (close_when_idle) close(&engine);
  }
  /// Lets go of the descriptor at once. For destructors.
  void close(caio::Engine* engine) noexcept {
    const caio::Descriptor closed = std::exchange(descriptor, caio::Descriptor());
    if (!borrowed && closed.fileno() >= 0) engine->close_at_once(closed);
    const caio::Descriptor other = std::exchange(cached, caio::Descriptor());
    if (other.fileno() >= 0) engine->close_at_once(other);
  }
};

/// One handle's state: AIOFile, its operations, readers and writers hold it together. One allocation per open.
class FileState {
 public:
  enum class Life : std::uint8_t { fresh, opening, open, closing, closed };

  FileState(std::filesystem::path name, const Mode& parsed, Encoding found)
      : path(std::move(name)), mode(parsed), encoding(std::move(found)), file(&own_) {}
  FileState(const FileState&) = delete;
  FileState& operator=(const FileState&) = delete;

  ~FileState() {
    if (life == Life::open && --file->owners == 0) file->close(engine.get());
    if (life == Life::closing) file->close(engine.get());  // its close() was destroyed on the way
  }

  const std::filesystem::path path;
  const Mode mode;
  const Encoding encoding;
  const bool decodes = !mode.binary && encoding.decodes();  // what is read has to be converted
  const bool encodes = !mode.binary && encoding.encodes();  // what is written has
  /// What a line ends with when it has been read.
  [[nodiscard]] std::string_view line_end() const noexcept { return mode.binary ? "\n" : encoding.line_end(); }

  /// For what needs no open(): it is open from now on, with one owner.
  void opened(std::shared_ptr<caio::Engine> by, const caio::Descriptor& descriptor, bool borrowed) noexcept {
    engine = std::move(by);
    file->descriptor = descriptor;
    file->borrowed = borrowed;
    file->owners = 1;
    life = Life::open;
  }

  int extra_flags = 0;
  ::mode_t permissions = 0666;
  std::shared_ptr<caio::Engine> engine;  // from open() on, or as the options say
  OpenFile* file;                        // a clone's is its origin's
  Life life = Life::fresh;
  caio::RequestList waiting;  // for the end of opening or closing

 private:
  friend class FileRef;

  std::atomic<unsigned> references_{0};
  FileState* origin_ = nullptr;  // whose own_ a clone uses
  OpenFile own_;
};

/// A counted reference.
class FileRef {
 public:
  FileRef() = default;
  explicit FileRef(FileState* state) noexcept : state_(state) { retain(); }
  FileRef(const FileRef& other) noexcept : state_(other.state_) { retain(); }
  FileRef(FileRef&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  FileRef& operator=(FileRef other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~FileRef() {
    if (state_ != nullptr) release(state_);
  }

  FileState& operator*() const noexcept { return *state_; }
  FileState* operator->() const noexcept { return state_; }
  explicit operator bool() const noexcept { return state_ != nullptr; }

  /// Another owner of the descriptor of an open file.
  [[nodiscard]] FileRef clone() const {
    FileState& origin = state_->origin_ != nullptr ? *state_->origin_ : *state_;
    auto copy = std::make_unique<FileState>(state_->path, state_->mode, state_->encoding);
    copy->engine = state_->engine;
    copy->file = state_->file;
    copy->life = FileState::Life::open;
    ++copy->file->owners;
    origin.references_.fetch_add(1, std::memory_order_relaxed);
    copy->origin_ = &origin;
    return FileRef(copy.release());
  }

 private:
  void retain() const noexcept {
    if (state_ != nullptr) state_->references_.fetch_add(1, std::memory_order_relaxed);
  }

  static void release(FileState* state) noexcept {
    if (state->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(state);
  }

  static void destroy(FileState* state) noexcept {
    FileState* const origin = state->origin_;
    delete state;  // before its origin, whose descriptor it uses
    if (origin != nullptr) release(origin);
  }

  FileState* state_ = nullptr;
};

}  // namespace aiofile::inline CAIO_ABI::detail
