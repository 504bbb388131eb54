// No record that was acknowledged after a sync is lost or torn when its writer is killed at a random moment. The parts
// serve power cuts, too: --writer writes until the machine ends, --verify checks what is left.
//   TORTURE_TIER: the tier to report, by default T4a
#include "torture/record_writer.hpp"

namespace {

using torture::Care;
using torture::Way;

void kill_once(torture::Program& program, torture::Audit& audit, std::uint64_t round) {
  std::mt19937_64 random(program.seed * 7919 + round);
  // A kill loses nothing that the kernel has: the control acknowledges what is still gathered in the process.
  const bool broken = program.control == "no-flush";
  auto way = broken ? static_cast<Way>(1 + round % 3) : torture::way_of(round);
  if (program.control == "mix") way = Way::replacement;
  const std::filesystem::path path = program.directory / ("ledger-" + std::to_string(::getpid()));
  const std::string when = "kill " + std::to_string(round) + ", " + name(way);

  torture::WritingProcess writer(program, path, way, broken ? Care::nothing : Care::sync, program.seed + round);
  const bool wrote = writer.await(static_cast<unsigned>(1 + random() % 24));
  ::usleep(static_cast<::useconds_t>(random() % 3000));
  if (!writer.kill() || !wrote) program.violation(when + ": the writer ended by itself, or is stuck");
  writer.drain();
  if (program.control == "mix") std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  audit.check(path, writer.acknowledged(), when, all_or_none(way));
  std::filesystem::remove(path);
}

/// The last acknowledgement in a file of them; 0: none.
std::uint64_t last_acknowledged(const std::filesystem::path& path) {
  const std::string bytes = torture::content_of(path);
  const std::size_t whole = bytes.size() / sizeof(std::uint64_t) * sizeof(std::uint64_t);
  std::uint64_t count = 0;
  if (whole > 0) std::memcpy(&count, bytes.data() + whole - sizeof count, sizeof count);
  return count;
}

int write_until_the_end(const torture::Program& program, const std::filesystem::path& path,
                        const std::filesystem::path& acks) {
  const int descriptor = ::open(acks.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor < 0) return 2;
  const Way way = torture::way_of(program.seed);
  write_records(program, path, way, program.control.empty() ? Care::sync : Care::only_flush, program.seed, descriptor);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const char* const tier = std::getenv("TORTURE_TIER");
  torture::Program program(tier != nullptr ? tier : "T4a", "Kills a writer of records", {"no-flush", "no-sync", "mix"});
  std::uint64_t rounds = 20;
  std::filesystem::path writer;
  std::filesystem::path acks;
  std::filesystem::path verified;
  bool explain = false;
  program.app.add_option("--rounds", rounds, "Kills")->capture_default_str();
  program.app.add_option("--writer", writer, "Write records to this file for ever")
      ->needs(program.app.add_option("--acks", acks, "Acknowledge them at the end of this one"));
  program.app.add_option("--verify", verified, "Check SEED/records against SEED/acks in this directory");
  program.app.add_flag("--explain", explain, "Say what the backend found in this kernel");
  program.parse(argc, argv);

  if (explain) std::fputs(caio::Context(program.implementation()).explain().c_str(), stdout);
  if (!writer.empty()) return write_until_the_end(program, writer, acks);

  torture::Audit audit(program);
  if (!verified.empty()) {
    for (const auto& each : std::filesystem::directory_iterator(verified)) {
      const std::string seed = each.path().filename();
      audit.check(each.path() / "records", last_acknowledged(each.path() / "acks"), seed,
                  all_or_none(torture::way_of(std::stoull(seed))));
    }
    return audit.finish("cuts");
  }
  for (std::uint64_t round = 0; round < rounds; ++round) kill_once(program, audit, round);
  return audit.finish("kills");
}
