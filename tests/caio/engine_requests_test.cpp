#include <caio/engine_requests.hpp>

#include <fcntl.h>

#include <caio/backend.hpp>
#include <caio/context.hpp>
#include <caio/detail/sleep.hpp>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Task;
using support::bytes_of;
using support::room_in;
using support::TemporaryDirectory;

namespace {

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

}  // namespace

TEST_CASE("EngineRequests: no result of the plumbing reaches a user") {
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
