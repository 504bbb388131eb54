#include <aiofile/write_operation.hpp>

#include <aiofile/file.hpp>
#include <algorithm>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "held_backend.hpp"
#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/simulated.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::FileError;
using caio::Context;
using caio::Opcode;
using caio::Task;
using caio::TaskGroup;
using outcome::Bench;
using outcome::error_of;
using outcome::failure_of;
using outcome::pattern;
using outcome::store_error;
using support::content_of;
using support::ReplacedCalls;
using support::TemporaryDirectory;

namespace {

/// The calls that the replaced ones have seen, and what each is to give.
struct Script {
  std::vector<std::int64_t> results;
  std::vector<std::pair<::off_t, std::string>> writes;
  std::vector<std::string> order;
  std::size_t syncs = 0;
  int sync_error = 0;
  std::mutex mutex;
};
Script* script = nullptr;

::ssize_t scripted_pwrite(int, const void* bytes, std::size_t size, ::off_t offset) {
  const std::lock_guard lock(script->mutex);
  script->writes.emplace_back(offset, std::string(static_cast<const char*>(bytes), size));
  const std::int64_t result = script->results.at(script->writes.size() - 1);
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}

::ssize_t noted_pwrite(int fd, const void* bytes, std::size_t size, ::off_t offset) {
  const ::ssize_t result = ::pwrite(fd, bytes, size, offset);
  const std::lock_guard lock(script->mutex);
  script->order.emplace_back("write");
  return result;
}

int noted_fsync(int) {
  const std::lock_guard lock(script->mutex);
  script->order.emplace_back("sync");
  ++script->syncs;
  errno = script->sync_error;
  return script->sync_error == 0 ? 0 : -1;
}

/// Runs `test(directory)` on the backends of plain system calls, with a script.
template <class Test>
void with_script(Test test) {
  for (const caio::Implementation implementation : outcome::plain_backends) {
    if (!support::wanted(implementation)) continue;
    DYNAMIC_SECTION(caio::name(implementation)) {
      Script fresh;
      script = &fresh;
      const TemporaryDirectory directory;
      const ReplacedCalls calls;
      Context context(implementation, {.speculate = false});
      context.run(test(directory, calls));
    }
  }
}

std::size_t count(const std::vector<Opcode>& opcodes, Opcode opcode) {
  return static_cast<std::size_t>(std::count(opcodes.begin(), opcodes.end(), opcode));
}

using Opcodes = std::vector<Opcode>;

}  // namespace

// ---- writes --------------------------------------------------------------------------------------------------------

TEST_CASE("Write: goes on after short counts, where they ended") {
  with_script([](const TemporaryDirectory& directory, const ReplacedCalls& calls) -> Task<> {
    calls->pwrite = scripted_pwrite;
    script->results = {3, 4, 12, 1, 6};
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const std::size_t seven = co_await file.write("0123456");
    const std::size_t nineteen = co_await file.write("abcdefghijklmnopqrs", 8);
    CHECK(seven == 7);
    CHECK(nineteen == 19);
    const std::vector<std::pair<::off_t, std::string>> expected = {
        {0, "0123456"}, {3, "3456"}, {8, "abcdefghijklmnopqrs"}, {20, "mnopqrs"}, {21, "nopqrs"}};
    CHECK(script->writes == expected);
  });
}

TEST_CASE("Write: an error at the first call, and one in the middle, tell how far it came") {
  with_script([](const TemporaryDirectory& directory, const ReplacedCalls& calls) -> Task<> {
    calls->pwrite = scripted_pwrite;
    script->results = {-EDQUOT, 3, 2, -EFBIG};
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const std::optional<FileError> first = co_await failure_of(file.write("0123456"));
    const std::optional<FileError> middle = co_await failure_of(file.write("0123456"));
    REQUIRE(first.has_value());
    CHECK(first->code().value() == EDQUOT);
    CHECK(first->transferred() == 0);
    REQUIRE(middle.has_value());
    CHECK(middle->code().value() == EFBIG);
    CHECK(middle->transferred() == 5);
    CHECK(middle->path1() == directory / "file");
  });
}

TEST_CASE("Write: a count of 0 is an error and no endless loop") {
  with_script([](const TemporaryDirectory& directory, const ReplacedCalls& calls) -> Task<> {
    calls->pwrite = scripted_pwrite;
    script->results = {0, 3, 0};
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const std::optional<FileError> first = co_await failure_of(file.write("0123456"));
    const std::optional<FileError> middle = co_await failure_of(file.write("0123456"));
    REQUIRE(first.has_value());
    CHECK(first->code().value() == EIO);
    REQUIRE(middle.has_value());
    CHECK(middle->code().value() == EIO);
    CHECK(middle->transferred() == 3);
  });
}

