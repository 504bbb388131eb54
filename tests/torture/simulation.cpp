// T0: a world in memory for each seed. Replay one with --seed N --seeds 1.
#include "support/simulation.hpp"

#include "torture/torture.hpp"

int main(int argc, char** argv) {
  torture::Program program("T0", "Simulated worlds: files in memory, faults, stops, destructions, power cuts",
                           {"ignored-short-write", "early-ack"});
  std::uint64_t seeds = 1000;
  program.app.add_option("--seeds", seeds, "How many worlds, from --seed on")->capture_default_str();
  program.parse(argc, argv);
  const auto blunder = program.control == "ignored-short-write" ? support::Blunder::ignored_short_write
                       : program.control == "early-ack"         ? support::Blunder::early_ack
                                                                : support::Blunder::none;
  for (std::uint64_t seed = program.seed; seed < program.seed + seeds; ++seed) {
    for (const std::string& complaint : support::Simulation(seed, blunder).run()) {
      program.violation("world " + std::to_string(seed) + ": " + complaint);
    }
  }
  program.figure("seeds", seeds);
  return program.finish();
}
