#include <aiofile/separator.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"

using aiofile::detail::block_size;
using aiofile::detail::find_places;
using aiofile::detail::FindPlaces;

namespace {

std::uint64_t reference(char wanted, const char* block) {
  std::uint64_t places = 0;
  for (std::size_t i = 0; i < block_size; ++i) {
    if (block[i] == wanted) places |= std::uint64_t{1} << i;
  }
  return places;
}

/// All that this processor can do.
std::vector<FindPlaces> all_ways() {
  std::vector<FindPlaces> ways{find_places, aiofile::detail::find_places_portably};
#if defined(__x86_64__)
  ways.push_back(aiofile::detail::find_places_sse2);
  if (__builtin_cpu_supports("avx2")) ways.push_back(aiofile::detail::find_places_avx2);
#endif
  return ways;
}

/// What all ways agree on, for one block.
std::uint64_t places_of(char wanted, const char* block) {
  std::vector<std::uint64_t> answers;
  for (const FindPlaces way : all_ways()) way(wanted, block, &answers.emplace_back(), 1);
  const bool same = std::ranges::count(answers, answers.front()) == static_cast<std::ptrdiff_t>(answers.size());
  if (!same) throw std::logic_error("the ways differ");
  return answers.front();
}

}  // namespace

TEST_CASE("Separator: several blocks at once, and not one more") {
  std::mt19937 random(7);
  for (const FindPlaces way : all_ways()) {
    for (std::size_t blocks = 0; blocks <= 9; ++blocks) {
      std::vector<char> text(blocks * block_size);
      for (char& byte : text) byte = static_cast<char>(random() % 3 + 9);
      std::vector<std::uint64_t> places(blocks + 1, 42);
      way('\n', text.data(), places.data(), blocks);
      for (std::size_t i = 0; i < blocks; ++i) CHECK(places[i] == reference('\n', text.data() + i * block_size));
      CHECK(places[blocks] == 42);
    }
  }
}

TEST_CASE("Separator: each place of a block has its bit") {
  for (const char wanted : {'\n', '\0', '\x7f', '\x80', '\xff'}) {
    for (std::size_t place = 0; place < block_size; ++place) {
      std::vector<char> block(block_size, static_cast<char>(wanted + 1));
      block[place] = wanted;
      CHECK(places_of(wanted, block.data()) == std::uint64_t{1} << place);
    }
  }
}

TEST_CASE("Separator: no place and every place") {
  const std::vector<char> block(block_size, '\n');
  CHECK(places_of('\n', block.data()) == ~std::uint64_t{0});
  CHECK(places_of('\r', block.data()) == 0);
}

TEST_CASE("Separator: each byte is told from each other one") {
  std::size_t wrong = 0;
  for (unsigned wanted = 0; wanted < 256; ++wanted) {
    for (unsigned first = 0; first < 256; first += block_size) {
      std::vector<char> block(block_size);
      for (std::size_t i = 0; i < block_size; ++i) block[i] = static_cast<char>(first + i);
      const std::uint64_t expected =
          wanted / block_size == first / block_size ? std::uint64_t{1} << (wanted % block_size) : 0;
      wrong += places_of(static_cast<char>(wanted), block.data()) == expected ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("Separator: random blocks at any address, of which nothing beyond is read") {
  std::mt19937 random(42);
  std::size_t wrong = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::size_t shift = random() % 32;
    std::vector<char> memory(shift + block_size);  // ends with the block
    const std::size_t letters = 1 + random() % 5;
    for (char& byte : memory) byte = static_cast<char>(random() % letters + 8);
    const char* const block = memory.data() + shift;
    wrong += places_of('\n', block) == reference('\n', block) ? 0 : 1;
  }
  CHECK(wrong == 0);
}
