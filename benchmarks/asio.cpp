// Boost.Asio's files by callbacks. Built twice: with BOOST_ASIO_DISABLE_EPOLL io_uring does everything; without it
// epoll waits, and io_uring does the files. Needs BOOST_ASIO_HAS_IO_URING, without which Asio has no files here.

#include <fcntl.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/random_access_file.hpp>
#include <boost/asio/stream_file.hpp>
#include <boost/version.hpp>

#include "workloads.hpp"

#ifndef BOOST_ASIO_HAS_FILE
#error "compile with -DBOOST_ASIO_HAS_IO_URING"
#endif

namespace {

namespace asio = boost::asio;
using bench::Run;
using boost::system::error_code;

#ifdef BOOST_ASIO_HAS_IO_URING_AS_DEFAULT
constexpr const char* contender = "asio_uring";
constexpr const char* reactor = "io_uring";
#else
constexpr const char* contender = "asio_default";
constexpr const char* reactor = "io_uring behind epoll";
#endif

void name_backend(Run& run, const char* kind) {
  run.backend = std::string("Boost ") + BOOST_LIB_VERSION + ", " + reactor + ", " + kind;
}

/// Asio's flags are those of open(2); for O_DIRECT it has no name.
asio::file_base::flags flags(const Run& run, int flags) {
  return static_cast<asio::file_base::flags>(flags | (run.direct ? O_DIRECT : 0));
}

/// Keeps `depth` jobs under way. operation(slot, index, done) starts one, whose last callback calls done().
template <typename Operation>
class Jobs {
 public:
  Jobs(Run& run, asio::io_context& context, Operation operation)
      : run_(run), context_(context), operation_(std::move(operation)) {}

  void work() {
    for (std::size_t slot = 0; slot < run_.depth; ++slot) start(slot);
    context_.run();
    Run::require(ended_ == run_.operations, "as many operations as wanted");
  }

 private:
  class Done {
   public:
    Done(Jobs& jobs, std::size_t slot) noexcept : jobs_(jobs), slot_(slot), watch_(jobs.run_) {}
    void operator()() {
      watch_.stop();
      ++jobs_.ended_;
      jobs_.start(slot_);
    }

   private:
    Jobs& jobs_;
    std::size_t slot_;
    bench::Stopwatch watch_;
  };

  void start(std::size_t slot) {
    if (begun_ == run_.operations) return;
    operation_(slot, begun_++, Done(*this, slot));
  }

