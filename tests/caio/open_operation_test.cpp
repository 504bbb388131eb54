#include <caio/open_operation.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <caio/context.hpp>
#include <caio/task_group.hpp>

#include <optional>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Task;
using support::on_every_backend;
using support::Stranger;
using support::TemporaryDirectory;
using support::TokenByValue;
using namespace std::chrono_literals;

namespace {

template <class Base = support::WithoutToken>
Stranger<Base> open_and_drop(Context& context, std::filesystem::path path, int flags, int& error) {
  try {
    const Descriptor file = co_await context.open(std::move(path), flags);
    ::close(file.fileno());
  } catch (const std::system_error& failure) {
    error = failure.code().value();
  }
}

/// Ends the wait of a FIFO's writer, should nothing else do so.
Task<> give_a_reader_after(Context& context, std::chrono::seconds patience, std::filesystem::path path) {
  co_await context.sleep_for(patience);
  const support::Fd reader(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  co_await context.sleep_for(patience);
}

Stranger<TokenByValue> close_in(Context& context, Descriptor file) { co_await context.close(file); }

}  // namespace

TEST_CASE("OpenOperation: destroyed at any moment, it leaves no descriptor") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    directory.file("file", "abc");
    int error = 0;
    for (int round = 0; round < 30; ++round) {
      std::vector<Stranger<>> doomed;
      for (int i = 0; i < 8; ++i) doomed.push_back(open_and_drop(context, directory / "file", O_RDONLY, error));
      for (const Stranger<>& each : doomed) each.start();
      for (int turns = round % 3; turns > 0; --turns) co_await context.schedule();
    }
    CHECK(support::descriptors_on(directory.path()) == 0);
    CHECK(error == 0);
  });
}

TEST_CASE("OpenOperation: stopped while a FIFO has no reader") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
    for (int turns = 0; turns < 4; ++turns) {
      std::stop_source source;
      int error = 0;
      caio::TaskGroup group;
      group.spawn(give_a_reader_after(context, 5s, directory / "fifo"));
      const auto stranger = open_and_drop<TokenByValue>(context, directory / "fifo", O_WRONLY, error);
      stranger.start(source.get_token());
      if (turns == 3) co_await context.sleep_for(3ms);
      for (int i = 0; i < turns; ++i) co_await context.schedule();
      source.request_stop();
      CHECK_FALSE(stranger.done());
      co_await stranger.ended();
      CHECK(error == ECANCELED);
    }
    CHECK(support::descriptors_on(directory.path()) == 0);
  });
}

TEST_CASE("OpenOperation: O_NONBLOCK of the caller's is obeyed and kept") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
    const int alone = co_await support::errno_of(context.open(directory / "fifo", O_WRONLY | O_NONBLOCK));
    CHECK(alone == ENXIO);
    const Descriptor file = co_await context.open(directory.file("file", ""), O_RDONLY | O_NONBLOCK);
    CHECK((::fcntl(file.fileno(), F_GETFL) & O_NONBLOCK) != 0);
    co_await context.close(file);
  });
}

TEST_CASE("OpenOperation: says what it opened") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
    const Descriptor fifo = co_await context.open(directory / "fifo", O_RDWR);
    CHECK(fifo.kind() == Descriptor::Kind::stream);
    CHECK(fifo.is_fifo());
    const Descriptor folder = co_await context.open(directory.path(), O_RDONLY);
    CHECK(folder.kind() == Descriptor::Kind::regular);
    CHECK(folder.is_directory());
    const Descriptor null = co_await context.open("/dev/null", O_WRONLY);
    CHECK(null.kind() == Descriptor::Kind::stream);
    const Descriptor path = co_await context.open(directory / "fifo", O_PATH);
    CHECK((::fcntl(path.fileno(), F_GETFL) & O_PATH) != 0);
    for (const Descriptor& each : {fifo, folder, null, path}) ::close(each.fileno());
  });
}

TEST_CASE("CloseOperation: neither a stop nor its own destruction keeps the descriptor open") {
  on_every_backend([](Context& context) -> Task<> {
    const TemporaryDirectory directory;
    const std::string path = directory.file("file", "").string();
    std::stop_source source;
    source.request_stop();
    const Stranger<TokenByValue> stopped = close_in(context, Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC)));
    stopped.start(source.get_token());
    co_await stopped.ended();
    CHECK(support::descriptors_on(directory.path()) == 0);
    for (int turns = 0; turns < 3; ++turns) {
      {
        const Stranger<TokenByValue> doomed = close_in(context, Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC)));
        doomed.start(source.get_token());
        for (int i = 0; i < turns; ++i) co_await context.schedule();
      }
      CHECK(support::descriptors_on(directory.path()) == 0);
    }
  });
}

TEST_CASE("CloseOperation: the context's end closes what was to be closed") {
  for (const caio::Implementation implementation : support::backends()) {
    DYNAMIC_SECTION(caio::name(implementation)) {
      const TemporaryDirectory directory;
      const int fd = ::open(directory.file("file", "").c_str(), O_RDONLY | O_CLOEXEC);
      std::optional<Stranger<TokenByValue>> stranger;
      {
        Context context(implementation);
        stranger = close_in(context, Descriptor(fd));
        context.run([](const Stranger<TokenByValue>& each) -> Task<> {
          each.start(std::stop_token());
          co_return;
        }(*stranger));
      }
      CHECK(stranger->done());
      CHECK(support::descriptors_on(directory.path()) == 0);
    }
  }
}
