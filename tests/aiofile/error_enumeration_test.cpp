// T2 of the torture programme: every operation, with every error at each of its requests, once and for good, and with
// short counts: the right error, the right count, the right bytes, nothing lost that can be tried again, no leak.
#include <fcntl.h>

#include <aiofile/aiofile.hpp>
#include <algorithm>
#include <caio/testing.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::FileError;
using aiofile::FileStream;
using caio::Context;
using caio::Descriptor;
using caio::Opcode;
using caio::Task;
using caio::testing::every;
using caio::testing::FaultBackend;
using caio::testing::FaultScript;
using caio::testing::from;
using caio::testing::MemoryBackend;
using caio::testing::MemoryFiles;
using support::bytes_of;
using support::room_in;

namespace {

constexpr std::string_view content = "0123456789\n";
constexpr std::size_t piece = 4;  // bytes that one request moves

/// How one attempt ended.
struct Outcome {
  int error = 0;
  std::uint64_t transferred = 0;
  std::string got;
};

template <class A>
Task<Outcome> outcome_of(A awaitable) {
  Outcome outcome;
  try {
    if constexpr (std::is_same_v<caio::detail::AwaitResult<A>, std::string>) {
      outcome.got = co_await std::move(awaitable);
    } else {
      static_cast<void>(co_await std::move(awaitable));
    }
  } catch (const FileError& error) {
    outcome.error = error.code().value();
    outcome.transferred = error.transferred();
  } catch (const std::system_error& error) {
    outcome.error = error.code().value();
  }
  co_return outcome;
}

/// What is set up on it meets with no faults before arm().
struct Stage {
  Context& context;
  FaultBackend& faults;
  std::string path;
  FaultScript script;
  std::vector<Outcome> outcomes{};  // of the first attempt, and after a failure of another one
  bool met = false;                 // whether the fault has happened

