#pragma once
// What goes wrong in a test: the nth write finds the disk full, reads stop short, completions come late and out of
// order.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <stdexcept>
#include <vector>

#include <caio/config.hpp>
#include <caio/request.hpp>

namespace caio::inline CAIO_ABI::testing {

/// Which of the requests that a rule is for, counted from 1 in the order in which they reach the backend. A retry after
/// EINTR, and the rest of a short count, are requests of their own; so is what a destructor does.
struct Occurrence {
  std::uint64_t first;
  std::uint64_t last;

  constexpr Occurrence(std::uint64_t nth) noexcept  // NOLINT(google-explicit-constructor): fail(write, 3, ENOSPC)
      : Occurrence(nth, nth) {}
  constexpr Occurrence(std::uint64_t from, std::uint64_t to) noexcept : first(from), last(to) {}
};

/// The nth and all that follow.
constexpr Occurrence from(std::uint64_t nth) noexcept { return {nth, std::numeric_limits<std::uint64_t>::max()}; }
inline constexpr Occurrence every = from(1);

/// For rules about requests of any kind.
inline constexpr std::optional<Opcode> any_request = std::nullopt;

/// How often, in percent, requests meet with what. Closing is spared all but delays.
struct FaultRates {
  unsigned short_counts = 0;   ///< reads and writes that stop at a random byte, often after the first
  unsigned interruptions = 0;  ///< EINTR or EAGAIN, which no user may ever see
  unsigned errors = 0;         ///< EIO
  unsigned delays = 0;         ///< held back for some turns of the loop, before or after it is carried out
};

/// What happens to one request.
struct Verdict {
  int error = 0;  ///< errno; the request is not carried out, except for close, which is and then says so
  std::size_t at_most = std::numeric_limits<std::size_t>::max();  ///< bytes of a read or write
  unsigned turns_before = 0;  ///< turns of the loop until it is carried out; a cancel meanwhile is in time
  unsigned turns_after = 0;   ///< turns of the loop until its completion comes; a cancel meanwhile is too late
};

/// A list of rules, or a seed, or both. The same requests meet with the same faults each time.
class FaultScript {
 public:
  FaultScript() = default;
  /// Faults at random, the same for the same seed. Tell the seed when a test fails.
  explicit FaultScript(std::uint64_t seed, FaultRates rates = {}) : rates_(rates), random_(seed) {}

  /// Requests of that kind fail with `error` (an errno). std::invalid_argument for what is none, and for a 0th request.
  FaultScript& fail(std::optional<Opcode> kind, Occurrence which, int error) {
    if (error <= 0) throw std::invalid_argument("FaultScript::fail: not an errno");
    return add(kind, which, {.error = error});
  }
  /// Reads or writes move at most `bytes`: 1 is the shortest that a kernel gives, 0 an end of file that is none. On
  /// O_DIRECT it has to be a multiple of what the device demands.
  FaultScript& shorten(std::optional<Opcode> kind, Occurrence which, std::size_t bytes) {
    return add(kind, which, {.at_most = bytes});
  }
  /// They are carried out that many turns of the loop later: a cancel meanwhile comes in time.
  FaultScript& delay(std::optional<Opcode> kind, Occurrence which, unsigned turns) {
    return add(kind, which, {.turns_before = turns});
  }
  /// They are carried out at once, and complete that many turns of the loop later, behind others: a cancel meanwhile
  /// comes too late.
  FaultScript& hold_back(std::optional<Opcode> kind, Occurrence which, unsigned turns) {
    return add(kind, which, {.turns_after = turns});
  }

  /// What happens to the next request. Rules go before chance, and the first of them that names an error counts; the
  /// shortest count and the longest delays do.
  [[nodiscard]] Verdict judge(const Request& request) {
    const Verdict chance = random_verdict(request);
    Verdict verdict;
    for (Rule& rule : rules_) {
      if (rule.kind && *rule.kind != request.opcode) continue;
      const std::uint64_t nth = ++rule.seen;
      if (nth >= rule.which.first && nth <= rule.which.last) merge(verdict, rule.verdict);
    }
    merge(verdict, chance);
    return verdict;
  }

 private:
  struct Rule {
    std::optional<Opcode> kind;
    Occurrence which;
    Verdict verdict;
    std::uint64_t seen = 0;
  };

  static void merge(Verdict& verdict, const Verdict& other) {
    if (verdict.error == 0) verdict.error = other.error;
    verdict.at_most = std::min(verdict.at_most, other.at_most);
    verdict.turns_before = std::max(verdict.turns_before, other.turns_before);
    verdict.turns_after = std::max(verdict.turns_after, other.turns_after);
  }

  FaultScript& add(std::optional<Opcode> kind, Occurrence which, const Verdict& verdict) {
    if (which.first == 0) throw std::invalid_argument("FaultScript: requests are counted from 1");
    rules_.push_back({kind, which, verdict});
    return *this;
  }

  // Not the standard's distributions: their numbers differ between libraries.
  bool chance(unsigned percent) { return percent > 0 && random_() % 100 < percent; }

  Verdict random_verdict(const Request& request) {
    Verdict verdict;
    if (chance(rates_.delays)) {
      const auto turns = static_cast<unsigned>(1 + random_() % 6);
      (random_() % 2 == 0 ? verdict.turns_before : verdict.turns_after) = turns;
    }
    if (request.opcode == Opcode::close) return verdict;
    if (chance(rates_.interruptions)) verdict.error = random_() % 2 == 0 ? EINTR : EAGAIN;
    if (chance(rates_.errors)) verdict.error = EIO;
    if (request.is_scalar_transfer() && request.length > 1 && chance(rates_.short_counts)) {
      verdict.at_most = random_() % 4 == 0 ? 1 : static_cast<std::size_t>(1 + random_() % (request.length - 1));
    }
    return verdict;
  }

  FaultRates rates_;
  std::mt19937_64 random_;
  std::vector<Rule> rules_;
};

}  // namespace caio::inline CAIO_ABI::testing
