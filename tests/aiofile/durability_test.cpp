// A sync is the system call it says, covers what was started before it, is shared by those who wait together, and a
// failed one is never forgotten; bytes that a stream has gathered are delivered or reported, and never by a forked
// child.

#include <aiofile/async_open.hpp>
#include <aiofile/file.hpp>
#include <aiofile/stream.hpp>
#include <algorithm>
#include <atomic>
#include <caio/gather.hpp>
#include <caio/selection.hpp>
#include <caio/task_group.hpp>
#include <cerrno>
#include <deque>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "held_backend.hpp"
#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::async_open;
using aiofile::FileStream;
using caio::Context;
using caio::LostData;
using caio::Opcode;
using caio::Task;
using caio::TaskGroup;
using outcome::Bench;
using outcome::error_of;
using outcome::store_error;
using support::content_of;
using support::on_every_backend;
using support::ReplacedCalls;
using support::TemporaryDirectory;

namespace {

/// A group that an optional may end.
struct Group {
  TaskGroup tasks;
};

// What the kernel was told, by plain calls or through a ring.
std::atomic<int> fsyncs{0};
std::atomic<int> fdatasyncs{0};

int counted_fsync(int fd) {
  ++fsyncs;
  return ::fsync(fd);
}
int counted_fdatasync(int fd) {
  ++fdatasyncs;
  return ::fdatasync(fd);
}

#if CAIO_WITH_LIBURING
void count_entries(const ::io_uring* ring) {
  for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; ++i) {
    const ::io_uring_sqe& entry = ring->sq.sqes[i & *ring->sq.kring_mask];
    if (entry.opcode != IORING_OP_FSYNC) continue;
    ++((entry.fsync_flags & IORING_FSYNC_DATASYNC) != 0 ? fdatasyncs : fsyncs);
  }
}
#endif

class CountedSyncs {
 public:
  CountedSyncs() {
    fsyncs = fdatasyncs = 0;
    calls_->fsync = counted_fsync;
    calls_->fdatasync = counted_fdatasync;
#if CAIO_WITH_LIBURING
    caio::uring_calls.submit = [](::io_uring* ring) {
      count_entries(ring);
      return ::io_uring_submit(ring);
    };
    caio::uring_calls.submit_and_get_events = [](::io_uring* ring) {
      count_entries(ring);
      return ::io_uring_submit_and_get_events(ring);
    };
    caio::uring_calls.submit_and_wait_timeout = [](::io_uring* ring, ::io_uring_cqe** completion, unsigned count,
                                                   ::__kernel_timespec* time, ::sigset_t* mask) {
      count_entries(ring);
      return ::io_uring_submit_and_wait_timeout(ring, completion, count, time, mask);
    };
#endif
  }
  CountedSyncs(const CountedSyncs&) = delete;
  CountedSyncs& operator=(const CountedSyncs&) = delete;
  ~CountedSyncs() {
#if CAIO_WITH_LIBURING
    const caio::UringCalls real;
    caio::uring_calls.submit = real.submit;
    caio::uring_calls.submit_and_get_events = real.submit_and_get_events;
    caio::uring_calls.submit_and_wait_timeout = real.submit_and_wait_timeout;
#endif
  }

 private:
  ReplacedCalls calls_;
};

Task<> write_and_sync(AIOFile& file, std::uint64_t index) {
  co_await file.write("x", index);
  co_await file.fdsync();
}

std::vector<std::uint64_t> indices(std::uint64_t count) {
  std::vector<std::uint64_t> list(count);
  for (std::uint64_t i = 0; i < count; ++i) list[i] = i;
  return list;
}

// --- random schedules

/// Writes and syncs of one file, whose requests end in any order.
class Schedule {
 public:
  explicit Schedule(std::uint64_t seed) : random_(seed) {}

  void play(int steps) {
    for (int i = 0; i < steps; ++i) {
      const auto choice = random_() % 10;
      if (choice < 3) start_write();
      if (choice >= 3 && choice < 6) start_sync();
      if (choice >= 6 && choice < 9) end_one();
      if (choice == 9 && !syncs_.empty()) syncs_.at(random_() % syncs_.size()).group.reset();  // wherever it is
      settle();
    }
    while (!bench_.backend.held.empty()) {
      end_one();
      settle();
    }
    for (const Sync& sync : syncs_) {
      if (sync.group) CHECK(sync.error == 0);
    }
  }

 private:
  struct Sync {
    std::set<int> covers;  // the writes that must have ended before the kernel is told
    std::optional<Group> group{std::in_place};
    int error = -1;
    bool checked = false;
  };
  struct Write {
    TaskGroup group;
    int error = -1;
  };

