#pragma once
// A backend whose files are MemoryFiles: tests of file code without a disk.
//
//   caio::testing::MemoryFiles files;
//   files.write("config", "a=1\n");
//   caio::Context context(std::make_unique<caio::testing::MemoryBackend>(files));
//   context.run(code_under_test());
//   CHECK(files.content("result") == "...");

#include <memory>
#include <mutex>
#include <string>

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/detail/sleep.hpp>
#include <caio/execute.hpp>
#include <caio/testing/memory_files.hpp>

namespace caio::inline CAIO_ABI::testing {

/// Carries out everything at once and in order; FaultBackend around it delays, reorders and fails. Opening a name never
/// reaches the disk, and a descriptor of the disk is EBADF here. Pipes and terminals work as always.
class MemoryBackend final : public Backend {
 public:
  explicit MemoryBackend(const MemoryFiles& files) noexcept : state_(files.state_) {}

  [[nodiscard]] Implementation implementation() const noexcept override { return Implementation::blocking; }
  [[nodiscard]] std::string explain() const override { return "files in memory"; }
  [[nodiscard]] bool may_be_bypassed() const noexcept override { return false; }

  void drive(Batch& batch, const Wait* wait) override {
    while (!batch.empty()) {
      Request& request = batch.take();
      at_once(request);
      batch.complete(request, request.result);
    }
    if (wait != nullptr && !batch.has_news()) detail::sleep_on(-1, *wait);
  }

  void cancel(Request&) override {}

  void at_once(Request& request) noexcept override {
    try {
      const std::lock_guard lock(state_->mutex);
      request.result = carry_out(request);
    } catch (const std::bad_alloc&) {
      request.result = -ENOMEM;
    }
  }

 private:
  std::int64_t carry_out(Request& request) {
    if (request.opcode == Opcode::open) {
      const std::int64_t number = state_->open(request.path, request.open_flags);
      if (number >= 0) request.descriptor = Descriptor::foreign(static_cast<int>(number));
      return number;
    }
    if (request.descriptor.kind() == Descriptor::Kind::stream) {  // a pipe's close; its bytes never come here
      execute(request);
      return request.result;
    }
    if (!request.descriptor.is_foreign()) return -EBADF;
    const int number = request.descriptor.fileno();
    char* const buffer = static_cast<char*>(request.buffer);
    switch (request.opcode) {
      case Opcode::read: return state_->read(number, buffer, request.length, request.offset);
      case Opcode::write: return state_->write(number, buffer, request.length, request.offset, request.append);
      case Opcode::readv:
      case Opcode::writev: return vectored(request);
      case Opcode::fsync:
      case Opcode::fdatasync: return state_->sync(number);
      case Opcode::truncate: return state_->truncate(number, request.offset);
      case Opcode::size: return state_->size(number);
      case Opcode::close: return state_->close(number);
      default: return -EOPNOTSUPP;
    }
  }

  std::int64_t vectored(const Request& request) {
    const int number = request.descriptor.fileno();
    std::int64_t moved = 0;
    for (std::size_t i = 0; i < request.length; ++i) {
      const auto& [base, length] = request.vectors[i];
      const std::int64_t offset = request.offset < 0 ? -1 : request.offset + moved;
      const std::int64_t count =
          request.is_read() ? state_->read(number, static_cast<char*>(base), length, offset)
                            : state_->write(number, static_cast<const char*>(base), length, offset, request.append);
      if (count < 0) return moved > 0 ? moved : count;
      moved += count;
      if (static_cast<std::size_t>(count) < length) break;
    }
    return moved;
  }

  std::shared_ptr<MemoryFiles::State> state_;
};

}  // namespace caio::inline CAIO_ABI::testing
