#pragma once
// Which backends this build and this machine have, which one is preferred, and why not the others.

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <caio/backend.hpp>
#include <caio/backends/blocking.hpp>
#include <caio/backends/thread_pool.hpp>
#include <caio/config.hpp>
#include <caio/implementation.hpp>
#include <caio/options.hpp>
#if CAIO_WITH_LIBURING
#include <caio/backends/uring.hpp>
#endif
#if CAIO_WITH_LIBAIO
#include <caio/backends/linux_aio.hpp>
#endif

namespace caio::inline CAIO_ABI {

namespace detail {

inline std::unique_ptr<Backend> construct_backend(Implementation implementation,
                                                  [[maybe_unused]] const ContextOptions& options) {
  switch (implementation) {
#if CAIO_WITH_LIBURING
    case Implementation::uring: return std::make_unique<UringBackend>(options);
#endif
#if CAIO_WITH_LIBAIO
    case Implementation::linux_aio: return std::make_unique<LinuxAioBackend>(options);
#endif
    case Implementation::thread: return std::make_unique<ThreadPoolBackend>();
    case Implementation::blocking: return std::make_unique<BlockingBackend>();
    default: break;
  }
  throw std::system_error(ENOSYS, std::system_category(), "not compiled in");
}

/// Why a backend cannot be used; code 0: it can.
struct Obstacle {
  int code = 0;
  std::string reason;
};

inline Obstacle try_backend(Implementation implementation) {
  try {
    switch (implementation) {
      case Implementation::uring:
#if CAIO_WITH_LIBURING
        UringBackend::probe();
        break;
#else
        return {ENOSYS, "not compiled in: build with -DCAIO_WITH_LIBURING=1 -luring (Debian: liburing-dev)"};
#endif
      case Implementation::linux_aio:
#if CAIO_WITH_LIBAIO
        LinuxAioBackend::probe();
        break;
#else
        return {ENOSYS, "not compiled in: build with -DCAIO_WITH_LIBAIO=1 -laio (Debian: libaio-dev)"};
#endif
      default: break;
    }
    return {};
  } catch (const std::system_error& error) {
    const int code = error.code().value();
    std::string reason = std::string(error.what()) + " (errno " + std::to_string(code) + ")";
    if (code == EPERM || code == EACCES) {
      reason += "; allow it in the seccomp profile of the container, and see sysctl kernel.io_uring_disabled";
    } else if (code == ENOSYS) {
      reason += "; the kernel, or a seccomp profile, does not offer it";
    } else if (code == ENOMEM) {
      reason += "; raise RLIMIT_MEMLOCK (ulimit -l)";
    } else if (code == EAGAIN && implementation == Implementation::linux_aio) {
      reason += "; raise /proc/sys/fs/aio-max-nr";
    } else if (code == EMFILE) {
      reason += "; raise RLIMIT_NOFILE (ulimit -n)";
    }
    return {code, reason};
  }
}

/// The answers of the probes, each asked once.
class Probes {
 public:
  static Obstacle of(Implementation implementation) {
    const std::lock_guard lock(mutex_);
    std::optional<Obstacle>& answer = answers_[static_cast<std::size_t>(implementation)];
    if (!answer) answer = try_backend(implementation);
    return *answer;
  }
  /// For tests that change what the probes see.
  static void forget() {
    const std::lock_guard lock(mutex_);
    answers_ = {};
  }

 private:
  static inline std::mutex mutex_;
  static inline std::array<std::optional<Obstacle>, implementations.size()> answers_;
};

/// The value of CAIO_IMPL, "" when not set.
inline std::string requested_word() {
  const char* const word = std::getenv("CAIO_IMPL");
  return word == nullptr ? "" : word;
}

/// Some sandboxes kill a program for trying io_uring: whoever names another backend is not exposed to that.
inline Obstacle obstacle(Implementation implementation) {
  if (implementation == Implementation::uring) {
    const std::string word = requested_word();
    const auto named = implementation_named(word);
    if (named && *named != Implementation::uring) return {ECANCELED, "not probed (CAIO_IMPL=" + word + ")"};
  }
  return Probes::of(implementation);
}

inline std::optional<Implementation> from_file(const char* path) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    for (std::string word; words >> word;) {
      const auto named = implementation_named(word);
      if (named && obstacle(*named).code == 0) return named;
    }
  }
  return std::nullopt;
}

}  // namespace detail

