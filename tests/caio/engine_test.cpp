#include <caio/engine.hpp>

#include <fcntl.h>
#include <aiofile/file.hpp>
#include <caio/context.hpp>

#include <array>
#include <memory>
#include <optional>
#include <random>
#include <set>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using caio::Context;
using caio::Descriptor;
using caio::gather;
using caio::Task;
using support::bytes_of;
using support::numbers;
using support::Pipe;
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

// --- backends for one purpose

/// Ends each request with a result of the plumbing's, and refuses it when it comes again.
class GrumblingBackend final : public caio::Backend {
 public:
  explicit GrumblingBackend(std::int64_t result) : result_(result) {}
  caio::Implementation implementation() const noexcept override { return caio::Implementation::blocking; }
  void drive(caio::Batch& batch, const caio::Wait* wait) override {
    while (!batch.empty()) {
      caio::Request& request = batch.take();
      if (request.attempts == 0) {
        batch.complete(request, result_);
      } else {
        batch.refuse(request);
      }
    }
    if (wait != nullptr && !batch.has_news()) caio::detail::sleep_on(-1, *wait);
  }
  void cancel(caio::Request&) override {}

 private:
  std::int64_t result_;
};

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

Task<> read_often(Context& context, const Descriptor& file, std::span<std::byte> memory, int count) {
  for (int i = 0; i < count; ++i) {
    const std::size_t read = co_await context.read(file, memory, 0);
    if (read != memory.size()) throw std::runtime_error("a short read");
  }
}

struct alignas(4096) Page {
  std::array<std::byte, 4096> bytes{};
};

}  // namespace

TEST_CASE("Engine: no result of the plumbing reaches a user") {
  const std::int64_t result = GENERATE(-EINTR, -EAGAIN, -ECANCELED, -512, -513, -514, -516);
  DYNAMIC_SECTION("result " << result) {
    const TemporaryDirectory directory;
    Context context(std::make_unique<GrumblingBackend>(result), {.speculate = false});
    context.run([](Context& each, const TemporaryDirectory& place) -> Task<> {
      const support::Fd owner(::open(place.file("file", "0123456789").c_str(), O_RDWR | O_CLOEXEC));
      const Descriptor file(owner.get());
      std::string text(10, '?');
      const std::size_t read = co_await each.read(file, room_in(text), 0);
      CHECK(read == 10);
      CHECK(text == "0123456789");
      const std::size_t written = co_await each.write(file, bytes_of("abc"), 3);
      CHECK(written == 3);
      co_await each.fsync(file);
    }(context, directory));
    CHECK(context.stats().retried == 3);
    CHECK(support::content_of(directory / "file") == "012abc6789");
  }
}

TEST_CASE("Engine: the context's end cancels what its backend holds and resumes who waits") {
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

TEST_CASE("Engine: the context's end waits for what the kernel holds") {
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

TEST_CASE("Engine: an operation allocates nothing") {
  if (!caio::detail::recycles_frames) return;
  support::on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        const Descriptor file = co_await context.open(directory.file("file", std::string(4096, 'x')), O_RDWR);
        const Pipe pipe;
        const Descriptor reader(pipe.reader.get());
        const Descriptor writer(pipe.writer.get());
        std::string text(4096, '?');
        std::size_t before = 0;
        for (int i = 0; i < 1100; ++i) {
          if (i == 100) before = support::allocations();
          co_await context.read(file, room_in(text), 0);
          co_await context.write(file, bytes_of(text), 0);
          co_await context.write(writer, bytes_of("x"), -1);
          co_await context.read(reader, room_in(text).first(1), -1);
          co_await context.sleep_for(0s);
          co_await context.schedule();
        }
        const std::size_t after = support::allocations();
        CHECK(after == before);
        co_await context.close(file);
      },
      {.pool_size = 1});
}

TEST_CASE("Engine: an O_DIRECT read allocates nothing") {
  if (!caio::detail::recycles_frames) return;
  support::on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        const std::string path = directory.file("file", std::string(4096, 'x')).string();
        const support::Fd owner(::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
        if (!owner) co_return;  // a file system without O_DIRECT
        const Descriptor file(owner.get());
        auto page = std::make_unique<Page>();
        co_await read_often(context, file, page->bytes, 20);
        const std::size_t before = support::allocations();
        for (int i = 0; i < 100; ++i) co_await context.read(file, page->bytes, 0);
        const std::size_t after = support::allocations();
        CHECK(after == before);
        CHECK(page->bytes[4095] == std::byte{'x'});
      },
      {.pool_size = 1});
}

TEST_CASE("Engine: a child task allocates nothing") {
  if (!caio::detail::recycles_frames) return;
  support::on_every_backend(
      [](Context& context) -> Task<> {
        const TemporaryDirectory directory;
        const Descriptor file = co_await context.open(directory.file("file", std::string(64, 'x')), O_RDONLY);
        std::string text(64, '?');
        for (int i = 0; i < 20; ++i) co_await read_often(context, file, room_in(text), 1);
        const std::size_t before = support::allocations();
        for (int i = 0; i < 200; ++i) co_await read_often(context, file, room_in(text), 1);
        const std::size_t after = support::allocations();
        CHECK(after == before);
        co_await context.close(file);
      },
      {.pool_size = 1});
}

TEST_CASE("Engine: one that always hits the page cache starves neither others nor timers") {
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

TEST_CASE("Engine: a thousand reads, each started by the end of the one before, keep the stack flat") {
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

TEST_CASE("Engine: reads of many coroutines go to io_uring together") {
  if (!support::wanted(caio::Implementation::uring) || !caio::why_unavailable(caio::Implementation::uring).empty())
    return;
  caio::uring_calls.submit = [](::io_uring* ring) { return ++entered, ::io_uring_submit(ring); };
  caio::uring_calls.submit_and_get_events = [](::io_uring* ring) {
    return ++entered, ::io_uring_submit_and_get_events(ring);
  };
  caio::uring_calls.submit_and_wait_timeout = [](::io_uring* ring, ::io_uring_cqe** completion, unsigned wanted,
                                                 ::__kernel_timespec* timeout, ::sigset_t* signals) {
    return ++entered, ::io_uring_submit_and_wait_timeout(ring, completion, wanted, timeout, signals);
  };
  {
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
  caio::uring_calls = {};
}
#endif
