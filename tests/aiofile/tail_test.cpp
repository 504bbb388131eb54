#include <aiofile/tail.hpp>

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <caio/caio.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::FileError;
using aiofile::tail;
using aiofile::TailOptions;
using caio::Context;
using caio::Generator;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using outcome::pattern;
using support::Fd;
using support::ReplacedCalls;
using support::TemporaryDirectory;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

using Lines = std::vector<std::string>;

constexpr TailOptions from_start{.last_lines = TailOptions::all};

void append(const fs::path& path, std::string_view text) {
  const Fd file(path, O_WRONLY | O_CREAT | O_APPEND);
  if (::write(file.get(), text.data(), text.size()) != static_cast<::ssize_t>(text.size()))
    throw std::runtime_error("");
}

/// For a test that fails.
constexpr auto patience = 20s;

Task<std::string> next_of(Generator<std::string>& lines) {
  const std::optional<std::string> line = co_await caio::with_timeout(patience, lines.next());
  co_return line ? *line : "(end)";
}

Task<> store_line(Generator<std::string>& lines, std::optional<std::string>& line) { line = co_await next_of(lines); }

/// A line that is waited for from now on.
class Awaited {
 public:
  explicit Awaited(Generator<std::string>& lines) { waiting_.spawn(store_line(lines, line_)); }
  [[nodiscard]] bool has_come() const { return line_.has_value(); }
  Task<std::string> line() {
    co_await waiting_.join();
    co_return *line_;
  }

 private:
  std::optional<std::string> line_;
  TaskGroup waiting_;
};

/// Runs others until `condition()` holds `turns` times in a row.
template <class Condition>
Task<> until(Context& context, Condition condition, int turns = 1) {
  const auto end = std::chrono::steady_clock::now() + patience;
  for (int held = 0; held < turns;) {
    held = condition() ? held + 1 : 0;
    if (std::chrono::steady_clock::now() > end) throw std::runtime_error("what is waited for does not happen");
    co_await context.schedule();
  }
}

/// Until so many requests wait for readiness or a time. What is only on its way to the pool counts, too, but is handed
/// over after 128 resumptions at the latest.
Task<> until_parked(Context& context, std::size_t count) {
  const auto parked = [&] { return context.stats().parked >= count; };
  co_await until(context, parked, 300);
}

/// Until a tail in store_line() has seen all there is: then the timer of next_of() and the wait for news are parked.
Task<> until_it_waits(Context& context) { return until_parked(context, 2); }

/// Does `change` when the tail waits; until it has taken note of it and waits again.
template <class Change>
Task<> settle(Context& context, Change change) {
  co_await until_it_waits(context);
  const std::uint64_t before = context.stats().completed;
  change();
  const auto noted = [&] { return context.stats().completed > before; };
  co_await until(context, noted);
  co_await until_it_waits(context);
}

/// Does `change` when the tail has seen all there is and waits; then the next line.
template <class Change>
Task<std::string> next_after(Context& context, Generator<std::string>& lines, Change change) {
  Awaited awaited(lines);
  co_await until_it_waits(context);
  change();
  co_return co_await awaited.line();
}

/// Until a file of that name is open so many times.
Task<> until_open(Context& context, fs::path path, std::size_t count) {
  const auto is_so = [&] { return outcome::descriptors_of(path) == count; };
  co_await until(context, is_so);
}

/// Until nothing is in flight: what a tail had open is closed by the pool.
Task<> until_idle(Context& context) {
  const auto idle = [&] { return context.stats().in_flight == 0 && context.stats().parked == 0; };
  co_await until(context, idle);
}

template <class Test>
void on_every_backend(Test test) {
  support::on_every_backend([&](Context& context) -> Task<> {
    co_await test(context);
    co_await until_idle(context);
  });
}

}  // namespace

// ---- appending -----------------------------------------------------------------------------------------------------

