#pragma once
// iconv(3), which is part of glibc: conversions, and what its encodings are like.

#include <iconv.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include <aiofile/text.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// A conversion.
class Iconv {
 public:
  Iconv() = default;
  /// Nothing where one of the two is not known.
  Iconv(const char* to, const char* from) : handle_(::iconv_open(to, from)) {
    if (!*this && errno == ENOMEM) throw std::bad_alloc();
  }
  Iconv(Iconv&& other) noexcept : handle_(std::exchange(other.handle_, none())) {}
  Iconv& operator=(Iconv&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Iconv() {
    if (*this) ::iconv_close(handle_);
  }
  explicit operator bool() const noexcept { return handle_ != none(); }

  /// Advances both; gives 0 or the errno: E2BIG, EILSEQ, EINVAL.
  int convert(const char*& input, std::size_t& input_size, char*& output, std::size_t& output_size) noexcept {
    char* unread = const_cast<char*>(input);  // not written to
    const bool failed = ::iconv(handle_, &unread, &input_size, &output, &output_size) == static_cast<std::size_t>(-1);
    input = unread;
    return failed ? errno : 0;
  }
  /// The same with room for `room` bytes at the end of `output`.
  int append(std::string_view& input, std::string& output, std::size_t room) {
    const std::size_t before = output.size();
    output.resize(before + room);
    const char* from = input.data();
    std::size_t left = input.size();
    char* to = output.data() + before;
    const int error = convert(from, left, to, room);
    output.resize(output.size() - room);
    input.remove_prefix(input.size() - left);
    return error;
  }
  /// Writes what leads back to the initial state.
  void finish(char*& output, std::size_t& output_size) noexcept {
    ::iconv(handle_, nullptr, nullptr, &output, &output_size);
  }
  void reset() noexcept { ::iconv(handle_, nullptr, nullptr, nullptr, nullptr); }

 private:
  static ::iconv_t none() noexcept { return reinterpret_cast<::iconv_t>(-1); }

  ::iconv_t handle_ = none();
};

/// The character of one byte, in UTF-8; empty: there is none. Some decoders hold it back, in wait for an accent: that
/// is fetched, and accents stay characters of their own, as they are in the file.
inline std::string decode_byte(Iconv& decode, unsigned byte) {
  const char letter = static_cast<char>(byte);
  std::array<char, 16> text;
  const char* from = &letter;
  char* to = text.data();
  std::size_t left = 1;
  std::size_t room = text.size();
  decode.reset();
  if (decode.convert(from, left, to, room) != 0) return {};
  decode.finish(to, room);
  return {text.data(), text.size() - room};
}

/// Whether each byte is one character, or none by any bytes that may follow.
inline bool is_single_byte(const char* name) {
  Iconv decode("UTF-8", name);
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (count_code_points(decode_byte(decode, byte)) == 1) continue;
    const std::array<char, 2> letters{static_cast<char>(byte), 'a'};
    const char* from = letters.data();
    std::size_t left = 1;
    std::array<char, 16> text;
    char* to = text.data();
    std::size_t room = text.size();
    decode.reset();
    if (decode.convert(from, left, to, room) != EILSEQ) return false;
  }
  return true;
}

/// Whether it can be decoded piece by piece and encoded write by write: not if letters are held back, or a mark is
/// written before each text.
inline bool is_regular(const char* name) {
  Iconv encode(name, "UTF-8");
  Iconv decode("UTF-8", name);
  std::array<char, 32> bytes;
  const char* from = "A";
  char* to = bytes.data();
  std::size_t left = 1;
  std::size_t room = bytes.size();
  if (encode.convert(from, left, to, room) != 0) return false;
  const std::string_view encoded(bytes.data(), bytes.size() - room);
  if (encoded.starts_with("\xff\xfe") || encoded.starts_with("\xfe\xff")) return false;
  std::array<char, 16> text;
  const char* again = bytes.data();
  left = encoded.size();
  to = text.data();
  room = text.size();
  return decode.convert(again, left, to, room) == 0 && std::string_view(text.data(), text.size() - room) == "A";
}

/// With these bytes begin the tags, U+E0000..U+E007F, which glibc leaves out without a word where it cannot encode
/// them.
inline constexpr std::string_view tag_prefix = "\xf3\xa0";

/// The offset of the first character that `encode`, a conversion from UTF-8, leaves out like that; npos: there is none.
inline std::size_t left_out(Iconv& encode, std::string_view text) {
  const auto size_of = [&encode](std::string_view character, int times) {
    std::string bytes;
    encode.reset();
    for (; times > 0; --times) {
      std::string_view left = character;
      encode.append(left, bytes, 32);
    }
    return bytes.size();
  };
  std::size_t at = text.find(tag_prefix);
  // Even where nothing is kept, the encoding may put something before a text: once.
  const auto kept = [&](std::string_view tag) { return size_of(tag, 1) != size_of(tag, 2); };
  while (at != std::string_view::npos && kept(text.substr(at, 4))) at = text.find(tag_prefix, at + 1);
  return at;
}

}  // namespace aiofile::inline CAIO_ABI::detail
