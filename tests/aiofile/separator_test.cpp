#include <aiofile/separator.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

using aiofile::detail::block_size;
using aiofile::detail::find_ends;
using aiofile::detail::FindEnds;
using aiofile::detail::spare_ends;
using aiofile::detail::window_size;

using Ends = std::vector<std::size_t>;

namespace {

/// All that this processor can do.
std::vector<FindEnds> all_ways() {
  std::vector<FindEnds> ways{find_ends, aiofile::detail::find_ends_portably};
#if defined(__x86_64__)
  ways.push_back(aiofile::detail::find_ends_sse2);
  if (aiofile::detail::has_avx2()) ways.push_back(aiofile::detail::find_ends_avx2);
#endif
  return ways;
}

Ends reference(char wanted, std::string_view text) {
  Ends ends;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == wanted) ends.push_back(i + 1);
  }
  return ends;
}

/// What all ways agree on. `text` is followed by bytes that may be read.
Ends ends_of(char wanted, const char* text, std::size_t size) {
  std::vector<Ends> answers;
  for (const FindEnds way : all_ways()) {
    constexpr std::uint16_t untouched = 0xabcd;
    std::vector<std::uint16_t> ends(size + spare_ends + 1, untouched);
    const std::size_t count = way(wanted, text, size, ends.data());
    if (ends.at(count + spare_ends) != untouched) throw std::logic_error("more was written than there is room for");
    answers.emplace_back(ends.begin(), ends.begin() + static_cast<std::ptrdiff_t>(count));
  }
  const bool same = std::ranges::count(answers, answers.front()) == static_cast<std::ptrdiff_t>(answers.size());
  if (!same) throw std::logic_error("the ways differ");
  return answers.front();
}

}  // namespace

TEST_CASE("Separator: up to the size and not beyond, whatever that is") {
  std::mt19937 random(7);
  std::size_t wrong = 0;
  for (std::size_t size = 0; size <= window_size; ++size) {
    std::string text(size + block_size - 1, '\n');  // behind the end, all would count
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(random() % 3 + 9);
    wrong += ends_of('\n', text.data(), size) == reference('\n', {text.data(), size}) ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("Separator: each place of a block is found") {
  for (const char wanted : {'\n', '\0', '\x7f', '\x80', '\xff'}) {
    for (std::size_t place = 0; place < block_size; ++place) {
      std::vector<char> block(block_size, static_cast<char>(wanted + 1));
      block[place] = wanted;
      CHECK(ends_of(wanted, block.data(), block_size) == Ends{place + 1});
    }
  }
}

TEST_CASE("Separator: none, few and as many as there are bytes") {
  for (std::size_t count = 0; count <= block_size; ++count) {
    std::string block(block_size, 'x');
    for (std::size_t i = 0; i < count; ++i) block[i * 37 % block_size] = '\n';
    CHECK(ends_of('\n', block.data(), block_size) == reference('\n', block));
  }
  const std::string window(window_size, '\n');
  CHECK(ends_of('\n', window.data(), window_size).size() == window_size);
  CHECK(ends_of('\r', window.data(), window_size).empty());
}

TEST_CASE("Separator: each byte is told from each other one") {
  std::size_t wrong = 0;
  std::string all;
  for (unsigned byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  for (std::size_t wanted = 0; wanted < all.size(); ++wanted) {
    wrong += ends_of(all[wanted], all.data(), all.size()) == Ends{wanted + 1} ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("Separator: random text at any address, of which nothing beyond its last block is read") {
  std::mt19937 random(42);
  std::size_t wrong = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::size_t shift = random() % 32;
    const std::size_t size = random() % (4 * block_size) + 1;
    const std::size_t blocks = (size + block_size - 1) / block_size;
    std::vector<char> memory(shift + blocks * block_size);  // ends with the block
    const std::size_t letters = 1 + random() % 5;
    for (char& byte : memory) byte = static_cast<char>(random() % letters + 8);
    const char* const text = memory.data() + shift;
    wrong += ends_of('\n', text, size) == reference('\n', {text, size}) ? 0 : 1;
  }
  CHECK(wrong == 0);
}
