#pragma once
// The workloads of those contenders that know files by their descriptors and tell of an operation's end later: each of
// them brings an engine, and all do the same work in the same order.
//
// An engine is made from a Run, whose `backend` it names, and has
//   read(slot, fd, buffer, size, offset), write(...), open(slot, path, flags), close(slot, fd)
//                  to start an operation; a slot has one under way at most
//   wait(handler)  to hand at least one result to handler(slot, result), which may start operations;
//                  a result is what the system call would return, or -errno

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "support/bench.hpp"

namespace bench {

inline int open_file(const Run& run, const char* path, int flags) {
  const int fd = ::open(path, flags | O_CLOEXEC | (run.direct ? O_DIRECT : 0), 0644);
  Run::require(fd >= 0, "open");
  return fd;
}

inline void close_file(int fd) { Run::require(::close(fd) == 0, "close"); }

inline constexpr int create_flags = O_WRONLY | O_CREAT | O_EXCL;

/// Removes run.target, so that it can be made anew.
inline void remove_target(const Run& run) {
  Run::require(!run.target.empty() && !std::filesystem::is_directory(run.target), "--target of a file");
  std::filesystem::remove(run.target);
}

inline void require_target_size(const Run& run, std::uint64_t size) {
  Run::require(std::filesystem::file_size(run.target) == size, "the size of the target");
}

/// Makes an operation of each piece of run.file.
inline void count_pieces(Run& run) { run.operations = (run.file_size + run.block - 1) / run.block; }

/// How much of run.file there is in the piece: the last one may be short.
inline std::size_t piece_size(const Run& run, std::uint64_t index) noexcept {
  return static_cast<std::size_t>(std::min<std::uint64_t>(run.block, run.file_size - index * run.block));
}

/// Compares the beginnings of up to 64 pieces, the last one among them: the right size does not mean the right bytes.
inline void require_copied(const Run& run) {
  require_target_size(run, run.file_size);
  const int source = ::open(run.file.c_str(), O_RDONLY | O_CLOEXEC);
  const int target = ::open(run.target.c_str(), O_RDONLY | O_CLOEXEC);
  Run::require(source >= 0 && target >= 0, "open");
  const std::uint64_t samples = std::min<std::uint64_t>(64, run.operations);
  for (std::uint64_t i = 1; i <= samples; ++i) {
    const std::uint64_t index = i * run.operations / samples - 1;
    const auto offset = static_cast<::off_t>(index * run.block);
    const std::size_t size = std::min<std::size_t>(4096, piece_size(run, index));
    std::array<std::byte, 4096> expected;
    std::array<std::byte, 4096> found;
    Run::require(::pread(source, expected.data(), size, offset) == static_cast<::ssize_t>(size), "pread");
    Run::require(::pread(target, found.data(), size, offset) == static_cast<::ssize_t>(size), "pread");
    Run::require(std::equal(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(size), found.begin()),
                 "the bytes of the copy");
  }
  close_file(source);
  close_file(target);
}

/// O_DIRECT cannot write a piece of another size.
inline void require_copyable(const Run& run) {
  Run::require(!run.direct || run.file_size % run.block == 0, "--direct copies files of whole blocks only");
}

/// The files in run.target, named before the clock starts: who makes strings of the names is not what is compared.
inline std::vector<std::string> small_file_paths(const Run& run) {
  std::vector<std::string> paths;
  paths.reserve(run.operations);
  for (std::uint64_t i = 0; i < run.operations; ++i) paths.push_back(run.target / std::to_string(i));
  return paths;
}

/// Adds up what has been read of a file. Only less than a whole block shows that it was all.
inline void count_file(const Run& run, std::int64_t count, std::uint64_t& bytes) {
  Run::require(count >= 0, "a read");
  Run::require(static_cast<std::uint64_t>(count) < run.block, "a file smaller than --block");
  bytes += static_cast<std::uint64_t>(count);
}

/// What has become of a slot's operation.
struct Result {
  std::size_t slot;
  std::int64_t value;
};

/// Keeps `depth` jobs under way, each of one or more operations of the engine.
template <typename Engine>
class Jobs {
 public:
  explicit Jobs(Run& run) : engine(run), run_(run), started_(run.depth) {}

  Engine engine;

