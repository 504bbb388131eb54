// Names: what is known of them, other ones, and trees of directories.

#include <aiofile/os.hpp>
#include <cstdint>
#include <utility>
#include <vector>

#include "common.hpp"

namespace bench {

namespace {

struct Paths {
  Run& run;
  std::vector<std::filesystem::path> paths;  // made beforehand, as the other contenders' are; each is used up
  std::uint64_t begun = 0;
};

Task<> ask(Paths& shared, std::size_t) {
  while (shared.begun < shared.run.operations) {
    std::filesystem::path& path = shared.paths[shared.begun++];
    Stopwatch watch(shared.run);
    const aiofile::os::Stat found = co_await aiofile::os::stat(std::move(path));
    watch.stop();
    Run::require(found.size > 0, "stat");
  }
}

Task<> rename_again(Run& run, std::vector<std::filesystem::path>& paths) {
  for (std::uint64_t i = 0; i < run.operations; ++i) {
    Stopwatch watch(run);
    co_await aiofile::os::rename(std::move(paths[2 * i]), std::move(paths[2 * i + 1]));
    watch.stop();
  }
}

Task<> count_entries(const Run& run, bool with_paths, std::uint64_t& count) {
  auto entries = aiofile::os::walk(run.target);
  while (const auto entry = co_await entries.next()) {
    Run::require(with_paths ? !entry->path().empty() : !entry->name().empty(), "a name");
    ++count;
  }
}

void walk(Run& run, bool with_paths) {
  Context context(options());
  name_backend(run, context);
  std::uint64_t count = 0;
  run.measure([&] { context.run(count_entries(run, with_paths, count)); });
  Run::require(count == run.operations, "as many entries as --operations");
}

}  // namespace

void stat(Run& run) {
  Context context(options());
  name_backend(run, context);
  Paths shared{run, {}};
  for (std::uint64_t i = 0; i < run.operations; ++i) shared.paths.push_back(run.target / std::to_string(i));
  run.measure([&] { context.run(in_parallel(run.depth, shared, ask)); });
}

void rename(Run& run) {
  Context context(options());
  name_backend(run, context);
  Run::require(run.operations % 2 == 0, "an even number: the target has its name again");
  context.run(aiofile::write_file(run.target, ""));
  const std::filesystem::path other = run.target.native() + ".renamed";
  std::vector<std::filesystem::path> paths;
  for (std::uint64_t i = 0; i < run.operations / 2; ++i)
    paths.insert(paths.end(), {run.target, other, other, run.target});
  run.measure([&] { context.run(rename_again(run, paths)); });
}

void walk(Run& run) { walk(run, false); }
void walk_paths(Run& run) { walk(run, true); }

}  // namespace bench
