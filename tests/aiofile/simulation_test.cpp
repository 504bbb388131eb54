// T0 of the torture programme in small: simulated worlds, see support/simulation.hpp. Torture replays a single one.
#include "support/simulation.hpp"

#include "support/catch.hpp"

using support::Blunder;
using support::Simulation;

TEST_CASE("Simulation: the promises hold in 1 000 worlds, in which much goes wrong") {
  Simulation::Tally all;
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    INFO("seed " << seed);
    Simulation world(seed);
    CHECK(world.run() == std::vector<std::string>());
    all.faults.interruptions += world.tally.faults.interruptions;
    all.faults.errors += world.tally.faults.errors;
    all.faults.shortened += world.tally.faults.shortened;
    all.faults.delayed += world.tally.faults.delayed;
    all.stopped += world.tally.stopped;
    all.destroyed += world.tally.destroyed;
    all.cut_short += world.tally.cut_short;
    all.told_lost += world.tally.told_lost;
  }
  CHECK(all.faults.interruptions > 1000);
  CHECK(all.faults.errors > 1000);
  CHECK(all.faults.shortened > 1000);
  CHECK(all.faults.delayed > 1000);
  CHECK(all.stopped > 1000);
  CHECK(all.destroyed > 100);
  CHECK(all.cut_short > 100);
  CHECK(all.told_lost > 0);
}

TEST_CASE("Simulation: a world is the same for the same seed, and finds blunders out") {
  for (const Blunder blunder : {Blunder::ignored_short_write, Blunder::early_ack}) {
    std::size_t found = 0;
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
      const std::vector<std::string> complaints = Simulation(seed, blunder).run();
      CHECK(Simulation(seed, blunder).run() == complaints);
      found += complaints.size();
    }
    CHECK(found > 10);
  }
}
