#include <aiofile/output.hpp>

#include <cstdint>
#include <string>

#include "support/catch.hpp"

using aiofile::detail::Output;

TEST_CASE("Output: is empty at first, with nothing reported") {
  const Output output;
  CHECK(output.empty());
  CHECK(output.bytes().empty());
  CHECK(output.end() == output.offset());
  CHECK_FALSE(output.reported());
}

TEST_CASE("Output: gathers bytes that follow each other in the file") {
  Output output;
  output.add("abc", 100);
  CHECK_FALSE(output.empty());
  CHECK(output.bytes() == "abc");
  CHECK(output.offset() == 100);
  CHECK(output.end() == 103);
  output.add("de", 103);
  CHECK(output.bytes() == "abcde");
  CHECK(output.offset() == 100);
  CHECK(output.end() == 105);
}

TEST_CASE("Output: takes any offset while it is empty, then the next one only") {
  Output output;
  CHECK(output.takes(4, 7, 10));
  CHECK(output.takes(4, 12345, 10));
  output.add("abcd", 7);
  CHECK(output.takes(1, 11, 10));
  for (const std::uint64_t offset : {0U, 7U, 10U, 12U, 12345U}) CHECK_FALSE(output.takes(1, offset, 10));
}

TEST_CASE("Output: takes as much as the limit allows, to the byte") {
  Output output;
  CHECK(output.takes(10, 0, 10));
  CHECK_FALSE(output.takes(11, 0, 10));
  CHECK_FALSE(output.takes(1, 0, 0));
  output.add("abcd", 0);
  CHECK(output.takes(6, 4, 10));
  CHECK_FALSE(output.takes(7, 4, 10));
  output.written(1);
  CHECK(output.takes(7, 4, 10));
}

TEST_CASE("Output: what has gone to the file is gone here, and the rest knows its place") {
  Output output;
  output.add("abcdef", 50);
  output.written(2);
  CHECK(output.bytes() == "cdef");
  CHECK(output.offset() == 52);
  CHECK(output.end() == 56);
  output.add("gh", 56);
  CHECK(output.bytes() == "cdefgh");
  CHECK(output.offset() == 52);
  output.written(0);
  CHECK(output.offset() == 52);
  output.written(6);
  CHECK(output.empty());
  CHECK(output.end() == 58);
}

TEST_CASE("Output: starts anywhere once it is empty again") {
  Output output;
  output.add("abc", 50);
  output.written(3);
  CHECK(output.takes(1, 3, 10));
  output.add("x", 3);
  CHECK(output.offset() == 3);
  CHECK(output.bytes() == "x");
  output.clear();
  CHECK(output.empty());
  CHECK(output.takes(10, 1000, 10));
  output.add("yz", 1000);
  CHECK(output.offset() == 1000);
  CHECK(output.bytes() == "yz");
}

TEST_CASE("Output: offsets beyond four gigabytes") {
  Output output;
  const std::uint64_t far = (std::uint64_t{1} << 62) + 5;
  output.add("abc", far);
  CHECK(output.offset() == far);
  CHECK(output.takes(1, far + 3, 10));
  CHECK_FALSE(output.takes(1, 8, 10));
  output.written(1);
  CHECK(output.offset() == far + 1);
}

TEST_CASE("Output: a report concerns what was there, not what comes later") {
  Output output;
  output.add("abc", 0);
  CHECK_FALSE(output.reported());
  output.set_reported();
  CHECK(output.reported());
  output.written(1);
  CHECK(output.reported());
  output.add("d", 3);
  CHECK_FALSE(output.reported());
}

TEST_CASE("Output: in blocks, bytes lie in memory as in the file") {
  Output output;
  std::uint64_t offset = 100;
  for (int i = 0; i < 100; ++i) {
    output.align(4096, offset);
    output.add(std::string(777, 'x'), offset);
    offset += 777;
    const auto address = reinterpret_cast<std::uintptr_t>(output.bytes().data());
    CHECK(address % 4096 == output.offset() % 4096);
    if (i % 10 == 9) output.written(5000);
  }
}
