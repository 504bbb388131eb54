#include <aiofile/read_operation.hpp>

#include <sys/resource.h>

#include <aiofile/file.hpp>
#include <algorithm>
#include <caio/gather.hpp>
#include <caio/task_group.hpp>
#include <cerrno>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "held_backend.hpp"
#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/replaced_calls.hpp"
#include "support/setups.hpp"
#include "support/simulated.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::DecodeError;
using aiofile::FileError;
using caio::Context;
using caio::Opcode;
using caio::Task;
using caio::TaskGroup;
using outcome::Bench;
using outcome::error_of;
using outcome::failure_of;
using outcome::pattern;
using support::ReplacedCalls;
using support::TemporaryDirectory;

namespace {

/// The offset of the DecodeError that is thrown, if it is.
template <class A>
Task<std::optional<std::uint64_t>> decode_error_of(A awaitable) {
  try {
    static_cast<void>(co_await std::move(awaitable));
  } catch (const DecodeError& error) {
    co_return error.offset();
  }
  co_return std::nullopt;
}

Task<> store_read(AIOFile& file, std::int64_t size, std::optional<std::string>& text,
                  std::optional<FileError>& failure) {
  try {
    text = co_await file.read(size);
  } catch (const FileError& error) {
    failure = error;
  }
}

/// The pieces that the replaced calls give: one byte, three, four, and so on.
std::size_t step = 0;
std::size_t next_piece(std::size_t size) {
  constexpr std::size_t pieces[] = {1, 3, 4, 12, 1, 6};
  return std::min(size, pieces[step++ % 6]);
}
::ssize_t short_pread(int fd, void* memory, std::size_t size, ::off_t offset) {
  return ::pread(fd, memory, next_piece(size), offset);
}
::ssize_t short_preadv2(int fd, const ::iovec* vectors, int, ::off_t offset, int flags) {
  const ::iovec piece{vectors->iov_base, next_piece(vectors->iov_len)};
  return ::preadv2(fd, &piece, 1, offset, flags);
}

constexpr bool under_address_sanitizer =
#if defined(__SANITIZE_ADDRESS__)
    true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
    true;
#else
    false;
#endif
#else
    false;
#endif

}  // namespace

// ---- short counts and errors ---------------------------------------------------------------------------------------

TEST_CASE("Read: goes on after short counts, where they ended") {
  for (const caio::Implementation implementation : outcome::plain_backends) {
    if (!support::wanted(implementation)) continue;
    for (const bool speculate : {false, true}) {
      DYNAMIC_SECTION(caio::name(implementation) << (speculate ? "" : ", no speculation")) {
        const TemporaryDirectory directory;
        const ReplacedCalls calls;
        calls->pread = short_pread;
        calls->preadv2 = short_preadv2;
        Context context(implementation, {.speculate = speculate});
        auto work = [](std::filesystem::path path) -> Task<> {
          AIOFile file = co_await AIOFile(path);
          const std::string content = pattern(500);
          const std::string all = co_await file.read();
          CHECK(all == content);
          const std::string part = co_await file.read(100, 50);
          CHECK(part == content.substr(50, 100));
          std::vector<std::byte> memory(600);
          const std::size_t count = co_await file.read_into(memory, 10);
          CHECK(count == 490);
          CHECK(outcome::text_of(std::span(memory).first(count)) == content.substr(10));
        };
        context.run(work(directory.file("file", pattern(500))));
      }
    }
  }
}

