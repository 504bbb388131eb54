// The blocking system calls in a loop: what one thread gets from the kernel without any library. And the ways to read
// lines and to write small records that C and C++ bring along.

#include <fcntl.h>
#include <ftw.h>
#include <immintrin.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "workloads.hpp"

namespace {

using bench::Run;

/// One thread has one operation under way, whatever was asked for.
void alone(Run& run, const char* backend) {
  run.backend = backend;
  run.depth = 1;
}

using ReadAt = ::ssize_t (*)(int fd, void* memory, std::size_t size, ::off_t offset);

template <ReadAt read_at>
void random_read(Run& run, const char* name) {
  alone(run, name);
  const int fd = bench::open_file(run, run.file.c_str(), O_RDONLY);
  const bench::Buffers buffers(1, run.block);
  bench::Offsets offsets(run.seed, run.file_size, run.block);
  run.measure([&] {
    for (std::uint64_t i = 0; i < run.operations; ++i) {
      bench::Stopwatch watch(run);
      const ::ssize_t count = read_at(fd, buffers[0], run.block, static_cast<::off_t>(offsets.next()));
      watch.stop();
      Run::require(count == static_cast<::ssize_t>(run.block), name);
    }
  });
  bench::close_file(fd);
}

void random_read(Run& run) { random_read<::pread>(run, "pread"); }

::ssize_t pread_nowait(int fd, void* memory, std::size_t size, ::off_t offset) {
  const ::iovec vector{memory, size};
  const ::ssize_t count = ::preadv2(fd, &vector, 1, offset, RWF_NOWAIT);
  return count == static_cast<::ssize_t>(size) ? count : ::pread(fd, memory, size, offset);  // a page may be locked
}

/// What a coroutine may do at most, which must not wait.
void random_read_nowait(Run& run) { random_read<pread_nowait>(run, "preadv2(RWF_NOWAIT)"); }

void random_write(Run& run) {
  alone(run, "pwrite");
  const int fd = bench::open_file(run, run.file.c_str(), O_WRONLY);
  const bench::Buffers buffers(1, run.block);
  bench::Offsets offsets(run.seed, run.file_size, run.block);
  run.measure([&] {
    for (std::uint64_t i = 0; i < run.operations; ++i) {
      bench::Stopwatch watch(run);
      const ::ssize_t count = ::pwrite(fd, buffers[0], run.block, static_cast<::off_t>(offsets.next()));
      watch.stop();
      Run::require(count == static_cast<::ssize_t>(run.block), "pwrite");
    }
  });
  bench::close_file(fd);
}

void sequential_read(Run& run) {
  alone(run, "read");
  const int fd = bench::open_file(run, run.file.c_str(), O_RDONLY);
  bench::count_pieces(run);
  const bench::Buffers buffers(1, run.block);
  run.measure([&] {
    for (std::uint64_t i = 0; i < run.operations; ++i) {
      bench::Stopwatch watch(run);
      const ::ssize_t count = ::read(fd, buffers[0], run.block);
      watch.stop();
      Run::require(count == static_cast<::ssize_t>(bench::piece_size(run, i)), "read");
    }
  });
  bench::close_file(fd);
}

void sequential_write(Run& run) {
  alone(run, "write");
  bench::remove_target(run);
  const bench::Buffers buffers(1, run.block);
  run.measure([&] {
    const int fd = bench::open_file(run, run.target.c_str(), bench::create_flags);
    for (std::uint64_t i = 0; i < run.operations; ++i) {
      bench::Stopwatch watch(run);
      const ::ssize_t count = ::write(fd, buffers[0], run.block);
      watch.stop();
      Run::require(count == static_cast<::ssize_t>(run.block), "write");
    }
    bench::close_file(fd);
  });
  bench::require_target_size(run, run.operations * run.block);
}

// ---- copies

/// `move` takes a piece of the given size from one file to the other.
template <typename Move>
void copy_pieces(Run& run, Move move) {
  bench::require_copyable(run);
  bench::remove_target(run);
  bench::count_pieces(run);
  run.measure([&] {
    const int source = bench::open_file(run, run.file.c_str(), O_RDONLY);
    const int target = bench::open_file(run, run.target.c_str(), bench::create_flags);
    for (std::uint64_t i = 0; i < run.operations; ++i) {
      bench::Stopwatch watch(run);
      move(source, target, bench::piece_size(run, i));
      watch.stop();
    }
    bench::close_file(source);
    bench::close_file(target);
  });
  bench::require_copied(run);
}

void copy(Run& run) {
  alone(run, "read and write");
  const bench::Buffers buffers(1, run.block);
  copy_pieces(run, [&](int source, int target, std::size_t size) {
    Run::require(::read(source, buffers[0], run.block) == static_cast<::ssize_t>(size), "read");
    Run::require(::write(target, buffers[0], size) == static_cast<::ssize_t>(size), "write");
  });
}

void copy_file_range(Run& run) {
  alone(run, "copy_file_range");
  copy_pieces(run, [](int source, int target, std::size_t size) {
    while (size > 0) {
      const ::ssize_t count = ::copy_file_range(source, nullptr, target, nullptr, size, 0);
      Run::require(count > 0, "copy_file_range");
      size -= static_cast<std::size_t>(count);
    }
  });
}

void copy_sendfile(Run& run) {
  alone(run, "sendfile");
  copy_pieces(run, [](int source, int target, std::size_t size) {
    while (size > 0) {
      const ::ssize_t count = ::sendfile(target, source, nullptr, size);
      Run::require(count > 0, "sendfile");
      size -= static_cast<std::size_t>(count);
    }
  });
}

/// A process of its own, which takes a millisecond.
void copy_cp(Run& run, const std::string& command) {
  alone(run, command.c_str());
  bench::remove_target(run);
  bench::count_pieces(run);
  const std::string line = command + " '" + run.file.native() + "' '" + run.target.native() + "'";
  run.measure([&] { Run::require(std::system(line.c_str()) == 0, "cp"); });
  bench::require_copied(run);
}

void copy_cp(Run& run) { copy_cp(run, "cp"); }
/// By reading and writing, too.
void copy_cp_no_reflink(Run& run) { copy_cp(run, "cp --reflink=never"); }

void small_files(Run& run) {
  alone(run, "open, read and close");
  const std::vector<std::string> paths = bench::small_file_paths(run);
  const bench::Buffers buffers(1, run.block);
  std::uint64_t bytes = 0;
  run.measure([&] {
    for (const std::string& path : paths) {
      bench::Stopwatch watch(run);
      const int fd = bench::open_file(run, path.c_str(), O_RDONLY);
      bench::count_file(run, ::read(fd, buffers[0], run.block), bytes);
      bench::close_file(fd);
      watch.stop();
    }
  });
  run.report("file_bytes", static_cast<double>(bytes));
}

void stat(Run& run) {
  alone(run, "statx");
  const std::vector<std::string> paths = bench::small_file_paths(run);
  run.measure([&] {
    for (const std::string& path : paths) {
      bench::Stopwatch watch(run);
      struct ::statx found;
      const int result = ::statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &found);
      watch.stop();
      Run::require(result == 0, "statx");
    }
  });
}