  Run& run_;
  asio::io_context& context_;
  Operation operation_;
  std::uint64_t begun_ = 0;
  std::uint64_t ended_ = 0;
};

/// What a transfer calls at its end.
template <typename Then>
auto whole(std::size_t size, const char* what, Then then) {
  return [size, what, then](const error_code& error, std::size_t count) mutable {
    Run::require(!error && count == size, what);
    then();
  };
}

void random_read(Run& run) {
  name_backend(run, "random_access_file");
  asio::io_context context(1);
  asio::random_access_file file(context, run.file.c_str(), flags(run, O_RDONLY));
  const bench::Buffers buffers(run.depth, run.block);
  bench::Offsets offsets(run.seed, run.file_size, run.block);
  Jobs jobs(run, context, [&](std::size_t slot, std::uint64_t, auto done) {
    file.async_read_some_at(offsets.next(), asio::buffer(buffers[slot], run.block), whole(run.block, "a read", done));
  });
  run.measure([&] { jobs.work(); });
}

void random_write(Run& run) {
  name_backend(run, "random_access_file");
  asio::io_context context(1);
  asio::random_access_file file(context, run.file.c_str(), flags(run, O_WRONLY));
  const bench::Buffers buffers(run.depth, run.block);
  bench::Offsets offsets(run.seed, run.file_size, run.block);
  Jobs jobs(run, context, [&](std::size_t slot, std::uint64_t, auto done) {
    file.async_write_some_at(offsets.next(), asio::buffer(buffers[slot], run.block), whole(run.block, "a write", done));
  });
  run.measure([&] { jobs.work(); });
}

// ---- sequential ones: by stream_file, but for O_DIRECT. There io_uring leaves the file's position where it is, and a
// stream_file would read the same block again and again.
//
// A file's reads are done one after the other, in the order of their starts, and so are its writes: this is why several
// of a stream_file can be under way.

constexpr const char* kind(const asio::stream_file&) { return "stream_file"; }
constexpr const char* kind(const asio::random_access_file&) { return "random_access_file"; }

template <typename Then>
void read_some(asio::stream_file& file, std::uint64_t, asio::mutable_buffer buffer, Then then) {
  file.async_read_some(buffer, std::move(then));
}

template <typename Then>
void read_some(asio::random_access_file& file, std::uint64_t offset, asio::mutable_buffer buffer, Then then) {
  file.async_read_some_at(offset, buffer, std::move(then));
}

template <typename Then>
void write_some(asio::stream_file& file, std::uint64_t, asio::const_buffer buffer, Then then) {
  file.async_write_some(buffer, std::move(then));
}

template <typename Then>
void write_some(asio::random_access_file& file, std::uint64_t offset, asio::const_buffer buffer, Then then) {
  file.async_write_some_at(offset, buffer, std::move(then));
}

template <typename File>
void sequential_read_by(Run& run) {
  bench::count_pieces(run);
  asio::io_context context(1);
  File file(context, run.file.c_str(), flags(run, O_RDONLY));
  name_backend(run, kind(file));
  const bench::Buffers buffers(run.depth, run.block);
  Jobs jobs(run, context, [&](std::size_t slot, std::uint64_t index, auto done) {
    read_some(file, index * run.block, asio::buffer(buffers[slot], run.block),
              whole(bench::piece_size(run, index), "a read", done));
  });
  run.measure([&] { jobs.work(); });
}

template <typename File>
void sequential_write_by(Run& run) {
  bench::remove_target(run);
  asio::io_context context(1);
  File file(context);
  name_backend(run, kind(file));
  const bench::Buffers buffers(run.depth, run.block);
  Jobs jobs(run, context, [&](std::size_t slot, std::uint64_t index, auto done) {
    write_some(file, index * run.block, asio::buffer(buffers[slot], run.block), whole(run.block, "a write", done));
  });
  run.measure([&] {
    file.open(run.target.c_str(), flags(run, bench::create_flags));
    jobs.work();
    file.close();
  });
  bench::require_target_size(run, run.operations * run.block);
}

template <typename File>
void copy_by(Run& run) {
  bench::require_copyable(run);
  bench::remove_target(run);
  bench::count_pieces(run);
  asio::io_context context(1);
  File source(context);
  File target(context);
  name_backend(run, kind(source));
  const bench::Buffers buffers(run.depth, run.block);
  Jobs jobs(run, context, [&](std::size_t slot, std::uint64_t index, auto done) {
    const std::size_t size = bench::piece_size(run, index);
    const auto write = [&, slot, index, size, done] {
      write_some(target, index * run.block, asio::buffer(buffers[slot], size), whole(size, "a write", done));
    };
    read_some(source, index * run.block, asio::buffer(buffers[slot], run.block), whole(size, "a read", write));
  });
  run.measure([&] {
    source.open(run.file.c_str(), flags(run, O_RDONLY));
    target.open(run.target.c_str(), flags(run, bench::create_flags));
    jobs.work();
    source.close();
    target.close();
  });
  bench::require_copied(run);
}

void sequential_read(Run& run) {
  run.direct ? sequential_read_by<asio::random_access_file>(run) : sequential_read_by<asio::stream_file>(run);
}

void sequential_write(Run& run) {
  run.direct ? sequential_write_by<asio::random_access_file>(run) : sequential_write_by<asio::stream_file>(run);
}

void copy(Run& run) { run.direct ? copy_by<asio::random_access_file>(run) : copy_by<asio::stream_file>(run); }

void small_files(Run& run) {
  name_backend(run, "stream_file, open and close are synchronous");
  const std::vector<std::string> paths = bench::small_file_paths(run);
  asio::io_context context(1);
  std::vector<asio::stream_file> files;
  for (std::size_t slot = 0; slot < run.depth; ++slot) files.emplace_back(context);
  const bench::Buffers buffers(run.depth, run.block);
  std::uint64_t bytes = 0;
  Jobs jobs(run, context, [&](std::size_t slot, std::uint64_t index, auto done) {
    asio::stream_file& file = files[slot];
    file.open(paths[index], flags(run, O_RDONLY));
    file.async_read_some(asio::buffer(buffers[slot], run.block),
                         [&, done](const error_code& error, std::size_t count) mutable {
                           Run::require(!error || error == asio::error::eof, "a read");  // a file may be empty
                           bench::count_file(run, static_cast<std::int64_t>(count), bytes);
                           file.close();
                           done();
                         });
  });
  run.measure([&] { jobs.work(); });
  run.report("file_bytes", static_cast<double>(bytes));
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_one(argc, argv, contender,
                        {{"random-read", random_read},
                         {"random-write", random_write},
                         {"sequential-read", sequential_read},
                         {"sequential-write", sequential_write},
                         {"copy", copy},
                         {"small-files", small_files}});
}
