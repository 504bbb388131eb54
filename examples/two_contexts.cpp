// Two contexts on one thread, driven together: one coroutine awaits files on both.
//   two_contexts [FILE [OTHER_FILE]]
#include <aiofile/aiofile.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>

aiofile::Task<> use_both(std::filesystem::path path, std::filesystem::path other_path, caio::Context& other) {
  aiofile::OpenOptions on_other;
  on_other.context = &other;
  aiofile::AIOFile file = co_await aiofile::AIOFile(std::move(path), "w+");
  aiofile::AIOFile other_file = co_await aiofile::AIOFile(std::move(other_path), "w+", on_other);
  std::cout << "on the same context: " << std::boolalpha << (&file.context() == &other_file.context()) << "\n";

  co_await aiofile::gather(file.write("Hello from the default context\n"),
                           other_file.write("Hello from the other context\n"));

  std::string text = co_await file.read();
  std::string other_text = co_await other_file.read();
  std::cout << text << other_text;

  // Each gets the other's text behind its own.
  const std::size_t end = text.size();
  const std::size_t other_end = other_text.size();
  co_await aiofile::gather(file.write(std::move(other_text), end), other_file.write(std::move(text), other_end));
  const auto [size, other_size] = co_await aiofile::gather(file.size(), other_file.size());
  std::cout << "sizes: " << size << ", " << other_size << "\n";

  co_await aiofile::gather(file.close(), other_file.close());
}

int main(int argc, char** argv) try {
  const std::filesystem::path path = argc > 1 ? argv[1] : "two_contexts.txt";
  const std::filesystem::path other_path = argc > 2 ? argv[2] : "two_contexts_other.txt";
  caio::Context other(caio::Implementation::thread, {.pool_size = 2});
  aiofile::run(use_both(path, other_path, other));
} catch (const std::exception& error) {
  std::fprintf(stderr, "two_contexts: %s\n", error.what());
  return 1;
}
