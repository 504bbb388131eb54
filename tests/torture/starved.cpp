// T7: one restriction a row, put on a child process. There, with CAIO_IMPL unset, some backend has to serve all kinds
// of operations, or (rows that take away descriptors or memory) to fail with a clear error: no crash, no hang, no wrong
// byte.

#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <sstream>

#include "torture/starved_rows.hpp"
#include "torture/torture.hpp"

namespace {

using starvation::check;
using starvation::Report;
using starvation::Row;

/// In the child. What it was denied it may say; everything else breaks a promise.
void live(const Row& row, Report& report) {
  try {
    caio::detail::Probes::forget();  // this process is a copy of one that has asked
    row.body(report);
    return;
  } catch (const std::system_error& error) {
    report.error = error.code().value();
    Report::say(report.refused, sizeof report.refused, error.what());
  } catch (const std::bad_alloc& error) {
    report.error = ENOMEM;
    Report::say(report.refused, sizeof report.refused, error.what());
  } catch (const std::exception& error) {
    return report.breaks(error.what());
  }
  if (std::find(row.errors.begin(), row.errors.end(), report.error) == row.errors.end()) report.breaks(report.refused);
}

int run_in_child(const Row& row, Report& report, const std::filesystem::path& directory, unsigned seconds) {
  const ::pid_t child = ::fork();
  check(child, "fork");
  if (child == 0) {
    ::alarm(seconds);
    const ::rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    std::filesystem::current_path(directory);
    live(row, report);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

void judge(const Row& row, const Report& report, int status, torture::Program& program) {
  std::fprintf(stderr, "%s: served by %s%s%s\n%s", row.name.c_str(), report.served[0] != 0 ? report.served : "none",
               report.refused[0] != 0 ? "; refused: " : "", report.refused, report.reasons);
  if (WIFSIGNALED(status)) {
    const bool late = WTERMSIG(status) == SIGALRM;
    program.violation(row.name + (late ? ": hangs" : ": killed by signal " + std::to_string(WTERMSIG(status))));
  }
  if (report.broken[0] != 0) program.violation(row.name + ": " + report.broken);
  std::istringstream words(row.allowed);
  bool expected = report.served[0] == 0 && !row.errors.empty();
  for (std::string word; words >> word;) expected = expected || word == report.served;
  if (!expected) program.violation(row.name + ": served by " + report.served + ", not " + row.allowed);
  program.figure("refused with", report.error);
  if (report.done > 0) program.figure("operations", report.done);
}

}  // namespace

int main(int argc, char** argv) {
  torture::Program program("T7", "All kinds of operations in a process that lacks something", {"strict"});
  std::string name = "nothing";
  bool list = false;
  unsigned seconds = 20;
  program.app.add_option("--row", name, "What it lacks")->capture_default_str();
  program.app.add_flag("--list", list, "The names of the rows");
  program.app.add_option("--limit", seconds, "Seconds until it hangs")->capture_default_str();
  for (const char* variable : {"CAIO_IMPL", "CAIO_STRICT"}) ::unsetenv(variable);
  program.parse(argc, argv);

  std::vector<Row> all = starvation::rows();
  if (list) {
    for (const Row& row : all) std::printf("%s\n", row.name.c_str());
    return 0;
  }
  if (!program.control.empty()) {
    name = "setup-EPERM";
    ::setenv("CAIO_IMPL", "uring", 1);
    ::setenv("CAIO_STRICT", "1", 1);
  }
  const auto row = std::find_if(all.begin(), all.end(), [&](const Row& each) { return each.name == name; });
  if (row == all.end()) {
    std::fprintf(stderr, "no such row: %s\n", name.c_str());
    return 2;
  }
  if (program.implementation() != caio::Implementation::uring) program.skip("io_uring is missing here anyway");
  const bool nobody = name.starts_with("memlock") || name.starts_with("no-threads");
  if (nobody && ::geteuid() != 0) program.skip(name + ": only root becomes nobody");
  const bool grouped = name == "memory-group";
  if (grouped) {
    std::error_code error;
    std::filesystem::create_directory(starvation::memory_group(), error);
    if (error) program.skip(name + ": no memory cgroup (v1): " + error.message());
    std::ofstream(starvation::memory_group() / "memory.limit_in_bytes") << (6 << 20) << std::flush;
  }

  void* const shared = ::mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Report& report = *new (shared) Report{};
  const auto directory = program.directory / ("starved-" + std::to_string(::getpid()));
  std::filesystem::create_directory(directory);
  std::filesystem::permissions(directory, std::filesystem::perms::all);
  int status = 0;
  {
    const std::unique_ptr<starvation::AllAioContexts> exhausted =
        name == "aio-max-nr" ? std::make_unique<starvation::AllAioContexts>() : nullptr;
    status = run_in_child(*row, report, directory, seconds);
  }
  std::filesystem::remove_all(directory);
  if (grouped) ::rmdir(starvation::memory_group().c_str());
  program.backend = report.served[0] != 0 ? report.served : "none";
  judge(*row, report, status, program);
  return program.finish();
}
