#pragma once
// For twin.cpp: operations at offsets, by AIOFile.

#include "torture/twin_world.hpp"

namespace differential {

using aiofile::AIOFile;

/// Operations at offsets: by AIOFile, which carries them through, or by the context, one system call each.
class AtOffsets : public Episode {
 public:
  using Episode::Episode;

  Task<> step() final {
    const std::size_t choice = world.below(10);
    const Range range = random_range();
    if (choice < 3) {
      const Outcome library = co_await read(world.our_memory.get() + range.shift, range.length, range.offset);
      check_read("read", library, range);
    } else if (choice < 6) {
      const char* const data = world.source.get() + range.shift;
      const bool cut = world.controlled("short-write") && range.length > 0 && writable;
      Outcome library = co_await write(data, range.length - (cut ? 1 : 0), range.offset);
      if (cut) ++library.count;
      world.same("write", library, write_plainly(twin, data, range.length, range.offset, whole()));
    } else if (choice < 7) {
      co_await together();
    } else {
      co_await special(range);
    }
    if (size_of(descriptor()) != size_of(twin)) world.differs("the sizes of the files");
  }

 protected:
  struct Range {
    std::uint64_t offset;
    std::size_t length;
    std::size_t shift;  // of the memory
  };

  virtual Task<Outcome> read(char* memory, std::size_t length, std::uint64_t offset) = 0;
  virtual Task<Outcome> write(const char* data, std::size_t length, std::uint64_t offset) = 0;
  virtual Task<> special(Range range) = 0;
  virtual bool whole() const = 0;
  virtual int descriptor() const = 0;

  Range random_range() {
    Range range{world.below(size_of(twin) + 5000), world.length(), world.below(4096)};
    if (direct && !world.chance(4)) {
      constexpr std::size_t sector = 512;
      range = {range.offset / sector * sector, (range.length + sector - 1) / sector * sector,
               range.shift / sector * sector};
    }
    return range;
  }

  void check_read(const std::string& what, Outcome library, const Range& range) {
    Outcome wanted = read_plainly(twin, world.twin_memory.get() + range.shift, range.length, range.offset, whole());
    if (library.error == 0) library.bytes.assign(world.our_memory.get() + range.shift, library.count);
    if (wanted.error == 0) wanted.bytes.assign(world.twin_memory.get() + range.shift, wanted.count);
    if (world.controlled("stale-read") && range.offset + library.count < world.before.size()) {
      library.bytes = world.before.substr(range.offset, library.count);
    }
    world.same(what + " at " + std::to_string(range.offset), library, wanted);
  }

  /// Several in flight on ranges that do not touch. Reads stay within the file: it may be growing.
  Task<> together() {
    std::vector<Task<Outcome>> tasks;
    std::vector<std::pair<bool, Range>> ranges;
    Range range = random_range();
    const std::uint64_t size = size_of(twin);
    range.length = std::min<std::size_t>(range.length, 16 * 1024);
    if (direct) {  // writes at once to parts of one block are not what is tried here
      constexpr std::size_t block = 4096;
      range = {range.offset / block * block, (range.length + block - 1) / block * block, 0};
    }
    for (std::size_t count = 2 + world.below(30), i = 0; i < count; ++i) {
      const bool reading = appending || (world.chance(2) && range.offset + range.length <= size);
      ranges.emplace_back(reading, range);
      if (reading) {
        tasks.push_back(read(world.our_memory.get() + range.shift, range.length, range.offset));
      } else {
        tasks.push_back(write(world.source.get() + range.shift, range.length, range.offset));
      }
      range.offset += range.length;
      range.shift += range.length;
    }
    const std::vector<Outcome> outcomes = co_await aiofile::gather(std::move(tasks));
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      const auto& [reading, done] = ranges[i];
      if (reading) {
        check_read("read beside others", outcomes[i], done);
      } else {
        const Outcome wanted = write_plainly(twin, world.source.get() + done.shift, done.length, done.offset, whole());
        world.same("write beside others", outcomes[i], wanted);
      }
    }
  }
};

