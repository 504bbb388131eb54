#pragma once
// Counts the heap allocations of the whole program.

#include <cstddef>

// ThreadSanitizer brings operators of its own, which cannot be replaced beside it.
#if defined(__SANITIZE_THREAD__)
#define AIOFILE_COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define AIOFILE_COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef AIOFILE_COUNTS_ALLOCATIONS
#define AIOFILE_COUNTS_ALLOCATIONS 1
#endif

namespace support {

inline constexpr bool counts_allocations = AIOFILE_COUNTS_ALLOCATIONS != 0;

std::size_t allocations() noexcept;
}
