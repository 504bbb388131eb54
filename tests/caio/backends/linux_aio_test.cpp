#include <caio/config.hpp>

#if CAIO_WITH_LIBAIO

#include <caio/backends/linux_aio.hpp>

#include <fcntl.h>
#include <caio/context.hpp>

#include <memory>

#include "caio/descriptors.hpp"
#include "support/catch.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::gather;
using caio::Implementation;
using caio::Task;
using support::errno_of;
using support::numbers;
using support::TemporaryDirectory;

namespace {

constexpr std::size_t page_size = 4096;
constexpr std::size_t page_count = 64;
struct alignas(page_size) Page {
  std::array<std::byte, page_size> bytes{};
};
using Pages = std::array<Page, page_count>;

long accepted = 0;          // operations that the kernel took
long most_accepted = 1000;  // at one call
int refusals = 0;           // of the next calls
int refusal = 0;            // with this error

/// Counts what the kernel takes, and lets it take less.
class Replaced {
 public:
  Replaced() {
    accepted = 0;
    most_accepted = 1000;
    refusals = 0;
    caio::linux_aio_calls.submit = [](::io_context_t context, long count, ::iocb** blocks) {
      if (refusals > 0) return --refusals, -refusal;
      const int taken = ::io_submit(context, std::min(count, most_accepted), blocks);
      if (taken > 0) accepted += taken;
      return taken;
    };
  }
  Replaced(const Replaced&) = delete;
  Replaced& operator=(const Replaced&) = delete;
  ~Replaced() { caio::linux_aio_calls = {}; }
};

/// A file of 64 pages, opened with O_DIRECT where the file system has it.
class DirectFile {
 public:
  DirectFile() {
    std::string content;
    for (std::size_t i = 0; i < page_count; ++i) content.append(page_size, static_cast<char>('0' + i));
    path_ = directory_.file("file", content);
    file_ = support::Fd(::open(path_.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  }
  bool usable() const { return file_ && support::usable(Implementation::linux_aio); }
  Descriptor descriptor() const { return Descriptor(file_.get()); }
  std::string content() const { return support::content_of(path_); }
  std::size_t size() const { return std::filesystem::file_size(path_); }

 private:
  TemporaryDirectory directory_;
  std::filesystem::path path_;
  support::Fd file_;
};

/// Reads all pages at once; gives how many were right.
Task<std::size_t> read_pages(Context& context, Descriptor file) {
  const auto pages = std::make_unique<Pages>();
  co_await gather(numbers(page_count), [&](int i) {
    return context.read(file, (*pages)[static_cast<std::size_t>(i)].bytes, i * static_cast<std::int64_t>(page_size));
  });
  std::size_t right = 0;
  for (std::size_t i = 0; i < page_count; ++i) {
    right += (*pages)[i].bytes[page_size - 1] == static_cast<std::byte>('0' + i) ? 1 : 0;
  }
  co_return right;
}

Task<std::size_t> write_page(Context& context, Descriptor file, std::int64_t offset, char mark) {
  const auto page = std::make_unique<Page>();
  page->bytes.fill(static_cast<std::byte>(mark));
  co_return co_await context.write(file, page->bytes, offset);
}

}  // namespace

TEST_CASE("LinuxAio: O_DIRECT reads and overwrites go to the kernel") {
  const DirectFile file;
  if (!file.usable()) return;
  const Replaced replaced;
  Context context(Implementation::linux_aio);
  CHECK(context.run(read_pages(context, file.descriptor())) == page_count);
  CHECK(accepted == page_count);
  CHECK(context.run(write_page(context, file.descriptor(), 0, 'x')) == page_size);
  CHECK(context.run(write_page(context, file.descriptor(), (page_count - 1) * page_size, 'y')) == page_size);
  CHECK(accepted == page_count + 2);
  CHECK(context.stats().pooled == 0);
  CHECK(file.content()[0] == 'x');
  CHECK(file.content().back() == 'y');
}

TEST_CASE("LinuxAio: vectored O_DIRECT transfers go to the kernel") {
  const DirectFile file;
  if (!file.usable()) return;
  const Replaced replaced;
  Context context(Implementation::linux_aio);
  context.run([](Context& each, Descriptor descriptor) -> Task<> {
    const auto pages = std::make_unique<Pages>();
    const std::array<::iovec, 2> vectors{
        {{(*pages)[0].bytes.data(), page_size}, {(*pages)[1].bytes.data(), page_size}}};
    const std::size_t read = co_await each.readv(descriptor, vectors, page_size);
    CHECK(read == 2 * page_size);
    CHECK((*pages)[1].bytes[0] == std::byte{'2'});
    const std::size_t written = co_await each.writev(descriptor, vectors, 0);
    CHECK(written == 2 * page_size);
  }(context, file.descriptor()));
  CHECK(accepted == 2);
  CHECK(file.content()[page_size] == '2');
}

TEST_CASE("LinuxAio: writes that make the file longer go to the pool") {
  const DirectFile file;
  if (!file.usable()) return;
  const Replaced replaced;
  Context context(Implementation::linux_aio);
  CHECK(context.run(write_page(context, file.descriptor(), page_count * page_size, 'z')) == page_size);
  CHECK(accepted == 0);
  CHECK(context.stats().pooled == 1);
  CHECK(file.size() == (page_count + 1) * page_size);
  CHECK(context.run(write_page(context, file.descriptor(), page_count * page_size, 'w')) == page_size);
  CHECK(accepted == 1);
}

TEST_CASE("LinuxAio: buffered files, syncs and opens go to the pool") {
  if (!support::usable(Implementation::linux_aio)) return;
  const Replaced replaced;
  const TemporaryDirectory directory;
  Context context(Implementation::linux_aio, {.speculate = false});
  context.run([](Context& each, std::filesystem::path path) -> Task<> {
    const Descriptor file = co_await each.open(std::move(path), O_RDWR | O_CREAT);
    co_await each.write(file, support::bytes_of("abc"), 0);
    co_await each.fsync(file);
    co_await each.close(file);
  }(context, directory / "file"));
  CHECK(accepted == 0);
  CHECK(context.stats().pooled == 4);
}

TEST_CASE("LinuxAio: a kernel that takes one at a time gets them all") {
  const DirectFile file;
  if (!file.usable()) return;
  const Replaced replaced;
  most_accepted = 1;
  Context context(Implementation::linux_aio);
  CHECK(context.run(read_pages(context, file.descriptor())) == page_count);
  CHECK(accepted == page_count);
}

TEST_CASE("LinuxAio: refused submissions are done by other means") {
  const DirectFile file;
  if (!file.usable()) return;
  const int error = GENERATE(EAGAIN, EINTR, ENOMEM);
  DYNAMIC_SECTION(std::system_category().message(error)) {
    for (const int count : {1, 7, 1000}) {
      if (error == EINTR && count == 1000) continue;
      INFO(count << " times");
      const Replaced replaced;
      refusals = count;
      refusal = error;
      Context context(Implementation::linux_aio);
      CHECK(context.run(read_pages(context, file.descriptor())) == page_count);
      CHECK(static_cast<std::uint64_t>(accepted) + context.stats().pooled == page_count);
    }
  }
}

TEST_CASE("LinuxAio: a misaligned operation in a batch fails alone") {
  const DirectFile file;
  if (!file.usable()) return;
  const Replaced replaced;
  Context context(Implementation::linux_aio);
  const std::vector<int> errors = context.run([](Context& each, Descriptor descriptor) -> Task<std::vector<int>> {
    const auto pages = std::make_unique<Pages>();
    std::vector<int> results = co_await gather(numbers(10), [&](int i) {
      const std::span<std::byte> page((*pages)[static_cast<std::size_t>(i)].bytes);
      return errno_of(each.read(descriptor, page, i == 4 ? 1 : i * static_cast<std::int64_t>(page_size)));
    });
    co_return results;
  }(context, file.descriptor()));
  // tmpfs has no alignment to keep.
  for (std::size_t i = 0; i < 10; ++i) CHECK((errors[i] == 0 || (i == 4 && errors[i] == EINVAL)));
  CHECK(context.stats().submitted == context.stats().completed);
}

TEST_CASE("LinuxAio: more operations than the kernel's context holds wait their turn") {
  const DirectFile file;
  if (!file.usable()) return;
  for (const unsigned max_requests : {1U, 3U, 5000U}) {
    Context context(Implementation::linux_aio, {.max_requests = max_requests});
    CHECK(context.run(read_pages(context, file.descriptor())) == page_count);
    CHECK(context.stats().max_in_flight <= max_requests);
  }
}

TEST_CASE("LinuxAio: where aio-max-nr is used up, the reason says so") {
  caio::linux_aio_calls.setup = [](int, ::io_context_t*) { return -EAGAIN; };
  const caio::detail::Obstacle obstacle = caio::detail::try_backend(Implementation::linux_aio);
  caio::linux_aio_calls = {};
  CHECK(obstacle.code == EAGAIN);
  CHECK(obstacle.reason.find("/proc/sys/fs/aio-max-nr") != std::string::npos);
}

#endif
