#include "bench.hpp"

#include <sys/resource.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <sstream>

namespace bench {

std::uint64_t now() noexcept {
  return static_cast<std::uint64_t>(
      std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
}

void Latencies::add(std::uint64_t nanoseconds) noexcept {
  const unsigned width = static_cast<unsigned>(std::bit_width(nanoseconds >> sub_bits));
  counts_[(std::size_t{width} << sub_bits) + ((nanoseconds >> (width > 0 ? width - 1 : 0)) & ((1U << sub_bits) - 1))]++;
  ++count_;
  maximum_ = std::max(maximum_, nanoseconds);
}

double Latencies::percentile_us(double percent) const noexcept {
  const auto wanted = static_cast<std::uint64_t>(static_cast<double>(count_) * percent / 100);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen <= wanted && seen < count_) continue;
    const std::size_t width = i >> sub_bits;
    const std::uint64_t low = i & ((1U << sub_bits) - 1);
    return static_cast<double>(width == 0 ? low : (low | (1U << sub_bits)) << (width - 1)) / 1000;
  }
  return 0;
}

Buffers::Buffers(std::size_t count, std::size_t size)
    : memory_(static_cast<std::byte*>(::operator new (count* size, std::align_val_t{4096}))), size_(size) {
  std::fill_n(memory_, count * size, std::byte{'x'});  // touched: no page fault is timed
}

Buffers::~Buffers() { ::operator delete (memory_, std::align_val_t{4096}); }

namespace {

double seconds(const ::timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

std::size_t count_rings() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry, gone) == "anon_inode:[io_uring]") ++count;
  }
  return count;
}

std::size_t count_threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

}  // namespace

void Run::measure(const std::function<void()>& work) {
  ::rusage before{};
  ::rusage after{};
  ::getrusage(RUSAGE_SELF, &before);
  const std::uint64_t allocated = bench::allocations();
  const std::uint64_t start = now();
  work();
  seconds_ = static_cast<double>(now() - start) / 1e9;
  allocations_ = bench::allocations() - allocated;
  ::getrusage(RUSAGE_SELF, &after);
  cpu_seconds_ =
      seconds(after.ru_utime) + seconds(after.ru_stime) - seconds(before.ru_utime) - seconds(before.ru_stime);
  switches_ = static_cast<std::uint64_t>(after.ru_nvcsw - before.ru_nvcsw);
  rings_ = count_rings();
  threads_ = count_threads();
}

void Run::require(bool condition, std::string_view what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %.*s\n", static_cast<int>(what.size()), what.data());
  std::exit(1);
}

std::string Run::json(std::string_view contender) const {
  std::ostringstream out;
  const auto per_operation = [this](double value) {
    return operations > 0 ? value / static_cast<double>(operations) : 0;
  };
  out << "{\"contender\": \"" << contender << "\", \"backend\": \"" << backend << "\", \"workload\": \"" << workload
      << "\", \"depth\": " << depth << ", \"block\": " << block << ", \"direct\": " << (direct ? "true" : "false")
      << ", \"operations\": " << operations << ", \"seconds\": " << seconds_
      << ", \"cpu_us\": " << per_operation(cpu_seconds_ * 1e6)
      << ", \"allocations\": " << per_operation(static_cast<double>(allocations_))
      << ", \"switches\": " << per_operation(static_cast<double>(switches_)) << ", \"rings\": " << rings_
      << ", \"threads\": " << threads_;
  if (latencies.count() > 0) {
    out << ", \"p50_us\": " << latencies.percentile_us(50) << ", \"p99_us\": " << latencies.percentile_us(99)
        << ", \"max_us\": " << latencies.maximum_us();
  }
  out.precision(15);  // of figures that count bytes, each digit matters
  for (const auto& [name, value] : figures_) out << ", \"" << name << "\": " << value;
  out << "}";
  return out.str();
}

int run_one(int argc, char** argv, std::string_view contender, const std::vector<Entry>& entries) {
  Run run;
  bool list = false;
  CLI::App app{"One contender of the benchmarks: runs one workload and prints a line of JSON."};
  app.add_option("workload", run.workload);
  app.add_flag("--list", list, "the workloads that this contender knows");
  app.add_option("--file", run.file, "the file to read or overwrite");
  app.add_option("--target", run.target, "the file to make, or a directory of small files");
  app.add_option("--depth", run.depth, "operations at the same time")->check(CLI::PositiveNumber);
  app.add_option("--block", run.block, "bytes of each operation")->check(CLI::PositiveNumber);
  app.add_option("--operations", run.operations);
  app.add_option("--seed", run.seed);
  app.add_flag("--direct", run.direct, "O_DIRECT");
  app.add_flag("--latency", run.with_latency, "time each operation");
  CLI11_PARSE(app, argc, argv);
  if (list) {
    for (const Entry& entry : entries)
      std::printf("%.*s\n", static_cast<int>(entry.workload.size()), entry.workload.data());
    return 0;
  }
  const auto entry = std::ranges::find(entries, run.workload, &Entry::workload);
  if (entry == entries.end()) {
    std::fprintf(stderr, "%s: no such workload\n", run.workload.c_str());
    return 2;
  }
  try {
    if (!run.file.empty() && std::filesystem::is_regular_file(run.file))
      run.file_size = std::filesystem::file_size(run.file);
    entry->function(run);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", run.workload.c_str(), error.what());
    return 1;
  }
  std::puts(run.json(contender).c_str());
  return 0;
}

}  // namespace bench