/// The backends that can be used here and now, best first. io_uring is left out, and not even tried, where CAIO_IMPL
/// names another one.
[[nodiscard]] inline std::vector<Implementation> available() {
  std::vector<Implementation> usable;
  for (const Implementation implementation : implementations) {
    if (detail::obstacle(implementation).code == 0) usable.push_back(implementation);
  }
  return usable;
}

/// "" when it is available; else a sentence with the errno and the remedy, or "not probed (CAIO_IMPL=thread)".
[[nodiscard]] inline std::string why_unavailable(Implementation implementation) {
  const detail::Obstacle obstacle = detail::obstacle(implementation);
  return obstacle.code == 0 ? "" : obstacle.reason;
}

namespace detail {

inline std::string complaint(const std::string& word, const std::string& reason) {
  std::string text = "caio: CAIO_IMPL=" + word + ": " + reason + "; available:";
  for (const Implementation implementation : available()) text += " " + std::string(name(implementation));
  return text;
}

/// One line on stderr for each word, however many contexts are made.
inline void complain_once(const std::string& text) {
  static std::mutex mutex;
  static std::vector<std::string> said;
  const std::lock_guard lock(mutex);
  for (const std::string& before : said) {
    if (before == text) return;
  }
  said.push_back(text);
  std::fprintf(stderr, "%s\n", text.c_str());
}

}  // namespace detail

/// CAIO_IMPL, else the first usable word of the file CAIO_DEFAULT_IMPLEMENTATION_FILE, else the best that is available.
/// A CAIO_IMPL that is unknown or unavailable gives one line on stderr and the best one; with CAIO_STRICT=1 it is a
/// std::runtime_error.
[[nodiscard]] inline Implementation preferred() {
  const std::string word = detail::requested_word();
  if (!word.empty()) {
    const auto named = detail::implementation_named(word);
    const std::string reason = named ? why_unavailable(*named) : "no such backend";
    if (reason.empty()) return *named;
    const std::string text = detail::complaint(word, reason);
    const char* const strict = std::getenv("CAIO_STRICT");
    if (strict != nullptr && std::string_view(strict) == "1") throw std::runtime_error(text);
    detail::complain_once(text);
  } else if (const auto named = detail::from_file(CAIO_DEFAULT_IMPLEMENTATION_FILE)) {
    return *named;
  }
  return available().front();  // blocking is always there
}

/// A backend for a Context, or to wrap into another one. std::system_error with the reason when it is not available.
[[nodiscard]] inline std::unique_ptr<Backend> make_backend(Implementation implementation,
                                                           const ContextOptions& options = {}) {
  const detail::Obstacle found = detail::obstacle(implementation);
  if (found.code != 0) {
    throw std::system_error(
        found.code, std::system_category(),
        "caio: the backend " + std::string(name(implementation)) + " is not available: " + found.reason);
  }
  return detail::construct_backend(implementation, detail::checked(options));
}

namespace detail {

/// The preferred backend, or the next best one where that fails after all (memory or descriptors may have run out since
/// it was probed); `note` says why.
inline std::unique_ptr<Backend> make_preferred(const ContextOptions& options, std::string& note) {
  const Implementation first = preferred();
  for (const Implementation implementation : implementations) {
    if (implementation < first || obstacle(implementation).code != 0) continue;
    try {
      return construct_backend(implementation, options);
    } catch (const std::system_error& error) {
      note += std::string(name(implementation)) + ": " + error.what() + "\n";
    }
  }
  return std::make_unique<BlockingBackend>();
}

}  // namespace detail

}  // namespace caio::inline CAIO_ABI
