#include <aiofile/iostream_cursor.hpp>

#include <aiofile/error.hpp>
#include <caio/caio.hpp>
#include <cerrno>
#include <fstream>
#include <ios>
#include <sstream>
#include <streambuf>
#include <string>

#include "support/catch.hpp"
#include "support/temporary.hpp"

using aiofile::FileError;
using aiofile::detail::IostreamCursor;

namespace {

constexpr auto in = std::ios::in;
constexpr auto out = std::ios::out;

std::string get(std::streambuf& buffer, std::size_t size) {
  std::string text(size, '\0');
  text.resize(static_cast<std::size_t>(buffer.sgetn(text.data(), static_cast<std::streamsize>(size))));
  return text;
}

void put(std::streambuf& buffer, const std::string& text) {
  CHECK(buffer.sputn(text.data(), static_cast<std::streamsize>(text.size())) ==
        static_cast<std::streamsize>(text.size()));
}

template <class Function>
int errno_of(Function function) {
  try {
    function();
  } catch (const FileError& error) {
    CHECK(error.path1() == "<iostream>");
    return error.code().value();
  }
  return 0;
}

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

/// Cannot be flushed.
class Broken final : public std::stringbuf {
 public:
  explicit Broken(int why) : why_(why) {}

 protected:
  int sync() override {
    if (why_ != 0) errno = why_;
    return -1;
  }

 private:
  int why_;
};

}  // namespace

TEST_CASE("IostreamCursor: begins where the stream stands, and knows whether it can seek") {
  caio::Context context;
  std::stringstream stream("0123456789");
  stream.seekg(3);
  IostreamCursor cursor(stream, "r+b");
  CHECK(cursor.seeks());
  CHECK(cursor.position() == 3);
  CHECK(cursor.file->mode.readable);
  CHECK(cursor.file->mode.writable);

  std::iostream none(nullptr);
  CHECK_FALSE(IostreamCursor(none, "rb").seeks());
  CHECK(errno_of([&] { IostreamCursor(none, "rb").buffer("read"); }) == EIO);
}

TEST_CASE("IostreamCursor: moves a position of the stream only when the other one was in use, or it was lost") {
  caio::Context context;
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
}

TEST_CASE("IostreamCursor: what the stream refuses is told with its errno, and asked for again") {
  caio::Context context;
  Watched buffer("abcdef");
  std::iostream stream(&buffer);
  IostreamCursor cursor(stream, "r+b");
  buffer.error = ENOSPC;
  CHECK(errno_of([&] { cursor.move_all(2, "seek"); }) == ENOSPC);
  buffer.error = 0;
  cursor.buffer_at(0, std::ios::in, "read");
  CHECK(buffer.moves == "2io 0i ");
}

TEST_CASE("IostreamCursor: a seek moves both positions, and one that is refused leaves them to be found") {
  caio::Context context;
  std::stringstream stream("0123456789");
  IostreamCursor cursor(stream, "r+b");
  cursor.move_all(7, "seek");
  CHECK(get(cursor.buffer_at(0, in, "read"), 1) == "7");
  cursor.move_all(2, "seek");
  put(cursor.buffer_at(0, out, "write"), "x");
  CHECK(stream.str() == "01x3456789");
  CHECK(errno_of([&] { cursor.move_all(11, "seek"); }) == EINVAL);  // string streams end at their end
  CHECK(get(cursor.buffer_at(5, in, "read"), 1) == "5");
}

TEST_CASE("IostreamCursor: a flush tells where a stream that appends stands") {
  caio::Context context;
  const support::TemporaryDirectory directory;
  std::ofstream stream(directory.file("log", "12345"), std::ios::app);
  IostreamCursor cursor(stream, "wb");
  put(cursor.buffer_at(0, out, "write"), "678");
  CHECK(cursor.flush(3, "flush") == 8);
  CHECK(support::content_of(directory / "log") == "12345678");
}

TEST_CASE("IostreamCursor: a stream that reads stands where it stood after a flush") {
  caio::Context context;
  std::stringstream stream("0123456789");
  IostreamCursor cursor(stream, "r+b");
  CHECK(get(cursor.buffer_at(0, in, "read"), 4) == "0123");
  CHECK(cursor.flush(4, "flush") == 4);
}

TEST_CASE("IostreamCursor: a buffer that cannot be flushed says why, or it is EIO; a stream that has failed is EIO") {
  caio::Context context;
  for (const int why : {ENOSPC, 0}) {
    Broken buffer(why);
    std::ostream stream(&buffer);
    IostreamCursor cursor(stream, "wb");
    errno = EPERM;  // of something before
    CHECK(errno_of([&] { cursor.flush(0, "flush"); }) == (why != 0 ? why : EIO));
  }
  std::stringstream stream("0123456789");
  IostreamCursor cursor(stream, "r+b");
  stream.setstate(std::ios::failbit);
  CHECK(errno_of([&] { cursor.buffer_at(0, in, "read"); }) == EIO);
  stream.clear();
  CHECK(get(cursor.buffer_at(0, in, "read"), 1) == "0");
}
