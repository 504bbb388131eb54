#include <caio/selection.hpp>

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <caio/context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Implementation;
using caio::Task;
using support::ChildResult;
using support::in_child;

namespace {

/// A child whose environment names no backend, and that asks the probes anew.
template <class Function>
ChildResult in_fresh_child(Function function) {
  return in_child([&function] {
    ::unsetenv("CAIO_IMPL");
    ::unsetenv("CAIO_STRICT");
    caio::detail::Probes::forget();
    return std::string(function());
  });
}

Task<bool> round_trip(Context& context, int fd) {
  const std::string text = "there and back";
  std::string back(text.size(), '?');
  const std::size_t written = co_await context.write(fd, support::bytes_of(text), 0);
  const std::size_t read = co_await context.read(fd, support::room_in(back), 0);
  const int answer = co_await context.offload([] { return 42; });
  co_await context.sleep_for(std::chrono::microseconds(10));
  co_return written == text.size() && read == text.size() && back == text&& answer == 42;
}

bool works(Context& context) {
  const support::Fd file(::memfd_create("caio-test", MFD_CLOEXEC));
  return context.run(round_trip(context, file.get()));
}

std::string words(const std::vector<Implementation>& list) {
  std::string text;
  for (const Implementation each : list) text += std::string(caio::name(each)) + " ";
  return text;
}

std::ptrdiff_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// The preferred backend of this child, whether it works, and what the context says of itself.
std::string use_preferred() {
  Context context({.speculate = false});
  return std::string(caio::name(context.implementation())) + (works(context) ? " works\n" : " fails\n") +
         context.explain();
}

}  // namespace

TEST_CASE("Selection: the backends have the words of CAIO_IMPL") {
  CHECK(caio::name(Implementation::uring) == "uring");
  CHECK(caio::name(Implementation::linux_aio) == "linux");
  CHECK(caio::name(Implementation::thread) == "thread");
  CHECK(caio::name(Implementation::blocking) == "blocking");
}

TEST_CASE("Selection: available() is best first and always ends with thread and blocking") {
  const std::vector<Implementation> list = caio::available();
  REQUIRE(list.size() >= 2);
  CHECK(std::is_sorted(list.begin(), list.end()));
  CHECK(list[list.size() - 2] == Implementation::thread);
  CHECK(list.back() == Implementation::blocking);
  for (const Implementation each : caio::implementations) {
    const bool listed = std::find(list.begin(), list.end(), each) != list.end();
    CHECK(caio::why_unavailable(each).empty() == listed);
  }
}

TEST_CASE("Selection: CAIO_IMPL selects each backend") {
  for (const Implementation implementation : support::backends()) {
    const std::string word(caio::name(implementation));
    DYNAMIC_SECTION(word) {
      const ChildResult child = in_fresh_child([&word] {
        ::setenv("CAIO_IMPL", word.c_str(), 1);
        ::setenv("CAIO_STRICT", "1", 1);
        return std::string(caio::name(caio::preferred())) + " " + use_preferred();
      });
      CHECK(child.status == 0);
      CHECK(child.answer.starts_with(word + " " + word + " works\n"));
      CHECK(child.errors.empty());
    }
  }
}

TEST_CASE("Selection: without CAIO_IMPL the best one is preferred") {
  const ChildResult child = in_fresh_child([] {
    const auto named = caio::detail::from_file(CAIO_DEFAULT_IMPLEMENTATION_FILE);
    const Implementation expected = named ? *named : caio::available().front();
    return caio::preferred() == expected ? use_preferred() : "another";
  });
  CHECK(contains(child.answer, " works\n"));
  CHECK(child.errors.empty());
}

TEST_CASE("Selection: an empty CAIO_IMPL is none") {
  const ChildResult child = in_fresh_child([] {
    ::setenv("CAIO_IMPL", "", 1);
    ::setenv("CAIO_STRICT", "1", 1);
    return use_preferred();
  });
  CHECK(contains(child.answer, " works\n"));
  CHECK(child.errors.empty());
}