TEST_CASE("tail: gives what is appended, line by line") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "old\nolder\n");
    Generator<std::string> lines = tail(path);
    CHECK_YIELDS(next_after(context, lines, [&] { append(path, "new\nand "); }), "new\n");
    CHECK_YIELDS(next_after(context, lines, [&] { append(path, "more\n\nthird\r\n"); }), "and more\n");
    CHECK_YIELDS(next_of(lines), "\n");
    CHECK_YIELDS(next_of(lines), "third\r\n");
    CHECK_YIELDS(next_after(context, lines, [&] { append(path, std::string("\0\xff\n", 3)); }),
                 std::string("\0\xff\n", 3));
  });
}

TEST_CASE("tail: a line that is not whole is waited for") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "begun");
    Generator<std::string> lines = tail(path, from_start);
    Awaited awaited(lines);
    for (const char* const piece : {" and", " go", "es on"}) {
      co_await settle(context, [&] { append(path, piece); });
      CHECK_FALSE(awaited.has_come());
    }
    append(path, "\n");
    CHECK_YIELDS(awaited.line(), "begun and goes on\n");
  });
}

TEST_CASE("tail: long lines and many of them") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string line = pattern(700'000);
    const auto path = directory.file("file", line + "\n" + line);
    Generator<std::string> lines = tail(path, from_start);
    const std::string first = co_await next_of(lines);
    CHECK((first == line + "\n"));
    std::string expected;
    for (int i = 0; i < 20'000; ++i) expected += "line " + std::to_string(i) + "\n";
    append(path, "\n" + expected);
    const std::string second = co_await next_of(lines);
    CHECK((second == first));
    std::string got;
    while (got.size() < expected.size()) got += co_await next_of(lines);
    CHECK((got == expected));
  });
}

TEST_CASE("tail: begins with the last lines that are asked for") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    // More than one block is searched.
    std::string content;
    Lines all;
    for (int i = 0; i < 3000; ++i) all.push_back(pattern(50, static_cast<unsigned>(i)) + "\n");
    for (const std::string& line : all) content += line;
    const auto path = directory.file("file", content);
    for (const std::uint64_t count : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1286}, std::uint64_t{2000},
                                      std::uint64_t{3000}, std::uint64_t{5000}, TailOptions::all}) {
      Generator<std::string> lines = tail(path, {.last_lines = count});
      const std::size_t first = all.size() - static_cast<std::size_t>(std::min<std::uint64_t>(count, all.size()));
      for (std::size_t i = first; i < all.size(); ++i) {
        const std::string line = co_await next_of(lines);
        if (line != all[i]) FAIL(count << " lines: wrong at " << i);
      }
    }
    append(path, "last");
    Generator<std::string> lines = tail(path, {.last_lines = 2});
    CHECK_YIELDS(next_of(lines), all.back());
    CHECK_YIELDS(next_after(context, lines, [&] { append(path, " one\n"); }), "last one\n");
  });
}

TEST_CASE("tail: the last lines of files that hardly have any") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    for (const std::string_view content : {"", "\n", "x", "\n\n", "x\n"}) {
      const auto path = directory.file("file", content);
      Generator<std::string> lines = tail(path, {.last_lines = 1});
      const bool has_line = !content.empty() && content.back() == '\n';
      if (has_line) CHECK_YIELDS(next_of(lines), content == "x\n" ? "x\n" : "\n");
      const std::string expected = has_line ? "y\n" : std::string(content) + "y\n";
      CHECK_YIELDS(next_after(context, lines, [&] { append(path, "y\n"); }), expected);
    }
  });
}

// ---- truncation and rotation ---------------------------------------------------------------------------------------

