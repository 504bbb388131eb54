// MD5, SHA1, SHA256 and SHA512 of a file at the same time, each over its own clone of one stream; the digests are made
// on the pool's threads. After the algorithm's name a line is what md5sum, sha1sum ... print. Without FILE it first
// makes one.
//   hashers [FILE]
#include <openssl/evp.h>

#include <aiofile/aiofile.hpp>
#include <array>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using aiofile::FileStream;
using aiofile::Task;

struct Algorithm {
  const char* name;
  const EVP_MD* (*get)();
};
constexpr std::array algorithms{Algorithm{"MD5", EVP_md5}, Algorithm{"SHA1", EVP_sha1}, Algorithm{"SHA256", EVP_sha256},
                                Algorithm{"SHA512", EVP_sha512}};

class Hasher {
 public:
  explicit Hasher(const EVP_MD* algorithm) { check(EVP_DigestInit_ex(state_.get(), algorithm, nullptr)); }

  void update(const void* data, std::size_t size) { check(EVP_DigestUpdate(state_.get(), data, size)); }

  std::string hexadecimal() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned size = 0;
    check(EVP_DigestFinal_ex(state_.get(), digest.data(), &size));
    std::string text;
    for (unsigned i = 0; i < size; ++i) {
      constexpr const char* digits = "0123456789abcdef";
      text += digits[digest[i] >> 4];
      text += digits[digest[i] & 15];
    }
    return text;
  }

 private:
  static void check(int result) {
    if (result != 1) throw std::runtime_error("OpenSSL refuses the algorithm");
  }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> state_{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

Task<std::string> hash(FileStream stream, const EVP_MD* algorithm) {
  Hasher hasher(algorithm);
  std::vector<std::byte> chunk(std::size_t{256} * 1024);
  std::size_t size = 0;
  const auto update = [&] { hasher.update(chunk.data(), size); };
  while ((size = co_await stream.read_into(chunk)) > 0) co_await caio::Context::current().offload(update);
  co_await stream.close();
  co_return hasher.hexadecimal();
}

Task<> print_hashes(std::filesystem::path path) {
  FileStream stream = co_await aiofile::async_open(path, "rb");
  const auto over_clone = [&stream](const Algorithm& algorithm) { return hash(stream.clone(), algorithm.get()); };
  const std::vector<std::string> digests = co_await aiofile::gather(algorithms, over_clone);
  for (std::size_t i = 0; i < digests.size(); ++i) {
    std::cout << algorithms[i].name << " " << digests[i] << "  " << path.string() << "\n";
  }
  co_await stream.close();
}

Task<> write_sample(std::filesystem::path path) {
  FileStream stream = co_await aiofile::async_open(std::move(path), "wb");
  std::string block(1'000'003, '\0');
  for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<char>(i * i >> 4);
  co_await stream.write(block);
  co_await stream.close();
}

}  // namespace

int main(int argc, char** argv) try {
  const std::filesystem::path path = argc > 1 ? argv[1] : "hashers.bin";
  if (argc == 1) aiofile::run(write_sample(path));
  aiofile::run(print_hashes(path));
} catch (const std::exception& error) {
  std::fprintf(stderr, "hashers: %s\n", error.what());
  return 1;
}
