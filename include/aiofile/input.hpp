#pragma once
// What was read from a file ahead of a position: bytes, or text that has been checked and decoded.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/buffer.hpp>
#include <aiofile/encoding.hpp>
#include <aiofile/text.hpp>
#include <aiofile/transcoder.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

class Input {
 public:
  Input(const Encoding& encoding, bool binary, std::uint64_t position) : binary_(binary), next_(position) {
    if (!binary && encoding.decodes()) transcoder_ = std::make_unique<Transcoder>(encoding);
  }

  /// What may be taken now: bytes, or whole characters in UTF-8. Followed by Buffer::padding bytes that may be read.
  [[nodiscard]] std::string_view content() const noexcept {
    return transcoder_ ? decoded_.view() : std::string_view(bytes_.begin(), content_size_);
  }
  /// content().data()
  [[nodiscard]] const char* begin() const noexcept { return transcoder_ ? decoded_.begin() : bytes_.begin(); }
  /// Changes whenever content() does otherwise than by consume().
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }

  void consume(std::size_t bytes) noexcept {
    if (bytes == 0) return;
    fresh_ = false;
    consumed_ = true;
    if (transcoder_) {
      decoded_.consume(bytes);
    } else {
      bytes_.consume(bytes);
      content_size_ -= bytes;
    }
  }

  /// Takes back the last consume().
  void put_back(std::size_t bytes) noexcept {
    fresh_ = false;
    if (transcoder_) {
      decoded_.put_back(bytes);
    } else {
      bytes_.put_back(bytes);
      content_size_ += bytes;
    }
  }

  /// Behind content() stand bytes that are no text.
  [[nodiscard]] bool invalid() const noexcept { return invalid_; }
  /// Behind content() stands something: the beginning of a character, or what is invalid.
  [[nodiscard]] bool unfinished() const noexcept { return bytes_.size() > content_size_; }
  /// Where that is in the file.
  [[nodiscard]] std::uint64_t unfinished_at() const noexcept {
    return next_ - bytes_.size() + (transcoder_ ? 0 : content_size_);
  }

  /// Where content() begins in the file. Takes as long as there is decoded text, but again only after a consume().
  [[nodiscard]] std::uint64_t position() const noexcept {
    if (!fresh_) find_start();
    return start_;
  }
  /// Forgets everything and goes on there.
  void restart(std::uint64_t position) {
    bytes_.clear();
    decoded_.clear();
    if (transcoder_) transcoder_->restart();
    content_size_ = 0;
    invalid_ = false;
    fresh_ = true;
    start_ = next_ = position;
    ++generation_;
  }
  /// Goes on there, with what is here if possible.
  void seek(std::uint64_t position) {
    const std::uint64_t first = next_ - bytes_.size();
    const bool ahead = !transcoder_ && position >= first && position - first <= content_size_;
    const auto distance = static_cast<std::size_t>(position - first);
    const bool inside = ahead && distance < content_size_;
    if (ahead && (binary_ || !inside || starts_character(bytes_.view()[distance]))) return consume(distance);
    restart(position);
  }

  // ---- filling ---------------------------------------------------------------------------------------------------

  /// Where the file's next bytes stand.
  [[nodiscard]] std::uint64_t next_offset() const noexcept { return next_; }
  /// For a file that is read in blocks: from now on what is read lies in memory as it does in the file, modulo `block`.
  /// Gives how much to read for `bytes`: up to the end of a block, so that the next read begins one.
  std::size_t align(std::size_t bytes, std::size_t block) noexcept {
    bytes_.align(block, next_);
    return bytes + static_cast<std::size_t>((block - (next_ + bytes) % block) % block);
  }

  /// As those of Buffer, for the bytes and for their text.
  struct Larger {
    std::string bytes;
    std::string text;
  };
  [[nodiscard]] std::size_t growth(std::size_t bytes) const noexcept {
    return std::max(bytes_.growth(bytes), transcoder_ ? decoded_.growth(text_size(bytes)) : 0);
  }
  [[nodiscard]] Larger grown(std::size_t bytes) const {
    Larger larger;
    if (bytes_.growth(bytes) > 0) larger.bytes = bytes_.grown(bytes);
    if (transcoder_ && decoded_.growth(text_size(bytes)) > 0) larger.text = decoded_.grown(text_size(bytes));
    return larger;
  }
  void adopt(Larger larger) noexcept {
    ++generation_;
    if (!larger.bytes.empty()) bytes_.adopt(std::move(larger.bytes));
    if (!larger.text.empty()) decoded_.adopt(std::move(larger.text));
  }
  std::span<char> room(std::size_t bytes) {
    ++generation_;
    return bytes_.room(bytes);
  }
  /// That many bytes have come into room().
  void filled(std::size_t bytes) {
    ++generation_;
    bytes_.filled(bytes);
    next_ += bytes;
    if (transcoder_) {
      decode(false);
    } else if (binary_) {
      content_size_ = bytes_.size();
    } else {
      check();
    }
  }

  /// There is nothing more, for now.
  void ended() {
    if (!transcoder_) return;
    if (unfinished() || transcoder_->holds_return()) decode(true);
    if (transcoder_->end() && decoded_.empty()) fresh_ = false;
  }

  // ---- bytes as such ---------------------------------------------------------------------------------------------

  /// All that was read ahead, if the file's bytes are the text's.
  [[nodiscard]] std::string_view bytes() const noexcept { return transcoder_ ? std::string_view() : bytes_.view(); }
  /// Text may begin anew within a character: then it is checked again.
  void consume_bytes(std::size_t bytes) noexcept {
    if (bytes == content_size_ || (bytes < content_size_ && (binary_ || starts_character(bytes_.view()[bytes])))) {
      return consume(bytes);
    }
    fresh_ = false;
    ++generation_;
    bytes_.consume(bytes);
    content_size_ = 0;
    check();
  }

  [[nodiscard]] Transcoder* transcoder() const noexcept { return transcoder_.get(); }

 private:
  /// What so many bytes more become at most, but for encodings that have one byte for more than three.
  [[nodiscard]] std::size_t text_size(std::size_t bytes) const noexcept { return 3 * (bytes_.size() + bytes); }

  static bool starts_character(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80; }

  void find_start() const noexcept {
    start_ = next_ - bytes_.size() - (transcoder_ ? transcoder_->encoded_size(decoded_.view()) : 0);
    fresh_ = true;
  }

  void check() noexcept {
    const Utf8Scan scan = scan_utf8(bytes_.view().substr(content_size_));
    content_size_ += scan.valid;
    invalid_ = content_size_ < bytes_.size() && !scan.truncated;
  }

  void decode(bool last) {
    text_.clear();
    std::string_view left = bytes_.view();
    const bool at_start = next_ == bytes_.size();
    if (std::exchange(consumed_, false)) transcoder_->forget_before(decoded_.view());
    const Transcoder::Outcome outcome = transcoder_->decode(left, at_start, text_, last);
    invalid_ = outcome == Transcoder::Outcome::invalid;
    bytes_.consume(bytes_.size() - left.size());
    if (text_.empty()) return;
    ++generation_;
    decoded_.append(text_);
  }

  bool binary_;
  bool invalid_ = false;
  bool consumed_ = false;  // something whose size the transcoder still knows
  std::unique_ptr<Transcoder> transcoder_;
  Buffer bytes_;                  // as they stand in the file; with a transcoder, those that are not decoded yet
  Buffer decoded_;                // the transcoder's
  std::string text_;              // its latest, kept for its memory
  std::size_t content_size_ = 0;  // of bytes_, without a transcoder
  std::uint64_t next_;
  mutable std::uint64_t start_ = next_;
  mutable bool fresh_ = true;  // content() begins at start_
  std::uint64_t generation_ = 0;
};

}  // namespace aiofile::inline CAIO_ABI::detail
