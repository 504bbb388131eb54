#pragma once
// For twin.cpp: what operations give by the library and by plain system calls, and the comparison.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/aiofile.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>

#include "torture/torture.hpp"

namespace differential {

using aiofile::Task;

inline constexpr std::size_t room = std::size_t{1} << 20;

/// What an operation gave.
class Outcome {
 public:
  Outcome() = default;
  friend bool operator==(const Outcome&, const Outcome&) = default;

  std::uint64_t count = 0;  // with an error: bytes that went before it
  int error = 0;
  std::string bytes;
};

inline void take(Outcome& outcome, std::uint64_t count) { outcome.count = count; }
template <class Bytes>
void take(Outcome& outcome, const Bytes& bytes) requires requires {
  bytes.data();
}
{
  outcome.count = bytes.size();
  outcome.bytes.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

template <class Operation>
Task<Outcome> outcome_of(Operation operation) {
  Outcome outcome;
  try {
    if constexpr (std::is_void_v<decltype(operation.await_resume())>) {
      co_await std::move(operation);
    } else {
      auto value = co_await std::move(operation);
      take(outcome, value);
    }
  } catch (const aiofile::FileError& error) {
    outcome.error = error.code().value();
    outcome.count = error.transferred();
  } catch (const std::system_error& error) {
    outcome.error = error.code().value();
  }
  co_return outcome;
}

/// The plain way: one call, or as many as it takes.
template <class Call>
Outcome plain(Call call, std::size_t length, bool whole) {
  Outcome outcome;
  for (;;) {
    const ::ssize_t count = call(outcome.count, length - outcome.count);
    if (count < 0) outcome.error = errno;
    if (count > 0) outcome.count += static_cast<std::size_t>(count);
    if (count <= 0 || !whole || outcome.count == length) return outcome;
  }
}
inline Outcome plain_status(int status) {
  Outcome outcome;
  if (status != 0) outcome.error = errno;
  return outcome;
}
inline Outcome bad_descriptor() {
  Outcome outcome;
  outcome.error = EBADF;
  return outcome;
}
inline Outcome read_plainly(int fd, char* memory, std::size_t length, std::uint64_t offset, bool whole) {
  return plain([&](std::size_t done,
                   std::size_t left) { return ::pread(fd, memory + done, left, static_cast<::off_t>(offset + done)); },
               length, whole);
}
inline Outcome write_plainly(int fd, const char* data, std::size_t length, std::uint64_t offset, bool whole) {
  return plain([&](std::size_t done,
                   std::size_t left) { return ::pwrite(fd, data + done, left, static_cast<::off_t>(offset + done)); },
               length, whole);
}

inline std::uint64_t size_of(int fd) {
  struct ::stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Unmap {
  void operator()(char* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<char[], Unmap>;
inline Memory new_memory() { return Memory(static_cast<char*>(std::aligned_alloc(4096, room))); }

/// What all episodes share: randomness, memory, the two files, and the comparison.
class World {
 public:
  World(torture::Program& torturing, caio::Context& its_context)
      : program(torturing), context(its_context), random_(torturing.seed) {
    const std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ";
    for (std::size_t i = 0; i < room; ++i) source[i] = chance(40) ? '\n' : letters[below(letters.size())];
    for (const auto* path : {&ours, &twin}) std::filesystem::remove(*path);
  }

  std::size_t below(std::size_t limit) { return random_() % limit; }
  bool chance(std::size_t one_in) { return below(one_in) == 0; }
  bool controlled(std::string_view control) { return program.control == control && chance(50); }

  std::size_t length() {
    constexpr std::array<std::size_t, 8> limits{4, 300, 300, 300, 5000, 5000, 20'000, 100'000};
    return below(chance(20) ? 300'000 : limits[below(limits.size())]);
  }
  /// Text to write: where it comes from makes it different each time.
  std::string_view text(std::size_t size) { return {source.get() + below(room - size), size}; }

  bool same(const std::string& what, const Outcome& library, const Outcome& wanted) {
    ++operations;
    if (wanted.error != 0) ++errors;
    if (wanted.error != 0 && wanted.count > 0) ++partial;
    if (library == wanted) return true;
    const auto describe = [](const Outcome& outcome) {
      return std::to_string(outcome.count) + " errno " + std::to_string(outcome.error);
    };
    std::string text = what + ": " + describe(library) + ", the twin " + describe(wanted);
    if (library.count == wanted.count && library.bytes != wanted.bytes) {
      const auto [byte, other] = std::mismatch(library.bytes.begin(), library.bytes.end(), wanted.bytes.begin());
      text += ", byte " + std::to_string(byte - library.bytes.begin()) + " is " + std::to_string(*byte) + ", not " +
              std::to_string(*other);
    }
    return differs(text);
  }
  bool differs(const std::string& what) {
    agree = false;
    program.violation(situation + ": " + what);
    return false;
  }

  torture::Program& program;
  caio::Context& context;
  const std::filesystem::path ours = program.directory / "ours.bin";
  const std::filesystem::path twin = program.directory / "twin.bin";
  const Memory source = new_memory();
  const Memory our_memory = new_memory();
  const Memory twin_memory = new_memory();
  std::string situation;  // of this episode
  std::string before;     // the file at its start
  bool agree = true;
  std::uint64_t operations = 0, errors = 0, partial = 0, episodes = 0;

 private:
  std::mt19937_64 random_;
};

/// One way to use the library, for a while.
class Episode {
 public:
  Episode(World& shared, std::string_view mode, int extra_flags)
      : world(shared),
        flags(aiofile::parse_mode(mode).flags | extra_flags),
        direct((extra_flags & O_DIRECT) != 0),
        appending((flags & O_APPEND) != 0),
        readable((flags & O_ACCMODE) != O_WRONLY),
        writable((flags & O_ACCMODE) != O_RDONLY),
        twin(::open(shared.twin.c_str(), flags | O_CLOEXEC, 0666)) {}
  Episode(const Episode&) = delete;
  Episode& operator=(const Episode&) = delete;
  virtual ~Episode() { ::close(twin); }

  virtual Task<> open() = 0;
  virtual Task<> step() = 0;
  virtual Task<> close() = 0;

 protected:
  World& world;
  const int flags;
  const bool direct, appending, readable, writable;
  const int twin;
};

}  // namespace differential
