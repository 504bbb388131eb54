#include <caio/config.hpp>

#if CAIO_WITH_LIBURING

#include <caio/backends/uring.hpp>

#include <fcntl.h>
#include <caio/context.hpp>
#include <caio/detail/slots.hpp>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::ContextOptions;
using caio::Descriptor;
using caio::gather;
using caio::Implementation;
using caio::Task;
using caio::UringCalls;
using support::bytes_of;
using support::errno_of;
using support::numbers;
using support::room_in;
using support::TemporaryDirectory;

namespace {

bool uring_is_here() {
  return support::wanted(Implementation::uring) && caio::why_unavailable(Implementation::uring).empty();
}

/// Puts the calls back that a test replaces.
struct Replaced {
  Replaced() = default;
  Replaced(const Replaced&) = delete;
  Replaced& operator=(const Replaced&) = delete;
  ~Replaced() { caio::uring_calls = {}; }
};

int calls = 0;
int refused_from = 0;  // the call that is refused first
int refusals = 0;      // how many are
int refusal = 0;       // with this error

bool refuse() {
  const int call = calls++;
  return call >= refused_from && call < refused_from + refusals;
}

/// From the call number `from` on, `count` submissions end with -error.
void refuse_submissions(int error, int from, int count) {
  calls = 0;
  refused_from = from;
  refusals = count;
  refusal = error;
  caio::uring_calls.submit = [](::io_uring* ring) { return refuse() ? -refusal : ::io_uring_submit(ring); };
  caio::uring_calls.submit_and_get_events = [](::io_uring* ring) {
    return refuse() ? -refusal : ::io_uring_submit_and_get_events(ring);
  };
  caio::uring_calls.submit_and_wait_timeout = [](::io_uring* ring, ::io_uring_cqe** completion, unsigned wanted,
                                                 ::__kernel_timespec* timeout, ::sigset_t* signals) {
    return refuse() ? -refusal : ::io_uring_submit_and_wait_timeout(ring, completion, wanted, timeout, signals);
  };
}

std::string alphabet(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 26);
  return text;
}

/// 500 reads of one byte at once; gives how many were right.
Task<int> read_bytes(Context& context, int fd) {
  const Descriptor file(fd);
  std::string text(500, '?');
  co_await gather(numbers(500),
                  [&](int i) { return context.read(file, room_in(text).subspan(static_cast<std::size_t>(i), 1), i); });
  const std::string expected = alphabet(500);
  int right = 0;
  for (std::size_t i = 0; i < text.size(); ++i) right += text[i] == expected[i] ? 1 : 0;
  co_return right;
}

class TestFile {
 public:
  TestFile() : file_(::open(directory_.file("file", alphabet(500)).c_str(), O_RDWR | O_CLOEXEC)) {}
  int fd() const { return file_.get(); }

 private:
  TemporaryDirectory directory_;
  support::Fd file_;
};

constexpr ContextOptions no_speculation{.speculate = false};

}  // namespace

TEST_CASE("Uring: a ring denied in mid-life fails its operations and says so") {
  if (!uring_is_here()) return;
  const Replaced replaced;
  const TestFile file;
  Context context(Implementation::uring, no_speculation);
  CHECK(context.run(read_bytes(context, file.fd())) == 500);
  refuse_submissions(EPERM, 0, 1'000'000);
  context.run([](Context& each, int fd) -> Task<> {
    std::string text(1, '?');
    const Descriptor descriptor(fd);
    for (int i = 0; i < 3; ++i) {
      const int read = co_await errno_of(each.read(descriptor, room_in(text), 0));
      CHECK(read == EPERM);
      const int write = co_await errno_of(each.write(descriptor, bytes_of("x"), 0));
      CHECK(write == EPERM);
    }
    co_await each.sleep_for(std::chrono::milliseconds(1));
    const int number = co_await each.offload([] { return 5; });
    CHECK(number == 5);
  }(context, file.fd()));
  CHECK(context.explain().find("denied in mid-life: " + std::system_category().message(EPERM)) != std::string::npos);
  CHECK(context.stats().submitted == context.stats().completed);
}

TEST_CASE("Uring: a refused submission loses nothing") {
  if (!uring_is_here()) return;
  const int error = GENERATE(EBUSY, EAGAIN, EINTR);
  DYNAMIC_SECTION(std::system_category().message(error)) {
    const Replaced replaced;
    const TestFile file;
    for (int from = 0; from < 8; ++from) {
      INFO("from call " << from);
      Context context(Implementation::uring, no_speculation);
      refuse_submissions(error, from, 5);
      CHECK(context.run(read_bytes(context, file.fd())) == 500);
    }
  }
}

TEST_CASE("Uring: its slots know a forged, a late and a foreign completion") {
  caio::detail::Slots slots(2);
  caio::Request first;
  caio::Request second;
  const std::uint64_t key = slots.insert(first);
  CHECK(slots.key(first) == key);
  CHECK(slots.remove(key + 1) == nullptr);
  CHECK(slots.remove(key + 2) == nullptr);
  CHECK(slots.remove(key + (std::uint64_t{1} << 32)) == nullptr);
  CHECK(slots.remove(~std::uint64_t{0}) == nullptr);
  CHECK(slots.used() == 1);
  CHECK(slots.remove(key) == &first);
  CHECK(slots.remove(key) == nullptr);
  const std::uint64_t again = slots.insert(second);
  CHECK(again != key);
  CHECK(slots.remove(key) == nullptr);
  slots.insert(first);
  CHECK(slots.full());
  CHECK(slots.remove(again) == &second);
  CHECK_FALSE(slots.full());
}