TEST_CASE("Selection: an unknown CAIO_IMPL gives one line on stderr and the best backend") {
  const ChildResult child = in_fresh_child([] {
    ::setenv("CAIO_IMPL", "turbo", 1);
    const std::string best(caio::name(caio::available().front()));
    for (int i = 0; i < 3; ++i) {
      const Context context;
      if (caio::name(context.implementation()) != best) return std::string("not the best");
    }
    return best + "|" + words(caio::available());
  });
  CHECK(child.answer == std::string(caio::name(caio::available().front())) + "|" + words(caio::available()));
  CHECK(lines(child.errors) == 1);
  CHECK(contains(child.errors, "CAIO_IMPL=turbo"));
  CHECK(contains(child.errors, "available: " + words(caio::available()).substr(0, 4)));
}

TEST_CASE("Selection: with CAIO_STRICT=1 an unknown CAIO_IMPL is an exception") {
  const ChildResult child = in_fresh_child([] {
    ::setenv("CAIO_IMPL", "turbo", 1);
    ::setenv("CAIO_STRICT", "1", 1);
    return use_preferred();
  });
  CHECK(child.answer.starts_with("exception: "));
  CHECK(contains(child.answer, "CAIO_IMPL=turbo"));
  CHECK(child.errors.empty());
}

TEST_CASE("Selection: CAIO_STRICT does not concern a backend that the program names") {
  const ChildResult child = in_fresh_child([] {
    ::setenv("CAIO_IMPL", "turbo", 1);
    ::setenv("CAIO_STRICT", "1", 1);
    Context context(Implementation::thread);
    return works(context) ? "works" : "fails";
  });
  CHECK(child.answer == "works");
  CHECK(child.errors.empty());
}

// --- the file of the default

TEST_CASE("Selection: the first usable word of the file wins") {
  const support::TemporaryDirectory directory;
  const auto chosen = [&directory](std::string_view content) {
    return caio::detail::from_file(directory.file("default", content).c_str());
  };
  CHECK(chosen("# a comment: blocking\nturbo\n  thread  # not blocking\nblocking\n") == Implementation::thread);
  CHECK(chosen("blocking") == Implementation::blocking);
  CHECK(chosen("turbo blocking thread\n") == Implementation::blocking);
  CHECK(chosen("THREAD\nthread2\n\n\tblocking\r\n") == Implementation::blocking);
  CHECK_FALSE(chosen("").has_value());
  CHECK_FALSE(chosen("# thread\n#blocking\nturbo\n").has_value());
  CHECK_FALSE(caio::detail::from_file((directory / "missing").c_str()).has_value());
  CHECK_FALSE(caio::detail::from_file(directory.path().c_str()).has_value());
}

#if CAIO_WITH_LIBURING

namespace {

int queue_init_error = 0;
int queue_inits = 0;

/// From now on the kernel refuses rings.
void refuse_rings(int error) {
  queue_init_error = error;
  caio::uring_calls.queue_init = [](unsigned, ::io_uring*, ::io_uring_params*) {
    return ++queue_inits, -queue_init_error;
  };
}

struct Rule {
  unsigned system_call;
  int error;
};

/// A seccomp filter as containers have it: these system calls fail with these errors.
bool deny(const std::vector<Rule>& rules) {
#ifdef __x86_64__
  constexpr unsigned architecture = AUDIT_ARCH_X86_64;
#else
  constexpr unsigned architecture = AUDIT_ARCH_AARCH64;
#endif
  const auto load = [](std::size_t offset) {
    return ::sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<unsigned>(offset)};
  };
  std::vector<::sock_filter> program;
  program.push_back(load(offsetof(::seccomp_data, arch)));
  program.push_back({BPF_JMP | BPF_JEQ | BPF_K, 1, 0, architecture});
  program.push_back({BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS});
  program.push_back(load(offsetof(::seccomp_data, nr)));
  for (const Rule& rule : rules) {
    program.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 1, rule.system_call});
    program.push_back({BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | static_cast<unsigned>(rule.error)});
  }
  program.push_back({BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW});
  const ::sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

std::string next_best() {
  std::vector<Implementation> list = caio::available();
  std::erase(list, Implementation::uring);
  return std::string(caio::name(list.front()));
}

}  // namespace

