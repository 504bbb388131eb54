#pragma once
// A backend that ends requests when the test says so, and with what it says.

#include <aiofile/file.hpp>
#include <algorithm>
#include <caio/backend.hpp>
#include <caio/context.hpp>
#include <caio/detail/sleep.hpp>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "outcome.hpp"

namespace outcome {

class HeldBackend final : public caio::Backend {
 public:
  std::vector<caio::Request*> held;   // in the order in which they came
  std::vector<caio::Opcode> history;  // of all requests that have come
  /// What waits for the test; the rest succeeds at once.
  std::function<bool(const caio::Request&)> holds = [](const caio::Request& request) {
    return request.opcode != caio::Opcode::open && request.opcode != caio::Opcode::close;
  };

  caio::Implementation implementation() const noexcept override { return caio::Implementation::blocking; }

  void drive(caio::Batch& batch, const caio::Wait* wait) override {
    while (!batch.empty()) {
      caio::Request& request = batch.take();
      history.push_back(request.opcode);
      held.push_back(&request);
      if (!holds(request)) end(request, success(request));
    }
    for (const auto& [request, result] : std::exchange(ended_, {})) batch.complete(*request, result);
    if (wait != nullptr && !batch.has_news()) caio::detail::sleep_on(-1, *wait);
  }

  bool obeys = true;  // a cancel ends the request

  /// Comes too late for a request that the test has ended.
  void cancel(caio::Request& request) override {
    if (obeys && std::find(held.begin(), held.end(), &request) != held.end()) end(request, -ECANCELED);
  }

  /// Lets a request end at the next turn.
  void end(caio::Request& request, std::int64_t result) {
    if (request.opcode == caio::Opcode::open && result >= 0) {
      request.descriptor = caio::Descriptor::foreign(static_cast<int>(result));
    }
    std::erase(held, &request);
    ended_.emplace_back(&request, result);
  }
  void end_first(std::int64_t result) { end(*held.at(0), result); }
  /// Ends a read with `text`.
  void end_first_read(std::string_view text) {
    std::memcpy(held.at(0)->buffer, text.data(), text.size());
    end_first(static_cast<std::int64_t>(text.size()));
  }

  std::vector<caio::Opcode> opcodes() const {
    std::vector<caio::Opcode> list;
    for (const caio::Request* const request : held) list.push_back(request->opcode);
    return list;
  }

 private:
  std::int64_t success(const caio::Request& request) {
    if (request.opcode == caio::Opcode::open) return next_number_++;
    return request.opcode == caio::Opcode::write ? static_cast<std::int64_t>(request.length) : 0;
  }

  std::vector<std::pair<caio::Request*, std::int64_t>> ended_;
  int next_number_ = 1'000'000;  // no descriptor of this process
};

/// A file on such a backend.
class Bench {
 public:
  explicit Bench(std::string_view mode = "rb+") : Bench(std::make_unique<HeldBackend>(), mode) {}
  ~Bench() {
    backend.obeys = true;
    backend.holds = [](const caio::Request&) { return false; };
    while (!backend.held.empty()) backend.end_first(-EIO);
    static_cast<void>(context.run(error_of(file.close())));
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  /// Runs the context until it has nothing to do.
  void settle() {
    while (context.poll() > 0) {
    }
  }

  HeldBackend& backend;
  caio::Context context;
  aiofile::AIOFile file;

 private:
  Bench(std::unique_ptr<HeldBackend> made, std::string_view mode)
      : backend(*made), context(std::move(made)), file("file", mode, {.context = &context}) {
    static_cast<void>(context.run(error_of(file.open())));
  }
};

}  // namespace outcome