TEST_CASE("Uring: generations never reach the bits that mark other completions") {
  caio::detail::Slots slots(1);
  caio::Request request;
  std::uint64_t all = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t key = slots.insert(request);
    all |= key;
    slots.remove(key);
  }
  CHECK(all >> 62 == 0);
}

TEST_CASE("Uring: what the ring does not offer goes to the pool") {
  if (!uring_is_here()) return;
  const Replaced replaced;
  const TestFile file;
  caio::uring_calls.opcodes = ~(1ULL << IORING_OP_READ | 1ULL << IORING_OP_FSYNC);
  Context context(Implementation::uring, no_speculation);
  CHECK(context.run(read_bytes(context, file.fd())) == 500);
  CHECK(context.stats().pooled == 500);
  context.run([](Context& each, int fd) -> Task<> { co_await each.fsync(fd); }(context, file.fd()));
  CHECK(context.stats().pooled == 501);
}

TEST_CASE("Uring: an opcode that the kernel refuses goes to the pool, and the answer is the pool's") {
  if (!uring_is_here()) return;
  const TestFile file;
  Context context(Implementation::uring, no_speculation);
  context.run([](Context& each, int fd) -> Task<> {
    const Descriptor descriptor(fd);
    std::string text(1, '?');
    ::iovec vector{text.data(), text.size()};
    // EINVAL comes from the ring for too many vectors, whatever the opcode's age.
    const std::vector<::iovec> many(2000, vector);
    for (int i = 0; i < 12; ++i) {
      const int error = co_await errno_of(each.readv(descriptor, many, 0));
      CHECK(error == EINVAL);
    }
    const std::size_t count = co_await each.readv(descriptor, std::span(&vector, 1), 0);
    CHECK(count == 1);
    CHECK(text == "a");
  }(context, file.fd()));
}

TEST_CASE("Uring: SQPOLL works, or is done without") {
  if (!uring_is_here()) return;
  const Replaced replaced;
  const TestFile file;
  Context polled(Implementation::uring, {.sqpoll = true, .speculate = false});
  CHECK(polled.run(read_bytes(polled, file.fd())) == 500);
  caio::uring_calls.queue_init = [](unsigned entries, ::io_uring* ring, ::io_uring_params* params) {
    return (params->flags & IORING_SETUP_SQPOLL) != 0 ? -EPERM : ::io_uring_queue_init_params(entries, ring, params);
  };
  Context plain(Implementation::uring, {.sqpoll = true, .speculate = false});
  CHECK(plain.run(read_bytes(plain, file.fd())) == 500);
  CHECK(plain.explain().find("SQPOLL") == std::string::npos);
}

TEST_CASE("Uring: max_requests above and below the ring's size") {
  if (!uring_is_here()) return;
  const TestFile file;
  for (const unsigned max_requests : {1U, 15U, 16U, 17U, 4096U, 65536U}) {
    INFO("max_requests " << max_requests);
    Context context(Implementation::uring, {.max_requests = max_requests, .speculate = false});
    CHECK(context.run(read_bytes(context, file.fd())) == 500);
    CHECK(context.stats().max_in_flight <= max_requests);
  }
}

TEST_CASE("Uring: where memory is short the ring is halved") {
  if (!uring_is_here()) return;
  const Replaced replaced;
  const TestFile file;
  caio::uring_calls.queue_init = [](unsigned entries, ::io_uring* ring, ::io_uring_params* params) {
    return params->cq_entries > 128 ? -ENOMEM : ::io_uring_queue_init_params(entries, ring, params);
  };
  Context context(Implementation::uring, no_speculation);
  CHECK(context.explain().find("128 completion entries, ") != std::string::npos);
  CHECK(context.run(read_bytes(context, file.fd())) == 500);
  CHECK(context.stats().max_in_flight < 128);
}

TEST_CASE("Uring: each set of setup flags works") {
  if (!uring_is_here()) return;
  const unsigned hidden =
      GENERATE(0U, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN,
               IORING_SETUP_SUBMIT_ALL, IORING_SETUP_R_DISABLED, ~0U);
  DYNAMIC_SECTION("without flags " << hidden) {
    const Replaced replaced;
    const TestFile file;
    caio::uring_calls.setup_flags = ~hidden;
    Context context(Implementation::uring, no_speculation);
    CHECK(context.run(read_bytes(context, file.fd())) == 500);
    context.run([](Context& each, int fd) -> Task<> {
      const support::Pipe pipe;
      const std::size_t written = co_await each.write(pipe.writer.get(), bytes_of("x"), -1);
      CHECK(written == 1);
      co_await each.fsync(fd);
      co_await each.sleep_for(std::chrono::milliseconds(1));
    }(context, file.fd()));
  }
}

TEST_CASE("Uring: a kernel without EXT_ARG still sleeps until a time") {
  if (!uring_is_here()) return;
  const Replaced replaced;
  caio::uring_calls.features = ~static_cast<unsigned>(IORING_FEAT_EXT_ARG);
  const TestFile file;
  Context context(Implementation::uring, no_speculation);
  CHECK(context.run(read_bytes(context, file.fd())) == 500);
  context.run([](Context& each) -> Task<> { co_await each.sleep_for(std::chrono::milliseconds(2)); }(context));
}

#endif
