#include <caio/detail/ownership.hpp>

#include <atomic>
#include <thread>

#include "support/catch.hpp"

using caio::detail::Ownership;

namespace {

bool attached_elsewhere(Ownership& ownership) {
  bool attached = true;
  std::thread([&] { attached = ownership.attach(); }).join();
  return attached;
}

}  // namespace

TEST_CASE("Ownership: belongs to the thread that comes first, and to no other") {
  Ownership ownership;
  CHECK_FALSE(ownership.taken());
  CHECK_FALSE(ownership.here());
  CHECK(ownership.made_here());
  CHECK(ownership.attach());
  CHECK(ownership.attach());
  CHECK(ownership.here());
  CHECK_FALSE(attached_elsewhere(ownership));
  std::thread([&] {
    CHECK_FALSE(ownership.here());
    CHECK_FALSE(ownership.made_here());
  }).join();
}

TEST_CASE("Ownership: when the owner's thread has ended nobody drives any more, and anybody may end") {
  Ownership ownership;
  std::thread([&] {
    ownership.attach();
    ownership.begin_settling();
    CHECK(ownership.settling());
    CHECK_FALSE(ownership.here());
    ownership.end_settling();
    CHECK(ownership.attach());  // by a later destructor of the same thread
    ownership.begin_settling();
    ownership.end_settling();
  }).join();
  CHECK(ownership.settled());
  CHECK_FALSE(ownership.attach());
  ownership.take_over();
  CHECK(ownership.here());
}

TEST_CASE("Ownership: the thread of another settles nothing") {
  Ownership ownership;
  ownership.attach();
  std::thread([&] {
    ownership.begin_settling();
    ownership.end_settling();
  }).join();
  CHECK(ownership.here());
}

TEST_CASE("Ownership: who ends the context waits for its thread to settle") {
  for (int round = 0; round < 100; ++round) {
    Ownership ownership;
    std::atomic<bool> begun = false;
    int settled = 0;  // written and read without a lock: take_over() is the ordering
    std::thread owner([&] {
      ownership.attach();
      ownership.begin_settling();
      begun = true;
      begun.notify_one();
      settled = 1;
      ownership.end_settling();
    });
    begun.wait(false);
    ownership.take_over();
    CHECK(settled == 1);
    CHECK(ownership.here());
    owner.join();
  }
}
