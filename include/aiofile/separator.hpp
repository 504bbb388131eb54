#pragma once
// Finds one byte in text, by blocks of 64 bytes: with AVX2 where the processor has it, else with what all have.

#if defined(__x86_64__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

inline constexpr std::size_t block_size = 64;

/// Bit i of places[n] says whether byte i of the nth block is `wanted`. Reads `blocks` whole blocks.
using FindPlaces = void (*)(char wanted, const char* text, std::uint64_t* places, std::size_t blocks) noexcept;

inline void find_places_portably(char wanted, const char* text, std::uint64_t* places, std::size_t blocks) noexcept {
  for (; blocks > 0; --blocks, text += block_size) {
    std::uint64_t found = 0;
    for (std::size_t i = 0; i < block_size; ++i) found |= static_cast<std::uint64_t>(text[i] == wanted) << i;
    *places++ = found;
  }
}

#if defined(__x86_64__)

inline void find_places_sse2(char wanted, const char* text, std::uint64_t* places, std::size_t blocks) noexcept {
  const __m128i pattern = _mm_set1_epi8(wanted);
  for (; blocks > 0; --blocks, text += block_size) {
    const auto quarter = [&](int index) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text) + index);
      return static_cast<std::uint64_t>(static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, pattern))));
    };
    *places++ = quarter(0) | quarter(1) << 16 | quarter(2) << 32 | quarter(3) << 48;
  }
}

/// Without <immintrin.h>, which alone would cost a fifth of this library's compile time.
[[gnu::target("avx2")]] inline void find_places_avx2(char wanted, const char* text, std::uint64_t* places,
                                                     std::size_t blocks) noexcept {
  using Bytes [[gnu::vector_size(32)]] = char;
  const Bytes pattern = Bytes{} + wanted;
  for (; blocks > 0; --blocks, text += block_size) {
    Bytes low;
    Bytes high;
    std::memcpy(&low, text, sizeof low);
    std::memcpy(&high, text + sizeof low, sizeof high);
    const auto first = static_cast<unsigned>(__builtin_ia32_pmovmskb256(reinterpret_cast<Bytes>(low == pattern)));
    const auto second = static_cast<unsigned>(__builtin_ia32_pmovmskb256(reinterpret_cast<Bytes>(high == pattern)));
    *places++ = first | std::uint64_t{second} << 32;
  }
}

#elif defined(__aarch64__)

inline void find_places_neon(char wanted, const char* text, std::uint64_t* places, std::size_t blocks) noexcept {
  alignas(16) static constexpr std::uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t weight = vld1q_u8(weights);
  const uint8x16_t pattern = vdupq_n_u8(static_cast<std::uint8_t>(wanted));
  for (; blocks > 0; --blocks, text += block_size) {
    const auto quarter = [&](int index) {
      const uint8x16_t bytes = vld1q_u8(reinterpret_cast<const std::uint8_t*>(text) + 16 * index);
      return vandq_u8(vceqq_u8(bytes, pattern), weight);
    };
    // Three pairwise sums turn 64 weighted bytes into 64 bits.
    const uint8x16_t low = vpaddq_u8(quarter(0), quarter(1));
    const uint8x16_t high = vpaddq_u8(quarter(2), quarter(3));
    const uint8x16_t all = vpaddq_u8(low, high);
    *places++ = vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(all, all)), 0);
  }
}

#endif

/// The best one for this processor.
inline FindPlaces choose_find_places() noexcept {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") ? find_places_avx2 : find_places_sse2;
#elif defined(__aarch64__)
  return find_places_neon;
#else
  return find_places_portably;
#endif
}

/// As FindPlaces, by the best one. It is chosen at the first call: static objects of a program may read lines.
inline void find_places(char wanted, const char* text, std::uint64_t* places, std::size_t blocks) noexcept {
  static constinit std::atomic<FindPlaces> chosen = nullptr;
  FindPlaces best = chosen.load(std::memory_order_relaxed);
  if (best == nullptr) chosen.store(best = choose_find_places(), std::memory_order_relaxed);
  best(wanted, text, places, blocks);
}

}  // namespace aiofile::inline CAIO_ABI::detail
