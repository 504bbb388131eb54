#include <aiofile/standard_streams.hpp>

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <caio/caio.hpp>
#include <cerrno>
#include <coroutine>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::FileStream;
using aiofile::print;
using aiofile::standard_error;
using aiofile::standard_input;
using aiofile::standard_output;
using aiofile::detail::printed;
using caio::Context;
using caio::gather;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using outcome::is_open;
using outcome::pattern;
using support::content_of;
using support::Fd;
using support::Pipe;
using support::TemporaryDirectory;

namespace {

/// Another file in the place of a standard stream. What is checked meanwhile, fails unheard.
class Redirected {
 public:
  Redirected(int fd, int target) : fd_(fd), before_(::fcntl(fd, F_DUPFD_CLOEXEC, 3)) {
    if (fd == STDOUT_FILENO) flush();
    target >= 0 ? ::dup2(target, fd) : ::close(fd);
  }
  Redirected(int fd, const Fd& target) : Redirected(fd, target.get()) {}
  ~Redirected() {
    if (fd_ == STDOUT_FILENO) flush();
    if (before_ < 0) {
      ::close(fd_);
      return;
    }
    ::dup2(before_, fd_);
    ::close(before_);
  }
  Redirected(const Redirected&) = delete;
  Redirected& operator=(const Redirected&) = delete;

 private:
  static void flush() {
    std::cout.flush();
    std::fflush(stdout);
  }

  int fd_;
  int before_;
};

/// As a child process would that has it from us.
void echo_by_child(std::string_view text) {
  const ::pid_t child = ::fork();
  if (child == 0) ::_exit(::write(STDOUT_FILENO, text.data(), text.size()) < 0);
  ::waitpid(child, nullptr, 0);
}

std::string read_some(int fd, std::size_t most = 4096) {
  std::string text(most, '\0');
  const ::ssize_t count = ::read(fd, text.data(), text.size());
  text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return text;
}

Task<std::string> read_to_end(Context& context, int fd) {
  std::string text;
  std::vector<std::byte> chunk(1000);
  for (;;) {
    const std::size_t count = co_await context.read(fd, chunk, -1);
    if (count == 0) co_return text;
    text += outcome::text_of(std::span(chunk).first(count));
  }
}

struct Terminal {
  Terminal() {
    int ends[2] = {-1, -1};
    if (::openpty(&ends[0], &ends[1], nullptr, nullptr, nullptr) != 0) throw std::runtime_error("openpty");
    master = Fd(ends[0]);
    slave = Fd(ends[1]);
  }
  Fd master;
  Fd slave;
};

}  // namespace

// ---- output --------------------------------------------------------------------------------------------------------

TEST_CASE("standard_output: a redirected file gets one write behind the other, whoever writes") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "before:");
    const Fd file(path, O_WRONLY);
    ::lseek(file.get(), 0, SEEK_END);
    std::size_t count = 0;
    {
      const Redirected out(1, file);
      const Redirected err(2, file);
      count = co_await standard_output().write("one ");
      co_await standard_output().write("two ");
      std::fputs("printf ", stdout);
      std::fflush(stdout);
      echo_by_child("child ");
      co_await standard_error().write("error ");
      co_await standard_output().write("three ");
      std::thread([&] {
        Context other(context.implementation());
        other.run([]() -> Task<> { co_await standard_output().write("other "); }());
      }).join();
      co_await standard_output().write(std::string("four"));
    }
    CHECK(count == 4);
    CHECK(content_of(path) == "before:one two printf child error three other four");
    CHECK(::lseek(file.get(), 0, SEEK_CUR) == static_cast<::off_t>(content_of(path).size()));
  });
}

TEST_CASE("standard_output: long writes to a redirected file follow each other, and close() waits for them") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd file(directory / "file", O_WRONLY | O_CREAT);
    const std::string one = pattern(3'000'000, 1);
    const std::string two = pattern(100'000, 2);
    {
      const Redirected out(1, file);
      co_await gather(standard_output().write(one), standard_output().write(two), standard_output().write("end"),
                      standard_output().close());
    }
    CHECK((content_of(directory / "file") == one + two + "end"));
  });
}