TEST_CASE("tail: a file that has become shorter is read from its beginning") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("file", "one\ntwo\nunfinished");
    Generator<std::string> lines = tail(path, from_start);
    CHECK_YIELDS(next_of(lines), "one\n");
    CHECK_YIELDS(next_of(lines), "two\n");
    CHECK_YIELDS(next_after(context, lines, [&] { fs::resize_file(path, 0); }), "unfinished");
    CHECK_YIELDS(next_after(context, lines, [&] { append(path, "new\n"); }), "new\n");
    CHECK_YIELDS(next_after(context, lines,
                            [&] {
                              fs::resize_file(path, 0);
                              append(path, "3\n");
                            }),
                 "3\n");
    CHECK_YIELDS(next_after(context, lines, [&] { append(path, "4\n"); }), "4\n");
  });
}

TEST_CASE("tail: a renamed file is read to its end, then the one that took its name") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "one\n");
    const auto old = directory / "log.1";
    Generator<std::string> lines = tail(path, from_start);
    CHECK_YIELDS(next_of(lines), "one\n");
    CHECK_YIELDS(next_after(context, lines,
                            [&] {
                              fs::rename(path, old);
                              append(old, "two\n");
                            }),
                 "two\n");
    // As logrotate's "create" does: the writer has the old file for some time yet.
    CHECK_YIELDS(next_after(context, lines,
                            [&] {
                              append(path, "");
                              append(old, "three\n");
                            }),
                 "three\n");
    CHECK_YIELDS(next_after(context, lines, [&] { append(old, "four\nlast"); }), "four\n");
    CHECK_YIELDS(next_after(context, lines, [&] { append(path, "new\n"); }), "last");
    CHECK_YIELDS(next_of(lines), "new\n");
    CHECK_YIELDS(next_after(context, lines, [&] { append(path, "newer\n"); }), "newer\n");
    co_await until_open(context, old, 0);
  });
}

TEST_CASE("tail: a renamed file that was read to its end is watched no more") {
  const auto watches = [] {
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator("/proc/self/fdinfo")) {
      std::ifstream info(entry.path());
      for (std::string line; std::getline(info, line);) count += line.starts_with("inotify wd:");
    }
    return count;
  };
  on_every_backend([&](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "");
    Generator<std::string> lines = tail(path);
    std::size_t before = 0;
    CHECK_YIELDS(next_after(context, lines,
                            [&] {
                              before = watches();
                              fs::rename(path, directory / "log.1");
                              append(path, "new\n");
                            }),
                 "new\n");
    CHECK_YIELDS(next_after(context, lines,
                            [&] {
                              CHECK(watches() == before);
                              append(path, "newer\n");
                            }),
                 "newer\n");
  });
}

TEST_CASE("tail: a removed file that comes again is read from its beginning") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "one\n");
    Generator<std::string> lines = tail(path);
    for (int i = 0; i < 3; ++i) {
      const std::string line = std::to_string(i) + "\n";
      CHECK_YIELDS(next_after(context, lines,
                              [&] {
                                fs::remove(path);
                                append(path, line + "same\n");
                              }),
                   line);
      CHECK_YIELDS(next_of(lines), "same\n");
    }
    CHECK_YIELDS(next_after(context, lines,
                            [&] {
                              append(directory / "other", "by rename\n");
                              fs::rename(directory / "other", path);
                            }),
                 "by rename\n");
  });
}

TEST_CASE("tail: empty files in between are passed over, and not kept open") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "");
    Generator<std::string> lines = tail(path);
    Awaited awaited(lines);
    for (int i = 0; i < 4; ++i) {
      co_await settle(context, [&] {
        fs::rename(path, directory / ("log." + std::to_string(i)));
        append(path, "");
      });
      co_await until_open(context, path, 1);
    }
    co_await until_open(context, directory / "log.0", 1);
    for (const char* const passed : {"log.1", "log.2", "log.3"}) co_await until_open(context, directory / passed, 0);
    append(directory / "log.0", "from the old one\n");
    CHECK_YIELDS(awaited.line(), "from the old one\n");
    CHECK_YIELDS(next_after(context, lines, [&] { append(path, "new\n"); }), "new\n");
  });
}

