#include <caio/request.hpp>

#include <sys/mman.h>

#include <array>
#include <cstddef>

#include "support/catch.hpp"

using caio::Opcode;
using caio::Request;

TEST_CASE("Request: a new one is idle and asks for nothing") {
  const Request request{};
  CHECK(request.stage == Request::Stage::idle);
  CHECK(request.buffer == nullptr);
  CHECK(request.length == 0);
  CHECK(request.offset == -1);
  CHECK(request.moved == 0);
  CHECK_FALSE(request.linked());
}

TEST_CASE("Request: consume() goes on behind the bytes that were moved") {
  std::array<std::byte, 10> bytes{};
  Request request;
  request.buffer = bytes.data();
  request.length = bytes.size();
  request.offset = 100;
  request.consume(4);
  CHECK(request.buffer == bytes.data() + 4);
  CHECK(request.length == 6);
  CHECK(request.offset == 104);
  CHECK(request.moved == 4);
  request.consume(6);
  CHECK(request.length == 0);
  CHECK(request.offset == 110);
  CHECK(request.moved == 10);
}

TEST_CASE("Request: consume() leaves the descriptor's own position alone") {
  std::array<std::byte, 4> bytes{};
  Request request;
  request.buffer = bytes.data();
  request.length = bytes.size();
  request.consume(3);
  CHECK(request.offset == -1);
  CHECK(request.length == 1);
}

TEST_CASE("Request: consume() counts beyond 4 GiB") {
  constexpr std::size_t length = std::size_t{6} << 30;
  void* const memory = ::mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  Request request;
  request.buffer = memory;
  request.length = length;
  request.offset = std::int64_t{1} << 40;
  request.consume(std::size_t{5} << 30);
  CHECK(request.length == std::size_t{1} << 30);
  CHECK(request.moved == std::size_t{5} << 30);
  CHECK(request.offset == (std::int64_t{1} << 40) + (std::int64_t{5} << 30));
  ::munmap(memory, length);
}

TEST_CASE("Request: knows which opcodes read, which write, and which take one buffer") {
  for (const Opcode opcode :
       {Opcode::read, Opcode::write, Opcode::readv, Opcode::writev, Opcode::fsync, Opcode::fdatasync, Opcode::truncate,
        Opcode::size, Opcode::open, Opcode::close, Opcode::call}) {
    Request request;
    request.opcode = opcode;
    CHECK(request.is_read() == (opcode == Opcode::read || opcode == Opcode::readv));
    CHECK(request.is_write() == (opcode == Opcode::write || opcode == Opcode::writev));
    CHECK(request.is_scalar_transfer() == (opcode == Opcode::read || opcode == Opcode::write));
  }
}
