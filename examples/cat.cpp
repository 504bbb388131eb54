// Prints files by lines, like cat(1). `-`, or no FILE: standard input.
//   cat [-n | --number] [FILE]...
#include <fcntl.h>
#include <getopt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/aiofile.hpp>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using aiofile::FileError;
using aiofile::FileStream;
using aiofile::Task;

/// Standard output, written at the descriptor's own position: right for pipes, O_APPEND and a file shared with others.
class Output {
 public:
  explicit Output(bool numbers) : numbers_(numbers) {}

  void add(std::string_view line) {
    if (numbers_ && line_begins_) {
      std::array<char, 24> number;
      const int length = std::snprintf(number.data(), number.size(), "%6ju\t", static_cast<std::uintmax_t>(++lines_));
      buffer_.append(number.data(), static_cast<std::size_t>(length));
    }
    buffer_ += line;
    line_begins_ = line.ends_with('\n');
  }

  Task<> flush() {
    std::span<const std::byte> rest = std::as_bytes(std::span(buffer_));
    while (!rest.empty()) {
      const std::size_t count = co_await caio::Context::current().write(descriptor_, rest, -1);
      rest = rest.subspan(count);
    }
    buffer_.clear();
  }

 private:
  bool numbers_;
  bool line_begins_ = true;
  std::uint64_t lines_ = 0;
  std::string buffer_;
  const caio::Descriptor descriptor_{STDOUT_FILENO};
};

Task<FileStream> open(const std::string& path) {
  if (path == "-") co_return co_await aiofile::async_open(STDIN_FILENO, "rb");
  co_return co_await aiofile::async_open(path, "rb");
}

/// Whether what is printed would be read again, without an end.
bool is_output(const FileStream& stream) {
  struct ::stat input;
  struct ::stat output;
  if (::fstat(stream.fileno(), &input) != 0 || ::fstat(STDOUT_FILENO, &output) != 0) return false;
  return S_ISREG(input.st_mode) && input.st_dev == output.st_dev && input.st_ino == output.st_ino &&
         stream.tell() < static_cast<std::uint64_t>(input.st_size);
}

Task<bool> print(const std::string& path, Output& output) {
  FileStream stream = co_await open(path);
  if (is_output(stream)) {
    std::fprintf(stderr, "cat: %s: input file is output file\n", path.c_str());
    co_return false;
  }
  auto lines = stream.lines();
  for (;;) {
    const std::span<const std::string_view> batch = co_await lines.next_batch();
    if (batch.empty()) break;
    for (const std::string_view line : batch) output.add(line);
    co_await output.flush();
  }
  // Who reads standard input after us goes on where we ended.
  if (path == "-" && stream.seekable()) ::lseek(STDIN_FILENO, static_cast<::off_t>(stream.tell()), SEEK_SET);
  co_await stream.close();
  co_return true;
}

Task<bool> print_all(std::vector<std::string> paths, bool numbers) {
  Output output(numbers);
  bool all = true;
  for (const std::string& path : paths) {
    try {
      const bool printed = co_await print(path, output);
      all = all && printed;
    } catch (const FileError& error) {
      std::fprintf(stderr, "cat: %s: %s\n", path.c_str(), error.code().message().c_str());
      all = false;
    }
  }
  co_return all;
}

/// Standard streams that are closed stay unusable, instead of being whatever is opened next.
void occupy_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  occupy_standard_streams();
  bool numbers = false;
  const ::option options[] = {{"number", no_argument, nullptr, 'n'}, {"help", no_argument, nullptr, 'h'}, {}};
  for (int option; (option = ::getopt_long(argc, argv, "n", options, nullptr)) != -1;) {
    if (option == 'n') {
      numbers = true;
    } else {
      std::fputs("usage: cat [-n | --number] [FILE]...\n", option == 'h' ? stdout : stderr);
      return option == 'h' ? 0 : 2;
    }
  }
  std::vector<std::string> paths(argv + optind, argv + argc);
  if (paths.empty()) paths.emplace_back("-");
  return aiofile::run(print_all(std::move(paths), numbers)) ? 0 : 1;
} catch (const std::system_error& error) {
  if (error.code() == std::errc::broken_pipe) return 1;  // the reader has seen enough
  std::fprintf(stderr, "cat: %s\n", error.what());
  return 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "cat: %s\n", error.what());
  return 1;
}
