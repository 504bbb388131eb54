#include <aiofile/iostream_operations.hpp>

#include <aiofile/iostream_file.hpp>
#include <algorithm>
#include <caio/caio.hpp>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::FileError;
using aiofile::IostreamFile;
using aiofile::Whence;
using caio::Context;
using caio::Task;
using caio::TaskGroup;
using outcome::error_of;
using outcome::failure_of;
using outcome::pattern;
using outcome::thrown_by;

namespace {

/// Where a thread waits when it is told to.
class Gate {
 public:
  /// The next pass() waits for open().
  void close() { open_ = false; }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  /// Whether a thread waits.
  bool has_caller() {
    const std::lock_guard lock(mutex_);
    return waits_;
  }
  void pass() {
    std::unique_lock lock(mutex_);
    waits_ = true;
    changed_.wait(lock, [this] { return open_; });
    waits_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  bool waits_ = false;
};

/// Cannot seek, writes down who calls it, and waits or fails when it is told to.
class Buffer final : public std::streambuf {
 public:
  explicit Buffer(std::string source = "") : source_(std::move(source)) {}

  Gate gate;
  std::string written;
  std::size_t largest = 0;
  std::vector<std::thread::id> callers;
  bool throws = false;
  std::size_t room = ~std::size_t{0};

 protected:
  std::streamsize xsgetn(char* to, std::streamsize size) override {
    enter(size);
    const std::size_t count = std::min(static_cast<std::size_t>(size), source_.size() - read_);
    if (count > 0) std::memcpy(to, source_.data() + read_, count);
    read_ += count;
    return static_cast<std::streamsize>(count);
  }
  std::streamsize xsputn(const char* from, std::streamsize size) override {
    enter(size);
    const std::size_t count = std::min(static_cast<std::size_t>(size), room - std::min(room, written.size()));
    written.append(from, count);
    return static_cast<std::streamsize>(count);
  }

 private:
  void enter(std::streamsize size) {
    largest = std::max(largest, static_cast<std::size_t>(size));
    callers.push_back(std::this_thread::get_id());
    if (throws) throw std::runtime_error("broken buffer");
    gate.pass();
  }

  std::string source_;
  std::size_t read_ = 0;
};

/// Can seek; waits before it does anything.
class GatedString final : public std::stringbuf {
 public:
  using std::stringbuf::stringbuf;
  Gate gate;