TEST_CASE("Read: what is not in the page cache is asked for once, and keeps the part that is") {
  static int probes = 0;
  static std::size_t cached = 0;
  for (const caio::Implementation implementation : outcome::plain_backends) {
    if (!support::wanted(implementation)) continue;
    for (const std::size_t part : {std::size_t{0}, std::size_t{7}}) {
      DYNAMIC_SECTION(caio::name(implementation) << ", cached: " << part) {
        const TemporaryDirectory directory;
        const ReplacedCalls calls;
        probes = 0;
        cached = part;
        calls->preadv2 = [](int fd, const ::iovec* vectors, int, ::off_t offset, int flags) -> ::ssize_t {
          ++probes;
          if (cached == 0) return errno = EAGAIN, -1;
          const ::iovec piece{vectors->iov_base, cached};
          return ::preadv2(fd, &piece, 1, offset, flags);
        };
        Context context(implementation);
        auto work = [](Context& each, std::filesystem::path path) -> Task<> {
          AIOFile file = co_await AIOFile(path);
          std::vector<std::byte> memory(100);
          const std::size_t count = co_await file.read_into(memory, 10);
          CHECK(count == 100);
          CHECK(outcome::text_of(memory) == pattern(500).substr(10, 100));
          CHECK(probes == 1);
          CHECK(each.stats().speculated == 0);
          CHECK(each.stats().submitted == each.stats().completed);
        };
        context.run(work(context, directory.file("file", pattern(500))));
      }
    }
  }
}

