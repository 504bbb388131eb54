// Out of memory (tier T3): of each scenario, the 1st, 2nd, 3rd ... allocation fails, alone or with those behind it,
// until the scenario needs fewer. Each failure reaches the caller as std::bad_alloc, loses nothing that was written or
// was to be read, leaks nothing, and leaves a context that works.
#include <aiofile/aiofile.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <sstream>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "outcome.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

namespace {

using aiofile::AIOFile;
using aiofile::FileStream;
using aiofile::Task;
using Path = std::filesystem::path;

// ---- asking again ------------------------------------------------------------------------------------------------

bool append(std::string& text, const std::string& got) { return text += got, got.empty(); }
bool append(std::string& text, std::optional<std::string_view> got) { return text += got.value_or(""), !got; }
bool append(std::string& text, std::span<const std::string_view> lines) {
  for (const std::string_view line : lines) text += line;
  return lines.empty();
}
bool append(std::string& text, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) text += line;
  return true;
}
bool append(std::string&, std::size_t) { return true; }

/// Awaits `make()` and appends what it gives, until that is the end. What fails for want of memory is asked for again,
/// with memory: an operation that failed has taken nothing and moved nothing.
template <class Make>
Task<> insist(Make make, std::string& text) {
  for (bool ended = false; !ended;) {
    bool failed = false;
    try {
      const auto got = co_await make();
      ended = append(text, got);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    if (failed) support::allow_allocations();
  }
}

// ---- scenarios: each gives what it has found, out of memory that it asked for first -------------------------------

std::string lines_of_text() {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "line " + std::to_string(i) + " \xc3\xa4\xe2\x82\xac\n";
  return text + "and a last one";
}
const std::string lines = lines_of_text();
const std::string long_line = outcome::pattern(300'000, 7) + "\n";
const std::string much = outcome::pattern(1'500'000, 8);

std::string reserved(std::size_t size = 4096) {
  std::string text;
  text.reserve(size);
  return text;
}

Task<std::string> positional(Path path) {
  AIOFile file = co_await AIOFile(path, "w+b");
  co_await file.write("0123456789", 5);
  co_await file.write(std::string("abcde"));
  co_await file.fsync();
  co_await file.truncate(12);
  AIOFile other = file.clone();
  std::string text = co_await other.read();
  co_await other.close();
  co_await file.close();
  co_return text;
}

Task<std::string> bulk(Path path) {
  AIOFile file = co_await AIOFile(path, "w+b");
  co_await file.write(much);
  const std::vector<std::byte> bytes = co_await file.read_bytes();
  co_await file.close();
  co_return outcome::text_of(bytes);
}

Task<std::string> converted(Path path) {
  std::string text = reserved(much.size() + lines.size());
  AIOFile file = co_await AIOFile(path, "w+", {.encoding = "utf-16"});
  co_await file.write(lines);
  text += co_await file.read();
  co_await file.write(std::string_view(much).substr(0, 200'000), 0);
  text += co_await file.read(400'000, 2);
  co_await file.close();
  co_return text;
}

Task<std::string> gathered_writes(Path path) {
  std::string text = reserved();
  {
    FileStream stream = co_await aiofile::async_open(path, "w+", {.buffering = 256});
    for (std::string_view rest = lines; !rest.empty();) {
      const std::string_view piece = aiofile::whole_characters(rest, 50) < rest.size()
                                         ? rest.substr(0, aiofile::whole_characters(rest, 50))
                                         : rest;
      co_await insist([&] { return stream.write(piece); }, text);
      rest.remove_prefix(piece.size());
    }
    co_await stream.close();
  }
  AIOFile file = co_await AIOFile(path);
  text = co_await file.read();
  co_await file.close();
  co_return text;
}

/// Each way to read lines takes a few and leaves the rest to the next one.
Task<std::string> read_lines(Path path, std::string_view encoding) {
  std::string text = reserved();
  FileStream stream = co_await aiofile::async_open(path, "w+", {.encoding = encoding});
  co_await stream.write(lines);
  aiofile::LineReader reader(stream.file(), 0, 64);
  co_await insist([&] { return reader.next(); }, text);
  aiofile::LineReader copies(stream.file(), 0, 64);
  co_await insist([&] { return copies.readline(); }, text);
  aiofile::LineReader batches(stream.file(), 0, 128);
  co_await insist([&] { return batches.next_batch(); }, text);
  aiofile::Reader chunks(stream.file(), 0, 100);
  co_await insist([&] { return chunks.next(); }, text);
  stream.seek(0);
  co_await insist([&] { return stream.readline(); }, text);
  stream.seek(0);
  co_await insist([&] { return stream.readlines(); }, text);
  stream.seek(0);
  co_await insist([&] { return stream.read(16); }, text);
  co_await stream.close();
  co_return text;
}
Task<std::string> utf8_lines(Path path) { return read_lines(std::move(path), "utf-8"); }
Task<std::string> utf16_lines(Path path) { return read_lines(std::move(path), "utf-16"); }
Task<std::string> gb18030_lines(Path path) { return read_lines(std::move(path), "gb18030"); }
Task<std::string> cp1252_lines(Path path) { return read_lines(std::move(path), "cp1252"); }

Task<std::string> one_long_line(Path path) {
  std::string text = reserved(3 * long_line.size());
  FileStream stream = co_await aiofile::async_open(path, "w+b");
  co_await stream.write(long_line);
  stream.seek(0);
  co_await insist([&] { return stream.readline(); }, text);
  aiofile::LineReader reader(stream.file());
  co_await insist([&] { return reader.next(); }, text);
  stream.seek(0);
  const std::string_view seen = co_await stream.peek(10);
  text += seen;
  co_await stream.close();
  co_return text;
}

Task<std::string> gathering(Path path) {
  AIOFile file = co_await AIOFile(path, "w+");
  const std::vector<std::uint64_t> offsets = {0, 3, 6};
  co_await aiofile::gather(offsets, [&](std::uint64_t offset) { return file.write("abc", offset); });
  auto [first, second] = co_await aiofile::gather(file.read(4), file.read(-1, 4));
  co_await file.close();
  co_return first + second;
}

Task<> write_at(AIOFile& file, std::string_view text, std::uint64_t offset) { co_await file.write(text, offset); }

Task<std::string> group(Path path) {
  AIOFile file = co_await AIOFile(path, "w+");
  {
    aiofile::TaskGroup writers;
    for (std::uint64_t i = 0; i < 3; ++i) writers.spawn(write_at(file, "xyz", 3 * i));
    co_await writers.join();
  }
  std::string text = co_await file.read();
  co_await file.close();
  co_return text;
}

Task<std::string> stops(Path path) {
  AIOFile file = co_await AIOFile(path, "w+");
  const std::stop_source source;
  co_await aiofile::with_timeout(std::chrono::hours(1), file.write("in time"));
  std::string text = co_await aiofile::with_stop(source.get_token(), file.read());
  const auto late = co_await aiofile::as_result(
      aiofile::with_timeout(std::chrono::nanoseconds(1), aiofile::sleep_for(std::chrono::hours(1))));
  if (late.error() == std::errc::not_enough_memory) throw std::system_error(late.error());
  text += late.error() == std::errc::timed_out ? ", late" : ", ?";
  co_await file.close();
  co_return text;
}

Task<> count_up(Path path, int& ended) {
  AIOFile file = co_await AIOFile(path, "r");
  const std::string text = co_await file.read();
  if (text == "content") ++ended;
}

Task<std::string> spawned(Path path) {
  AIOFile file = co_await AIOFile(path, "w+");
  co_await file.write("content");
  int ended = 0;
  std::exception_ptr failure;
  caio::Context& context = caio::Context::current();
  int left = 3;
  bool refused = false;
  for (int i = 0; i < 3 && !refused; ++i) {
    try {
      context.spawn(
          [](Path name, int& count, int& waiting) -> Task<> {
            const auto result = co_await aiofile::as_result(count_up(name, count));
            static_cast<void>(result);
            --waiting;
          }(path, ended, left),
          [&](std::exception_ptr error) { failure = error, --left; });
    } catch (const std::bad_alloc&) {
      failure = std::current_exception();
      left -= 3 - i;
      refused = true;
    }
  }
  while (left > 0) co_await context.schedule();
  if (failure) std::rethrow_exception(failure);
  co_await file.close();
  co_return std::to_string(ended);
}

Task<std::string> offloaded(Path path) {
  std::string text = co_await caio::Context::current().offload([] { return std::string(100, 'o'); });
  AIOFile file = co_await AIOFile(path, "w+");
  co_await file.write(text);
  text += co_await file.read();
  co_await file.close();
  co_return text;
}

aiofile::Generator<std::string> halves(AIOFile& file) {
  co_yield co_await file.read(30);
  co_yield co_await file.read(-1, 30);
}

Task<std::string> generated(Path path) {
  AIOFile file = co_await AIOFile(path, "w+");
  co_await file.write(std::string(60, 'g'));
  std::string text;
  aiofile::Generator<std::string> pieces = halves(file);
  while (const auto piece = co_await pieces.next()) text += *piece;
  co_await file.close();
  co_return text;
}

Task<> write_all(int fd, std::string_view text) {
  FileStream stream = co_await aiofile::async_open(fd, "w");
  co_await stream.write(text);
  co_await stream.close();
}

Task<> read_line(int fd, std::string& text) {
  FileStream stream = co_await aiofile::async_open(fd, "r");
  text = co_await stream.readline();
  co_await stream.close();
}

Task<std::string> through_a_pipe(Path) {
  const support::Pipe pipe;
  std::string text;
  aiofile::TaskGroup both;  // without a writer, the reader is stopped
  both.spawn(read_line(pipe.reader.get(), text));
  both.spawn(write_all(pipe.writer.get(), "from end to end\n"));
  co_await both.join();
  co_return text;
}

Task<std::string> hello(Path path) {
  AIOFile file = co_await AIOFile(path, "w+");
  co_await file.write("hello");
  std::string text = co_await file.read();
  co_await file.close();
  co_return text;
}

// ---- what stands on paths ---------------------------------------------------------------------------------------

Task<std::string> named(Path file) {
  const Path path = file.native() + ".one";
  const Path other = file.native() + ".other";
  std::filesystem::remove(path);
  std::filesystem::remove(other);
  co_await aiofile::write_file(path, "of a name");
  co_await aiofile::os::rename(path, other);
  co_await aiofile::os::symlink(other.filename(), path);
  const aiofile::os::Stat status = co_await aiofile::os::stat(path);
  const Path target = co_await aiofile::os::readlink(path);
  std::string text = std::to_string(status.size) + " " + (target == other.filename() ? "there" : "elsewhere");
  co_await aiofile::os::remove(path);
  co_await aiofile::os::remove(other);
  co_return text;
}

Task<std::string> tree(Path path) {
  const Path top = path.native() + ".tree";
  const Path copy = path.native() + ".copy";
  std::filesystem::remove_all(top);
  std::filesystem::remove_all(copy);
  std::filesystem::remove(path);
  co_await aiofile::os::makedirs(top / "a/b");
  co_await aiofile::write_file(top / "a/file", "content");
  co_await aiofile::os::symlink("file", top / "a/link");
  co_await aiofile::copy_tree(top, copy);
  std::size_t entries = 0;
  {
    auto found = aiofile::os::walk(copy, {.stat = true});
    while (const auto entry = co_await found.next()) ++entries;
  }
  auto names = co_await aiofile::os::listdir(copy / "a");
  co_return std::to_string(entries) + " " + std::to_string(names.size());
}

Task<std::string> copied(Path path) {
  const Path other = path.native() + ".other";
  co_await aiofile::write_file(path, "to be copied");
  co_await aiofile::copy_file(path, other);
  co_await aiofile::copy_file(path, other);  // replaces it
  co_return co_await aiofile::read_file(other);
}

Task<std::string> replaced(Path path) {
  co_await aiofile::write_atomic(path, "at once");
  {
    auto out = co_await aiofile::AtomicWriter::open(path);
    co_await out.write("piece ");
    co_await out.write("by piece");
    co_await out.commit();
  }
  co_return co_await aiofile::read_file(path);
}

/// What comes back of what is written; closes `stream`.
template <class Stream>
Task<std::string> read_back(Stream& stream, std::string_view written) {
  co_await stream.write(written);
  stream.seek(0);
  std::string text = co_await stream.read();
  co_await stream.close();
  co_return text;
}

Task<std::string> temporary(Path path) {
  std::string text;
  auto directory = co_await aiofile::tempfile::TemporaryDirectory({.dir = path.parent_path().native()});
  const std::string dir = directory.name().native();
  {
    auto file = co_await aiofile::tempfile::TemporaryFile("w+", {.dir = dir});
    text += co_await read_back(file, "unnamed, ");
    auto known = co_await aiofile::tempfile::NamedTemporaryFile("w+", {.dir = dir});
    text += co_await read_back(known, "named, ");
    auto spooled = co_await aiofile::tempfile::SpooledTemporaryFile(4, "w+", {.dir = dir});
    text += co_await read_back(spooled, "spooled");
  }
  co_await directory.close();
  co_return text;
}

Task<std::string> pieces(Path path) {
  AIOFile file = co_await AIOFile(path, "w+b");
  std::string first = "0123456789";
  std::string second = "abcdefghij";
  const std::vector<::iovec> parts = {{first.data(), first.size()}, {second.data(), second.size()}};
  co_await file.writev(parts);
  co_await file.readv(parts, 0);
  const std::vector<aiofile::Extent> extents = {{12, 3}, {0, 2}, {18, 100}};
  const aiofile::ManyReads reads = co_await aiofile::read_many(file, extents);
  std::string text;
  for (const std::string_view read : reads) text += read;
  co_await file.close();
  co_return text + first;
}

Task<std::string> followed(Path path) {
  co_await aiofile::write_file(path, "one\ntwo\nthree\n");
  auto tailed = aiofile::tail(path, {.last_lines = 2});
  std::string text;
  for (int i = 0; i < 2; ++i) {
    const std::optional<std::string> line = co_await tailed.next();
    text += line.value_or("");
  }
  co_return text;
}

Task<std::string> file_like(Path) {
  aiofile::MemoryFile memory("one\ntwo\n");
  aiofile::LineReader reader(memory, 4);
  std::string text = reserved();
  co_await insist([&] { return reader.next(); }, text);
  std::stringstream stream("three\nfour\n");
  aiofile::IostreamFile adapted(stream);
  aiofile::LineReader more(adapted, 4);
  co_await insist([&] { return more.next(); }, text);
  co_return text;
}

Task<std::string> universal(Path path) {
  co_await aiofile::write_file(path, "one\r\ntwo\xff\rthree");
  std::string text = reserved();
  FileStream stream = co_await aiofile::async_open(path, "r", {.errors = "replace", .newline = "universal"});
  co_await insist([&] { return stream.read(4); }, text);
  co_await stream.close();
  co_return text;
}

std::string own_context(caio::Context& other, const Path& path) {
  caio::Context context(other.implementation());
  return context.run(hello(path));
}

/// The broken variants: a failure that nobody hears of, and one that leaves something behind.
Task<std::string> careless(Path path) {
  std::string text = reserved();
  AIOFile file = co_await AIOFile(path, "w+");
  for (std::uint64_t i = 0; i < 3; ++i) {
    try {
      co_await file.write(std::string(40, static_cast<char>('a' + i)), 40 * i);
    } catch (const std::bad_alloc&) {
    }
  }
  support::allow_allocations();
  text = co_await file.read();
  co_return text;
}

std::unique_ptr<std::string> left_behind;

Task<std::string> leaking(Path path) {
  auto taken = std::make_unique<std::string>("leak");
  try {
    co_return co_await hello(path);
  } catch (const std::bad_alloc&) {
    left_behind = std::move(taken);
  }
  throw std::bad_alloc();
}

template <Task<std::string> (*body)(Path)>
std::string run(caio::Context& context, const Path& path) {
  return context.run(body(path));
}

struct Scenario {
  const char* name;
  std::string (*body)(caio::Context&, const Path&);
  std::string wanted;
  bool long_way = false;  // many operations on paths, which are the same with and without speculation
};

// ---- the loop ----------------------------------------------------------------------------------------------------

struct Attempt {
  std::string violation;  // "": there is none
  std::size_t failed = 0;
};

std::string difference(std::string_view found, std::string_view wanted) {
  const auto place = std::mismatch(found.begin(), found.end(), wanted.begin(), wanted.end()).first - found.begin();
  const auto at = static_cast<std::size_t>(place);
  return "at byte " + std::to_string(at) + " of " + std::to_string(wanted.size()) + " there is '" +
         std::string(found.substr(at, 20)) + "' instead of '" + std::string(wanted.substr(at, 20)) + "'";
}

Task<> one_turn(caio::Context& context) { co_await context.schedule(); }

/// In a thread of its own, whose free list of frames is empty: else most frames would need no allocation.
Attempt attempt(const Scenario& scenario, const support::Setup& setup, const Path& path, std::size_t first,
                std::size_t period) {
  Attempt result;
  caio::Context context(setup.implementation, {.speculate = setup.speculate});
  support::fail_allocations(first, period);
  try {
    const std::string found = scenario.body(context, path);
    support::allow_allocations();
    if (found != scenario.wanted) result.violation = "it succeeded, but " + difference(found, scenario.wanted);
  } catch (const std::bad_alloc&) {
    support::allow_allocations();
    if (support::failed_allocations() == 0) result.violation = "bad_alloc without a failure";
  } catch (const std::system_error& error) {
    support::allow_allocations();
    if (error.code() != std::errc::not_enough_memory) result.violation = std::string("it threw ") + error.what();
  } catch (const std::exception& error) {
    support::allow_allocations();
    result.violation = std::string("it threw ") + error.what();
  }
  result.failed = support::failed_allocations();
  try {
    const std::string survivor = context.run(hello(path));
    if (survivor != "hello") result.violation += "; the survivor found " + survivor;
  } catch (const std::exception& error) {
    result.violation += std::string("; the survivor threw ") + error.what();
  }
  // A close that nobody waits for takes 20 ms where inotify had watches.
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (context.stats().in_flight > 0 && std::chrono::steady_clock::now() < patience) context.run(one_turn(context));
  const caio::ContextStats stats = context.stats();
  if (stats.submitted != stats.completed || stats.in_flight != 0 || stats.parked != 0) {
    result.violation += "; operations are left";
  }
  return result;
}

/// What is being tried, for who reads of a crash.
char trying[200];

Attempt guarded_attempt(const Scenario& scenario, const support::Setup& setup, const Path& path, std::size_t first,
                        std::size_t period) {
  std::snprintf(trying, sizeof trying, "%s, %s, allocation %zu, period %zu", scenario.name, setup.name.c_str(), first,
                period);
  const std::size_t descriptors = support::open_descriptors();
  const std::size_t live = support::live_allocations();
  Attempt result;
  {
    auto ending =
        std::async(std::launch::async, attempt, std::cref(scenario), std::cref(setup), std::cref(path), first, period);
    if (ending.wait_for(std::chrono::minutes(10)) != std::future_status::ready) {
      std::fprintf(stderr, "hangs: %s\n", trying);
      std::abort();
    }
    result = ending.get();
  }
  const std::size_t noted = result.violation.capacity() > std::string().capacity() ? 1 : 0;
  if (support::live_allocations() != live + noted) result.violation += "; memory leaked";
  if (support::open_descriptors() != descriptors) result.violation += "; descriptors leaked";
  return result;
}

struct Tally {
  std::size_t points = 0;
  std::vector<std::string> violations;
};

Tally fail_each(const Scenario& scenario, const support::Setup& setup, std::size_t period) {
  const support::TemporaryDirectory directory;
  const Path path = directory / "file";
  const support::Masks masks(setup.old_kernel);
  Tally tally;
  guarded_attempt(scenario, setup, path, ~std::size_t{0}, 0);  // what is made once per process is made here
  for (std::size_t first = 1;; ++first) {
    const Attempt result = guarded_attempt(scenario, setup, path, first, period);
    if (!result.violation.empty()) tally.violations.push_back(std::string(trying) + ": " + result.violation);
    if (result.failed == 0) return tally;
    ++tally.points;
  }
}

/// Says what was being tried when a failure met a noexcept function.
class LastWords {
 public:
  LastWords()
      : before_(std::set_terminate([] {
          std::fprintf(stderr, "terminated: %s\n", trying);
          std::abort();
        })) {}
  LastWords(const LastWords&) = delete;
  LastWords& operator=(const LastWords&) = delete;
  ~LastWords() { std::set_terminate(before_); }

 private:
  std::terminate_handler before_;
};

std::string times(std::size_t count, const std::string& text) {
  std::string all;
  while (count-- > 0) all += text;
  return all;
}

const std::vector<Scenario> scenarios = {
    {"a context of its own", own_context, "hello"},
    {"open and close", run<hello>, "hello"},
    {"positional", run<positional>, "abcde0123456"},
    {"bulk", run<bulk>, much},
    {"conversion", run<converted>, lines + much.substr(0, 200'000)},
    {"gathered writes", run<gathered_writes>, lines},
    {"lines", run<utf8_lines>, times(7, lines)},
    {"lines of utf-16", run<utf16_lines>, times(7, lines)},
    {"lines of gb18030", run<gb18030_lines>, times(7, lines)},
    {"lines of cp1252", run<cp1252_lines>, times(7, lines)},
    {"a long line", run<one_long_line>, times(2, long_line) + long_line.substr(0, 10)},
    {"gather", run<gathering>, "abcabcabc"},
    {"a group", run<group>, "xyzxyzxyz"},
    {"timeouts and stops", run<stops>, "in time, late"},
    {"spawned tasks", run<spawned>, "3"},
    {"offload", run<offloaded>, times(2, std::string(100, 'o'))},
    {"a generator", run<generated>, std::string(60, 'g')},
    {"a pipe", run<through_a_pipe>, "from end to end\n"},
    {"names", run<named>, "9 there", true},
    {"a tree", run<tree>, "4 3", true},
    {"a copy", run<copied>, "to be copied", true},
    {"replaced", run<replaced>, "piece by piece", true},
    {"temporary files", run<temporary>, "unnamed, named, spooled", true},
    {"pieces", run<pieces>, "cde01ij0123456789", true},
    {"followed", run<followed>, "two\nthree\n", true},
    {"file-like", run<file_like>, "one\ntwo\nthree\nfour\n", true},
    {"universal", run<universal>, "one\ntwo\xef\xbf\xbd\nthree", true},
};

}  // namespace

TEST_CASE("out of memory: every failure is told, and nothing is lost") {
  if (!support::counts_allocations) return;
  const LastWords last_words;
  const bool large = std::getenv("CAIO_TEST_LARGE") != nullptr;
  for (const support::Setup& setup : support::setups()) {
    DYNAMIC_SECTION(setup.name) {
      std::size_t points = 0;
      // io_destroy() takes some 20 ms each time; for files, the backend is the pool.
      const bool slow = setup.implementation == caio::Implementation::linux_aio && !large;
      for (const Scenario& scenario : scenarios) {
        if (slow && scenario.body != own_context) continue;
        if (scenario.long_way && !large && (!setup.speculate || setup.old_kernel)) continue;
        for (std::size_t period = 0; period <= (large ? 7U : scenario.long_way ? 0U : 1U); ++period) {
          const Tally tally = fail_each(scenario, setup, period);
          INFO(scenario.name);
          CHECK(tally.points > 0);
          CHECK(tally.violations == std::vector<std::string>());
          points += tally.points;
        }
      }
      std::printf("out of memory on %-24s %6zu points\n", setup.name.c_str(), points);
    }
  }
}

TEST_CASE("out of memory: the check sees a failure that is swallowed, and what is left behind") {
  if (!support::counts_allocations) return;
  const support::Setup& setup = support::setups().front();
  CHECK(fail_each({"careless", run<careless>, times(40, "a") + times(40, "b") + times(40, "c")}, setup, 0)
            .violations.size() >= 3);
  CHECK_FALSE(fail_each({"leaking", run<leaking>, "hello"}, setup, 0).violations.empty());
  left_behind.reset();
}
