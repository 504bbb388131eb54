// A Writer and a Reader, each with its own position, on one file.
//   reader_writer [FILE]
#include <aiofile/aiofile.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string_view>
#include <utility>

aiofile::Task<> write_and_read(std::filesystem::path path) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(std::move(path), "w+");
  aiofile::Writer writer(file);
  aiofile::Reader reader(file, 0, 8);

  co_await writer("Hello");
  co_await writer(" ");
  co_await writer("from the Writer");
  co_await file.fsync();

  while (const std::optional<std::string_view> chunk = co_await reader.next()) std::cout << "[" << *chunk << "]\n";
  co_await file.close();
}

int main(int argc, char** argv) try {
  aiofile::run(write_and_read(argc > 1 ? argv[1] : "reader_writer.txt"));
} catch (const std::exception& error) {
  std::fprintf(stderr, "reader_writer: %s\n", error.what());
  return 1;
}
