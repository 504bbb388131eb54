#pragma once
// What torture programs that must not hang share: a watchdog, and random numbers that a seed replays.

#include <signal.h>
#include <unistd.h>

#include <cstdint>

namespace torture {

/// Unless it is called again within `seconds`, the process ends with exit status 1; 0: no longer.
inline void watch(unsigned seconds) {
  static const bool installed = [] {
    struct ::sigaction action {};
    action.sa_handler = [](int) {
      static constexpr char message[] = "VIOLATION: it hangs\n";
      static_cast<void>(!::write(2, message, sizeof message - 1));
      ::_exit(1);
    };
    return ::sigaction(SIGALRM, &action, nullptr) == 0;
  }();
  if (installed) ::alarm(seconds);
}

/// SplitMix64: eight bytes of state, so that each operation can have its own.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
  /// 0 .. limit - 1
  std::uint64_t below(std::uint64_t limit) noexcept {
    std::uint64_t value = state_ += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return (value ^ (value >> 31)) % limit;
  }

 private:
  std::uint64_t state_;
};

}  // namespace torture
