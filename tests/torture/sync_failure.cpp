// A file whose sync has failed stays failed: no later sync of it, its clones or streams succeeds, even when the device
// is well again; its close says so, and only opening it anew helps. --switch: the file that makes the device under
// --directory fail its writes while it exists.

#include <fcntl.h>
#include <unistd.h>

#include <aiofile/aiofile.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "torture/torture.hpp"

namespace {

/// Exists while the device fails.
class BrokenDevice {
 public:
  explicit BrokenDevice(std::filesystem::path path) : path_(std::move(path)) { std::ofstream{path_}; }
  BrokenDevice(const BrokenDevice&) = delete;
  BrokenDevice& operator=(const BrokenDevice&) = delete;
  ~BrokenDevice() { std::filesystem::remove(path_); }

 private:
  std::filesystem::path path_;
};

constexpr std::size_t size = 64 * 1024;

/// Tries ways in which a sync can fail, and what comes after it.
class SyncFailure {
 public:
  SyncFailure(torture::Program& program, std::filesystem::path broken)
      : program_(program), broken_(std::move(broken)), path_(program.directory / "subject") {}

  aiofile::Task<> round(std::uint64_t number) {
    new_ = std::string(size, static_cast<char>('a' + number % 26));
    co_await begin();
    switch (number % 5) {
      case 0: co_await file_fails(); break;
      case 1: co_await clone_fails(); break;
      case 2: co_await stream_fails(); break;
      case 3: co_await all_fail_together(); break;
      case 4: co_await abandoned(); break;
    }
    co_await opened_anew();
  }

  void report() const {
    program_.figure("syncs that had to fail", failures_);
    program_.figure("abandoned without harm", unharmed_);
  }

 private:
  /// A file with its blocks in place: then nothing but its data has to be written.
  aiofile::Task<> begin() {
    aiofile::AIOFile file = co_await aiofile::AIOFile(path_, "wb");
    co_await file.write(std::string(size, 'o'));
    co_await file.fsync();
    co_await file.close();
  }

  template <class Operation>
  aiofile::Task<> fails(Operation operation, const char* what) {
    const auto result = co_await aiofile::as_result(std::move(operation));
    ++failures_;
    if (result) program_.violation(std::string(what) + " succeeded");
    if (!result && result.error().value() != EIO)
      program_.violation(std::string(what) + ": " + result.error().message());
  }

  /// Whether all ways to sync this one fail.
  aiofile::Task<> stays_failed(aiofile::AIOFile& file, const char* whose) {
    co_await fails(file.fsync(), whose);
    co_await fails(file.fdsync(), whose);
    co_await file.write(new_);
    co_await fails(file.fdsync(), whose);
    aiofile::FileStream stream(file.clone(), size);
    co_await stream.write("gathered");
    co_await fails(stream.fdsync(), whose);
    co_await fails(stream.fsync(), whose);
    co_await fails(stream.close(), whose);
  }

  aiofile::Task<> file_fails() {
    aiofile::AIOFile file = co_await aiofile::AIOFile(path_, "r+b");
    aiofile::AIOFile clone = file.clone();
    co_await file.write(new_);
    {
      const BrokenDevice broken(broken_);
      co_await fails(file.fsync(), "fsync on a broken device");
      co_await fails(file.fsync(), "fsync on a broken device, again");
    }
    co_await stays_failed(file, "a later sync");
    co_await stays_failed(clone, "a later sync of a clone");
    co_await fails(clone.close(), "close of the clone");
    co_await fails(file.close(), "close");
  }

  aiofile::Task<> clone_fails() {
    aiofile::AIOFile file = co_await aiofile::AIOFile(path_, "r+b");
    aiofile::AIOFile clone = file.clone();
    co_await file.write(new_);
    {
      const BrokenDevice broken(broken_);
      co_await fails(clone.fdsync(), "fdsync of a clone on a broken device");
    }
    co_await stays_failed(file, "a later sync of the origin");
    co_await fails(file.close(), "close of the origin");
    co_await stays_failed(clone, "a later sync of the clone");
    co_await fails(clone.close(), "close of the clone");
  }

  aiofile::Task<> stream_fails() {
    aiofile::OpenOptions options;
    options.buffering = 2 * size;
    aiofile::FileStream stream = co_await aiofile::async_open(path_, "r+b", options);
    co_await stream.write(std::string_view(new_));
    {
      const BrokenDevice broken(broken_);
      co_await fails(stream.fsync(), "a stream's fsync on a broken device");
    }
    aiofile::FileStream clone = stream.clone();
    co_await fails(stream.fdsync(), "a stream's later fdsync");
    co_await stays_failed(stream.file(), "a later sync of the stream's file");
    co_await fails(clone.fsync(), "a later fsync of the stream's clone");
    co_await fails(clone.close(), "close of the stream's clone");
    co_await fails(stream.close(), "the stream's close");
  }

