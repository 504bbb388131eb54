// No record acknowledged before its file system is cut off from its device (the shutdown ioctl, without a flush of the
// log) is lost when it is mounted again; and after every short sequence of changes that ends with a sync the file is
// what it was at that sync. --directory: where --image is mounted by a loop device.

#include <fcntl.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include "torture/record_writer.hpp"

namespace {

using torture::Care;
using torture::Way;

class ImageMount {
 public:
  ImageMount(std::filesystem::path image, std::filesystem::path where)
      : image_(std::move(image)), where_(std::move(where)) {}

  /// From now on nothing more reaches the device, not even the log.
  void cut() const {
    const int directory = ::open(where_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    std::uint32_t without_log_flush = 2;
    const int failed = ::ioctl(directory, _IOR('X', 125, std::uint32_t), &without_log_flush);
    ::close(directory);
    if (failed != 0) throw std::system_error(errno, std::system_category(), "shutdown");
  }
  /// What a boot after a power cut does.
  void mount_again() const {
    // A ring or a pool may hold the file for a moment after its close() has returned.
    for (int tries = 0; ::umount(where_.c_str()) != 0; ++tries) {
      if (errno != EBUSY || tries > 5000) throw std::system_error(errno, std::system_category(), "umount");
      ::usleep(1000);
    }
    run({"mount", "-o", "loop", image_, where_});
  }

 private:
  static void run(std::vector<std::string> command) {
    std::vector<char*> arguments;
    for (std::string& each : command) arguments.push_back(each.data());
    arguments.push_back(nullptr);
    ::pid_t pid = 0;
    int status = ::posix_spawnp(&pid, arguments[0], nullptr, nullptr, arguments.data(), ::environ);
    if (status == 0) ::waitpid(pid, &status, 0);
    if (status != 0) throw std::runtime_error(command[0] + " failed");
  }

  std::string image_;
  std::string where_;
};

void cut_once(torture::Program& program, const ImageMount& image, torture::Audit& audit, std::uint64_t round) {
  std::mt19937_64 random(program.seed * 7919 + round);
  const std::filesystem::path path = program.directory / "ledger";
  const Way way = torture::way_of(round);
  const Care care = program.control.empty() ? Care::sync : Care::only_flush;
  const std::string when = "cut " + std::to_string(round) + ", " + name(way);

  torture::WritingProcess writer(program, path, way, care, program.seed + round);
  if (!writer.await(static_cast<unsigned>(1 + random() % 24))) program.violation(when + ": the writer has ended");
  ::usleep(static_cast<::useconds_t>(random() % 3000));
  writer.drain();  // a sync that overlaps the cut may succeed and be lost: only what was acknowledged before it counts
  image.cut();
  writer.kill();
  image.mount_again();
  audit.check(path, writer.acknowledged(), when, all_or_none(way));
  std::filesystem::remove(path);
}

enum class Change : std::uint8_t { write, overwrite, append, truncate, rename, fsync, fdsync };
constexpr std::array<const char*, 7> change_names{"write",  "overwrite", "append", "truncate",
                                                  "rename", "fsync",     "fdsync"};
using Sequence = std::vector<Change>;

/// All sequences of one to `longest` changes.
std::vector<Sequence> sequences(std::size_t longest) {
  std::vector<Sequence> all;
  std::vector<Sequence> shorter{Sequence()};
  for (std::size_t length = 1; length <= longest; ++length) {
    std::vector<Sequence> current;
    for (const Sequence& start : shorter) {
      for (std::size_t change = 0; change < change_names.size(); ++change) {
        current.push_back(start);
        current.back().push_back(static_cast<Change>(change));
      }
    }
    all.insert(all.end(), current.begin(), current.end());
    shorter = std::move(current);
  }
  return all;
}

/// A file, and in memory what it has to be.
struct Subject {
  std::filesystem::path path;
  std::filesystem::path other_path;
  std::string model = std::string(10000, 'o');
  char letter = 'a';

  std::string fresh(std::size_t size) { return std::string(size, letter++); }
  void put(std::size_t offset, std::string_view bytes) {
    if (model.size() < offset + bytes.size()) model.resize(offset + bytes.size());
    model.replace(offset, bytes.size(), bytes);
  }
};

/// The operations of a positional file.
class Positional {
 public:
  explicit Positional(aiofile::AIOFile& file) : file_(file) {}
  aiofile::Task<> write(std::string_view bytes, std::uint64_t offset) { co_await file_.write(bytes, offset); }
  auto truncate(std::uint64_t length) { return file_.truncate(length); }
  auto fsync() { return file_.fsync(); }
  auto fdsync() { return file_.fdsync(); }

 private:
  aiofile::AIOFile& file_;
};

/// The same of a stream, whose writes are gathered.
class Gathering {
 public:
  explicit Gathering(aiofile::FileStream& stream) : stream_(stream) {}
  aiofile::Task<> write(std::string_view bytes, std::uint64_t offset) {
    stream_.seek(static_cast<std::int64_t>(offset));
    co_await stream_.write(bytes);
  }
  auto truncate(std::uint64_t length) { return stream_.truncate(length); }
  auto fsync() { return stream_.fsync(); }
  auto fdsync() { return stream_.fdsync(); }