TEST_CASE("Read: is whole on a backend that stops short and is interrupted all the time") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    caio::testing::MemoryFiles files;
    files.write("file", pattern(100'000));
    Context context(support::simulated(files, seed, {.short_counts = 70, .interruptions = 20, .delays = 50}));
    auto work = []() -> Task<> {
      AIOFile file = co_await AIOFile("file");
      const std::string content = pattern(100'000);
      std::vector<std::byte> memory(40'000);
      const auto [all, part, count] =
          co_await caio::gather(file.read(), file.read(70'000, 20'000), file.read_into(memory, 80'000));
      CHECK((all == content));
      CHECK((part == content.substr(20'000, 70'000)));
      CHECK(count == 20'000);
      CHECK((outcome::text_of(std::span(memory).first(count)) == content.substr(80'000)));
      co_await file.close();
    };
    context.run(work());
  }
}

TEST_CASE("Read: an error in the middle tells how far it came") {
  Bench bench;
  std::optional<std::string> text;
  std::optional<FileError> failure;
  TaskGroup group;
  group.spawn(store_read(bench.file, 10, text, failure));
  bench.settle();
  bench.backend.end_first_read("012");
  bench.settle();
  REQUIRE(bench.backend.opcodes() == std::vector{Opcode::read});
  CHECK(bench.backend.held[0]->offset == 3);
  CHECK(bench.backend.held[0]->length == 7);
  bench.backend.end_first_read("34");
  bench.settle();
  bench.backend.end_first(-EIO);
  bench.settle();
  CHECK_FALSE(text.has_value());
  REQUIRE(failure.has_value());
  CHECK(failure->code().value() == EIO);
  CHECK(failure->transferred() == 5);
}

TEST_CASE("Read: an error behind what has filled the first memory counts all") {
  Bench bench;
  std::optional<std::string> text;
  std::optional<FileError> failure;
  TaskGroup group;
  group.spawn(store_read(bench.file, -1, text, failure));
  bench.settle();
  const std::size_t first = bench.backend.held.at(0)->length;
  bench.backend.end_first_read(pattern(first));
  bench.settle();
  REQUIRE(bench.backend.opcodes() == std::vector{Opcode::read});
  CHECK(bench.backend.held[0]->offset == static_cast<std::int64_t>(first));
  bench.backend.end_first_read("more");
  bench.settle();
  bench.backend.end_first(-EIO);
  bench.settle();
  REQUIRE(failure.has_value());
  CHECK(failure->transferred() == first + 4);
}

TEST_CASE("Read: ends at the first count of 0") {
  Bench bench;
  std::optional<std::string> text;
  std::optional<FileError> failure;
  TaskGroup group;
  group.spawn(store_read(bench.file, -1, text, failure));
  bench.settle();
  bench.backend.end_first_read("some ");
  bench.settle();
  bench.backend.end_first_read("text");
  bench.settle();
  CHECK_FALSE(text.has_value());
  bench.backend.end_first(0);
  bench.settle();
  CHECK(text == "some text");
}

TEST_CASE("Read: one that is stopped is cancelled, and tells how far it came") {
  Bench bench;
  std::optional<std::string> text;
  std::optional<FileError> failure;
  TaskGroup group;
  group.spawn(store_read(bench.file, 10, text, failure));
  bench.settle();
  bench.backend.end_first_read("012");
  bench.settle();
  group.request_stop();
  bench.settle();
  REQUIRE(failure.has_value());
  CHECK(failure->code().value() == ECANCELED);
  CHECK(failure->transferred() == 3);
}

TEST_CASE("Read: a stop that comes between two steps is not lost") {
  Bench bench;
  std::optional<std::string> text;
  std::optional<FileError> failure;
  TaskGroup group;
  group.spawn(store_read(bench.file, -1, text, failure));
  bench.settle();
  const std::size_t first = bench.backend.held.at(0)->length;
  bench.backend.end_first_read(pattern(first));
  group.request_stop();
  bench.settle();
  CHECK(bench.backend.held.empty());
  REQUIRE(failure.has_value());
  CHECK(failure->code().value() == ECANCELED);
  CHECK(failure->transferred() == first);
}

TEST_CASE("Read: one whose stop was asked before never touches the file") {
  Bench bench;
  std::optional<std::string> text;
  std::optional<FileError> failure;
  const std::size_t before = bench.backend.history.size();
  TaskGroup group;
  group.request_stop();
  group.spawn(store_read(bench.file, 10, text, failure));
  bench.settle();
  REQUIRE(failure.has_value());
  CHECK(failure->code().value() == ECANCELED);
  CHECK(bench.backend.history.size() == before);
}

TEST_CASE("Read: memory is not taken for a size that nobody has seen") {
  Bench bench;
  std::optional<std::string> text;
  std::optional<FileError> failure;
  TaskGroup group;
  group.spawn(store_read(bench.file, std::int64_t{1} << 62, text, failure));
  bench.settle();
  CHECK(bench.backend.held.at(0)->length <= 1024 * 1024);
}

TEST_CASE("Read: a file that memory cannot hold is std::bad_alloc, and the file goes on working") {
  if (!caio::detail::recycles_frames) return;  // sanitizers end a program that runs out of memory
  if (under_address_sanitizer) return;
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      std::filesystem::resize_file(directory.file("file", "head"), std::uintmax_t{16} << 30);
      const std::string answer = support::answer_in_child([&] {
        const ::rlimit limit{::rlim_t{4} << 30, ::rlim_t{4} << 30};
        ::setrlimit(RLIMIT_AS, &limit);
        Context context(implementation);
        auto work = [](std::filesystem::path path) -> Task<std::string> {
          AIOFile file = co_await AIOFile(path);
          std::string answered;
          try {
            co_await file.read();
          } catch (const std::bad_alloc&) {
            answered = "bad_alloc, ";
          }
          answered += co_await file.read(4);
          co_return answered;
        };
        return context.run(work(directory / "file"));
      });
      CHECK(answer == "bad_alloc, head");
    }
  }
}

// ---- text ----------------------------------------------------------------------------------------------------------

TEST_CASE("Read: text that is valid comes as it is") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string text =
        "a é € 𝄞 \xef\xbb\xbf"
        "z\r\n";
    AIOFile file = co_await AIOFile(directory.file("file", text), "rt");
    const std::string all = co_await file.read();
    CHECK(all == text);
  });
}

TEST_CASE("Read: a range that cuts a character is an error at the byte in the file") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "a€z"));
    const auto whole = co_await decode_error_of(file.read(4));
    const auto first_of_it = co_await decode_error_of(file.read(2));
    const auto two_of_it = co_await decode_error_of(file.read(3));
    const auto from_second = co_await decode_error_of(file.read(-1, 2));
    const auto from_third = co_await decode_error_of(file.read(2, 3));
    const auto behind = co_await decode_error_of(file.read(-1, 4));
    CHECK(whole == std::nullopt);
    CHECK(first_of_it == 1);
    CHECK(two_of_it == 1);
    CHECK(from_second == 2);
    CHECK(from_third == 3);
    CHECK(behind == std::nullopt);
  });
}

