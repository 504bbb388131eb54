#include <caio/detail/thread_pool.hpp>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <deque>
#include <functional>
#include <semaphore>
#include <set>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using caio::Opcode;
using caio::Request;
using caio::RequestList;
using caio::detail::ThreadPool;

namespace {

struct Work : Request {
  explicit Work(std::function<void()> function = [] {}) : body(std::move(function)) {
    opcode = Opcode::call;
    call = [](Request& request) noexcept { static_cast<Work&>(request).body(); };
    result = -1;
  }
  std::function<void()> body;
};

/// A pool and what it has done.
struct Fixture {
  explicit Fixture(unsigned size)
      : pool(size, this, [](void* owner, Request& request) noexcept {
          auto& self = *static_cast<Fixture*>(owner);
          if (request.result != 0) self.good = false;
          self.done.release();
        }) {}

  void push(Work& work) {
    RequestList list;
    list.push_back(work);
    pool.push(list, 1);
  }
  void push(std::deque<Work>& works) {
    RequestList list;
    for (Work& work : works) list.push_back(work);
    pool.push(list, works.size());
  }
  void wait_for(std::size_t count) {
    for (; count > 0; --count) done.acquire();
  }

  std::counting_semaphore<> done{0};
  std::atomic<bool> good{true};
  ThreadPool pool;  // last: its threads use what stands above
};

}  // namespace

TEST_CASE("ThreadPool: starts no thread before it is needed") {
  Fixture fixture(4);
  CHECK(fixture.pool.threads() == 0);
  Work work;
  fixture.push(work);
  CHECK(fixture.pool.threads() == 1);
  fixture.wait_for(1);
}

TEST_CASE("ThreadPool: executes all, and tells of each") {
  Fixture fixture(3);
  std::atomic<int> executed{0};
  std::deque<Work> works;
  for (int i = 0; i < 1000; ++i) works.emplace_back([&executed] { ++executed; });
  fixture.push(works);
  fixture.wait_for(1000);
  CHECK(executed == 1000);
  CHECK(fixture.good);
}

TEST_CASE("ThreadPool: does so on threads of its own") {
  Fixture fixture(2);
  std::thread::id there;
  Work work([&there] { there = std::this_thread::get_id(); });
  fixture.push(work);
  fixture.wait_for(1);
  CHECK(there != std::thread::id());
  CHECK(there != std::this_thread::get_id());
}

TEST_CASE("ThreadPool: many small batches, each awaited, all end") {
  Fixture fixture(4);
  for (int round = 0; round < 500; ++round) {
    std::deque<Work> works;
    const int count = 1 + round % 5;
    for (int i = 0; i < count; ++i) works.emplace_back();
    fixture.push(works);
    fixture.wait_for(static_cast<std::size_t>(count));
  }
  CHECK(fixture.good);
  CHECK(fixture.pool.threads() <= 4);
}

TEST_CASE("ThreadPool: uses all its threads at the same time, and never more") {
  constexpr unsigned size = 3;
  Fixture fixture(size);
  std::barrier together(size);
  std::atomic<unsigned> running{0};
  std::atomic<unsigned> most{0};
  std::deque<Work> works;
  for (unsigned i = 0; i < 4 * size; ++i) {
    works.emplace_back([&] {
      const unsigned now = ++running;
      for (unsigned before = most; before < now && !most.compare_exchange_weak(before, now);) {
      }
      together.arrive_and_wait();  // as many as there are threads
      --running;
      together.arrive_and_wait();
    });
  }
  fixture.push(works);
  fixture.wait_for(4 * size);
  CHECK(most == size);
  CHECK(fixture.pool.threads() == size);
}

TEST_CASE("ThreadPool: executes in the order of pushing") {
  Fixture fixture(1);
  std::vector<int> order;
  std::deque<Work> works;
  for (int i = 0; i < 100; ++i) works.emplace_back([&order, i] { order.push_back(i); });
  for (Work& work : works) fixture.push(work);
  fixture.wait_for(100);
  bool sorted = order.size() == 100;
  for (std::size_t i = 0; sorted && i < order.size(); ++i) sorted = order[i] == static_cast<int>(i);
  CHECK(sorted);
}