TEST_CASE("Write: is tried again after EINTR and EAGAIN") {
  with_script([](const TemporaryDirectory& directory, const ReplacedCalls& calls) -> Task<> {
    calls->pwrite = scripted_pwrite;
    script->results = {-EINTR, 3, -EINTR, -EINTR, 4};
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const std::size_t written = co_await file.write("0123456");
    CHECK(written == 7);
  });
}

TEST_CASE("Write: short counts of the page cache's own write are gone on from, too") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      const ReplacedCalls calls;
      calls->pwrite = [](int fd, const void* bytes, std::size_t size, ::off_t offset) {
        return ::pwrite(fd, bytes, std::min<std::size_t>(size, 5), offset);
      };
      Context context(implementation);
      auto work = [](std::filesystem::path path) -> Task<> {
        AIOFile file = co_await AIOFile(path, "w");
        const std::size_t written = co_await file.write(pattern(64));
        CHECK(written == 64);
      };
      context.run(work(directory / "file"));
      CHECK(content_of(directory / "file") == pattern(64));
    }
  }
}

TEST_CASE("Write: ends whole on a backend that stops short and is interrupted all the time") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    caio::testing::MemoryFiles files;
    Context context(support::simulated(files, seed, {.short_counts = 70, .interruptions = 20, .delays = 50}));
    auto work = []() -> Task<> {
      AIOFile file = co_await AIOFile("file", "w");
      const std::string content = pattern(20 * 1000);
      std::vector<std::size_t> indices(20);
      for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = i;
      const auto counts = co_await caio::gather(indices, [&](std::size_t index) {
        return file.write(std::string_view(content).substr(index * 1000, 1000), index * 1000);
      });
      CHECK(counts == std::vector<std::size_t>(20, 1000));
      co_await file.close();
    };
    context.run(work());
    CHECK((files.content("file") == pattern(20 * 1000)));
  }
}

TEST_CASE("Write: each error of a backend reaches its own write, with the bytes that came before") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    caio::testing::MemoryFiles files;
    files.write("file", "");
    auto made = support::simulated(files, seed, {.short_counts = 80, .errors = 20, .delays = 50});
    const caio::testing::FaultBackend& faults = *made;
    Context context(std::move(made));
    std::size_t failures = 0;
    auto work = [](const caio::testing::MemoryFiles& disk, std::size_t& failed) -> Task<> {
      AIOFile file("file", "r+");
      for (int error = co_await error_of(file.open()); error != 0; error = co_await error_of(file.open())) ++failed;
      for (std::uint64_t i = 0; i < 20; ++i) {
        const std::string part = pattern(100, static_cast<unsigned>(i));
        const std::optional<FileError> failure = co_await failure_of(file.write(part, i * 100));
        failed += failure.has_value() ? 1 : 0;
        const std::size_t moved = failure ? failure->transferred() : 100;
        CHECK((failure ? failure->code().value() : EIO) == EIO);
        std::string there = disk.content("file");
        there.resize(std::max<std::size_t>(there.size(), (i + 1) * 100));
        CHECK(there.substr(i * 100, moved) == part.substr(0, moved));
        CHECK(there.substr(i * 100 + moved, 100 - moved) == std::string(100 - moved, '\0'));
      }
      co_await file.close();
    };
    context.run(work(files, failures));
    CHECK(failures == faults.counts().errors);
    CHECK(failures > 0);
  }
}

TEST_CASE("Write: one that is stopped is cancelled, and tells how far it came") {
  Bench bench;
  std::optional<FileError> failure;
  auto work = [](AIOFile& file, std::optional<FileError>& place) -> Task<> {
    place = co_await failure_of(file.write("0123456"));
  };
  TaskGroup group;
  group.spawn(work(bench.file, failure));
  bench.settle();
  bench.backend.end_first(3);
  bench.settle();
  REQUIRE(bench.backend.opcodes() == Opcodes{Opcode::write});
  CHECK(bench.backend.held[0]->length == 4);
  group.request_stop();
  bench.settle();
  REQUIRE(failure.has_value());
  CHECK(failure->code().value() == ECANCELED);
  CHECK(failure->transferred() == 3);
}

TEST_CASE("Write: one that ends although it was to be cancelled has written") {
  Bench bench;
  std::optional<FileError> failure;
  bool ended = false;
  auto work = [](AIOFile& file, std::optional<FileError>& place, bool& done) -> Task<> {
    place = co_await failure_of(file.write("0123456"));
    done = true;
  };
  TaskGroup group;
  group.spawn(work(bench.file, failure, ended));
  bench.settle();
  bench.backend.end_first(7);
  group.request_stop();  // too late
  bench.settle();
  CHECK(ended);
  CHECK_FALSE(failure.has_value());
}

