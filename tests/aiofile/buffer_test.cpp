#include <aiofile/buffer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "support/allocations.hpp"
#include "support/catch.hpp"

using aiofile::detail::Buffer;

namespace {

/// Reads all that may be read; AddressSanitizer sees whether it may.
unsigned sum_with_padding(const Buffer& buffer) {
  const char* const begin = buffer.view().data();
  return std::accumulate(begin, begin + buffer.size() + Buffer::padding, 0U,
                         [](unsigned sum, char byte) { return sum + static_cast<unsigned char>(byte); });
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23);
  return text;
}

}  // namespace

TEST_CASE("Buffer: is empty at first and allocates nothing") {
  const std::size_t before = support::allocations();
  const Buffer buffer;
  CHECK(buffer.empty());
  CHECK(buffer.size() == 0);
  CHECK(buffer.view().empty());
  if (support::counts_allocations) CHECK(support::allocations() == before);
}

TEST_CASE("Buffer: bytes come in at the end and leave from the front") {
  Buffer buffer;
  buffer.append("abc");
  buffer.append("");
  buffer.append("def");
  CHECK(buffer.view() == "abcdef");
  CHECK(buffer.size() == 6);
  CHECK_FALSE(buffer.empty());
  buffer.consume(2);
  CHECK(buffer.view() == "cdef");
  buffer.append("g");
  CHECK(buffer.view() == "cdefg");
  buffer.consume(0);
  CHECK(buffer.view() == "cdefg");
  buffer.consume(5);
  CHECK(buffer.empty());
  buffer.append("h");
  CHECK(buffer.view() == "h");
}

TEST_CASE("Buffer: bytes with any value are kept") {
  Buffer buffer;
  const std::string all = [] {
    std::string text(256, '\0');
    std::iota(text.begin(), text.end(), '\0');
    return text;
  }();
  for (int i = 0; i < 10; ++i) buffer.append(all);
  for (int i = 0; i < 10; ++i) {
    CHECK(buffer.view().substr(0, 256) == all);
    buffer.consume(256);
  }
  CHECK(buffer.empty());
}

TEST_CASE("Buffer: clear() forgets what is here and keeps the memory") {
  Buffer buffer;
  buffer.append(pattern(1000));
  buffer.consume(10);
  buffer.clear();
  CHECK(buffer.empty());
  CHECK(buffer.growth(1000) == 0);
  buffer.append("x");
  CHECK(buffer.view() == "x");
}

TEST_CASE("Buffer: room() is as large as asked for and lies right behind the content") {
  Buffer buffer;
  for (const std::size_t size : {0U, 1U, 63U, 64U, 65U, 1000U, 5U}) {
    const std::span<char> room = buffer.room(size);
    CHECK(room.size() == size);
    CHECK(room.data() == buffer.view().data() + buffer.size());
    std::fill(room.begin(), room.end(), 'z');
    buffer.filled(size);
    CHECK(sum_with_padding(buffer) >= 'z' * buffer.size());
  }
  CHECK(buffer.view() == std::string(1198, 'z'));
}

TEST_CASE("Buffer: only what was filled of the room is content") {
  Buffer buffer;
  const std::span<char> room = buffer.room(10);
  std::fill(room.begin(), room.end(), 'x');
  CHECK(buffer.empty());
  buffer.filled(3);
  CHECK(buffer.view() == "xxx");
  std::fill_n(buffer.room(10).data(), 10, 'y');
  buffer.filled(1);
  CHECK(buffer.view() == "xxxy");
}

TEST_CASE("Buffer: padding bytes can be read behind the last one, whatever the size") {
  for (std::size_t size = 0; size <= 300; ++size) {
    Buffer buffer;
    buffer.append(std::string(size, '\1'));  // memory for just that
    CHECK(sum_with_padding(buffer) >= size);
    buffer.append(std::string(size / 3, '\1'));
    CHECK(sum_with_padding(buffer) >= buffer.size());
    buffer.consume(size / 2);
    buffer.append(std::string(size / 4, '\1'));
    CHECK(sum_with_padding(buffer) >= buffer.size());
  }
}