void rename(Run& run) {
  alone(run, "rename");
  const bench::Renamed file(run);
  run.measure([&] {
    for (std::uint64_t i = 0; i < run.operations; ++i) {
      bench::Stopwatch watch(run);
      const int result = ::rename(file.from(i).c_str(), file.to(i).c_str());
      watch.stop();
      Run::require(result == 0, "rename");
    }
  });
}

// ---- lines

constexpr std::size_t chunk_size = 256 * 1024;

/// What each way to read lines hands them to: as little work as shows that it got them whole.
struct Lines {
  void operator()(std::string_view line) noexcept {
    ++count;
    bytes += line.size();
  }

  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
};

/// `read_all` hands each line of run.file to the Lines that it is given; the timed part includes open and close.
template <typename ReadAll>
void read_lines(Run& run, const char* backend, ReadAll read_all) {
  alone(run, backend);
  Lines lines;
  run.measure([&] { read_all(lines); });
  const bool ends_with_newline = lines.bytes + lines.count == run.file_size;
  Run::require(ends_with_newline || lines.bytes + lines.count == run.file_size + 1, "the sum of the lines");
  Run::require(run.operations == 0 || run.operations == lines.count, "the number of lines");
  run.operations = lines.count;
  run.report("line_bytes", static_cast<double>(lines.bytes));
}

void lines_ifstream(Run& run) {
  read_lines(run, "std::getline", [&](Lines& lines) {
    std::ifstream file(run.file, std::ios::binary);
    Run::require(file.is_open(), "open");
    std::string line;
    while (std::getline(file, line)) lines(line);
    Run::require(file.eof() && !file.bad(), "std::getline");
  });
}

void lines_getline(Run& run) {
  read_lines(run, "getline", [&](Lines& lines) {
    std::FILE* const file = std::fopen(run.file.c_str(), "rbe");
    Run::require(file != nullptr, "fopen");
    char* line = nullptr;
    std::size_t capacity = 0;
    for (::ssize_t count = 0; (count = ::getline(&line, &capacity, file)) >= 0;) {
      const auto size = static_cast<std::size_t>(count);
      lines({line, line[size - 1] == '\n' ? size - 1 : size});
    }
    Run::require(std::feof(file) != 0 && std::ferror(file) == 0, "getline");
    std::free(line);
    Run::require(std::fclose(file) == 0, "fclose");
  });
}

