// Writes at 0 and at 7: what lies between was never written and reads as zero bytes.
//   hole [FILE]
#include <aiofile/aiofile.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>

aiofile::Task<> write_and_read(std::filesystem::path path) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(std::move(path), "w+");
  co_await aiofile::gather(file.write("Hello", 0), file.write("world", 7));
  co_await file.fsync();

  const std::string text = co_await file.read();
  for (const char byte : text) {
    if (byte == '\0') {
      std::cout << "\\0";
    } else {
      std::cout << byte;
    }
  }
  std::cout << "\n" << text.size() << " bytes\n";
  co_await file.close();
}

int main(int argc, char** argv) try {
  aiofile::run(write_and_read(argc > 1 ? argv[1] : "hole.txt"));
} catch (const std::exception& error) {
  std::fprintf(stderr, "hole: %s\n", error.what());
  return 1;
}