TEST_CASE("ThreadPool: takes back what no thread has begun, and nothing else") {
  Fixture fixture(1);
  std::binary_semaphore begun(0);
  std::binary_semaphore go_on(0);
  Work running([&] {
    begun.release();
    go_on.acquire();
  });
  bool executed = false;
  Work queued([&executed] { executed = true; });
  Work last;
  fixture.push(running);
  begun.acquire();
  fixture.push(queued);
  fixture.push(last);
  CHECK_FALSE(fixture.pool.take_back(running));
  CHECK(fixture.pool.take_back(queued));
  CHECK_FALSE(queued.linked());
  CHECK_FALSE(fixture.pool.take_back(queued));
  go_on.release();
  fixture.wait_for(2);
  CHECK_FALSE(fixture.pool.take_back(last));
  CHECK_FALSE(executed);
}

TEST_CASE("ThreadPool: its end waits for what it executes") {
  std::atomic<bool> ended{false};
  std::binary_semaphore begun(0);
  Work work([&] {
    begun.release();
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    ended = true;
  });
  {
    Fixture fixture(1);
    fixture.push(work);
    begun.acquire();
  }
  CHECK(ended);
}

TEST_CASE("ThreadPool: its threads take no signals, and the caller's mask stays") {
  ::sigset_t before;
  ::sigset_t after;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &before);
  Fixture fixture(1);
  ::sigset_t inside;
  ::sigemptyset(&inside);
  Work work([&inside] { ::pthread_sigmask(SIG_BLOCK, nullptr, &inside); });
  fixture.push(work);
  fixture.wait_for(1);
  ::pthread_sigmask(SIG_BLOCK, nullptr, &after);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD, SIGXFSZ, SIGPIPE}) {
    CHECK(::sigismember(&inside, signal) == 1);
    CHECK(::sigismember(&after, signal) == ::sigismember(&before, signal));
  }
}

TEST_CASE("ThreadPool: its threads leave a terminal's signals as the caller has them") {
  for (const int blocked : {SIGTTIN, SIGTTOU}) {
    ::sigset_t before;
    ::sigset_t some;
    ::sigset_t inside;
    ::sigemptyset(&some);
    ::sigaddset(&some, blocked);
    ::pthread_sigmask(SIG_BLOCK, &some, &before);
    Fixture fixture(1);
    Work work([&inside] { ::pthread_sigmask(SIG_BLOCK, nullptr, &inside); });
    fixture.push(work);
    fixture.wait_for(1);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    CHECK(::sigismember(&inside, SIGTTIN) == (blocked == SIGTTIN ? 1 : 0));
    CHECK(::sigismember(&inside, SIGTTOU) == (blocked == SIGTTOU ? 1 : 0));
  }
}

TEST_CASE("ThreadPool: executes on the caller's thread where no thread can be had") {
  enum Code { good, not_here, no_limit };
  const ::pid_t process = ::fork();
  if (process == 0) {
    // The limit does not hold for root.
    const ::rlimit none{0, 0};
    if (::setrlimit(RLIMIT_NPROC, &none) != 0 || (::geteuid() == 0 && ::setuid(65534) != 0)) ::_exit(no_limit);
    try {
      std::thread([] {}).join();
      ::_exit(no_limit);
    } catch (const std::system_error&) {
    }
    Fixture fixture(4);
    int executed = 0;
    const auto caller = std::this_thread::get_id();
    std::deque<Work> works;
    for (int i = 0; i < 3; ++i) works.emplace_back([&] { executed += std::this_thread::get_id() == caller ? 1 : 0; });
    fixture.push(works);
    ::_exit(executed == 3 && fixture.pool.threads() == 0 ? good : not_here);
  }
  int status = 0;
  REQUIRE(::waitpid(process, &status, 0) == process);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == no_limit) {
    WARN("RLIMIT_NPROC cannot be made to hold here");
    return;
  }
  CHECK(WEXITSTATUS(status) == good);
}

TEST_CASE("ThreadPool: a forked child's copy ends without its threads") {
  Fixture fixture(2);
  Work work;
  fixture.push(work);
  fixture.wait_for(1);
  const ::pid_t process = ::fork();
  if (process == 0) {
    ::alarm(60);
    fixture.pool.~ThreadPool();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(process, &status, 0) == process);
  CHECK(WIFEXITED(status));
  Work another;
  fixture.push(another);
  fixture.wait_for(1);
}
