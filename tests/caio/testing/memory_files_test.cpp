#include <caio/testing/memory_files.hpp>

#include <aiofile/aiofile.hpp>
#include <caio/testing/memory_backend.hpp>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>

#include "support/catch.hpp"

using aiofile::AIOFile;
using caio::Context;
using caio::Task;
using caio::testing::MemoryBackend;
using caio::testing::MemoryFiles;

namespace {

template <class Work>
void with(MemoryFiles& files, Work work) {
  Context context(std::make_unique<MemoryBackend>(files));
  context.run(work());
}

}  // namespace

TEST_CASE("MemoryFiles: files are made, read, listed and removed from outside") {
  MemoryFiles files;
  files.write("b", "two");
  files.write("a", "one");
  files.write("a", "three");
  CHECK(files.content("a") == "three");
  CHECK(files.contains("b"));
  CHECK(files.names() == std::vector<std::string>{"a", "b"});
  files.remove("b");
  files.remove("never was");
  CHECK_FALSE(files.contains("b"));
  CHECK_THROWS_AS(files.content("b"), std::out_of_range);
}

TEST_CASE("MemoryFiles: a removed file stays with who has it open") {
  MemoryFiles files;
  files.write("file", "old");
  with(files, [&files]() -> Task<> {
    AIOFile file = co_await AIOFile("file", "r+");
    files.remove("file");
    CHECK_YIELDS(file.read(), "old");
    co_await file.close();
  });
  CHECK(files.names().empty());
  CHECK(files.open_count() == 0);
}

TEST_CASE("MemoryFiles: a power cut leaves what was synced") {
  MemoryFiles files;
  files.write("file", "before ");
  with(files, []() -> Task<> {
    AIOFile file = co_await AIOFile("file", "a");
    co_await file.write("synced ");
    co_await file.fsync();
    co_await file.write("lost");
    AIOFile fresh = co_await AIOFile("fresh", "w");
    co_await fresh.write("lost, too");
    AIOFile cut = co_await AIOFile("cut", "w");
    co_await cut.write("123456");
    co_await cut.fdsync();
    co_await cut.truncate(3);
    co_await file.close();
    co_await fresh.close();
    co_await cut.close();
  });
  CHECK(files.syncs() == 2);
  CHECK(files.content("file") == "before synced lost");
  CHECK(files.content("cut") == "123");
  files.cut_power();
  CHECK(files.content("file") == "before synced ");
  CHECK(files.content("cut") == "123456");
  CHECK_FALSE(files.contains("fresh"));
}

TEST_CASE("MemoryFiles: a power cut by a seed leaves some of the rest, torn by 512 bytes") {
  const std::string durable(1024, '.');
  std::set<std::string> outcomes;
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    MemoryFiles files;
    files.write("file", durable);
    with(files, []() -> Task<> {
      AIOFile file = co_await AIOFile("file", "r+");
      const std::string text(1024, 'x');
      co_await file.write(std::string_view(text));
      co_await file.close();
    });
    MemoryFiles& same = files;
    same.cut_power(seed);
    outcomes.insert(files.content("file"));
  }
  const std::string torn = std::string(512, 'x') + std::string(512, '.');
  CHECK(outcomes == std::set<std::string>{durable, std::string(1024, 'x'), torn});
}

TEST_CASE("MemoryFiles: who has a file open in a power cut goes on with what nobody sees") {
  MemoryFiles files;
  files.write("file", "durable");
  with(files, [&files]() -> Task<> {
    AIOFile file = co_await AIOFile("file", "r+");
    co_await file.write("?");
    files.cut_power();
    CHECK_YIELDS(file.read(), "?urable");
    co_await file.fsync();
    co_await file.close();
  });
  CHECK(files.content("file") == "durable");
}

TEST_CASE("MemoryFiles: a full disk stops a write short, and then refuses") {
  MemoryFiles files;
  files.write("other", "12345");
  files.set_capacity(10);
  with(files, []() -> Task<> {
    AIOFile file = co_await AIOFile("file", "w");
    int error = 0;
    std::uint64_t transferred = 0;
    try {
      co_await file.write("abcdefgh");
    } catch (const aiofile::FileError& failure) {
      error = failure.code().value();
      transferred = failure.transferred();
    }
    CHECK(error == ENOSPC);
    CHECK(transferred == 5);
    CHECK_YIELDS(file.write("ABCDE"), 5U);
    const auto grown = co_await caio::as_result(file.truncate(6));
    CHECK(grown.error().value() == ENOSPC);
    co_await file.truncate(1);
    CHECK_YIELDS(file.write("yz", 3), 2U);
    co_await file.close();
  });
  CHECK(files.content("file") == std::string("A\0\0yz", 5));
}

TEST_CASE("MemoryFiles: the disk counts what is open and has no name any more") {
  MemoryFiles files;
  files.write("old", "12345");
  files.set_capacity(8);
  with(files, [&files]() -> Task<> {
    AIOFile old = co_await AIOFile("old", "r+");
    files.remove("old");
    AIOFile fresh = co_await AIOFile("fresh", "w");
    const auto refused = co_await caio::as_result(fresh.write("abcde"));
    CHECK(refused.error().value() == ENOSPC);
    co_await old.close();
    CHECK_YIELDS(fresh.write("abcde"), 5U);
    co_await fresh.close();
  });
  files.set_capacity(~std::uint64_t{0});
  with(files, [&files]() -> Task<> {
    AIOFile file = co_await AIOFile("fresh", "r+");
    files.remove("fresh");
    CHECK_YIELDS(file.write("more", 100), 4U);
    co_await file.truncate(3);
    co_await file.close();
  });
}

TEST_CASE("MemoryFiles: a file may outlive them and its context") {
  std::optional<AIOFile> file;
  {
    MemoryFiles files;
    files.write("file", "content");
    Context context(std::make_unique<MemoryBackend>(files));
    context.run([](std::optional<AIOFile>& place) -> Task<> {
      place.emplace("file");
      co_await place->open();
    }(file));
  }
  CHECK_FALSE(file->closed());
}
