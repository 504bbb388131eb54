#include <caio/detail/slots.hpp>

#include <array>
#include <cstdint>
#include <set>

#include "support/catch.hpp"

using caio::Request;
using caio::detail::Slots;

TEST_CASE("Slots: a request is found by its key, once") {
  Slots slots(2);
  Request request;
  const std::uint64_t key = slots.insert(request);
  CHECK(slots.key(request) == key);
  CHECK(slots.used() == 1);
  CHECK(slots.remove(key) == &request);
  CHECK(slots.used() == 0);
  CHECK(slots.remove(key) == nullptr);
}

TEST_CASE("Slots: is full at its capacity, and has room again after a removal") {
  Slots slots(3);
  CHECK(slots.capacity() == 3);
  std::array<Request, 3> requests;
  std::array<std::uint64_t, 3> keys{};
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK_FALSE(slots.full());
    keys[i] = slots.insert(requests[i]);
  }
  CHECK(slots.full());
  CHECK(std::set<std::uint64_t>(keys.begin(), keys.end()).size() == 3);
  CHECK(slots.remove(keys[1]) == &requests[1]);
  CHECK_FALSE(slots.full());
  Request another;
  const std::uint64_t key = slots.insert(another);
  CHECK(slots.full());
  CHECK(slots.remove(key) == &another);
  CHECK(slots.remove(keys[0]) == &requests[0]);
  CHECK(slots.remove(keys[2]) == &requests[2]);
}

TEST_CASE("Slots: a stale key does not find the slot's next request") {
  Slots slots(1);
  Request first;
  Request second;
  const std::uint64_t stale = slots.insert(first);
  REQUIRE(slots.remove(stale) == &first);
  const std::uint64_t key = slots.insert(second);
  CHECK(key != stale);
  CHECK(slots.remove(stale) == nullptr);
  CHECK(slots.used() == 1);
  CHECK(slots.remove(key) == &second);
}

TEST_CASE("Slots: forged keys find nobody") {
  Slots slots(4);
  Request request;
  const std::uint64_t key = slots.insert(request);
  for (const std::uint64_t forged :
       {key + 1, key + 4, key + (std::uint64_t{1} << 32), key ^ (std::uint64_t{1} << 63),
        key ^ (std::uint64_t{1} << 62), std::uint64_t{4}, std::uint64_t{0xffff'ffff}, ~std::uint64_t{0}}) {
    CHECK(slots.remove(forged) == nullptr);
  }
  CHECK(slots.remove(key) == &request);
}

TEST_CASE("Slots: no key has the two highest bits, which mark other completions") {
  Slots slots(1);
  Request request;
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t key = slots.insert(request);
    CHECK(key >> 62 == 0);
    seen.insert(key);
    REQUIRE(slots.remove(key) == &request);
  }
  CHECK(seen.size() == 1000);
}

TEST_CASE("Slots: a forged, a late and a foreign key find nothing") {
  Slots slots(2);
  Request first;
  Request second;
  const std::uint64_t key = slots.insert(first);
  CHECK(slots.key(first) == key);
  CHECK(slots.remove(key + 1) == nullptr);
  CHECK(slots.remove(key + 2) == nullptr);
  CHECK(slots.remove(key + (std::uint64_t{1} << 32)) == nullptr);
  CHECK(slots.remove(~std::uint64_t{0}) == nullptr);
  CHECK(slots.used() == 1);
  CHECK(slots.remove(key) == &first);
  CHECK(slots.remove(key) == nullptr);
  const std::uint64_t again = slots.insert(second);
  CHECK(again != key);
  CHECK(slots.remove(key) == nullptr);
  slots.insert(first);
  CHECK(slots.full());
  CHECK(slots.remove(again) == &second);
  CHECK_FALSE(slots.full());
}

TEST_CASE("Slots: generations never reach the bits that mark other completions") {
  Slots slots(1);
  Request request;
  std::uint64_t all = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t key = slots.insert(request);
    all |= key;
    slots.remove(key);
  }
  CHECK(all >> 62 == 0);
}