TEST_CASE("Read: characters of three bytes are read by multiples of three") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    std::string text;
    for (int i = 0; i < 100; ++i) text += "本語";
    AIOFile file = co_await AIOFile(directory.file("file", text));
    std::string joined;
    for (std::uint64_t at = 0; at < text.size(); at += 12) joined += co_await file.read(12, at);
    CHECK(joined == text);
    for (std::uint64_t at = 0; at < 12; ++at) {
      const auto error = co_await decode_error_of(file.read(1, at));
      CHECK(error == at);
    }
  });
}

TEST_CASE("Read: in binary mode, and as bytes, nothing is checked") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string content = "\xff\x80 no text";
    AIOFile binary = co_await AIOFile(directory.file("file", content), "rb");
    const std::string string = co_await binary.read();
    CHECK(string == content);
    AIOFile text = co_await AIOFile(directory / "file", "r");
    const std::vector<std::byte> bytes = co_await text.read_bytes();
    CHECK(outcome::text_of(bytes) == content);
    std::vector<std::byte> memory(3);
    const std::size_t count = co_await text.read_into(memory);
    CHECK(count == 3);
    const auto error = co_await decode_error_of(text.read());
    CHECK(error == 0);
  });
}

TEST_CASE("Read: the wrong byte is found at any place of a long text") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    const std::string text = pattern(3'000'000);
    for (const std::size_t place : {std::size_t{0}, std::size_t{1'500'001}, text.size() - 1}) {
      std::string wrong = text;
      wrong[place] = '\xc0';
      AIOFile file = co_await AIOFile(directory.file("file", wrong));
      const auto error = co_await decode_error_of(file.read());
      CHECK(error == place);
      co_await file.close();
    }
    std::string cut = text;
    cut.back() = '\xe2';
    AIOFile file = co_await AIOFile(directory.file("file", cut));
    const auto error = co_await decode_error_of(file.read());
    CHECK(error == text.size() - 1);
    const auto beginning = co_await decode_error_of(file.read(2'999'999));
    CHECK(beginning == std::nullopt);
  });
}

TEST_CASE("Read: a text that was refused can be read again as bytes") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "ab\xfe"));
    const auto error = co_await decode_error_of(file.read());
    CHECK(error == 2);
    const std::vector<std::byte> bytes = co_await file.read_bytes();
    CHECK(bytes.size() == 3);
    const std::string good = co_await file.read(2);
    CHECK(good == "ab");
  });
}

TEST_CASE("Read: text that the pool converts, much at the same time, with the byte order that the mark has told") {
  const TemporaryDirectory directory;
  const std::string text(100'000, 'a');
  std::string bytes = "\xfe\xff";
  for (const char letter : text) (bytes += '\0') += letter;
  const auto path = directory.file("file", bytes);
  support::on_every_backend([&](Context&) -> Task<> {
    AIOFile file = co_await AIOFile(path, "r+", {.encoding = "utf-16"});
    const std::vector<int> numbers(8);
    const std::vector<std::string> whole = co_await caio::gather(numbers, [&](int) { return file.read(); });
    for (const std::string& each : whole) CHECK((each == text));
    const std::string rest = co_await file.read(-1, 100'000);
    CHECK((rest == text.substr(49'999)));
    // Reading, and writing what the pool converts, at once.
    co_await caio::gather(file.read(), file.write(text, bytes.size()), file.read());
    const std::string all = co_await file.read();
    CHECK((all == text + text));
    co_await file.truncate(bytes.size());
    co_await file.close();
  });
}
