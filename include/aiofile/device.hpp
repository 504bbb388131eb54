#pragma once
// What a cursor reads and writes that is no file: an object with coroutines of its own.

#include <cerrno>
#include <exception>
#include <new>
#include <stop_token>

#include <caio/config.hpp>
#include <caio/detail/child.hpp>
#include <caio/engine.hpp>
#include <caio/request.hpp>

namespace aiofile::inline CAIO_ABI::detail {

/// Serves one request at a time, on the context's thread.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  /// As Engine::start() of a read, a write or, for a flush, an fsync. A failure is a negative result and `error`, which
  /// both outlive the service. The object's operations obey `stop`; nothing else ends the request early.
  bool start(caio::Engine& engine, caio::Request& request, const std::stop_token& stop,
             std::exception_ptr& error) noexcept {
    request.moved = 0;
    request.uncancellable = true;
    try {
      service_.start(serve(engine, request, error), stop);
    } catch (const std::bad_alloc&) {
      request.result = -ENOMEM;
    }
    if (service_.all_ended()) return true;
    engine.park(request, parked_);
    return false;
  }

  /// Lets go of the request, whose operation has been abandoned.
  void abandon() noexcept { service_.destroy_all(); }

 protected:
  /// Fills in the request; unparks it if it is parked.
  virtual caio::detail::Child serve(caio::Engine& engine, caio::Request& request, std::exception_ptr& error) = 0;

 private:
  caio::RequestList parked_;
  caio::detail::Children service_;
};

}  // namespace aiofile::inline CAIO_ABI::detail
