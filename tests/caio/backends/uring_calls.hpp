#pragma once
// What the tests of io_uring share: its calls put back, and reads of one file whose bytes are known.

#include <fcntl.h>

#include <caio/backends/uring_ring.hpp>
#include <caio/context.hpp>
#include <caio/gather.hpp>
#include <cstddef>
#include <string>

#include "caio/descriptors.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

namespace support {

/// Puts the calls back that a test replaces.
struct Replaced {
  Replaced() = default;
  Replaced(const Replaced&) = delete;
  Replaced& operator=(const Replaced&) = delete;
  ~Replaced() { caio::uring_calls = {}; }
};

/// 500 reads of one byte at once; gives how many were right.
inline caio::Task<int> read_bytes(caio::Context& context, int fd) {
  const caio::Descriptor file(fd);
  std::string text(500, '?');
  co_await caio::gather(numbers(500), [&](int i) {
    return context.read(file, room_in(text).subspan(static_cast<std::size_t>(i), 1), i);
  });
  const std::string expected = alphabet(500);
  int right = 0;
  for (std::size_t i = 0; i < text.size(); ++i) right += text[i] == expected[i] ? 1 : 0;
  co_return right;
}

class TestFile {
 public:
  TestFile() : file_(::open(directory_.file("file", alphabet(500)).c_str(), O_RDWR | O_CLOEXEC)) {}
  int fd() const { return file_.get(); }

 private:
  TemporaryDirectory directory_;
  Fd file_;
};

inline constexpr caio::ContextOptions no_speculation{.speculate = false};

}  // namespace support
