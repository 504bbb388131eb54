// Copies files, like cp(1). A SOURCE `-` is standard input; TARGET may be a directory; N may end in K or M.
//   cp [--chunk-size N] SOURCE... TARGET
#include <fcntl.h>
#include <getopt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/aiofile.hpp>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using aiofile::AIOFile;
using aiofile::FileError;
using aiofile::FileStream;
using aiofile::Task;

/// What is not copied although no system call has failed.
class Refusal : public std::runtime_error {
 public:
  using runtime_error::runtime_error;
};

/// A bar on stderr, where that is a terminal.
class Progress {
 public:
  explicit Progress(std::string name) : name_(std::move(name)) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (shown_) std::fputc('\n', stderr);
  }

  /// `total` 0: unknown.
  void show(std::uint64_t done, std::uint64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || (done != total && now - shown_at_ < std::chrono::milliseconds(100))) return;
    shown_ = true;
    shown_at_ = now;
    const double mebibytes = static_cast<double>(done) / (1024 * 1024);
    if (total == 0) {
      std::fprintf(stderr, "\r%8.1f MiB  %s", mebibytes, name_.c_str());
    } else {
      const double share = static_cast<double>(done) / static_cast<double>(total);
      const std::string bar(static_cast<std::size_t>(share * 30), '#');
      std::fprintf(stderr, "\r[%-30s] %3.0f%% %8.1f MiB  %s", bar.c_str(), share * 100, mebibytes, name_.c_str());
    }
  }

 private:
  std::string name_;
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  std::chrono::steady_clock::time_point shown_at_;
};

struct ::stat status_of(int fd, const std::filesystem::path& path) {
  struct ::stat status;
  if (::fstat(fd, &status) != 0) throw FileError("fstat", path, errno);
  return status;
}

/// Which file it is, whatever its name.
using Identity = std::pair<::dev_t, ::ino_t>;
Identity identity(const struct ::stat& status) { return {status.st_dev, status.st_ino}; }

