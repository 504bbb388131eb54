#pragma once
// The four backends by name.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include <caio/config.hpp>

namespace caio::inline CAIO_ABI {

enum class Implementation : std::uint8_t { uring, linux_aio, thread, blocking };

/// All of them, best first.
inline constexpr std::array implementations{Implementation::uring, Implementation::linux_aio, Implementation::thread,
                                            Implementation::blocking};

/// The word that CAIO_IMPL uses: "uring", "linux", "thread" or "blocking".
[[nodiscard]] constexpr std::string_view name(Implementation implementation) noexcept {
  switch (implementation) {
    case Implementation::uring: return "uring";
    case Implementation::linux_aio: return "linux";
    case Implementation::thread: return "thread";
    case Implementation::blocking: break;
  }
  return "blocking";
}

namespace detail {
constexpr std::optional<Implementation> implementation_named(std::string_view word) noexcept {
  for (const Implementation implementation : implementations) {
    if (name(implementation) == word) return implementation;
  }
  return std::nullopt;
}
}  // namespace detail

}  // namespace caio::inline CAIO_ABI
