#include <aiofile/aligned.hpp>

#include <fcntl.h>

#include <aiofile/file.hpp>
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::AlignedBuffer;
using aiofile::Alignment;
using aiofile::detail::alignment_calls;
using aiofile::detail::direct_alignment;
using caio::Context;
using caio::Descriptor;
using caio::Task;
using outcome::error_of;
using support::TemporaryDirectory;

namespace {

bool is_aligned(const void* memory, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(memory) % alignment == 0;
}

bool operator==(const Alignment& left, const Alignment& right) {
  return left.memory == right.memory && left.offset == right.offset;
}

/// What statx(2) answers, or that it fails; and what the device answers.
struct Answers {
  static inline int error = 0;
  static inline unsigned mask = 0;
  static inline std::uint32_t memory = 0;
  static inline std::uint32_t offset = 0;
  static inline int block_size = -1;
  static inline int asked = 0;

  Answers(unsigned the_mask, std::uint32_t the_memory, std::uint32_t the_offset) {
    error = 0;
    mask = the_mask;
    memory = the_memory;
    offset = the_offset;
    block_size = -1;
    asked = 0;
    alignment_calls.statx = [](int, const char*, int, unsigned, struct ::statx* status) {
      ++asked;
      if (error != 0) {
        errno = error;
        return -1;
      }
      status->stx_mask = mask;
      std::memcpy(reinterpret_cast<std::byte*>(status) + 0x98, &memory, sizeof memory);
      std::memcpy(reinterpret_cast<std::byte*>(status) + 0x9c, &offset, sizeof offset);
      return 0;
    };
    alignment_calls.logical_block_size = [](int, int* size) {
      *size = block_size;
      return block_size < 0 ? -1 : 0;
    };
  }
  Answers(const Answers&) = delete;
  Answers& operator=(const Answers&) = delete;
  ~Answers() { alignment_calls = {}; }
};

constexpr unsigned dioalign = 0x2000;

}  // namespace

TEST_CASE("AlignedBuffer: is aligned memory, all zeros") {
  for (const std::size_t alignment : {1U, 16U, 512U, 4096U, 65536U}) {
    for (const std::size_t size : {0U, 1U, 512U, 5000U, 1U << 20}) {
      AlignedBuffer buffer(size, alignment);
      CHECK(is_aligned(buffer.data(), alignment));
      CHECK(buffer.size() == size);
      CHECK(buffer.alignment() == alignment);
      CHECK(buffer.span().data() == buffer.data());
      CHECK(buffer.span().size() == size);
      CHECK(
          std::all_of(buffer.span().begin(), buffer.span().end(), [](std::byte each) { return each == std::byte{}; }));
      std::fill(buffer.span().begin(), buffer.span().end(), std::byte{7});  // AddressSanitizer sees whether it may
    }
  }
  CHECK(AlignedBuffer(1).alignment() == 4096);
}

TEST_CASE("AlignedBuffer: moves and leaves nothing behind") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<AlignedBuffer>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<AlignedBuffer>);
  const AlignedBuffer none;
  CHECK(none.data() == nullptr);
  CHECK(none.span().empty());
  CHECK(none.alignment() == 1);
  AlignedBuffer first(100, 512);
  first.data()[99] = std::byte{5};
  const std::byte* const memory = first.data();
  AlignedBuffer second(std::move(first));
  CHECK(second.data() == memory);
  CHECK(second.alignment() == 512);
  CHECK(first.data() == nullptr);  // NOLINT(bugprone-use-after-move)
  CHECK(first.size() == 0);
  AlignedBuffer third(7);
  third = std::move(second);
  CHECK(third.data() == memory);
  CHECK(third.size() == 100);
  CHECK(third.data()[99] == std::byte{5});
}

TEST_CASE("AlignedBuffer: takes powers of two only") {
  for (const std::size_t alignment : {0U, 3U, 511U, 4097U})
    CHECK_THROWS_AS(AlignedBuffer(1, alignment), std::invalid_argument);
}