TEST_CASE("standard_output: appending to a redirected file stays behind those who append elsewhere") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "before ");
    const Fd file(path, O_WRONLY | O_APPEND);
    const Fd other(path, O_WRONLY | O_APPEND);
    {
      const Redirected out(1, file);
      co_await standard_output().write("one ");
      CHECK(::write(other.get(), "other ", 6) == 6);
      co_await standard_output().write("two");
    }
    CHECK(content_of(path) == "before one other two");
  });
}

TEST_CASE("standard_output: writes to a slow pipe stay whole, in order") {
  support::on_every_backend([](Context& context) -> Task<> {
    Pipe pipe;
    const std::string one = pattern(300'000, 1);
    const std::string two = pattern(200'000, 2);
    std::string got;
    {
      const Redirected out(1, pipe.writer);
      pipe.writer.reset();
      auto write_all = [](const std::string& first, const std::string& second) -> Task<> {
        co_await gather(standard_output().write(first), print(second), print("end"));
        ::close(STDOUT_FILENO);
      };
      auto [text] = co_await gather(read_to_end(context, pipe.reader.get()), write_all(one, two));
      got = std::move(text);
    }
    CHECK((got == one + two + "\nend\n"));
  });
}

TEST_CASE("standard_output: a pipe without a reader is EPIPE, and the process lives") {
  const auto written_to_nobody = [](caio::Implementation implementation) {
    return support::answer_in_child([&] {
      std::signal(SIGPIPE, SIG_DFL);
      Pipe pipe;
      ::dup2(pipe.writer.get(), STDOUT_FILENO);
      pipe.reader.reset();
      Context context(implementation);
      const auto errors = []() -> Task<std::string> {  // within it this context is the current one, not the parent's
        const int small = co_await error_of(print("nobody"));
        const int large = co_await error_of(standard_output().write(pattern(200'000)));
        co_return std::to_string(small) + " " + std::to_string(large);
      };
      return context.run(errors());
    });
  };
  const std::string expected = std::to_string(EPIPE) + " " + std::to_string(EPIPE);
  for (const caio::Implementation each : support::backends()) CHECK(written_to_nobody(each) == expected);
}

TEST_CASE("standard_output: a terminal shows each write") {
  support::on_every_backend([](Context&) -> Task<> {
    const Terminal terminal;
    bool is_terminal = false;
    std::string shown;
    {
      const Redirected out(1, terminal.slave);
      is_terminal = standard_output().isatty();
      co_await standard_output().write("no line yet");
      shown = read_some(terminal.master.get());
    }
    CHECK(is_terminal);
    CHECK(shown == "no line yet");
  });
}

TEST_CASE("standard_output: /dev/null, a full disk, and a closed descriptor") {
  support::on_every_backend([](Context&) -> Task<> {
    const Fd null("/dev/null", O_RDWR);
    const Fd full("/dev/full", O_RDWR);
    int errors[3] = {-1, -1, -1};
    {
      const Redirected out(1, null);
      errors[0] = co_await error_of(print("x"));
    }
    {
      const Redirected out(1, full);
      errors[1] = co_await error_of(print("x"));
    }
    {
      const Redirected out(1, -1);
      errors[2] = co_await error_of(print("x"));
    }
    CHECK(errors[0] == 0);
    CHECK(errors[1] == ENOSPC);
    CHECK(errors[2] == EBADF);
  });
}

TEST_CASE("standard_output: one stream for a context, wherever descriptor 1 leads by now") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd file(directory / "file", O_RDWR | O_CREAT);
    Pipe pipe;
    FileStream& out = standard_output();
    CHECK(&standard_output() == &out);
    {
      const Redirected redirected(1, pipe.writer);
      co_await print("to the pipe");
    }
    {
      const Redirected redirected(1, file);
      co_await print("to the file");
      ::dup2(pipe.writer.get(), 1);
      co_await print("to the pipe, too");
    }
    CHECK(read_some(pipe.reader.get()) == "to the pipe\nto the pipe, too\n");
    CHECK(content_of(directory / "file") == "to the file\n");
    CHECK(&standard_output() == &out);
  });
}

TEST_CASE("standard_output: close() leaves the descriptor open, and the next call makes a new stream") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd file(directory / "file", O_RDWR | O_CREAT);
    int flags[2] = {-1, -2};
    bool closed[2] = {false, true};
    bool open = false;
    {
      const Redirected redirected(1, file);
      flags[0] = ::fcntl(1, F_GETFL);
      co_await print("before");
      FileStream& out = standard_output();
      co_await out.close();
      closed[0] = out.closed();
      open = is_open(1);
      co_await print("after");
      closed[1] = standard_output().closed();
      flags[1] = ::fcntl(1, F_GETFL);
    }
    CHECK(closed[0]);
    CHECK_FALSE(closed[1]);
    CHECK(open);
    CHECK(flags[0] == flags[1]);
    CHECK(content_of(directory / "file") == "before\nafter\n");
  });
}