  /// begin(slot, index) starts the first operation of a job; advance(slot, result) starts its next one, or says
  /// with `true` that it has ended.
  template <typename Begin, typename Advance>
  void work(Begin begin, Advance advance) {
    std::uint64_t begun = 0;
    std::uint64_t ended = 0;
    const auto start = [&](std::size_t slot) {
      if (begun == run_.operations) return;
      if (run_.with_latency) started_[slot] = now();
      begin(slot, begun++);
    };
    for (std::size_t slot = 0; slot < run_.depth; ++slot) start(slot);
    while (ended < run_.operations) {
      engine.wait([&](std::size_t slot, std::int64_t result) {
        if (!advance(slot, result)) return;
        if (run_.with_latency) run_.latencies.add(now() - started_[slot]);
        ++ended;
        start(slot);
      });
    }
  }

 private:
  Run& run_;
  std::vector<std::uint64_t> started_;
};

template <typename Engine>
void random_read(Run& run) {
  const int fd = open_file(run, run.file.c_str(), O_RDONLY);
  Jobs<Engine> jobs(run);
  const Buffers buffers(run.depth, run.block);
  Offsets offsets(run.seed, run.file_size, run.block);
  run.measure([&] {
    jobs.work(
        [&](std::size_t slot, std::uint64_t) { jobs.engine.read(slot, fd, buffers[slot], run.block, offsets.next()); },
        [&](std::size_t, std::int64_t result) {
          Run::require(result == static_cast<std::int64_t>(run.block), "a read");
          return true;
        });
  });
  close_file(fd);
}

template <typename Engine>
void random_write(Run& run) {
  const int fd = open_file(run, run.file.c_str(), O_WRONLY);
  Jobs<Engine> jobs(run);
  const Buffers buffers(run.depth, run.block);
  Offsets offsets(run.seed, run.file_size, run.block);
  run.measure([&] {
    jobs.work(
        [&](std::size_t slot, std::uint64_t) { jobs.engine.write(slot, fd, buffers[slot], run.block, offsets.next()); },
        [&](std::size_t, std::int64_t result) {
          Run::require(result == static_cast<std::int64_t>(run.block), "a write");
          return true;
        });
  });
  close_file(fd);
}

template <typename Engine>
void sequential_read(Run& run) {
  const int fd = open_file(run, run.file.c_str(), O_RDONLY);
  count_pieces(run);
  Jobs<Engine> jobs(run);
  const Buffers buffers(run.depth, run.block);
  std::vector<std::uint64_t> pieces(run.depth);
  run.measure([&] {
    jobs.work(
        [&](std::size_t slot, std::uint64_t index) {
          pieces[slot] = index;
          jobs.engine.read(slot, fd, buffers[slot], run.block, index * run.block);
        },
        [&](std::size_t slot, std::int64_t result) {
          Run::require(result == static_cast<std::int64_t>(piece_size(run, pieces[slot])), "a read");
          return true;
        });
  });
  close_file(fd);
}

template <typename Engine>
void sequential_write(Run& run) {
  remove_target(run);
  Jobs<Engine> jobs(run);
  const Buffers buffers(run.depth, run.block);
  run.measure([&] {
    const int fd = open_file(run, run.target.c_str(), create_flags);
    jobs.work([&](std::size_t slot,
                  std::uint64_t index) { jobs.engine.write(slot, fd, buffers[slot], run.block, index * run.block); },
              [&](std::size_t, std::int64_t result) {
                Run::require(result == static_cast<std::int64_t>(run.block), "a write");
                return true;
              });
    close_file(fd);
  });
  require_target_size(run, run.operations * run.block);
}

template <typename Engine>
void copy(Run& run) {
  struct Piece {
    std::uint64_t index;
    bool writing;
  };
  require_copyable(run);
  remove_target(run);
  count_pieces(run);
  Jobs<Engine> jobs(run);
  const Buffers buffers(run.depth, run.block);
  std::vector<Piece> pieces(run.depth);
  run.measure([&] {
    const int source = open_file(run, run.file.c_str(), O_RDONLY);
    const int target = open_file(run, run.target.c_str(), create_flags);
    jobs.work(
        [&](std::size_t slot, std::uint64_t index) {
          pieces[slot] = {index, false};
          jobs.engine.read(slot, source, buffers[slot], run.block, index * run.block);
        },
        [&](std::size_t slot, std::int64_t result) {
          Piece& piece = pieces[slot];
          const std::size_t size = piece_size(run, piece.index);
          Run::require(result == static_cast<std::int64_t>(size), piece.writing ? "a write" : "a read");
          if (piece.writing) return true;
          piece.writing = true;
          jobs.engine.write(slot, target, buffers[slot], size, piece.index * run.block);
          return false;
        });
    close_file(source);
    close_file(target);
  });
  require_copied(run);
}

template <typename Engine>
void small_files(Run& run) {
  enum class Stage { open, read, close };
  struct File {
    Stage stage;
    int fd;
  };
  const std::vector<std::string> paths = small_file_paths(run);
  Jobs<Engine> jobs(run);
  const Buffers buffers(run.depth, run.block);
  std::vector<File> files(run.depth);
  std::uint64_t bytes = 0;
  run.measure([&] {
    jobs.work(
        [&](std::size_t slot, std::uint64_t index) {
          files[slot].stage = Stage::open;
          jobs.engine.open(slot, paths[index].c_str(), O_RDONLY | O_CLOEXEC | (run.direct ? O_DIRECT : 0));
        },
        [&](std::size_t slot, std::int64_t result) {
          File& file = files[slot];
          switch (file.stage) {
            case Stage::open:
              Run::require(result >= 0, "open");
              file = {Stage::read, static_cast<int>(result)};
              jobs.engine.read(slot, file.fd, buffers[slot], run.block, 0);
              return false;
            case Stage::read:
              count_file(run, result, bytes);
              file.stage = Stage::close;
              jobs.engine.close(slot, file.fd);
              return false;
            case Stage::close: Run::require(result == 0, "close"); return true;
          }
          return true;
        });
  });
  run.report("file_bytes", static_cast<double>(bytes));
}

/// Gives a file another name, and its own one again, as often as it takes.
class Renamed {
 public:
  explicit Renamed(const Run& run) : names_{run.target.native(), run.target.native() + ".renamed"} {
    remove_target(run);
    close_file(open_file(run, names_[0].c_str(), create_flags));
  }
  Renamed(const Renamed&) = delete;
  Renamed& operator=(const Renamed&) = delete;
  ~Renamed() {
    for (const std::string& name : names_) ::unlink(name.c_str());
  }

