#include <aiofile/block_pieces.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <utility>

#include "outcome.hpp"
#include "support/catch.hpp"

using aiofile::AlignedBuffer;
using aiofile::Alignment;
using aiofile::detail::BlockPieces;
using outcome::pattern;

namespace {

/// A file with the manners of a device: what goes to it directly must fit.
class Device {
 public:
  Device(const Alignment& alignment, std::string initial) : content(std::move(initial)), alignment_(alignment) {}

  /// Carries out a request in pieces; gives what has been moved.
  std::size_t carry_out(BlockPieces& pieces, caio::Request& request, bool appends = false) {
    pieces.begin(alignment_, request, appends);
    steps = direct_bytes = cached_bytes = 0;
    while (!pieces.finished()) {
      ++steps;
      const BlockPieces::Piece piece = pieces.next();
      CHECK(piece.direct == pieces.direct());
      if (piece.direct) CHECK((aiofile::detail::fits(alignment_, piece.memory, piece.offset, piece.length)));
      if (!piece.direct) CHECK(pieces.writes());
      (piece.direct ? direct_bytes : cached_bytes) += piece.length;
      pieces.moved(pieces.writes() ? write(piece, appends) : read(piece));
    }
    pieces.conclude(request);
    return request.moved;
  }

  std::string content;
  std::size_t steps = 0;
  std::size_t direct_bytes = 0;
  std::size_t cached_bytes = 0;

 private:
  std::size_t read(const BlockPieces::Piece& piece) const {
    if (piece.offset >= content.size()) return 0;
    const std::size_t count = std::min<std::size_t>(piece.length, content.size() - piece.offset);
    std::memcpy(piece.memory, content.data() + piece.offset, count);
    return count;
  }
  std::size_t write(const BlockPieces::Piece& piece, bool appends) {
    const std::size_t offset = appends ? content.size() : static_cast<std::size_t>(piece.offset);
    if (piece.direct) CHECK(offset % alignment_.offset == 0);
    content.resize(std::max(content.size(), offset + piece.length));
    std::memcpy(content.data() + offset, piece.memory, piece.length);
    return piece.length;
  }

  Alignment alignment_;
};

caio::Request request_of(caio::Opcode opcode, void* memory, std::size_t length, std::uint64_t offset,
                         bool whole = true) {
  caio::Request request;
  request.opcode = opcode;
  request.buffer = memory;
  request.length = length;
  request.offset = static_cast<std::int64_t>(offset);
  request.whole = whole;
  return request;
}

constexpr Alignment alignments[] = {{1, 1}, {4, 512}, {512, 512}, {4096, 4096}, {16, 16384}};

}  // namespace