TEST_CASE("standard_output: has no position of its own to move") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd file(directory / "file", O_RDWR | O_CREAT);
    int error = 0;
    bool seekable = true;
    bool is_terminal = true;
    std::uint64_t position = 0;
    {
      const Redirected redirected(1, file);
      FileStream& out = standard_output();
      co_await out.write("12345");
      seekable = out.seekable();
      is_terminal = out.isatty();
      position = out.tell();
      error = co_await error_of(out.seek(0, aiofile::Whence::set));
      co_await out.write("678");
    }
    CHECK_FALSE(seekable);
    CHECK_FALSE(is_terminal);
    CHECK(position == 5);
    CHECK(error == ESPIPE);
    CHECK(content_of(directory / "file") == "12345678");
  });
}

TEST_CASE("standard_output: truncate() cuts where the descriptor stands, whoever has moved it") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "0123456789");
    const Fd file(path, O_RDWR);
    const Pipe pipe;
    int errors[2] = {-1, -1};
    {
      const Redirected redirected(1, file);
      co_await standard_output().write("abc");
      echo_by_child("de");
      co_await standard_output().truncate();
      errors[0] = co_await error_of(standard_output().truncate(7));
      const Redirected elsewhere(1, pipe.writer);
      errors[1] = co_await error_of(standard_output().truncate());
    }
    CHECK(content_of(path) == std::string("abcde\0\0", 7));
    CHECK(errors[0] == 0);
    CHECK(errors[1] == ESPIPE);
  });
}

TEST_CASE("standard_output: a stream of the context goes with it, and leaves no descriptor") {
  const std::size_t before = support::open_files();
  for (const caio::Implementation each : support::backends()) {
    Context context(each);
    const Fd null("/dev/null", O_RDWR);
    const Redirected out(1, null);
    context.run([]() -> Task<> {
      co_await print("x");
      co_await print(standard_error());
      static_cast<void>(standard_input());
    }());
  }
  CHECK(support::open_files() == before);
}

TEST_CASE("standard_output: tasks that the context's end cuts short may still name it") {
  bool named = false;
  {
    Context context;
    context.spawn([](Context& its, bool& done) -> Task<> {
      try {
        co_await its.sleep_for(std::chrono::hours(1));
      } catch (const std::system_error&) {
        done = !standard_output().closed();
      }
    }(context, named));
    context.run([](Context& its) -> Task<> { co_await its.schedule(); }(context));
  }
  CHECK(named);
}

TEST_CASE("standard_output: what the context's end destroys may name it, too") {
  struct Naming {
    ~Naming() { *open = !standard_output().closed(); }
    bool* open;
  };
  bool open = false;
  {
    Context context;
    context.run([](Context& its, bool& result) -> Task<> {
      static_cast<void>(standard_output());
      its.spawn([](bool& named) -> Task<> {
        const Naming local{&named};
        co_await std::suspend_always{};
      }(result));
      co_await its.schedule();
    }(context, open));
  }
  CHECK(open);
}

TEST_CASE("standard_output: is good until the last of the context's tasks is gone") {
  struct Using {
    ~Using() { *position = standard_output().tell(); }
    std::uint64_t* position;
  };
  const Fd null("/dev/null", O_RDWR);
  std::uint64_t position = 0;
  {
    const Redirected out(1, null);
    Context context;
    context.run([](Context& its, std::uint64_t& result) -> Task<> {
      co_await standard_output().write("12345");
      its.spawn([](std::uint64_t& found) -> Task<> {  // later than the streams
        const Using local{&found};
        co_await std::suspend_always{};
      }(result));
      co_await its.schedule();
    }(context, position));
  }
  CHECK(position == 5);  // a new stream's is 0
}

