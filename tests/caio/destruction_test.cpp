// A frame or a context destroyed at any moment, from anywhere: nothing in it is resumed, no completion of others is
// lost, and nobody writes to its buffers afterwards.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/async_open.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <caio/context.hpp>
#include <caio/task_group.hpp>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Task;
using support::errno_of;
using support::Fd;
using support::on_every_backend;
using support::Pipe;
using support::Stranger;
using support::TemporaryDirectory;
using support::TokenByValue;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t block = 4096;
constexpr char canary = '#';

struct alignas(block) Block {
  std::array<char, block> bytes{};
  std::span<std::byte> room() { return std::as_writable_bytes(std::span(bytes)); }
  bool is_all(char letter) const {
    return std::all_of(bytes.begin(), bytes.end(), [letter](char each) { return each == letter; });
  }
};

/// What a victim is doing when its frame goes.
enum class Kind {
  cached_read,
  direct_read,
  direct_write,
  pipe_read,
  pipe_write,
  fifo,
  sleep,
  offload,
  stream,
  schedule
};
constexpr std::array kinds{Kind::cached_read, Kind::direct_read, Kind::direct_write, Kind::pipe_read, Kind::pipe_write,
                           Kind::fifo,        Kind::sleep,       Kind::offload,      Kind::stream,    Kind::schedule};

/// What the victims work on; all of it outlives them.
class Ground {
 public:
  explicit Ground(Context& own) : context(&own) {
    const std::string path = directory.file("file", std::string(64 * block, 'x')).string();
    direct = Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_DIRECT));
    cached = Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!direct) direct = Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
    ::fcntl(full.writer.get(), F_SETFL, O_NONBLOCK);
    while (::write(full.writer.get(), path.data(), path.size()) > 0) {
    }
  }

  Context* context;
  TemporaryDirectory directory;
  Fd direct;
  Fd cached;
  Pipe idle;
  Pipe full;
  Pipe behind;
  std::optional<aiofile::FileStream> stream;
  std::atomic<int> calls{0};

  Task<> open_stream() {
    stream.emplace(co_await aiofile::async_open(behind.reader.get(), "rb", {.context = context}));
  }

  Task<> work(Kind kind, Block& memory) {
    switch (kind) {
      case Kind::cached_read: co_await context->read(cached.get(), memory.room(), 0); break;
      case Kind::direct_read: co_await context->read(direct.get(), memory.room(), block); break;
      case Kind::direct_write: co_await context->write(direct.get(), memory.room(), 32 * block); break;
      case Kind::pipe_read: co_await context->read(idle.reader.get(), memory.room(), -1); break;
      case Kind::pipe_write: co_await context->write(full.writer.get(), memory.room(), -1); break;
      case Kind::fifo: co_await context->open(directory / "fifo", O_WRONLY); break;
      case Kind::sleep: co_await context->sleep_for(1h); break;
      case Kind::offload: co_await context->offload([this] { ++calls; }); break;
      case Kind::stream: co_await stream->read_into(memory.room()); break;
      case Kind::schedule: co_await context->schedule(); break;
    }
  }
};

struct Fate {
  bool ended = false;
  int error = 0;
};

Stranger<> victim(Ground& ground, Kind kind, Block& memory, Fate& fate) {
  fate.error = co_await errno_of(ground.work(kind, memory));
  fate.ended = true;
}

Stranger<> read_one(Context& context, int fd, Block& memory, std::int64_t offset, std::function<void()> then) {
  const std::size_t count = co_await context.read(fd, memory.room(), offset);
  if (count == block) then();
}

}  // namespace

