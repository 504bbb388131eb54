#pragma once
// A descriptor whose close(2) may take long.

#include <memory>
#include <new>
#include <utility>

#include <caio/config.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/engine.hpp>
#include <caio/request.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Owns a descriptor. On its context's thread the destructor leaves the closing to a thread of the pool and does not
/// wait for it: for an inotify instance that has had watches it takes 20 ms (seen on Linux 6.18), and who closes a
/// large file that was removed meanwhile frees its blocks. The context's end waits.
class PoolFd {
 public:
  PoolFd() = default;
  PoolFd(std::shared_ptr<caio::Engine> engine, int fd) noexcept : engine_(std::move(engine)), fd_(fd) {}
  PoolFd(PoolFd&&) = default;
  PoolFd& operator=(PoolFd&& other) noexcept {
    std::swap(engine_, other.engine_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~PoolFd() {
    if (!fd_ || !engine_->working_here()) return;
    auto* const closing = new (std::nothrow) Closing(fd_);
    if (closing != nullptr && engine_->start(*closing)) delete closing;
  }

  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

 private:
  struct Closing : caio::Request {
    explicit Closing(caio::detail::UniqueFd& closed) noexcept : fd(std::move(closed)) {
      opcode = caio::Opcode::call;
      call = [](caio::Request& request) noexcept { static_cast<Closing&>(request).fd = caio::detail::UniqueFd(); };
      run = [](caio::Job& job) noexcept { delete static_cast<Closing*>(static_cast<caio::Request*>(&job)); };
    }
    caio::detail::UniqueFd fd;
  };

  std::shared_ptr<caio::Engine> engine_;
  caio::detail::UniqueFd fd_;
};

}  // namespace aiofile::inline CAIO_ABI::detail