 protected:
  std::streamsize xsgetn(char* to, std::streamsize size) override {
    gate.pass();
    return std::stringbuf::xsgetn(to, size);
  }
  std::streamsize xsputn(const char* from, std::streamsize size) override {
    gate.pass();
    return std::stringbuf::xsputn(from, size);
  }
  pos_type seekpos(pos_type position, std::ios::openmode which) override {
    gate.pass();
    return std::stringbuf::seekpos(position, which);
  }
  int sync() override {
    gate.pass();
    return std::stringbuf::sync();
  }
};

/// Backends whose pool is other threads.
bool has_threads(const Context& context) { return context.implementation() != caio::Implementation::blocking; }

}  // namespace

TEST_CASE("IostreamFile: wrong uses") {
  support::on_every_backend([&](Context&) -> Task<> {
    std::istringstream in("abc");
    IostreamFile reader(in);
    CHECK_YIELDS(error_of(reader.write("x")), EBADF);
    co_await reader.flush();
    std::ostringstream out;
    IostreamFile writer(out);
    CHECK_YIELDS(error_of(writer.read()), EBADF);
    CHECK_THROWS_AS(static_cast<void>(reader.read(-2)), std::invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(reader.seek(-1, Whence::set)), std::invalid_argument);
    CHECK_YIELDS(thrown_by(reader.seek(-1, Whence::current)), "aiofile::IostreamFile::seek: to a negative position");
    CHECK_YIELDS(error_of(reader.seek(4, Whence::set)), EINVAL);
    CHECK(reader.tell() == 0);
    CHECK_YIELDS(reader.read(), "abc");

    std::istream nothing(nullptr);
    IostreamFile none(nothing);
    CHECK_YIELDS(error_of(none.read()), EIO);

    co_await reader.close();
    co_await reader.close();
    CHECK(reader.closed());
    CHECK_FALSE(reader.seekable());
    CHECK_YIELDS(error_of(reader.read()), EBADF);
    CHECK_YIELDS(error_of(reader.seek(0, Whence::set)), EBADF);
    CHECK_YIELDS(error_of(reader.flush()), EBADF);
  });
}

TEST_CASE("IostreamFile: a stream that cannot seek counts what went through") {
  support::on_every_backend([&](Context& context) -> Task<> {
    Buffer buffer(pattern(2'500'000));
    std::iostream stream(&buffer);
    IostreamFile file(stream);
    CHECK_FALSE(file.seekable());
    CHECK_YIELDS(file.read(3), pattern(2'500'000).substr(0, 3));
    CHECK_YIELDS(file.write("abcd"), 4);
    CHECK(file.tell() == 7);
    CHECK_YIELDS(error_of(file.seek(0, Whence::set)), ESPIPE);
    CHECK_YIELDS(error_of(file.seek(0, Whence::end)), ESPIPE);
    const std::string rest = co_await file.read();
    CHECK((rest == pattern(2'500'000).substr(3)));
    co_await file.write(rest);
    CHECK((buffer.written == "abcd" + rest));
    CHECK(buffer.largest == 1024 * 1024);  // no thread of the pool is held for long
    for (const std::thread::id caller : buffer.callers) {
      if (has_threads(context)) CHECK(caller != std::this_thread::get_id());
    }
  });
}

TEST_CASE("IostreamFile: a failure, and what comes after it") {
  support::on_every_backend([&](Context&) -> Task<> {
    Buffer buffer("abcdef");
    std::iostream stream(&buffer);
    IostreamFile file(stream);
    buffer.throws = true;
    CHECK_YIELDS(thrown_by(file.read(2)), "broken buffer");
    CHECK_YIELDS(thrown_by(file.write("x")), "broken buffer");
    buffer.throws = false;
    CHECK(file.tell() == 0);
    CHECK_YIELDS(file.read(2), "ab");
    buffer.room = 3;
    const std::optional<FileError> failure = co_await failure_of(file.write("12345"));
    REQUIRE(failure.has_value());
    CHECK(failure->code().value() == EIO);
    CHECK(failure->transferred() == 3);
    stream.setstate(std::ios::failbit);
    CHECK_YIELDS(error_of(file.read()), EIO);
    stream.clear(std::ios::eofbit);
    CHECK_YIELDS(file.read(), "cdef");
  });
}

TEST_CASE("IostreamFile: operations run in the order they were started") {
  support::on_every_backend([&](Context&) -> Task<> {
    std::stringstream stream("abcdef");
    IostreamFile file(stream);
    const auto [first, written, second, position, third] =
        co_await caio::gather(file.read(2), file.write("XY"), file.read(1), file.seek(1, Whence::set), file.read(3));
    CHECK(first == "ab");
    CHECK(written == 2);
    CHECK(second == "e");
    CHECK(position == 1);
    CHECK(third == "bXY");
  });
}

TEST_CASE("IostreamFile: stopped, destroyed, and moved while a thread is inside") {
  support::on_every_backend([&](Context& context) -> Task<> {
    if (!has_threads(context)) co_return;
    Buffer buffer("abcdef");
    std::iostream stream(&buffer);
    std::optional<IostreamFile> file(std::in_place, stream);
    std::string text;
    int error = -1;
    int waiting_error = -1;
    std::string never;
    buffer.gate.close();
    {
      TaskGroup running;
      TaskGroup waiting;
      running.spawn(outcome::store(*file, 2, text, error));
      waiting.spawn(outcome::store(*file, 2, never, waiting_error));
      while (!buffer.gate.has_caller()) co_await context.schedule();
      waiting.request_stop();
      co_await waiting.join();
      CHECK(waiting_error == ECANCELED);
      running.request_stop();  // too late
      IostreamFile moved = std::move(*file);
      file.emplace(std::move(moved));
      buffer.gate.open();
      co_await running.join();
      CHECK(error == 0);
      CHECK(text == "ab");
    }
    buffer.gate.close();
    {
      std::jthread opener;
      TaskGroup destroyed;
      destroyed.spawn(outcome::store(*file, 2, text, error));
      destroyed.spawn(outcome::store(*file, 2, text, error));
      while (!buffer.gate.has_caller()) co_await context.schedule();
      opener = std::jthread([&] { buffer.gate.open(); });
      file.reset();
    }
    CHECK(buffer.callers.size() == 2);
  });
}

TEST_CASE("IostreamFile: what is given up while a thread is inside leaves the position where the stream can seek") {
  const std::string content = pattern(3'000'000);
  support::on_every_backend([&](Context& context) -> Task<> {
    if (!has_threads(context)) co_return;
    GatedString buffer(content);
    std::iostream stream(&buffer);
    IostreamFile file(stream);
    CHECK_YIELDS(file.read(3), content.substr(0, 3));
    std::vector<std::byte> memory(2'000'000);
    const auto give_up = [&](auto operation) -> Task<> {
      buffer.gate.close();
      std::jthread opener;
      int error = -1;
      TaskGroup destroyed;
      destroyed.spawn(outcome::store_error(std::move(operation), error));
      while (!buffer.gate.has_caller()) co_await context.schedule();
      opener = std::jthread([&] { buffer.gate.open(); });
    };
    co_await give_up(file.read());
    CHECK(file.tell() == 3);
    co_await give_up(file.read_into(memory));
    CHECK(file.tell() == 3);
    co_await give_up(file.seek(100, Whence::set));
    CHECK(file.tell() == 3);
    co_await give_up(file.flush());
    CHECK_YIELDS(file.read(4), content.substr(3, 4));
    co_await give_up(file.write(content.substr(0, 10)));
    CHECK(file.tell() == 7);
    co_await give_up(file.close());
    CHECK(file.closed());
  });
}

TEST_CASE("IostreamFile: operations go at any moment") {
  support::on_every_backend([&](Context& context) -> Task<> {
    std::stringstream stream(pattern(1000));
    std::vector<std::byte> memory(100);
    const auto give_up = [&](auto operation, int turns) -> Task<> {
      int error = 0;
      TaskGroup destroyed;
      destroyed.spawn(outcome::store_error(std::move(operation), error));
      for (int i = 0; i < turns; ++i) co_await context.schedule();
    };
    for (int round = 0; round < 300; ++round) {
      IostreamFile file(stream);
      const int turns = 127 + round % 8;  // a request is handed to the pool after 128 resumptions
      co_await give_up(file.read_into(memory), turns);
      co_await give_up(file.seek(0, Whence::set), turns);
      co_await give_up(file.flush(), turns);
      co_await give_up(file.close(), turns);
    }
    CHECK_YIELDS(IostreamFile(stream).seek(0, Whence::set), 0);
  });
}
