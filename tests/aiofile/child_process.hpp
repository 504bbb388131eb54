#pragma once
// Work in a forked child, where a test may give up rights and lower limits.

#include <sys/wait.h>
#include <unistd.h>

#include <exception>
#include <string>

#include "outcome.hpp"

namespace outcome {

/// What `work()`, a function that gives a string, gives in a forked child.
template <class Work>
std::string in_child(Work work) {
  Pipe pipe;
  const ::pid_t child = ::fork();
  if (child == 0) {
    std::string answer;
    try {
      answer = work();
    } catch (const std::exception& error) {
      answer = std::string("threw ") + error.what();
    }
    static_cast<void>(!::write(pipe.writing.get(), answer.data(), answer.size()));
    ::_exit(0);
  }
  pipe.writing.reset();
  std::string answer;
  char buffer[4096];
  for (::ssize_t count = 0; (count = ::read(pipe.reading.get(), buffer, sizeof buffer)) > 0;) {
    answer.append(buffer, static_cast<std::size_t>(count));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    answer += " (child ended with status " + std::to_string(status) + ")";
  return answer;
}

}  // namespace outcome