class Positional final : public AtOffsets {
 public:
  Positional(World& shared, std::string_view mode, int extra_flags) : AtOffsets(shared, mode, extra_flags) {
    aiofile::OpenOptions options;
    options.context = &shared.context;
    options.flags = extra_flags;
    handles_.emplace_back(shared.ours, mode, options);
  }

  Task<> open() override { co_await handles_.front().open(); }
  Task<> close() override {
    for (AIOFile& handle : handles_) co_await handle.close();
  }

 private:
  Task<Outcome> read(char* memory, std::size_t length, std::uint64_t offset) override {
    return outcome_of(any().read_into(std::as_writable_bytes(std::span(memory, length)), offset));
  }
  Task<Outcome> write(const char* data, std::size_t length, std::uint64_t offset) override {
    return outcome_of(any().write_bytes(std::as_bytes(std::span(data, length)), offset));
  }
  bool whole() const override { return true; }
  int descriptor() const override { return handles_.front().fileno(); }
  AIOFile& any() { return handles_[world.below(handles_.size())]; }

  Task<> special(Range range) override {
    const std::size_t choice = world.below(direct ? 6 : 11);
    const auto wanted_read = [&](std::size_t length) {
      Outcome wanted = read_plainly(twin, world.twin_memory.get(), length, range.offset, true);
      if (wanted.error == 0) wanted.bytes.assign(world.twin_memory.get(), wanted.count);
      return wanted;
    };
    const auto size = static_cast<std::int64_t>(range.length);
    const std::string_view text = world.text(range.length);
    switch (choice) {
      case 0: {
        const Outcome library = co_await outcome_of(any().truncate(range.offset));
        const Outcome wanted = plain_status(::ftruncate(twin, static_cast<::off_t>(range.offset)));
        world.same("truncate", library, writable ? wanted : bad_descriptor());
        break;
      }
      case 1: {
        const Outcome library = co_await outcome_of(any().size());
        Outcome wanted;
        wanted.count = size_of(twin);
        world.same("size", library, wanted);
        break;
      }
      case 2:
      case 3: {
        if (!world.chance(5)) break;
        Task<Outcome> syncing = choice == 2 ? outcome_of(any().fsync()) : outcome_of(any().fdsync());
        const Outcome library = co_await std::move(syncing);
        world.same("sync", library, plain_status(choice == 2 ? ::fsync(twin) : ::fdatasync(twin)));
        break;
      }
      case 4:
        if (handles_.size() < 4) handles_.push_back(any().clone());
        break;
      case 5:
        if (handles_.size() > 1) {
          const Outcome library = co_await outcome_of(handles_.back().close());
          world.same("close of a clone", library, {});
          handles_.pop_back();
        }
        break;
      case 6: {
        const bool all = world.chance(8);
        const Outcome library = co_await outcome_of(any().read(all ? -1 : size, range.offset));
        world.same("read to a string", library, wanted_read(all ? room : range.length));
        break;
      }
      case 7: {
        const Outcome library = co_await outcome_of(any().read_bytes(size, range.offset));
        world.same("read_bytes", library, wanted_read(range.length));
        break;
      }
      case 8: {
        const Outcome library = co_await outcome_of(any().write(text, range.offset));
        world.same("write of a view", library, write_plainly(twin, text.data(), text.size(), range.offset, true));
        break;
      }
      case 9: {
        const Outcome library = co_await outcome_of(any().write(std::string(text), range.offset));
        world.same("write of a string", library, write_plainly(twin, text.data(), text.size(), range.offset, true));
        break;
      }
      default: {
        const auto bytes = std::as_bytes(std::span(text));
        const Outcome library =
            co_await outcome_of(any().write_bytes(std::vector<std::byte>(bytes.begin(), bytes.end()), range.offset));
        world.same("write of a vector", library, write_plainly(twin, text.data(), text.size(), range.offset, true));
      }
    }
  }

  std::vector<AIOFile> handles_;
};

}  // namespace differential
