// Files that are not regular ones: the same calls work on them, on every backend.
#include <aiofile/file.hpp>

#include <pty.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>

#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using caio::Context;
using caio::gather;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using outcome::pattern;
using support::content_of;
using support::Fd;
using support::Pipe;
using support::TemporaryDirectory;

namespace {

std::string without_clock_speeds(const std::string& text) {
  std::istringstream lines(text);
  std::string rest;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("MHz") == std::string::npos) rest += line + "\n";
  }
  return rest;
}

Task<std::string> whole(std::filesystem::path path) {
  AIOFile file = co_await AIOFile(path);
  std::string text = co_await file.read();
  co_await file.close();
  co_return text;
}

Task<> write_and_close(AIOFile& file, std::string text) {
  co_await file;
  co_await file.write(text);
  co_await file.close();
}

Task<std::string> open_and_read(AIOFile& file) {
  co_await file;
  co_return co_await file.read();
}

/// Two ends of a terminal that changes nothing on the way.
struct Terminal {
  Terminal() {
    int ends[2] = {-1, -1};
    ::termios settings{};
    ::cfmakeraw(&settings);
    settings.c_cc[VMIN] = 1;
    if (::openpty(&ends[0], &ends[1], nullptr, &settings, nullptr) != 0) throw std::runtime_error("openpty");
    master = ends[0];
    slave = ends[1];
  }
  ~Terminal() {
    ::close(master);
    ::close(slave);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  int master = -1;
  int slave = -1;
};

/// Another file in the place of standard input.
class StandardInput {
 public:
  explicit StandardInput(const std::filesystem::path& path) : before_(::fcntl(0, F_DUPFD_CLOEXEC, 3)) {
    const Fd file(path, O_RDONLY);
    ::dup2(file.get(), 0);
  }
  ~StandardInput() {
    if (before_ >= 0) {
      ::dup2(before_, 0);
      ::close(before_);
    } else {
      ::close(0);
    }
  }
  StandardInput(const StandardInput&) = delete;
  StandardInput& operator=(const StandardInput&) = delete;

 private:
  int before_;
};

}  // namespace

// ---- /proc and /sys ------------------------------------------------------------------------------------------------

TEST_CASE("Special files: a file of /proc is read to its end, whatever its size says") {
  support::on_every_backend([](Context&) -> Task<> {
    const std::string cpus = co_await whole("/proc/cpuinfo");
    CHECK_FALSE(cpus.empty());
    CHECK(without_clock_speeds(cpus) == without_clock_speeds(content_of("/proc/cpuinfo")));
    for (const char* const path : {"/proc/version", "/proc/filesystems", "/proc/self/limits"}) {
      const std::string text = co_await whole(path);
      CHECK_FALSE(text.empty());
      CHECK(text == content_of(path));
    }
  });
}

