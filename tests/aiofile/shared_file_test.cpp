#include <aiofile/shared_file.hpp>

#include <aiofile/file.hpp>
#include <array>
#include <caio/task_group.hpp>
#include <optional>
#include <string>
#include <utility>

#include "outcome.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::AIOFile;
using aiofile::detail::FileRef;
using aiofile::detail::FileState;
using aiofile::detail::InFlight;
using aiofile::detail::OpenFile;
using caio::Context;
using caio::Task;
using caio::TaskGroup;
using outcome::is_open;
using support::TemporaryDirectory;

TEST_CASE("Shared file: a sync's writes have ended when none of them is in flight any more") {
  OpenFile file;
  CHECK(file.idle());
  CHECK(file.written(0));
  std::array<InFlight, 3> writes;
  for (InFlight& write : writes) {
    write.sequence = ++file.last_write;
    file.writes.push_back(write);
  }
  CHECK_FALSE(file.idle());
  CHECK(file.written(0));
  CHECK_FALSE(file.written(1));
  writes[1].unlink();
  CHECK_FALSE(file.written(1));
  writes[0].unlink();
  CHECK(file.written(2));
  CHECK_FALSE(file.written(3));
  writes[2].unlink();
  CHECK(file.written(3));
  CHECK(file.idle());
}

TEST_CASE("Shared file: references count, and clones keep their origin") {
  FileRef first(new FileState("file", aiofile::parse_mode("rb"), aiofile::detail::Encoding()));
  first->file->owners = 1;
  first->life = FileState::Life::open;
  FileRef second = first;
  CHECK(&*second == &*first);
  FileRef copy = first.clone();
  CHECK(&*copy != &*first);
  CHECK(copy->file == first->file);
  CHECK(copy->path == "file");
  CHECK(copy->mode == first->mode);
  CHECK(copy->file->owners == 2);
  FileRef copy_of_copy = copy.clone();
  first = FileRef();
  second = FileRef();
  CHECK(copy_of_copy->file->owners == 3);
  copy = FileRef();
  CHECK(copy_of_copy->file->owners == 2);
  const FileRef moved = std::move(copy_of_copy);
  CHECK(static_cast<bool>(moved));
  CHECK_FALSE(static_cast<bool>(copy_of_copy));
}

TEST_CASE("Shared file: a file costs one allocation beside its path") {
  if (!support::counts_allocations) return;
  const std::filesystem::path path("short");
  std::filesystem::path given = path;
  const std::size_t before = support::allocations();
  const AIOFile file(std::move(given));
  CHECK(support::allocations() == before + 1);
}

TEST_CASE("Shared file: operations in flight keep the descriptor open when the last handle goes") {
  support::on_every_backend([](Context&) -> Task<> {
    const support::Pipe pipe;
    std::optional<AIOFile> file(AIOFile::from_fd(pipe.reader.get(), "r"));
    std::string got;
    auto read = [](AIOFile& used, std::string& text) -> Task<> { text = co_await used.read(4); };
    TaskGroup group;
    group.spawn(read(*file, got));
    file.reset();
    static_cast<void>(!::write(pipe.writer.get(), "text", 4));
    co_await group.join();
    CHECK(got == "text");
  });
}

TEST_CASE("Shared file: clones that are dropped without a close leave one owner fewer") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("file", "text"));
    const int fd = file.fileno();
    for (int i = 0; i < 10; ++i) static_cast<void>(file.clone());
    CHECK(is_open(fd));
    co_await file.close();
    CHECK_FALSE(is_open(fd));
  });
}

TEST_CASE("Shared file: an opened file may be overwritten by another") {
  support::on_every_backend([](Context&) -> Task<> {
    const TemporaryDirectory directory;
    AIOFile file = co_await AIOFile(directory.file("first", "first"));
    const int fd = file.fileno();
    AIOFile second = co_await AIOFile(directory.file("second", "second"));
    file = std::move(second);
    CHECK_FALSE(is_open(fd));
    const std::string text = co_await file.read();
    CHECK(text == "second");
  });
}