  void arm() { faults.set_script(script); }
  void disarm() {
    const caio::testing::FaultCounts counts = faults.counts();
    met = counts.errors + counts.interruptions > 0;
    faults.set_script(FaultScript());
  }
  [[nodiscard]] bool again() const { return outcomes.empty() || (outcomes.size() == 1 && outcomes[0].error != 0); }
};

enum class After { repeat, sync, nothing };  // a failure: it can be tried again; a sync fails for good; it is over

struct Scenario {
  const char* name;
  Opcode opcode;   // whose requests meet with the fault
  bool in_pieces;  // each of them moves `piece` bytes; else there is one
  bool counts;     // the error tells how far it came
  bool reads;      // gives the content
  After after;
  std::function<Task<>(Stage&)> run;
};

template <class Operation>
std::function<Task<>(Stage&)> on_file(const char* mode, Operation operation) {
  return [mode, operation](Stage& stage) -> Task<> {
    AIOFile file(stage.path, mode, {.context = &stage.context});
    co_await file.open();
    stage.arm();
    while (stage.again()) {
      Outcome outcome = co_await operation(file);
      stage.outcomes.push_back(std::move(outcome));
    }
    stage.disarm();
    static_cast<void>(co_await outcome_of(file.close()));
  };
}

template <class Operation>
std::function<Task<>(Stage&)> on_stream(const char* mode, std::size_t buffering, Operation operation) {
  return [mode, buffering, operation](Stage& stage) -> Task<> {
    FileStream stream =
        co_await aiofile::async_open(stage.path, mode, {.context = &stage.context, .buffering = buffering});
    stage.arm();
    while (stage.again()) {
      Outcome outcome = co_await operation(stream);
      stage.outcomes.push_back(std::move(outcome));
    }
    stage.disarm();
    static_cast<void>(co_await outcome_of(stream.close()));
  };
}

template <class Operation>
std::function<Task<>(Stage&)> on_descriptor(int flags, Operation operation) {
  return [flags, operation](Stage& stage) -> Task<> {
    const Descriptor file = co_await stage.context.open(stage.path, flags);
    stage.arm();
    while (stage.again()) {
      Outcome outcome = co_await operation(stage.context, file);
      stage.outcomes.push_back(std::move(outcome));
    }
    stage.disarm();
    static_cast<void>(co_await outcome_of(stage.context.close(file)));
  };
}

Task<Outcome> raw_read(Context& context, Descriptor file) {
  std::string text(content.size(), '?');
  std::size_t read = 0;
  Outcome outcome;
  try {
    while (read < text.size()) read += co_await context.read(file, room_in(text).subspan(read), static_cast<int>(read));
  } catch (const std::system_error& error) {
    outcome.error = error.code().value();
  }
  outcome.got = text.substr(0, read);
  co_return outcome;
}

Task<Outcome> raw_write(Context& context, Descriptor file) {
  std::size_t written = 0;
  Outcome outcome;
  try {
    while (written < content.size()) {
      written += co_await context.write(file, bytes_of(content).subspan(written), static_cast<int>(written));
    }
  } catch (const std::system_error& error) {
    outcome.error = error.code().value();
  }
  co_return outcome;
}

Task<Outcome> next_chunk(AIOFile& file) {
  aiofile::Reader reader(file, 0, 100);
  Outcome outcome;
  try {
    for (;;) {
      const auto chunk = co_await reader.next();
      if (!chunk) break;
      outcome.got += *chunk;
    }
  } catch (const FileError& error) {
    outcome.error = error.code().value();
  }
  co_return outcome;
}

Task<Outcome> next_line(AIOFile& file) {
  aiofile::LineReader lines(file);
  Outcome outcome;
  try {
    const auto line = co_await lines.next();
    if (line) outcome.got = *line;
  } catch (const FileError& error) {
    outcome.error = error.code().value();
  }
  co_return outcome;
}

Task<Outcome> write_by_writer(AIOFile& file) {
  aiofile::Writer writer(file, 0, 100);
  co_await writer(content);
  Outcome outcome = co_await outcome_of(writer.flush());
  co_return outcome;
}

Task<> open_and_close(Stage& stage) {
  AIOFile file(stage.path, "r", {.context = &stage.context});
  stage.arm();
  while (stage.again()) {
    Outcome outcome = co_await outcome_of(file.open());
    CHECK(file.closed() == (outcome.error != 0));
    stage.outcomes.push_back(std::move(outcome));
  }
  stage.disarm();
  co_await file.close();
}

Task<> close_file(Stage& stage) {
  AIOFile file = co_await AIOFile(stage.path, "r", {.context = &stage.context});
  stage.arm();
  Outcome outcome = co_await outcome_of(file.close());
  stage.outcomes.push_back(std::move(outcome));
  CHECK(file.closed());
  stage.disarm();
  CHECK_YIELDS(support::errno_of(file.close()), 0);
}

Task<> close_stream(Stage& stage) {
  FileStream stream = co_await aiofile::async_open(stage.path, "w", {.context = &stage.context, .buffering = 100});
  co_await stream.write(content);
  stage.arm();
  Outcome outcome = co_await outcome_of(stream.close());
  stage.outcomes.push_back(std::move(outcome));
  CHECK(stream.closed());
  stage.disarm();
}

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all{
      {"AIOFile::open", Opcode::open, false, false, false, After::repeat, open_and_close},
      {"AIOFile::close", Opcode::close, false, false, false, After::nothing, close_file},
      {"AIOFile::read", Opcode::read, true, true, true, After::repeat,
       on_file("rb", [](AIOFile& file) { return outcome_of(file.read(11)); })},
      {"AIOFile::read, text, to the end", Opcode::read, true, true, true, After::repeat,
       on_file("r", [](AIOFile& file) { return outcome_of(file.read()); })},
      {"AIOFile::read_bytes, to the end", Opcode::read, true, true, false, After::repeat,
       on_file("r", [](AIOFile& file) { return outcome_of(file.read_bytes()); })},
      {"AIOFile::read_bytes", Opcode::read, true, true, false, After::repeat,
       on_file("rb", [](AIOFile& file) { return outcome_of(file.read_bytes(11)); })},
      {"AIOFile::write", Opcode::write, true, true, false, After::repeat,
       on_file("w", [](AIOFile& file) { return outcome_of(file.write(content)); })},
      {"AIOFile::write, taken over", Opcode::write, true, true, false, After::repeat,
       on_file("wb", [](AIOFile& file) { return outcome_of(file.write(std::string(content))); })},
      {"AIOFile::write_bytes", Opcode::write, true, true, false, After::repeat,
       on_file("r+", [](AIOFile& file) { return outcome_of(file.write_bytes(bytes_of(content))); })},
      {"AIOFile::fsync", Opcode::fsync, false, false, false, After::sync,
       on_file("r+", [](AIOFile& file) { return outcome_of(file.fsync()); })},
      {"AIOFile::fdsync", Opcode::fdatasync, false, false, false, After::sync,
       on_file("r+", [](AIOFile& file) { return outcome_of(file.fdsync()); })},
      {"AIOFile::truncate", Opcode::truncate, false, false, false, After::repeat,
       on_file("r+", [](AIOFile& file) { return outcome_of(file.truncate(content.size())); })},
      {"AIOFile::size", Opcode::size, false, false, false, After::repeat,
       on_file("r", [](AIOFile& file) { return outcome_of(file.size()); })},
      {"FileStream::read", Opcode::read, true, false, true, After::repeat,
       on_stream("r", 0, [](FileStream& stream) { return outcome_of(stream.read()); })},
      {"FileStream::readline", Opcode::read, true, false, true, After::repeat,
       on_stream("r", 0, [](FileStream& stream) { return outcome_of(stream.readline()); })},
      {"FileStream::write", Opcode::write, true, true, false, After::repeat,
       on_stream("w", 0,
                 [](FileStream& stream) {
                   stream.seek(0);
                   return outcome_of(stream.write(content));
                 })},
      {"FileStream::close, with bytes gathered", Opcode::write, true, true, false, After::nothing, close_stream},
      {"FileStream::fsync", Opcode::fsync, false, false, false, After::sync,
       on_stream("r+", 0, [](FileStream& stream) { return outcome_of(stream.fsync()); })},
      {"FileStream::truncate", Opcode::truncate, false, false, false, After::repeat,
       on_stream("r+", 0, [](FileStream& stream) { return outcome_of(stream.truncate(content.size())); })},
      {"Reader::next", Opcode::read, true, false, true, After::repeat, on_file("r", next_chunk)},
      {"LineReader::next", Opcode::read, true, false, true, After::repeat, on_file("r", next_line)},
      {"Writer::flush", Opcode::write, true, false, false, After::repeat, on_file("w", write_by_writer)},
      {"Context::read", Opcode::read, true, false, true, After::repeat, on_descriptor(O_RDONLY, raw_read)},
      {"Context::write", Opcode::write, true, false, false, After::repeat, on_descriptor(O_WRONLY, raw_write)},
      {"Context::fsync", Opcode::fsync, false, false, false, After::repeat,
       on_descriptor(O_RDWR, [](Context& context, Descriptor file) { return outcome_of(context.fsync(file)); })},
      {"Context::fdsync", Opcode::fdatasync, false, false, false, After::repeat,
       on_descriptor(O_RDWR, [](Context& context, Descriptor file) { return outcome_of(context.fdsync(file)); })},
  };
  return all;
}