void lines_fgets(Run& run) {
  std::vector<char> buffer(64 * 1024);
  read_lines(run, "fgets", [&](Lines& lines) {
    std::FILE* const file = std::fopen(run.file.c_str(), "rbe");
    Run::require(file != nullptr, "fopen");
    std::string pending;  // the beginning of a line that the buffer is too small for
    while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), file) != nullptr) {
      std::string_view piece(buffer.data());
      const bool whole = !piece.empty() && piece.back() == '\n';
      if (whole) piece.remove_suffix(1);
      if (whole && pending.empty()) {
        lines(piece);
        continue;
      }
      pending += piece;
      if (!whole) continue;
      lines(pending);
      pending.clear();
    }
    if (!pending.empty()) lines(pending);
    Run::require(std::feof(file) != 0 && std::ferror(file) == 0, "fgets");
    Run::require(std::fclose(file) == 0, "fclose");
  });
}

/// Reads run.file by read(2) into `buffer`. split(begin, end, take) hands each line that ends in the chunk to `take`
/// and returns where the rest begins.
template <typename Split>
void read_chunks(const Run& run, const bench::Buffers& buffers, Lines& lines, Split split) {
  const int fd = bench::open_file(run, run.file.c_str(), O_RDONLY);
  char* const begin = reinterpret_cast<char*>(buffers[0]);
  std::string pending;  // the beginning of a line that ends in a later chunk
  while (true) {
    const ::ssize_t count = ::read(fd, begin, chunk_size);
    Run::require(count >= 0, "read");
    if (count == 0) break;
    const char* const end = begin + count;
    const char* rest = begin;
    if (!pending.empty()) {
      const void* const newline = std::memchr(begin, '\n', static_cast<std::size_t>(count));
      const char* const line_end = newline == nullptr ? end : static_cast<const char*>(newline);
      pending.append(begin, static_cast<std::size_t>(line_end - begin));
      if (newline == nullptr) continue;
      lines(pending);
      pending.clear();
      rest = line_end + 1;
    }
    rest = split(rest, end, lines);
    pending.assign(rest, static_cast<std::size_t>(end - rest));
  }
  if (!pending.empty()) lines(pending);
  bench::close_file(fd);
}

void lines_memchr(Run& run) {
  const bench::Buffers buffers(1, chunk_size);
  read_lines(run, "read and memchr", [&](Lines& lines) {
    read_chunks(run, buffers, lines, [](const char* begin, const char* end, Lines& take) {
      while (begin != end) {
        const void* const found = std::memchr(begin, '\n', static_cast<std::size_t>(end - begin));
        if (found == nullptr) break;
        const char* const newline = static_cast<const char*>(found);
        take({begin, static_cast<std::size_t>(newline - begin)});
        begin = newline + 1;
      }
      return begin;
    });
  });
}

/// Reads up to 63 bytes behind the end.
__attribute__((target("avx2"))) const char* split_avx2(const char* begin, const char* end, Lines& take) {
  const __m256i newlines = _mm256_set1_epi8('\n');
  Lines lines = take;  // in registers
  for (const char* block = begin; block < end; block += 64) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 32));
    const auto low_mask = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, newlines)));
    const auto high_mask = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, newlines)));
    std::uint64_t mask = low_mask | std::uint64_t{high_mask} << 32;
    if (end - block < 64) mask &= (std::uint64_t{1} << (end - block)) - 1;
    for (; mask != 0; mask &= mask - 1) {
      const char* const newline = block + std::countr_zero(mask);
      lines({begin, static_cast<std::size_t>(newline - begin)});
      begin = newline + 1;
    }
  }
  take = lines;
  return begin;
}

void lines_simd(Run& run) {
  Run::require(__builtin_cpu_supports("avx2") != 0, "AVX2");
  const bench::Buffers buffers(1, chunk_size + 64);
  read_lines(run, "read and AVX2", [&](Lines& lines) { read_chunks(run, buffers, lines, split_avx2); });
}

// ---- small writes

/// `write_all` makes run.target of run.operations records; what it does includes open and close.
template <typename WriteAll>
void write_records(Run& run, const char* backend, WriteAll write_all) {
  alone(run, backend);
  bench::remove_target(run);
  const std::string record(run.block, 'x');
  run.measure([&] { write_all(record); });
  bench::require_target_size(run, run.operations * run.block);
}

void small_writes_ofstream(Run& run) {
  write_records(run, "std::ofstream", [&](const std::string& record) {
    std::ofstream file(run.target, std::ios::binary);
    Run::require(file.is_open(), "open");
    for (std::uint64_t i = 0; i < run.operations; ++i) {
      bench::Stopwatch watch(run);
      file.write(record.data(), static_cast<std::streamsize>(record.size()));
      watch.stop();
      Run::require(file.good(), "std::ofstream::write");
    }
    file.close();
    Run::require(file.good(), "std::ofstream::close");
  });
}

