#include <caio/testing/fault_script.hpp>

#include <cerrno>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

using caio::Opcode;
using caio::Request;
using caio::testing::any_request;
using caio::testing::every;
using caio::testing::FaultRates;
using caio::testing::FaultScript;
using caio::testing::from;
using caio::testing::Occurrence;
using caio::testing::Verdict;

namespace {

Verdict judge(FaultScript& script, Opcode opcode, std::size_t length = 100) {
  Request request;
  request.opcode = opcode;
  request.length = length;
  return script.judge(request);
}

bool harmless(const Verdict& verdict) {
  return verdict.error == 0 && verdict.at_most == Verdict().at_most && verdict.turns_before == 0 &&
         verdict.turns_after == 0;
}

}  // namespace

TEST_CASE("FaultScript: an empty one does nothing") {
  FaultScript script;
  for (const Opcode opcode : {Opcode::read, Opcode::write, Opcode::open, Opcode::close, Opcode::fsync}) {
    CHECK(harmless(judge(script, opcode)));
  }
}

TEST_CASE("FaultScript: a rule is for the nth of its kind, counted from 1") {
  FaultScript script;
  script.fail(Opcode::write, 2, ENOSPC);
  CHECK(judge(script, Opcode::write).error == 0);
  CHECK(judge(script, Opcode::read).error == 0);
  CHECK(judge(script, Opcode::write).error == ENOSPC);
  CHECK(judge(script, Opcode::write).error == 0);
}

TEST_CASE("FaultScript: from the nth on, a range, every, and of any kind") {
  FaultScript script;
  script.fail(Opcode::fsync, from(2), EIO).shorten(Opcode::read, Occurrence(2, 3), 7).fail(any_request, 9, EINTR);
  CHECK(judge(script, Opcode::fsync).error == 0);
  CHECK(judge(script, Opcode::fsync).error == EIO);
  CHECK(judge(script, Opcode::fsync).error == EIO);
  CHECK(judge(script, Opcode::read).at_most > 100);
  CHECK(judge(script, Opcode::read).at_most == 7);
  CHECK(judge(script, Opcode::read).at_most == 7);
  CHECK(judge(script, Opcode::read).at_most > 100);
  CHECK(judge(script, Opcode::open).error == 0);
  CHECK(judge(script, Opcode::open).error == EINTR);
  FaultScript always;
  always.delay(any_request, every, 3).hold_back(Opcode::read, every, 2);
  CHECK(judge(always, Opcode::write).turns_before == 3);
  CHECK(judge(always, Opcode::read).turns_before == 3);
  CHECK(judge(always, Opcode::read).turns_after == 2);
}

TEST_CASE("FaultScript: the same seed makes the same faults, another one others") {
  const auto errors_of = [](std::uint64_t seed) {
    FaultScript script(seed, {.short_counts = 20, .interruptions = 20, .errors = 20, .delays = 20});
    std::vector<std::uint64_t> numbers;
    for (int i = 0; i < 200; ++i) {
      const Verdict verdict = judge(script, i % 2 == 0 ? Opcode::read : Opcode::write);
      numbers.push_back(static_cast<std::uint64_t>(verdict.error) * 1000 + verdict.turns_before * 100 +
                        verdict.turns_after * 10 + (verdict.at_most <= 100 ? verdict.at_most : 0));
    }
    return numbers;
  };
  CHECK(errors_of(7) == errors_of(7));
  CHECK(errors_of(7) != errors_of(8));
}

TEST_CASE("FaultScript: each rate makes its own faults, about as often as it says") {
  const auto count = [](FaultRates rates, auto matches) {
    FaultScript script(1, rates);
    int matching = 0;
    for (int i = 0; i < 1000; ++i) {
      const Verdict verdict = judge(script, Opcode::read);
      if (matches(verdict)) ++matching;
      if (!matches(verdict) && !harmless(verdict)) return -1;
    }
    return matching;
  };
  const auto about = [](int number, int wanted) { return number > wanted * 3 / 4 && number < wanted * 5 / 4; };
  CHECK(about(count({.short_counts = 30}, [](const Verdict& v) { return v.at_most >= 1 && v.at_most < 100; }), 300));
  CHECK(
      about(count({.interruptions = 30}, [](const Verdict& v) { return v.error == EINTR || v.error == EAGAIN; }), 300));
  CHECK(about(count({.errors = 30}, [](const Verdict& v) { return v.error == EIO; }), 300));
  CHECK(
      about(count({.delays = 30}, [](const Verdict& v) { return (v.turns_before > 0) != (v.turns_after > 0); }), 300));
}

TEST_CASE("FaultScript: chance spares closing all but delays") {
  FaultScript script(1, {.short_counts = 100, .interruptions = 100, .errors = 100, .delays = 100});
  for (int i = 0; i < 100; ++i) {
    const Verdict verdict = judge(script, Opcode::close);
    CHECK(verdict.error == 0);
    CHECK(verdict.turns_before + verdict.turns_after > 0);
  }
  script.fail(Opcode::close, every, EIO);
  CHECK(judge(script, Opcode::close).error == EIO);
}

TEST_CASE("FaultScript: the first rule that names an error counts, and goes before chance") {
  FaultScript script(1, {.errors = 100});
  script.fail(Opcode::write, from(1), ENOSPC).fail(any_request, every, EDQUOT);
  CHECK(judge(script, Opcode::write).error == ENOSPC);
  CHECK(judge(script, Opcode::read).error == EDQUOT);
}

TEST_CASE("FaultScript: what cannot be meant is an error at once") {
  FaultScript script;
  CHECK_THROWS_AS(script.fail(Opcode::write, 1, -EIO), std::invalid_argument);
  CHECK_THROWS_AS(script.fail(Opcode::write, 1, 0), std::invalid_argument);
  CHECK_THROWS_AS(script.shorten(Opcode::write, 0, 1), std::invalid_argument);
}
