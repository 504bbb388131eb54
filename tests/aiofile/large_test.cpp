// Files beyond the sizes that 32 bits and one system call can hold. CAIO_TEST_LARGE=1: in earnest, which takes memory
// and time; otherwise the same on a few megabytes.
#include <aiofile/file.hpp>

#include <cstdlib>
#include <string>
#include <string_view>

#include "outcome.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using caio::Context;
using caio::Task;
using support::TemporaryDirectory;

namespace {

bool in_earnest() {
  const char* const wish = std::getenv("CAIO_TEST_LARGE");
  return wish != nullptr && std::string_view(wish) == "1";
}

constexpr std::uint64_t mib = 1024 * 1024;

/// A hole, and these bytes at its end.
std::filesystem::path sparse_file(const TemporaryDirectory& directory, std::uint64_t size) {
  const std::filesystem::path path = directory.file("large", "head");
  std::filesystem::resize_file(path, size - 4);
  std::ofstream(path, std::ios::binary | std::ios::app) << "tail";
  return path;
}

Task<> check_read(std::uint64_t size) {
  const TemporaryDirectory directory;
  AIOFile file = co_await AIOFile(sparse_file(directory, size), "rb");
  const std::uint64_t told = co_await file.size();
  CHECK(told == size);
  const std::string all = co_await file.read();
  REQUIRE(all.size() == size);
  CHECK(all.substr(0, 5) == std::string("head\0", 5));
  CHECK(all.substr(size - 5) == std::string("\0tail", 5));
  const std::string end = co_await file.read(-1, size - 4);
  CHECK(end == "tail");
  co_await file.close();
}

}  // namespace

TEST_CASE("Large files: are read whole") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      Context context(implementation);
      if (in_earnest()) {
        context.run(check_read(2200 * mib));
        context.run(check_read(4096 * mib + 10));
      } else {
        context.run(check_read(3 * mib + 10));
      }
    }
  }
}

TEST_CASE("Large files: are written whole") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const std::uint64_t size = in_earnest() ? 2200 * mib + 3 : 3 * mib + 3;
      Context context(implementation);
      auto work = [](std::uint64_t bytes) -> Task<> {
        const TemporaryDirectory directory;
        AIOFile file = co_await AIOFile(directory / "large", "wb+");
        std::string content(bytes, 'x');
        content.replace(bytes - 4, 4, "tail");
        const std::size_t written = co_await file.write(std::move(content));
        CHECK(written == bytes);
        const std::uint64_t told = co_await file.size();
        CHECK(told == bytes);
        const std::string end = co_await file.read(5, bytes - 5);
        CHECK(end == "xtail");
        co_await file.close();
      };
      context.run(work(size));
    }
  }
}

TEST_CASE("Large files: offsets beyond 32 bits reach their place") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "large", "wb+");
    constexpr std::uint64_t far = (std::uint64_t{1} << 32) + 5;
    co_await file.write("near", 5);
    co_await file.write("far", far);
    co_await file.write("farther", 100 * far);
    const std::string near = co_await file.read(4, 5);
    const std::string at_far = co_await file.read(3, far);
    const std::string farther = co_await file.read(-1, 100 * far);
    CHECK(near == "near");
    CHECK(at_far == "far");
    CHECK(farther == "farther");
    const std::uint64_t size = co_await file.size();
    CHECK(size == 100 * far + 7);
    co_await file.truncate(far + 1);
    const std::string cut = co_await file.read(10, far);
    CHECK(cut == "f");
  });
}
