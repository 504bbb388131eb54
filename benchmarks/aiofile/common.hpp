#pragma once
// What the workloads of this library share. CAIO_IMPL chooses the backend; BENCH_SPECULATE=0 leaves the page cache to
// it.

#include <fcntl.h>

#include <aiofile/aiofile.hpp>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../support/bench.hpp"

namespace bench {

using aiofile::AIOFile;
using aiofile::Task;
using caio::Context;

inline caio::ContextOptions options() {
  caio::ContextOptions options;
  const char* const speculate = std::getenv("BENCH_SPECULATE");
  options.speculate = speculate == nullptr || std::string_view(speculate) != "0";
  return options;
}

inline void name_backend(Run& run, const Context& context) {
  run.backend = std::string(caio::name(context.implementation())) + (options().speculate ? "" : " without speculation");
}

inline Task<> open_into(std::optional<AIOFile>& file, std::filesystem::path path, const char* mode, bool direct) {
  file = co_await AIOFile(std::move(path), mode, {.flags = direct ? O_DIRECT : 0});
}

inline AIOFile open_file(Context& context, const std::filesystem::path& path, const char* mode, bool direct) {
  std::optional<AIOFile> file;
  context.run(open_into(file, path, mode, direct));
  return std::move(*file);
}

inline Task<> close_file(AIOFile& file) { co_await file.close(); }

/// Runs `worker(shared, slot)` in `depth` tasks at the same time.
template <class Shared>
Task<> in_parallel(std::size_t depth, Shared& shared, Task<> (*worker)(Shared&, std::size_t)) {
  std::vector<Task<>> workers;
  workers.reserve(depth);
  for (std::size_t slot = 0; slot < depth; ++slot) workers.push_back(worker(shared, slot));
  co_await caio::gather(std::move(workers));
}

void random_read(Run& run);
void random_read_one(Run& run);
void read_many(Run& run);
void random_write(Run& run);
void sequential_read(Run& run);
void sequential_read_reader(Run& run);
void sequential_write(Run& run);
void copy(Run& run);
void copy_file(Run& run);
void small_files(Run& run);

void lines_next(Run& run);
void lines_batch(Run& run);
void lines_readline(Run& run);
void lines_next_text(Run& run);
void lines_batch_text(Run& run);
void small_writes_writer(Run& run);
void small_writes_stream(Run& run);

void memory_streams(Run& run);
void memory_waiting(Run& run);
void ticker_writes(Run& run);
void ticker_read(Run& run);
void ticker_readers(Run& run);

void stat(Run& run);
void rename(Run& run);
void walk(Run& run);
void walk_paths(Run& run);

}  // namespace bench
