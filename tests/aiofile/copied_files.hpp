#pragma once
// What the tests of copies have in common: contents that show a piece at a wrong place, and what files are.

#include <sys/stat.h>

#include <aiofile/error.hpp>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <system_error>

#include "outcome.hpp"

namespace copied_files {

inline constexpr std::size_t mebi = 1024 * 1024;

/// Of the name itself: a link is not followed.
inline struct ::stat status_of(const std::filesystem::path& path) {
  struct ::stat status {};
  if (::lstat(path.c_str(), &status) != 0) throw std::system_error(errno, std::generic_category(), path);
  return status;
}

inline ::mode_t mode_of(const std::filesystem::path& path) { return status_of(path).st_mode & 07777; }

/// Long text, quickly. Its period is prime: a piece at a wrong place is seen.
inline std::string long_text(std::size_t size, unsigned seed = 0) {
  const std::string period = outcome::pattern(10'007, seed);
  std::string text;
  text.reserve(size);
  while (text.size() < size) text.append(period, 0, size - text.size());
  return text;
}

/// How many entries are in it: what a failed copy leaves is one more.
inline std::size_t entries_of(const std::filesystem::path& directory) {
  using Entries = std::filesystem::directory_iterator;
  return static_cast<std::size_t>(std::distance(Entries(directory), Entries()));
}

/// What goes wrong when `step()` is done, plain code.
template <class Step>
std::optional<aiofile::FileError> failure_of(Step step) {
  try {
    step();
  } catch (const aiofile::FileError& error) {
    return error;
  }
  return std::nullopt;
}

}  // namespace copied_files
