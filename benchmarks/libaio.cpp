// The kernel's older asynchronous I/O by libaio alone. It is asynchronous for O_DIRECT only: for buffered files
// io_submit does the whole work before it returns.

#include <fcntl.h>
#include <libaio.h>
#include <unistd.h>

#include <cerrno>

#include "workloads.hpp"

namespace {

using bench::Run;

class Aio {
 public:
  explicit Aio(Run& run) : blocks_(run.depth), events_(run.depth) {
    run.backend = "libaio";
    prepared_.reserve(run.depth);
    done_.reserve(run.depth);
    delivered_.reserve(run.depth);
    Run::require(::io_setup(static_cast<int>(run.depth), &context_) == 0, "io_setup");
  }
  Aio(const Aio&) = delete;
  Aio& operator=(const Aio&) = delete;
  ~Aio() { ::io_destroy(context_); }

  void read(std::size_t slot, int fd, std::byte* buffer, std::size_t size, std::uint64_t offset) {
    ::io_prep_pread(&blocks_[slot], fd, buffer, size, static_cast<long long>(offset));
    prepare(slot);
  }

  void write(std::size_t slot, int fd, std::byte* buffer, std::size_t size, std::uint64_t offset) {
    ::io_prep_pwrite(&blocks_[slot], fd, buffer, size, static_cast<long long>(offset));
    prepare(slot);
  }

  /// Neither this nor close() has an asynchronous form.
  void open(std::size_t slot, const char* path, int flags) {
    const int fd = ::open(path, flags);
    done_.push_back({slot, fd >= 0 ? fd : -errno});
  }

  void close(std::size_t slot, int fd) { done_.push_back({slot, ::close(fd) == 0 ? 0 : -errno}); }

  template <typename Handler>
  void wait(Handler handler) {
    for (std::size_t submitted = 0; submitted < prepared_.size();) {
      const int count =
          ::io_submit(context_, static_cast<long>(prepared_.size() - submitted), prepared_.data() + submitted);
      Run::require(count > 0, "io_submit");
      submitted += static_cast<std::size_t>(count);
    }
    under_way_ += prepared_.size();
    prepared_.clear();

    delivered_.swap(done_);
    if (under_way_ > 0) {
      const int count = ::io_getevents(context_, delivered_.empty() ? 1 : 0, static_cast<long>(events_.size()),
                                       events_.data(), nullptr);
      Run::require(count >= 0, "io_getevents");
      under_way_ -= static_cast<std::size_t>(count);
      for (int i = 0; i < count; ++i) {
        const ::io_event& event = events_[static_cast<std::size_t>(i)];
        handler(static_cast<std::size_t>(event.obj - blocks_.data()), static_cast<std::int64_t>(event.res));
      }
    }
    for (const bench::Result& result : delivered_) handler(result.slot, result.value);
    delivered_.clear();
  }

 private:
  void prepare(std::size_t slot) { prepared_.push_back(&blocks_[slot]); }

  ::io_context_t context_ = nullptr;
  std::vector<::iocb> blocks_;
  std::vector<::iocb*> prepared_;
  std::vector<::io_event> events_;
  std::size_t under_way_ = 0;
  std::vector<bench::Result> done_;
  std::vector<bench::Result> delivered_;
};

}  // namespace

int main(int argc, char** argv) { return bench::run_engine<Aio>(argc, argv, "libaio"); }
