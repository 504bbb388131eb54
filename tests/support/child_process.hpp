#pragma once
// Runs a function in a forked child, where it may change the environment, limits and system calls.

#include <grp.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include "support/pipe.hpp"

namespace support {

struct ChildResult {
  std::string answer;  // what the function gave, or "exception: " and what()
  std::string errors;  // what went to stderr
  int status = -1;     // of wait(2): 0 when all went well
};

/// `function()` gives a std::string.
template <class Function>
ChildResult in_child(Function function) {
  Pipe answer;
  Pipe errors;
  const ::pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) {
    ::dup2(errors.writer.get(), STDERR_FILENO);
    std::string text;
    try {
      text = function();
    } catch (const std::exception& error) {
      text = std::string("exception: ") + error.what();
    }
    const bool told = ::write(answer.writer.get(), text.data(), text.size()) == static_cast<::ssize_t>(text.size());
    ::_exit(told ? 0 : 99);
  }
  answer.writer.reset();
  errors.writer.reset();
  ChildResult result;
  std::array<::pollfd, 2> polled{{{answer.reader.get(), POLLIN, 0}, {errors.reader.get(), POLLIN, 0}}};
  while (polled[0].fd >= 0 || polled[1].fd >= 0) {
    ::poll(polled.data(), polled.size(), -1);
    for (std::size_t i = 0; i < 2; ++i) {
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      std::array<char, 4096> chunk{};
      const ::ssize_t count = ::read(polled[i].fd, chunk.data(), chunk.size());
      if (count > 0) (i == 0 ? result.answer : result.errors).append(chunk.data(), static_cast<std::size_t>(count));
      if (count <= 0) polled[i].fd = -1;
    }
  }
  ::waitpid(child, &result.status, 0);
  return result;
}

/// The answer alone, with what went wrong behind it.
template <class Function>
std::string answer_in_child(Function function) {
  ChildResult result = in_child(function);
  if (result.status != 0) result.answer += " (status " + std::to_string(result.status) + ") " + result.errors;
  return std::move(result.answer);
}

/// Makes root another user, of no group but its own. False: this root may not, as in a namespace of few users.
inline bool become_nobody() {
  constexpr ::uid_t nobody = 65534;
  return ::setgroups(0, nullptr) == 0 && ::setgid(nobody) == 0 && ::setuid(nobody) == 0;
}

}  // namespace support