namespace {

// What the replaced calls below do once, in between.
fs::path old_log;
fs::path new_log;

}  // namespace

TEST_CASE("tail: what comes to the old file while its end is looked for is given before the new one") {
  if (!support::usable(caio::Implementation::thread)) return;
  const TemporaryDirectory directory;
  const ReplacedCalls calls;
  calls->pread = [](int fd, void* buffer, std::size_t size, ::off_t offset) {
    const ::ssize_t count = ::pread(fd, buffer, size, offset);
    if (count == 0 && !old_log.empty()) {
      append(std::exchange(old_log, {}), "last\n");
      append(new_log, "new\n");
    }
    return count;
  };
  Context context(caio::Implementation::thread, {.speculate = false});
  context.run([](Context& its, const TemporaryDirectory& in) -> Task<> {
    const fs::path log = in.file("log", "");
    Generator<std::string> lines = tail(log);
    Awaited awaited(lines);
    co_await settle(its, [&] { fs::rename(log, in / "log.1"); });
    co_await settle(its, [&] { append(log, ""); });
    old_log = in / "log.1";
    new_log = log;
    append(old_log, "wakes it\n");
    CHECK_YIELDS(awaited.line(), "wakes it\n");
    CHECK_YIELDS(next_of(lines), "last\n");
    CHECK_YIELDS(next_of(lines), "new\n");
  }(context, directory));
}

TEST_CASE("tail: a file between two others that gets something while the second is looked for is not lost") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto log = directory.file("log", "");
    const auto between = directory / "log.2";
    const ReplacedCalls calls;
    calls->open = [](const char* path, int flags, ::mode_t mode) {
      if (!new_log.empty() && fs::exists(new_log)) append(std::exchange(new_log, {}), "between\n");
      return ::open(path, flags, mode);
    };
    Generator<std::string> lines = tail(log);
    Awaited awaited(lines);
    co_await settle(context, [&] { fs::rename(log, directory / "log.1"); });
    co_await settle(context, [&] { append(log, ""); });
    new_log = between;
    fs::rename(log, between);
    append(log, "newest\n");
    CHECK_YIELDS(awaited.line(), "between\n");
    CHECK_YIELDS(next_of(lines), "newest\n");
  });
}

TEST_CASE("tail: an empty new file that loses its name, too, is not forgotten") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "");
    Generator<std::string> lines = tail(path);
    Awaited awaited(lines);
    co_await settle(context, [&] { fs::rename(path, directory / "log.1"); });
    co_await settle(context, [&] { append(path, ""); });
    co_await settle(context, [&] { fs::rename(path, directory / "log.2"); });
    append(directory / "log.2", "late\n");
    CHECK_YIELDS(awaited.line(), "late\n");
  });
}

TEST_CASE("tail: a file that is renamed back is the same one still") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "one\n");
    Generator<std::string> lines = tail(path);
    Awaited awaited(lines);
    co_await settle(context, [&] { fs::rename(path, directory / "away"); });
    co_await settle(context, [&] { append(path, ""); });
    co_await settle(context, [&] { fs::rename(directory / "away", path); });
    append(path, "two\n");
    CHECK_YIELDS(awaited.line(), "two\n");
  });
}

TEST_CASE("tail: every line comes once and in order, however often the file is rotated meanwhile") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "");
    auto write = [](Context& its, fs::path log) -> Task<> {
      for (int i = 0; i < 3000; ++i) {
        append(log, "line " + std::to_string(i) + "\n");
        if (i % 7 == 0) co_await its.schedule();
        // The tail keeps up: two rotations between two looks would hide one.
        if (i % 500 == 250) {
          fs::rename(log, log.native() + "." + std::to_string(i));
          append(log, "");
          co_await until_open(its, log, 1);
        }
      }
    };
    Generator<std::string> lines = tail(path, from_start);
    std::optional<std::string> first;
    TaskGroup group;
    group.spawn(store_line(lines, first));
    co_await until_it_waits(context);
    group.spawn(write(context, path));
    co_await until(context, [&] { return first.has_value(); });
    std::string got = *first;
    std::string expected;
    for (int i = 0; i < 3000; ++i) expected += "line " + std::to_string(i) + "\n";
    while (got.size() < expected.size()) got += co_await next_of(lines);
    CHECK((got == expected));
    co_await group.join();
  });
}

