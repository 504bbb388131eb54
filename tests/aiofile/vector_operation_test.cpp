#include <aiofile/vector_operation.hpp>

#include <fcntl.h>
#include <limits.h>
#include <sys/uio.h>
#include <unistd.h>

#include <aiofile/file.hpp>
#include <algorithm>
#include <caio/caio.hpp>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "outcome.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/pipe.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using caio::Context;
using caio::Task;
using outcome::error_of;
using outcome::failure_of;
using outcome::pattern;
using support::TemporaryDirectory;

namespace {

/// `text` cut into pieces of these lengths, again and again, up to its end.
std::vector<::iovec> cut(std::string& text, const std::vector<std::size_t>& lengths) {
  std::vector<::iovec> pieces;
  std::size_t at = 0;
  for (std::size_t i = 0; at < text.size(); ++i) {
    const std::size_t length = std::min(lengths[i % lengths.size()], text.size() - at);
    pieces.push_back({text.data() + at, length});
    at += length;
  }
  return pieces;
}

int calls = 0;

/// What the kernel may do: fewer bytes than asked for, here by a piece and a half; and interruptions.
std::vector<::iovec> shortened(const ::iovec* vectors, int count) {
  std::vector<::iovec> fewer(vectors, vectors + std::min(count, 3));
  fewer.back().iov_len = (fewer.back().iov_len + 1) / 2;
  return fewer;
}

::ssize_t short_preadv2(int fd, const ::iovec* vectors, int count, ::off_t offset, int flags) {
  if (++calls % 4 == 0) {
    errno = EINTR;
    return -1;
  }
  const auto fewer = shortened(vectors, count);
  return ::preadv2(fd, fewer.data(), static_cast<int>(fewer.size()), offset, flags);
}

::ssize_t short_pwritev2(int fd, const ::iovec* vectors, int count, ::off_t offset, int flags) {
  if (++calls % 4 == 0) {
    errno = EINTR;
    return -1;
  }
  const auto fewer = shortened(vectors, count);
  return ::pwritev2(fd, fewer.data(), static_cast<int>(fewer.size()), offset, flags);
}

}  // namespace

TEST_CASE("AIOFile: writev writes all pieces, and readv fills them, of any number and size") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::vector<std::vector<std::size_t>> shapes = {{1}, {0, 1, 0, 0, 5}, {4096}, {3, 0, 10'000}, {1'000'000}};
    for (const auto& shape : shapes) {
      const std::size_t size = shape.back() < 10 ? 5'000 : 2'500'000;
      std::string content = pattern(size);
      AIOFile file = co_await AIOFile(directory / "file", "w+b");
      const auto source = cut(content, shape);
      CHECK_YIELDS(file.writev(source, 7), size);
      CHECK((support::content_of(directory / "file") == std::string(7, '\0') + content));
      std::string memory(size, '\0');
      const auto target = cut(memory, shape);
      CHECK_YIELDS(file.readv(target, 7), size);
      CHECK((memory == content));
      co_await file.close();
    }
  });
}

TEST_CASE("AIOFile: more pieces than IOV_MAX, empty ones among them") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::string content = pattern(3 * IOV_MAX + 5);
    std::vector<::iovec> source(2 * IOV_MAX, ::iovec{nullptr, 0});
    for (const ::iovec& piece : cut(content, {1})) source.push_back(piece);
    source.insert(source.end(), IOV_MAX + 1, ::iovec{nullptr, 0});
    AIOFile file = co_await AIOFile(directory / "file", "w+b");
    CHECK_YIELDS(file.writev(source), content.size());
    std::string memory(content.size(), '\0');
    std::vector<::iovec> target(IOV_MAX, ::iovec{nullptr, 0});
    for (const ::iovec& piece : cut(memory, {1, 0, 2})) target.push_back(piece);
    CHECK_YIELDS(file.readv(target), content.size());
    CHECK((memory == content));
  });
}

TEST_CASE("AIOFile: readv ends with the file") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "0123456789"), "rb");
    std::string memory(20, '.');
    const auto pieces = cut(memory, {4});
    CHECK_YIELDS(file.readv(pieces), 10U);
    CHECK(memory == "0123456789..........");
    CHECK_YIELDS(file.readv(pieces, 7), 3U);
    CHECK(memory == "7893456789..........");
    CHECK_YIELDS(file.readv(pieces, 10), 0U);
    CHECK_YIELDS(file.readv(pieces, INT64_MAX), 0U);
    CHECK_YIELDS(file.readv(pieces, INT64_MAX - 3), 0U);
    CHECK_YIELDS(file.readv({}), 0U);
    const std::vector<::iovec> nothing(3, ::iovec{nullptr, 0});
    CHECK_YIELDS(file.readv(nothing), 0U);
    CHECK(memory == "7893456789..........");
  });
}

