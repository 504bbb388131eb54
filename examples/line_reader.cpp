// Reads a file by lines. Without FILE it first makes one.
//   line_reader [FILE]
#include <aiofile/aiofile.hpp>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string_view>
#include <utility>

aiofile::Task<> write_sample(std::filesystem::path path) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(std::move(path), "w");
  aiofile::Writer writer(file);
  co_await writer("Hello");
  co_await writer(" ");
  co_await writer("world\n");
  co_await writer("\n");
  co_await writer("From the line reader");
  co_await file.close();
}

aiofile::Task<> print_lines(std::filesystem::path path) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(std::move(path), "r");
  aiofile::LineReader lines(file);
  std::size_t number = 0;
  while (const std::optional<std::string_view> line = co_await lines.next()) {
    std::cout << ++number << ": " << *line;
    if (!line->ends_with('\n')) std::cout << "\n";
  }
  co_await file.close();
}

int main(int argc, char** argv) try {
  const std::filesystem::path path = argc > 1 ? argv[1] : "line_reader.txt";
  if (argc == 1) aiofile::run(write_sample(path));
  aiofile::run(print_lines(path));
} catch (const std::exception& error) {
  std::fprintf(stderr, "line_reader: %s\n", error.what());
  return 1;
}
