#pragma once
// Finds the ends of lines: of many at once, by blocks of 64 bytes, with AVX2 where the processor has it; or of the
// first.

#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI::detail {

inline constexpr std::size_t block_size = 64;

/// What is searched at a time, so that places fit into 16 bits and stay in the first-level cache.
inline constexpr std::size_t window_size = 16 * block_size;

/// Ends behind the last one that may be overwritten, too.
inline constexpr std::size_t spare_ends = 8;

/// Where each byte that is `wanted` ends in the first `size` bytes of `text`, window_size at most; returns how many
/// there are. Reads whole blocks: up to block_size - 1 bytes behind `size`.
using FindEnds = std::size_t (*)(char wanted, const char* text, std::size_t size, std::uint16_t* ends) noexcept;

/// A bit for each byte of a block, of which `left` bytes count.
inline std::uint64_t within(std::uint64_t places, std::size_t left) noexcept {
  return left < block_size ? places & ((std::uint64_t{1} << left) - 1) : places;
}

/// `places` of the block at `begin`.
inline std::uint16_t* put_ends(std::uint64_t places, std::size_t begin, std::uint16_t* ends) noexcept {
  for (; places != 0; places &= places - 1) {
    *ends++ = static_cast<std::uint16_t>(begin + static_cast<std::size_t>(std::countr_zero(places)) + 1);
  }
  return ends;
}

inline std::size_t find_ends_portably(char wanted, const char* text, std::size_t size, std::uint16_t* ends) noexcept {
  std::uint16_t* end = ends;
  for (std::size_t begin = 0; begin < size; begin += block_size) {
    std::uint64_t places = 0;
    for (std::size_t i = 0; i < block_size; ++i) {
      places |= static_cast<std::uint64_t>(text[begin + i] == wanted) << i;
    }
    end = put_ends(within(places, size - begin), begin, end);
  }
  return static_cast<std::size_t>(end - ends);
}

#if defined(__x86_64__)

inline std::size_t find_ends_sse2(char wanted, const char* text, std::size_t size, std::uint16_t* ends) noexcept {
  const __m128i pattern = _mm_set1_epi8(wanted);
  std::uint16_t* end = ends;
  for (std::size_t begin = 0; begin < size; begin += block_size) {
    const auto quarter = [&](int index) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text + begin) + index);
      return static_cast<std::uint64_t>(static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, pattern))));
    };
    const std::uint64_t places = quarter(0) | quarter(1) << 16 | quarter(2) << 32 | quarter(3) << 48;
    end = put_ends(within(places, size - begin), begin, end);
  }
  return static_cast<std::size_t>(end - ends);
}

/// Without <immintrin.h>, which alone would cost a fifth of this library's compile time. How many ends a block has is
/// hard to predict, and a wrong guess costs more than a few ends too many.
[[gnu::target("avx2,bmi,popcnt")]] inline std::size_t find_ends_avx2(char wanted, const char* text, std::size_t size,
                                                                     std::uint16_t* ends) noexcept {
  using Bytes [[gnu::vector_size(32)]] = char;
  const Bytes pattern = Bytes{} + wanted;
  std::uint16_t* end = ends;
  for (std::size_t begin = 0; begin < size; begin += block_size) {
    Bytes low;
    Bytes high;
    std::memcpy(&low, text + begin, sizeof low);
    std::memcpy(&high, text + begin + sizeof low, sizeof high);
    const auto first = static_cast<unsigned>(__builtin_ia32_pmovmskb256(reinterpret_cast<Bytes>(low == pattern)));
    const auto second = static_cast<unsigned>(__builtin_ia32_pmovmskb256(reinterpret_cast<Bytes>(high == pattern)));
    std::uint64_t places = within(first | std::uint64_t{second} << 32, size - begin);
    const auto count = static_cast<std::size_t>(__builtin_popcountll(places));
    const auto put = [&](std::size_t index) {
      constexpr std::uint64_t last = std::uint64_t{1} << 63;  // for none left: ctz(0) is undefined
      end[index] = static_cast<std::uint16_t>(begin + static_cast<std::size_t>(__builtin_ctzll(places | last)) + 1);
      places &= places - 1;
    };
    put(0);
    put(1);
    if (count > 2) {
      for (std::size_t index = 2; index < spare_ends; ++index) put(index);
      for (std::size_t index = spare_ends; index < count; ++index) put(index);
    }
    end += count;
  }
  return static_cast<std::size_t>(end - ends);
}

inline bool has_avx2() noexcept {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt");
}

#elif defined(__aarch64__)

inline std::size_t find_ends_neon(char wanted, const char* text, std::size_t size, std::uint16_t* ends) noexcept {
  alignas(16) static constexpr std::uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t weight = vld1q_u8(weights);
  const uint8x16_t pattern = vdupq_n_u8(static_cast<std::uint8_t>(wanted));
  std::uint16_t* end = ends;
  for (std::size_t begin = 0; begin < size; begin += block_size) {
    const auto quarter = [&](std::size_t index) {
      const uint8x16_t bytes = vld1q_u8(reinterpret_cast<const std::uint8_t*>(text + begin) + 16 * index);
      return vandq_u8(vceqq_u8(bytes, pattern), weight);
    };
    // Three pairwise sums turn 64 weighted bytes into 64 bits.
    const uint8x16_t low = vpaddq_u8(quarter(0), quarter(1));
    const uint8x16_t high = vpaddq_u8(quarter(2), quarter(3));
    const uint8x16_t all = vpaddq_u8(low, high);
    const std::uint64_t places = vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(all, all)), 0);
    end = put_ends(within(places, size - begin), begin, end);
  }
  return static_cast<std::size_t>(end - ends);
}

#endif

/// The best one for this processor.
inline FindEnds choose_find_ends() noexcept {
#if defined(__x86_64__)
  return has_avx2() ? find_ends_avx2 : find_ends_sse2;
#elif defined(__aarch64__)
  return find_ends_neon;
#else
  return find_ends_portably;
#endif
}

/// As FindEnds, by the best one. It is chosen at the first call: static objects of a program may read lines.
inline std::size_t find_ends(char wanted, const char* text, std::size_t size, std::uint16_t* ends) noexcept {
  static constinit std::atomic<FindEnds> chosen = nullptr;
  FindEnds best = chosen.load(std::memory_order_relaxed);
  if (best == nullptr) chosen.store(best = choose_find_ends(), std::memory_order_relaxed);
  return best(wanted, text, size, ends);
}

/// The end of the first `separator` in `text`, whose first `searched` bytes are known not to end one; 0: there is none.
inline std::size_t end_of_line(std::string_view text, std::string_view separator, std::size_t searched) noexcept {
  // A separator may have begun in what was searched.
  const std::size_t from = searched >= separator.size() ? searched - separator.size() + 1 : 0;
  const std::string_view rest = text.substr(std::min(from, text.size()));
  const void* const found = separator.size() == 1
                                ? std::memchr(rest.data(), separator.front(), rest.size())
                                : ::memmem(rest.data(), rest.size(), separator.data(), separator.size());
  if (found == nullptr) return 0;
  return static_cast<std::size_t>(static_cast<const char*>(found) - text.data()) + separator.size();
}

}  // namespace aiofile::inline CAIO_ABI::detail
