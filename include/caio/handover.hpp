#pragma once
// Marks for the tools that cannot see the kernel (or a pool) take a buffer and give it back. Empty otherwise.
//
// ThreadSanitizer: an order of events that runs through the kernel. MemorySanitizer and valgrind (with
// -DCAIO_WITH_VALGRIND=1): bytes that the kernel wrote.

#include <cstddef>

#include <caio/config.hpp>

#if defined(__SANITIZE_THREAD__)
#define CAIO_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CAIO_UNDER_TSAN 1
#endif
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#define CAIO_UNDER_MSAN 1
#endif
#endif
#if defined(CAIO_WITH_VALGRIND) && CAIO_WITH_VALGRIND
#include <valgrind/memcheck.h>
#endif

#ifdef CAIO_UNDER_TSAN
extern "C" void __tsan_acquire(void*);
extern "C" void __tsan_release(void*);
#endif

namespace caio::inline CAIO_ABI::detail {

/// Directly before the kernel is told: everything written so far is the kernel's to see.
inline void handed_over([[maybe_unused]] void* object) noexcept {
#ifdef CAIO_UNDER_TSAN
  __tsan_release(object);
#endif
}

/// Directly after the kernel's answer was read.
inline void taken_back([[maybe_unused]] void* object) noexcept {
#ifdef CAIO_UNDER_TSAN
  __tsan_acquire(object);
#endif
}

/// The kernel wrote these bytes.
inline void filled([[maybe_unused]] void* data, [[maybe_unused]] std::size_t size) noexcept {
#ifdef CAIO_UNDER_MSAN
  __msan_unpoison(data, size);
#endif
#if defined(CAIO_WITH_VALGRIND) && CAIO_WITH_VALGRIND
  static_cast<void>(VALGRIND_MAKE_MEM_DEFINED(data, size));
#endif
}

}  // namespace caio::inline CAIO_ABI::detail