TEST_CASE("Buffer: padding bytes can be read when what comes takes the place of what has gone") {
  for (std::size_t size = 1; size <= 300; ++size) {
    for (std::size_t gone = 1; gone <= size; gone += 1 + size / 16) {
      Buffer buffer;
      buffer.append(std::string(size, '\1'));
      buffer.consume(gone);
      const std::size_t allocations = support::allocations();
      const std::span<char> room = buffer.room(gone);
      if (support::counts_allocations) REQUIRE(support::allocations() == allocations);
      std::fill(room.begin(), room.end(), '\1');
      buffer.filled(gone);
      REQUIRE(sum_with_padding(buffer) >= size);
    }
  }
}

TEST_CASE("Buffer: the content is kept when it moves to the front or to larger memory") {
  const std::string text = pattern(1000);
  for (std::size_t gone = 0; gone <= text.size(); gone += 37) {
    Buffer buffer;
    buffer.append(text);
    buffer.consume(gone);
    const std::size_t allocations = support::allocations();
    static_cast<void>(buffer.room(gone));  // fits once the rest has moved to the front
    if (support::counts_allocations) CHECK(support::allocations() == allocations);
    CHECK(buffer.view() == std::string_view(text).substr(gone));
    static_cast<void>(buffer.room(5000));
    CHECK(buffer.view() == std::string_view(text).substr(gone));
  }
}

TEST_CASE("Buffer: a mebibyte in steps of a kibibyte costs a dozen reallocations") {
  Buffer buffer;
  const std::string step(1024, 's');
  std::size_t grew = 0;
  std::size_t moved = 0;
  const std::size_t allocations = support::allocations();
  for (int i = 0; i < 1024; ++i) {
    if (buffer.growth(step.size()) > 0) {
      ++grew;
      moved += buffer.size();
    }
    buffer.append(step);
  }
  CHECK(buffer.size() == 1024 * 1024);
  CHECK(grew <= 12);
  CHECK(moved <= 2 * buffer.size());
  if (support::counts_allocations) CHECK(support::allocations() - allocations == grew);
  CHECK(buffer.view().find_first_not_of('s') == std::string_view::npos);
}

TEST_CASE("Buffer: as much coming as going needs no new memory") {
  Buffer buffer;
  buffer.append(std::string(100, 'l'));
  std::size_t grew = 0;
  for (int i = 0; i < 1000; ++i) {
    if (buffer.growth(1024) > 0) ++grew;
    buffer.append(std::string(1024, static_cast<char>('a' + i % 26)));
    buffer.consume(1024);
    CHECK(buffer.size() == 100);
  }
  CHECK(grew <= 2);
  CHECK(buffer.view() == std::string(100, static_cast<char>('a' + 999 % 26)));
}

TEST_CASE("Buffer: what comes into an empty one begins at an aligned address") {
  for (std::size_t size = 1; size < 300'000; size = size * 3 + 1) {
    Buffer buffer;
    for (int i = 0; i < 3; ++i) {
      CHECK(reinterpret_cast<std::uintptr_t>(buffer.room(size).data()) % Buffer::alignment == 0);
      buffer.filled(size);
      buffer.consume(size);
    }
  }
}

