#include <caio/detail/dispatcher.hpp>

#include <fcntl.h>

#include <array>
#include <caio/detail/unique_fd.hpp>
#include <memory>
#include <semaphore>
#include <utility>
#include <vector>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/temporary.hpp"

using caio::Opcode;
using caio::Request;
using caio::detail::Dispatcher;
using caio::detail::UniqueFd;

namespace {

/// Holds what it is given until it is to let go.
class HoldingBackend final : public caio::Backend {
 public:
  caio::Implementation implementation() const noexcept override { return caio::Implementation::blocking; }
  void drive(caio::Batch& batch, const caio::Wait*) override {
    if (std::exchange(lets_go, false)) {
      for (Request* const request : std::exchange(held_, {})) batch.complete(*request, 0);
    }
    while (!batch.empty()) held_.push_back(&batch.take());
  }
  void cancel(Request&) override {}

  bool lets_go = false;

 private:
  std::vector<Request*> held_;
};

std::counting_semaphore<64> executed{0};

/// A dispatcher that allows `most` in flight, over a backend that holds everything.
struct Fixture {
  explicit Fixture(unsigned most)
      : options{.max_requests = most, .pool_size = 1},
        dispatcher(std::make_unique<HoldingBackend>(), options, stats, nullptr,
                   [](void*, Request&) noexcept { executed.release(); }) {}

  template <std::size_t N>
  void queue(std::array<Request, N>& requests, Opcode opcode, void (*call)(Request&) noexcept = nullptr) {
    for (Request& request : requests) {
      request.opcode = opcode;
      request.call = call;
      dispatcher.queue(request);
    }
  }
  void complete_all() {
    static_cast<HoldingBackend&>(dispatcher.backend()).lets_go = true;
    dispatcher.drive_backend(nullptr);
    while (!dispatcher.completed().empty()) dispatcher.completed().pop_front();
  }

  caio::ContextOptions options;
  caio::ContextStats stats;
  Dispatcher dispatcher;
};

}  // namespace

TEST_CASE("Dispatcher: the backend gets no more than is allowed, in order") {
  std::array<Request, 5> requests;
  Fixture fixture(2);
  Dispatcher& dispatcher = fixture.dispatcher;
  fixture.queue(requests, Opcode::fsync);
  CHECK(dispatcher.queued() == 5);
  dispatcher.drive_backend(nullptr);
  dispatcher.drive_backend(nullptr);
  CHECK(dispatcher.held_count() == 2);
  CHECK(dispatcher.queued() == 3);
  CHECK(requests[1].stage == Request::Stage::backend);
  CHECK(requests[2].stage == Request::Stage::queued);
  CHECK(dispatcher.first_queued() == &requests[2]);
  CHECK(fixture.stats.max_in_flight == 2);
  dispatcher.remove(requests[2]);
  fixture.complete_all();
  dispatcher.drive_backend(nullptr);
  CHECK(dispatcher.held_count() == 2);
  CHECK(dispatcher.queued() == 0);
  CHECK(fixture.stats.handed_over == 4);
  fixture.complete_all();
  CHECK(dispatcher.in_flight() == 0);
}

TEST_CASE("Dispatcher: the pool's work counts as in flight until it has arrived") {
  std::array<Request, 3> requests;
  Fixture fixture(2);
  Dispatcher& dispatcher = fixture.dispatcher;
  fixture.queue(requests, Opcode::call, [](Request&) noexcept {});
  CHECK_FALSE(dispatcher.backend_has_work());
  dispatcher.feed_pool();
  CHECK(dispatcher.in_flight() == 2);
  executed.acquire();
  executed.acquire();
  dispatcher.feed_pool();
  CHECK(dispatcher.queued() == 1);
  CHECK_FALSE(dispatcher.take_back(requests[0]));
  dispatcher.arrived();
  dispatcher.feed_pool();
  CHECK(dispatcher.queued() == 0);
  executed.acquire();
  dispatcher.arrived();
  dispatcher.arrived();
  CHECK(dispatcher.in_flight() == 0);
  CHECK(fixture.stats.pooled == 3);
  CHECK(fixture.stats.max_in_flight == 2);
}

TEST_CASE("Dispatcher: what no thread has begun is taken back") {
  static std::binary_semaphore go{0};
  std::array<Request, 2> requests;
  Fixture fixture(8);
  Dispatcher& dispatcher = fixture.dispatcher;
  fixture.queue(requests, Opcode::call, [](Request&) noexcept { go.acquire(); });
  dispatcher.feed_pool();
  CHECK(dispatcher.take_back(requests[1]));
  CHECK(dispatcher.in_flight() == 1);
  go.release();
  executed.acquire();
  dispatcher.arrived();
  CHECK(dispatcher.in_flight() == 0);
}

TEST_CASE("Dispatcher: a full batch is due") {
  std::array<Request, 64> requests;
  Fixture fixture(128);
  Dispatcher& dispatcher = fixture.dispatcher;
  for (Request& request : requests) {
    CHECK_FALSE(dispatcher.is_due());
    request.opcode = Opcode::fsync;
    dispatcher.queue(request);
  }
  CHECK(dispatcher.is_due());
  dispatcher.drive_backend(nullptr);
  CHECK_FALSE(dispatcher.is_due());
  fixture.complete_all();
}

TEST_CASE("Dispatcher: a device gets its first request at once, and four at a time while it works") {
  const support::TemporaryDirectory directory;
  const UniqueFd file(::open(directory.file("file", "").c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!file) {
    WARN("no O_DIRECT on this file system");
    return;
  }
  std::array<Request, 5> requests;
  Fixture fixture(8);
  Dispatcher& dispatcher = fixture.dispatcher;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i] = support::request_of(Opcode::read, file.get(), nullptr, 0, 0);
    dispatcher.queue(requests[i]);
    CHECK(dispatcher.is_due() == (i == 0 || i == 4));
    if (i == 0) dispatcher.drive_backend(nullptr);
  }
  dispatcher.drive_backend(nullptr);
  CHECK(dispatcher.held_count() == 5);
  fixture.complete_all();
}
