// T6: operations by many waiters on two contexts, a third thread that starts some more, stops from all of them and a
// storm of signals. Each operation ends exactly once, and each block that is read has a stamp that it may have.

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <aiofile/aiofile.hpp>
#include <array>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <latch>
#include <memory>
#include <mutex>
#include <semaphore>
#include <thread>

#include "torture/torture.hpp"
#include "torture/watchdog.hpp"

using caio::Context;
using caio::Task;

namespace {

constexpr std::size_t blocks = 256;
constexpr std::size_t files = 4;  // the last one is O_DIRECT

/// 4 KiB, each 16 bytes of which tell where and of which write they are.
struct alignas(4096) Block {
  struct Stamp {
    std::uint64_t place, generation;
  };
  std::array<Stamp, 256> stamps;

  void fill(std::uint64_t place, std::uint64_t generation) { stamps.fill({place, generation}); }
  [[nodiscard]] bool holds(std::uint64_t place, std::uint64_t oldest, std::uint64_t newest) const {
    for (const Stamp& stamp : stamps) {
      if (stamp.place != place || stamp.generation < oldest || stamp.generation > newest) return false;
    }
    return true;
  }
  [[nodiscard]] auto bytes() { return std::as_writable_bytes(std::span(stamps)); }
};
static_assert(sizeof(Block) == 4096);

/// What a block may hold: what the last write that ended has written, or one that has begun since.
struct Oracle {
  std::atomic<std::uint64_t> ended = 1, begun = 1;
  std::atomic<bool> written = false;  // by one at a time
};

struct Options {
  std::uint64_t operations = 100'000;
  unsigned waiters = 64;
  unsigned requests = 512;
  unsigned seconds = 0;
  bool signals = true;
};

/// Stops of the operations that were started last, to be asked for by whoever comes along.
class Stops {
 public:
  std::stop_token add() {
    const std::lock_guard lock(mutex_);
    return (sources_[next_++ % sources_.size()] = std::stop_source()).get_token();
  }
  void fire(torture::Random& random) {
    std::stop_source source(std::nostopstate);
    {
      const std::lock_guard lock(mutex_);
      source = sources_[random.below(sources_.size())];
    }
    source.request_stop();  // outside of the lock: it may wait for a callback's end
  }

 private:
  std::mutex mutex_;
  std::array<std::stop_source, 32> sources_;
  std::size_t next_ = 0;
};

/// One context and its thread.
struct Side {
  Context* context = nullptr;
  std::vector<aiofile::AIOFile> opened;
  std::atomic<bool> foreigner_left = false;
};

struct Storm {
  torture::Program& program;
  const Options& options;
  std::vector<std::atomic<std::uint8_t>> endings = std::vector<std::atomic<std::uint8_t>>(options.operations);
  std::array<std::array<Oracle, blocks>, files> oracles{};
  std::array<Side, 2> sides{};
  std::latch ready{2};
  Stops stops;
  std::atomic<std::uint64_t> tickets = 0, reads = 0, writes = 0, cancelled = 0;
  std::counting_semaphore<> foreign_window{256};
  std::mutex mutex;

