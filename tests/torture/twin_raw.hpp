#pragma once
// For twin.cpp: the context's operations on a descriptor, one system call each.

#include <sys/uio.h>

#include "torture/twin_offsets.hpp"

namespace differential {

class Raw final : public AtOffsets {
 public:
  using AtOffsets::AtOffsets;

  Task<> open() override { descriptor_ = co_await world.context.open(world.ours, flags); }
  Task<> close() override { co_await world.context.close(descriptor_); }

 private:
  Task<Outcome> read(char* memory, std::size_t length, std::uint64_t offset) override {
    const auto room_there = std::as_writable_bytes(std::span(memory, length));
    const auto at = static_cast<std::int64_t>(offset);
    if (world.chance(8)) return outcome_of(world.context.read(descriptor_.fileno(), room_there, at));
    return outcome_of(world.context.read(descriptor_, room_there, at));
  }
  Task<Outcome> write(const char* data, std::size_t length, std::uint64_t offset) override {
    const auto bytes = std::as_bytes(std::span(data, length));
    const auto at = static_cast<std::int64_t>(offset);
    if (world.chance(8)) return outcome_of(world.context.write(descriptor_.fileno(), bytes, at));
    return outcome_of(world.context.write(descriptor_, bytes, at));
  }
  bool whole() const override { return false; }
  int descriptor() const override { return descriptor_.fileno(); }

  /// The same memory in pieces.
  std::vector<::iovec> split(char* memory, const Range& range) {
    std::vector<::iovec> vectors;
    const std::size_t unit = direct ? 512 : 1;
    for (std::size_t from = 0; from < range.length;) {
      const std::size_t most = std::min(range.length - from, range.length / 4 + unit);
      std::size_t size = std::max<std::size_t>(world.below(most + 1) / unit * unit, vectors.size() < 500 ? 0 : most);
      size = std::min(size, range.length - from);
      vectors.push_back({memory + range.shift + from, size});
      from += size;
    }
    return vectors;
  }

  Task<> special(Range range) override {
    const auto at = static_cast<std::int64_t>(range.offset);
    caio::Context& context = world.context;
    switch (world.below(9)) {
      case 0: {
        const std::vector<::iovec> ours = split(world.our_memory.get(), range);
        std::vector<::iovec> twins = ours;
        for (::iovec& each : twins) {
          each.iov_base = world.twin_memory.get() + (static_cast<char*>(each.iov_base) - world.our_memory.get());
        }
        Outcome library = co_await outcome_of(context.readv(descriptor_, ours, at));
        Outcome wanted = plain([&](auto, auto) { return ::preadv(twin, twins.data(), int_of(twins), at); }, 0, false);
        if (library.error == 0) library.bytes.assign(world.our_memory.get() + range.shift, library.count);
        if (wanted.error == 0) wanted.bytes.assign(world.twin_memory.get() + range.shift, wanted.count);
        world.same("readv", library, wanted);
        break;
      }
      case 1: {
        const std::vector<::iovec> vectors = split(world.source.get(), range);
        const Outcome library = co_await outcome_of(context.writev(descriptor_, vectors, at));
        world.same("writev", library,
                   plain([&](auto, auto) { return ::pwritev(twin, vectors.data(), int_of(vectors), at); }, 0, false));
        break;
      }
      case 2: {
        move_to(range.offset);
        char* const memory = world.our_memory.get() + range.shift;
        char* const other = world.twin_memory.get() + range.shift;
        Outcome library =
            co_await outcome_of(context.read(descriptor_, std::as_writable_bytes(std::span(memory, range.length)), -1));
        Outcome wanted = plain([&](auto, auto) { return ::read(twin, other, range.length); }, 0, false);
        if (library.error == 0) library.bytes.assign(memory, library.count);
        if (wanted.error == 0) wanted.bytes.assign(other, wanted.count);
        world.same("read at the position", library, wanted);
        check_positions("read");
        break;
      }
      case 3: {
        move_to(range.offset);
        const char* const data = world.source.get() + range.shift;
        const Outcome library =
            co_await outcome_of(context.write(descriptor_, std::as_bytes(std::span(data, range.length)), -1));
        const Outcome wanted = plain([&](auto, auto) { return ::write(twin, data, range.length); }, 0, false);
        world.same("write at the position", library, wanted);
        check_positions("write");
        break;
      }
      case 4: {
        if (!world.chance(5)) break;
        const bool data_only = world.chance(2);
        Task<Outcome> syncing =
            data_only ? outcome_of(context.fdsync(descriptor_)) : outcome_of(context.fsync(descriptor_));
        const Outcome library = co_await std::move(syncing);
        world.same("sync", library, plain_status(data_only ? ::fdatasync(twin) : ::fsync(twin)));
        break;
      }
      case 5: co_await compare_read("read of no descriptor", 1'000'000, 1'000'000, world.our_memory.get(), at); break;
      case 6: co_await compare_read("read to nowhere", descriptor(), twin, nullptr, at); break;
      case 7: {
        const int directory = ::open(world.program.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        co_await compare_read("read of a directory", directory, directory, world.our_memory.get(), at);
        ::close(directory);
        break;
      }
      default: {
        if (!writable) break;  // of two errors either is right
        const std::vector<::iovec> vectors(1025, ::iovec{world.source.get(), 1});
        const Outcome library = co_await outcome_of(context.writev(descriptor_, vectors, at));
        world.same("too many vectors", library,
                   plain([&](auto, auto) { return ::pwritev(twin, vectors.data(), int_of(vectors), at); }, 0, false));
      }
    }
  }

  Task<> compare_read(std::string what, int fd, int twins_fd, char* memory, std::int64_t offset) {
    constexpr std::size_t length = 4096;
    const Outcome library =
        co_await outcome_of(world.context.read(fd, std::span(reinterpret_cast<std::byte*>(memory), length), offset));
    world.same(what, library, plain([&](auto, auto) { return ::pread(twins_fd, memory, length, offset); }, 0, false));
  }

  static int int_of(const std::vector<::iovec>& vectors) { return static_cast<int>(vectors.size()); }

  void move_to(std::uint64_t offset) {
    for (const int fd : {descriptor(), twin}) ::lseek(fd, static_cast<::off_t>(offset), SEEK_SET);
  }
  void check_positions(const std::string& what) {
    const ::off_t ours = ::lseek(descriptor(), 0, SEEK_CUR);
    const ::off_t twins = ::lseek(twin, 0, SEEK_CUR);
    if (ours == twins) return;
    world.differs(what + " at the position: it is " + std::to_string(ours) + " then, the twin's " +
                  std::to_string(twins));
  }

  caio::Descriptor descriptor_;
};

}  // namespace differential
