#pragma once
// The kernel's AIO (libaio): truly asynchronous for O_DIRECT on regular files and block devices within the file's size.
// Everything else would block inside io_submit (seen on Linux 6.18), and goes to the pool.

#include <libaio.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/detail/process.hpp>
#include <caio/detail/sleep.hpp>
#include <caio/detail/slots.hpp>
#include <caio/detail/unique_fd.hpp>
#include <caio/execute.hpp>
#include <caio/handover.hpp>
#include <caio/options.hpp>
#include <caio/system.hpp>

namespace caio::inline CAIO_ABI {

/// The calls of libaio that the backend makes; a test can replace them.
struct LinuxAioCalls {
  int (*setup)(int, ::io_context_t*) = ::io_setup;
  int (*submit)(::io_context_t, long, struct ::iocb**) = ::io_submit;
  int (*getevents)(::io_context_t, long, long, struct ::io_event*, ::timespec*) = ::io_getevents;
};

inline constinit LinuxAioCalls linux_aio_calls{};

class LinuxAioBackend final : public Backend {
 public:
  /// std::system_error when the kernel has no AIO, or no room for another context (/proc/sys/fs/aio-max-nr).
  explicit LinuxAioBackend(const ContextOptions& options)
      : slots_(std::min(options.max_requests, largest_context)),
        blocks_(slots_.capacity()),
        completed_(system_calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!completed_) throw std::system_error(errno, std::system_category(), "eventfd");
    const int status = linux_aio_calls.setup(static_cast<int>(slots_.capacity()), &context_);
    if (status < 0) throw std::system_error(-status, std::system_category(), "io_setup");
  }

  ~LinuxAioBackend() override {
    // In a forked child the context is not there: its id means nothing.
    if (generation_ == detail::process_generation()) ::io_destroy(context_);
  }

  /// A round trip through the kernel: reads one byte of a file in memory. Throws std::system_error.
  static void probe() {
    LinuxAioBackend backend({.max_requests = 1});
    const detail::UniqueFd file(::memfd_create("caio-probe", MFD_CLOEXEC));
    char byte = 'x';
    if (!file || ::pwrite(file.get(), &byte, 1, 0) != 1) return;  // nothing to probe with is no reason to refuse
    ::iocb block{};
    ::iocb* blocks = &block;
    ::io_prep_pread(&block, file.get(), &byte, 1, 0);
    const int submitted = linux_aio_calls.submit(backend.context_, 1, &blocks);
    if (submitted != 1) throw std::system_error(submitted < 0 ? -submitted : EIO, std::system_category(), "io_submit");
    ::io_event event{};
    const int got = linux_aio_calls.getevents(backend.context_, 1, 1, &event, nullptr);
    if (got != 1) throw std::system_error(got < 0 ? -got : EIO, std::system_category(), "io_getevents");
  }

  [[nodiscard]] Implementation implementation() const noexcept override { return Implementation::linux_aio; }
  [[nodiscard]] std::string explain() const override {
    return "linux: libaio for O_DIRECT, up to " + std::to_string(slots_.capacity()) + " at once; the rest on the pool";
  }
  [[nodiscard]] int fileno() noexcept override {
    watched_ = true;
    return completed_.get();
  }

  void drive(Batch& batch, const Wait* wait) override {
    submit(batch);
    reap(batch);
    if (wait == nullptr || batch.has_news()) return;
    detail::sleep_on(completed_.get(), *wait);
    drain();
    reap(batch);
  }

  /// The kernel cancels no file I/O (io_cancel gives EINVAL): it is waited for.
  void cancel(Request&) override {}

 private:
  static constexpr unsigned largest_context = 1024;  // aio-max-nr, 65536 by default, is for the whole machine

