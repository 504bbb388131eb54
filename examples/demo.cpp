// Hashes a large file with several reads in flight, on each backend that this machine offers, and compares with
// sha256sum.
//   demo [MEBIBYTES]
#include <openssl/evp.h>

#include <aiofile/aiofile.hpp>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using aiofile::AIOFile;
using aiofile::Task;

constexpr std::size_t chunk = 256 * 1024;
constexpr std::size_t depth = 8;

class Sha256 {
 public:
  Sha256() {
    if (EVP_DigestInit_ex(state_.get(), EVP_sha256(), nullptr) != 1) throw std::runtime_error("EVP_DigestInit_ex");
  }
  void update(const std::vector<std::byte>& data, std::size_t size) {
    EVP_DigestUpdate(state_.get(), data.data(), size);
  }
  std::string hexadecimal() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned size = 0;
    EVP_DigestFinal_ex(state_.get(), digest.data(), &size);
    std::string text;
    for (unsigned i = 0; i < size; ++i) {
      constexpr const char* digits = "0123456789abcdef";
      text += digits[digest[i] >> 4];
      text += digits[digest[i] & 15];
    }
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> state_{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

/// Random content, written by eight coroutines at their own offsets.
Task<> make(std::filesystem::path path, std::size_t size) {
  AIOFile file = co_await AIOFile(std::move(path), "wb");
  auto writer = [](AIOFile& target, std::size_t first, std::size_t end) -> Task<> {
    std::mt19937_64 random(first);
    std::vector<std::uint64_t> numbers(chunk / sizeof(std::uint64_t));
    for (std::size_t offset = first * chunk; offset < end; offset += depth * chunk) {
      for (std::uint64_t& number : numbers) number = random();
      const std::size_t count = std::min(chunk, end - offset);
      co_await target.write_bytes(std::as_bytes(std::span(numbers)).first(count), offset);
    }
  };
  std::vector<Task<>> writers;
  for (std::size_t i = 0; i < depth; ++i) writers.push_back(writer(file, i, size));
  co_await aiofile::gather(std::move(writers));
  co_await file.fsync();
  co_await file.close();
}

/// Reads the file `depth` chunks at a time, in order.
Task<std::string> hash(std::filesystem::path path) {
  AIOFile file = co_await AIOFile(std::move(path), "rb");
  Sha256 sha;
  std::vector<std::vector<std::byte>> buffers(depth, std::vector<std::byte>(chunk));
  for (std::uint64_t offset = 0;;) {
    std::vector<decltype(file.read_into(buffers[0], 0))> reads;
    for (std::size_t i = 0; i < depth; ++i) reads.push_back(file.read_into(buffers[i], offset + i * chunk));
    const std::vector<std::size_t> counts = co_await aiofile::gather(std::move(reads));
    for (std::size_t i = 0; i < depth; ++i) {
      sha.update(buffers[i], counts[i]);
      offset += counts[i];
    }
    if (counts.back() < chunk) break;
  }
  co_await file.close();
  co_return sha.hexadecimal();
}

std::string sha256sum(const std::filesystem::path& path) {
  const std::string command = "sha256sum '" + path.string() + "'";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::array<char, 65> digest{};
  if (!pipe || std::fread(digest.data(), 1, 64, pipe.get()) != 64) throw std::runtime_error("sha256sum did not answer");
  return digest.data();
}

}  // namespace

int main(int argc, char** argv) try {
  const std::size_t size = (argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 256) * 1024 * 1024 + 12345;
  const std::filesystem::path path = std::filesystem::absolute("aiofile-demo.bin");
  aiofile::run(make(path, size));
  std::printf("made %s: %zu bytes, by the backend %s\n", path.c_str(), size,
              std::string(caio::name(caio::Context::current().implementation())).c_str());
  const std::string expected = sha256sum(path);
  std::printf("%-9s %s\n", "sha256sum", expected.c_str());

  bool equal = true;
  for (const caio::Implementation implementation : caio::available()) {
    for (const bool speculate : {true, false}) {
      caio::Context context(implementation, {.speculate = speculate});
      const auto start = std::chrono::steady_clock::now();
      const std::string digest = context.run(hash(path));
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      const caio::ContextStats stats = context.stats();
      std::printf(
          "%-9s %s %s  %.2f s; %llu operations: %llu out of the page cache without suspending, %llu by the kernel "
          "or the pool (most at once: %llu)\n",
          std::string(caio::name(implementation)).c_str(), digest.c_str(), digest == expected ? "equal" : "DIFFERENT",
          seconds.count(), static_cast<unsigned long long>(stats.submitted),
          static_cast<unsigned long long>(stats.speculated), static_cast<unsigned long long>(stats.handed_over),
          static_cast<unsigned long long>(stats.max_in_flight));
      if (!speculate) std::printf("          %s\n", context.explain().substr(0, context.explain().find('\n')).c_str());
      equal = equal && digest == expected;
    }
  }
  for (const caio::Implementation implementation : caio::implementations) {
    const std::string reason = caio::why_unavailable(implementation);
    if (!reason.empty())
      std::printf("%-9s not available: %s\n", std::string(caio::name(implementation)).c_str(), reason.c_str());
  }
  std::filesystem::remove(path);
  return equal ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "demo: %s\n", error.what());
  return 1;
}
