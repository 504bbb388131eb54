#include <caio/detail/inbox.hpp>

#include <array>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using caio::Job;
using caio::detail::Inbox;

namespace {

std::vector<const Job*> all(const Job* first) {
  std::vector<const Job*> jobs;
  for (; first != nullptr; first = static_cast<const Job*>(first->next)) jobs.push_back(first);
  return jobs;
}

struct Numbered : Job {
  unsigned producer = 0;
  unsigned number = 0;
};

}  // namespace

TEST_CASE("Inbox: is empty and awake at first") {
  Inbox inbox;
  CHECK(inbox.empty());
  CHECK(inbox.take_all() == nullptr);
  Job job;
  CHECK(inbox.push(job) == Inbox::Push::awake);
  CHECK_FALSE(inbox.empty());
}

TEST_CASE("Inbox: gives its jobs once, oldest first") {
  Inbox inbox;
  std::array<Job, 3> jobs;
  for (Job& job : jobs) inbox.push(job);
  CHECK(all(inbox.take_all()) == std::vector<const Job*>{&jobs[0], &jobs[1], &jobs[2]});
  CHECK(inbox.empty());
  CHECK(inbox.take_all() == nullptr);
}

TEST_CASE("Inbox: the first push of a sleep is told so, the next ones not") {
  Inbox inbox;
  REQUIRE(inbox.try_sleep());
  CHECK(inbox.empty());
  std::array<Job, 2> jobs;
  CHECK(inbox.push(jobs[0]) == Inbox::Push::asleep);
  CHECK(inbox.push(jobs[1]) == Inbox::Push::awake);
  CHECK(all(inbox.take_all()) == std::vector<const Job*>{&jobs[0], &jobs[1]});
}

TEST_CASE("Inbox: there is no sleep while it holds something") {
  Inbox inbox;
  Job job;
  inbox.push(job);
  CHECK_FALSE(inbox.try_sleep());
  REQUIRE(inbox.take_all() == &job);
  CHECK(inbox.try_sleep());
  CHECK(inbox.try_sleep());
}

TEST_CASE("Inbox: taking ends the sleep") {
  Inbox inbox;
  REQUIRE(inbox.try_sleep());
  CHECK(inbox.take_all() == nullptr);
  Job job;
  CHECK(inbox.push(job) == Inbox::Push::awake);
}

TEST_CASE("Inbox: close() gives what came before and refuses the rest") {
  Inbox inbox;
  std::array<Job, 2> jobs;
  inbox.push(jobs[0]);
  CHECK(inbox.close() == &jobs[0]);
  CHECK(inbox.push(jobs[1]) == Inbox::Push::closed);
  CHECK(inbox.close() == nullptr);
}

TEST_CASE("Inbox: close() of a sleeping one refuses, too") {
  Inbox inbox;
  REQUIRE(inbox.try_sleep());
  CHECK(inbox.close() == nullptr);
  Job job;
  CHECK(inbox.push(job) == Inbox::Push::closed);
}

TEST_CASE("Inbox: what four threads push arrives once, each thread's jobs in its order") {
  constexpr unsigned producers = 4;
  constexpr unsigned each = 100'000;
  Inbox inbox;
  std::vector<std::vector<Numbered>> jobs(producers);
  for (unsigned producer = 0; producer < producers; ++producer) {
    jobs[producer].resize(each);
    for (unsigned i = 0; i < each; ++i) {
      jobs[producer][i].producer = producer;
      jobs[producer][i].number = i;
    }
  }
  std::vector<std::thread> threads;
  for (unsigned producer = 0; producer < producers; ++producer) {
    threads.emplace_back([&inbox, &mine = jobs[producer]] {
      for (Numbered& job : mine) inbox.push(job);
    });
  }
  std::array<unsigned, producers> next{};
  bool in_order = true;
  for (unsigned arrived = 0; arrived < producers * each;) {
    for (Job* job = inbox.take_all(); job != nullptr;) {
      const auto& numbered = static_cast<const Numbered&>(*job);
      job = static_cast<Job*>(job->next);
      in_order = in_order && numbered.number == next[numbered.producer]++;
      ++arrived;
    }
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(in_order);
  CHECK(inbox.empty());
  CHECK(next == std::array<unsigned, producers>{each, each, each, each});
}