 private:
  aiofile::FileStream& stream_;
};

template <class Handle>
aiofile::Task<> change(Handle handle, Subject& subject, Change what) {
  std::size_t offset = 0;
  std::string bytes;
  switch (what) {
    case Change::write:  // beyond the end: leaves a hole
      offset = subject.model.size() + 5000;
      bytes = subject.fresh(5000);
      break;
    case Change::overwrite:
      offset = 1000;
      bytes = subject.fresh(3000);
      break;
    case Change::append:
      offset = subject.model.size();
      bytes = subject.fresh(5000);
      break;
    case Change::truncate:
      subject.model.resize(subject.model.size() / 2);
      co_await handle.truncate(subject.model.size());
      co_return;
    case Change::rename: {
      std::swap(subject.path, subject.other_path);
      auto rename = [from = subject.other_path, to = subject.path] { std::filesystem::rename(from, to); };
      co_await caio::Context::current().offload(std::move(rename));
      co_return;
    }
    case Change::fsync: co_await handle.fsync(); co_return;
    case Change::fdsync: co_await handle.fdsync(); co_return;
  }
  subject.put(offset, bytes);
  co_await handle.write(bytes, offset);
}

/// The changes and the last sync, then the cut: at once, so that nothing else brings anything to the device.
template <class Handle>
aiofile::Task<> change_and_cut(Handle handle, Subject& subject, const Sequence& changes, bool synced,
                               const ImageMount& image) {
  co_await handle.write(subject.model, 0);
  co_await handle.fsync();
  co_await torture::sync_directory(subject.path.parent_path());
  for (const Change each : changes) co_await change(handle, subject, each);
  if (synced) {
    // What is written but not synced is lost: the last sync is either, in turns.
    if (changes.size() % 2 == 0) co_await handle.fsync();
    if (changes.size() % 2 != 0) co_await handle.fdsync();
  }
  image.cut();
}

aiofile::Task<> positional(Subject& subject, const Sequence& changes, bool synced, const ImageMount& image) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(subject.path, "wb");
  co_await change_and_cut(Positional(file), subject, changes, synced, image);
  co_await aiofile::as_result(file.close());
}

aiofile::Task<> gathering(Subject& subject, const Sequence& changes, bool synced, const ImageMount& image) {
  aiofile::OpenOptions options;
  options.buffering = 64 * 1024;
  aiofile::FileStream stream = co_await aiofile::async_open(subject.path, "wb", options);
  co_await change_and_cut(Gathering(stream), subject, changes, synced, image);
  co_await aiofile::as_result(stream.close());
}

/// Whether the file survived as it was at the sync. Its name may be the old one: only a sync of the directory makes
/// the new one durable.
bool survived(const Subject& subject) {
  const bool renamed = std::filesystem::exists(subject.path);
  if (renamed && std::filesystem::exists(subject.other_path)) return false;
  return torture::content_of(renamed ? subject.path : subject.other_path) == subject.model;
}

void try_sequence(torture::Program& program, const ImageMount& image, const Sequence& changes, bool gathered) {
  const bool synced = program.control.empty();
  Subject subject{program.directory / "one", program.directory / "other"};
  {
    caio::ContextOptions options;
    options.speculate = program.speculate;
    caio::Context context(program.implementation(), options);
    context.run(gathered ? gathering(subject, changes, synced, image) : positional(subject, changes, synced, image));
  }
  image.mount_again();
  if (!survived(subject)) {
    std::string description = gathered ? "stream:" : "positional:";
    for (const Change each : changes) description += std::string(" ") + change_names[static_cast<std::size_t>(each)];
    program.violation(description + ": not what it was at the last sync");
  }
  std::filesystem::remove(subject.path);
  std::filesystem::remove(subject.other_path);
}

}  // namespace

int main(int argc, char** argv) {
  torture::Program program("T4b", "Cuts a file system off its device", {"no-sync"});
  std::uint64_t rounds = 2;
  std::size_t longest = 0;
  std::filesystem::path image_path;
  program.app.add_option("--rounds", rounds, "Cuts during a ledger's writes")->capture_default_str();
  program.app.add_option("--sequences", longest, "Instead all sequences of up to so many changes");
  program.app.add_option("--image", image_path, "What is mounted at --directory")->required();
  program.parse(argc, argv);

  const ImageMount image(image_path, program.directory);
  if (longest > 0) {
    const std::vector<Sequence> all = sequences(longest);
    std::uint64_t index = program.seed;
    for (const Sequence& changes : all) try_sequence(program, image, changes, index++ % 2 == 0);
    program.figure("sequences", all.size());
    return program.finish();
  }
  torture::Audit audit(program);
  for (std::uint64_t round = 0; round < rounds; ++round) cut_once(program, image, audit, round);
  return audit.finish("cuts");
}