constexpr int errors[] = {EINTR, EAGAIN, EIO, ENOSPC, EDQUOT, EFBIG, EBADF, EINVAL, ECANCELED, EOPNOTSUPP, ENOMEM};

bool is_plumbing(int error) { return error == EINTR || error == EAGAIN || error == ECANCELED; }

/// A file for the scenarios, in memory or on the disk, on one backend.
struct Place {
  Place(std::string_view where, std::string file) : name(where), path(std::move(file)) {}

  std::string name;
  std::string path;
  std::unique_ptr<Context> context;
  FaultBackend* faults = nullptr;
  std::function<void(std::string_view)> write;
  std::function<std::string()> read;
  std::function<std::size_t()> open_count;

  void use(std::unique_ptr<caio::Backend> wrapped) {
    auto backend = std::make_unique<FaultBackend>(std::move(wrapped), FaultScript());
    faults = backend.get();
    context = std::make_unique<Context>(std::move(backend));
    context->on_lost_data([](const caio::LostData&) {});  // a Writer that goes with what it could not write
  }
};

class Enumeration {
 public:
  explicit Enumeration(Place& place) : place_(place) {}

  void run(const Scenario& scenario) {
    for (const int error : errors) {
      if (scenario.opcode == Opcode::close && is_plumbing(error) && error != EINTR) continue;  // close(2) gives none
      for (const bool sticky : {false, true}) {
        for (std::uint64_t nth = 1; fail(scenario, error, nth, sticky); ++nth) ++cells;
      }
    }
    for (const std::size_t bytes : {std::size_t{1}, content.size() / 2, content.size() - 1}) {
      for (std::uint64_t nth = 1; scenario.in_pieces && nth <= 3; ++nth) shorten(scenario, nth, bytes);
    }
  }

