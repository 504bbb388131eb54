#include <caio/detail/readiness.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary.hpp"

using caio::Opcode;
using caio::Request;
using caio::detail::Readiness;
using caio::detail::UniqueFd;

namespace {

struct Pair {
  UniqueFd first;
  UniqueFd second;
};

/// Reader and writer.
Pair pipe() {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Request waiter(Opcode opcode, int fd) {
  Request request;
  request.opcode = opcode;
  request.descriptor = caio::Descriptor(fd);
  return request;
}

std::vector<const Request*> collect(Readiness& readiness) {
  std::vector<const Request*> ready;
  readiness.collect([&](Request& request) { ready.push_back(&request); });
  return ready;
}

using Requests = std::vector<const Request*>;

void put(const UniqueFd& fd, char byte = 'x') { REQUIRE(::write(fd.get(), &byte, 1) == 1); }
void take(const UniqueFd& fd) {
  char byte = 0;
  REQUIRE(::read(fd.get(), &byte, 1) == 1);
}
void fill(const UniqueFd& fd) {
  const std::string bytes(4096, 'x');
  while (::write(fd.get(), bytes.data(), bytes.size()) > 0) {
  }
}

}  // namespace

TEST_CASE("Readiness: makes no epoll set before the first wait") {
  Readiness readiness;
  CHECK(readiness.fileno() == -1);
  CHECK(readiness.waiting() == 0);
  CHECK(readiness.take() == nullptr);
  CHECK(collect(readiness).empty());
}

TEST_CASE("Readiness: a reader waits until there is something to read") {
  Readiness readiness;
  const Pair ends = pipe();
  Request reader = waiter(Opcode::read, ends.first.get());
  REQUIRE(readiness.add(reader) == 0);
  CHECK(readiness.fileno() >= 0);
  CHECK(readiness.waiting() == 1);
  CHECK(collect(readiness).empty());
  put(ends.second);
  CHECK(collect(readiness) == Requests{&reader});
  CHECK(readiness.waiting() == 0);
  CHECK_FALSE(reader.linked());
  CHECK(collect(readiness).empty());
}

TEST_CASE("Readiness: a writer waits until there is room") {
  Readiness readiness;
  const Pair ends = pipe();
  fill(ends.second);
  Request writer = waiter(Opcode::writev, ends.second.get());
  REQUIRE(readiness.add(writer) == 0);
  CHECK(collect(readiness).empty());
  std::string bytes(8192, 'x');
  REQUIRE(::read(ends.first.get(), bytes.data(), bytes.size()) == 8192);
  CHECK(collect(readiness) == Requests{&writer});
}

TEST_CASE("Readiness: one event lets one reader go, in the order of adding") {
  Readiness readiness;
  const Pair ends = pipe();
  std::array<Request, 3> readers;
  for (Request& reader : readers) {
    reader = waiter(Opcode::read, ends.first.get());
    REQUIRE(readiness.add(reader) == 0);
  }
  put(ends.second);
  CHECK(collect(readiness) == Requests{&readers[0]});
  take(ends.first);
  CHECK(collect(readiness).empty());
  put(ends.second);
  CHECK(collect(readiness) == Requests{&readers[1]});
  CHECK(collect(readiness) == Requests{&readers[2]});
}

TEST_CASE("Readiness: a hang-up lets all readers go") {
  Readiness readiness;
  Pair ends = pipe();
  std::array<Request, 3> readers;
  for (Request& reader : readers) {
    reader = waiter(Opcode::read, ends.first.get());
    REQUIRE(readiness.add(reader) == 0);
  }
  ends.second = UniqueFd();
  CHECK(collect(readiness) == Requests{&readers[0], &readers[1], &readers[2]});
  CHECK(readiness.waiting() == 0);
}

TEST_CASE("Readiness: a pipe without readers lets its writers go") {
  Readiness readiness;
  Pair ends = pipe();
  fill(ends.second);
  Request writer = waiter(Opcode::write, ends.second.get());
  REQUIRE(readiness.add(writer) == 0);
  ends.first = UniqueFd();
  CHECK(collect(readiness) == Requests{&writer});
}

TEST_CASE("Readiness: a reader and a writer wait for one socket, each for its own") {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) == 0);
  const UniqueFd here(ends[0]);
  const UniqueFd there(ends[1]);
  Readiness readiness;
  Request reader = waiter(Opcode::read, here.get());
  Request writer = waiter(Opcode::write, here.get());
  REQUIRE(readiness.add(reader) == 0);
  CHECK(readiness.contended(reader));
  CHECK_FALSE(readiness.contended(writer));
  REQUIRE(readiness.add(writer) == 0);
  CHECK(collect(readiness) == Requests{&writer});
  CHECK(readiness.waiting() == 1);
  put(there);
  CHECK(collect(readiness) == Requests{&reader});
}

TEST_CASE("Readiness: who was removed is not told") {
  Readiness readiness;
  const Pair ends = pipe();
  Request first = waiter(Opcode::read, ends.first.get());
  Request second = waiter(Opcode::read, ends.first.get());
  REQUIRE(readiness.add(first) == 0);
  REQUIRE(readiness.add(second) == 0);
  readiness.remove(first);
  CHECK(readiness.waiting() == 1);
  CHECK(readiness.contended(second));
  put(ends.second);
  CHECK(collect(readiness) == Requests{&second});
  CHECK_FALSE(readiness.contended(second));
}

