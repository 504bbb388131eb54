// T1: random operations on a file by the library and on its twin by plain system calls. Counts, errors, bytes, sizes
// and positions are compared at every step, whole files after every episode. A limit on the size of files makes writes
// short.

#include <sys/resource.h>

#include <csignal>

#include "torture/twin_offsets.hpp"
#include "torture/twin_raw.hpp"
#include "torture/twin_stream.hpp"

namespace {

using aiofile::Task;
using differential::Episode;
using differential::World;

constexpr ::rlim_t largest_file = 512 * 1024 + 777;

/// Mixing O_DIRECT with what other ways have left in the page cache promises nothing (open(2)).
void forget_pages(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ::fdatasync(fd);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
}

std::unique_ptr<Episode> random_episode(World& world) {
  constexpr std::array<std::string_view, 10> modes{"r+", "r+b", "r+", "w+", "a+", "a+b", "r", "w", "a", "rb"};
  const std::string_view mode = modes[world.below(modes.size())];
  const std::size_t kind = world.below(8);
  world.situation = "mode " + std::string(mode);
  if (kind < 3) {
    const bool gathering = world.chance(2);
    const bool in_blocks = world.chance(4);
    world.situation += gathering ? ", stream with a buffer" : ", stream";
    world.situation += in_blocks ? ", O_DIRECT" : "";
    return std::make_unique<differential::Streamed>(world, mode, gathering ? 1 + world.below(20'000) : 0,
                                                    in_blocks ? O_DIRECT : 0);
  }
  const bool direct = world.chance(8);
  if (direct) {
    for (const auto* path : {&world.ours, &world.twin}) forget_pages(*path);
  }
  world.situation += direct ? ", O_DIRECT" : "";
  world.situation += kind < 6 ? ", AIOFile" : ", context";
  if (kind < 6) return std::make_unique<differential::Positional>(world, mode, direct ? O_DIRECT : 0);
  return std::make_unique<differential::Raw>(world, mode, direct ? O_DIRECT : 0);
}

Task<> episode(World& world) {
  for (const auto* path : {&world.ours, &world.twin}) std::ofstream(*path, std::ios::app);
  world.before = differential::content_of(world.ours);
  world.agree = true;
  ++world.episodes;
  {
    const std::unique_ptr<Episode> trying = random_episode(world);
    co_await trying->open();
    for (std::size_t steps = 20 + world.below(150); steps > 0 && world.agree; --steps) co_await trying->step();
    co_await trying->close();
  }
  if (world.agree && differential::content_of(world.ours) != differential::content_of(world.twin))
    world.differs("the files");
  // What differs stays so: both begin anew.
  if (!world.agree || world.chance(20)) {
    for (const auto* path : {&world.ours, &world.twin}) std::filesystem::remove(*path);
  }
}

Task<> all(World& world, std::uint64_t operations) {
  while (world.operations < operations && world.program.violations() < 10) co_await episode(world);
}

}  // namespace

int main(int argc, char** argv) {
  torture::Program program("T1", "Random operations by the library and by plain system calls, compared at every step",
                           {"short-write", "stale-read"});
  std::uint64_t operations = 20'000;
  program.app.add_option("--operations", operations, "How many")->capture_default_str();
  program.parse(argc, argv);

  ::signal(SIGXFSZ, SIG_IGN);
  ::rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const ::rlimit limit{largest_file, before.rlim_max};
  caio::ContextOptions options;
  options.speculate = program.speculate;
  caio::Context context(program.implementation(), options);
  World world(program, context);
  ::setrlimit(RLIMIT_FSIZE, &limit);
  context.run(all(world, operations));
  ::setrlimit(RLIMIT_FSIZE, &before);
  for (const auto* path : {&world.ours, &world.twin}) std::filesystem::remove(*path);

  program.figure("operations", world.operations);
  program.figure("episodes", world.episodes);
  program.figure("errors, the same", world.errors);
  program.figure("after a part", world.partial);
  program.figure("done in place", context.stats().speculated);
  return program.finish();
}
