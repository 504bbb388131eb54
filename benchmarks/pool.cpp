// Threads that take blocking system calls from a queue: what an asynchronous library does that does not think about it.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <queue>
#include <thread>

#include "workloads.hpp"

namespace {

using bench::Run;

class Pool {
 public:
  explicit Pool(Run& run) {
    const std::size_t count = std::min<std::size_t>(4, run.depth);
    run.backend = std::to_string(count) + (count == 1 ? " thread" : " threads");
    for (std::size_t i = 0; i < count; ++i) threads_.emplace_back([this] { serve(); });
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    {
      const std::lock_guard lock(requests_mutex_);
      stopping_ = true;
    }
    requests_ready_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void read(std::size_t slot, int fd, std::byte* buffer, std::size_t size, std::uint64_t offset) {
    submit({.kind = Kind::read, .slot = slot, .fd = fd, .buffer = buffer, .size = size, .offset = offset});
  }

  void write(std::size_t slot, int fd, std::byte* buffer, std::size_t size, std::uint64_t offset) {
    submit({.kind = Kind::write, .slot = slot, .fd = fd, .buffer = buffer, .size = size, .offset = offset});
  }

  void open(std::size_t slot, const char* path, int flags) {
    submit({.kind = Kind::open, .slot = slot, .path = path, .flags = flags});
  }

  void close(std::size_t slot, int fd) { submit({.kind = Kind::close, .slot = slot, .fd = fd}); }

  template <typename Handler>
  void wait(Handler handler) {
    {
      std::unique_lock lock(results_mutex_);
      results_ready_.wait(lock, [this] { return !results_.empty(); });
      delivered_.swap(results_);
    }
    for (const bench::Result& result : delivered_) handler(result.slot, result.value);
    delivered_.clear();
  }

 private:
  enum class Kind { read, write, open, close };

  struct Request {
    Kind kind;
    std::size_t slot;
    int fd = -1;
    std::byte* buffer = nullptr;
    std::size_t size = 0;
    std::uint64_t offset = 0;
    const char* path = nullptr;
    int flags = 0;
  };

  static std::int64_t perform(const Request& request) {
    std::int64_t value = -1;
    switch (request.kind) {
      case Kind::read:
        value = ::pread(request.fd, request.buffer, request.size, static_cast<::off_t>(request.offset));
        break;
      case Kind::write:
        value = ::pwrite(request.fd, request.buffer, request.size, static_cast<::off_t>(request.offset));
        break;
      case Kind::open: value = ::open(request.path, request.flags); break;
      case Kind::close: value = ::close(request.fd); break;
    }
    return value >= 0 ? value : -errno;
  }

  void submit(const Request& request) {
    {
      const std::lock_guard lock(requests_mutex_);
      requests_.push(request);
    }
    requests_ready_.notify_one();
  }

  void serve() {
    std::unique_lock lock(requests_mutex_);
    while (true) {
      requests_ready_.wait(lock, [this] { return stopping_ || !requests_.empty(); });
      if (requests_.empty()) return;
      const Request request = requests_.front();
      requests_.pop();
      lock.unlock();
      const bench::Result result{request.slot, perform(request)};
      {
        const std::lock_guard results_lock(results_mutex_);
        results_.push_back(result);
      }
      results_ready_.notify_one();
      lock.lock();
    }
  }

  std::mutex requests_mutex_;
  std::condition_variable requests_ready_;
  std::queue<Request> requests_;
  bool stopping_ = false;
  std::mutex results_mutex_;
  std::condition_variable results_ready_;
  std::vector<bench::Result> results_;
  std::vector<bench::Result> delivered_;
  std::vector<std::thread> threads_;
};

}  // namespace

int main(int argc, char** argv) { return bench::run_engine<Pool>(argc, argv, "pool"); }