TEST_CASE("Selection: io_uring is not even tried when CAIO_IMPL names another one") {
  const ChildResult child = in_fresh_child([] {
    ::setenv("CAIO_IMPL", "thread", 1);
    refuse_rings(EPERM);
    Context context;
    std::string text = works(context) ? "works " : "fails ";
    text += words(caio::available()) + "|" + caio::why_unavailable(Implementation::uring) + "|" + context.explain();
    try {
      const Context explicitly(Implementation::uring);
      text += "made";
    } catch (const std::system_error& error) {
      text += error.what();
    }
    return std::to_string(queue_inits) + " rings " + text;
  });
  CHECK(child.answer.starts_with("0 rings works "));
  CHECK_FALSE(contains(child.answer.substr(0, child.answer.find('|')), "uring "));
  CHECK(contains(child.answer, "|not probed (CAIO_IMPL=thread)|"));
  CHECK(contains(child.answer, "uring is not available: not probed (CAIO_IMPL=thread)"));
  CHECK_FALSE(contains(child.answer, "made"));
  CHECK(child.errors.empty());
}

TEST_CASE("Selection: where io_uring is refused, the next best works and the reason is told") {
  const int error = GENERATE(EPERM, ENOSYS, EACCES, ENOMEM, EMFILE);
  DYNAMIC_SECTION(std::system_category().message(error)) {
    const std::string expected = next_best();
    const ChildResult child = in_fresh_child([error] {
      refuse_rings(error);
      std::string text = use_preferred();
      try {
        const Context context(Implementation::uring);
        text += "made";
      } catch (const std::system_error& failure) {
        text += "refused with " + std::to_string(failure.code().value()) + ": " + failure.what() + "\n";
      }
      return text + "available: " + words(caio::available());
    });
    CHECK(child.answer.starts_with(expected + " works\n"));
    CHECK(contains(child.answer, "uring is not available: "));
    CHECK(contains(child.answer, std::system_category().message(error)));
    CHECK(contains(child.answer, "(errno " + std::to_string(error) + ")"));
    CHECK(contains(child.answer, "refused with " + std::to_string(error)));
    CHECK_FALSE(contains(child.answer, "available: uring"));
    CHECK(child.errors.empty());
  }
}

TEST_CASE("Selection: the reason comes with a remedy") {
  const auto reason = [](int error) {
    return in_fresh_child([error] {
             refuse_rings(error);
             return caio::why_unavailable(Implementation::uring);
           })
        .answer;
  };
  CHECK(contains(reason(EPERM), "seccomp"));
  CHECK(contains(reason(EPERM), "kernel.io_uring_disabled"));
  CHECK(contains(reason(ENOSYS), "kernel"));
  CHECK(contains(reason(ENOMEM), "RLIMIT_MEMLOCK"));
  CHECK(contains(reason(EMFILE), "RLIMIT_NOFILE"));
}

TEST_CASE("Selection: CAIO_IMPL=uring where it is refused gives one line, or an exception when strict") {
  const ChildResult child = in_fresh_child([] {
    ::setenv("CAIO_IMPL", "uring", 1);
    refuse_rings(EPERM);
    use_preferred();
    return use_preferred();
  });
  CHECK(child.answer.starts_with(next_best() + " works\n"));
  CHECK(lines(child.errors) == 1);
  CHECK(contains(child.errors, "CAIO_IMPL=uring: "));
  CHECK(contains(child.errors, "(errno 1)"));

  const ChildResult strict = in_fresh_child([] {
    ::setenv("CAIO_IMPL", "uring", 1);
    ::setenv("CAIO_STRICT", "1", 1);
    refuse_rings(EPERM);
    return use_preferred();
  });
  CHECK(strict.answer.starts_with("exception: "));
  CHECK(contains(strict.answer, "(errno 1)"));
}

TEST_CASE("Selection: a ring that cannot be had after the probe is replaced by the next best, which says so") {
  if (!support::usable(Implementation::uring)) return;
  const ChildResult child = in_fresh_child([] {
    const bool was_there = caio::why_unavailable(Implementation::uring).empty();
    refuse_rings(ENOMEM);
    std::string text = was_there ? use_preferred() : "not there";
    try {
      const Context context(Implementation::uring);
    } catch (const std::system_error& error) {
      text += "refused with " + std::to_string(error.code().value());
    }
    return text;
  });
  CHECK(child.answer.starts_with(next_best() + " works\n"));
  CHECK(contains(child.answer, "\nuring: io_uring_setup: "));
  CHECK(contains(child.answer, "refused with " + std::to_string(ENOMEM)));
}

