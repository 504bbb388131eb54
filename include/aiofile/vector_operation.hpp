#pragma once
// Reading into, and writing from, any number of pieces of memory at once.

#include <limits.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <aiofile/file_operation.hpp>
#include <caio/config.hpp>
#include <caio/descriptor.hpp>
#include <caio/detail/in_place.hpp>
#include <caio/execute.hpp>
#include <caio/implementation.hpp>
#include <caio/request.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Fills, or writes, one piece after the other: as many of them as one call takes. The rest of one that a count has cut
/// in two is moved by a plain read or write, so that the caller's vectors are never copied.
class [[nodiscard]] VectorOperation final : public FileOperation {
 public:
  VectorOperation(FileRef file, Access access, const char* what, std::span<const ::iovec> pieces, std::uint64_t start)
      : FileOperation(std::move(file), access, what),
        pieces_(pieces),
        position_(start),
        reads_(access == Access::read) {}
  VectorOperation(VectorOperation&&) = default;
  ~VectorOperation() { drop(); }

  std::size_t await_resume() const {
    check();
    return done_;
  }

 private:
  bool begin() noexcept override {
    appends_ = !reads_ && appends();
    return go_on();
  }
  bool proceed() noexcept override { return account() || go_on(); }
  std::uint64_t transferred() const noexcept override { return done_; }

  /// True: it is over.
  bool go_on() noexcept {
    for (;;) {
      consume(0);
      if (pieces_.empty() || (reads_ && position_ == last_offset)) {
        result = 0;
        return true;
      }
      prepare();
      if (!(appends_ ? transfer() : engine().start(*this))) return false;
      if (account()) return true;
    }
  }

  void prepare() noexcept {
    offset = static_cast<std::int64_t>(position_);
    to_pool = false;
    const std::size_t count = vectored();
    if (count > 1) {
      opcode = reads_ ? caio::Opcode::readv : caio::Opcode::writev;
      vectors = pieces_.data();
      length = count;
      whole = append = false;
      return;
    }
    opcode = reads_ ? caio::Opcode::read : caio::Opcode::write;
    buffer = static_cast<std::byte*>(pieces_.front().iov_base) + skip_;
    length = left_of_first();
    if (reads_) length = std::min(length, last_offset - position_);
    whole = true;
    append = appends_ && !descriptor.append();
  }

  /// How many of the first ones are for one call. Streams, O_APPEND on descriptors that lack it, and with O_DIRECT,
  /// where appends do not keep apart, go piece by piece.
  std::size_t vectored() noexcept {
    if (skip_ > 0 || descriptor.kind() == caio::Descriptor::Kind::stream) return 0;
    if (appends_ && (file().direct() || !descriptor.append())) return 0;
    const std::size_t most = std::min(caio::most_bytes_per_step, last_offset - position_);
    std::size_t bytes = 0;
    std::size_t count = 0;
    while (count < pieces_.size() && count < IOV_MAX && pieces_[count].iov_len <= most - bytes) {
      bytes += pieces_[count++].iov_len;
    }
    // A ring copies what is cached where it is submitted, on the context's thread.
    to_pool = count > 1 && bytes > caio::detail::longest_copy && !descriptor.direct() &&
              engine().backend().implementation() == caio::Implementation::uring;
    return count;
  }

  /// Counts what a request has moved. True: it is over.
  bool account() noexcept {
    const bool scalar = is_scalar_transfer();
    const std::size_t count = scalar ? moved : static_cast<std::size_t>(std::max<std::int64_t>(result, 0));
    consume(count);
    done_ += count;
    position_ += count;
    if (result < 0) return true;
    if (scalar ? length == 0 : count > 0) return false;
    if (!reads_) result = -EIO;  // to write nothing for ever would be a loop without an end
    return true;
  }

  [[nodiscard]] std::size_t left_of_first() const noexcept { return pieces_.front().iov_len - skip_; }

  /// The first bytes of what is left are done; empty pieces in front are, too.
  void consume(std::size_t bytes) noexcept {
    while (!pieces_.empty() && bytes >= left_of_first()) {
      bytes -= left_of_first();
      skip_ = 0;
      pieces_ = pieces_.subspan(1);
    }
    skip_ += bytes;
  }

  std::span<const ::iovec> pieces_;
  std::size_t skip_ = 0;  // bytes of the first one that are done
  std::uint64_t position_;
  std::size_t done_ = 0;
  bool reads_;
  bool appends_ = false;
};

}  // namespace aiofile::inline CAIO_ABI::detail