TEST_CASE("direct_alignment: is what statx says") {
  const TemporaryDirectory directory;
  const support::Fd fd(directory.file("file", ""), O_RDONLY);
  const Answers answers(dioalign, 4, 512);
  CHECK((direct_alignment(Descriptor(fd.get())) == Alignment{4, 512}));
}

TEST_CASE("direct_alignment: zeros say that the kernel buffers all the same") {
  const TemporaryDirectory directory;
  const support::Fd fd(directory.file("file", ""), O_RDONLY);
  const Answers answers(dioalign, 0, 0);
  CHECK((direct_alignment(Descriptor(fd.get())) == Alignment{1, 1}));
}

TEST_CASE("direct_alignment: 4096 where nothing is said, or nonsense") {
  const TemporaryDirectory directory;
  const support::Fd fd(directory.file("file", ""), O_RDONLY);
  SECTION("an older kernel") {
    const Answers answers(0x7ff, 4, 512);
    CHECK((direct_alignment(Descriptor(fd.get())) == Alignment{4096, 4096}));
  }
  SECTION("no statx") {
    const Answers answers(dioalign, 4, 512);
    Answers::error = ENOSYS;
    Answers::block_size = 512;  // of no meaning for a file
    CHECK((direct_alignment(Descriptor(fd.get())) == Alignment{4096, 4096}));
  }
  SECTION("no powers of two") {
    const Answers answers(dioalign, 4, 1000);
    CHECK((direct_alignment(Descriptor(fd.get())) == Alignment{4096, 4096}));
  }
}

TEST_CASE("direct_alignment: a block device's logical block size where statx does not say") {
  const TemporaryDirectory directory;
  const support::Fd fd(directory.file("file", ""), O_RDONLY);
  const support::ReplacedCalls calls;
  calls->fstat = [](int, struct ::stat* status) {
    status->st_mode = S_IFBLK;
    return 0;
  };
  const Descriptor device(fd.get());
  const Answers answers(0, 0, 0);
  CHECK((direct_alignment(device) == Alignment{4096, 4096}));
  Answers::block_size = 512;
  CHECK((direct_alignment(device) == Alignment{512, 512}));
  Answers::mask = dioalign;
  Answers::memory = Answers::offset = 2048;
  CHECK((direct_alignment(device) == Alignment{2048, 2048}));
}

TEST_CASE("AIOFile: says what O_DIRECT demands, and asks once") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(directory.file("file", "text"), "rb", {.flags = O_DIRECT});
    CHECK_THROWS_AS(file.direct_alignment(), aiofile::FileError);
    const int error = co_await error_of(file.open());
    if (error == EINVAL) {
      WARN("this file system has no O_DIRECT");
      co_return;
    }
    const Answers answers(dioalign, 8, 1024);
    CHECK((file.direct_alignment() == Alignment{8, 1024}));
    CHECK((file.clone().direct_alignment() == Alignment{8, 1024}));
    CHECK(Answers::asked == 1);
    co_await file.close();
    CHECK_THROWS_AS(file.direct_alignment(), aiofile::FileError);
  });
}

TEST_CASE("AIOFile: a real O_DIRECT file has an alignment of powers of two") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file(directory.file("file", "text"), "rb", {.flags = O_DIRECT});
    const int error = co_await error_of(file.open());
    if (error != 0) co_return;
    const Alignment alignment = file.direct_alignment();
    CHECK(std::has_single_bit(alignment.memory));
    CHECK(std::has_single_bit(alignment.offset));
    CHECK(alignment.memory <= 4096);
    CHECK(alignment.offset <= 4096);
  });
}

TEST_CASE("AIOFile: without O_DIRECT nothing is demanded, and statx not asked") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const Answers answers(dioalign, 8, 1024);
    AIOFile file = co_await AIOFile(directory.file("file", "text"), "rb");
    CHECK((file.direct_alignment() == Alignment{1, 1}));
    const support::Pipe packets(O_DIRECT | O_CLOEXEC);
    const AIOFile pipe = AIOFile::from_fd(packets.reader.get(), "rb");
    CHECK((pipe.direct_alignment() == Alignment{1, 1}));
    CHECK(Answers::asked == 0);
  });
}