  void start_write() {
    const int number = static_cast<int>(writes_.size());
    Write& write = writes_.emplace_back();
    running_.insert(number);
    // The offset is the number: it is found again in the request.
    write.group.spawn(store_error(bench_.file.write("w", static_cast<std::uint64_t>(number)), write.error));
  }

  void start_sync() {
    Sync& sync = syncs_.emplace_back();
    sync.covers = running_;
    sync.group->tasks.spawn(store_error(random_() % 2 == 0 ? bench_.file.fsync() : bench_.file.fdsync(), sync.error));
  }

  void end_one() {
    auto& held = bench_.backend.held;
    if (held.empty()) return;
    caio::Request& request = *held[random_() % held.size()];
    const bool sync = request.opcode != Opcode::write;
    if (!sync) running_.erase(static_cast<int>(request.offset));
    bench_.backend.end(request, sync ? 0 : 1);
  }

  void settle() {
    bench_.settle();
    for (Sync& sync : syncs_) {
      if (sync.error != 0 || std::exchange(sync.checked, true)) continue;
      for (const int write : sync.covers) CHECK_FALSE(running_.contains(write));
    }
    const auto opcodes = bench_.backend.opcodes();
    CHECK(opcodes.size() - static_cast<std::size_t>(std::count(opcodes.begin(), opcodes.end(), Opcode::write)) <= 1);
  }

  std::mt19937_64 random_;
  Bench bench_;
  std::set<int> running_;
  std::deque<Write> writes_;
  std::deque<Sync> syncs_;
};

}  // namespace

TEST_CASE("Durability: fsync is fsync and fdsync is fdatasync, one each") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const CountedSyncs counted;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    AIOFile copy = file.clone();
    FileStream stream = co_await async_open(directory / "stream", "w", {.buffering = 1000});
    co_await file.write("text");
    co_await file.fsync();
    CHECK((fsyncs == 1 && fdatasyncs == 0));
    co_await copy.fdsync();
    CHECK((fsyncs == 1 && fdatasyncs == 1));
    co_await stream.write("text");
    co_await stream.fsync();
    CHECK((fsyncs == 2 && fdatasyncs == 1));
    CHECK(content_of(directory / "stream") == "text");
    co_await stream.write("more");
    co_await stream.fdsync();
    CHECK((fsyncs == 2 && fdatasyncs == 2));
    CHECK(content_of(directory / "stream") == "textmore");
    co_await stream.flush();
    co_await stream.close();
    co_await copy.close();
    co_await file.close();
    CHECK((fsyncs == 2 && fdatasyncs == 2));  // neither flush() nor close() syncs
  });
}

TEST_CASE("Durability: syncs that are asked for together are one or two calls, however many") {
  on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const CountedSyncs counted;
    AIOFile file = co_await AIOFile(directory / "file", "w");
    const auto hundred = indices(100);
    co_await caio::gather(hundred, [&file](std::uint64_t) { return file.fsync(); });
    CHECK((fsyncs >= 1 && fsyncs <= 2));
    fsyncs = 0;
    co_await caio::gather(hundred, [&file](std::uint64_t index) { return write_and_sync(file, index); });
    CHECK((fdatasyncs >= 1 && fdatasyncs < 100));
    CHECK(fsyncs == 0);
    CHECK(content_of(directory / "file") == std::string(100, 'x'));
    co_await file.close();
  });
}

TEST_CASE("Durability: no sync is submitted before what it covers has ended, over 300 random schedules") {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    INFO("seed " << seed);
    Schedule(seed).play(60);
  }
}

TEST_CASE("Durability: after a failed sync the file stays failed, whoever asks") {
  const int error = GENERATE(EIO, ENOSPC, EDQUOT);
  auto made = std::make_unique<outcome::HeldBackend>();
  outcome::HeldBackend& backend = *made;
  backend.holds = [](const caio::Request& request) { return request.opcode == Opcode::fsync; };
  Context context(std::move(made));
  auto work = [](Context& own, outcome::HeldBackend& held, int wanted) -> Task<> {
    FileStream stream = co_await async_open("file", "w", {.context = &own, .buffering = 100});
    FileStream copy = stream.clone();
    AIOFile file = stream.file().clone();
    co_await stream.write("text");
    int first = -1;
    TaskGroup group;
    group.spawn(store_error(stream.fsync(), first));
    while (held.held.empty()) co_await own.schedule();
    held.end_first(-wanted);
    co_await group.join();
    CHECK(first == wanted);
    held.holds = [](const caio::Request&) { return false; };  // from now on the kernel would say that all is well
    CHECK_YIELDS(error_of(stream.fsync()), wanted);
    CHECK_YIELDS(error_of(stream.fdsync()), wanted);
    CHECK_YIELDS(error_of(copy.fsync()), wanted);
    CHECK_YIELDS(error_of(file.fdsync()), wanted);
    co_await stream.write("more");
    CHECK_YIELDS(error_of(stream.fsync()), wanted);
    FileStream later = stream.clone();
    CHECK_YIELDS(error_of(later.fdsync()), wanted);
    CHECK_YIELDS(error_of(later.close()), wanted);
    CHECK_YIELDS(error_of(copy.close()), wanted);
    CHECK_YIELDS(error_of(file.close()), wanted);
    CHECK_YIELDS(error_of(stream.close()), wanted);
  };
  context.run(work(context, backend, error));
  CHECK(std::count(backend.history.begin(), backend.history.end(), Opcode::fsync) == 1);
  CHECK(std::count(backend.history.begin(), backend.history.end(), Opcode::fdatasync) == 0);
}

