#pragma once
// Five ways to write records with the library, each acknowledged when it is said to be durable, and a process that does
// so until it is killed.

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <aiofile/aiofile.hpp>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "torture/records.hpp"

namespace torture {

/// How the writer writes, in turns.
enum class Way : std::uint8_t { positional, stream, writer, append, replacement };
inline constexpr std::array<const char*, 5> way_names{"positional", "stream", "writer", "append", "replacement"};

inline Way way_of(std::uint64_t round) { return static_cast<Way>(round % way_names.size()); }
inline const char* name(Way way) { return way_names[static_cast<std::size_t>(way)]; }

/// Records of one acknowledgement.
inline constexpr std::size_t records_at_once = 8;

/// What Audit::check() is told of a file that was written so.
inline std::uint64_t all_or_none(Way way) { return way == Way::replacement ? records_at_once : 0; }

/// What is done before an acknowledgement: all but `sync` are broken.
enum class Care : std::uint8_t { sync, only_flush, nothing };

/// Acknowledges all records below `count`, over a pipe or at the end of a file.
inline void acknowledge(int acks, std::uint64_t count) {
  if (::write(acks, &count, sizeof count) != sizeof count) throw std::runtime_error("the acknowledgement");
}

/// A new name is durable only when its directory is.
inline aiofile::Task<> sync_directory(std::filesystem::path path) {
  caio::Context& context = caio::Context::current();
  const caio::Descriptor directory = co_await context.open(std::move(path), O_RDONLY | O_DIRECTORY);
  co_await context.fsync(directory);
  co_await context.close(directory);
}

/// Writes records for ever, some at a time.
class RecordWriter {
 public:
  RecordWriter(std::filesystem::path path, Care care, std::uint64_t seed, int acks)
      : path_(std::move(path)), care_(care), seed_(seed), acks_(acks) {}

  aiofile::Task<> run(Way way) {
    switch (way) {
      case Way::positional: return positional();
      case Way::stream: return stream("wb");
      case Way::writer: return writer();
      case Way::append: return stream("ab");
      case Way::replacement: break;
    }
    return replacement();
  }

 private:
  static constexpr std::size_t buffering = 16 * 1024;
  static constexpr std::size_t endless_buffering = 64 * 1024 * 1024;

  void make_records() {
    records_.clear();
    offsets_.clear();
    for (std::size_t i = 0; i < records_at_once; ++i) {
      records_.push_back(record(seed_, number_++));
      offsets_.push_back(size_);
      size_ += records_.back().size();
    }
  }

  aiofile::Task<> write_all(aiofile::AIOFile& file) {
    std::vector<std::size_t> indices;
    for (std::size_t i = 0; i < records_at_once; ++i) indices.push_back(i);
    co_await aiofile::gather(indices, [&](std::size_t i) { return file.write(records_[i], offsets_[i]); });
  }

  aiofile::Task<> positional() {
    aiofile::AIOFile file = co_await aiofile::AIOFile(path_, "wb");
    co_await sync_directory(path_.parent_path());
    for (;;) {
      make_records();
      if (care_ == Care::sync) {
        // Started while the writes are in flight: it covers them all the same.
        co_await aiofile::gather(write_all(file), file.fsync());
      } else {
        co_await write_all(file);
      }
      acknowledge(acks_, number_);
    }
  }

  aiofile::Task<> stream(std::string_view mode) {
    aiofile::OpenOptions options;
    options.buffering = care_ == Care::nothing ? endless_buffering : buffering;
    aiofile::FileStream stream = co_await aiofile::async_open(path_, mode, options);
    co_await sync_directory(path_.parent_path());
    for (;;) {
      make_records();
      for (const std::string& each : records_) co_await stream.write(std::string_view(each));
      if (care_ == Care::sync && number_ % (2 * records_at_once) == 0) co_await stream.fsync();
      if (care_ == Care::sync && number_ % (2 * records_at_once) != 0) co_await stream.fdsync();
      if (care_ == Care::only_flush) co_await stream.flush();
      acknowledge(acks_, number_);
    }
  }

  aiofile::Task<> writer() {
    aiofile::AIOFile file = co_await aiofile::AIOFile(path_, "wb");
    aiofile::Writer writer(file, 0, care_ == Care::nothing ? endless_buffering : buffering);
    co_await sync_directory(path_.parent_path());
    for (;;) {
      make_records();
      for (const std::string& each : records_) co_await writer(std::string_view(each));
      if (care_ != Care::nothing) co_await writer.flush();
      if (care_ == Care::sync) co_await file.fdsync();
      acknowledge(acks_, number_);
    }
  }

  /// Each time by a file that has some records more.
  aiofile::Task<> replacement() {
    const aiofile::AtomicOptions options{.durable = care_ == Care::sync};
    std::string content;
    for (;;) {
      make_records();
      for (const std::string& each : records_) content += each;
      co_await aiofile::write_atomic(path_, std::string_view(content), options);
      acknowledge(acks_, number_);
    }
  }

  const std::filesystem::path path_;
  const Care care_;
  const std::uint64_t seed_;
  const int acks_;
  std::uint32_t number_ = 0;
  std::uint64_t size_ = 0;
  std::vector<std::string> records_;
  std::vector<std::uint64_t> offsets_;
};

inline void write_records(const Program& program, const std::filesystem::path& path, Way way, Care care,
                          std::uint64_t seed, int acks) {
  caio::ContextOptions options;
  options.speculate = program.speculate;
  caio::Context context(program.implementation(), options);
  RecordWriter writer(path, care, seed, acks);
  context.run(writer.run(way));
}

/// A process that writes records until it is killed.
class WritingProcess {
 public:
  WritingProcess(const Program& program, const std::filesystem::path& path, Way way, Care care, std::uint64_t seed) {
    if (::pipe2(pipe_.data(), O_CLOEXEC) != 0 || (pid_ = ::fork()) < 0) throw std::runtime_error("pipe or fork");
    if (pid_ == 0) {
      ::close(pipe_[0]);
      try {
        write_records(program, path, way, care, seed, pipe_[1]);
      } catch (const std::exception&) {  // the file system went away, or the parent sees that we ended
      }
      ::_exit(3);
    }
    ::close(pipe_[1]);
  }
  WritingProcess(const WritingProcess&) = delete;
  WritingProcess& operator=(const WritingProcess&) = delete;
  ~WritingProcess() {
    kill();
    ::close(pipe_[0]);
  }

  /// Reads that many acknowledgements, and those that are there already; false: the writer ended or is stuck.
  bool await(unsigned count) {
    for (; count > 0; --count) {
      if (!read_one(std::chrono::minutes(1))) return false;
    }
    return true;
  }
  void drain() {
    while (read_one(std::chrono::milliseconds(0))) {
    }
  }
  /// True: it lived until now.
  bool kill() {
    if (pid_ <= 0) return true;
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
  /// As far as has been read.
  [[nodiscard]] std::uint64_t acknowledged() const { return acknowledged_; }

 private:
  bool read_one(std::chrono::milliseconds limit) {
    ::pollfd ready{pipe_[0], POLLIN, 0};
    return ::poll(&ready, 1, static_cast<int>(limit.count())) > 0 &&
           ::read(pipe_[0], &acknowledged_, sizeof acknowledged_) == sizeof acknowledged_;
  }

  std::array<int, 2> pipe_{};
  ::pid_t pid_ = 0;
  std::uint64_t acknowledged_ = 0;
};

}  // namespace torture