TEST_CASE("BlockPieces: a read of any place, length and memory gives what is there") {
  std::mt19937 random(1);
  const std::string content = pattern(700'000);
  BlockPieces pieces;
  for (int round = 0; round < 400; ++round) {
    const Alignment alignment = alignments[random() % std::size(alignments)];
    Device device(alignment, content.substr(0, random() % content.size()));
    AlignedBuffer memory(600'000 + 4096);
    std::byte* const at = memory.data() + (random() % 2 == 0 ? 0 : random() % 4096);
    const std::size_t length = random() % (random() % 2 == 0 ? 10'000 : 600'000) + 1;
    const std::uint64_t unit = random() % 3 == 0 ? 512 : 1;
    const std::uint64_t offset = random() % (device.content.size() + 5000) / unit * unit;
    caio::Request request = request_of(caio::Opcode::read, at, length, offset);
    const std::size_t count = device.carry_out(pieces, request);
    const std::string wanted = offset < device.content.size() ? device.content.substr(offset, length) : "";
    CAPTURE(alignment.memory, alignment.offset, length, offset, device.content.size());
    REQUIRE(count == wanted.size());
    REQUIRE(std::memcmp(at, wanted.data(), count) == 0);
    CHECK(request.buffer == at + count);
    CHECK(request.length == length - count);
    CHECK(request.offset == static_cast<std::int64_t>(offset + count));
    CHECK(request.opcode == caio::Opcode::read);
    CHECK(request.whole);
    CHECK(device.steps <= length / BlockPieces::most_copied + 3);
  }
}

TEST_CASE("BlockPieces: a write of any place, length and memory leaves what was meant") {
  std::mt19937 random(2);
  const std::string source = pattern(700'000, 1);
  BlockPieces pieces;
  for (int round = 0; round < 400; ++round) {
    const Alignment alignment = alignments[random() % std::size(alignments)];
    const bool appends = random() % 3 == 0;
    const std::size_t unit = random() % 3 == 0 ? 512 : 1;
    Device device(alignment, pattern(random() % 100'000 / unit * unit, 3));
    AlignedBuffer memory(600'000 + 4096);
    std::byte* const at = memory.data() + (random() % 2 == 0 ? 0 : random() % 4096);
    const std::size_t length = (random() % (random() % 2 == 0 ? 10'000 : 600'000) + unit) / unit * unit;
    const std::uint64_t offset = random() % (device.content.size() + 5000) / unit * unit;
    std::memcpy(at, source.data(), length);
    std::string wanted = device.content;
    const std::size_t place = appends ? wanted.size() : static_cast<std::size_t>(offset);
    wanted.resize(std::max(wanted.size(), place + length));
    wanted.replace(place, length, source, 0, length);
    caio::Request request = request_of(caio::Opcode::write, at, length, offset);
    CAPTURE(alignment.memory, alignment.offset, length, offset, appends);
    REQUIRE(device.carry_out(pieces, request, appends) == length);
    REQUIRE(device.content == wanted);
    CHECK(request.length == 0);
    CHECK(request.opcode == caio::Opcode::write);
    if (appends) CHECK(device.steps == 1);
    // At most the ends of it go through the page cache.
    if (!appends) CHECK(device.cached_bytes < 2 * BlockPieces::block_size(alignment));
  }
}

TEST_CASE("BlockPieces: what fits goes as it is") {
  Device device({512, 512}, pattern(100'000));
  AlignedBuffer memory(65'536);
  BlockPieces pieces;
  for (const auto opcode : {caio::Opcode::read, caio::Opcode::write}) {
    caio::Request request = request_of(opcode, memory.data() + 512, 1024, 1536);
    CHECK(device.carry_out(pieces, request) == 1024);
    CHECK(device.steps == 1);
    CHECK(device.direct_bytes == 1024);
  }
}

TEST_CASE("BlockPieces: a short read from a stream is one piece") {
  Device device({512, 512}, pattern(100'000));
  std::string memory(600'000, '\0');
  BlockPieces pieces;
  caio::Request request = request_of(caio::Opcode::read, memory.data(), memory.size(), 100, false);
  CHECK(device.carry_out(pieces, request) == 100'000 - 100);
  CHECK(device.steps == 1);
  CHECK_FALSE(request.whole);
}

TEST_CASE("BlockPieces: a write of less than a block, or across two, is one piece through the page cache") {
  Device device({512, 512}, "");
  std::string memory = pattern(8000);
  BlockPieces pieces;
  for (const std::size_t offset : {0U, 100U, 4000U}) {
    caio::Request request = request_of(caio::Opcode::write, memory.data(), 4001, offset);
    CHECK(device.carry_out(pieces, request) == 4001);
    CHECK(device.steps == 1);
    CHECK(device.direct_bytes == 0);
  }
}

TEST_CASE("BlockPieces: of a longer write the whole blocks go directly") {
  Device device({512, 512}, "");
  std::string memory = pattern(20'000);
  BlockPieces pieces;
  caio::Request request = request_of(caio::Opcode::write, memory.data(), 20'000, 100);
  CHECK(device.carry_out(pieces, request) == 20'000);
  CHECK(device.steps == 3);
  CHECK(device.direct_bytes == 3 * 4096);
}

TEST_CASE("BlockPieces: an append goes through the page cache, in one piece") {
  AlignedBuffer memory(8192);
  BlockPieces pieces;
  for (const std::size_t size : {0U, 512U, 100U}) {
    Device device({512, 512}, pattern(size));
    caio::Request request = request_of(caio::Opcode::write, memory.data(), 8192, 0);
    CHECK(device.carry_out(pieces, request, true) == 8192);
    CHECK(device.content.size() == size + 8192);
    CHECK(device.direct_bytes == 0);
    CHECK(device.steps == 1);
  }
}

TEST_CASE("BlockPieces: once the device has refused, everything goes through the page cache") {
  AlignedBuffer memory(1 << 20);
  BlockPieces pieces;
  const caio::Request request = request_of(caio::Opcode::write, memory.data(), memory.size(), 0);
  pieces.begin({512, 512}, request, false);
  CHECK(pieces.next().direct);
  pieces.moved(0);
  pieces.avoid_direct();
  const BlockPieces::Piece piece = pieces.next();
  CHECK_FALSE(piece.direct);
  CHECK(piece.length == memory.size());
}

TEST_CASE("BlockPieces: what was taken back counts if it was written") {
  AlignedBuffer memory(8192 + 1);
  BlockPieces pieces;
  for (const auto opcode : {caio::Opcode::read, caio::Opcode::write}) {
    caio::Request request = request_of(opcode, memory.data() + 1, 8192, 0);
    pieces.begin({512, 512}, request, false);
    pieces.next();
    pieces.moved_at_last(4096);
    pieces.conclude(request);
    CHECK(request.moved == (opcode == caio::Opcode::write ? 4096 : 0));
  }
}

TEST_CASE("BlockPieces: no piece reaches beyond the last offset") {
  constexpr std::uint64_t last = std::numeric_limits<std::int64_t>::max();
  std::string memory(10'000, '\0');
  BlockPieces pieces;
  for (const std::uint64_t offset : {last - 9000, last - 4096, last - 100, last}) {
    Device device({512, 512}, "");
    caio::Request request =
        request_of(caio::Opcode::read, memory.data(), std::min<std::uint64_t>(10'000, last - offset), offset);
    pieces.begin({512, 512}, request, false);
    if (!pieces.finished()) {
      const BlockPieces::Piece piece = pieces.next();
      CHECK(piece.offset <= last);
      CHECK(piece.length <= last - piece.offset);
      pieces.moved(0);
    }
    CHECK(pieces.finished());
  }
}
