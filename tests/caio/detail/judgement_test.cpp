#include <caio/detail/judgement.hpp>

#include <cerrno>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"

using caio::Opcode;
using caio::Request;
using caio::detail::judge;
using caio::detail::Judgement;

namespace {

Request answered(Opcode opcode, std::int64_t result) {
  Request request;
  request.opcode = opcode;
  request.result = result;
  return request;
}

}  // namespace

TEST_CASE("judge: an error of the file is final") {
  for (const bool bypasses : {false, true}) {
    for (const int error : {EIO, ENOSPC, EBADF, EINVAL, EOPNOTSUPP}) {
      Request request = answered(Opcode::write, -error);
      CHECK(judge(request, bypasses) == Judgement::final);
      CHECK(request.result == -error);
      CHECK_FALSE(request.to_pool);
    }
  }
}

TEST_CASE("judge: what a signal interrupts is done again, up to 100 times, and then by the pool once") {
  const int result = GENERATE(-EINTR, -512, -516);
  DYNAMIC_SECTION("result " << result) {
    Request request = answered(Opcode::read, result);
    for (int attempt = 0; attempt < 100; ++attempt) {
      REQUIRE(judge(request, true) == Judgement::again);
      REQUIRE_FALSE(request.to_pool);
    }
    CHECK(judge(request, true) == Judgement::again);
    CHECK(request.to_pool);
    CHECK(judge(request, true) == Judgement::final);
  }
}

TEST_CASE("judge: EAGAIN and an unasked ECANCELED of a file go to the pool, whose answer counts") {
  const int error = GENERATE(EAGAIN, ECANCELED);
  DYNAMIC_SECTION("error " << error) {
    Request request = answered(Opcode::fsync, -error);
    CHECK(judge(request, true) == Judgement::again);
    CHECK(request.to_pool);
    CHECK(judge(request, true) == Judgement::final);
    CHECK(request.result == -error);
  }
}

TEST_CASE("judge: a backend that nothing can stand in for is asked again, up to 100 times") {
  Request request = answered(Opcode::read, -EAGAIN);
  for (int attempt = 0; attempt < 100; ++attempt) REQUIRE(judge(request, false) == Judgement::again);
  CHECK_FALSE(request.to_pool);
  CHECK(judge(request, false) == Judgement::final);
}

TEST_CASE("judge: an interrupted close has closed") {
  Request request = answered(Opcode::close, -EINTR);
  CHECK(judge(request, true) == Judgement::final);
  CHECK(request.result == 0);
}

TEST_CASE("judge: what was to be cancelled is not tried again") {
  for (const int error : {EINTR, EAGAIN, ECANCELED}) {
    Request request = answered(Opcode::read, -error);
    request.cancel_requested = true;
    CHECK(judge(request, true) == Judgement::final);
    CHECK(request.result == -ECANCELED);
  }
  Request request = answered(Opcode::read, -EIO);
  request.cancel_requested = true;
  CHECK(judge(request, true) == Judgement::final);
  CHECK(request.result == -EIO);
}

TEST_CASE("judge: a stream that has nothing waits for readiness, and its sync does not") {
  const support::Pipe pipe;
  Request request = answered(Opcode::read, -EAGAIN);
  request.descriptor = caio::Descriptor(pipe.reader.get());
  CHECK(judge(request, true) == Judgement::when_ready);
  request.opcode = Opcode::fsync;
  CHECK(judge(request, true) == Judgement::again);
  CHECK(request.to_pool);
}
