#include <caio/detail/list.hpp>

#include <array>
#include <vector>

#include "support/catch.hpp"

using caio::detail::Link;
using caio::detail::List;

namespace {

struct Item : Link {
  int number = 0;
};

std::array<Item, 5> items() {
  std::array<Item, 5> made;
  for (std::size_t i = 0; i < made.size(); ++i) made[i].number = static_cast<int>(i);
  return made;
}

std::vector<int> drain(List<Item>& list) {
  std::vector<int> numbers;
  while (!list.empty()) numbers.push_back(list.pop_front().number);
  return numbers;
}

}  // namespace

TEST_CASE("List: is empty at first, and after its last element left") {
  List<Item> list;
  CHECK(list.empty());
  Item item;
  list.push_back(item);
  CHECK_FALSE(list.empty());
  CHECK(item.linked());
  CHECK(&list.front() == &item);
  CHECK(&list.pop_front() == &item);
  CHECK(list.empty());
  CHECK_FALSE(item.linked());
}

TEST_CASE("List: keeps the order of both ends") {
  auto all = items();
  List<Item> list;
  list.push_back(all[1]);
  list.push_back(all[2]);
  list.push_front(all[0]);
  list.push_back(all[3]);
  CHECK(drain(list) == std::vector{0, 1, 2, 3});
}

TEST_CASE("List: any element leaves by itself, and comes again") {
  auto all = items();
  List<Item> list;
  for (Item& item : all) list.push_back(item);
  all[0].unlink();
  all[2].unlink();
  all[4].unlink();
  CHECK_FALSE(all[2].linked());
  list.push_back(all[2]);
  CHECK(drain(list) == std::vector{1, 3, 2});
}

TEST_CASE("List: append and prepend move all of another list") {
  auto all = items();
  List<Item> list;
  List<Item> other;
  list.push_back(all[2]);
  other.push_back(all[3]);
  other.push_back(all[4]);
  list.append(other);
  CHECK(other.empty());
  other.push_back(all[0]);
  other.push_back(all[1]);
  list.prepend(other);
  CHECK(other.empty());
  CHECK(drain(list) == std::vector{0, 1, 2, 3, 4});
}

TEST_CASE("List: append and prepend work with empty lists") {
  auto all = items();
  List<Item> list;
  List<Item> other;
  list.append(other);
  list.prepend(other);
  CHECK(list.empty());
  other.push_back(all[1]);
  list.prepend(other);
  list.append(other);
  CHECK(other.empty());
  other.push_back(all[2]);
  CHECK(drain(list) == std::vector{1});
  CHECK(drain(other) == std::vector{2});
}

TEST_CASE("List: an element that was moved to another list leaves that one") {
  auto all = items();
  List<Item> list;
  List<Item> other;
  for (Item& item : all) other.push_back(item);
  list.append(other);
  all[3].unlink();
  CHECK(drain(list) == std::vector{0, 1, 2, 4});
}
