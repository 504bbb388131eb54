// Fuzz target: parse_mode() against its rules, stated once more.
#include <fcntl.h>

#include <aiofile/mode.hpp>
#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string_view>

#include "fuzz.hpp"

namespace {

std::optional<aiofile::Mode> stated(std::string_view text) {
  const auto number = [&](std::string_view letters) {
    return std::count_if(text.begin(), text.end(), [&](char c) { return letters.find(c) != std::string_view::npos; });
  };
  const auto has = [&](char letter) { return text.find(letter) != std::string_view::npos; };
  const bool known = text.find_first_not_of("rwax+bt") == std::string_view::npos;
  if (!known || number("rwax") != 1 || number("+") > 1 || number("bt") > 1) return std::nullopt;
  aiofile::Mode mode;
  mode.plus = has('+');
  mode.binary = has('b');
  mode.appending = has('a');
  mode.created = has('x');
  mode.readable = has('r') || has('+');
  mode.writable = !has('r') || has('+');
  if (!mode.writable) {
    mode.flags = O_RDONLY;
  } else {
    mode.flags = mode.readable ? O_RDWR : O_WRONLY;
  }
  if (!has('r')) mode.flags |= O_CREAT | (has('w') ? O_TRUNC : has('a') ? O_APPEND : O_EXCL);
  return mode;
}

std::optional<aiofile::Mode> parsed(std::string_view text) {
  try {
    return aiofile::parse_mode(text);
  } catch (const std::invalid_argument&) {
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::Source(data, size).rest();
  fuzz::require(parsed(text) == stated(text), "a mode is what the rules say");
  return 0;
}
