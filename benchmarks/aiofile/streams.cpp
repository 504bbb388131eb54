// Lines, and many small writes.

#include <fstream>
#include <span>

#include "common.hpp"

namespace bench {

namespace {

struct Lines {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;

  void add(std::string_view line) noexcept {
    ++count;
    bytes += line.size();
  }
};

/// A function of its own, so that the sums stay in registers.
Lines added(Lines lines, std::span<const std::string_view> batch) noexcept {
  for (const std::string_view line : batch) lines.add(line);
  return lines;
}

bool ends_with_newline(const Run& run) {
  std::ifstream file(run.file, std::ios::binary);
  return run.file_size > 0 && file.seekg(-1, std::ios::end).get() == '\n';
}

void read_lines(Run& run, const char* mode, Task<> (*reading)(AIOFile&, Lines&)) {
  Context context(options());
  name_backend(run, context);
  AIOFile file = open_file(context, run.file, mode, false);
  Lines lines;
  run.measure([&] { context.run(reading(file, lines)); });
  Run::require(lines.bytes == run.file_size, "the sum of the lines");
  run.operations = lines.count;
  // The others' lines are without their separators.
  run.report("line_bytes", static_cast<double>(lines.bytes - lines.count + (ends_with_newline(run) ? 0 : 1)));
  context.run(close_file(file));
}

Task<> by_next(AIOFile& file, Lines& lines) {
  aiofile::LineReader reader(file);
  Lines found;  // a local: lines.count would be written to memory for each
  while (const auto line = co_await reader.next()) found.add(*line);
  lines = found;
}

Task<> by_batch(AIOFile& file, Lines& lines) {
  aiofile::LineReader reader(file);
  Lines found;
  for (;;) {
    const auto batch = co_await reader.next_batch();
    if (batch.empty()) break;
    found = added(found, batch);
  }
  lines = found;
}

Task<> by_readline(AIOFile& file, Lines& lines) {
  aiofile::LineReader reader(file);
  Lines found;
  for (;;) {
    const std::string line = co_await reader.readline();
    if (line.empty()) break;
    found.add(line);
  }
  lines = found;
}

Task<> write_by_writer(Run& run, const std::string& record) {
  AIOFile file = co_await AIOFile(run.target, "wb");
  aiofile::Writer write(file, 0, 64 * 1024);
  for (std::uint64_t i = 0; i < run.operations; ++i) co_await write(record);
  co_await write.flush();
  co_await file.close();
}

Task<> write_by_stream(Run& run, const std::string& record) {
  aiofile::FileStream file = co_await aiofile::async_open(run.target, "wb", {.buffering = 64 * 1024});
  for (std::uint64_t i = 0; i < run.operations; ++i) co_await file.write(record);
  co_await file.close();
}

void write_records(Run& run, Task<> (*writing)(Run&, const std::string&)) {
  Context context(options());
  name_backend(run, context);
  const std::string record(run.block, 'x');
  std::filesystem::remove(run.target);
  run.measure([&] { context.run(writing(run, record)); });
  Run::require(std::filesystem::file_size(run.target) == run.operations * run.block, "the file's size");
}

}  // namespace

void lines_next(Run& run) { read_lines(run, "rb", by_next); }
void lines_batch(Run& run) { read_lines(run, "rb", by_batch); }
void lines_readline(Run& run) { read_lines(run, "rb", by_readline); }
void lines_next_text(Run& run) { read_lines(run, "r", by_next); }
void lines_batch_text(Run& run) { read_lines(run, "r", by_batch); }
void small_writes_writer(Run& run) { write_records(run, write_by_writer); }
void small_writes_stream(Run& run) { write_records(run, write_by_stream); }

}  // namespace bench
