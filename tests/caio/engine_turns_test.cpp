#include <caio/engine_turns.hpp>

#include <fcntl.h>
#include <sys/uio.h>

#include <algorithm>
#include <caio/backend.hpp>
#include <caio/context.hpp>
#include <caio/detail/sleep.hpp>
#include <caio/gather.hpp>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#if CAIO_WITH_LIBURING
#include "caio/backends/uring_calls.hpp"
#endif
#include "caio/descriptors.hpp"
#include "caio/read_often.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::gather;
using caio::Task;
using support::numbers;
using support::read_often;
using support::room_in;
using support::Stranger;
using support::TemporaryDirectory;
using support::TokenByReference;
using namespace std::chrono_literals;

namespace {

struct Attempt {
  int ends = 0;
  std::size_t moved = 0;
  int error = 0;
};

Stranger<TokenByReference> attempt_read(Context& context, Descriptor file, std::string& text, std::int64_t offset,
                                        Attempt& attempt) {
  try {
    attempt.moved = co_await context.read(file, room_in(text), offset);
  } catch (const std::system_error& error) {
    attempt.error = error.code().value();
  }
  ++attempt.ends;
}

/// Keeps requests until they are cancelled.
class KeepingBackend final : public caio::Backend {
 public:
  caio::Implementation implementation() const noexcept override { return caio::Implementation::blocking; }
  void drive(caio::Batch& batch, const caio::Wait* wait) override {
    while (!batch.empty()) batch.take();
    for (caio::Request* const request : std::exchange(cancelled_, {})) batch.complete(*request, -ECANCELED);
    if (wait != nullptr && !batch.has_news()) caio::detail::sleep_on(-1, *wait);
  }
  void cancel(caio::Request& request) override { cancelled_.push_back(&request); }

 private:
  std::vector<caio::Request*> cancelled_;
};

}  // namespace

TEST_CASE("EngineTurns: the context's end cancels what its backend holds and resumes who waits") {
  const TemporaryDirectory directory;
  const support::Fd file(::open(directory.file("file", "0123456789").c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<Attempt> attempts(20);
  std::vector<std::string> texts(20, std::string(4, '?'));
  std::vector<Stranger<TokenByReference>> readers;
  {
    Context context(std::make_unique<KeepingBackend>(), {.max_requests = 5, .speculate = false});
    for (std::size_t i = 0; i < attempts.size(); ++i) {
      readers.push_back(attempt_read(context, Descriptor(file.get()), texts[i], 0, attempts[i]));
    }
    context.run([](Context& each, std::vector<Stranger<TokenByReference>>& all) -> Task<> {
      for (const auto& reader : all) reader.start(std::stop_token());
      co_await each.schedule();
    }(context, readers));
    CHECK(context.stats().in_flight == 5);
    CHECK(context.stats().parked == 15);
  }
  for (const Attempt& attempt : attempts) {
    CHECK(attempt.ends == 1);
    CHECK(attempt.error == ECANCELED);
  }
}

TEST_CASE("EngineTurns: the context's end waits for what the kernel holds") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      const support::Fd file(::open(directory.file("file", std::string(1 << 20, 'x')).c_str(), O_RDONLY | O_CLOEXEC));
      std::vector<Attempt> attempts(64);
      std::vector<std::string> texts(64, std::string(16384, '?'));
      std::vector<Stranger<TokenByReference>> readers;
      {
        Context context(implementation, {.speculate = false});
        for (std::size_t i = 0; i < attempts.size(); ++i) {
          readers.push_back(attempt_read(context, Descriptor(file.get()), texts[i],
                                         static_cast<std::int64_t>(i * 16384), attempts[i]));
        }
        context.run([](std::vector<Stranger<TokenByReference>>& all) -> Task<> {
          for (const auto& reader : all) reader.start(std::stop_token());
          co_return;
        }(readers));
      }
      for (std::size_t i = 0; i < attempts.size(); ++i) {
        CHECK(attempts[i].ends == 1);
        const bool whole = attempts[i].moved == 16384 && texts[i] == std::string(16384, 'x');
        CHECK((whole || attempts[i].error == ECANCELED));
      }
    }
  }
}

TEST_CASE("EngineTurns: one that always hits the page cache starves neither others nor timers") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", "x"), O_RDONLY);
    bool others_ran = false;
    auto greedy = [](Context& each, const Descriptor& from, bool& stop) -> Task<bool> {
      const auto give_up = std::chrono::steady_clock::now() + 10s;
      std::string text(1, '?');
      while (!stop && std::chrono::steady_clock::now() < give_up) co_await each.read(from, room_in(text), 0);
      co_return stop;
    };
    auto others = [](Context& each, bool& flag) -> Task<> {
      for (int i = 0; i < 10; ++i) co_await each.schedule();
      co_await each.sleep_for(1ms);
      co_await each.offload([] {});
      flag = true;
    };
    const auto [stopped] = co_await gather(greedy(context, file, others_ran), others(context, others_ran));
    CHECK(stopped);
    co_await context.close(file);
  });
}