TEST_CASE("Destruction: frames of all kinds at once, turn by turn, and their buffers stay as they are") {
  on_every_backend(
      [](Context& context) -> Task<> {
        Ground ground(context);
        co_await ground.open_stream();
        for (std::size_t round = 0; round < 24; ++round) {
          std::vector<Block> memory(2 * kinds.size());
          std::vector<Fate> fates(memory.size());
          std::vector<Stranger<>> doomed;
          for (std::size_t i = 0; i < memory.size(); ++i) {
            doomed.push_back(victim(ground, kinds[(i + round) % kinds.size()], memory[i], fates[i]));
          }
          if (round % 8 == 7) {  // they travel
            std::jthread([&doomed] {
              for (const auto& each : doomed) each.start();
            }).join();
          } else if (round % 8 != 6) {  // else they are never started
            for (const auto& each : doomed) each.start();
          }
          for (std::size_t turn = 0; turn < round % 4; ++turn) co_await context.schedule();
          const std::vector<Fate> before = fates;
          if (round % 2 == 0) std::reverse(doomed.begin(), doomed.end());
          doomed.clear();
          for (Block& each : memory) each.bytes.fill(canary);
          // Whatever were left of them would show itself while others work.
          CHECK(::write(ground.idle.writer.get(), "abc", 3) == 3);
          std::vector<Block> other(1);  // a frame would not align it
          const std::size_t heard = co_await context.read(ground.idle.reader.get(), other[0].room(), -1);
          const std::size_t count = co_await context.read(ground.direct.get(), other[0].room(), 0);
          co_await context.offload([] {});
          CHECK(heard == 3);
          CHECK((count == block && other[0].is_all('x')));
          for (std::size_t i = 0; i < memory.size(); ++i) {
            if (!memory[i].is_all(canary)) FAIL("buffer " << i << " was written to in round " << round);
            if (fates[i].ended != before[i].ended) FAIL("frame " << i << " was resumed in round " << round);
          }
          CHECK(context.stats().in_flight == 0);
          CHECK(context.stats().parked == 0);
          CHECK(::write(ground.behind.writer.get(), "d", 1) == 1);  // nobody has taken the stream's turn along
          CHECK_YIELDS(ground.stream->read(1), "d");
          // direct_write may have put other bytes there.
          const std::string fresh(block, 'x');
          co_await context.write(ground.cached.get(), support::bytes_of(fresh), 0);
        }
        co_await ground.stream->close();
      },
      {.max_requests = 3, .pool_size = 1});
}

TEST_CASE("Destruction: the first of a batch to be resumed destroys half of the others") {
  on_every_backend([](Context& context) -> Task<> {
    Ground ground(context);
    for (std::size_t round = 0; round < 20; ++round) {
      constexpr std::size_t all = 16;
      std::vector<Block> memory(all);
      std::vector<std::optional<Stranger<>>> readers(all);
      std::vector<bool> ended(all);
      std::size_t destroyed = 0;
      auto kill = [&](std::size_t killer) {
        ended[killer] = true;
        if (destroyed > 0 || std::count(ended.begin(), ended.end(), true) > 1) return;
        for (std::size_t i = round % 2; i < all; i += 2) {
          if (i == killer || ended[i]) continue;
          readers[i].reset();
          memory[i].bytes.fill(canary);
          ++destroyed;
        }
      };
      const int fd = round % 3 == 0 ? ground.cached.get() : ground.direct.get();
      for (std::size_t i = 0; i < all; ++i) {
        readers[i] = read_one(context, fd, memory[i], static_cast<std::int64_t>(i * block), [&kill, i] { kill(i); });
      }
      for (const auto& reader : readers) {
        if (reader) reader->start();
      }
      const auto all_told = [&] {
        return static_cast<std::size_t>(std::count(ended.begin(), ended.end(), true)) + destroyed == all;
      };
      while (!all_told()) co_await context.schedule();
      CHECK(static_cast<std::size_t>(std::count(ended.begin(), ended.end(), true)) == all - destroyed);
      CHECK(destroyed >= all / 2 - 1);
      for (std::size_t i = 0; i < all; ++i) CHECK(memory[i].is_all(ended[i] ? 'x' : canary));
    }
  });
}

TEST_CASE("Destruction: from inside a stop callback of the same source") {
  on_every_backend([](Context& context) -> Task<> {
    const Pipe idle;
    for (const bool first : {true, false}) {
      std::stop_source source;
      std::vector<Block> memory(2);
      std::array<int, 2> errors{-1, -1};
      auto observed = [](auto operation, int& error) -> Stranger<TokenByValue> {
        error = co_await errno_of(std::move(operation));
      };
      std::optional<Stranger<TokenByValue>> doomed =
          observed(context.read(idle.reader.get(), memory[0].room(), -1), errors[0]);
      const Stranger<TokenByValue> other = observed(context.read(idle.reader.get(), memory[1].room(), -1), errors[1]);
      const auto destroy = [&doomed] { doomed.reset(); };
      using Callback = std::stop_callback<std::function<void()>>;
      std::optional<Callback> callback;
      if (first) callback.emplace(source.get_token(), destroy);
      doomed->start(source.get_token());
      other.start(source.get_token());
      if (!first) callback.emplace(source.get_token(), destroy);
      source.request_stop();
      CHECK(errors == std::array{-1, -1});
      co_await other.ended();
      CHECK(errors == std::array{-1, ECANCELED});
    }
    CHECK(context.stats().parked == 0);
  });
}