// ---- syncs ---------------------------------------------------------------------------------------------------------

TEST_CASE("Sync: is not even submitted before the earlier writes have ended, and does not wait for later ones") {
  Bench bench;
  std::vector<int> errors(4, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.write("first"), errors[0]));
  group.spawn(store_error(bench.file.write("second"), errors[1]));
  group.spawn(store_error(bench.file.fsync(), errors[2]));
  group.spawn(store_error(bench.file.write("later"), errors[3]));
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::write, Opcode::write, Opcode::write});
  bench.backend.end(*bench.backend.held[1], 6);
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::write, Opcode::write});
  bench.backend.end_first(5);
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::write, Opcode::fsync});
  bench.backend.end(*bench.backend.held[1], 0);
  bench.settle();
  CHECK(errors == std::vector{0, 0, 0, -1});
}

TEST_CASE("Sync: waits for a truncate that was started before, and for all steps of a short write") {
  Bench bench;
  std::vector<int> errors(3, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.truncate(3), errors[0]));
  group.spawn(store_error(bench.file.write("0123456"), errors[1]));
  group.spawn(store_error(bench.file.fdsync(), errors[2]));
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::truncate, Opcode::write});
  bench.backend.end_first(0);
  bench.settle();
  bench.backend.end_first(3);
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::write});
  bench.backend.end_first(4);
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::fdatasync});
}

TEST_CASE("Sync: covers the writes of clones") {
  Bench bench;
  AIOFile copy = bench.file.clone();
  std::vector<int> errors(2, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.write("text"), errors[0]));
  group.spawn(store_error(copy.fsync(), errors[1]));
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::write});
  bench.backend.end_first(4);
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::fsync});
  bench.backend.end_first(0);
  bench.settle();
  CHECK(errors == std::vector{0, 0});
  bench.context.run(error_of(copy.close()));
}

TEST_CASE("Sync: reads do not hold it up") {
  Bench bench;
  std::vector<int> errors(2, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.read(4), errors[0]));
  group.spawn(store_error(bench.file.fsync(), errors[1]));
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::read, Opcode::fsync});
}

TEST_CASE("Sync: those that wait together become one call") {
  Bench bench;
  int written = -1;
  std::vector<int> errors(100, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.write("text"), written));
  for (int& error : errors) group.spawn(store_error(bench.file.fsync(), error));
  bench.settle();
  bench.backend.end_first(4);
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::fsync});
  CHECK(errors == std::vector<int>(100, -1));
  bench.backend.end_first(0);
  bench.settle();
  CHECK(errors == std::vector<int>(100, 0));
  CHECK(count(bench.backend.history, Opcode::fsync) == 1);
}

TEST_CASE("Sync: one that comes while another runs has a call of its own") {
  Bench bench;
  std::vector<int> errors(4, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.fsync(), errors[0]));
  bench.settle();
  group.spawn(store_error(bench.file.write("text"), errors[1]));
  group.spawn(store_error(bench.file.fsync(), errors[2]));
  group.spawn(store_error(bench.file.fsync(), errors[3]));
  bench.settle();
  bench.backend.end(*bench.backend.held[1], 4);
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::fsync});
  bench.backend.end_first(0);
  bench.settle();
  CHECK(errors == std::vector{0, 0, -1, -1});
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::fsync});
  bench.backend.end_first(0);
  bench.settle();
  CHECK(errors == std::vector{0, 0, 0, 0});
  CHECK(count(bench.backend.history, Opcode::fsync) == 2);
}

TEST_CASE("Sync: fdsyncs alone make an fdatasync, beside an fsync they join that") {
  Bench bench;
  int written = -1;
  std::vector<int> errors(3, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.write("text"), written));
  group.spawn(store_error(bench.file.fdsync(), errors[0]));
  group.spawn(store_error(bench.file.fdsync(), errors[1]));
  bench.settle();
  SECTION("alone") {
    bench.backend.end_first(4);
    bench.settle();
    CHECK(bench.backend.opcodes() == Opcodes{Opcode::fdatasync});
    errors[2] = 0;
  }
  SECTION("beside an fsync") {
    group.spawn(store_error(bench.file.fsync(), errors[2]));
    bench.backend.end_first(4);
    bench.settle();
    CHECK(bench.backend.opcodes() == Opcodes{Opcode::fsync});
  }
  bench.backend.end_first(0);
  bench.settle();
  CHECK(errors == std::vector{0, 0, 0});
}