// ---- paths ---------------------------------------------------------------------------------------------------------

TEST_CASE("tail: a file that is not there is waited for, and its directories, too") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    Generator<std::string> lines = tail(directory / "a/b/log");
    Awaited awaited(lines);
    co_await settle(context, [&] { fs::create_directory(directory / "a"); });
    co_await settle(context, [&] { fs::create_directory(directory / "a/b"); });
    append(directory / "a/b/log", "first\n");
    CHECK_YIELDS(awaited.line(), "first\n");
    CHECK_YIELDS(next_after(context, lines,
                            [&] {
                              fs::rename(directory / "a", directory / "old");
                              fs::create_directories(directory / "a/b");
                              append(directory / "a/b/log", "in a new directory\n");
                            }),
                 "in a new directory\n");
  });
}

TEST_CASE("tail: follows a link to another file, and what is renamed behind a link") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    fs::create_directory(directory / "one");
    fs::create_directory(directory / "two");
    append(directory / "one/log", "first\n");
    append(directory / "two/log", "other\n");
    fs::create_symlink("one/log", directory / "link");
    fs::create_symlink("./../" + directory.path().filename().native() + "/link", directory / "path");
    Generator<std::string> lines = tail(directory / "path", from_start);
    CHECK_YIELDS(next_of(lines), "first\n");
    CHECK_YIELDS(next_after(context, lines,
                            [&] {
                              fs::rename(directory / "one/log", directory / "one/log.1");
                              append(directory / "one/log", "behind the link\n");
                            }),
                 "behind the link\n");
    CHECK_YIELDS(next_after(context, lines,
                            [&] {
                              fs::create_symlink(directory / "two/log", directory / "new");
                              fs::rename(directory / "new", directory / "link");
                            }),
                 "other\n");
    CHECK_YIELDS(next_after(context, lines, [&] { append(directory / "two/log", "more\n"); }), "more\n");
  });
}

TEST_CASE("tail: a link in the middle of the path, and one that leads nowhere yet") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    fs::create_directories(directory / "monday/logs");
    fs::create_directories(directory / "tuesday/logs");
    append(directory / "monday/logs/log", "monday\n");
    append(directory / "tuesday/logs/log", "tuesday\n");
    fs::create_symlink("monday", directory / "current");
    Generator<std::string> lines = tail(directory / "current/logs/log", from_start);
    CHECK_YIELDS(next_of(lines), "monday\n");
    CHECK_YIELDS(next_after(context, lines,
                            [&] {
                              fs::create_symlink("tuesday", directory / "new");
                              fs::rename(directory / "new", directory / "current");
                            }),
                 "tuesday\n");
    Awaited awaited(lines);
    co_await settle(context, [&] {
      fs::remove(directory / "current");
      fs::create_symlink("wednesday", directory / "current");
    });
    fs::create_directories(directory / "wednesday/logs");
    append(directory / "wednesday/logs/log", "wednesday\n");
    CHECK_YIELDS(awaited.line(), "wednesday\n");
  });
}

TEST_CASE("tail: a relative path") {
  const TemporaryDirectory directory;
  const std::string answer = support::answer_in_child([&] {
    fs::current_path(directory.path());
    append("log", "one\n");
    Context context;
    std::string got;
    context.run([](Context& its, std::string& text) -> Task<> {
      Generator<std::string> lines = tail("./log", from_start);
      text += co_await next_of(lines);
      text += co_await next_after(its, lines, [] {
        fs::rename("log", "log.1");
        append("log", "two\n");
      });
    }(context, got));
    return got;
  });
  CHECK(answer == "one\ntwo\n");
}

