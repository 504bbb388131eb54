#pragma once
// What a seek counts from.

#include <cstdint>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

enum class Whence : std::uint8_t { set, current, end };

}  // namespace aiofile::inline CAIO_ABI