TEST_CASE("Sync: a failed write does not fail it") {
  Bench bench;
  std::vector<int> errors(2, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.write("text"), errors[0]));
  group.spawn(store_error(bench.file.fsync(), errors[1]));
  bench.settle();
  bench.backend.end_first(-ENOSPC);
  bench.settle();
  REQUIRE(bench.backend.opcodes() == Opcodes{Opcode::fsync});
  bench.backend.end_first(0);
  bench.settle();
  CHECK(errors == std::vector{ENOSPC, 0});
}

TEST_CASE("Sync: all that take part in a failed one fail, and so does all that follows") {
  const int error = GENERATE(EIO, ENOSPC, EDQUOT);
  Bench bench;
  AIOFile copy = bench.file.clone();
  int written = -1;
  std::vector<int> errors(3, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.write("text"), written));
  for (int& place : errors) group.spawn(store_error(bench.file.fsync(), place));
  bench.settle();
  bench.backend.end_first(4);
  bench.settle();
  bench.backend.end_first(-error);
  bench.settle();
  CHECK(errors == std::vector<int>(3, error));

  CHECK(bench.context.run(error_of(bench.file.fsync())) == error);
  CHECK(bench.context.run(error_of(bench.file.fdsync())) == error);
  CHECK(bench.context.run(error_of(copy.fsync())) == error);
  CHECK(count(bench.backend.history, Opcode::fsync) == 1);
  bench.backend.holds = [](const caio::Request&) { return false; };
  CHECK(bench.context.run(error_of(bench.file.write("text"))) == 0);
  CHECK(bench.context.run(error_of(copy.close())) == error);
  CHECK(bench.context.run(error_of(bench.file.close())) == error);
  CHECK(bench.file.closed());
  CHECK(count(bench.backend.history, Opcode::close) == 1);
  CHECK(bench.context.run(error_of(bench.file.close())) == 0);
}

TEST_CASE("Sync: an error that says nothing about the data is not kept") {
  Bench bench;
  int error = -1;
  TaskGroup group;
  group.spawn(store_error(bench.file.fsync(), error));
  bench.settle();
  bench.backend.end_first(-EINVAL);
  bench.settle();
  CHECK(error == EINVAL);
  bench.backend.holds = [](const caio::Request&) { return false; };
  CHECK(bench.context.run(error_of(bench.file.fsync())) == 0);
}

TEST_CASE("Sync: a stopped leader hands on to those who joined it") {
  Bench bench;
  int written = -1;
  int stopped = -1;
  std::vector<int> errors(3, -1);
  TaskGroup others;
  TaskGroup leader;
  others.spawn(store_error(bench.file.write("text"), written));
  leader.spawn(store_error(bench.file.fsync(), stopped));
  for (int& error : errors) others.spawn(store_error(bench.file.fsync(), error));
  bench.settle();
  SECTION("while it waits for writes") {
    leader.request_stop();
    bench.settle();
    bench.backend.end_first(4);
    bench.settle();
  }
  SECTION("while it runs") {
    bench.backend.end_first(4);
    bench.settle();
    leader.request_stop();
    bench.settle();
  }
  CHECK(stopped == ECANCELED);
  CHECK(errors == std::vector<int>(3, -1));
  REQUIRE(bench.backend.opcodes() == Opcodes{Opcode::fsync});
  bench.backend.end_first(0);
  bench.settle();
  CHECK(errors == std::vector<int>(3, 0));
}

TEST_CASE("Sync: a destroyed leader hands on to those who joined it") {
  Bench bench;
  int written = -1;
  int never = -1;
  std::vector<int> errors(3, -1);
  TaskGroup others;
  others.spawn(store_error(bench.file.write("text"), written));
  {
    TaskGroup leader;
    leader.spawn(store_error(bench.file.fsync(), never));
    for (int& error : errors) others.spawn(store_error(bench.file.fsync(), error));
    bench.settle();
    SECTION("while it waits for writes") {}
    SECTION("when it has been chosen and has not run yet") {
      bench.backend.end_first(4);
      bench.context.poll();
      CHECK(bench.backend.held.empty());
    }
    SECTION("while it runs") {
      bench.backend.end_first(4);
      bench.settle();
    }
  }
  if (!bench.backend.held.empty() && bench.backend.held[0]->opcode == Opcode::write) bench.backend.end_first(4);
  bench.settle();
  CHECK(never == -1);
  CHECK(errors == std::vector<int>(3, -1));
  REQUIRE(bench.backend.opcodes() == Opcodes{Opcode::fsync});
  bench.backend.end_first(0);
  bench.settle();
  CHECK(errors == std::vector<int>(3, 0));
}

