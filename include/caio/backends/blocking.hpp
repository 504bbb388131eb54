#pragma once
// Runs each operation in place: for debugging, for tests, and where neither threads nor rings can be had.

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/detail/sleep.hpp>
#include <caio/execute.hpp>

namespace caio::inline CAIO_ABI {

class BlockingBackend final : public Backend {
 public:
  [[nodiscard]] Implementation implementation() const noexcept override { return Implementation::blocking; }
  [[nodiscard]] std::string explain() const override { return "blocking: plain system calls on the context's thread"; }

  void drive(Batch& batch, const Wait* wait) override {
    while (!batch.empty()) {
      Request& request = batch.take();
      execute(request);
      batch.complete(request, request.result);
    }
    if (wait != nullptr && !batch.has_news()) detail::sleep_on(-1, *wait);
  }

  void cancel(Request&) override {}
};

}  // namespace caio::inline CAIO_ABI