TEST_CASE("Durability: gathered bytes of a stream that outlives its context reach the file") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      std::optional<FileStream> stream;
      std::vector<LostData> lost;
      {
        Context context(implementation);
        context.on_lost_data([&lost](const LostData& data) { lost.push_back(data); });
        auto work = [](std::optional<FileStream>& place, std::filesystem::path path) -> Task<> {
          place.emplace(co_await async_open(std::move(path), "w", {.buffering = 100}));
          co_await place->write("kept");
        };
        context.run(work(stream, directory / "file"));
      }
      CHECK(content_of(directory / "file").empty());
      stream.reset();
      CHECK(content_of(directory / "file") == "kept");
      CHECK(lost.empty());
    }
  }
}

TEST_CASE("Durability: what a full pipe does not take is reported with its name, its size and the reason") {
  on_every_backend([](Context& context) -> Task<> {
    const support::Pipe pipe;
    std::vector<LostData> lost;
    context.on_lost_data([&lost](const LostData& data) { lost.push_back(data); });
    ::fcntl(pipe.writer.get(), F_SETFL, O_NONBLOCK);
    const std::string much(4096, 'x');
    while (::write(pipe.writer.get(), much.data(), much.size()) > 0) {
    }
    std::string name;
    {
      FileStream stream = co_await async_open(pipe.writer.get(), "wb", {.buffering = 100});
      name = stream.name().string();
      co_await stream.write("12345");
    }
    REQUIRE(lost.size() == 1);
    CHECK(lost[0].path == name);
    CHECK(lost[0].bytes == 5);
    CHECK(lost[0].error == std::errc::resource_unavailable_try_again);
    context.on_lost_data({});
  });
}

TEST_CASE("Durability: a forked child writes none of what its parent has gathered, whatever it destroys") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    std::size_t told = 0;
    context.on_lost_data([&told](const LostData&) { ++told; });
    for (int round = 0; round < 10; ++round) {
      const support::Pipe pipe;
      std::optional<FileStream> gathering = co_await async_open(directory / "file", "w", {.buffering = 100});
      std::optional<FileStream> listening = co_await async_open(pipe.reader.get(), "rb");
      std::optional<AIOFile> positional = co_await AIOFile(directory / "other", "w+");
      std::optional<Group> group(std::in_place);
      std::vector<int> errors(4, -1);
      co_await gathering->write("gathered");
      for (int i = 0; i < 2; ++i)
        group->tasks.spawn(store_error(listening->read(1), errors[static_cast<std::size_t>(i)]));
      group->tasks.spawn(store_error(positional->write("other"), errors[2]));
      group->tasks.spawn(store_error(positional->fsync(), errors[3]));
      for (int turn = 0; turn < round % 3; ++turn) co_await context.schedule();
      const std::string answer = support::answer_in_child([&]() -> std::string {
        ::alarm(60);
        Context own(context.implementation());
        std::string answers;
        for (const int error : {own.run(error_of(positional->read(1))), own.run(error_of(gathering->flush())),
                                own.run(error_of(listening->close())), own.run(error_of(positional->close()))}) {
          answers += std::to_string(error) + " ";
        }
        if (round % 2 == 0) group.reset();
        gathering.reset();
        listening.reset();
        positional.reset();
        group.reset();
        return answers + std::to_string(told);
      });
      CHECK(answer == std::to_string(EBADF) + " " + std::to_string(EBADF) + " 0 0 0");
      CHECK(content_of(directory / "file").empty());
      static_cast<void>(!::write(pipe.writer.get(), "ab", 2));
      co_await group->tasks.join();
      CHECK(errors == std::vector<int>(4, 0));
      co_await gathering->close();
      co_await listening->close();
      co_await positional->close();
      CHECK(content_of(directory / "file") == "gathered");
    }
    context.on_lost_data({});
  });
}
