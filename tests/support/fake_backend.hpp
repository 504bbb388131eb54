#pragma once
// A backend with files in memory and a seeded scheduler: it decides what ends when, in which order, how far each
// transfer gets, and what goes wrong.

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <caio/backend.hpp>
#include <caio/detail/sleep.hpp>
#include <caio/detail/unique_fd.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace support {

struct Faults {
  unsigned short_counts = 0;  // percent of transfers that stop early
  unsigned plumbing = 0;      // percent that end with EINTR or EAGAIN first
  unsigned errors = 0;        // percent that fail with EIO
};

class FakeBackend final : public caio::Backend {
 public:
  explicit FakeBackend(std::uint64_t seed, Faults faults = {}) : random_(seed), faults_(faults) {}

  std::map<std::string, std::string> files;
  std::size_t syncs = 0;
  std::size_t errors_given = 0;
  std::size_t most_held = 0;

  caio::Implementation implementation() const noexcept override { return caio::Implementation::blocking; }
  std::string explain() const override { return "fake"; }

  void drive(caio::Batch& batch, const caio::Wait* wait) override {
    while (!batch.empty()) held_.push_back(&batch.take());
    most_held = std::max(most_held, held_.size());
    // Some end now; when the context sleeps, at least one.
    std::size_t ending = held_.empty() ? 0 : random_() % (held_.size() + 1);
    if (wait != nullptr && !held_.empty()) ending = std::max<std::size_t>(ending, 1);
    for (; ending > 0; --ending) {
      const auto chosen = held_.begin() + static_cast<std::ptrdiff_t>(random_() % held_.size());
      caio::Request& request = **chosen;
      held_.erase(chosen);
      batch.complete(request, finish(request));
    }
    if (wait != nullptr && !batch.has_news()) caio::detail::sleep_on(-1, *wait);
    announce(!held_.empty());
  }

  int fileno() noexcept override { return busy_.get(); }

  /// Sometimes in time, sometimes too late.
  void cancel(caio::Request& request) override {
    if (random_() % 2 == 0) cancelled_.push_back(&request);
  }

 private:
  /// What is held can end at any time: the descriptor is readable as long as there is something.
  void announce(bool busy) {
    std::uint64_t count = 1;
    static_cast<void>(::read(busy_.get(), &count, sizeof count));
    count = 1;
    if (busy) static_cast<void>(::write(busy_.get(), &count, sizeof count));
  }

  bool chance(unsigned percent) { return random_() % 100 < percent; }

  std::int64_t finish(caio::Request& request) {
    if (std::erase(cancelled_, &request) > 0) return -ECANCELED;
    if (request.opcode != caio::Opcode::close && chance(faults_.plumbing)) return -EINTR;
    if (request.opcode != caio::Opcode::close && chance(faults_.errors)) return ++errors_given, -EIO;
    return carry_out(request);
  }

  std::int64_t carry_out(caio::Request& request) {
    const auto number = static_cast<std::size_t>(request.descriptor.fileno());
    switch (request.opcode) {
      case caio::Opcode::open:
        if (!files.contains(request.path) && (request.open_flags & O_CREAT) == 0) return -ENOENT;
        if ((request.open_flags & O_TRUNC) != 0) files[request.path].clear();
        open_.push_back(&files[request.path]);
        request.descriptor = caio::Descriptor::foreign(static_cast<int>(open_.size()) - 1);
        return request.descriptor.fileno();
      case caio::Opcode::close: open_.at(number) = nullptr; return 0;
      case caio::Opcode::size: return static_cast<std::int64_t>(open_.at(number)->size());
      case caio::Opcode::truncate: open_.at(number)->resize(static_cast<std::size_t>(request.offset)); return 0;
      case caio::Opcode::fsync:
      case caio::Opcode::fdatasync: ++syncs; return 0;
      case caio::Opcode::read:
      case caio::Opcode::write: return transfer(request, *open_.at(number));
      default: return -EINVAL;
    }
  }

  std::int64_t transfer(caio::Request& request, std::string& file) {
    const auto offset = static_cast<std::size_t>(request.offset);
    std::size_t length = request.length;
    if (length > 1 && chance(faults_.short_counts)) length = 1 + random_() % (length - 1);
    if (request.opcode == caio::Opcode::write) {
      if (file.size() < offset + length) file.resize(offset + length);
      std::memcpy(file.data() + offset, request.buffer, length);
    } else {
      length = offset < file.size() ? std::min(length, file.size() - offset) : 0;
      if (length > 0) std::memcpy(request.buffer, file.data() + offset, length);
    }
    return static_cast<std::int64_t>(length);
  }

  caio::detail::UniqueFd busy_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  std::mt19937_64 random_;
  Faults faults_;
  std::vector<caio::Request*> held_;
  std::vector<caio::Request*> cancelled_;
  std::vector<std::string*> open_;
};

}  // namespace support