  aiofile::Task<> all_fail_together() {
    aiofile::AIOFile file = co_await aiofile::AIOFile(path_, "r+b");
    {
      const BrokenDevice broken(broken_);
      // Started while the write is in flight: all of them cover it.
      co_await aiofile::gather(file.write(new_), fails(file.fsync(), "the first of three"),
                               fails(file.fdsync(), "the second of three"), fails(file.fsync(), "the third of three"));
    }
    co_await stays_failed(file, "a later sync");
    co_await fails(file.close(), "close");
  }

  /// Nobody hears of the failure, if it comes to one: then the data has to reach the device later, or a sync fails.
  aiofile::Task<> abandoned() {
    aiofile::AIOFile file = co_await aiofile::AIOFile(path_, "r+b");
    co_await file.write(new_);
    {
      const BrokenDevice broken(broken_);
      aiofile::TaskGroup group;
      group.spawn(sync(file));
      co_await file.context().schedule();
    }
    const auto result = co_await aiofile::as_result(file.fsync());
    if (result) {
      ++unharmed_;
      check_device(new_, "a sync succeeded after an abandoned one, without the data");
    }
    const auto closed = co_await aiofile::as_result(file.close());
    if (static_cast<bool>(result) != static_cast<bool>(closed)) program_.violation("close differs from the sync");
  }
  static aiofile::Task<> sync(aiofile::AIOFile& file) { co_await file.fsync(); }

  aiofile::Task<> opened_anew() {
    aiofile::AIOFile file = co_await aiofile::AIOFile(path_, "r+b");
    const std::string last(size, 'z');
    co_await file.write(last);
    co_await file.fsync();
    co_await file.close();
    check_device(last, "opened anew, a sync succeeded without the data");
  }

  /// Compares with what the device has, not the page cache.
  void check_device(const std::string& expected, const char* what) {
    const int descriptor = ::open(path_.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    void* memory = nullptr;
    if (descriptor < 0 || ::posix_memalign(&memory, 4096, size) != 0) throw std::runtime_error("open O_DIRECT");
    const ::ssize_t count = ::pread(descriptor, memory, size, 0);
    const bool same = count == size && std::string_view(static_cast<char*>(memory), size) == expected;
    std::free(memory);
    ::close(descriptor);
    if (!same) program_.violation(what);
  }

  torture::Program& program_;
  const std::filesystem::path broken_;
  const std::filesystem::path path_;
  std::string new_;
  std::uint64_t failures_ = 0;
  std::uint64_t unharmed_ = 0;
};

/// The control: what the kernel says by itself, a success after the failure.
void plain_round(torture::Program& program, const std::filesystem::path& broken_path) {
  const std::filesystem::path path = program.directory / "plain";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  const std::string data(size, 'p');
  bool wrote = ::pwrite(descriptor, data.data(), size, 0) == size && ::fsync(descriptor) == 0;
  wrote = wrote && ::pwrite(descriptor, data.data(), size, 0) == size;
  if (!wrote) throw std::runtime_error("the plain file");
  bool failed = false;
  {
    const BrokenDevice broken(broken_path);
    failed = ::fsync(descriptor) != 0;
    ::fsync(descriptor);  // the loop device's own flush may report it once more
  }
  if (failed && ::fsync(descriptor) == 0) program.violation("a plain fsync succeeded after one had failed");
  ::close(descriptor);
}

}  // namespace

int main(int argc, char** argv) {
  torture::Program program("T4d", "Fails syncs", {"plain"});
  std::uint64_t rounds = 5;
  std::filesystem::path broken;
  program.app.add_option("--rounds", rounds, "Failures")->capture_default_str();
  program.app.add_option("--switch", broken, "Exists while the device fails")->required();
  program.parse(argc, argv);
  program.figure("rounds", rounds);

  if (!program.control.empty()) {
    for (std::uint64_t round = 0; round < rounds; ++round) plain_round(program, broken);
    return program.finish();
  }
  SyncFailure subject(program, broken);
  caio::ContextOptions options;
  options.speculate = program.speculate;
  caio::Context context(program.implementation(), options);
  for (std::uint64_t round = 0; round < rounds; ++round) context.run(subject.round(round));
  subject.report();
  return program.finish();
}
