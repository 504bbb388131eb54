#pragma once
// Leaves everything to the context's pool.

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/detail/sleep.hpp>

namespace caio::inline CAIO_ABI {

class ThreadPoolBackend final : public Backend {
 public:
  [[nodiscard]] Implementation implementation() const noexcept override { return Implementation::thread; }
  [[nodiscard]] std::string explain() const override { return "thread: system calls on a pool of threads"; }

  void drive(Batch& batch, const Wait* wait) override {
    while (!batch.empty()) batch.refuse(batch.take());
    if (wait != nullptr && !batch.has_news()) detail::sleep_on(-1, *wait);
  }

  void cancel(Request&) override {}
};

}  // namespace caio::inline CAIO_ABI
