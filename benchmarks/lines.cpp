// Lines per second of a log, each way to read them against std::getline, in rounds that take turns; medians.
//   bench_lines FILE [ROUNDS]      a FILE that does not exist is made: 1 GiB of lines of about 80 bytes

#include <aiofile/aiofile.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Count {
  std::size_t lines = 0;
  std::size_t bytes = 0;
};

Count standard(const std::string& path) {
  Count count;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    ++count.lines;
    count.bytes += line.size() + 1;
  }
  return count;
}

aiofile::Task<Count> next(std::string path, std::string mode) {
  Count count;
  aiofile::AIOFile file = co_await aiofile::AIOFile(path, mode);
  aiofile::LineReader reader(file);
  while (const auto line = co_await reader.next()) {
    ++count.lines;
    count.bytes += line->size();
  }
  co_await file.close();
  co_return count;
}

aiofile::Task<Count> batches(std::string path, std::string mode) {
  Count count;
  aiofile::AIOFile file = co_await aiofile::AIOFile(path, mode);
  aiofile::LineReader reader(file);
  for (;;) {
    const auto lines = co_await reader.next_batch();
    if (lines.empty()) break;
    for (const std::string_view line : lines) {
      ++count.lines;
      count.bytes += line.size();
    }
  }
  co_await file.close();
  co_return count;
}

aiofile::Task<Count> stream_lines(std::string path, std::string mode) {
  Count count;
  aiofile::FileStream stream = co_await aiofile::async_open(path, mode);
  aiofile::LineReader lines = stream.lines();
  while (const auto line = co_await lines.next()) {
    ++count.lines;
    count.bytes += line->size();
  }
  co_await stream.close();
  co_return count;
}

aiofile::Task<Count> readline(std::string path, std::string mode) {
  Count count;
  aiofile::FileStream stream = co_await aiofile::async_open(path, mode);
  for (;;) {
    const std::string line = co_await stream.readline();
    if (line.empty()) break;
    ++count.lines;
    count.bytes += line.size();
  }
  co_await stream.close();
  co_return count;
}

struct Contender {
  std::string name;
  std::function<Count(const std::string&)> count;
  std::vector<double> seconds = {};
};

Contender both(const char* name, aiofile::Task<Count> (*way)(std::string, std::string), const char* mode) {
  return {std::string(name) + (mode[1] == 'b' ? ", binary" : ", text"),
          [=](const std::string& path) { return aiofile::run(way(path, mode)); }};
}

void make(const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  std::string line;
  unsigned long long number = 0;
  for (std::size_t size = 0; size < std::size_t{1} << 30; size += line.size()) {
    ++number;
    line = "2026-11-21T10:00:00.000Z host service[" + std::to_string(number) + "]: request served in 17 us";
    line += std::string(number * 7919 % 23, '.') + "\n";
    file << line;
  }
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void measure(const std::string& path, int rounds) {
  std::vector<Contender> contenders;
  contenders.push_back({"std::getline(std::ifstream)", standard});
  for (const char* const mode : {"r", "rb"}) {
    contenders.push_back(both("LineReader::next()", next, mode));
    contenders.push_back(both("LineReader::next_batch()", batches, mode));
    contenders.push_back(both("FileStream::lines()", stream_lines, mode));
    contenders.push_back(both("FileStream::readline()", readline, mode));
  }
  Count count;
  for (int round = 0; round < rounds; ++round) {
    for (Contender& contender : contenders) {
      const auto start = std::chrono::steady_clock::now();
      const Count found = contender.count(path);
      contender.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      if (count.lines != 0 && (found.lines != count.lines || found.bytes != count.bytes)) {
        throw std::runtime_error(contender.name + " has counted otherwise");
      }
      count = found;
    }
  }
  std::printf("%zu lines, %zu bytes, %s, median of %d\n", count.lines, count.bytes,
              std::string(caio::name(caio::preferred())).c_str(), rounds);
  const double reference = median(contenders.front().seconds);
  for (const Contender& contender : contenders) {
    const double seconds = median(contender.seconds);
    std::printf("%-36s %7.2f million lines/s %6.2f\n", contender.name.c_str(),
                static_cast<double>(count.lines) / seconds / 1e6, reference / seconds);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 2) throw std::invalid_argument("usage: bench_lines FILE [ROUNDS]");
    if (!std::filesystem::exists(argv[1])) make(argv[1]);
    measure(argv[1], argc > 2 ? std::atoi(argv[2]) : 5);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_lines: %s\n", error.what());
    return 1;
  }
}
