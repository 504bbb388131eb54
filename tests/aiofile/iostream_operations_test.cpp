#include <aiofile/iostream_operations.hpp>

#include <aiofile/error.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <ios>
#include <istream>
#include <sstream>
#include <streambuf>
#include <string>

#include "copied_files.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"

using aiofile::detail::IostreamCursor;
using caio::Context;
using caio::Task;
using copied_files::failure_of;

namespace {

/// Writes down which positions it is asked to move, and refuses on request.
class Watched final : public std::stringbuf {
 public:
  using std::stringbuf::stringbuf;
  std::string moves;
  int error = 0;  // of what follows; 0: none

 protected:
  pos_type seekpos(pos_type position, std::ios::openmode which) override {
    moves += std::to_string(position) + ((which & std::ios::in) != 0 ? "i" : "") +
             ((which & std::ios::out) != 0 ? "o " : " ");
    errno = error;
    return error != 0 ? pos_type(off_type(-1)) : std::stringbuf::seekpos(position, which);
  }
  int sync() override {
    errno = error;
    return error != 0 ? -1 : 0;
  }
};

}  // namespace

TEST_CASE("IostreamCursor: begins where the stream stands, or at 0 where it cannot say") {
  support::on_every_backend([](Context&) -> Task<> {
    std::stringstream text("abcdef");
    text.seekg(4);
    CHECK(IostreamCursor(text, "rb").position() == 4);
    CHECK(IostreamCursor(text, "rb").seeks());
    std::ostringstream out("head", std::ios::ate);
    CHECK(IostreamCursor(out, "wb").position() == 4);
    std::istream nothing(nullptr);
    IostreamCursor none(nothing, "rb");
    CHECK_FALSE(none.seeks());
    CHECK(none.position() == 0);
    co_return;
  });
}

TEST_CASE("IostreamCursor: moves a position of the stream only when the other one was in use, or it was lost") {
  support::on_every_backend([](Context&) -> Task<> {
    Watched buffer("abcdef");
    std::iostream stream(&buffer);
    IostreamCursor cursor(stream, "r+b");
    CHECK(&cursor.buffer_at(0, std::ios::in, "read") == &buffer);
    cursor.buffer_at(2, std::ios::in, "read");
    CHECK(buffer.moves.empty());
    cursor.buffer_at(3, std::ios::out, "write");
    cursor.buffer_at(4, std::ios::out, "write");
    CHECK(buffer.moves == "3o ");
    cursor.buffer_at(5, std::ios::in, "read");
    CHECK(buffer.moves == "3o 5i ");
    cursor.lost();
    cursor.buffer_at(5, std::ios::in, "read");
    CHECK(buffer.moves == "3o 5i 5i ");
    cursor.move_all(1, "seek");
    cursor.buffer_at(1, std::ios::in, "read");
    CHECK(buffer.moves == "3o 5i 5i 1io ");
    co_return;
  });
}

TEST_CASE("IostreamCursor: what the stream refuses is told with its errno, and asked for again") {
  support::on_every_backend([](Context&) -> Task<> {
    Watched buffer("abcdef");
    std::iostream stream(&buffer);
    IostreamCursor cursor(stream, "r+b");
    buffer.error = ENOSPC;
    const auto moved = failure_of([&] { cursor.move_all(2, "seek"); });
    REQUIRE(moved);
    CHECK(moved->code().value() == ENOSPC);
    const auto flushed = failure_of([&] { cursor.flush(2, "flush"); });
    REQUIRE(flushed);
    CHECK(flushed->code().value() == ENOSPC);
    CHECK(flushed->path1() == "<iostream>");
    buffer.error = 0;
    cursor.buffer_at(0, std::ios::in, "read");
    CHECK(buffer.moves == "2io 0i ");
    stream.setstate(std::ios::failbit);
    const auto failed = failure_of([&] { cursor.buffer("read"); });
    REQUIRE(failed);
    CHECK(failed->code().value() == EIO);
    co_return;
  });
}

TEST_CASE("IostreamCursor: a flush tells where a stream stands that was written to") {
  support::on_every_backend([](Context&) -> Task<> {
    std::stringstream stream("abcdef");
    IostreamCursor cursor(stream, "r+b");
    CHECK(cursor.flush(3, "flush") == 3);
    cursor.buffer_at(2, std::ios::out, "write").sputn("xyz", 3);
    CHECK(cursor.flush(3, "flush") == 5);
    co_return;
  });
}