TEST_CASE("Sync: one that joined can be stopped without harm to the others") {
  Bench bench;
  int written = -1;
  std::vector<int> errors(3, -1);
  TaskGroup others;
  TaskGroup joined;
  others.spawn(store_error(bench.file.write("text"), written));
  others.spawn(store_error(bench.file.fsync(), errors[0]));
  joined.spawn(store_error(bench.file.fsync(), errors[1]));
  others.spawn(store_error(bench.file.fsync(), errors[2]));
  bench.settle();
  bench.backend.end_first(4);
  bench.settle();
  joined.request_stop();
  bench.settle();
  CHECK(errors == std::vector{-1, ECANCELED, -1});
  bench.backend.end_first(0);
  bench.settle();
  CHECK(errors == std::vector{0, ECANCELED, 0});
}

TEST_CASE("Sync: a write that is stopped or destroyed lets the syncs behind it begin") {
  Bench bench;
  int written = -1;
  int synced = -1;
  TaskGroup sync;
  {
    TaskGroup write;
    write.spawn(store_error(bench.file.write("text"), written));
    sync.spawn(store_error(bench.file.fsync(), synced));
    bench.settle();
    CHECK(bench.backend.opcodes() == Opcodes{Opcode::write});
    SECTION("stopped") {
      write.request_stop();
      bench.settle();
    }
    SECTION("destroyed") {}
  }
  bench.settle();
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::fsync});
}

TEST_CASE("Sync: close waits for one that runs and for one that waits") {
  Bench bench;
  int written = -1;
  int closed = -1;
  std::vector<int> errors(2, -1);
  TaskGroup group;
  group.spawn(store_error(bench.file.write("text"), written));
  group.spawn(store_error(bench.file.fsync(), errors[0]));
  group.spawn(store_error(bench.file.close(), closed));
  bench.settle();
  bench.backend.end_first(4);
  bench.settle();
  CHECK(closed == -1);
  CHECK(bench.backend.opcodes() == Opcodes{Opcode::fsync});
  bench.backend.end_first(0);
  bench.settle();
  CHECK(errors[0] == 0);
  CHECK(closed == 0);
}

TEST_CASE("Sync: the system's sync comes behind the writes on the pool, too") {
  with_script([](const TemporaryDirectory& directory, const ReplacedCalls& calls) -> Task<> {
    calls->pwrite = noted_pwrite;
    calls->fsync = noted_fsync;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const std::string part = pattern(200'000);
    co_await caio::gather(file.write(part), file.write(part, part.size()), file.fsync(), file.fsync());
    CHECK(script->order == std::vector<std::string>{"write", "write", "sync"});
  });
}

TEST_CASE("Sync: a failed system call is remembered") {
  with_script([](const TemporaryDirectory& directory, const ReplacedCalls& calls) -> Task<> {
    calls->fsync = noted_fsync;
    calls->fdatasync = noted_fsync;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    co_await file.write("text");
    script->sync_error = EIO;
    const int first = co_await error_of(file.fsync());
    script->sync_error = 0;
    const int fsync = co_await error_of(file.fsync());
    const int fdsync = co_await error_of(file.fdsync());
    const int fd = file.fileno();
    const std::optional<FileError> close = co_await failure_of(file.close());
    CHECK(std::vector{first, fsync, fdsync} == std::vector<int>(3, EIO));
    REQUIRE(close.has_value());
    CHECK(close->code().value() == EIO);
    CHECK_THAT(close->what(), Catch::Contains("close: "));
    CHECK(script->syncs == 1);
    CHECK_FALSE(outcome::is_open(fd));
  });
}

TEST_CASE("Sync: a hundred at once on a backend of any order cost few calls") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    caio::testing::MemoryFiles files;
    Context context(support::simulated(files, seed));
    auto work = []() -> Task<> {
      AIOFile file = co_await AIOFile("file", "w");
      auto write_and_sync = [](AIOFile& used, std::uint64_t index) -> Task<> {
        co_await used.write("x", index);
        co_await used.fsync();
      };
      std::vector<std::uint64_t> indices(100);
      for (std::uint64_t i = 0; i < 100; ++i) indices[i] = i;
      co_await caio::gather(indices, [&](std::uint64_t index) { return write_and_sync(file, index); });
      co_await file.close();
    };
    context.run(work());
    CHECK(files.content("file") == std::string(100, 'x'));
    CHECK(files.syncs() >= 1);
    CHECK(files.syncs() <= 50);
  }
}
