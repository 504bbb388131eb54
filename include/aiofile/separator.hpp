#pragma once
// Finds one byte in text, 64 bytes at a time.

#if defined(__x86_64__)
#include <emmintrin.h>
#else
#include <arm_neon.h>
#endif

#include <cstddef>
#include <cstdint>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

inline constexpr std::size_t block_size = 64;

/// Bit i says whether block[i] is `wanted`. Reads block_size bytes.
[[nodiscard]] inline std::uint64_t places_of(char wanted, const char* block) noexcept {
#if defined(__x86_64__)
  const __m128i pattern = _mm_set1_epi8(wanted);
  const auto quarter = [&](int index) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block) + index);
    return static_cast<std::uint64_t>(static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, pattern))));
  };
  return quarter(0) | quarter(1) << 16 | quarter(2) << 32 | quarter(3) << 48;
#else
  alignas(16) static constexpr std::uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t weight = vld1q_u8(weights);
  const uint8x16_t pattern = vdupq_n_u8(static_cast<std::uint8_t>(wanted));
  const auto quarter = [&](int index) {
    const uint8x16_t bytes = vld1q_u8(reinterpret_cast<const std::uint8_t*>(block) + 16 * index);
    return vandq_u8(vceqq_u8(bytes, pattern), weight);
  };
  // Three pairwise sums turn 64 weighted bytes into 64 bits.
  const uint8x16_t low = vpaddq_u8(quarter(0), quarter(1));
  const uint8x16_t high = vpaddq_u8(quarter(2), quarter(3));
  const uint8x16_t all = vpaddq_u8(low, high);
  return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(all, all)), 0);
#endif
}

}  // namespace aiofile::inline CAIO_ABI::detail
