// A counter ticks every millisecond while a large file is written with pauses: the writes do not hold it up.
//   ticker [FILE [MEBIBYTES]]
#include <aiofile/aiofile.hpp>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <utility>
#include <vector>

namespace {

using std::chrono::milliseconds;

aiofile::Task<> tick(std::size_t& ticks) {
  for (;;) {
    co_await aiofile::sleep_for(milliseconds(1));
    ++ticks;
  }
}

aiofile::Task<> write(std::filesystem::path path, std::size_t mebibytes) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(std::move(path), "wb");
  const std::vector<std::byte> block(std::size_t{1024} * 1024, std::byte{42});
  for (std::size_t i = 0; i < mebibytes; ++i) {
    co_await file.write_bytes(block, i * block.size());
    co_await aiofile::sleep_for(milliseconds(2));
  }
  co_await file.close();
}

aiofile::Task<std::size_t> ticks_during_write(std::filesystem::path path, std::size_t mebibytes) {
  std::size_t ticks = 0;
  aiofile::TaskGroup group;  // its end ends the ticker
  group.spawn(tick(ticks));
  co_await write(std::move(path), mebibytes);
  co_return ticks;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::filesystem::path path = argc > 1 ? argv[1] : "ticker.bin";
  const std::size_t mebibytes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 64;
  const std::size_t ticks = aiofile::run(ticks_during_write(path, mebibytes));
  std::cout << mebibytes << " MiB written, " << ticks << " ticks\n";
  // However slow the machine is: a tick falls due within every pause.
  if (ticks < mebibytes) {
    std::fprintf(stderr, "ticker: it starved\n");
    return 1;
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "ticker: %s\n", error.what());
  return 1;
}
