// The testing kit as a user meets it: a function that saves a file with care, and what it does when things go wrong.
#include <caio/testing.hpp>

#include <aiofile/aiofile.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "support/catch.hpp"

using caio::testing::FaultBackend;
using caio::testing::FaultScript;
using caio::testing::MemoryBackend;
using caio::testing::MemoryFiles;

namespace {

/// Code under test: adds a line to a log, which is durable when this returns.
caio::Task<> add_line(std::string_view line) {
  auto log = co_await aiofile::async_open("log", "a", {.buffering = 4096});
  co_await log.write(line);
  co_await log.write("\n");
  co_await log.fsync();
  co_await log.close();
}

std::unique_ptr<FaultBackend> disk_with(MemoryFiles& files, FaultScript script) {
  return std::make_unique<FaultBackend>(std::make_unique<MemoryBackend>(files), std::move(script));
}

}  // namespace

TEST_CASE("testing: a user's code on files in memory, with a power cut") {
  MemoryFiles files;
  caio::Context context(std::make_unique<MemoryBackend>(files));
  context.run(add_line("one"));
  context.run(add_line("two"));
  files.cut_power();
  CHECK(files.content("log") == "one\ntwo\n");
  CHECK(files.open_count() == 0);
}

TEST_CASE("testing: each request of a user's code fails once, and it is never wrong about what is durable") {
  const int errors[] = {EIO, ENOSPC, EINTR};
  for (const int error : errors) {
    int failed = 0;
    for (std::uint64_t nth = 1;; ++nth) {
      MemoryFiles files;
      auto backend = disk_with(files, FaultScript().fail(caio::testing::any_request, nth, error));
      const FaultBackend& faults = *backend;
      caio::Context context(std::move(backend));
      bool saved = true;
      try {
        context.run(add_line("precious"));
      } catch (const aiofile::FileError& failure) {
        CHECK(failure.code().value() == error);
        saved = false;
        ++failed;
      }
      const bool reached = faults.counts().errors + faults.counts().interruptions > 0;
      files.cut_power();
      CHECK((!saved || files.content("log") == "precious\n"));
      CHECK(files.open_count() == 0);
      if (!reached) break;
    }
    CHECK(failed == (error == EINTR ? 0 : 4));  // open, write, fsync, close
  }
}
