#pragma once
// Mode strings, as Python's open() knows them.

#include <fcntl.h>

#include <stdexcept>
#include <string_view>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

/// What a mode string says.
struct Mode {
  bool readable = false;
  bool writable = false;
  bool appending = false;  ///< 'a': every write goes to the end of the file
  bool created = false;    ///< 'x': the file must not exist yet
  bool plus = false;
  bool binary = false;
  int flags = 0;  ///< for open(2)

  friend constexpr bool operator==(const Mode&, const Mode&) = default;
};

/// Exactly one of r w a x; + and one of b t at most once each; in any order. Text is the default.
/// Throws std::invalid_argument for anything else.
constexpr Mode parse_mode(std::string_view text) {
  Mode mode;
  char kind = 0;
  char content = 0;
  for (const char letter : text) {
    char* place = nullptr;
    switch (letter) {
      case 'r':
      case 'w':
      case 'a':
      case 'x': place = &kind; break;
      case 'b':
      case 't': place = &content; break;
      case '+':
        if (mode.plus) throw std::invalid_argument("aiofile: a mode has '+' at most once");
        mode.plus = true;
        continue;
      default: throw std::invalid_argument("aiofile: a mode consists of r w a x, +, b t");
    }
    if (*place != 0) throw std::invalid_argument("aiofile: a mode has one of r w a x, and at most one of b t");
    *place = letter;
  }
  if (kind == 0) throw std::invalid_argument("aiofile: a mode has one of r w a x");
  mode.readable = kind == 'r' || mode.plus;
  mode.writable = kind != 'r' || mode.plus;
  mode.appending = kind == 'a';
  mode.created = kind == 'x';
  mode.binary = content == 'b';
  mode.flags = mode.readable && mode.writable ? O_RDWR : mode.writable ? O_WRONLY : O_RDONLY;
  if (kind == 'w') mode.flags |= O_CREAT | O_TRUNC;
  if (kind == 'a') mode.flags |= O_CREAT | O_APPEND;
  if (kind == 'x') mode.flags |= O_CREAT | O_EXCL;
  return mode;
}

}  // namespace aiofile::inline CAIO_ABI
