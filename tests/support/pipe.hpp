#pragma once
// Descriptors and pipes of the tests' own.

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <utility>

namespace support {

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(const std::filesystem::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

struct Pipe {
  explicit Pipe(int flags = O_CLOEXEC) {
    int ends[2];
    if (::pipe2(ends, flags) != 0) throw std::runtime_error("pipe2");
    reader = Fd(ends[0]);
    writer = Fd(ends[1]);
  }
  Fd reader;
  Fd writer;
};

/// Linux 6.5 and later take RWF_NOWAIT on pipes.
inline bool nowait_on_pipes() {
  const Pipe pipe;
  char byte = 0;
  const ::iovec vector{&byte, 1};
  return ::preadv2(pipe.reader.get(), &vector, 1, -1, RWF_NOWAIT) >= 0 || errno == EAGAIN;
}

}  // namespace support
