// T0 of the torture programme in small: simulated worlds, see support/simulation.hpp. Torture replays a single one.
#include "support/simulation.hpp"

#include "support/catch.hpp"

using support::Blunder;
using support::Simulation;

TEST_CASE("Simulation: the promises hold in 1 000 worlds") {
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    INFO("seed " << seed);
    CHECK(Simulation(seed).run() == std::vector<std::string>());
  }
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
