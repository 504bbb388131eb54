// Reads and writes of whole blocks at explicit offsets.

#include <span>

#include "common.hpp"

namespace bench {

namespace {

/// What the workers of a workload share.
struct Transfers {
  Run& run;
  AIOFile& file;
  Buffers& buffers;
  Offsets offsets;
  std::uint64_t begun = 0;

  [[nodiscard]] std::span<std::byte> buffer(std::size_t slot) const { return {buffers[slot], run.block}; }
  [[nodiscard]] bool more() const { return begun < run.operations; }
  std::uint64_t random_offset() {
    ++begun;
    return offsets.next();
  }
  std::uint64_t next_offset() { return begun++ * run.block; }
};

template <std::uint64_t (Transfers::*Offset)()>
Task<> read_blocks(Transfers& shared, std::size_t slot) {
  while (shared.more()) {
    Stopwatch watch(shared.run);
    const std::size_t count = co_await shared.file.read_into(shared.buffer(slot), (shared.*Offset)());
    watch.stop();
    Run::require(count == shared.run.block, "read_into");
  }
}

template <std::uint64_t (Transfers::*Offset)()>
Task<> write_blocks(Transfers& shared, std::size_t slot) {
  while (shared.more()) {
    Stopwatch watch(shared.run);
    const std::size_t count = co_await shared.file.write_bytes(shared.buffer(slot), (shared.*Offset)());
    watch.stop();
    Run::require(count == shared.run.block, "write_bytes");
  }
}

void transfer(Run& run, const char* mode, Task<> (*worker)(Transfers&, std::size_t)) {
  Context context(options());
  name_backend(run, context);
  Buffers buffers(run.depth, run.block);
  AIOFile file = open_file(context, run.file, mode, run.direct);
  Transfers shared{run, file, buffers, {run.seed, run.file_size, run.block}};
  run.measure([&] { context.run(in_parallel(run.depth, shared, worker)); });
  context.run(close_file(file));
}

Task<> read_by_reader(Run& run, AIOFile& file) {
  aiofile::Reader reader(file, 0, run.block);
  std::uint64_t bytes = 0;
  for (;;) {
    Stopwatch watch(run);
    const std::optional<std::string_view> chunk = co_await reader.next();
    watch.stop();
    if (!chunk) break;
    bytes += chunk->size();
  }
  Run::require(bytes == run.file_size, "Reader");
}

Task<> write_target(Run& run, Buffers& buffers) {
  AIOFile file = co_await AIOFile(run.target, "wb", {.flags = run.direct ? O_DIRECT : 0});
  Transfers shared{run, file, buffers, {run.seed, run.block, run.block}};
  co_await in_parallel(run.depth, shared, write_blocks<&Transfers::next_offset>);
  co_await file.close();
}

struct Copy {
  Run& run;
  AIOFile& from;
  AIOFile& to;
  Buffers& buffers;
  std::uint64_t begun = 0;
};

Task<> copy_blocks(Copy& shared, std::size_t slot) {
  const std::span<std::byte> buffer(shared.buffers[slot], shared.run.block);
  while (shared.begun < shared.run.operations) {
    const std::uint64_t offset = shared.begun++ * shared.run.block;
    const std::size_t count = co_await shared.from.read_into(buffer, offset);
    const std::size_t written = co_await shared.to.write_bytes(buffer.first(count), offset);
    Run::require(written == shared.run.block, "a copy");
  }
}

Task<> copy_by_blocks(Run& run, Buffers& buffers) {
  AIOFile from = co_await AIOFile(run.file, "rb");
  AIOFile to = co_await AIOFile(run.target, "wb");
  Copy shared{run, from, to, buffers};
  co_await in_parallel(run.depth, shared, copy_blocks);
  co_await to.close();
  co_await from.close();
}

struct SmallFiles {
  Run& run;
  Buffers& buffers;
  std::vector<std::filesystem::path> paths;  // made beforehand, as the other contenders' are; each is used up
  std::uint64_t begun = 0;
};

Task<> read_small_files(SmallFiles& shared, std::size_t slot) {
  const std::span<std::byte> buffer(shared.buffers[slot], shared.run.block);
  while (shared.begun < shared.run.operations) {
    std::filesystem::path& path = shared.paths[shared.begun++];
    Stopwatch watch(shared.run);
    AIOFile file = co_await AIOFile(std::move(path), "rb");
    const std::size_t count = co_await file.read_into(buffer);
    co_await file.close();
    watch.stop();
    Run::require(count > 0 && count < buffer.size(), "a small file");
  }
}

}  // namespace

void random_read(Run& run) { transfer(run, "rb", read_blocks<&Transfers::random_offset>); }
/// One at a time, whatever was asked for.
void random_read_one(Run& run) {
  run.depth = 1;
  random_read(run);
}
void random_write(Run& run) { transfer(run, "rb+", write_blocks<&Transfers::random_offset>); }

void sequential_read(Run& run) {
  run.operations = run.file_size / run.block;
  transfer(run, "rb", read_blocks<&Transfers::next_offset>);
}

/// By Reader, which reads ahead.
void sequential_read_reader(Run& run) {
  Context context(options());
  name_backend(run, context);
  AIOFile file = open_file(context, run.file, "rb", run.direct);
  run.operations = run.file_size / run.block;
  run.measure([&] { context.run(read_by_reader(run, file)); });
  context.run(close_file(file));
}

/// The file is made, written and closed within the time.
void sequential_write(Run& run) {
  Context context(options());
  name_backend(run, context);
  Buffers buffers(run.depth, run.block);
  std::filesystem::remove(run.target);
  run.measure([&] { context.run(write_target(run, buffers)); });
}

void copy(Run& run) {
  Context context(options());
  name_backend(run, context);
  Buffers buffers(run.depth, run.block);
  run.operations = run.file_size / run.block;
  std::filesystem::remove(run.target);
  run.measure([&] { context.run(copy_by_blocks(run, buffers)); });
}

void small_files(Run& run) {
  Context context(options());
  name_backend(run, context);
  Buffers buffers(run.depth, run.block);
  SmallFiles shared{run, buffers, {}};
  for (std::uint64_t i = 0; i < run.operations; ++i) shared.paths.push_back(run.target / std::to_string(i));
  run.measure([&] { context.run(in_parallel(run.depth, shared, read_small_files)); });
}

}  // namespace bench
