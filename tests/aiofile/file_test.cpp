#include <aiofile/file.hpp>

#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using caio::Context;
using caio::Task;

TEST_CASE("AIOFile: what was written is read back") {
  support::on_every_backend([](Context& context) -> Task<> {
    const support::TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory / "file", "w+", {.context = &context});
    CHECK(co_await file.write("hello world") == 11);
    const std::string all = co_await file.read();
    CHECK(all == "hello world");
    co_await file.close();
  });
}
