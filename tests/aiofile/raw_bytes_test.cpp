// read_into() gives the file's bytes as they are, also where the stream's text is converted.

#include <unistd.h>

#include <aiofile/async_open.hpp>
#include <aiofile/stream.hpp>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::async_open;
using aiofile::FileStream;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::text_of;
using support::Pipe;
using support::TemporaryDirectory;

TEST_CASE("Raw bytes: read_into goes on at the position of converted text, which goes on behind it") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", std::string("a\0b\0c\0d\0e\0", 10));
  support::on_every_backend([&](Context&) -> Task<> {
    FileStream stream = co_await async_open(path, "r", {.encoding = "utf-16-le"});
    CHECK_YIELDS(stream.read(1), "a");
    std::array<std::byte, 4> memory{};
    CHECK_YIELDS(stream.read_into(memory), 4U);
    CHECK(text_of(memory) == std::string("b\0c\0", 4));
    CHECK(stream.tell() == 6);
    CHECK_YIELDS(stream.read(), "de");
    CHECK_YIELDS(stream.read_into(memory), 0U);
    co_await stream.close();
  });
}

TEST_CASE("Raw bytes: a pipe's bytes that were converted cannot be given back") {
  support::on_every_backend([](Context&) -> Task<> {
    const Pipe pipe;
    FileStream stream = co_await async_open(pipe.reader.get(), "r", {.encoding = "utf-16-le"});
    REQUIRE(::write(pipe.writer.get(), "a\0b\0", 4) == 4);
    CHECK_YIELDS(stream.read(1), "a");
    std::array<std::byte, 2> memory{};
    CHECK_YIELDS(error_of(stream.read_into(memory)), EOPNOTSUPP);
    CHECK_YIELDS(stream.read(1), "b");
    co_await stream.close();
  });
}
