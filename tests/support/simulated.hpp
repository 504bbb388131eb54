#pragma once
// A disk in memory on which things go wrong by a seed.

#include <caio/testing.hpp>
#include <cstdint>
#include <memory>

namespace support {

inline std::unique_ptr<caio::testing::FaultBackend> simulated(caio::testing::MemoryFiles& files, std::uint64_t seed,
                                                              caio::testing::FaultRates rates = {.delays = 50}) {
  return std::make_unique<caio::testing::FaultBackend>(std::make_unique<caio::testing::MemoryBackend>(files),
                                                       caio::testing::FaultScript(seed, rates));
}

}  // namespace support
