#include <caio/backend.hpp>

#include <caio/context.hpp>
#include <caio/detail/sleep.hpp>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Opcode;
using caio::Request;
using caio::Task;
using support::bytes_of;
using support::room_in;

namespace {

/// As small as a backend can be: one file in memory, whatever the descriptor.
class MemoryBackend final : public caio::Backend {
 public:
  std::string content;

  caio::Implementation implementation() const noexcept override { return caio::Implementation::blocking; }
  void drive(caio::Batch& batch, const caio::Wait* wait) override {
    while (!batch.empty()) {
      Request& request = batch.take();
      if (request.opcode == Opcode::fsync) {
        batch.refuse(request);
      } else {
        batch.complete(request, carry_out(request));
      }
    }
    if (wait != nullptr && !batch.has_news()) caio::detail::sleep_on(-1, *wait);
  }
  void cancel(Request&) override {}

 private:
  std::int64_t carry_out(Request& request) {
    const auto offset = static_cast<std::size_t>(request.offset);
    switch (request.opcode) {
      case Opcode::open: request.descriptor = Descriptor::foreign(1234); return 1234;
      case Opcode::close: return 0;
      case Opcode::write:
        content.resize(std::max(content.size(), offset + request.length));
        std::memcpy(content.data() + offset, request.buffer, request.length);
        return static_cast<std::int64_t>(request.length);
      case Opcode::read: {
        if (offset >= content.size()) return 0;
        const std::size_t count = std::min(request.length, content.size() - offset);
        std::memcpy(request.buffer, content.data() + offset, count);
        return static_cast<std::int64_t>(count);
      }
      default: return -ENOTSUP;
    }
  }
};

}  // namespace

TEST_CASE("Backend: a user's own serves files that the system does not know") {
  auto backend = std::make_unique<MemoryBackend>();
  const MemoryBackend& memory = *backend;
  Context context(std::move(backend));
  context.run([](Context& each) -> Task<> {
    const Descriptor file = co_await each.open("no such path", O_RDWR);
    CHECK(file.fileno() == 1234);
    CHECK(file.kind() == Descriptor::Kind::foreign);
    const std::size_t written = co_await each.write(file, bytes_of("hello world"), 0);
    CHECK(written == 11);
    std::string text(20, '?');
    const std::size_t read = co_await each.read(file, room_in(text), 6);
    CHECK(text.substr(0, read) == "world");
    co_await each.close(file);
    const int number = co_await each.offload([] { return 3; });
    CHECK(number == 3);
    co_await each.sleep_for(std::chrono::microseconds(10));
  }(context));
  CHECK(memory.content == "hello world");
  CHECK(context.explain().starts_with("blocking\n"));
}

TEST_CASE("Backend: its errors reach the user, and nobody else touches what it refuses of its own files") {
  Context context(std::make_unique<MemoryBackend>());
  context.run([](Context& each) -> Task<> {
    const Descriptor file = co_await each.open("no such path", O_RDWR);
    std::string text(4, '?');
    ::iovec vector{text.data(), text.size()};
    const int vectored = co_await support::errno_of(each.readv(file, std::span(&vector, 1), 0));
    CHECK(vectored == ENOTSUP);
    const int refused = co_await support::errno_of(each.fsync(file));
    CHECK(refused == EOPNOTSUPP);
  }(context));
  CHECK(context.stats().pooled == 0);
}

TEST_CASE("Backend: a batch has no more room than max_requests leaves") {
  class Counting final : public caio::Backend {
   public:
    std::size_t most = 0;
    caio::Implementation implementation() const noexcept override { return caio::Implementation::blocking; }
    Counting() { REQUIRE(::write(always_.writer.get(), "x", 1) == 1); }
    void drive(caio::Batch& batch, const caio::Wait* wait) override {
      const std::size_t before = requests_.size();
      while (!batch.empty()) requests_.push_back(&batch.take());
      most = std::max(most, requests_.size());
      const std::size_t ended = wait == nullptr ? before : requests_.size();
      for (std::size_t i = 0; i < ended; ++i) batch.complete(*requests_[i], 1);
      requests_.erase(requests_.begin(), requests_.begin() + static_cast<std::ptrdiff_t>(ended));
      if (wait != nullptr && !batch.has_news()) caio::detail::sleep_on(-1, *wait);
    }
    void cancel(Request&) override {}
    int fileno() noexcept override { return always_.reader.get(); }  // beside other contexts, the next drive() ends it

   private:
    support::Pipe always_;
    std::vector<Request*> requests_;
  };
  auto backend = std::make_unique<Counting>();
  const Counting& counting = *backend;
  Context context(std::move(backend), {.max_requests = 3});
  context.run([](Context& each) -> Task<> {
    std::string text(1, '?');
    co_await caio::gather(support::numbers(20),
                          [&](int i) { return each.read(Descriptor::foreign(1), room_in(text), i); });
  }(context));
  CHECK(counting.most == 3);
  CHECK(context.stats().handed_over == 20);
}
