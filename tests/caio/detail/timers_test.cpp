#include <caio/detail/timers.hpp>

#include <deque>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "support/catch.hpp"

using caio::Request;
using caio::detail::Timers;

namespace {

Request due_at(std::int64_t deadline) {
  Request request;
  request.deadline = deadline;
  return request;
}

}  // namespace

TEST_CASE("Timers: nothing is due when there are none") {
  Timers timers;
  CHECK(timers.empty());
  CHECK(timers.expire(std::numeric_limits<std::int64_t>::max()) == nullptr);
  CHECK(timers.take() == nullptr);
}

TEST_CASE("Timers: the earliest comes first, and none before its time") {
  Timers timers;
  Request late = due_at(30);
  Request early = due_at(10);
  Request middle = due_at(20);
  timers.add(late);
  timers.add(early);
  timers.add(middle);
  CHECK(timers.size() == 3);
  CHECK(timers.deadline() == 10);
  CHECK(timers.expire(9) == nullptr);
  CHECK(timers.expire(20) == &early);
  CHECK(timers.expire(20) == &middle);
  CHECK(timers.expire(20) == nullptr);
  CHECK(timers.deadline() == 30);
  CHECK(timers.expire(30) == &late);
  CHECK(timers.empty());
}

TEST_CASE("Timers: equal deadlines come in the order of adding") {
  Timers timers;
  std::deque<Request> requests;
  for (int i = 0; i < 1000; ++i) timers.add(requests.emplace_back(due_at(i % 3)));
  for (int deadline = 0; deadline < 3; ++deadline) {
    for (std::size_t i = static_cast<std::size_t>(deadline); i < requests.size(); i += 3) {
      REQUIRE(timers.expire(5) == &requests[i]);
    }
  }
}

TEST_CASE("Timers: removing one keeps the others") {
  for (std::size_t removed = 0; removed < 7; ++removed) {
    Timers timers;
    std::deque<Request> requests;
    for (const std::int64_t deadline : {1, 5, 2, 8, 6, 4, 3}) timers.add(requests.emplace_back(due_at(deadline)));
    timers.remove(requests[removed]);
    std::int64_t last = 0;
    int count = 0;
    while (const Request* const request = timers.expire(10)) {
      CHECK(request != &requests[removed]);
      CHECK(request->deadline > last);
      last = request->deadline;
      ++count;
    }
    CHECK(count == 6);
  }
}

TEST_CASE("Timers: negative and largest deadlines are ordered, too") {
  Timers timers;
  Request never = due_at(std::numeric_limits<std::int64_t>::max());
  Request past = due_at(-5);
  timers.add(never);
  timers.add(past);
  CHECK(timers.expire(0) == &past);
  CHECK(timers.expire(std::numeric_limits<std::int64_t>::max() - 1) == nullptr);
}

TEST_CASE("Timers: take() gives each once") {
  Timers timers;
  std::deque<Request> requests;
  std::map<const Request*, int> taken;
  for (int i = 0; i < 20; ++i) timers.add(requests.emplace_back(due_at(i * 7 % 10)));
  while (const Request* const request = timers.take()) ++taken[request];
  CHECK(taken.size() == 20);
  CHECK(timers.empty());
}

TEST_CASE("Timers: random adding, removing and expiring agrees with a multimap") {
  std::mt19937 random(7);
  Timers timers;
  std::deque<Request> storage(500);
  std::vector<Request*> idle;
  for (Request& request : storage) idle.push_back(&request);
  std::multimap<std::int64_t, Request*> model;
  for (int step = 0; step < 50'000; ++step) {
    const auto choice = random() % 10;
    if (choice < 5 && !idle.empty()) {
      Request* const request = idle.back();
      idle.pop_back();
      request->deadline = static_cast<std::int64_t>(random() % 100);
      timers.add(*request);
      model.emplace(request->deadline, request);
    } else if (choice < 7 && !model.empty()) {
      auto chosen = std::next(model.begin(), static_cast<std::ptrdiff_t>(random() % model.size()));
      timers.remove(*chosen->second);
      idle.push_back(chosen->second);
      model.erase(chosen);
    } else {
      const auto now = static_cast<std::int64_t>(random() % 100);
      Request* const expected = !model.empty() && model.begin()->first <= now ? model.begin()->second : nullptr;
      REQUIRE(timers.expire(now) == expected);
      if (expected != nullptr) {
        idle.push_back(expected);
        model.erase(model.begin());
      }
    }
    REQUIRE(timers.size() == model.size());
    if (!model.empty()) REQUIRE(timers.deadline() == model.begin()->first);
  }
}
