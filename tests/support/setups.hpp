#pragma once
// The ways to run one test: every available backend, with and without speculation, and io_uring as on older kernels.

#include <caio/caio.hpp>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"

namespace support {

struct Setup {
  std::string name;
  caio::Implementation implementation;
  bool speculate;
  bool old_kernel = false;  // io_uring without what came after Linux 5.6
};

/// How often each setup was used, by name.
inline std::map<std::string, std::size_t>& runs() {
  static std::map<std::string, std::size_t> counts;
  return counts;
}

/// Whether CAIO_TEST_BACKENDS, a list of words, allows this backend. Not set: all.
inline bool wanted(caio::Implementation implementation) {
  const char* const list = std::getenv("CAIO_TEST_BACKENDS");
  if (list == nullptr) return true;
  std::istringstream words(list);
  for (std::string word; words >> word;) {
    if (word == caio::name(implementation)) return true;
  }
  return false;
}

/// Whether it is wanted, and works here.
inline bool usable(caio::Implementation implementation) {
  return wanted(implementation) && caio::why_unavailable(implementation).empty();
}

inline const std::vector<Setup>& setups() {
  static const std::vector<Setup> all = [] {
    std::vector<Setup> list;
    for (const caio::Implementation implementation : caio::available()) {
      if (!wanted(implementation)) continue;
      const std::string name(caio::name(implementation));
      list.push_back({name, implementation, true});
      list.push_back({name + ", no speculation", implementation, false});
      if (implementation == caio::Implementation::uring) {
        list.push_back({name + ", old kernel", implementation, false, true});
      }
    }
    return list;
  }();
  return all;
}

/// The backends to test, each once.
inline std::vector<caio::Implementation> backends() {
  std::vector<caio::Implementation> list;
  for (const Setup& setup : setups()) {
    if (setup.speculate) list.push_back(setup.implementation);
  }
  return list;
}

/// Hides the newer features of io_uring while it lives.
class Masks {
 public:
  explicit Masks([[maybe_unused]] bool hide) {
#if CAIO_WITH_LIBURING
    if (!hide) return;
    caio::uring_calls.setup_flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
    caio::uring_calls.features = 0;
    caio::uring_calls.opcodes = (1ULL << IORING_OP_READ) | (1ULL << IORING_OP_WRITE) |
                                (1ULL << IORING_OP_ASYNC_CANCEL) | (1ULL << IORING_OP_POLL_ADD);
#endif
  }
  Masks(const Masks&) = delete;
  Masks& operator=(const Masks&) = delete;
  ~Masks() {
#if CAIO_WITH_LIBURING
    caio::uring_calls = {};
#endif
  }
};

/// Runs `test(context)`, a function or a coroutine, in a section of its own for each setup.
template <class Test>
void on_every_backend(Test test, caio::ContextOptions options = {}) {
  for (const Setup& setup : setups()) {
    DYNAMIC_SECTION(setup.name) {
      const Masks masks(setup.old_kernel);
      ++runs()[setup.name];
      options.speculate = setup.speculate;
      caio::Context context(setup.implementation, options);
      if constexpr (std::is_void_v<decltype(test(context))>) {
        test(context);
      } else {
        context.run(test(context));
      }
      const caio::ContextStats stats = context.stats();
      CHECK(stats.submitted == stats.completed);
      CHECK(stats.in_flight == 0);
      CHECK(stats.parked == 0);
    }
  }
}

}  // namespace support
