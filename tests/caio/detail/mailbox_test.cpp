#include <caio/detail/mailbox.hpp>

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using caio::Job;
using caio::detail::Mailbox;

namespace {

bool readable(const Mailbox& mailbox, int patience = 0) {
  ::pollfd polled{.fd = mailbox.fileno(), .events = POLLIN, .revents = 0};
  return ::poll(&polled, 1, patience) == 1;
}

std::size_t count(const Job* first) {
  std::size_t jobs = 0;
  for (; first != nullptr; first = static_cast<const Job*>(first->next)) ++jobs;
  return jobs;
}

/// Signals that wait to be read; takes them.
std::uint64_t signals(const Mailbox& mailbox) {
  std::uint64_t value = 0;
  return ::read(mailbox.fileno(), &value, sizeof value) > 0 ? value : 0;
}

}  // namespace

TEST_CASE("Mailbox: a push while awake gives no signal") {
  Mailbox mailbox;
  Job job;
  CHECK(mailbox.push(job));
  CHECK_FALSE(readable(mailbox));
  CHECK_FALSE(mailbox.empty());
  CHECK(mailbox.take() == &job);
  CHECK(mailbox.empty());
  CHECK(mailbox.take() == nullptr);
}

TEST_CASE("Mailbox: pushes while asleep give one signal") {
  Mailbox mailbox;
  std::array<Job, 3> jobs;
  REQUIRE(mailbox.prepare_sleep());
  for (Job& job : jobs) CHECK(mailbox.push(job));
  CHECK(signals(mailbox) == 1);
}

TEST_CASE("Mailbox: taking what woke it takes the signal, too") {
  Mailbox mailbox;
  for (int round = 0; round < 3; ++round) {
    std::array<Job, 2> jobs;
    REQUIRE(mailbox.prepare_sleep());
    for (Job& job : jobs) mailbox.push(job);
    CHECK(readable(mailbox));
    CHECK(count(mailbox.take()) == 2);
    CHECK_FALSE(readable(mailbox));
  }
}

TEST_CASE("Mailbox: after a sleep that nothing ended, a push gives no signal") {
  Mailbox mailbox;
  REQUIRE(mailbox.prepare_sleep());
  CHECK(mailbox.take() == nullptr);
  Job job;
  mailbox.push(job);
  CHECK_FALSE(readable(mailbox));
  CHECK_FALSE(mailbox.prepare_sleep());
}

TEST_CASE("Mailbox: a kick makes it readable until the next take()") {
  Mailbox mailbox;
  mailbox.kick();
  mailbox.kick();
  CHECK(readable(mailbox));
  CHECK(mailbox.take() == nullptr);
  CHECK_FALSE(readable(mailbox));
  mailbox.kick();
  CHECK(readable(mailbox));
}

TEST_CASE("Mailbox: a kick and a push before one take() leave nothing behind") {
  Mailbox mailbox;
  Job job;
  REQUIRE(mailbox.prepare_sleep());
  mailbox.kick();
  mailbox.push(job);
  CHECK(mailbox.take() == &job);
  CHECK_FALSE(readable(mailbox));
}

TEST_CASE("Mailbox: a signal that comes after its job was taken does not keep it readable") {
  Mailbox mailbox;
  Job job;
  REQUIRE(mailbox.prepare_sleep());
  mailbox.push(job);
  REQUIRE(signals(mailbox) == 1);  // as if the producer had not come to it yet
  CHECK(mailbox.take() == &job);
  const std::uint64_t late = 1;
  REQUIRE(::write(mailbox.fileno(), &late, sizeof late) == sizeof late);
  CHECK(readable(mailbox));
  CHECK(mailbox.take() == nullptr);
  CHECK_FALSE(readable(mailbox));
}

TEST_CASE("Mailbox: a sleep that a push has prevented takes the signal of the one before") {
  Mailbox mailbox;
  Job job;
  REQUIRE(mailbox.prepare_sleep());
  mailbox.push(job);
  CHECK_FALSE(mailbox.prepare_sleep());
  CHECK(mailbox.take() == &job);
  CHECK_FALSE(readable(mailbox));
}

TEST_CASE("Mailbox: a late signal does not hide a later one") {
  Mailbox mailbox;
  std::array<Job, 2> jobs;
  REQUIRE(mailbox.prepare_sleep());
  mailbox.push(jobs[0]);
  REQUIRE(signals(mailbox) == 1);
  CHECK(mailbox.take() == &jobs[0]);
  REQUIRE(mailbox.prepare_sleep());
  mailbox.push(jobs[1]);
  CHECK(readable(mailbox));
  const std::uint64_t late = 1;
  REQUIRE(::write(mailbox.fileno(), &late, sizeof late) == sizeof late);
  CHECK(mailbox.take() == &jobs[1]);
  CHECK(mailbox.take() == nullptr);
  CHECK_FALSE(readable(mailbox));
}

TEST_CASE("Mailbox: close() gives what is there and refuses the rest") {
  Mailbox mailbox;
  std::array<Job, 2> jobs;
  mailbox.push(jobs[0]);
  CHECK(mailbox.close() == &jobs[0]);
  CHECK_FALSE(mailbox.push(jobs[1]));
  CHECK_FALSE(readable(mailbox));
}

TEST_CASE("Mailbox: no wake-up is lost or left over between threads that push and one that sleeps") {
  constexpr std::size_t producers = 3;
  constexpr std::size_t each = 5'000;
  Mailbox mailbox;
  std::vector<std::vector<Job>> jobs(producers);
  for (auto& mine : jobs) mine = std::vector<Job>(each);
  std::vector<std::thread> threads;
  for (auto& mine : jobs) {
    threads.emplace_back([&mailbox, &mine] {
      for (Job& job : mine) mailbox.push(job);
    });
  }
  bool woken = true;
  std::size_t arrived = 0;
  while (woken && arrived < producers * each) {
    if (mailbox.prepare_sleep()) woken = readable(mailbox, 60'000);
    arrived += count(mailbox.take());
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(woken);
  CHECK(arrived == producers * each);
  CHECK(mailbox.take() == nullptr);
  CHECK_FALSE(readable(mailbox));
}