TEST_CASE("Buffer: what comes next lies where align() says, whatever was consumed, moved or grown") {
  std::mt19937 random(1);
  for (const std::size_t boundary : {512U, 4096U}) {
    Buffer buffer;
    std::string model;
    std::uint64_t offset = random() % 10'000;  // in a file
    for (int round = 0; round < 2000; ++round) {
      if (random() % 50 == 0) {
        buffer.clear();
        model.clear();
        offset = random() % 10'000;
      }
      buffer.align(boundary, offset);
      const std::size_t size = random() % 9000 + 1;
      const std::span<char> room = buffer.room(size);
      REQUIRE(reinterpret_cast<std::uintptr_t>(room.data()) % boundary == offset % boundary);
      std::fill(room.begin(), room.end(), static_cast<char>(round));
      const std::size_t filled = random() % (size + 1);
      buffer.filled(filled);
      model.append(filled, static_cast<char>(round));
      offset += filled;
      const std::size_t consumed = random() % 3 == 0 ? buffer.size() : random() % (buffer.size() + 1);
      buffer.consume(consumed);
      model.erase(0, consumed);
      REQUIRE(buffer.view() == model);
      CHECK(sum_with_padding(buffer) != 1);
    }
  }
}

TEST_CASE("Buffer: growth() says what room() would allocate") {
  Buffer buffer;
  CHECK(buffer.growth(100) >= 100 + Buffer::padding);
  buffer.append(std::string(100, 'x'));
  CHECK(buffer.growth(0) == 0);
  CHECK(buffer.growth(1) >= 101 + Buffer::padding);
  CHECK(buffer.growth(1) <= 200 + Buffer::overhead);
  CHECK(buffer.growth(5000) == 5100 + Buffer::overhead);
  CHECK(buffer.growth(std::size_t{1} << 40) == (std::size_t{1} << 40) + 100 + Buffer::overhead);
  static_cast<void>(buffer.room(5000));
  CHECK(buffer.growth(5000) == 0);
  buffer.consume(100);
  CHECK(buffer.growth(5100) == 0);  // the front is room, too
  CHECK(buffer.growth(5101) > 0);
}

TEST_CASE("Buffer: grows in two steps, the first of which leaves it as it is") {
  Buffer buffer;
  buffer.append(pattern(500));
  buffer.consume(123);
  const std::string expected(buffer.view());
  const char* const place = buffer.view().data();
  const std::size_t growth = buffer.growth(10'000);
  std::string larger = std::as_const(buffer).grown(10'000);
  CHECK(larger.size() == growth);
  CHECK(larger.find(expected) != std::string::npos);
  CHECK(buffer.view().data() == place);
  CHECK(buffer.view() == expected);

  const std::size_t allocations = support::allocations();
  buffer.adopt(std::move(larger));
  CHECK(buffer.growth(10'000) == 0);
  const std::span<char> room = buffer.room(10'000);
  if (support::counts_allocations) CHECK(support::allocations() == allocations);
  CHECK(buffer.view() == expected);
  std::fill(room.begin(), room.end(), 'r');
  buffer.filled(room.size());
  CHECK(buffer.view() == expected + std::string(10'000, 'r'));
  CHECK(sum_with_padding(buffer) > 'r' * 10'000);
}

TEST_CASE("Buffer: growing an empty one in two steps") {
  Buffer buffer;
  buffer.adopt(buffer.grown(100));
  CHECK(buffer.empty());
  CHECK(buffer.growth(100) == 0);
  buffer.append("abc");
  CHECK(buffer.view() == "abc");
}

TEST_CASE("Buffer: does what a string does, whatever the order of things") {
  std::mt19937 random(20'240'607);
  for (int round = 0; round < 20; ++round) {
    Buffer buffer;
    std::string expected;
    for (int step = 0; step < 300; ++step) {
      const std::size_t size = random() % (random() % 8 == 0 ? 3000 : 40);
      switch (random() % 5) {
        case 0:
        case 1: {
          const std::string text(size, static_cast<char>('a' + random() % 26));
          buffer.append(text);
          expected += text;
          break;
        }
        case 2:
          buffer.consume(std::min(size, expected.size()));
          expected.erase(0, size);
          break;
        case 3:
          if (buffer.growth(size) > 0) buffer.adopt(buffer.grown(size));
          break;
        default: static_cast<void>(buffer.room(size));
      }
      REQUIRE(buffer.view() == expected);
    }
  }
}
