#pragma once
// What every contender shares: the command line, the clock, the counts, and one line of JSON about a run.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

/// How often this process has asked for memory: malloc and what stands on it, of all libraries.
std::uint64_t allocations() noexcept;

/// Nanoseconds of the steady clock.
std::uint64_t now() noexcept;

/// Percentiles of durations, by buckets of at most 1.6 % width; adding one costs a few nanoseconds and no memory.
class Latencies {
 public:
  void add(std::uint64_t nanoseconds) noexcept;
  [[nodiscard]] double percentile_us(double percent) const noexcept;
  [[nodiscard]] double maximum_us() const noexcept { return static_cast<double>(maximum_) / 1000; }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

 private:
  static constexpr unsigned sub_bits = 6;
  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>((64 - sub_bits + 1) << sub_bits);
  std::uint64_t count_ = 0;
  std::uint64_t maximum_ = 0;
};

/// Offsets of blocks, drawn at random, the same for a seed.
class Offsets {
 public:
  Offsets(std::uint64_t seed, std::uint64_t file_size, std::size_t block) noexcept
      : state_(seed * 0x9e3779b97f4a7c15 + 1), blocks_(file_size / block), block_(block) {}
  std::uint64_t next() noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint64_t>((static_cast<Wide>(state_) * blocks_) >> 64) * block_;
  }

 private:
  __extension__ using Wide = unsigned __int128;
  std::uint64_t state_;
  std::uint64_t blocks_;
  std::uint64_t block_;
};

/// Blocks of memory for transfers, aligned for O_DIRECT.
class Buffers {
 public:
  Buffers(std::size_t count, std::size_t size);
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  ~Buffers();
  [[nodiscard]] std::byte* operator[](std::size_t index) const noexcept { return memory_ + index * size_; }

 private:
  std::byte* memory_;
  std::size_t size_;
};

/// One run of one workload.
struct Run {
  // ---- asked for, on the command line
  std::string workload;
  std::filesystem::path file;    ///< to be read or overwritten; there already, of `file_size` bytes
  std::filesystem::path target;  ///< to be made, or a directory of small files
  std::size_t depth = 1;         ///< how many operations are under way at the same time
  std::size_t block = 4096;      ///< bytes of each
  std::uint64_t operations = 0;
  std::uint64_t seed = 1;
  bool direct = false;        ///< O_DIRECT
  bool with_latency = false;  ///< each operation is timed, which costs the short ones a tenth and more

  // ---- found
  std::string backend;  ///< what really did it
  std::uint64_t file_size = 0;
  Latencies latencies;

  /// Times the whole of `work`. Call it once.
  void measure(const std::function<void()>& work);
  /// A figure of the workload's own, for the report.
  void report(std::string name, double value) { figures_.emplace_back(std::move(name), value); }
  /// Ends the program unless the condition holds: a figure of wrong work is worth nothing.
  static void require(bool condition, std::string_view what);

  [[nodiscard]] std::string json(std::string_view contender) const;

 private:
  double seconds_ = 0;
  double cpu_seconds_ = 0;
  std::uint64_t allocations_ = 0;
  std::uint64_t switches_ = 0;
  std::size_t rings_ = 0;
  std::size_t threads_ = 0;
  std::vector<std::pair<std::string, double>> figures_;
};

/// Times an operation where the run asks for it.
class Stopwatch {
 public:
  explicit Stopwatch(Run& run) noexcept : run_(run), start_(run.with_latency ? now() : 0) {}
  void stop() noexcept {
    if (run_.with_latency) run_.latencies.add(now() - start_);
  }
  void restart() noexcept { start_ = run_.with_latency ? now() : 0; }

 private:
  Run& run_;
  std::uint64_t start_;
};

struct Entry {
  std::string_view workload;
  void (*function)(Run&);
};

/// The main() of a contender: runs the workload that the command line names. `--list` lists them.
int run_one(int argc, char** argv, std::string_view contender, const std::vector<Entry>& entries);

}  // namespace bench