void small_writes_fwrite(Run& run) {
  write_records(run, "fwrite", [&](const std::string& record) {
    std::FILE* const file = std::fopen(run.target.c_str(), "wbxe");
    Run::require(file != nullptr, "fopen");
    for (std::uint64_t i = 0; i < run.operations; ++i) {
      bench::Stopwatch watch(run);
      const std::size_t count = std::fwrite(record.data(), 1, record.size(), file);
      watch.stop();
      Run::require(count == record.size(), "fwrite");
    }
    Run::require(std::fclose(file) == 0, "fclose");
  });
}

void small_writes_write(Run& run) {
  write_records(run, "write", [&](const std::string& record) {
    const int fd = bench::open_file(run, run.target.c_str(), bench::create_flags);
    for (std::uint64_t i = 0; i < run.operations; ++i) {
      bench::Stopwatch watch(run);
      const ::ssize_t count = ::write(fd, record.data(), record.size());
      watch.stop();
      Run::require(count == static_cast<::ssize_t>(record.size()), "write");
    }
    bench::close_file(fd);
  });
}

/// A buffer before write(2).
class Gatherer {
 public:
  explicit Gatherer(int fd) : fd_(fd) {}

  void write(std::string_view record) {
    if (record.size() > buffer_.size() - used_) flush();
    if (record.size() > buffer_.size()) {
      write_out(record);
      return;
    }
    std::memcpy(buffer_.data() + used_, record.data(), record.size());
    used_ += record.size();
  }

  void flush() {
    write_out({buffer_.data(), used_});
    used_ = 0;
  }

 private:
  void write_out(std::string_view bytes) const {
    if (bytes.empty()) return;
    Run::require(::write(fd_, bytes.data(), bytes.size()) == static_cast<::ssize_t>(bytes.size()), "write");
  }

  int fd_;
  std::vector<char> buffer_ = std::vector<char>(64 * 1024);
  std::size_t used_ = 0;
};

void small_writes_gather(Run& run) {
  write_records(run, "write of 64 KiB", [&](const std::string& record) {
    const int fd = bench::open_file(run, run.target.c_str(), bench::create_flags);
    Gatherer gatherer(fd);
    for (std::uint64_t i = 0; i < run.operations; ++i) {
      bench::Stopwatch watch(run);
      gatherer.write(record);
      watch.stop();
    }
    gatherer.flush();
    bench::close_file(fd);
  });
}

// ---- trees of directories

void require_entries(const Run& run, std::uint64_t count) {
  Run::require(count == run.operations, "as many entries as --operations");
}

void walk_iterator(Run& run) {
  alone(run, "std::filesystem::recursive_directory_iterator");
  std::uint64_t count = 0;
  run.measure([&] {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(run.target)) count += !entry.path().empty();
  });
  require_entries(run, count);
}

/// Has to ask for the stat of each entry, which the others do not.
void walk_nftw(Run& run) {
  alone(run, "nftw");
  static std::uint64_t count;
  count = 0;
  run.measure([&] {
    const auto visit = [](const char*, const struct ::stat*, int, ::FTW*) {
      ++count;
      return 0;
    };
    Run::require(::nftw(run.target.c_str(), visit, 64, FTW_PHYS) == 0, "nftw");
  });
  require_entries(run, count - 1);  // it gives the tree's own directory, too
}

/// A process of its own, which takes a millisecond, and prints nothing.
void walk_find(Run& run) {
  alone(run, "find");
  const std::string command = "find '" + run.target.native() + "' -printf ''";
  run.measure([&] { Run::require(std::system(command.c_str()) == 0, "find"); });
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_one(argc, argv, "posix",
                        {{"random-read", random_read},
                         {"random-read-nowait", random_read_nowait},
                         {"random-write", random_write},
                         {"sequential-read", sequential_read},
                         {"sequential-write", sequential_write},
                         {"copy", copy},
                         {"copy-file-range", copy_file_range},
                         {"copy-sendfile", copy_sendfile},
                         {"copy-cp", copy_cp},
                         {"copy-cp-no-reflink", copy_cp_no_reflink},
                         {"small-files", small_files},
                         {"stat", stat},
                         {"rename", rename},
                         {"lines-ifstream", lines_ifstream},
                         {"lines-getline", lines_getline},
                         {"lines-fgets", lines_fgets},
                         {"lines-memchr", lines_memchr},
                         {"lines-simd", lines_simd},
                         {"small-writes-ofstream", small_writes_ofstream},
                         {"small-writes-fwrite", small_writes_fwrite},
                         {"small-writes-write", small_writes_write},
                         {"small-writes-gather", small_writes_gather},
                         {"walk-iterator", walk_iterator},
                         {"walk-nftw", walk_nftw},
                         {"walk-find", walk_find}});
}
