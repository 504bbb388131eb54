#include <aiofile/whole_file.hpp>

#include <array>
#include <caio/context.hpp>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>

#include "caio/descriptors.hpp"
#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::read_file;
using aiofile::write_file;
using caio::Context;
using caio::Task;
using outcome::error_of;
using support::content_of;
using support::TemporaryDirectory;

TEST_CASE("read_file: gives the bytes of files of every size, and closes them") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    for (const std::size_t size : std::array<std::size_t, 6>{0, 1, 4096, 16384, 16385, 3000000}) {
      std::string content(size, 'x');
      for (std::size_t i = 0; i < size; i += 7) content[i] = static_cast<char>(i % 251);
      const auto path = directory.file("file", content);
      const std::string read = co_await read_file(path);
      CHECK((read == content));
    }
    CHECK(support::descriptors_on(directory.path()) == 0);
  });
}

TEST_CASE("read_file: files without a size, and text in another encoding") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const std::string status = co_await read_file("/proc/self/status");
    CHECK(status.starts_with("Name:"));
    const auto path = directory.file("latin", "caf\xe9");
    CHECK_YIELDS(read_file(path, "r", {.encoding = "latin-1"}), "caf\xc3\xa9");
    CHECK_YIELDS(read_file(path), "caf\xe9");
  });
}

TEST_CASE("write_file: makes, replaces, appends, and refuses to replace") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context&) -> Task<> {
    const auto path = directory.path() / "file";
    std::filesystem::remove(path);
    co_await write_file(path, "something longer");
    CHECK(content_of(path) == "something longer");
    co_await write_file(path, std::string("new"));
    CHECK(content_of(path) == "new");
    co_await write_file(path, "er", "ab");
    CHECK(content_of(path) == "newer");
    CHECK_YIELDS(error_of(write_file(path, "x", "xb")), EEXIST);
    co_await write_file(path, "caf\xc3\xa9", "w", {.encoding = "latin-1"});
    CHECK(content_of(path) == "caf\xe9");
    CHECK(support::descriptors_on(directory.path()) == 0);
  });
}

TEST_CASE("read_file, write_file: what is wrong is said") {
  const TemporaryDirectory directory;
  CHECK_THROWS_AS(read_file(directory.path(), "nonsense"), std::invalid_argument);
  const auto path = directory.file("precious", "content");
  CHECK_THROWS_AS(read_file(path, "w"), std::invalid_argument);
  CHECK_THROWS_AS(read_file(path, "w+b"), std::invalid_argument);
  CHECK_THROWS_AS(write_file(path, "x", "r"), std::invalid_argument);
  std::string kept(100, 'x');
  CHECK_THROWS_AS(write_file(path, std::move(kept), "r"), std::invalid_argument);
  CHECK_THROWS_AS(write_file(path, std::move(kept), "nonsense"), std::invalid_argument);
  CHECK(kept == std::string(100, 'x'));  // NOLINT(bugprone-use-after-move): what is refused is not taken
  CHECK(content_of(path) == "content");
  CHECK_THROWS_AS(write_file(directory.path(), "", "nonsense"), std::invalid_argument);
  support::on_every_backend([&](Context&) -> Task<> {
    CHECK_YIELDS(error_of(read_file(directory.path() / "nothing")), ENOENT);
    CHECK_YIELDS(error_of(read_file(directory.path())), EISDIR);
    CHECK_YIELDS(error_of(write_file(directory.path(), "x")), EISDIR);
    CHECK_YIELDS(error_of(write_file("/dev/full", "x")), ENOSPC);
    CHECK(support::descriptors_on(directory.path()) == 0);
  });
}
