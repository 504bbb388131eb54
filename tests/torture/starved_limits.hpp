#pragma once
// For starved.cpp: what a process can be denied, and the report of how it went.

#include <grp.h>
#include <libaio.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <aiofile/aiofile.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <system_error>
#include <vector>

namespace starvation {

using aiofile::Task;
using caio::Context;

inline constexpr std::size_t page = 4096;

/// What the child has to say, in memory shared with its parent: it may have no descriptors left.
struct Report {
  char served[32];
  char reasons[2000];
  char broken[2000];   // a promise
  char refused[500];   // an error that the row may bring
  int error;           // its errno
  std::uint64_t done;  // operations of the memory cgroup's row

  static void say(char* place, std::size_t size, const std::string& text) {
    std::snprintf(place, size, "%s", text.c_str());
  }
  void breaks(const std::string& what) {
    if (broken[0] == 0) say(broken, sizeof broken, what);
  }
};

struct Row {
  std::string name;
  std::string allowed;      // backends that may serve it
  std::vector<int> errors;  // errno that a refusal may have; none: it has to work
  std::function<void(Report&)> body;
};

inline void check(int status, const char* what) {
  if (status < 0) throw std::system_error(errno, std::system_category(), what);
}

inline void limit(__rlimit_resource resource, ::rlim_t value) {
  const ::rlimit both{value, value};
  check(::setrlimit(resource, &both), "setrlimit");
}

inline void become_nobody() {
  constexpr ::uid_t nobody = 65534;
  check(::setgroups(0, nullptr), "setgroups");
  check(::setresgid(nobody, nobody, nobody), "setresgid");
  check(::setresuid(nobody, nobody, nobody), "setresuid");
}

/// A seccomp filter as containers have it: these system calls fail with this error.
inline void deny(int error, const std::vector<long>& calls) {
#ifdef __x86_64__
  constexpr unsigned architecture = AUDIT_ARCH_X86_64;
#else
  constexpr unsigned architecture = AUDIT_ARCH_AARCH64;
#endif
  const auto statement = [](int code, unsigned value) {
    return ::sock_filter{static_cast<unsigned short>(code), 0, 0, value};
  };
  const auto skip_one_unless = [](unsigned value) {
    return ::sock_filter{static_cast<unsigned short>(BPF_JMP | BPF_JEQ | BPF_K), 0, 1, value};
  };
  constexpr int load = BPF_LD | BPF_W | BPF_ABS;
  constexpr int answer = BPF_RET | BPF_K;
  std::vector<::sock_filter> program{
      statement(load, offsetof(::seccomp_data, arch)),
      {static_cast<unsigned short>(BPF_JMP | BPF_JEQ | BPF_K), 1, 0, architecture},
      statement(answer, SECCOMP_RET_KILL_PROCESS),
      statement(load, offsetof(::seccomp_data, nr)),
  };
  for (const long call : calls) {
    program.push_back(skip_one_unless(static_cast<unsigned>(call)));
    program.push_back(statement(answer, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)));
  }
  program.push_back(statement(answer, SECCOMP_RET_ALLOW));
  const ::sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  check(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
  check(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), "seccomp");
}

inline const std::vector<long> ring_calls{SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register};

/// Takes all of /proc/sys/fs/aio-max-nr, which is the machine's; the end of this process gives it back.
class AllAioContexts {
 public:
  AllAioContexts() {
    for (unsigned events = 8192; events > 0;) {
      ::io_context_t context = nullptr;
      if (::io_setup(static_cast<int>(events), &context) == 0) {
        contexts_.push_back(context);
      } else {
        events /= 2;
      }
    }
  }
  AllAioContexts(const AllAioContexts&) = delete;
  AllAioContexts& operator=(const AllAioContexts&) = delete;
  ~AllAioContexts() {
    for (const ::io_context_t context : contexts_) ::io_destroy(context);
  }

 private:
  std::vector<::io_context_t> contexts_;
};

}  // namespace starvation
