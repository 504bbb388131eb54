// Ten writes at the same time, each at its own offset, then a sync that covers them all.
//   positional_writes [FILE]
#include <aiofile/aiofile.hpp>
#include <array>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

aiofile::Task<> write_and_read(std::filesystem::path path) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(std::move(path), "w+");

  std::array<unsigned, 10> digits;
  std::iota(digits.begin(), digits.end(), 0);
  const auto write = [&file](unsigned digit) {
    std::string piece(6, static_cast<char>('0' + digit));
    piece += '\n';
    const std::size_t offset = digit * piece.size();
    return file.write(std::move(piece), offset);  // an rvalue: the operation keeps it alive
  };
  const std::vector<std::size_t> sizes = co_await aiofile::gather(digits, write);
  co_await file.fsync();

  const std::string text = co_await file.read();
  std::cout << text << std::accumulate(sizes.begin(), sizes.end(), std::size_t{0}) << " bytes\n";
  co_await file.close();
}

int main(int argc, char** argv) try {
  aiofile::run(write_and_read(argc > 1 ? argv[1] : "positional_writes.txt"));
} catch (const std::exception& error) {
  std::fprintf(stderr, "positional_writes: %s\n", error.what());
  return 1;
}