TEST_CASE("AIOFile: short counts go on within a piece") {
  for (const caio::Implementation implementation : outcome::plain_backends) {
    if (!support::wanted(implementation)) continue;
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      const support::ReplacedCalls replaced;
      replaced->preadv2 = short_preadv2;
      replaced->pwritev2 = short_pwritev2;
      replaced->pread = [](int fd, void* memory, std::size_t size, ::off_t offset) {
        return ::pread(fd, memory, std::min<std::size_t>(size, 3), offset);
      };
      replaced->pwrite = [](int fd, const void* memory, std::size_t size, ::off_t offset) {
        return ::pwrite(fd, memory, std::min<std::size_t>(size, 3), offset);
      };
      Context context(implementation, {.speculate = false});
      context.run([](const TemporaryDirectory& where) -> Task<> {
        for (const std::vector<std::size_t>& shape : {std::vector<std::size_t>{7}, {1, 0, 30}, {1}}) {
          std::string content = pattern(1'000);
          AIOFile file = co_await AIOFile(where / "file", "w+b");
          const auto source = cut(content, shape);
          CHECK_YIELDS(file.writev(source, 5), 1'000U);
          CHECK(support::content_of(where / "file").substr(5) == content);
          std::string memory(1'100, '\0');
          const auto target = cut(memory, shape);
          CHECK_YIELDS(file.readv(target, 5), 1'000U);
          CHECK(memory.substr(0, 1'000) == content);
        }
      }(directory));
    }
  }
}

TEST_CASE("AIOFile: writev that fails tells how far it came") {
  for (const caio::Implementation implementation : outcome::plain_backends) {
    if (!support::wanted(implementation)) continue;
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      const support::ReplacedCalls replaced;
      static int count;
      count = 0;
      replaced->pwritev2 = [](int, const ::iovec*, int, ::off_t, int) {
        errno = ENOSPC;
        return ++count == 1 ? ::ssize_t{10} : ::ssize_t{-1};
      };
      replaced->pwrite = [](int, const void*, std::size_t size, ::off_t) { return static_cast<::ssize_t>(size); };
      Context context(implementation, {.speculate = false});
      context.run([](const TemporaryDirectory& where) -> Task<> {
        std::string content = pattern(40);
        const auto pieces = cut(content, {8});
        AIOFile file = co_await AIOFile(where / "file", "wb");
        const auto failure = co_await failure_of(file.writev(pieces));
        REQUIRE(failure);
        CHECK(failure->code().value() == ENOSPC);
        CHECK(failure->transferred() == 16);
        count = 0;
        caio::system_calls.pwritev2 = [](int, const ::iovec*, int, ::off_t, int) { return ::ssize_t{0}; };
        CHECK_YIELDS(error_of(file.writev(pieces)), EIO);
      }(directory));
    }
  }
}

TEST_CASE("AIOFile: writev appends in mode 'a', also to a borrowed descriptor") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::string text = "abcdefg";
    const auto pieces = cut(text, {2});
    AIOFile file = co_await AIOFile(directory.file("file", "123"), "ab");
    CHECK_YIELDS(file.writev(pieces, 1), 7U);
    const int fd = ::open((directory / "file").c_str(), O_WRONLY | O_CLOEXEC);
    AIOFile borrowed = AIOFile::from_fd(fd, "ab");
    CHECK_YIELDS(borrowed.writev(pieces, 0), 7U);
    co_await borrowed.close();
    ::close(fd);
    CHECK(support::content_of(directory / "file") == "123abcdefgabcdefg");
  });
}

TEST_CASE("AIOFile: writev appends whatever it is given with O_DIRECT, several at once") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    for (const auto& [mode, flags] : {std::pair("ab", O_DIRECT), std::pair("r+b", O_DIRECT | O_APPEND)}) {
      const auto path = directory.file("file", "123");
      AIOFile file(path, mode, {.flags = flags});
      const int error = co_await error_of(file.open());
      if (error == EINVAL) co_return;  // tmpfs before Linux 6.6
      REQUIRE(error == 0);
      std::string odd = pattern(1'001, 1);
      std::string whole = pattern(4'096, 2);
      whole += whole;  // the pieces of several may come in turns
      const auto odd_pieces = cut(odd, {7, 500});
      const auto whole_pieces = cut(whole, {4096});
      CHECK_YIELDS(file.writev(odd_pieces, 1), odd.size());
      CHECK_YIELDS(file.write("bytes", 77), 5U);
      co_await caio::gather(file.writev(whole_pieces), file.writev(whole_pieces), file.writev(whole_pieces));
      CHECK((support::content_of(path) == "123" + odd + "bytes" + whole + whole + whole));
      co_await file.close();
    }
  });
}

