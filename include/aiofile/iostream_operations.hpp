#pragma once
// What an IostreamFile does: a standard stream's blocking calls, on threads of the pool.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ios>
#include <span>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <aiofile/cursor_operation.hpp>
#include <aiofile/error.hpp>
#include <aiofile/iostream_cursor.hpp>
#include <aiofile/shared_file.hpp>
#include <aiofile/whence.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Works on the stream piece by piece, on threads of the pool. A thread may be about to call perform(): every derived
/// class calls drop() in its own destructor.
class IostreamOperation : public CursorOperation {
 protected:
  IostreamOperation(CursorRef cursor, Access access, const char* what)
      : CursorOperation(std::move(cursor), access, what), what_(what) {}
  IostreamOperation(IostreamOperation&&) = default;
  ~IostreamOperation() {
    drop();
    if (working_) stream().lost();
  }

  /// A piece. True: the last one.
  virtual bool perform() = 0;

  static constexpr std::size_t piece = 1024 * 1024;

  [[nodiscard]] IostreamCursor& stream() const noexcept { return static_cast<IostreamCursor&>(cursor()); }
  [[nodiscard]] const char* what() const noexcept { return what_; }

  bool first() override {
    position_ = cursor().position();
    working_ = true;
    return go_on();
  }
  bool next() override {
    if (result >= 0 && !error_) {
      if (!finished_) return go_on();
      cursor().input.restart(position_);
    } else {
      stream().lost();
    }
    working_ = false;
    return true;
  }

  std::size_t get(char* to, std::size_t size) {
    std::streambuf& from = stream().buffer_at(position_, std::ios::in, what_);
    const auto count = static_cast<std::size_t>(from.sgetn(to, static_cast<std::streamsize>(size)));
    position_ += count;
    return count;
  }
  std::size_t put(std::string_view bytes) {
    std::streambuf& to = stream().buffer_at(position_, std::ios::out, what_);
    const auto count = static_cast<std::size_t>(to.sputn(bytes.data(), static_cast<std::streamsize>(bytes.size())));
    position_ += count;
    return count;
  }

  std::uint64_t position_ = 0;

 private:
  bool go_on() { return work_on_pool<&IostreamOperation::work>(this) && next(); }

  void work() {
    try {
      finished_ = perform();
    } catch (const std::ios_base::failure& failure) {  // of the buffer: libstdc++ says why
      const bool known = failure.code().category() != std::iostream_category();
      throw FileError(what_, state().path, known ? failure.code().value() : EIO);
    }
  }

  const char* what_;
  bool working_ = false;
  bool finished_ = false;
};

class [[nodiscard]] IostreamReadInto final : public IostreamOperation {
 public:
  IostreamReadInto(CursorRef cursor, std::span<std::byte> memory)
      : IostreamOperation(std::move(cursor), Access::read, "read"), memory_(memory) {}
  IostreamReadInto(IostreamReadInto&&) = default;
  ~IostreamReadInto() { drop(); }

  std::size_t await_resume() const {
    check();
    return count_;
  }

 private:
  bool perform() override {
    const std::size_t size = std::min(memory_.size() - count_, piece);
    char* const place = reinterpret_cast<char*>(memory_.data()) + count_;
    const std::size_t got = get(place, size);
    count_ += got;
    return got < size || count_ == memory_.size();
  }

  std::span<std::byte> memory_;
  std::size_t count_ = 0;
};

class [[nodiscard]] IostreamRead final : public IostreamOperation {
 public:
  /// `most` bytes.
  IostreamRead(CursorRef cursor, std::size_t most)
      : IostreamOperation(std::move(cursor), Access::read, "read"), most_(most) {}
  IostreamRead(IostreamRead&&) = default;
  ~IostreamRead() { drop(); }

  std::string await_resume() {
    check();
    return std::move(data_);
  }

 private:
  static constexpr std::size_t first_piece = 16 * 1024;