  static bool takes(const Request& request) noexcept {
    const Descriptor& descriptor = request.descriptor;
    const bool vectored = request.opcode == Opcode::readv || request.opcode == Opcode::writev;
    if (!descriptor.direct() || request.offset < 0 || !(request.is_scalar_transfer() || vectored)) return false;
    if (descriptor.kind() == Descriptor::Kind::block) return true;
    if (descriptor.kind() != Descriptor::Kind::regular) return false;
    if (request.is_read()) return true;
    // A write that makes the file longer blocks inside io_submit.
    struct ::stat status;
    std::size_t bytes = vectored ? 0 : request.length;
    for (std::size_t i = 0; vectored && i < request.length; ++i) bytes += request.vectors[i].iov_len;
    return !descriptor.append() && !request.append && system_calls.fstat(descriptor.fileno(), &status) == 0 &&
           static_cast<std::uint64_t>(request.offset) + bytes <= static_cast<std::uint64_t>(status.st_size);
  }

  ::iocb* prepare(Request& request) noexcept {
    const std::uint64_t key = slots_.insert(request);
    ::iocb& block = blocks_[request.slot];
    const int fd = request.descriptor.fileno();
    const std::size_t length = std::min(request.length, most_bytes_per_step);
    switch (request.opcode) {
      case Opcode::read: ::io_prep_pread(&block, fd, request.buffer, length, request.offset); break;
      case Opcode::write: ::io_prep_pwrite(&block, fd, request.buffer, length, request.offset); break;
      case Opcode::readv:
        ::io_prep_preadv(&block, fd, request.vectors, static_cast<int>(request.length), request.offset);
        break;
      default: ::io_prep_pwritev(&block, fd, request.vectors, static_cast<int>(request.length), request.offset); break;
    }
    block.data = reinterpret_cast<void*>(key);  // NOLINT: the kernel hands it back, nobody follows it
    ::io_set_eventfd(&block, completed_.get());
    return &block;
  }

  void submit(Batch& batch) {
    std::array<::iocb*, 64> prepared;
    while (!batch.empty()) {
      std::size_t count = 0;
      while (!batch.empty() && count < prepared.size()) {
        if (!takes(batch.front())) {
          batch.refuse(batch.take());
        } else if (slots_.full()) {
          break;
        } else {
          Request& request = batch.take();
          prepared[count++] = prepare(request);
          detail::handed_over(&request);
        }
      }
      if (count == 0) return;
      for (std::size_t done = 0; done < count;) {
        const int accepted = linux_aio_calls.submit(context_, static_cast<long>(count - done), prepared.data() + done);
        if (accepted > 0) {
          done += static_cast<std::size_t>(accepted);
          continue;
        }
        if (accepted == -EINTR) continue;
        // The first of the rest was not taken, for its own sake or for want of room: the pool has the true answer.
        batch.refuse(*slots_.remove(key_of(*prepared[done])));
        ++done;
      }
    }
  }

  void drain() const noexcept {
    std::uint64_t count = 0;
    static_cast<void>(::read(completed_.get(), &count, sizeof count));
  }

  void reap(Batch& batch) {
    if (slots_.used() == 0 && !watched_) return;
    drain();  // with nothing in flight, too: the kernel signals after it has given the result
    if (slots_.used() == 0) return;
    std::array<::io_event, 64> events;
    for (;;) {
      ::timespec now{};
      const int got = linux_aio_calls.getevents(context_, 0, static_cast<long>(events.size()), events.data(), &now);
      if (got == -EINTR) continue;
      for (int i = 0; i < got; ++i) {
        const ::io_event& event = events[static_cast<std::size_t>(i)];
        detail::filled(const_cast<::io_event*>(&event), sizeof event);
        if (Request* const request = slots_.remove(reinterpret_cast<std::uintptr_t>(event.data))) {
          batch.complete(*request, static_cast<std::int64_t>(event.res));
        }
      }
      if (got < static_cast<int>(events.size())) return;
    }
  }

  static std::uint64_t key_of(const ::iocb& block) noexcept { return reinterpret_cast<std::uintptr_t>(block.data); }

  const unsigned generation_ = detail::process_generation();
  detail::Slots slots_;
  std::vector<::iocb> blocks_;  // by slot
  detail::UniqueFd completed_;
  bool watched_ = false;
  ::io_context_t context_{};
};

}  // namespace caio::inline CAIO_ABI
