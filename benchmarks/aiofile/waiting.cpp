// What many open streams and waiting operations cost, and how late a ticker gets beside other work.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <span>

#include "common.hpp"

namespace bench {

namespace {

double resident_bytes() {
  std::ifstream status("/proc/self/statm");
  double pages = 0;
  status >> pages >> pages;
  return pages * 4096;
}

Task<> hold_streams(Run& run) {
  const auto each = static_cast<double>(run.operations);
  std::vector<aiofile::FileStream> streams;
  streams.reserve(run.operations);
  const double before = resident_bytes();
  for (std::uint64_t i = 0; i < run.operations; ++i) streams.push_back(co_await aiofile::async_open(run.file, "rb"));
  run.report("bytes_each", (resident_bytes() - before) / each);
  for (aiofile::FileStream& stream : streams) {
    const std::string line = co_await stream.readline();
    Run::require(!line.empty(), "readline");
  }
  run.report("bytes_each_read", (resident_bytes() - before) / each);
  for (aiofile::FileStream& stream : streams) co_await stream.close();
}

struct Waiters {
  AIOFile& pipe;
  std::uint64_t served = 0;
};

Task<> wait_for_a_byte(Waiters& shared, std::size_t) {
  std::byte byte{};
  shared.served += co_await shared.pipe.read_into(std::span(&byte, 1));
}

Task<> serve(Run& run, AIOFile& pipe, double before) {
  run.report("bytes_each", (resident_bytes() - before) / static_cast<double>(run.operations));
  co_await pipe.write(std::string(run.operations, 'x'));
}

Task<> hold_waiters(Run& run, Context& context, AIOFile& reader, AIOFile& writer) {
  Waiters shared{reader};
  const double before = resident_bytes();
  context.spawn(serve(run, writer, before));  // its turn comes when all wait
  co_await in_parallel(run.operations, shared, wait_for_a_byte);
  Run::require(shared.served == run.operations, "the pipe");
}

// A ticker of 1 ms.

Task<> tick(Run& run, Context& context, const bool& done) {
  using Clock = std::chrono::steady_clock;
  auto due = Clock::now();
  while (!done) {
    due = std::max(due + std::chrono::milliseconds(1), Clock::now());
    co_await context.sleep_until(due);
    const auto late = std::chrono::nanoseconds(Clock::now() - due).count();
    run.latencies.add(static_cast<std::uint64_t>(std::max<std::int64_t>(0, late)));
  }
}

/// What runs beside the ticker. What is in `kept` goes when the ticker has ended: freeing a GiB takes a thread 60 ms.
using Load = Task<> (*)(Run&, std::string& kept);

Task<> load_until_done(Run& run, Load load, std::string& kept, bool& done) {
  co_await load(run, kept);
  done = true;
}

Task<> beside_ticker(Run& run, Context& context, Load load) {
  bool done = false;
  std::string kept;
  std::vector<Task<>> tasks;
  tasks.push_back(tick(run, context, done));
  tasks.push_back(load_until_done(run, load, kept, done));
  co_await caio::gather(std::move(tasks));
}

void measure_ticker(Run& run, Load load) {
  Context context(options());
  name_backend(run, context);
  run.measure([&] { context.run(beside_ticker(run, context, load)); });
}

Task<> write_blocks(Run& run, std::string&) {
  AIOFile file = co_await AIOFile(run.target, "wb");
  const std::vector<std::byte> bytes(run.block, std::byte{'x'});
  for (std::uint64_t i = 0; i < run.operations; ++i) co_await file.write_bytes(bytes, i * run.block);
  co_await file.close();
}

Task<> read_all(Run& run, std::string& kept) {
  AIOFile file = co_await AIOFile(run.file, "rb");
  kept = co_await file.read();
  Run::require(kept.size() == run.file_size, "read");
  co_await file.close();
}

struct Readers {
  Run& run;
  AIOFile& file;
};

Task<> read_in_blocks(Readers& shared, std::size_t) {
  std::vector<std::byte> buffer(shared.run.block);
  for (std::uint64_t offset = 0; offset + buffer.size() <= shared.run.file_size; offset += buffer.size()) {
    const std::size_t count = co_await shared.file.read_into(buffer, offset);
    Run::require(count == buffer.size(), "read_into");
  }
}

Task<> read_by_many(Run& run, std::string&) {
  AIOFile file = co_await AIOFile(run.file, "rb");
  Readers shared{run, file};
  co_await in_parallel(run.depth, shared, read_in_blocks);
  co_await file.close();
}

}  // namespace

/// Memory of `operations` open streams, and after each has read a line.
void memory_streams(Run& run) {
  ::rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  Context context(options());
  name_backend(run, context);
  run.measure([&] { context.run(hold_streams(run)); });
}

/// Memory of `operations` tasks that wait for a pipe.
void memory_waiting(Run& run) {
  Context context(options());
  name_backend(run, context);
  int ends[2];
  Run::require(::pipe2(ends, O_CLOEXEC) == 0, "pipe2");
  AIOFile reader = AIOFile::from_fd(ends[0], "rb", {.context = &context});
  AIOFile writer = AIOFile::from_fd(ends[1], "wb", {.context = &context});
  run.measure([&] { context.run(hold_waiters(run, context, reader, writer)); });
  ::close(ends[0]);
  ::close(ends[1]);
}

/// Beside `operations` writes of `block` bytes.
void ticker_writes(Run& run) {
  std::filesystem::remove(run.target);
  measure_ticker(run, write_blocks);
}

/// Beside a read of the whole file at once, cached or not.
void ticker_read(Run& run) { measure_ticker(run, read_all); }

/// Beside `depth` readers of the whole file in blocks.
void ticker_readers(Run& run) { measure_ticker(run, read_by_many); }

}  // namespace bench