TEST_CASE("Selection: seccomp that denies io_uring") {
  if (!support::usable(Implementation::uring)) return;
  const int error = GENERATE(EPERM, ENOSYS, EACCES);
  DYNAMIC_SECTION(std::system_category().message(error)) {
    const std::string expected = next_best();
    const ChildResult child = in_fresh_child([error] {
      const std::vector<Rule> rules{
          {SYS_io_uring_setup, error}, {SYS_io_uring_enter, error}, {SYS_io_uring_register, error}};
      if (!deny(rules)) return std::string("no seccomp here");
      return use_preferred();
    });
    if (child.answer == "no seccomp here") return;
    CHECK(child.status == 0);
    CHECK(child.answer.starts_with(expected + " works\n"));
    CHECK(contains(child.answer, "uring is not available: io_uring_setup: "));
    CHECK(contains(child.answer, "(errno " + std::to_string(error) + ")"));
  }
}

TEST_CASE("Selection: seccomp that denies a part of io_uring") {
  if (!support::usable(Implementation::uring)) return;
  const auto denied = GENERATE(SYS_io_uring_enter, SYS_io_uring_register);
  DYNAMIC_SECTION("system call " << denied) {
    const ChildResult child = in_fresh_child([denied] {
      if (!deny({{static_cast<unsigned>(denied), EPERM}})) return std::string("no seccomp here");
      return use_preferred();
    });
    if (child.answer == "no seccomp here") return;
    CHECK(child.status == 0);
    CHECK(contains(child.answer, " works\n"));
    if (denied == SYS_io_uring_enter) CHECK(child.answer.starts_with(next_best()));
  }
}

TEST_CASE("Selection: a sandbox that kills for io_uring does not kill who names another backend") {
  const ChildResult child = in_fresh_child([] {
    ::setenv("CAIO_IMPL", "thread", 1);
    ::sock_filter program[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(::seccomp_data, nr)},
                               {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_io_uring_setup},
                               {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS},
                               {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
    const ::sock_fprog filter{4, program};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return std::string("thread works\n");
    ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
    return use_preferred();
  });
  CHECK(child.status == 0);
  CHECK(child.answer.starts_with("thread works\n"));
}

TEST_CASE("Selection: io_uring works for a user with 64 KiB of locked memory") {
  if (!support::usable(Implementation::uring)) return;
  const ChildResult child = in_fresh_child([] {
    const ::rlimit limit{64 * 1024, 64 * 1024};
    ::setrlimit(RLIMIT_MEMLOCK, &limit);
    if (::geteuid() == 0 && !support::become_nobody()) return std::string("cannot change user");
    if (caio::detail::obstacle(Implementation::uring).code == EPERM) return std::string("cannot use io_uring");
    Context context(Implementation::uring, {.speculate = false});
    return std::string(works(context) ? "works" : "fails");
  });
  if (child.answer.starts_with("cannot")) return;
  CHECK(child.answer == "works");
}

#endif

TEST_CASE("Selection: out of descriptors, a context works or says why not") {
  // UBSan needs descriptors of its own to look at an exception's type.
  for (int spare = caio::detail::recycles_frames ? 0 : 6; spare < 12; ++spare) {
    INFO("with " << spare << " descriptors to spare");
    const ChildResult child = in_fresh_child([spare] {
      const support::Fd file(::memfd_create("caio-test", MFD_CLOEXEC));
      int last = file.get();
      while (const int next = ::dup(file.get())) {
        if (next < 0) break;
        last = next;
        if (next > 100) break;
      }
      const ::rlimit limit{static_cast<::rlim_t>(last + 1), static_cast<::rlim_t>(last + 1)};
      ::setrlimit(RLIMIT_NOFILE, &limit);
      for (int fd = last; fd > last - spare; --fd) ::close(fd);
      try {
        Context context;
        return std::string(context.run(round_trip(context, file.get())) ? "works" : "fails");
      } catch (const std::system_error& error) {
        return "errno " + std::to_string(error.code().value());
      }
    });
    CHECK(child.status == 0);
    CHECK((child.answer == "works" || child.answer == "errno " + std::to_string(EMFILE)));
    if (spare == 0) CHECK(child.answer != "works");
    if (spare > 8) CHECK(child.answer == "works");
  }
}

TEST_CASE("Selection: nothing is left open by probing") {
  const ChildResult child = in_fresh_child([] {
    const std::size_t before = support::open_descriptors();
    static_cast<void>(caio::available());
    { const Context context; }
    return std::to_string(support::open_descriptors() - before);
  });
  CHECK(child.answer == "0");
}