/// A pipe, a terminal, a device ...: it has no size and no place, and is not replaced.
bool is_special(const std::filesystem::path& path) {
  struct ::stat status;
  return ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

class Copier {
 public:
  Copier(std::filesystem::path target, std::size_t chunk_size) : target_(std::move(target)), chunk_size_(chunk_size) {}

  Task<> copy(const std::string& name) {
    const std::filesystem::path target = target_of(name);
    if (name == "-" || is_special(name) || is_special(target)) {
      co_await copy_stream(name, target);
    } else {
      co_await copy_file(name, target);
    }
  }

 private:
  Task<> copy_file(const std::string& name, const std::filesystem::path& target) {
    struct ::stat source;
    if (::stat(name.c_str(), &source) == 0) check_target(name, source, target);
    Progress progress(name);
    auto report = [&](std::uint64_t done, std::uint64_t total) { progress.show(done, total); };
    const aiofile::CopyOptions options{.buffer_size = chunk_size_, .progress = report};
    co_await aiofile::copy_file(name, target, options);
    struct ::stat written;
    if (::stat(target.c_str(), &written) == 0) written_.insert(identity(written));
  }

  Task<> copy_stream(const std::string& name, const std::filesystem::path& target) {
    FileStream source = co_await open(name);
    check_target(name, status_of(source.fileno(), name), target);
    std::vector<std::byte> current(chunk_size_);
    std::vector<std::byte> next(chunk_size_);
    // Before the target is touched: a source that cannot be read leaves it as it was.
    std::size_t size = co_await source.read_into(current);
    AIOFile file = co_await AIOFile(target, "wb");
    written_.insert(identity(status_of(file.fileno(), target)));
    Progress progress(name);
    std::uint64_t offset = 0;
    while (size > 0) {
      const std::span<const std::byte> chunk = std::span(current).first(size);
      const std::tuple<std::size_t, std::size_t> moved =
          co_await aiofile::gather(source.read_into(next), file.write_bytes(chunk, offset));
      offset += size;
      size = std::get<0>(moved);
      std::swap(current, next);
      progress.show(offset, size > 0 ? 0 : offset);
    }
    co_await file.close();
    co_await source.close();
  }

  static Task<FileStream> open(const std::string& name) {
    if (name == "-") co_return co_await aiofile::async_open(STDIN_FILENO, "rb");
    co_return co_await aiofile::async_open(name, "rb");
  }

  std::filesystem::path target_of(const std::string& name) const {
    std::error_code ignored;
    if (!std::filesystem::is_directory(target_, ignored)) return target_;
    if (name == "-") throw Refusal("-: standard input has no name for a file in '" + target_.string() + "'");
    return target_ / std::filesystem::path(name).filename();
  }

  void check_target(const std::string& name, const struct ::stat& source, const std::filesystem::path& target) const {
    struct ::stat status;
    if (::stat(target.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return;
    if (identity(status) == identity(source)) throw Refusal(name + ": is the same file as '" + target.string() + "'");
    if (written_.contains(identity(status))) {
      throw Refusal(name + ": '" + target.string() + "' was written just now, and is not overwritten");
    }
  }

  std::filesystem::path target_;
  std::size_t chunk_size_;
  std::set<Identity> written_;
};

Task<bool> copy_all(std::vector<std::string> sources, std::filesystem::path target, std::size_t chunk_size) {
  std::error_code failure;
  if (sources.size() > 1 && !std::filesystem::is_directory(target, failure)) {
    throw FileError("open", target, failure ? failure.value() : ENOTDIR);
  }
  Copier copier(target, chunk_size);
  bool all = true;
  for (const std::string& source : sources) {
    try {
      co_await copier.copy(source);
    } catch (const FileError& error) {
      std::fprintf(stderr, "cp: %s: %s\n", error.path1().c_str(), error.code().message().c_str());
      all = false;
    } catch (const Refusal& refusal) {
      std::fprintf(stderr, "cp: %s\n", refusal.what());
      all = false;
    }
  }
  co_return all;
}

/// 1 to 1024M; nothing where `text` is anything else.
std::optional<std::size_t> parse_size(std::string_view text) {
  constexpr std::size_t kibi = 1024;
  constexpr std::size_t most = kibi * kibi * kibi;
  std::size_t unit = 1;
  if (text.ends_with('K')) unit = kibi;
  if (text.ends_with('M')) unit = kibi * kibi;
  if (unit != 1) text.remove_suffix(1);
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0 || number > most / unit) return {};
  return number * unit;
}

/// Standard streams that are closed stay unusable, instead of being whatever is opened next.
void occupy_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

int usage(std::FILE* stream, int code) {
  std::fputs("usage: cp [--chunk-size N] SOURCE... TARGET\n", stream);
  return code;
}

}  // namespace

int main(int argc, char** argv) try {
  occupy_standard_streams();
  std::size_t chunk_size = std::size_t{512} * 1024;
  const ::option options[] = {{"chunk-size", required_argument, nullptr, 'c'}, {"help", no_argument, nullptr, 'h'}, {}};
  for (int option; (option = ::getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    if (option == 'h') return usage(stdout, 0);
    if (option != 'c') return usage(stderr, 2);
    const std::optional<std::size_t> size = parse_size(optarg);
    if (!size) {
      std::fprintf(stderr, "cp: --chunk-size %s: not a size from 1 to 1024M\n", optarg);
      return usage(stderr, 2);
    }
    chunk_size = *size;
  }
  if (argc - optind < 2) return usage(stderr, 2);
  std::vector<std::string> sources(argv + optind, argv + argc - 1);
  return aiofile::run(copy_all(std::move(sources), argv[argc - 1], chunk_size)) ? 0 : 1;
} catch (const aiofile::FileError& error) {
  std::fprintf(stderr, "cp: %s: %s\n", error.path1().c_str(), error.code().message().c_str());
  return 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "cp: %s\n", error.what());
  return 1;
}
