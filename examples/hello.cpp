// Writes a text file, goes back and reads it as a whole, then by lines.
//   hello [FILE]
#include <aiofile/aiofile.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>

aiofile::Task<> hello(std::filesystem::path path) {
  aiofile::FileStream stream = co_await aiofile::async_open(path, "w+");

  co_await stream.write("Hello ");
  co_await stream.write("world\n");
  stream.seek(0);
  const std::string text = co_await stream.read();
  std::cout << text;

  stream.seek(0);
  co_await stream.write("Hello from\nasync world\n");
  stream.seek(0);
  const std::string first = co_await stream.readline();
  const std::string second = co_await stream.readline();
  std::cout << first << second;

  co_await stream.close();
}

int main(int argc, char** argv) try {
  aiofile::run(hello(argc > 1 ? argv[1] : "hello.txt"));
} catch (const std::exception& error) {
  std::fprintf(stderr, "hello: %s\n", error.what());
  return 1;
}