// ---- without inotify -----------------------------------------------------------------------------------------------

TEST_CASE("tail: without an inotify instance, or watches, it looks from time to time") {
  on_every_backend([](Context& context) -> Task<> {
    for (const bool no_instance : {true, false}) {
      const ReplacedCalls calls;
      if (no_instance) {
        calls->inotify_init = [](int) { return errno = EMFILE, -1; };
      } else {
        calls->inotify_add_watch = [](int, const char*, std::uint32_t) { return errno = ENOSPC, -1; };
      }
      const TemporaryDirectory directory;
      const auto path = directory / "log";
      Generator<std::string> lines = tail(path, {.poll_interval = 20ms});
      CHECK_YIELDS(next_after(context, lines, [&] { append(path, "one\n"); }), "one\n");
      CHECK_YIELDS(next_after(context, lines, [&] { append(path, "two\n"); }), "two\n");
      CHECK_YIELDS(next_after(context, lines,
                              [&] {
                                fs::rename(path, directory / "log.1");
                                append(directory / "log.1", "three\n");
                                append(path, "four\n");
                              }),
                   "three\n");
      CHECK_YIELDS(next_of(lines), "four\n");
      CHECK_YIELDS(next_after(context, lines,
                              [&] {
                                fs::resize_file(path, 0);
                                append(path, "5\n");
                              }),
                   "5\n");
    }
  });
}

TEST_CASE("tail: a watch that cannot be had for a directory does not keep the others from telling") {
  on_every_backend([](Context& context) -> Task<> {
    const ReplacedCalls calls;
    calls->inotify_add_watch = [](int fd, const char* path, std::uint32_t mask) {
      if (std::string_view(path) == "/") return errno = EACCES, -1;
      return ::inotify_add_watch(fd, path, mask);
    };
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "");
    Generator<std::string> lines = tail(path, {.poll_interval = std::chrono::hours(1)});
    Awaited awaited(lines);
    co_await until_parked(context, 3);  // there is a timer more
    append(path, "told\n");
    CHECK_YIELDS(awaited.line(), "told\n");
  });
}

// ---- errors and the end --------------------------------------------------------------------------------------------

TEST_CASE("tail: what cannot be followed is an error") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    directory.file("file", "");
    fs::create_symlink("loop", directory / "loop");
    ::mkfifo((directory / "fifo").c_str(), 0600);
    const auto failure = [](fs::path path) -> Task<std::optional<FileError>> {
      Generator<std::string> lines = tail(std::move(path));
      co_return co_await outcome::failure_of(lines.next());
    };
    for (const auto& [name, error] : std::vector<std::pair<std::string, int>>{{"", EISDIR},
                                                                              {"file/log", ENOTDIR},
                                                                              {"loop", ELOOP},
                                                                              {"fifo", ESPIPE},
                                                                              {std::string(300, 'x'), ENAMETOOLONG}}) {
      const auto found = co_await failure(directory / name);
      REQUIRE(found);
      CHECK(found->code().value() == error);
      CHECK(found->path1() == directory / name);
    }
    const auto device = co_await failure("/dev/null");
    CHECK((device && device->code().value() == ESPIPE));
  });
}

TEST_CASE("tail: after an error it has ended") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    Generator<std::string> lines = tail(directory.path());
    CHECK_YIELDS(error_of(lines.next()), EISDIR);
    CHECK_YIELDS(lines.next(), std::nullopt);
  });
}

