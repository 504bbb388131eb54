#pragma once
// What becomes of text that is none, and of the ends of lines, as Python's open() has it.

#include <concepts>
#include <cstdint>
#include <string_view>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

/// What becomes of bytes that are no text in a file's encoding, and of characters that it cannot express. One of the
/// constants, or its name: "replace".
class Errors {
 public:
  static const Errors strict;   ///< DecodeError, EncodeError
  static const Errors replace;  ///< U+FFFD when reading, '?' when writing
  static const Errors ignore;   ///< they are left out

  /// Any word; a file opened with an unknown one is std::invalid_argument.
  template <std::convertible_to<std::string_view> Word>
  constexpr Errors(const Word& word) noexcept : kind_(find(word)) {}

  [[nodiscard]] constexpr bool known() const noexcept { return kind_ != Kind::unknown; }
  friend constexpr bool operator==(Errors, Errors) noexcept = default;

 private:
  enum class Kind : std::uint8_t { unknown, strict, replace, ignore };

  static constexpr Kind find(std::string_view word) noexcept {
    if (word == "strict") return Kind::strict;
    if (word == "replace") return Kind::replace;
    return word == "ignore" ? Kind::ignore : Kind::unknown;
  }

  Kind kind_;
};

inline constexpr Errors Errors::strict = "strict";
inline constexpr Errors Errors::replace = "replace";
inline constexpr Errors Errors::ignore = "ignore";

/// How lines end in a text file. One of the constants, its name ("universal"), "\n" or "\r\n".
class Newline {
 public:
  /// Lines end with '\n', and nothing is translated; the same as "\n".
  static const Newline none;
  /// Reading: "\r\n" and '\r' become '\n'. Writing: nothing is translated.
  static const Newline universal;
  /// "\r\n". Reading: lines end with that only, and nothing is translated. Writing: '\n' becomes "\r\n".
  static const Newline crlf;

  /// Any word; a file opened with an unknown one is std::invalid_argument.
  template <std::convertible_to<std::string_view> Word>
  constexpr Newline(const Word& word) noexcept : kind_(find(word)) {}

  [[nodiscard]] constexpr bool known() const noexcept { return kind_ != Kind::unknown; }
  friend constexpr bool operator==(Newline, Newline) noexcept = default;

 private:
  enum class Kind : std::uint8_t { unknown, none, universal, crlf };

  static constexpr Kind find(std::string_view word) noexcept {
    if (word == "none" || word == "\n") return Kind::none;
    if (word == "universal") return Kind::universal;
    return word == "\r\n" ? Kind::crlf : Kind::unknown;
  }

  Kind kind_;
};

inline constexpr Newline Newline::none = "none";
inline constexpr Newline Newline::universal = "universal";
inline constexpr Newline Newline::crlf = "\r\n";

}  // namespace aiofile::inline CAIO_ABI
