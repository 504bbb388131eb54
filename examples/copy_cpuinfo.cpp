// Copies /proc/cpuinfo by lines: read on a context of its own, with a thread pool, and written on the default one.
//   copy_cpuinfo [TARGET [SOURCE]]
#include <aiofile/aiofile.hpp>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string_view>
#include <utility>

aiofile::Task<std::size_t> copy(std::filesystem::path source_path, std::filesystem::path target_path,
                                caio::Context& pool) {
  aiofile::OpenOptions on_pool;
  on_pool.context = &pool;
  aiofile::FileStream source = co_await aiofile::async_open(std::move(source_path), "r", on_pool);

  aiofile::OpenOptions buffered;
  buffered.buffering = std::size_t{16} * 1024;
  aiofile::FileStream target = co_await aiofile::async_open(std::move(target_path), "w", buffered);

  std::size_t count = 0;
  auto lines = source.lines();
  while (const std::optional<std::string_view> line = co_await lines.next()) {
    co_await target.write(*line);
    ++count;
  }
  co_await target.close();
  co_await source.close();
  co_return count;
}

int main(int argc, char** argv) try {
  const std::filesystem::path target = argc > 1 ? argv[1] : "cpuinfo.txt";
  const std::filesystem::path source = argc > 2 ? argv[2] : "/proc/cpuinfo";
  caio::Context pool(caio::Implementation::thread);
  const std::size_t count = aiofile::run(copy(source, target, pool));
  std::cout << count << " lines\n";
} catch (const std::exception& error) {
  std::fprintf(stderr, "copy_cpuinfo: %s\n", error.what());
  return 1;
}
