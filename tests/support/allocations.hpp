#pragma once
// Counts the heap allocations of the whole program, and lets chosen ones fail.

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
/// Those that were not freed.
std::size_t live_allocations() noexcept;

/// Of the allocations that follow, on any thread, the `first` fails (1: the next), and every `period`-th from there on;
/// period 0: only that one.
void fail_allocations(std::size_t first, std::size_t period) noexcept;
/// No more failures.
void allow_allocations() noexcept;
/// How many have failed since fail_allocations().
std::size_t failed_allocations() noexcept;

}  // namespace support