  [[nodiscard]] std::filesystem::path path(std::size_t file) const {
    return program.directory / ("storm-" + std::to_string(file));
  }
  void violation(const std::string& what) {
    const std::lock_guard lock(mutex);
    program.violation(what);
  }
  /// The number of the next operation; at the end of all, none.
  std::optional<std::uint64_t> take_ticket() {
    const std::uint64_t ticket = tickets.fetch_add(1, std::memory_order_relaxed);
    if (ticket % 4096 == 0) torture::watch(60);
    return ticket < options.operations ? std::optional(ticket) : std::nullopt;
  }
};

bool to_be_stopped(std::uint64_t ticket) { return ticket % 20 == 7; }

/// One read or write, obeying the awaiter's stop token.
Task<> operate(Storm& storm, Side& side, Block& memory, std::uint64_t ticket) {
  torture::Random random(storm.program.seed ^ (ticket << 20));
  if (ticket % 4 == 0) storm.stops.fire(random);
  const std::size_t file = random.below(16) == 0 ? files - 1 : random.below(files - 1);
  const std::size_t index = random.below(blocks);
  const std::uint64_t place = (file << 32) + index;
  Oracle& oracle = storm.oracles[file][index];
  const bool writing = random.below(3) == 0 && !oracle.written.exchange(true);
  const std::uint64_t oldest = oracle.ended;
  const std::uint64_t generation = oracle.begun + 1;
  memory.fill(writing ? place : ~place, generation);
  if (writing) oracle.begun = generation;
  const bool wrong_block = storm.program.control == "wrong-block" && random.below(1000) == 0;
  const std::uint64_t offset = (wrong_block ? (index + 1) % blocks : index) * sizeof(Block);

  std::size_t moved = 0;
  std::error_code error;
  if (writing) {
    const auto result = co_await caio::as_result(side.opened[file].write_bytes(memory.bytes(), offset));
    if (result) moved = result.value();
    error = result.error();
  } else {
    const auto result = co_await caio::as_result(side.opened[file].read_into(memory.bytes(), offset));
    if (result) moved = result.value();
    error = result.error();
  }

  if (!error && moved != sizeof(Block)) storm.violation("a block of " + std::to_string(moved) + " bytes");
  if (error && error != std::errc::operation_canceled) storm.violation(error.message());
  if (error && !to_be_stopped(ticket)) storm.violation("nobody had asked for this: " + error.message());
  if (!error && !writing && !memory.holds(place, oldest, oracle.begun)) {
    storm.violation("file " + std::to_string(file) + ", block " + std::to_string(index) + ": a wrong stamp");
  }
  if (writing) {
    if (!error) oracle.ended = generation;
    oracle.written = false;
  }
  ++(error ? storm.cancelled : writing ? storm.writes : storm.reads);
  const bool twice = storm.program.control == "double-count" && random.below(1000) == 0;
  if ((storm.endings[ticket] += twice ? 2 : 1) != 1) storm.violation("an operation ended twice");
}

/// One of many that wait at the same time.
Task<> waiter(Storm& storm, Side& side) {
  const auto memory = std::make_unique<Block>();
  while (const auto ticket = storm.take_ticket()) {
    if (to_be_stopped(*ticket)) {
      co_await caio::with_stop(storm.stops.add(), operate(storm, side, *memory, *ticket));
    } else {
      co_await operate(storm, side, *memory, *ticket);
    }
  }
}

/// A coroutine of somebody else's kind; it starts on a thread that drives no context and ends on a context's.
struct Foreigner {
  struct promise_type {
    promise_type(Storm& storm, Side&, std::uint64_t ticket)
        : token(to_be_stopped(ticket) ? storm.stops.add() : std::stop_token()) {}
    Foreigner get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
    [[nodiscard]] const std::stop_token& get_stop_token() const noexcept { return token; }
    std::stop_token token;
  };
};

Foreigner foreigner(Storm& storm, Side& side, std::uint64_t ticket) {
  const auto memory = std::make_unique<Block>();
  co_await operate(storm, side, *memory, ticket);
  storm.foreign_window.release();
}

void start_from_outside(Storm& storm) {
  storm.ready.wait();
  while (const auto ticket = storm.take_ticket()) {
    storm.foreign_window.acquire();
    foreigner(storm, storm.sides[*ticket % storm.sides.size()], *ticket);
  }
  for (int i = 0; i < 256; ++i) storm.foreign_window.acquire();
  for (Side& side : storm.sides) side.foreigner_left = true;
}

std::atomic<std::uint64_t> signals = 0;

/// Interrupts its thread a thousand times a second.
class SignalStorm {
 public:
  SignalStorm() {
    struct ::sigaction action {};  // without SA_RESTART
    action.sa_handler = [](int) { signals.fetch_add(1, std::memory_order_relaxed); };
    ::sigaction(SIGUSR1, &action, nullptr);
    ::sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGUSR1;
    event._sigev_un._tid = static_cast<::pid_t>(::syscall(SYS_gettid));
    if (::timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) throw std::system_error(errno, std::system_category());
    const ::itimerspec interval{.it_interval = {0, 1'000'000}, .it_value = {0, 1'000'000}};
    ::timer_settime(timer_, 0, &interval, nullptr);
  }
  SignalStorm(const SignalStorm&) = delete;
  SignalStorm& operator=(const SignalStorm&) = delete;
  ~SignalStorm() { ::timer_delete(timer_); }

