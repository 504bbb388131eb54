#include <aiofile/aiofile.hpp>

#include <chrono>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

// No using-directives and no using-declarations here: names are found as users find them.

namespace {

aiofile::Task<int> number(int value) { co_return value; }

aiofile::Generator<int> three() {
  for (int i = 0; i < 3; ++i) co_yield i;
}

aiofile::Task<std::string> read_twice(std::filesystem::path path) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(path);
  auto [first, second] = co_await gather(file.read(), file.read(4));  // found by its arguments, once
  co_return first + second;
}

}  // namespace

TEST_CASE("aiofile: the engine's names are the engine's own") {
  STATIC_REQUIRE(std::is_same_v<aiofile::Task<int>, caio::Task<int>>);
  STATIC_REQUIRE(std::is_same_v<aiofile::Generator<int>, caio::Generator<int>>);
  STATIC_REQUIRE(std::is_same_v<aiofile::TaskGroup, caio::TaskGroup>);
}

TEST_CASE("aiofile: one header is enough for a program") {
  const support::TemporaryDirectory directory;
  CHECK(aiofile::run(read_twice(directory.file("file", "text and more"))) == "text and moretext");
}

TEST_CASE("aiofile: functions found by their arguments are not ambiguous") {
  CHECK(run(number(3)) == 3);
  auto both = []() -> aiofile::Task<int> {
    const auto [a, b] = co_await gather(number(1), number(2));
    const auto [c, d] = co_await aiofile::gather(number(3), number(4));
    const auto [e, f] = co_await caio::gather(number(5), number(6));
    std::vector<aiofile::Task<int>> list;
    list.push_back(number(7));
    const std::vector<int> last = co_await gather(std::move(list));
    co_return a + b + c + d + e + f + last.at(0);
  };
  CHECK(aiofile::run(both()) == 28);
}

TEST_CASE("aiofile: files, groups, generators and sleeps go together") {
  support::on_every_backend([](caio::Context&) -> aiofile::Task<> {
    const support::TemporaryDirectory directory;
    aiofile::AIOFile file = co_await aiofile::AIOFile(directory / "file", "w+");
    auto write = [](aiofile::AIOFile& used, int digit) -> aiofile::Task<> {
      co_await used.write(std::to_string(digit), static_cast<std::uint64_t>(digit));
    };
    aiofile::TaskGroup group;
    aiofile::Generator<int> digits = three();
    while (auto digit = co_await digits.next()) group.spawn(write(file, *digit));
    co_await group.join();
    co_await aiofile::sleep_for(std::chrono::nanoseconds(1));
    const std::string text = co_await file.read();
    CHECK(text == "012");
    CHECK(aiofile::parse_mode("w+") == file.mode());
    CHECK(aiofile::canonical_encoding("UTF8") == file.encoding());
    CHECK(aiofile::scan_utf8(text).valid == 3);
  });
}

TEST_CASE("aiofile: errors are caught by their names") {
  support::on_every_backend([](caio::Context&) -> aiofile::Task<> {
    const support::TemporaryDirectory directory;
    bool caught = false;
    try {
      co_await aiofile::AIOFile(directory / "missing");
    } catch (const aiofile::FileError& error) {
      caught = error.code() == std::errc::no_such_file_or_directory;
    }
    CHECK(caught);
  });
}