TEST_CASE("standard_output: a write that waits for a pipe can be cancelled") {
  support::on_every_backend([](Context& context) -> Task<> {
    Pipe pipe;
    std::optional<aiofile::FileError> failure;
    {
      const Redirected out(1, pipe.writer);
      std::stop_source source;
      auto write = [&]() -> Task<> {
        failure = co_await outcome::failure_of(
            caio::with_stop(source.get_token(), standard_output().write(pattern(300'000))));
      };
      auto stop = [&]() -> Task<> {
        for (int bytes = 0; bytes == 0; ::ioctl(pipe.reader.get(), FIONREAD, &bytes)) co_await context.schedule();
        source.request_stop();
      };
      co_await gather(write(), stop());
    }
    CHECK((failure && failure->code().value() == ECANCELED));
    CHECK((failure && failure->transferred() > 0));
  });
}

// ---- input ---------------------------------------------------------------------------------------------------------

TEST_CASE("standard_input: a redirected file is read from where the descriptor stands, and moves it") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd file(directory.file("file", "skipped\none\ntwo\nthree"), O_RDONLY);
    ::lseek(file.get(), 8, SEEK_SET);
    const Redirected in(0, file);
    CHECK(standard_input().tell() == 8);
    CHECK_YIELDS(standard_input().readline(), "one\n");
    CHECK(standard_input().tell() == 12);
    CHECK(::lseek(0, 0, SEEK_CUR) == 21);  // a small file is read ahead whole
    auto lines = standard_input().lines();
    CHECK_YIELDS(lines.next(), std::optional<std::string_view>("two\n"));
    CHECK_YIELDS(standard_input().read(), "three");
    CHECK_YIELDS(standard_input().read(), "");
    CHECK_FALSE(standard_input().seekable());
  });
}

TEST_CASE("standard_input: what was not taken can be given back to who comes after") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd file(directory.file("file", "one\ntwo\nthree"), O_RDONLY);
    const Redirected in(0, file);
    CHECK_YIELDS(standard_input().readline(), "one\n");
    ::lseek(0, static_cast<::off_t>(standard_input().tell()), SEEK_SET);
    co_await standard_input().close();
    CHECK(read_some(0, 4) == "two\n");
    CHECK_YIELDS(standard_input().read(), "three");
  });
}

TEST_CASE("standard_input: a long redirected file comes whole, in every way to read") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = pattern(1'000'000);
    const auto path = directory.file("file", content);
    {
      const Fd file(path, O_RDONLY);
      const Redirected in(0, file);
      const std::string all = co_await standard_input().read();
      CHECK((all == content));
      co_await standard_input().close();
    }
    {
      const Fd file(path, O_RDONLY);
      const Redirected in(0, file);
      std::vector<std::byte> memory(content.size());
      const std::size_t first = co_await standard_input("rb").read_into(std::span(memory).first(300'000));
      const std::size_t rest = co_await standard_input("rb").read_into(std::span(memory).subspan(first));
      CHECK(first == 300'000);
      CHECK(rest == 700'000);
      CHECK((outcome::text_of(memory) == content));
      co_await standard_input("rb").close();
    }
    {
      const Fd file(path, O_RDONLY);
      const Redirected in(0, file);
      std::string all;
      auto chunks = standard_input("rb").iter_chunked(10'000);
      while (const auto chunk = co_await chunks.next()) all += *chunk;
      CHECK((all == content));
    }
  });
}

TEST_CASE("standard_input: what was read ahead of one file is not given for another") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd one(directory.file("one", "one\ntwo\n"), O_RDONLY);
    const Fd other(directory.file("other", "other\n"), O_RDONLY);
    const Redirected in(0, one);
    CHECK_YIELDS(standard_input().readline(), "one\n");
    ::dup2(other.get(), 0);
    CHECK_YIELDS(standard_input().readline(), "other\n");
  });
}

