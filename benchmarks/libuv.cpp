// libuv's uv_fs_*: its pool of threads, with as many of them as it has by default.

#include <fcntl.h>
#include <uv.h>

#include <cstdlib>

#include "workloads.hpp"

namespace {

using bench::Run;

class Loop {
 public:
  explicit Loop(Run& run) : requests_(run.depth) {
    const char* const threads = std::getenv("UV_THREADPOOL_SIZE");
    run.backend =
        std::string("libuv ") + ::uv_version_string() + ", " + (threads == nullptr ? "4" : threads) + " threads";
    results_.reserve(run.depth);
    delivered_.reserve(run.depth);
    Run::require(::uv_loop_init(&loop_) == 0, "uv_loop_init");
    for (::uv_fs_t& request : requests_) request.data = this;
    // The threads start with the first request: not while the clock runs.
    Run::require(::uv_fs_access(&loop_, &requests_[0], "/", F_OK, ended) == 0, "uv_fs_access");
    wait([](std::size_t, std::int64_t result) { Run::require(result == 0, "uv_fs_access"); });
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() {
    ::uv_run(&loop_, UV_RUN_DEFAULT);
    Run::require(::uv_loop_close(&loop_) == 0, "uv_loop_close");
  }

  void read(std::size_t slot, int fd, std::byte* buffer, std::size_t size, std::uint64_t offset) {
    const ::uv_buf_t memory = ::uv_buf_init(reinterpret_cast<char*>(buffer), static_cast<unsigned>(size));
    started(::uv_fs_read(&loop_, &requests_[slot], fd, &memory, 1, static_cast<std::int64_t>(offset), ended));
  }

  void write(std::size_t slot, int fd, std::byte* buffer, std::size_t size, std::uint64_t offset) {
    const ::uv_buf_t memory = ::uv_buf_init(reinterpret_cast<char*>(buffer), static_cast<unsigned>(size));
    started(::uv_fs_write(&loop_, &requests_[slot], fd, &memory, 1, static_cast<std::int64_t>(offset), ended));
  }

  void open(std::size_t slot, const char* path, int flags) {
    started(::uv_fs_open(&loop_, &requests_[slot], path, flags, 0, ended));
  }

  void close(std::size_t slot, int fd) { started(::uv_fs_close(&loop_, &requests_[slot], fd, ended)); }

  template <typename Handler>
  void wait(Handler handler) {
    while (results_.empty()) ::uv_run(&loop_, UV_RUN_ONCE);
    delivered_.swap(results_);
    for (const bench::Result& result : delivered_) handler(result.slot, result.value);
    delivered_.clear();
  }

 private:
  static void started(int error) { Run::require(error == 0, "a request of libuv"); }

  static void ended(::uv_fs_t* request) {
    Loop& self = *static_cast<Loop*>(request->data);
    self.results_.push_back({static_cast<std::size_t>(request - self.requests_.data()), request->result});
    ::uv_fs_req_cleanup(request);
  }

  ::uv_loop_t loop_{};
  std::vector<::uv_fs_t> requests_;
  std::vector<bench::Result> results_;
  std::vector<bench::Result> delivered_;
};

}  // namespace

int main(int argc, char** argv) { return bench::run_engine<Loop>(argc, argv, "libuv"); }
