// io_uring by liburing alone, with the flags that serve best here: what the kernel gives a loop without coroutines.

#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "workloads.hpp"

namespace {

using bench::Run;

/// What has ended is replaced in batches, with one system call for each.
class Ring {
 public:
  explicit Ring(Run& run) : found_(run.depth) {
    run.backend = "io_uring";
    ::io_uring_params params{};
    params.flags = IORING_SETUP_CLAMP | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    const unsigned entries = std::max(256U, static_cast<unsigned>(run.depth));
    Run::require(::io_uring_queue_init_params(entries, &ring_, &params) == 0, "io_uring_queue_init_params");
    Run::require(::io_uring_register_ring_fd(&ring_) == 1, "io_uring_register_ring_fd");
    Run::require(run.depth <= params.sq_entries, "a ring of that depth");
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() { ::io_uring_queue_exit(&ring_); }

  void read(std::size_t slot, int fd, std::byte* buffer, std::size_t size, std::uint64_t offset) {
    ::io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_read(entry, fd, buffer, static_cast<unsigned>(size), offset);
    entry->user_data = slot;
  }

  void write(std::size_t slot, int fd, const std::byte* buffer, std::size_t size, std::uint64_t offset) {
    ::io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_write(entry, fd, buffer, static_cast<unsigned>(size), offset);
    entry->user_data = slot;
  }

  void open(std::size_t slot, const char* path, int flags) {
    ::io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_openat(entry, AT_FDCWD, path, flags, 0);
    entry->user_data = slot;
  }

  void close(std::size_t slot, int fd) {
    ::io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_close(entry, fd);
    entry->user_data = slot;
  }

  void stat(std::size_t slot, const char* path) {
    ::io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_statx(entry, AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_BTIME, &found_[slot]);
    entry->user_data = slot;
  }

  void rename(std::size_t slot, const char* from, const char* to) {
    ::io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_renameat(entry, AT_FDCWD, from, AT_FDCWD, to, 0);
    entry->user_data = slot;
  }

  template <typename Handler>
  void wait(Handler handler) {
    Run::require(::io_uring_submit_and_wait(&ring_, 1) >= 0, "io_uring_submit_and_wait");
    ::io_uring_cqe* entry = nullptr;
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_for_each_cqe(&ring_, head, entry) {
      ++seen;
      handler(static_cast<std::size_t>(entry->user_data), std::int64_t{entry->res});
    }
    ::io_uring_cq_advance(&ring_, seen);
  }

 private:
  ::io_uring ring_{};
  std::vector<struct ::statx> found_;
};

}  // namespace

int main(int argc, char** argv) { return bench::run_engine<Ring>(argc, argv, "liburing"); }