TEST_CASE("tail: a read error is told") {
  if (!support::usable(caio::Implementation::thread)) return;
  const ReplacedCalls calls;
  const TemporaryDirectory directory;
  const auto path = directory.file("log", "text");
  calls->pread = [](int, void*, std::size_t, ::off_t) -> ::ssize_t { return errno = EIO, -1; };
  Context context(caio::Implementation::thread, {.speculate = false});
  context.run([](fs::path log) -> Task<> {
    Generator<std::string> lines = tail(log, from_start);
    const auto failure = co_await outcome::failure_of(lines.next());
    REQUIRE(failure);
    CHECK(failure->code().value() == EIO);
    CHECK(failure->path1() == log);
  }(path));
}

TEST_CASE("tail: a size that cannot be had is an error, and no end of the file") {
  on_every_backend([](Context& context) -> Task<> {
    const ReplacedCalls calls;
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "one\n");
    Generator<std::string> lines = tail(path, from_start);
    CHECK_YIELDS(next_of(lines), "one\n");
    co_await until_idle(context);
    calls->fstat = [](int, struct ::stat*) { return errno = EIO, -1; };
    const auto failure = co_await outcome::failure_of(next_of(lines));
    REQUIRE(failure);
    CHECK(failure->code().value() == EIO);
    CHECK(failure->path1() == path);
  });
}

namespace {

::ino_t stale_inode = 0;

/// As on NFS, where the server has removed it.
void make_stale(const fs::path& path) {
  struct ::stat status;
  if (::stat(path.c_str(), &status) != 0) throw std::runtime_error("stat");
  stale_inode = status.st_ino;
}

}  // namespace

TEST_CASE("tail: a file that its server has no longer is at its end") {
  if (!support::usable(caio::Implementation::thread)) return;
  const ReplacedCalls calls;
  stale_inode = 0;
  calls->pread = [](int fd, void* buffer, std::size_t size, ::off_t offset) -> ::ssize_t {
    struct ::stat status;
    if (::fstat(fd, &status) == 0 && status.st_ino == stale_inode) return errno = ESTALE, -1;
    return ::pread(fd, buffer, size, offset);
  };
  Context context(caio::Implementation::thread, {.speculate = false});
  context.run([](Context& its) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "one\nbegun");
    Generator<std::string> lines = tail(path, from_start);
    CHECK_YIELDS(next_of(lines), "one\n");
    CHECK_YIELDS(next_after(its, lines,
                            [&] {
                              make_stale(path);
                              fs::rename(path, directory / "log.1");
                              append(path, "two\n");
                            }),
                 "begun");
    CHECK_YIELDS(next_of(lines), "two\n");
    Awaited awaited(lines);
    co_await settle(its, [&] {
      make_stale(path);
      fs::rename(path, directory / "log.2");
    });
    co_await until_open(its, directory / "log.2", 0);
    append(path, "three\n");
    CHECK_YIELDS(awaited.line(), "three\n");
  }(context));
}

TEST_CASE("tail: a file that says no size, as in /proc, is read once") {
  on_every_backend([](Context& context) -> Task<> {
    Generator<std::string> lines = tail("/proc/version", from_start);
    CHECK_YIELDS(next_of(lines), support::content_of("/proc/version"));
    Awaited awaited(lines);
    co_await until_it_waits(context);
    CHECK_FALSE(awaited.has_come());
  });
}

TEST_CASE("tail: a new file without permissions yet is waited for") {
  const TemporaryDirectory directory;
  fs::permissions(directory.path(), fs::perms::all);
  const std::string answer = support::answer_in_child([&] {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) return std::string("no other user");
    const auto path = directory / "log";
    append(path, "one\n");
    std::string got;
    Context context;
    context.run([](Context& its, fs::path log, std::string& text) -> Task<> {
      Generator<std::string> lines = tail(log, from_start);
      text += co_await next_of(lines);
      Awaited awaited(lines);
      co_await settle(its, [&] {
        const fs::path made = log.native() + ".new";
        append(made, "two\n");
        fs::permissions(made, fs::perms::none);
        fs::rename(made, log);
      });
      fs::permissions(log, fs::perms::owner_read);
      text += co_await awaited.line();
      // One that cannot be read from the beginning on is an error.
      fs::permissions(log, fs::perms::none);
      Generator<std::string> others = tail(log);
      const int error = co_await error_of(others.next());
      text += std::to_string(error);
    }(context, path, got));
    return got;
  });
  if (answer == "no other user") {
    WARN("this user may not become another");
    return;
  }
  CHECK(answer == "one\ntwo\n" + std::to_string(EACCES));
}