  std::size_t cells = 0;

 private:
  Stage play(const Scenario& scenario, FaultScript script) {
    place_.write(scenario.opcode == Opcode::write ? "" : content);
    Stage stage{*place_.context, *place_.faults, place_.path, std::move(script)};
    place_.context->run(scenario.run(stage));
    CHECK(place_.open_count() == 0);
    const caio::ContextStats stats = place_.context->stats();
    CHECK(stats.submitted == stats.completed);
    CHECK(stats.in_flight + stats.parked == 0);
    for (const Outcome& outcome : stage.outcomes) {
      if (outcome.error == 0 && scenario.reads) CHECK(outcome.got == content);
    }
    if (stage.outcomes.back().error == 0) CHECK(place_.read() == content);
    return stage;
  }

  /// False: the operation makes no nth request, so nothing has happened.
  bool fail(const Scenario& scenario, int error, std::uint64_t nth, bool sticky) {
    INFO(place_.name << ": " << scenario.name << ", request " << nth << (sticky ? " and all after it: " : ": ")
                     << error);
    FaultScript script;
    if (scenario.in_pieces) script.shorten(scenario.opcode, every, piece);
    script.fail(scenario.opcode, sticky ? from(nth) : caio::testing::Occurrence(nth), error);
    const Stage stage = play(scenario, std::move(script));
    const Outcome& first = stage.outcomes[0];
    // Those of the ring's plumbing reach nobody, unless they come for ever; close(2) has closed after EINTR.
    const bool hidden = is_plumbing(error) && (!sticky || scenario.opcode == Opcode::close);
    CHECK(first.error == (stage.met && !hidden ? error : 0));
    if (first.error == 0) return stage.met;
    if (scenario.counts) CHECK(first.transferred == std::min<std::size_t>(piece * (nth - 1), content.size()));
    if (scenario.after == After::nothing) return true;
    const bool for_good = scenario.after == After::sync && (error == EIO || error == ENOSPC || error == EDQUOT);
    REQUIRE(stage.outcomes.size() == 2);
    CHECK(stage.outcomes[1].error == (sticky || for_good ? error : 0));
    return true;
  }

  void shorten(const Scenario& scenario, std::uint64_t nth, std::size_t bytes) {
    INFO(place_.name << ": " << scenario.name << ", request " << nth << " moves " << bytes);
    const Stage stage = play(scenario, FaultScript().shorten(scenario.opcode, nth, bytes));
    CHECK(stage.outcomes[0].error == 0);
    ++cells;
  }

  Place& place_;
};

}  // namespace

TEST_CASE("Error enumeration: every operation, error and request") {
  std::size_t cells = 0;
  const auto enumerate = [&cells](Place& place) {
    Enumeration enumeration(place);
    for (const Scenario& scenario : scenarios()) enumeration.run(scenario);
    cells += enumeration.cells;
  };
  MemoryFiles files;
  Place memory("memory", "file");
  memory.write = [&files](std::string_view text) { files.write("file", std::string(text)); };
  memory.read = [&files] { return files.content("file"); };
  memory.open_count = [&files] { return files.open_count(); };
  memory.use(std::make_unique<MemoryBackend>(files));
  enumerate(memory);
  const support::TemporaryDirectory directory;
  for (const caio::Implementation implementation : support::backends()) {
    Place place(caio::name(implementation), (directory / "file").string());
    place.write = [&directory](std::string_view text) { directory.file("file", text); };
    place.read = [&directory] { return support::content_of(directory / "file"); };
    place.open_count = [&directory] { return support::descriptors_on(directory.path()); };
    place.use(caio::make_backend(implementation));
    enumerate(place);
  }
  CHECK(cells >= 1000 * (1 + support::backends().size()));
}

TEST_CASE("Error enumeration: it finds who ignores a short write") {
  MemoryFiles files;
  auto backend = std::make_unique<FaultBackend>(std::make_unique<MemoryBackend>(files),
                                                FaultScript().shorten(Opcode::write, every, piece));
  Context context(std::move(backend));
  context.run([](Context& each) -> Task<> {
    const Descriptor file = co_await each.open("file", O_WRONLY | O_CREAT);
    co_await each.write(file, bytes_of(content), 0);  // and no loop
    co_await each.close(file);
  }(context));
  CHECK(files.content("file") != content);
}
