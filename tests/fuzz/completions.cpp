// Fuzz target: forged completions. Numbers that were never given, or are out of date, find nobody; genuine ones are
// neither lost nor changed by them. First on the table of slots against a map, then on a real ring.
#include <algorithm>
#include <caio/caio.hpp>
#include <caio/detail/slots.hpp>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "fuzz.hpp"

namespace {

void forge_slots(fuzz::Source source) {
  std::vector<caio::Request> requests(1 + source.byte() % 8);
  caio::detail::Slots slots(requests.size());
  std::map<std::uint64_t, caio::Request*> given;
  std::vector<std::uint64_t> all{0};
  while (!source.empty()) {
    const unsigned what = source.byte();
    if (what % 3 == 0) {
      if (slots.full()) continue;
      const auto unused = std::find_if(requests.begin(), requests.end(), [&](caio::Request& request) {
        return std::none_of(given.begin(), given.end(), [&](const auto& entry) { return entry.second == &request; });
      });
      const std::uint64_t key = slots.insert(*unused);
      fuzz::require(key == slots.key(*unused) && !given.contains(key), "a number of its own");
      given[key] = &*unused;
      all.push_back(key);
    } else {
      // One that was given some time, with a bit turned over or not; or any.
      std::uint64_t key = all[source.byte() % all.size()];
      if (what % 3 == 2) key = what % 2 == 0 ? source.number() : key ^ (std::uint64_t{1} << source.byte() % 64);
      const auto entry = given.find(key);
      caio::Request* const wanted = entry == given.end() ? nullptr : entry->second;
      fuzz::require(slots.remove(key) == wanted, "the request of that number, or nobody");
      given.erase(key);
    }
    fuzz::require(slots.used() == given.size(), "as many as were not taken back");
  }
}

#if CAIO_WITH_LIBURING

/// What to put among the genuine entries, whenever the backend enters the kernel.
struct Forger {
  fuzz::Source script{std::string_view()};
  std::set<std::uint64_t> current;     // numbers of this run's operations
  std::vector<std::uint64_t> expired;  // of earlier ones

  void forge(::io_uring* ring) {
    const ::io_uring_sq& queue = ring->sq;
    for (unsigned i = *queue.khead; i != queue.sqe_tail; ++i) {
      current.insert(queue.sqes[i & *queue.kring_mask].user_data);
    }
    for (unsigned left = script.byte() % 4; left > 0; --left) {
      const unsigned what = script.byte();
      const std::uint64_t number = script.number();
      std::uint64_t key = number | std::uint64_t{1} << 61;  // a generation that comes after years
      if (what % 3 == 1) key = number | 0xffff'0000;        // a slot that is not there
      if (what % 3 == 2 && !expired.empty()) key = expired[number % expired.size()];
      if (current.contains(key)) continue;
      ::io_uring_sqe* const entry = ::io_uring_get_sqe(ring);
      if (entry == nullptr) return;
      ::io_uring_prep_nop(entry);
      entry->user_data = key;
      entry->rw_flags = 1;  // IORING_NOP_INJECT_RESULT: the length comes back as the result, since Linux 6.10 or so
      entry->len = script.word() * 0x10001U;
    }
  }
  void expire() {
    expired.insert(expired.end(), current.begin(), current.end());
    current.clear();
    if (expired.size() > 256) expired.erase(expired.begin(), expired.end() - 256);
  }
};

Forger forger;

caio::Task<> read_all(caio::Context& context, int fd, std::string_view content, fuzz::Source places) {
  constexpr std::size_t size = 100;
  std::vector<std::array<std::byte, size>> memory(1 + places.byte() % 16);
  std::vector<std::size_t> offsets;
  for (std::size_t i = 0; i < memory.size(); ++i) offsets.push_back(places.word() % (content.size() + size));
  std::vector<caio::Operation<std::size_t>> reads;
  for (std::size_t i = 0; i < memory.size(); ++i) {
    reads.push_back(context.read(fd, memory[i], static_cast<std::int64_t>(offsets[i])));
  }
  const std::vector<std::size_t> counts = co_await caio::gather(std::move(reads));
  for (std::size_t i = 0; i < memory.size(); ++i) {
    const std::string_view wanted = content.substr(std::min(offsets[i], content.size()), size);
    fuzz::require(counts[i] == wanted.size(), "the count that the kernel gave");
    fuzz::require(std::memcmp(memory[i].data(), wanted.data(), wanted.size()) == 0, "the bytes of the file");
  }
}

void forge_completions(fuzz::Source source) {
  static const bool usable = caio::why_unavailable(caio::Implementation::uring).empty();
  if (!usable) return;
  static const std::string content = [] {
    std::string text;
    for (unsigned i = 0; i < 3000; ++i) text += static_cast<char>(i * 7 / 3);
    return text;
  }();
  static const fuzz::File file(content);
  static const std::unique_ptr<caio::Context> context = [] {
    caio::uring_calls.submit_and_get_events = [](::io_uring* ring) {
      forger.forge(ring);
      return ::io_uring_submit_and_get_events(ring);
    };
    caio::uring_calls.submit_and_wait_timeout = [](::io_uring* ring, ::io_uring_cqe** completion, unsigned wanted,
                                                   ::__kernel_timespec* left, ::sigset_t* mask) {
      forger.forge(ring);
      return ::io_uring_submit_and_wait_timeout(ring, completion, wanted, left, mask);
    };
    return std::make_unique<caio::Context>(caio::Implementation::uring,
                                           caio::ContextOptions{.max_requests = 32, .speculate = false});
  }();
  const fuzz::Source places(source.take(40));
  forger.script = source;
  context->run(read_all(*context, file.fd(), content, places));
  forger.script = fuzz::Source(std::string_view());
  forger.expire();
  const caio::ContextStats stats = context->stats();
  fuzz::require(stats.in_flight == 0 && stats.submitted == stats.completed, "no operation is lost");
}

#else

void forge_completions(fuzz::Source) {}

#endif

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Source source(data, size);
  if (source.byte() % 2 == 0) {
    forge_slots(source);
  } else {
    forge_completions(source);
  }
  return 0;
}
