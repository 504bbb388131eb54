#include <caio/detail/process.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "support/catch.hpp"

using caio::detail::process_generation;
using caio::detail::this_thread;
using caio::detail::ThreadId;

namespace {

/// What `child()` gives in a forked child.
template <class Child>
int in_a_child(Child child) {
  const ::pid_t process = ::fork();
  if (process == 0) ::_exit(child());
  int status = 0;
  REQUIRE(::waitpid(process, &status, 0) == process);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("process_generation: stays in a process and changes in a forked child") {
  const unsigned generation = process_generation();
  CHECK(process_generation() == generation);
  CHECK(in_a_child([generation] { return static_cast<int>(process_generation() - generation); }) == 1);
  CHECK(process_generation() == generation);
}

TEST_CASE("process_generation: changes with each fork on the way") {
  const unsigned generation = process_generation();
  const int forks = in_a_child([generation] {
    const ::pid_t grandchild = ::fork();
    if (grandchild == 0) ::_exit(static_cast<int>(process_generation() - generation));
    int status = 0;
    ::waitpid(grandchild, &status, 0);
    return WEXITSTATUS(status);
  });
  CHECK(forks == 2);
}

TEST_CASE("this_thread: no two threads have had the same, even one after the other") {
  const ThreadId here = this_thread();
  CHECK(this_thread() == here);
  std::set<ThreadId> seen{ThreadId(), here};
  for (int i = 0; i < 20; ++i) {
    ThreadId there{};
    std::thread([&there] { there = this_thread(); }).join();
    CHECK(seen.insert(there).second);
  }
  CHECK(this_thread() == here);
}