TEST_CASE("tail: wrong arguments are told by the call") {
  CHECK_THROWS_AS(tail(std::string("a\0b", 3)), std::invalid_argument);
  CHECK_THROWS_AS(tail("file", {.poll_interval = 0ms}), std::invalid_argument);
  CHECK_THROWS_AS(tail("file", {.poll_interval = -1ms}), std::invalid_argument);
}

TEST_CASE("tail: can be stopped where it waits") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    for (const fs::path& path : {directory.file("file", "text"), directory / "missing"}) {
      std::stop_source source;
      Generator<std::string> lines = tail(path);
      int error = 0;
      TaskGroup group;
      group.spawn(outcome::store_error(caio::with_stop(source.get_token(), lines.next()), error));
      co_await until_parked(context, 1);
      source.request_stop();
      co_await group.join();
      CHECK(error == ECANCELED);
      bool timed_out = false;
      Generator<std::string> others = tail(path);
      try {
        co_await caio::with_timeout(1ms, others.next());
      } catch (const std::system_error& failure) {
        timed_out = failure.code() == std::errc::timed_out;
      }
      CHECK(timed_out);
    }
  });
}

TEST_CASE("tail: destroyed at any moment it leaves nothing") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "one\ntwo");
    for (const auto interval : {1ms, 250ms}) {
      const ReplacedCalls calls;
      if (interval == 1ms)
        calls->inotify_add_watch = [](int, const char*, std::uint32_t) { return errno = ENOSPC, -1; };
      static_cast<void>(tail(path));  // never begun
      for (int turns = 0; turns < 40; ++turns) {
        {
          Generator<std::string> lines = tail(path, {.last_lines = 5, .poll_interval = interval});
          TaskGroup group;
          group.spawn([](Generator<std::string>& all) -> Task<> {
            while (const auto line = co_await all.next()) {
            }
          }(lines));
          for (int i = 0; i < turns; ++i) {
            if (i % 5 == 4) append(path, "x\n");
            co_await context.schedule();
          }
        }
        co_await until_idle(context);
        CHECK(outcome::descriptors_of(path) == 0);
        CHECK(outcome::descriptors_of("anon_inode:inotify") == 0);
      }
    }
  });
}

TEST_CASE("tail: goes on in another context's run(), until its own context ends") {
  for (const caio::Implementation each : support::backends()) {
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "one\n");
    std::optional<Context> own(std::in_place, each);
    Context other(each);
    Generator<std::string> lines = tail(path, from_start);
    CHECK(own->run(next_of(lines)) == "one\n");
    append(path, "two\n");
    CHECK(other.run(next_of(lines)) == "two\n");
    own.emplace(each);  // in the place of the old one
    CHECK(other.run(error_of(next_of(lines))) == ECANCELED);
  }
}

TEST_CASE("tail: two of one file, and one beside other work") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const auto path = directory.file("log", "");
    Generator<std::string> one = tail(path);
    Generator<std::string> two = tail(path);
    std::optional<std::string> lines[2];
    TaskGroup group;
    group.spawn(store_line(one, lines[0]));
    group.spawn(store_line(two, lines[1]));
    co_await until_parked(context, 4);
    append(path, "both\n");
    co_await group.join();
    CHECK(lines[0] == "both\n");
    CHECK(lines[1] == "both\n");
  });
}
