#include <aiofile/device.hpp>

#include <caio/caio.hpp>
#include <cerrno>
#include <coroutine>
#include <exception>
#include <new>
#include <stdexcept>
#include <stop_token>
#include <utility>

#include "support/catch.hpp"
#include "support/setups.hpp"

using aiofile::detail::Device;
using caio::Context;
using caio::Request;
using caio::Task;

namespace {

/// Counts the ends of frames that hold it.
struct Ending {
  explicit Ending(int& count) : ends(&count) {}
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;
  ~Ending() { ++*ends; }
  int* ends;
};

/// Serves in the way that the test has chosen.
class Servant final : public Device {
 public:
  bool waits = false;
  bool throws = false;
  bool out_of_memory = false;
  int ended = 0;
  std::stop_token seen;
  std::coroutine_handle<> waiter;

  /// Lets the service go on, which waits.
  void go_on() { caio::detail::resume(std::exchange(waiter, nullptr)); }

 private:
  struct Wait {
    Servant& self;
    bool await_ready() const noexcept { return !self.waits; }
    void await_suspend(std::coroutine_handle<> coroutine) const noexcept { self.waiter = coroutine; }
    void await_resume() const noexcept {}
  };

  caio::detail::Child serve(caio::Engine& engine, Request& request, std::exception_ptr& error) override {
    if (out_of_memory) throw std::bad_alloc();
    return serving(engine, request, error);
  }

  caio::detail::Child serving(caio::Engine& engine, Request& request, std::exception_ptr& error) {
    const Ending ending(ended);
    seen = co_await caio::detail::CurrentStopToken();
    co_await Wait{*this};
    request.moved = throws ? 0 : request.length;
    request.result = throws ? -EIO : 0;
    if (throws) error = std::make_exception_ptr(std::out_of_range("broken"));
    if (request.stage == Request::Stage::parked) engine.unpark(request, request.result);
  }
};

/// A read of 7 bytes, and whether its end was told.
struct Read : Request {
  Read() {
    opcode = caio::Opcode::read;
    length = 7;
    moved = 99;  // of a request before
    run = [](caio::Job& job) noexcept { static_cast<Read&>(job).told = true; };
  }
  bool told = false;
};

}  // namespace

TEST_CASE("Device: what is served at once ends at once") {
  support::on_every_backend([](Context& context) -> Task<> {
    Servant servant;
    std::exception_ptr error;
    const std::stop_token none;
    for (int i = 1; i <= 3; ++i) {
      Read read;
      CHECK(servant.start(*context.engine(), read, none, error));
      CHECK(read.moved == 7);
      CHECK(read.result == 0);
      CHECK_FALSE(read.told);
      CHECK_FALSE(error);
      CHECK(servant.ended == i);
    }
    co_return;
  });
}

TEST_CASE("Device: what is served later is parked until then, and its end is told in its turn") {
  support::on_every_backend([](Context& context) -> Task<> {
    Servant servant;
    servant.waits = true;
    std::exception_ptr error;
    const std::stop_token none;
    for (int i = 1; i <= 2; ++i) {
      Read read;
      CHECK_FALSE(servant.start(*context.engine(), read, none, error));
      CHECK(read.stage == Request::Stage::parked);
      CHECK(read.moved == 0);
      servant.go_on();
      CHECK(read.stage == Request::Stage::ended);
      CHECK_FALSE(read.told);
      while (!read.told) co_await context.schedule();
      CHECK(read.moved == 7);
      CHECK(read.result == 0);
      CHECK(servant.ended == i);
    }
  });
}

TEST_CASE("Device: a failure is a negative result and its exception, at once or later") {
  support::on_every_backend([](Context& context) -> Task<> {
    for (const bool later : {false, true}) {
      Servant servant;
      servant.throws = true;
      servant.waits = later;
      std::exception_ptr error;
      const std::stop_token none;
      Read read;
      CHECK(servant.start(*context.engine(), read, none, error) != later);
      if (later) servant.go_on();
      while (later && !read.told) co_await context.schedule();
      CHECK(read.result == -EIO);
      CHECK(read.moved == 0);
      REQUIRE(error);
      CHECK_THROWS_AS(std::rethrow_exception(error), std::out_of_range);
    }
  });
}

TEST_CASE("Device: where there is no memory for the service, the request fails, and the next one is served") {
  support::on_every_backend([](Context& context) -> Task<> {
    Servant servant;
    servant.out_of_memory = true;
    std::exception_ptr error;
    const std::stop_token none;
    Read failed;
    CHECK(servant.start(*context.engine(), failed, none, error));
    CHECK(failed.result == -ENOMEM);
    CHECK(failed.moved == 0);
    servant.out_of_memory = false;
    Read served;
    CHECK(servant.start(*context.engine(), served, none, error));
    CHECK(served.moved == 7);
    co_return;
  });
}

TEST_CASE("Device: abandon() ends the service, and another request may follow") {
  support::on_every_backend([](Context& context) -> Task<> {
    Servant servant;
    servant.waits = true;
    std::exception_ptr error;
    const std::stop_token none;
    servant.abandon();
    {
      Read read;
      CHECK_FALSE(servant.start(*context.engine(), read, none, error));
      CHECK(servant.ended == 0);
      read.unlink();
      servant.abandon();
    }
    CHECK(servant.ended == 1);
    servant.waits = false;
    Read next;
    CHECK(servant.start(*context.engine(), next, none, error));
    CHECK(next.moved == 7);
    co_return;
  });
}

TEST_CASE("Device: the service is given the stop token, and nothing else ends the request early") {
  support::on_every_backend([](Context& context) -> Task<> {
    Servant servant;
    servant.waits = true;
    std::exception_ptr error;
    std::stop_source source;
    const std::stop_token token = source.get_token();
    Read read;
    CHECK_FALSE(servant.start(*context.engine(), read, token, error));
    CHECK(servant.seen == token);
    source.request_stop();
    context.engine()->cancel(read);
    CHECK(read.stage == Request::Stage::parked);
    co_await context.schedule();
    CHECK_FALSE(read.told);
    servant.go_on();
    while (!read.told) co_await context.schedule();
    CHECK(read.moved == 7);
    CHECK(read.result == 0);
  });
}
