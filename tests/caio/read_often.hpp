#pragma once
// Reads one after another, for the tests of the engine.

#include <caio/context.hpp>
#include <cstddef>
#include <span>
#include <stdexcept>

namespace support {

inline caio::Task<> read_often(caio::Context& context, const caio::Descriptor& file, std::span<std::byte> memory,
                               int count) {
  for (int i = 0; i < count; ++i) {
    const std::size_t read = co_await context.read(file, memory, 0);
    if (read != memory.size()) throw std::runtime_error("a short read");
  }
}

}  // namespace support