 private:
  ::timer_t timer_{};
};

Task<> drive(Storm& storm, Side& side) {
  for (std::size_t file = 0; file < files; ++file) {
    aiofile::OpenOptions options;
    options.context = side.context;
    if (file == files - 1) options.flags = O_DIRECT;
    side.opened.emplace_back(storm.path(file), "r+b", options);
    co_await side.opened.back().open();
  }
  storm.ready.arrive_and_wait();
  std::vector<Task<>> waiters;
  for (unsigned i = 0; i < storm.options.waiters; ++i) waiters.push_back(waiter(storm, side));
  co_await caio::gather(std::move(waiters));
  while (!side.foreigner_left) co_await side.context->sleep_for(std::chrono::milliseconds(1));
  for (aiofile::AIOFile& file : side.opened) co_await file.close();
}

void run_side(Storm& storm, Side& side) {
  std::optional<SignalStorm> signal_storm;
  if (storm.options.signals) signal_storm.emplace();
  Context context(storm.program.implementation(),
                  {.max_requests = storm.options.requests, .speculate = storm.program.speculate});
  side.context = &context;
  context.run(drive(storm, side));
  const caio::ContextStats stats = context.stats();
  if (stats.submitted != stats.completed) storm.violation("not as many operations completed as were submitted");
  if (stats.in_flight != 0 || stats.parked != 0) storm.violation("something is left in flight or parked");
  if (stats.max_in_flight > storm.options.requests) storm.violation("more in flight than max_requests");
}

void run(Storm& storm) {
  for (std::size_t file = 0; file < files; ++file) {
    std::ofstream content(storm.path(file), std::ios::binary);
    for (std::size_t index = 0; index < blocks; ++index) {
      Block block;
      block.fill((file << 32) + index, 1);
      content.write(reinterpret_cast<const char*>(&block), sizeof block);
    }
  }
  {
    std::vector<std::jthread> threads;
    for (Side& side : storm.sides) threads.emplace_back([&storm, &side] { run_side(storm, side); });
    threads.emplace_back([&storm] { start_from_outside(storm); });
  }
  for (const auto& ending : storm.endings) {
    if (ending != 1) storm.violation("an operation that did not end exactly once");
  }
  if (storm.reads + storm.writes + storm.cancelled != storm.options.operations) storm.violation("the sum is wrong");
}

}  // namespace

int main(int argc, char** argv) {
  torture::Program program("T6", "Many operations at once, each counted and each block checked.",
                           {"double-count", "wrong-block", "leak"});
  Options options;
  program.app.add_option("--operations", options.operations, "Of a round")->capture_default_str();
  program.app.add_option("--waiters", options.waiters, "Of each of the two contexts")->capture_default_str();
  program.app.add_option("--requests", options.requests, "max_requests")->capture_default_str();
  program.app.add_option("--seconds", options.seconds, "Go on with further rounds for so long");
  program.app.add_flag("!--no-signals", options.signals, "No signals");
  program.parse(argc, argv);

  std::uint64_t operations = 0, cancelled = 0, writes = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(options.seconds);
  for (;; ++program.seed) {
    const auto storm = std::make_unique<Storm>(program, options);
    run(*storm);
    operations += options.operations;
    cancelled += storm->cancelled;
    writes += storm->writes;
    for (int i = 0; i < 4 && program.control == "leak"; ++i) ::eventfd(0, EFD_CLOEXEC);
    if (std::chrono::steady_clock::now() >= end) break;
  }

  program.figure("operations", operations);
  program.figure("cancelled", cancelled);
  program.figure("writes", writes);
  program.figure("waiters", 2 * options.waiters);
  program.figure("max_requests", options.requests);
  program.figure("speculation", static_cast<int>(program.speculate));
  program.figure("signals", signals.load());
  return program.finish();
}