TEST_CASE("Destruction: the context's end tells all who wait, whatever they do, and keeps no buffer") {
  for (const support::Setup& setup : support::setups()) {
    DYNAMIC_SECTION(setup.name) {
      const support::Masks masks(setup.old_kernel);
      for (std::size_t turns = 0; turns < 4; ++turns) {
        std::vector<Block> memory(2 * kinds.size());
        std::vector<Fate> fates(memory.size());
        std::vector<Stranger<>> waiting;
        std::optional<Context> context(
            std::in_place, setup.implementation,
            caio::ContextOptions{.max_requests = 3, .pool_size = 1, .speculate = setup.speculate});
        Ground ground(*context);
        for (std::size_t i = 0; i < memory.size(); ++i) {
          waiting.push_back(victim(ground, kinds[i % kinds.size()], memory[i], fates[i]));
        }
        auto start = [](Context& own, Ground& there, std::vector<Stranger<>>& strangers, std::size_t count) -> Task<> {
          co_await there.open_stream();
          for (const auto& each : strangers) each.start();
          for (std::size_t turn = 0; turn < count; ++turn) co_await own.schedule();
        };
        context->run(start(*context, ground, waiting, turns));
        context.reset();
        for (Block& each : memory) each.bytes.fill(canary);
        for (std::size_t i = 0; i < fates.size(); ++i) {
          INFO("kind " << i % kinds.size() << " after " << turns << " turns");
          CHECK(fates[i].ended);
          const bool canceled = fates[i].error == ECANCELED || fates[i].error == EBADF;
          const Kind kind = kinds[i % kinds.size()];
          const bool endless = kind == Kind::pipe_read || kind == Kind::pipe_write || kind == Kind::fifo ||
                               kind == Kind::sleep || kind == Kind::stream;
          CHECK((canceled || (!endless && fates[i].error == 0)));
        }
        const int calls = ground.calls;
        waiting.clear();
        for (const Block& each : memory) CHECK(each.is_all(canary));
        CHECK(ground.calls == calls);
      }
    }
  }
}

namespace {

/// Keeps what it gets until it is told to let go.
class StuckBackend final : public caio::Backend {
 public:
  caio::Implementation implementation() const noexcept override { return caio::Implementation::blocking; }
  void drive(caio::Batch& batch, const caio::Wait* wait) override {
    while (!batch.empty()) stuck_.push_back(&batch.take());
    if (released) {
      for (caio::Request* const request : std::exchange(stuck_, {})) batch.complete(*request, 0);
    }
    if (wait != nullptr && !batch.has_news()) caio::detail::sleep_on(-1, *wait);
  }
  void cancel(caio::Request&) override { ++cancels; }

  bool released = false;
  int cancels = 0;

 private:
  std::vector<caio::Request*> stuck_;
};

}  // namespace

TEST_CASE("Destruction: on_stall is told after five seconds how long and for how many") {
  const char* const large = std::getenv("CAIO_TEST_LARGE");
  if (large == nullptr || *large != '1') return;  // there is no way to five seconds but to wait for them
  const TemporaryDirectory directory;
  const Fd file(::open(directory.file("file", "x").c_str(), O_RDONLY | O_CLOEXEC));
  auto made = std::make_unique<StuckBackend>();
  StuckBackend& backend = *made;
  Context context(std::move(made), {.speculate = false});
  std::vector<caio::Stall> stalls;
  context.on_stall([&](const caio::Stall& stall) {
    stalls.push_back(stall);
    backend.released = true;
  });
  std::vector<Block> memory(2);
  bool ended = false;
  {
    std::vector<Stranger<>> doomed;
    for (Block& each : memory) doomed.push_back(read_one(context, file.get(), each, 0, [&ended] { ended = true; }));
    auto start = [](Context& own, std::vector<Stranger<>>& strangers) -> Task<> {
      for (const auto& each : strangers) each.start();
      co_await own.schedule();
      co_await own.schedule();
    };
    context.run(start(context, doomed));
    CHECK(context.stats().in_flight == 2);
  }
  REQUIRE(stalls.size() == 1);
  CHECK(stalls[0].waited >= 5s);
  CHECK(stalls[0].waited < 6s);
  CHECK(stalls[0].in_flight == 2);
  CHECK(backend.cancels >= 1);
  CHECK_FALSE(ended);
}