TEST_CASE("Special files: a long file of /proc is read in one piece") {
  std::string expected(150'000, '\0');
  std::ifstream symbols("/proc/kallsyms", std::ios::binary);
  symbols.read(expected.data(), static_cast<std::streamsize>(expected.size()));
  expected.resize(static_cast<std::size_t>(symbols.gcount()));
  if (expected.size() < 150'000) {
    WARN("/proc/kallsyms is short here: not tested");
    return;
  }
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file = co_await AIOFile("/proc/kallsyms");
    const std::string text = co_await file.read(150'000);
    CHECK((text == expected));
    std::vector<std::byte> memory(50'000);
    const std::size_t count = co_await file.read_into(memory, 70'000);
    CHECK(count == 50'000);
    CHECK((outcome::text_of(memory) == expected.substr(70'000, 50'000)));
  });
}

TEST_CASE("Special files: a file of /sys is read to its end, though its size promises more") {
  support::on_every_backend([](Context&) -> Task<> {
    for (const char* const path : {"/sys/devices/system/cpu/possible", "/sys/kernel/mm/transparent_hugepage/enabled"}) {
      if (!std::filesystem::exists(path)) continue;
      const std::string text = co_await whole(path);
      CHECK_FALSE(text.empty());
      CHECK(text == content_of(path));
    }
  });
}

// ---- character devices ---------------------------------------------------------------------------------------------

TEST_CASE("Special files: /dev/null takes everything and gives nothing") {
  support::on_every_backend([](Context&) -> Task<> {
    AIOFile file = co_await AIOFile("/dev/null", "r+");
    const std::size_t written = co_await file.write(pattern(200'000), 10);
    CHECK(written == 200'000);
    const std::string all = co_await file.read();
    CHECK(all.empty());
    const std::string some = co_await file.read(10, 5);
    CHECK(some.empty());
  });
}

TEST_CASE("Special files: /dev/zero gives as many bytes as asked for") {
  support::on_every_backend([](Context&) -> Task<> {
    AIOFile file = co_await AIOFile("/dev/zero", "rb");
    for (const std::int64_t size : {1, 4096, 300'000}) {
      const std::vector<std::byte> bytes = co_await file.read_bytes(size);
      CHECK((bytes == std::vector<std::byte>(static_cast<std::size_t>(size))));
    }
    std::vector<std::byte> memory(100'000, std::byte{1});
    const std::size_t count = co_await file.read_into(memory, 1'000'000);
    CHECK(count == memory.size());
    CHECK((memory == std::vector<std::byte>(memory.size())));
  });
}

// ---- pipes ---------------------------------------------------------------------------------------------------------

TEST_CASE("Special files: a FIFO carries text from one file to another") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    ::mkfifo((directory / "fifo").c_str(), 0600);
    AIOFile reader(directory / "fifo", "r");
    AIOFile writer(directory / "fifo", "w");
    const std::string content = pattern(300'000);
    const auto [got] = co_await gather(open_and_read(reader), write_and_close(writer, content));
    CHECK((got == content));
  });
}

TEST_CASE("Special files: a FIFO whose writer opens first waits for the reader") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    ::mkfifo((directory / "fifo").c_str(), 0600);
    AIOFile writer(directory / "fifo", "w");
    AIOFile reader(directory / "fifo", "r");
    const auto [got] = co_await gather(write_and_close(writer, "text"), open_and_read(reader));
    CHECK(got == "text");
  });
}

TEST_CASE("Special files: a pipe is read to its end") {
  support::on_every_backend([](Context&) -> Task<> {
    Pipe pipe;
    AIOFile file = AIOFile::from_fd(pipe.reader.get(), "r");
    static_cast<void>(!::write(pipe.writer.get(), "some text", 9));
    pipe.writer.reset();
    const std::string all = co_await file.read();
    CHECK(all == "some text");
    const std::string end = co_await file.read();
    CHECK(end.empty());
  });
}

TEST_CASE("Special files: a read of a pipe goes on until it has its size, whatever the offset") {
  support::on_every_backend([](Context&) -> Task<> {
    const Pipe pipe;
    AIOFile reader = AIOFile::from_fd(pipe.reader.get(), "r");
    AIOFile writer = AIOFile::from_fd(pipe.writer.get(), "w");
    auto write = [](AIOFile& file) -> Task<> {
      for (const char* const part : {"one ", "two ", "three "}) {
        co_await file.write(part, 5);
        co_await file.context().schedule();
      }
    };
    const auto [got] = co_await gather(reader.read(11, 100), write(writer));
    CHECK(got == "one two thr");
    std::vector<std::byte> memory(3);
    const std::size_t rest = co_await reader.read_into(memory);
    CHECK(rest == 3);
    CHECK(outcome::text_of(memory) == "ee ");
  });
}

TEST_CASE("Special files: a write to a pipe goes on while somebody reads") {
  support::on_every_backend([](Context&) -> Task<> {
    const Pipe pipe;
    AIOFile reader = AIOFile::from_fd(pipe.reader.get(), "rb");
    AIOFile writer = AIOFile::from_fd(pipe.writer.get(), "wb");
    const std::string content = pattern(1'000'003);
    const auto [written, got] =
        co_await gather(writer.write(content), reader.read(static_cast<std::int64_t>(content.size())));
    CHECK(written == content.size());
    CHECK((got == content));
    CHECK((::fcntl(pipe.writer.get(), F_GETFL) & O_NONBLOCK) == 0);
  });
}

TEST_CASE("Special files: idle pipes do not hold up a file") {
  support::on_every_backend(
      [](Context&) -> Task<> {
        const TemporaryDirectory directory;
        AIOFile file = co_await AIOFile(directory.file("file", pattern(400'000)));
        std::vector<Pipe> pipes(40);
        std::vector<AIOFile> readers;
        std::vector<int> errors(pipes.size(), -1);
        TaskGroup group;
        for (std::size_t i = 0; i < pipes.size(); ++i) {
          readers.push_back(AIOFile::from_fd(pipes[i].reader.get(), "r"));
          group.spawn(outcome::store_error(readers.back().read(), errors[i]));
        }
        const std::string all = co_await file.read();
        CHECK(all.size() == 400'000);
        CHECK(errors == std::vector<int>(pipes.size(), -1));
        for (Pipe& pipe : pipes) pipe.writer.reset();
        co_await group.join();
        CHECK(errors == std::vector<int>(pipes.size(), 0));
      },
      {.max_requests = 1, .pool_size = 1});
}

TEST_CASE("Special files: a read of an idle pipe can be stopped, and the pipe goes on working") {
  support::on_every_backend([](Context&) -> Task<> {
    const Pipe pipe;
    AIOFile file = AIOFile::from_fd(pipe.reader.get(), "r");
    int error = -1;
    TaskGroup group;
    group.spawn(outcome::store_error(file.read(4), error));
    group.request_stop();
    co_await group.join();
    CHECK(error == ECANCELED);
    static_cast<void>(!::write(pipe.writer.get(), "text", 4));
    const std::string got = co_await file.read(4);
    CHECK(got == "text");
  });
}

TEST_CASE("Special files: a socket is read and written at the same time") {
  support::on_every_backend([](Context&) -> Task<> {
    int ends[2] = {-1, -1};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    const Fd first(ends[0]);
    const Fd second(ends[1]);
    AIOFile left = AIOFile::from_fd(first.get(), "rb+");
    AIOFile right = AIOFile::from_fd(second.get(), "rb+");
    const std::string to_right = pattern(500'000, 1);
    const std::string to_left = pattern(400'000, 2);
    const auto [a, b, at_left, at_right] =
        co_await gather(left.write(to_right), right.write(to_left), left.read(400'000), right.read(500'000));
    CHECK(a + b == 900'000);
    CHECK((at_left == to_left));
    CHECK((at_right == to_right));
  });
}

// ---- terminals and standard input ----------------------------------------------------------------------------------

TEST_CASE("Special files: a terminal is read and written") {
  support::on_every_backend([](Context&) -> Task<> {
    const Terminal terminal;
    AIOFile person = AIOFile::from_fd(terminal.master, "r+");
    AIOFile program = AIOFile::from_fd(terminal.slave, "r+");
    co_await person.write("typed");
    const std::string typed = co_await program.read(5);
    CHECK(typed == "typed");
    const auto [written, shown] = co_await gather(program.write(pattern(20'000)), person.read(20'000));
    CHECK(written == 20'000);
    CHECK((shown == pattern(20'000)));
  });
}

TEST_CASE("Special files: a file opened by a terminal's name is one") {
  support::on_every_backend([](Context&) -> Task<> {
    const Terminal terminal;
    AIOFile program = co_await AIOFile(::ptsname(terminal.master), "r+", {.flags = O_NOCTTY});
    static_cast<void>(!::write(terminal.master, "typed", 5));
    const std::string typed = co_await program.read(5);
    CHECK(typed == "typed");
    const std::size_t written = co_await program.write("shown");
    CHECK(written == 5);
    char shown[5];
    CHECK(::read(terminal.master, shown, 5) == 5);
    CHECK(std::string(shown, 5) == "shown");
    co_await program.close();
  });
}

TEST_CASE("Special files: standard input may be a regular file") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const StandardInput input(directory.file("file", "from a file"));
    AIOFile file = AIOFile::from_fd(0, "r");
    const std::string all = co_await file.read();
    CHECK(all == "from a file");
    const std::string part = co_await file.read(4, 7);
    CHECK(part == "file");
    co_await file.close();
    CHECK(outcome::is_open(0));
  });
}

TEST_CASE("special files: one that is ready all the time lets others run while it fills a large buffer") {
  support::on_every_backend([](Context& context) -> Task<> {
    AIOFile zeros = co_await AIOFile("/dev/zero", "rb");
    bool done = false;
    int turns = 0;
    auto fill = [](AIOFile& from, bool& flag) -> Task<> {
      std::vector<std::byte> memory(std::size_t{64} << 20, std::byte{'?'});
      const std::size_t count = co_await from.read_into(memory);
      CHECK(count == memory.size());
      CHECK(memory.back() == std::byte{0});
      flag = true;
    };
    auto count = [](Context& each, const bool& stop, int& times) -> Task<> {
      while (!stop) {
        co_await each.schedule();
        ++times;
      }
    };
    co_await caio::gather(fill(zeros, done), count(context, done, turns));
    CHECK(turns > 1);  // how many depends on the machine's load; by none at all, the file was filled in one go
    co_await zeros.close();
  });
}
