// What takes one call for a whole file, or for many pieces of one.

#include <aiofile/bulk.hpp>
#include <aiofile/copy_file.hpp>
#include <vector>

#include "common.hpp"

namespace bench {

namespace {

Task<> copy_whole(const Run& run, std::uint64_t& bytes) { bytes = co_await aiofile::copy_file(run.file, run.target); }

Task<> read_extents(const Run& run, AIOFile& file, const std::vector<aiofile::Extent>& extents) {
  const aiofile::ManyReads reads = co_await aiofile::read_many(file, extents);
  for (const std::string_view read : reads) Run::require(read.size() == run.block, "read_many");
}

}  // namespace

void copy_file(Run& run) {
  Context context(options());
  name_backend(run, context);
  std::filesystem::remove(run.target);
  std::uint64_t bytes = 0;
  run.measure([&] { context.run(copy_whole(run, bytes)); });
  run.operations = run.file_size / run.block;
  Run::require(bytes == run.file_size, "copy_file");
}

/// The blocks of random-read, by one call.
void read_many(Run& run) {
  Context context(options());
  name_backend(run, context);
  AIOFile file = open_file(context, run.file, "rb", run.direct);
  Offsets offsets(run.seed, run.file_size, run.block);
  std::vector<aiofile::Extent> extents(run.operations);
  for (aiofile::Extent& extent : extents) extent = {offsets.next(), run.block};
  run.measure([&] { context.run(read_extents(run, file, extents)); });
  context.run(close_file(file));
}

}  // namespace bench
