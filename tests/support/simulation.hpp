#pragma once
// A small world on a disk in memory, all of it decided by a seed: coroutines that read, write, stop, are destroyed and
// sync, faults of the disk, a power cut at the end; and the promises that have to hold whatever happens.

#include <aiofile/aiofile.hpp>
#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/simulated.hpp"

namespace support {

/// Deliberately broken users, whom a simulation has to find out.
enum class Blunder {
  none,
  ignored_short_write,  ///< believes that one write moves all
  early_ack,            ///< acknowledges before the sync
};

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed, Blunder blunder = Blunder::none)
      : seed_(seed),
        blunder_(blunder),
        max_requests_(1 + static_cast<unsigned>(seed % 9)),
        // Every fourth world ends in the middle of its work.
        turns_(seed % 4 == 0 ? 1 + seed / 4 % 40 : ~std::uint64_t{0}) {
    files_.write("slots", content_);
    // An odd percentage of errors, or none: worlds without errors must have none.
    auto backend = simulated(
        files_, seed, {.short_counts = 30, .interruptions = 20, .errors = seed % 3 == 0 ? 0U : 3U, .delays = 40});
    faults_ = backend.get();
    context_.emplace(std::move(backend), caio::ContextOptions{.max_requests = max_requests_});
  }

  /// What has happened in it: a world without faults and stops proves nothing.
  struct Tally {
    caio::testing::FaultCounts faults;
    std::size_t stopped = 0;
    std::size_t destroyed = 0;
    std::size_t cut_short = 0;
    std::size_t told_lost = 0;
  };
  Tally tally;

  /// Runs it all; gives the promises that were broken.
  std::vector<std::string> run() {
    {
      std::vector<Stranger<TokenByReference>> actors;
      for (std::size_t slot = 0; slot < slots; ++slot) actors.push_back(use_slot(slot));
      actors.push_back(keep_ledger());
      actors.push_back(use_stream());
      for (const auto& actor : actors) actor.start(std::stop_token());
      for (; turns_ > 0 && ended_ < actors.size(); --turns_) context_->poll();
      const bool finished = ended_ == actors.size();
      if (finished) check_end();
      tally.cut_short += !finished;
      // Else the context ends with all of them under way, or the actors go first.
      if (seed_ % 8 != 0) context_.reset();
      if (!context_ && ended_ != actors.size()) complain("not everybody was told of the context's end");
    }
    context_.reset();
    if (files_.open_count() != 0) complain("a file was left open");
    files_.cut_power(seed_);
    check_ledger();
    return std::move(complaints_);
  }

 private:
  using Actor = Stranger<TokenByReference>;

  static constexpr std::size_t slot_size = 64;
  static constexpr std::size_t slots = 6;
  static constexpr std::size_t record_size = 600;  // longer than what a disk writes at once
  static constexpr std::size_t records = 6;
  static constexpr int steps = 8;

  /// What became of one operation.
  struct Attempt {
    int ends = 0;
    std::size_t moved = 0;
    int error = 0;
  };

  void complain(std::string text) { complaints_.push_back(std::move(text)); }

  void check_end() {
    const caio::ContextStats stats = context_->stats();
    if (stats.submitted != stats.completed) complain("submitted and completed differ");
    if (stats.in_flight != 0 || stats.parked != 0) complain("something is left");
    if (stats.max_in_flight > max_requests_) complain("more than max_requests were in flight");
    const caio::testing::FaultCounts counts = faults_->counts();
    if (counts.errors == 0 && (errors_seen_ > 0 || acknowledged_ != records)) complain("an error that nobody made");
    if (counts.held != 0) complain("the backend still holds something");
    tally.faults.interruptions += counts.interruptions;
    tally.faults.errors += counts.errors;
    tally.faults.shortened += counts.shortened;
    tally.faults.delayed += counts.delayed;
    const std::string file = files_.content("slots");
    for (std::size_t slot = 0; slot < slots; ++slot) {
      const auto part = [slot](const std::string& text) { return text.substr(slot * slot_size, slot_size); };
      if (!unknown_.contains(slot) && part(file) != part(content_)) complain("wrong content");
    }
  }

  /// Opens until it works; false: the context has ended.
  static caio::Task<bool> open(aiofile::AIOFile& file) {
    for (;;) {
      const int error = co_await errno_of(file.open());
      if (error != EIO) co_return error == 0;
    }
  }

  // --- positional operations, stopped and destroyed at any moment

  static Actor attempt(caio::Context& context, aiofile::AIOFile& file, bool writes, bool whole, std::string& text,
                       std::uint64_t offset, Attempt& attempt) {
    const caio::Descriptor number = caio::Descriptor::foreign(file.fileno());
    const auto position = static_cast<std::int64_t>(offset);
    try {
      if (writes && whole) {
        attempt.moved = co_await file.write(std::string_view(text), offset);
      } else if (writes) {
        attempt.moved = co_await context.write(number, bytes_of(text), position);
      } else if (whole) {
        attempt.moved = co_await file.read_into(room_in(text), offset);
      } else {
        attempt.moved = co_await context.read(number, room_in(text), position);
      }
    } catch (const aiofile::FileError& error) {
      attempt.error = error.code().value();
      attempt.moved = error.transferred();
    } catch (const std::system_error& error) {
      attempt.error = error.code().value();
    }
    ++attempt.ends;
  }

  Actor use_slot(std::size_t slot) {
    aiofile::AIOFile file("slots", "r+b", {.context = &*context_});
    const bool opened = co_await open(file);
    std::mt19937_64 random(seed_ * 100 + slot);
    for (int step = 0; opened && step < steps && context_; ++step) {
      const std::size_t start = random() % slot_size;
      const std::size_t length = 1 + random() % (slot_size - start);
      const std::size_t offset = slot * slot_size + start;
      const bool writes = random() % 2 == 0;
      const bool whole = random() % 2 == 0;
      std::string text(length, static_cast<char>('a' + random() % 26));
      std::stop_source source;
      Attempt result;
      std::optional<Actor> operation(attempt(*context_, file, writes, whole, text, offset, result));
      const auto fate = random() % 10;
      if (fate == 0) source.request_stop();
      operation->start(source.get_token());
      bool told = true;
      for (auto turns = random() % 3; turns > 0 && told; --turns) {
        const int error = co_await errno_of(context_->schedule());
        told = error == 0;
      }
      if (!told) break;
      if (fate == 1) source.request_stop();
      if (fate == 2 && !operation->done()) {
        operation.reset();
        ++tally.destroyed;
        if (result.ends != 0) complain("an operation ended in its destructor");
        if (writes) unknown_.insert(slot);
        continue;
      }
      co_await operation->ended();
      if (fate == 0 && result.error != ECANCELED) complain("a stop before the start came to nothing");
      tally.stopped += result.error == ECANCELED;
      judge(result, slot, offset, text, writes, whole, fate <= 1);
    }
    // Closed beside a write: that one ends, whole or not at all, and so does the close.
    if (opened && context_) {
      Attempt last;
      std::string text(slot_size, 'z');
      const Actor operation = attempt(*context_, file, true, true, text, slot * slot_size, last);
      operation.start(std::stop_token());
      const int closed = co_await errno_of(file.close());
      co_await operation.ended();
      if (closed != 0 && turns_ > 0) complain("a close failed with errno " + std::to_string(closed));
      judge(last, slot, slot * slot_size, text, true, true, false);
    }
    co_await errno_of(file.close());
    ++ended_;
  }

  void judge(const Attempt& result, std::size_t slot, std::size_t offset, const std::string& text, bool writes,
             bool whole, bool stopped) {
    if (result.ends != 1) complain("an operation ended " + std::to_string(result.ends) + " times");
    errors_seen_ += result.error == EIO;
    const bool cancelled = result.error == ECANCELED && (stopped || turns_ == 0);
    if (result.error != 0 && result.error != EIO && !cancelled && !(result.error == EBADF && turns_ == 0)) {
      complain("errno " + std::to_string(result.error));
    }
    if (result.moved > text.size()) complain("moved too much");
    if (result.error == 0 && (whole ? result.moved != text.size() : result.moved == 0)) complain("moved too little");
    if (writes) {
      const bool believes = blunder_ == Blunder::ignored_short_write && result.error == 0;
      const std::size_t moved = believes ? text.size() : result.moved;
      content_.replace(offset, moved, text, 0, moved);
    } else if (!unknown_.contains(slot) && text.substr(0, result.moved) != content_.substr(offset, result.moved)) {
      complain("a read gave what was never written");
    }
  }

  // --- records that are acknowledged when they are durable

  static std::string record(std::size_t number) {
    return std::string(record_size, static_cast<char>('A' + number % 26));
  }

  /// Two writes and the sync that covers them, all started together.
  Actor keep_ledger() {
    aiofile::AIOFile file("ledger", "wb", {.context = &*context_});
    bool going_on = co_await open(file);
    bool failed = false;
    for (std::size_t number = 0; going_on && number < records; ++number) {
      const std::string text = record(number);
      const std::string_view left = std::string_view(text).substr(0, text.size() / 2);
      const std::uint64_t offset = number * record_size;
      int first = -1;
      int second = -1;
      int synced = -1;
      const Actor actors[] = {
          note(file.write(left, offset), first),
          note(file.write(std::string_view(text).substr(left.size()), offset + left.size()), second),
          note(file.fsync(), synced)};
      for (const Actor& actor : actors) actor.start(std::stop_token());
      co_await actors[0].ended();
      co_await actors[1].ended();
      const bool written = first == 0 && second == 0;
      if (blunder_ == Blunder::early_ack && written) acknowledged_ = number + 1;
      co_await actors[2].ended();
      errors_seen_ += (first == EIO) + (second == EIO) + (synced == EIO);
      if (failed && synced == 0) complain("a sync succeeded after one had failed");
      failed |= synced == EIO;
      going_on = written && (synced == 0 || synced == EIO);
      if (written && synced == 0) acknowledged_ = number + 1;
    }
    const int closed = co_await errno_of(file.close());
    if (failed && closed == 0) complain("a close kept quiet about a failed sync");
    ++ended_;
  }

  template <class Operation>
  static Actor note(Operation operation, int& error) {
    error = co_await errno_of(std::move(operation));
  }

  void check_ledger() {
    if (acknowledged_ == 0) return;
    const std::string ledger = files_.contains("ledger") ? files_.content("ledger") : "";
    for (std::size_t number = 0; number < acknowledged_; ++number) {
      if (ledger.size() < (number + 1) * record_size ||
          ledger.compare(number * record_size, record_size, record(number)) != 0) {
        return complain("record " + std::to_string(number) + " was acknowledged and is lost");
      }
    }
  }

  // --- a stream with a position and gathered writes

  Actor use_stream() {
    std::mt19937_64 random(seed_ * 100 + slots);
    context_->on_lost_data([this](const caio::LostData&) { lost_ = true; });
    auto opened = co_await caio::as_result(
        aiofile::async_open("stream", "w+b", {.context = &*context_, .buffering = random() % 3 * 50}));
    std::string model;
    bool failed = !opened;
    if (opened) {
      aiofile::FileStream stream = std::move(opened).value();
      for (int step = 0; step < 2 * steps && !failed; ++step) {
        const std::size_t position = model.empty() ? 0 : random() % model.size();
        try {
          if (random() % 2 == 0) {
            const std::string text(random() % 40, static_cast<char>('a' + random() % 26));
            stream.seek(static_cast<std::int64_t>(position));
            co_await stream.write(std::string_view(text));
            model.replace(position, text.size(), text);
          } else {
            stream.seek(static_cast<std::int64_t>(position));
            const std::string got = co_await stream.read(30);
            if (got != model.substr(position, 30)) complain("a stream read what was never written");
          }
        } catch (const std::system_error& error) {
          const int code = error.code().value();
          failed = true;
          if (code != EIO && !(turns_ == 0 && (code == ECANCELED || code == EBADF))) {
            complain("a stream failed with errno " + std::to_string(code));
          }
        }
      }
      if (random() % 2 == 0) {  // else its destructor delivers
        const int closed = co_await errno_of(stream.close());
        failed |= closed != 0;
      }
    }
    tally.told_lost += lost_;
    if (!failed && !lost_ && files_.content("stream") != model) complain("a stream kept quiet about lost bytes");
    if (failed && turns_ > 0) ++errors_seen_;
    ++ended_;
  }

  std::uint64_t seed_;
  Blunder blunder_;
  unsigned max_requests_;
  std::uint64_t turns_;
  std::size_t ended_ = 0;
  std::uint64_t errors_seen_ = 0;
  std::size_t acknowledged_ = 0;
  bool lost_ = false;
  std::string content_ = std::string(slots * slot_size, '.');
  std::set<std::size_t> unknown_;  // slots in which a write was abandoned
  std::vector<std::string> complaints_;
  caio::testing::MemoryFiles files_;
  caio::testing::FaultBackend* faults_ = nullptr;
  std::optional<caio::Context> context_;
};

}  // namespace support