TEST_CASE("EngineTurns: those that always hit the page cache take turns") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::string page(4096, 'x');
    const Descriptor file = co_await context.open(directory.file("file", page), O_RDONLY);
    std::vector<int> order;
    auto reader = [](Context& each, const Descriptor& from, std::vector<int>& seen, int number) -> Task<> {
      std::string text(4096, '?');
      co_await each.schedule();  // the first one would run before there are others
      for (int i = 0; i < 100; ++i) {
        co_await each.read(from, room_in(text), 0);
        seen.push_back(number);
      }
    };
    std::vector<Task<>> readers;
    for (int number = 0; number < 8; ++number) readers.push_back(reader(context, file, order, number));
    const std::uint64_t before = context.stats().handed_over;
    co_await gather(std::move(readers));
    // Among threads of the pool or the kernel, one that is held up comes last.
    const bool by_threads =
        context.stats().handed_over > before && (context.implementation() == caio::Implementation::thread ||
                                                 context.implementation() == caio::Implementation::uring);
    std::size_t longest = 0;
    for (auto begin = order.begin(); begin != order.end();) {
      const auto end = std::find_if(begin, order.end(), [&](int number) { return number != *begin; });
      const bool others_wait =
          std::find_if(end, order.end(), [&](int number) { return number != *begin; }) != order.end();
      if (others_wait) longest = std::max(longest, static_cast<std::size_t>(end - begin));
      begin = end;
    }
    CHECK(order.size() == 800);
    if (!by_threads) CHECK(longest <= 17);  // the end of one slice, and the next one if nobody else was ready just then
    co_await context.close(file);
  });
}

TEST_CASE("EngineTurns: a thousand reads, each started by the end of the one before, keep the stack flat") {
  support::on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const Descriptor file = co_await context.open(directory.file("file", "x"), O_RDONLY);
    struct Chain {
      static Task<int> link(Context& each, const Descriptor& from, int depth) {
        std::string text(1, '?');
        co_await each.read(from, room_in(text), 0);
        if (depth == 0) co_return 0;
        const int rest = co_await link(each, from, depth - 1);
        co_return rest + 1;
      }
    };
    const int depth = co_await Chain::link(context, file, 1000);
    CHECK(depth == 1000);
    co_await context.close(file);
  });
}

#if CAIO_WITH_LIBURING
namespace {
std::size_t entered = 0;
}

TEST_CASE("EngineTurns: reads of many coroutines go to io_uring together") {
  if (!support::usable(caio::Implementation::uring)) return;
  const support::Replaced replaced;
  caio::uring_calls.submit = [](::io_uring* ring) { return ++entered, ::io_uring_submit(ring); };
  caio::uring_calls.submit_and_get_events = [](::io_uring* ring) {
    return ++entered, ::io_uring_submit_and_get_events(ring);
  };
  caio::uring_calls.submit_and_wait_timeout = [](::io_uring* ring, ::io_uring_cqe** completion, unsigned wanted,
                                                 ::__kernel_timespec* timeout, ::sigset_t* signals) {
    return ++entered, ::io_uring_submit_and_wait_timeout(ring, completion, wanted, timeout, signals);
  };
  Context context(caio::Implementation::uring, {.speculate = false});
  const TemporaryDirectory directory;
  const support::Fd owner(::open(directory.file("file", std::string(4096, 'x')).c_str(), O_RDONLY | O_CLOEXEC));
  const Descriptor file(owner.get());
  std::vector<std::string> texts(32, std::string(4096, '?'));
  // Without RWF_NOWAIT (tmpfs) each read goes to a worker of the kernel's, and ends when it likes.
  const ::iovec vector{texts[0].data(), 1};
  const bool cached = ::preadv2(owner.get(), &vector, 1, 0, RWF_NOWAIT) == 1;
  context.run([](Context& each, const Descriptor& from, std::vector<std::string>& rooms) -> Task<> {
    co_await read_often(each, from, room_in(rooms[0]), 1);
    entered = 0;
    co_await gather(numbers(32),
                    [&](int i) { return read_often(each, from, room_in(rooms[static_cast<std::size_t>(i)]), 100); });
  }(context, file, texts));
  if (cached) CHECK(entered <= 32 * 100 / 16);
  CHECK(entered > 0);
}
#endif
