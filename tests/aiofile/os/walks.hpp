#pragma once
// Trees to walk through, and what a walk gives.

#include <fcntl.h>
#include <sys/stat.h>

#include <aiofile/os/walk.hpp>
#include <algorithm>
#include <array>
#include <caio/caio.hpp>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary.hpp"

namespace walks {

namespace os = aiofile::os;
using caio::Task;
using caio::detail::UniqueFd;
using Paths = std::vector<std::string>;

inline Paths sorted(Paths paths) {
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// The entries' paths below `base`, in the walk's order; errors behind a colon.
inline Task<Paths> paths_of(caio::Generator<os::WalkEntry> entries, std::filesystem::path base) {
  Paths paths;
  while (auto entry = co_await entries.next()) {
    paths.push_back(entry->path().native().substr(base.native().size() + 1));
    if (entry->error() != 0) paths.back() += ":" + std::to_string(entry->error());
  }
  co_return paths;
}

/// The same of a walk in `directory`, sorted.
inline Task<Paths> walked(std::filesystem::path directory, os::WalkOptions options = {}) {
  Paths paths = co_await paths_of(os::walk(directory, options), directory);
  co_return sorted(std::move(paths));
}

/// Makes directories (with a slash at the end) and empty files.
inline void make(const support::TemporaryDirectory& directory, const Paths& paths) {
  for (const std::string& path : paths) {
    const std::string_view whole = path;
    std::filesystem::create_directories(directory / whole.substr(0, whole.rfind('/') + 1));
    if (!path.ends_with('/')) directory.file(path, "");
  }
}

inline const Paths small = {"a/", "a/1", "a/2",  "a/b/",   "a/b/3",   "a/b/c/", "a/b/c/4", "a/d/",
                            "e/", "e/5", "e/f/", "e/f/g/", "e/f/g/6", "h/",     "i"};
inline const Paths small_paths = {"a", "a/1", "a/2", "a/b",   "a/b/3",   "a/b/c", "a/b/c/4", "a/d",
                                  "e", "e/5", "e/f", "e/f/g", "e/f/g/6", "h",     "i"};

/// Ways of walking that give the same.
inline const std::array<os::WalkOptions, 3> ways = {{{.parallel = 0}, {.parallel = 1}, {.parallel = 4}}};

/// `depth` directories, each named `name` and in the one before. In each, `beside(fd, level)` makes more.
template <class Function>
void make_deep(const std::filesystem::path& path, const std::string& name, int depth, Function beside) {
  UniqueFd here(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int level = 0; level < depth; ++level) {
    beside(here.get(), level);
    REQUIRE(::mkdirat(here.get(), name.c_str(), 0700) == 0);
    here = UniqueFd(::openat(here.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(here);
  }
  beside(here.get(), depth);
}

inline void make_file(int directory, const char* name) {
  const UniqueFd file(::openat(directory, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(file);
}

}  // namespace walks