TEST_CASE("Readiness: one who comes after a removed one is told") {
  Readiness readiness;
  const Pair ends = pipe();
  Request first = waiter(Opcode::read, ends.first.get());
  Request second = waiter(Opcode::read, ends.first.get());
  REQUIRE(readiness.add(first) == 0);
  readiness.remove(first);
  put(ends.second);
  REQUIRE(readiness.add(second) == 0);
  CHECK(collect(readiness) == Requests{&second});
}

TEST_CASE("Readiness: a number that another file took over works") {
  Readiness readiness;
  int number = -1;
  {
    const Pair ends = pipe();
    number = ends.first.get();
    Request reader = waiter(Opcode::read, number);
    REQUIRE(readiness.add(reader) == 0);
    put(ends.second);
    REQUIRE(collect(readiness) == Requests{&reader});
  }
  const Pair ends = pipe();
  REQUIRE(ends.first.get() == number);
  Request reader = waiter(Opcode::read, number);
  REQUIRE(readiness.add(reader) == 0);
  put(ends.second);
  CHECK(collect(readiness) == Requests{&reader});
}

TEST_CASE("Readiness: a number that another file took over after a cancelled wait works") {
  Readiness readiness;
  int number = -1;
  {
    const Pair ends = pipe();
    number = ends.first.get();
    Request reader = waiter(Opcode::read, number);
    REQUIRE(readiness.add(reader) == 0);
    readiness.remove(reader);
  }
  const Pair ends = pipe();
  REQUIRE(ends.first.get() == number);
  Request reader = waiter(Opcode::read, number);
  REQUIRE(readiness.add(reader) == 0);
  put(ends.second);
  CHECK(collect(readiness) == Requests{&reader});
}

TEST_CASE("Readiness: the same after take()") {
  Readiness readiness;
  int number = -1;
  {
    const Pair ends = pipe();
    number = ends.first.get();
    Request reader = waiter(Opcode::read, number);
    REQUIRE(readiness.add(reader) == 0);
    REQUIRE(readiness.take() == &reader);
  }
  const Pair ends = pipe();
  REQUIRE(ends.first.get() == number);
  Request reader = waiter(Opcode::read, number);
  REQUIRE(readiness.add(reader) == 0);
  put(ends.second);
  CHECK(collect(readiness) == Requests{&reader});
}

TEST_CASE("Readiness: a regular file cannot wait") {
  const support::TemporaryDirectory directory;
  const UniqueFd file(::open(directory.file("plain", "").c_str(), O_RDONLY | O_CLOEXEC));
  Readiness readiness;
  Request reader = waiter(Opcode::read, file.get());
  CHECK(readiness.add(reader) == EPERM);
  CHECK(readiness.waiting() == 0);
  CHECK_FALSE(reader.linked());
  CHECK_FALSE(readiness.contended(reader));
}

TEST_CASE("Readiness: a closed number is EBADF, a missing epoll set its errno") {
  Readiness readiness;
  Request reader = waiter(Opcode::read, 1000);
  CHECK(readiness.add(reader) == EBADF);
  CHECK_FALSE(reader.linked());
  caio::system_calls.epoll_create = [](int) { return errno = EMFILE, -1; };
  Readiness poor;
  CHECK(poor.add(reader) == EMFILE);
  caio::system_calls = {};
  CHECK(poor.add(reader) == EBADF);
}

TEST_CASE("Readiness: take() gives each waiter once") {
  Readiness readiness;
  const Pair ends = pipe();
  fill(ends.second);
  Request reader = waiter(Opcode::read, ends.first.get());
  Request writer = waiter(Opcode::write, ends.second.get());
  take(ends.first);
  const Pair others = pipe();
  Request other = waiter(Opcode::read, others.first.get());
  REQUIRE(readiness.add(reader) == 0);
  REQUIRE(readiness.add(other) == 0);
  REQUIRE(readiness.add(writer) == 0);
  std::size_t count = 0;
  while (const Request* const request = readiness.take()) {
    CHECK_FALSE(request->linked());
    ++count;
  }
  CHECK(count == 3);
  CHECK(readiness.waiting() == 0);
}

TEST_CASE("Readiness: more ready descriptors than one call of epoll gives all come in the end") {
  Readiness readiness;
  std::vector<Pair> pipes;
  std::vector<Request> readers(100);
  for (Request& reader : readers) {
    pipes.push_back(pipe());
    reader = waiter(Opcode::read, pipes.back().first.get());
    REQUIRE(readiness.add(reader) == 0);
    put(pipes.back().second);
  }
  std::size_t count = 0;
  for (int turn = 0; turn < 2; ++turn) count += collect(readiness).size();
  CHECK(count == 100);
}

TEST_CASE("Readiness: whoever is told may wait again at once") {
  Readiness readiness;
  const Pair ends = pipe();
  Request reader = waiter(Opcode::read, ends.first.get());
  REQUIRE(readiness.add(reader) == 0);
  put(ends.second);
  int told = 0;
  for (int turn = 0; turn < 3; ++turn) {
    readiness.collect([&](Request& request) {
      ++told;
      CHECK(readiness.add(request) == 0);
    });
  }
  CHECK(told == 3);
  readiness.remove(reader);
}