  bool perform() override {
    const std::size_t before = data_.size();
    const std::size_t size = std::min(most_ - before, std::clamp(before, first_piece, piece));
    data_.resize(before + size);
    const std::size_t got = get(&data_[before], size);
    data_.resize(before + got);
    return got < size || data_.size() == most_;
  }

  std::size_t most_;
  std::string data_;
};

/// Writes all of `source`, a view or a string that is taken over.
template <class Source>
class [[nodiscard]] IostreamWrite final : public IostreamOperation {
 public:
  IostreamWrite(CursorRef cursor, Source source)
      : IostreamOperation(std::move(cursor), Access::write, "write"), source_(std::move(source)) {}
  IostreamWrite(IostreamWrite&&) = default;
  ~IostreamWrite() { drop(); }

  std::size_t await_resume() const {
    check();
    return source_.size();
  }

 private:
  bool perform() override {
    const std::string_view rest = std::string_view(source_).substr(count_, piece);
    errno = 0;
    const std::size_t taken = put(rest);
    count_ += taken;
    if (taken < rest.size()) throw FileError(what(), state().path, errno != 0 ? errno : EIO, count_);
    return count_ == source_.size();
  }

  Source source_;
  std::size_t count_ = 0;
};

class [[nodiscard]] IostreamSeek final : public IostreamOperation {
 public:
  IostreamSeek(CursorRef cursor, std::int64_t distance, Whence whence)
      : IostreamOperation(std::move(cursor), Access::any, "seek"), distance_(distance), whence_(whence) {}
  IostreamSeek(IostreamSeek&&) = default;
  ~IostreamSeek() { drop(); }

  std::uint64_t await_resume() const {
    check();
    return position_;
  }

 private:
  bool perform() override {
    if (!stream().seeks()) throw FileError(what(), state().path, ESPIPE);
    std::uint64_t from = whence_ == Whence::current ? position_ : 0;
    if (whence_ == Whence::end) from = end();
    const std::uint64_t target = from + static_cast<std::uint64_t>(distance_);
    if (target > last_offset) throw std::invalid_argument("aiofile::IostreamFile::seek: to a negative position");
    stream().move_all(target, what());
    position_ = target;
    return true;
  }

  std::uint64_t end() {
    stream().lost();
    const std::ios::openmode which = state().mode.readable ? std::ios::in : std::ios::out;
    const std::streamoff found = stream().buffer(what()).pubseekoff(0, std::ios::end, which);
    if (found < 0) throw FileError(what(), state().path, ESPIPE);
    return static_cast<std::uint64_t>(found);
  }

  std::int64_t distance_;
  Whence whence_;
};

class [[nodiscard]] IostreamFlush : public IostreamOperation {
 public:
  explicit IostreamFlush(CursorRef cursor, const char* what = "flush")
      : IostreamOperation(std::move(cursor), Access::any, what) {}
  IostreamFlush(IostreamFlush&&) = default;
  ~IostreamFlush() { drop(); }

  void await_resume() const { check(); }

 private:
  bool perform() override {
    if (state().mode.writable) position_ = stream().flush(position_, what());
    return true;
  }
};

/// Flushes, and lets nothing follow, in any case.
class [[nodiscard]] IostreamClose final : public IostreamFlush {
 public:
  explicit IostreamClose(CursorRef cursor) : IostreamFlush(std::move(cursor), "close") { uncancellable = true; }
  IostreamClose(IostreamClose&&) = default;
  ~IostreamClose() {
    drop();
    if (begun_) state().life = FileState::Life::closed;
  }

  void await_resume() const {
    state().life = FileState::Life::closed;
    if (begun_) check();
  }

 private:
  bool first() override {
    begun_ = true;
    return IostreamFlush::first();
  }
  bool next() override {
    state().life = FileState::Life::closed;
    return IostreamFlush::next();
  }

  bool begun_ = false;  // else it was closed before
};

}  // namespace aiofile::inline CAIO_ABI::detail