namespace {

/// How a background job ends that runs `task()` with the terminal as its standard streams: "stopped by N, " for each
/// time that a signal stops it, after which it is put into the foreground; then "exited with N" of what the task gives.
template <class Task>
std::string as_background_job(caio::Implementation implementation, Task task) {
  return support::answer_in_child([&]() -> std::string {
    std::signal(SIGHUP, SIG_IGN);  // at the end the terminal hangs up
    ::setsid();
    const Terminal terminal;
    const int fd = terminal.slave.get();
    ::termios settings;
    if (::ioctl(fd, TIOCSCTTY, 0) != 0 || ::tcgetattr(fd, &settings) != 0) throw std::runtime_error("no terminal");
    settings.c_lflag |= TOSTOP;
    ::tcsetattr(fd, TCSANOW, &settings);
    if (::write(terminal.master.get(), "typed\n", 6) != 6) throw std::runtime_error("write");
    const ::pid_t job = ::fork();
    if (job == 0) {
      ::setpgid(0, 0);
      ::dup2(fd, STDIN_FILENO);
      ::dup2(fd, STDOUT_FILENO);
      int result = 99;
      {
        Context context(implementation);
        result = context.run(task());
      }
      ::_exit(result);
    }
    ::setpgid(job, job);
    std::string story;
    for (int status = 0; ::waitpid(job, &status, WUNTRACED) == job;) {
      if (!WIFSTOPPED(status)) {
        const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        return story + "exited with " + std::to_string(code);
      }
      story += "stopped by " + std::to_string(WSTOPSIG(status)) + ", ";
      ::tcsetpgrp(fd, job);
      ::kill(job, SIGCONT);
    }
    return story;
  });
}

Task<int> read_typed() {
  std::string line;
  int error = 0;
  co_await outcome::store(standard_input(), 6, line, error);
  co_return line == "typed\n" ? 0 : error;
}

}  // namespace

TEST_CASE("standard_input: a terminal stops a background job that reads, until it is put into the foreground") {
  for (const caio::Implementation each : support::backends()) {
    INFO(caio::name(each));
    CHECK(as_background_job(each, read_typed) == "stopped by " + std::to_string(SIGTTIN) + ", exited with 0");
    const auto print_in_background = []() -> Task<int> { co_return co_await error_of(print("in the background")); };
    CHECK(as_background_job(each, print_in_background) == "stopped by " + std::to_string(SIGTTOU) + ", exited with 0");
    // As a program wants it that blocks the signal.
    const auto read_without_signal = []() -> Task<int> {
      ::sigset_t blocked;
      ::sigemptyset(&blocked);
      ::sigaddset(&blocked, SIGTTIN);
      ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
      return read_typed();
    };
    CHECK(as_background_job(each, read_without_signal) == "exited with " + std::to_string(EIO));
  }
}

TEST_CASE("standard_input: a terminal gives lines as they are typed") {
  support::on_every_backend([](Context& context) -> Task<> {
    const Terminal terminal;
    const Redirected in(0, terminal.slave);
    CHECK(standard_input().isatty());
    auto type = [](Context& its, int fd, std::string text) -> Task<> {
      co_await its.write(fd, outcome::bytes_of(text), -1);
    };
    for (const char* const line : {"one\n", "two\n"}) {
      const auto [got] = co_await gather(standard_input().readline(), type(context, terminal.master.get(), line));
      CHECK(got == line);
    }
    // Ctrl-D on an empty line ends the input, and it can go on.
    const auto [end] = co_await gather(standard_input().readline(), type(context, terminal.master.get(), "\x04"));
    CHECK(end.empty());
    const auto [more] = co_await gather(standard_input().readline(), type(context, terminal.master.get(), "more\n"));
    CHECK(more == "more\n");
  });
}

TEST_CASE("standard_input: a pipe gives what comes, to its end") {
  support::on_every_backend([](Context& context) -> Task<> {
    Pipe pipe;
    const Redirected in(0, pipe.reader);
    auto feed = [](Context& its, Fd end) -> Task<> {
      for (const std::string_view text : {"one\ntw", "o\nthr", "ee"}) {
        co_await its.write(end.get(), outcome::bytes_of(text), -1);
        co_await its.schedule();
      }
    };
    auto read = []() -> Task<std::vector<std::string>> {
      std::vector<std::string> lines;
      auto reader = standard_input().lines();
      while (const auto line = co_await reader.next()) lines.emplace_back(*line);
      co_return lines;
    };
    const auto [lines] = co_await gather(read(), feed(context, std::move(pipe.writer)));
    CHECK(lines == std::vector<std::string>{"one\n", "two\n", "three"});
  });
}

TEST_CASE("standard_input: a destroyed read takes nothing from who reads next") {
  support::on_every_backend([](Context&) -> Task<> {
    Pipe pipe;
    const Redirected in(0, pipe.reader);
    {
      TaskGroup group;
      group.spawn([]() -> Task<> { co_await standard_input().readline(); }());
    }
    CHECK(::write(pipe.writer.get(), "line\n", 5) == 5);
    CHECK_YIELDS(standard_input().readline(), "line\n");
  });
}

