// Eight tasks write one file at the same time, each a range of its own; then it is read back and compared.
//   parallel_ranges [FILE [MEBIBYTES]]
#include <aiofile/aiofile.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr std::uint64_t writers = 8;
constexpr std::size_t chunk_size = std::size_t{128} * 1024;

/// What belongs at `offset`: not the same anywhere near.
void fill(std::vector<std::byte>& chunk, std::uint64_t offset) {
  for (std::byte& byte : chunk) byte = static_cast<std::byte>(offset++ * 0x9e3779b97f4a7c15U >> 56);
}

aiofile::Task<> write_range(aiofile::AIOFile& file, std::uint64_t begin, std::uint64_t end) {
  std::vector<std::byte> chunk;
  for (std::uint64_t offset = begin; offset < end; offset += chunk.size()) {
    chunk.resize(std::min<std::uint64_t>(chunk_size, end - offset));
    fill(chunk, offset);
    co_await file.write_bytes(chunk, offset);
  }
}

aiofile::Task<> write_all(aiofile::AIOFile& file, std::uint64_t size) {
  aiofile::TaskGroup group;
  for (std::uint64_t i = 0; i < writers; ++i) {
    group.spawn(write_range(file, size * i / writers, size * (i + 1) / writers));
  }
  co_await group.join();
}

aiofile::Task<> verify(aiofile::AIOFile& file, std::uint64_t size) {
  std::vector<std::byte> expected;
  std::vector<std::byte> found;
  for (std::uint64_t offset = 0; offset < size; offset += expected.size()) {
    expected.resize(std::min<std::uint64_t>(chunk_size, size - offset));
    fill(expected, offset);
    found.resize(expected.size());
    const std::size_t count = co_await file.read_into(found, offset);
    found.resize(count);
    if (found != expected) throw std::runtime_error("wrong data in the chunk at " + std::to_string(offset));
  }
}

aiofile::Task<> write_and_verify(std::filesystem::path path, std::uint64_t size) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(std::move(path), "wb+");
  co_await write_all(file, size);
  co_await file.fsync();
  co_await verify(file, size);
  const std::uint64_t found = co_await file.size();
  if (found != size) throw std::runtime_error("the file has " + std::to_string(found) + " bytes");
  co_await file.close();
  std::cout << size << " bytes by " << writers << " writers: all in place\n";
}

}  // namespace

int main(int argc, char** argv) try {
  const std::filesystem::path path = argc > 1 ? argv[1] : "parallel_ranges.bin";
  const std::uint64_t mebibytes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 16;
  aiofile::run(write_and_verify(path, mebibytes * 1024 * 1024 + 12345));
} catch (const std::exception& error) {
  std::fprintf(stderr, "parallel_ranges: %s\n", error.what());
  return 1;
}