TEST_CASE("AIOFile: readv and writev on pipes") {
  support::on_every_backend([](Context&) -> Task<> {
    support::Pipe pipe;
    AIOFile out = AIOFile::from_fd(pipe.writer.get(), "wb");
    AIOFile in = AIOFile::from_fd(pipe.reader.get(), "rb");
    std::string content = pattern(300'000);  // more than a pipe holds
    std::string memory(content.size(), '\0');
    const auto source = cut(content, {70'000, 1});
    const auto target = cut(memory, {3, 99'999});
    const auto [written, read] = co_await caio::gather(out.writev(source), in.readv(target));
    CHECK(written == content.size());
    CHECK(read == content.size());
    CHECK((memory == content));
  });
}

TEST_CASE("AIOFile: readv and writev need an open file of the right mode, and text passes as it is") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::string text = "\xff\xfe\xfd";
    const auto pieces = cut(text, {1});
    AIOFile out = co_await AIOFile(directory / "file", "w", {.encoding = "utf-16"});
    CHECK_YIELDS(error_of(out.readv(pieces)), EBADF);
    CHECK_YIELDS(out.writev(pieces), 3U);
    co_await out.close();
    CHECK_YIELDS(error_of(out.writev(pieces)), EBADF);
    AIOFile in = co_await AIOFile(directory / "file", "r");
    CHECK_YIELDS(error_of(in.writev(pieces)), EBADF);
    text = "...";
    CHECK_YIELDS(in.readv(pieces), 3U);
    CHECK(text == "\xff\xfe\xfd");
    CHECK_THROWS_AS(in.readv(pieces, std::uint64_t{1} << 63), std::invalid_argument);
    CHECK_THROWS_AS(in.writev(pieces, std::uint64_t{1} << 63), std::invalid_argument);
  });
}

TEST_CASE("AIOFile: a sync waits for a writev that was started before") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "wb");
    std::string content = pattern(600'000);
    const auto pieces = cut(content, {100'000});
    co_await caio::gather(file.writev(pieces), file.fsync());
    CHECK((support::content_of(directory / "file") == content));
  });
}

TEST_CASE("AIOFile: a readv that waits is stopped, or destroyed with its frame") {
  support::on_every_backend([](Context& context) -> Task<> {
    support::Pipe pipe;
    AIOFile in = AIOFile::from_fd(pipe.reader.get(), "rb");
    std::string memory(10, '\0');
    const auto pieces = cut(memory, {4});
    {
      int error = -1;
      caio::TaskGroup group;
      group.spawn(outcome::store_error(in.readv(pieces), error));
      co_await context.schedule();
      group.request_stop();
      co_await group.join();
      CHECK(error == ECANCELED);
    }
    int error = -1;
    {
      caio::TaskGroup group;
      group.spawn(outcome::store_error(in.readv(pieces), error));
      co_await context.schedule();
    }
    CHECK(error == -1);
  });
}

TEST_CASE("AIOFile: nothing is allocated for readv and writev") {
  support::on_every_backend(
      [](Context&) -> Task<> {
        const TemporaryDirectory directory;
        AIOFile file = co_await AIOFile(directory / "file", "w+b");
        std::string content = pattern(20'000);
        const auto pieces = cut(content, {9});
        for (int i = 0; i < 10; ++i) {
          co_await file.writev(pieces);
          co_await file.readv(pieces);
        }
        const std::size_t before = support::allocations();
        for (int i = 0; i < 20; ++i) {
          co_await file.writev(pieces);
          co_await file.readv(pieces);
        }
        if (support::counts_allocations) CHECK(support::allocations() == before);
      },
      {.pool_size = 1});
}