TEST_CASE("standard_input: text or bytes, as the first call says") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd file(directory.file("file", "\xc3\xa4\xc3\xb6\xff"), O_RDONLY);
    const Redirected in(0, file);
    CHECK_THROWS_AS(standard_input("w"), std::invalid_argument);
    CHECK_YIELDS(standard_input("rt").read(1), "\xc3\xa4");
    CHECK_THROWS_AS(standard_input("rb"), std::invalid_argument);
    CHECK_THROWS_AS(standard_input("w"), std::invalid_argument);
    CHECK_THROWS_AS(standard_input("r+"), std::invalid_argument);
    CHECK_THROWS_AS(standard_input("read"), std::invalid_argument);
    co_await standard_input().close();
    ::lseek(0, 0, SEEK_SET);
    CHECK_YIELDS(standard_input("rb").read(1), "\xc3");
    CHECK_THROWS_AS(standard_input(), std::invalid_argument);
  });
}

TEST_CASE("standard_input: /dev/null, a directory, and a closed descriptor") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd null("/dev/null", O_RDWR);
    const Fd folder(directory.path(), O_RDONLY);
    {
      const Redirected in(0, null);
      CHECK_YIELDS(standard_input().readline(), "");
    }
    {
      const Redirected in(0, folder);
      CHECK_YIELDS(error_of(standard_input().readline()), EISDIR);
    }
    {
      const Redirected in(0, -1);
      CHECK_YIELDS(error_of(standard_input().readline()), EBADF);
    }
  });
}

// ---- print ---------------------------------------------------------------------------------------------------------

TEST_CASE("print: a line of values with spaces between them") {
  CHECK(printed() == "\n");
  CHECK(printed("text") == "text\n");
  CHECK(printed(std::string("a"), std::string_view("b"), "", 'c') == "a b  c\n");
  CHECK(printed("") == "\n");
  CHECK(printed(-1, 2U, std::numeric_limits<std::uint64_t>::max()) == "-1 2 18446744073709551615\n");
  CHECK(printed(static_cast<signed char>(-5), std::uint8_t{7}) == "-5 7\n");
  CHECK(printed(0.1, 1.5F, -2.0, 1e300) == "0.1 1.5 -2 1e+300\n");
  CHECK(printed(std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()) == "inf nan\n");
  CHECK(printed(std::numeric_limits<long double>::denorm_min()).size() < 40);
  CHECK(printed(true, false) == "true false\n");
  CHECK(printed(std::filesystem::path("/some/path with spaces")) == "/some/path with spaces\n");
}

template <class Value>
concept CanPrint = requires(Value value) {
  print(value);
};
static_assert(CanPrint<const char*> && CanPrint<int> && CanPrint<double> && CanPrint<std::filesystem::path>);
static_assert(!CanPrint<wchar_t> && !CanPrint<char8_t> && !CanPrint<char32_t> && !CanPrint<void*>);

TEST_CASE("print: prints of many tasks stay lines, on either stream") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd file(directory / "file", O_RDWR | O_CREAT);
    std::string expected;
    {
      const Redirected out(1, file);
      const Redirected err(2, file);
      TaskGroup group;
      for (int i = 0; i < 50; ++i) {
        group.spawn([](int number) -> Task<> { co_await print("task", number); }(i));
        expected += "task " + std::to_string(i) + "\n";
      }
      co_await group.join();
      co_await print(standard_error(), "error:", 1);
    }
    CHECK(content_of(directory / "file") == expected + "error: 1\n");
  });
}

TEST_CASE("print: nothing happens before it is awaited") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Fd file(directory / "file", O_RDWR | O_CREAT);
    std::uintmax_t size = 1;
    std::size_t count = 0;
    {
      const Redirected out(1, file);
      auto operation = print("one", 2);
      size = std::filesystem::file_size(directory / "file");
      auto moved = std::move(operation);
      count = co_await std::move(moved);
    }
    CHECK(size == 0);
    CHECK(count == 6);
    CHECK(content_of(directory / "file") == "one 2\n");
  });
}

TEST_CASE("print: in a forked child, with a context of its own") {
  const std::string answer = support::answer_in_child([] {
    Pipe pipe;
    ::dup2(pipe.writer.get(), STDOUT_FILENO);
    Context context;
    context.run([]() -> Task<> { co_await print("from the child"); }());
    return read_some(pipe.reader.get());
  });
  CHECK(answer == "from the child\n");
}
