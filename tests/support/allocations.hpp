#pragma once
// Counts the heap allocations of the whole program.

#include <cstddef>

namespace support {
std::size_t allocations() noexcept;
}