  [[nodiscard]] const std::string& from(std::uint64_t index) const noexcept { return names_[index % 2]; }
  [[nodiscard]] const std::string& to(std::uint64_t index) const noexcept { return names_[(index + 1) % 2]; }

 private:
  std::array<std::string, 2> names_;
};

/// Those engines only that have stat(slot, path), which keeps what it finds to itself, and rename(slot, from, to).
template <typename Engine>
concept KnowsPaths = requires(Engine engine, const char* path) {
  engine.stat(std::size_t{}, path);
  engine.rename(std::size_t{}, path, path);
};

template <KnowsPaths Engine>
void stat(Run& run) {
  const std::vector<std::string> paths = small_file_paths(run);
  Jobs<Engine> jobs(run);
  run.measure([&] {
    jobs.work([&](std::size_t slot, std::uint64_t index) { jobs.engine.stat(slot, paths[index].c_str()); },
              [&](std::size_t, std::int64_t result) {
                Run::require(result == 0, "a stat");
                return true;
              });
  });
}

template <KnowsPaths Engine>
void rename(Run& run) {
  run.depth = 1;
  const Renamed file(run);
  Jobs<Engine> jobs(run);
  run.measure([&] {
    jobs.work([&](std::size_t slot,
                  std::uint64_t index) { jobs.engine.rename(slot, file.from(index).c_str(), file.to(index).c_str()); },
              [&](std::size_t, std::int64_t result) {
                Run::require(result == 0, "a rename");
                return true;
              });
  });
}

/// The main() of a contender that is an engine.
template <typename Engine>
int run_engine(int argc, char** argv, std::string_view contender) {
  std::vector<Entry> entries = {{"random-read", random_read<Engine>},
                                {"random-write", random_write<Engine>},
                                {"sequential-read", sequential_read<Engine>},
                                {"sequential-write", sequential_write<Engine>},
                                {"copy", copy<Engine>},
                                {"small-files", small_files<Engine>}};
  if constexpr (KnowsPaths<Engine>) {
    entries.push_back({"stat", stat<Engine>});
    entries.push_back({"rename", rename<Engine>});
  }
  return run_one(argc, argv, contender, entries);
}

}  // namespace bench
