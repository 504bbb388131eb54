#include <aiofile/os/open_directory.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <caio/detail/unique_fd.hpp>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "directory_calls.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/temporary.hpp"

using aiofile::detail::DirectoryBatch;
using aiofile::detail::DirectoryName;
using aiofile::detail::DirectoryRecord;
using aiofile::detail::OpenDirectory;
using caio::detail::UniqueFd;
using std::filesystem::file_type;
using support::TemporaryDirectory;
using Base = OpenDirectory::Base;
using Names = std::vector<std::string>;
using Path = std::filesystem::path;
using Wanted = OpenDirectory::Wanted;

namespace {

struct Entry {
  std::string name;
  file_type type;
  bool linked;
};

/// Those of the batch.
std::vector<Entry> entries_of(const OpenDirectory& directory) {
  std::vector<Entry> entries;
  std::size_t position = 0;
  REQUIRE(directory.batch());
  while (const DirectoryRecord* const record = directory.batch()->next(position)) {
    entries.push_back({record->name(), record->type(), record->is(DirectoryRecord::linked)});
  }
  return entries;
}

Names names_of(const OpenDirectory& directory) {
  Names names;
  for (const Entry& entry : entries_of(directory)) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  return names;
}

Entry find(const OpenDirectory& directory, std::string_view name) {
  for (const Entry& entry : entries_of(directory)) {
    if (entry.name == name) return entry;
  }
  FAIL("no " << name);
  return {};
}

/// What is known of the entry of that name; nullptr: there is none.
const DirectoryBatch::Details* details_of(const OpenDirectory& directory, std::string_view name) {
  std::size_t position = 0;
  while (const DirectoryRecord* const record = directory.batch()->next(position)) {
    if (record->name() == name) return &directory.batch()->details.at(static_cast<std::size_t>(record->offset));
  }
  return nullptr;
}

OpenDirectory opened(const Path& path, Wanted wanted = {}) {
  OpenDirectory directory(std::make_shared<DirectoryName>(nullptr, path.native()), wanted);
  directory.open_and_read(AT_FDCWD, path.c_str(), true);
  return directory;
}

/// Directories are opened again by their whole paths.
constexpr Base no_base{AT_FDCWD, nullptr};

/// One of each kind.
void fill(const TemporaryDirectory& directory) {
  directory.file("file", "12345");
  std::filesystem::create_directory(directory / "directory");
  std::filesystem::create_symlink("file", directory / "link");
  std::filesystem::create_directory_symlink("directory", directory / "directory link");
  std::filesystem::create_symlink("nowhere", directory / "broken");
  REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
}

const Names filled = {"broken", "directory", "directory link", "fifo", "file", "link"};

/// Enough entries for several batches; made once.
const Path& many() {
  static const TemporaryDirectory directory;
  static const bool made = [] {
    for (int i = 0; i < 1000; ++i) directory.file(std::to_string(i) + std::string(200, 'x'), "");
    return true;
  }();
  static_cast<void>(made);
  return directory.path();
}

/// Reads to the end, or a thousand batches; the names that came, and in how many batches.
std::pair<std::multiset<std::string>, int> read_to_end(OpenDirectory& directory, const Base& base) {
  std::multiset<std::string> names;
  int batches = 1;
  for (;; ++batches) {
    for (std::string& name : names_of(directory)) names.insert(std::move(name));
    if (directory.ended() || batches == 1000) return {std::move(names), batches};
    directory.read_on(base);
    if (!directory.batch()) return {std::move(names), batches};
  }
}

int calls = 0;
int last_flags = 0;
int refusal = 0;

}  // namespace

TEST_CASE("DirectoryName: a path has one separator between names, and the depth counts those above") {
  const auto top = std::make_shared<DirectoryName>(nullptr, "top");
  const auto slash = std::make_shared<DirectoryName>(nullptr, "top/");
  const auto root = std::make_shared<DirectoryName>(nullptr, "/");
  const auto inner = std::make_shared<DirectoryName>(slash, "a");
  const auto innermost = std::make_shared<DirectoryName>(inner, "bc");
  CHECK(top->depth == 0);
  CHECK(inner->depth == 1);
  CHECK(innermost->depth == 2);
  CHECK(top->path_of("x") == "top/x");
  CHECK(slash->path_of("x") == "top/x");
  CHECK(root->path_of("x") == "/x");
  CHECK(DirectoryName(root, "etc").path_of("x") == "/etc/x");
  CHECK(innermost->path_of("entry") == "top/a/bc/entry");
  CHECK(innermost->path_of("") == "top/a/bc/");
}

TEST_CASE("DirectoryName: a path relative to one of those above leaves that out") {
  const auto top = std::make_shared<DirectoryName>(nullptr, "/top");
  const auto inner = std::make_shared<DirectoryName>(top, "a");
  const auto innermost = std::make_shared<DirectoryName>(inner, "b");
  CHECK(innermost->path_of("x", top.get()) == "a/b/x");
  CHECK(innermost->path_of("x", inner.get()) == "b/x");
  CHECK(innermost->path_of("x", innermost.get()) == "x");
  CHECK(innermost->path_of("x", nullptr) == "/top/a/b/x");
}

TEST_CASE("DirectoryName: those above stay as long as one below does") {
  std::weak_ptr<DirectoryName> above;
  std::shared_ptr<DirectoryName> below;
  {
    const auto top = std::make_shared<DirectoryName>(nullptr, "top");
    above = top;
    below = std::make_shared<DirectoryName>(std::make_shared<DirectoryName>(top, "a"), "b");
  }
  const auto beside = std::make_shared<DirectoryName>(below->parent, "c");
  below.reset();
  CHECK(beside->path_of("x") == "top/a/c/x");
  CHECK_FALSE(above.expired());
}

TEST_CASE("DirectoryName: a deep tree's names go without recursion") {
  auto deep = std::make_shared<DirectoryName>(nullptr, "top/");
  for (int i = 0; i < 1'000'000; ++i) deep = std::make_shared<DirectoryName>(std::move(deep), "d");
  CHECK(deep->depth == 1'000'000);
  CHECK(deep->path_of("x").size() == 4 + 2 * 1'000'000 + 1);
  deep.reset();
}

TEST_CASE("DirectoryRecord: a type and marks beside each other, and the two names that are no entries") {
  alignas(DirectoryRecord) char buffer[64] = {};
  auto& record = *reinterpret_cast<DirectoryRecord*>(buffer);
  for (const auto& [name, itself] :
       {std::pair(".", true), {"..", true}, {"...", false}, {".x", false}, {"..x", false}}) {
    INFO(name);
    support::put_record(buffer, name, DT_REG);
    CHECK(record.name() == std::string_view(name));
    CHECK(record.is_itself() == itself);
  }
  record.bits = 0;
  record.set_type(file_type::symlink);
  record.set(DirectoryRecord::linked);
  record.set(DirectoryRecord::skipped);
  record.set_type(file_type::directory);
  CHECK(record.type() == file_type::directory);
  CHECK(record.is(DirectoryRecord::linked));
  CHECK(record.is(DirectoryRecord::skipped));
  CHECK_FALSE(record.is(DirectoryRecord::gone));
}

TEST_CASE("OpenDirectory: gives each entry with its type") {
  const TemporaryDirectory directory;
  fill(directory);
  for (const bool told : {true, false}) {
    const support::ReplacedDirectoryCalls replaced;
    if (!told) replaced->getdents = support::getdents_without_types;
    const OpenDirectory read = opened(directory.path());
    CHECK(names_of(read) == filled);
    CHECK(find(read, "file").type == file_type::regular);
    CHECK(find(read, "directory").type == file_type::directory);
    CHECK(find(read, "fifo").type == file_type::fifo);
    for (const char* const name : {"link", "directory link", "broken"}) {
      CHECK(find(read, name).type == file_type::symlink);
      CHECK_FALSE(find(read, name).linked);
    }
    CHECK(read.batch()->details.empty());
    CHECK(read.batch()->directory == read.name());
    CHECK(read.ended());
    CHECK(read.error() == 0);
  }
}

TEST_CASE("OpenDirectory: with follow_links the types are those that links lead to, but for broken ones") {
  const TemporaryDirectory directory;
  fill(directory);
  for (const bool stat : {false, true}) {
    const OpenDirectory read = opened(directory.path(), {.stat = stat, .follow_links = true});
    CHECK(names_of(read) == filled);
    CHECK(find(read, "link").type == file_type::regular);
    CHECK(find(read, "link").linked);
    CHECK(find(read, "directory link").type == file_type::directory);
    CHECK(find(read, "directory link").linked);
    CHECK(find(read, "broken").type == file_type::symlink);
    CHECK_FALSE(find(read, "broken").linked);
    CHECK_FALSE(find(read, "file").linked);
    CHECK_FALSE(find(read, "directory").linked);
    if (!stat) continue;
    CHECK(details_of(read, "link")->stat.size == 5);
    CHECK(details_of(read, "broken")->error == 0);
    CHECK(details_of(read, "broken")->stat.type == file_type::symlink);
  }
}

TEST_CASE("OpenDirectory: with stat each entry has one, or its error; what has vanished is left out") {
  static const TemporaryDirectory* where = nullptr;
  const TemporaryDirectory directory;
  where = &directory;
  for (const char* const name : {"1", "22", "333", "4444"}) directory.file(name, name);
  const support::ReplacedDirectoryCalls replaced;
  replaced->getdents = [](int fd, void* buffer, std::size_t size) -> ::ssize_t {
    const ::ssize_t count = ::getdents64(fd, buffer, size);
    std::filesystem::remove(*where / "22");
    if (count <= 0) return count;
    return count +
           static_cast<::ssize_t>(support::put_record(static_cast<char*>(buffer) + count, "1/no directory", DT_REG));
  };
  const OpenDirectory read = opened(directory.path(), {.stat = true});
  CHECK(names_of(read) == Names{"1", "1/no directory", "333", "4444"});
  for (const char* const name : {"1", "333", "4444"}) {
    CHECK(details_of(read, name)->error == 0);
    CHECK(details_of(read, name)->stat.size == std::string_view(name).size());
  }
  CHECK(details_of(read, "1/no directory")->error == ENOTDIR);
  CHECK(find(read, "1/no directory").type == file_type::regular);
}

TEST_CASE("OpenDirectory: batch by batch, smaller ones with stats, each entry once; batches outlive it") {
  for (const bool stat : {false, true}) {
    std::shared_ptr<DirectoryBatch> first;
    {
      OpenDirectory read = opened(many(), {.stat = stat});
      first = read.batch();
      CHECK_FALSE(read.ended());
      CHECK(read.fd());
      const auto [names, batches] = read_to_end(read, no_base);
      CHECK(names.size() == 1000);
      CHECK(std::set<std::string>(names.begin(), names.end()).size() == 1000);
      CHECK(batches > (stat ? 20 : 2));
      CHECK(read.error() == 0);
      CHECK_FALSE(read.fd());
    }
    CHECK(first->size <= (stat ? 8U : 64U) * 1024);
    CHECK(first->directory->path_of("x") == many().native() + "/x");
    std::size_t position = 0;
    CHECK(first->next(position) != nullptr);
  }
}

TEST_CASE("OpenDirectory: the descriptor goes when there is no more use for it") {
  const TemporaryDirectory with_directory;
  std::filesystem::create_directory(with_directory / "directory");
  const TemporaryDirectory without;
  without.file("file", "");
  const std::size_t before = support::open_files();
  CHECK_FALSE(opened(without.path()).fd());
  CHECK_FALSE(opened(without.path(), {.enter = true}).fd());
  CHECK_FALSE(opened(with_directory.path()).fd());
  CHECK_FALSE(opened(with_directory.path(), {.enter = true, .keep = false}).fd());
  CHECK_FALSE(opened(many(), {.keep = false}).fd());
  OpenDirectory kept = opened(with_directory.path(), {.enter = true});
  CHECK(kept.fd());
  CHECK(kept.ended());
  CHECK(support::open_files() == before + 1);
  kept.release();
  CHECK_FALSE(kept.fd());
  CHECK(support::open_files() == before);
  { const OpenDirectory in_the_middle = opened(many()); }
  CHECK(support::open_files() == before);
}

TEST_CASE("OpenDirectory: opens what no program inherits, follows a link only where that is asked for") {
  const TemporaryDirectory directory;
  fill(directory);
  const support::ReplacedDirectoryCalls replaced;
  replaced->openat = [](int at, const char* path, int flags) {
    last_flags = flags;
    return ::openat(at, path, flags);
  };
  const UniqueFd at(::open(directory.path().c_str(), O_PATH | O_CLOEXEC));
  struct ::stat wanted {};
  REQUIRE(::stat((directory / "directory").c_str(), &wanted) == 0);
  for (const bool follow : {false, true}) {
    for (const char* const name : {"directory", "directory link"}) {
      INFO(name << ", " << follow);
      OpenDirectory read(std::make_shared<DirectoryName>(nullptr, name), {});
      const struct ::stat status = read.open(at.get(), name, follow);
      CHECK((last_flags & (O_DIRECTORY | O_CLOEXEC)) == (O_DIRECTORY | O_CLOEXEC));
      if (!follow && name == std::string_view("directory link")) {
        CHECK_FALSE(read.fd());
        CHECK((read.error() == ENOTDIR || read.error() == ELOOP));
      } else {
        REQUIRE(read.fd());
        CHECK(status.st_ino == wanted.st_ino);
        CHECK_FALSE(read.ended());
        CHECK_FALSE(read.batch());
      }
    }
  }
}

TEST_CASE("OpenDirectory: the same directory by any name, and no other") {
  const TemporaryDirectory directory;
  fill(directory);
  const OpenDirectory read = opened(directory / "directory");
  CHECK(read.same(opened(directory / "directory link")));
  CHECK_FALSE(read.same(opened(directory.path())));
}

TEST_CASE("OpenDirectory: one that cannot be opened has ended, with the error and without a batch") {
  const TemporaryDirectory directory;
  fill(directory);
  const support::ReplacedDirectoryCalls replaced;
  calls = 0;
  replaced->getdents = [](int, void*, std::size_t) -> ::ssize_t { return ++calls, 0; };
  const auto error_of = [](const Path& path) {
    const OpenDirectory read = opened(path);
    CHECK(read.ended());
    CHECK_FALSE(read.fd());
    CHECK_FALSE(read.batch());
    return read.error();
  };
  CHECK(error_of(directory / "missing") == ENOENT);
  CHECK(error_of(directory / "file") == ENOTDIR);
  CHECK(error_of(directory / "broken") == ENOENT);
  replaced->openat = [](int, const char*, int) {
    errno = EMFILE;
    return -1;
  };
  CHECK(error_of(directory.path()) == EMFILE);
  CHECK(calls == 0);
}

TEST_CASE("OpenDirectory: an error while it is read ends it behind what was read; that it was removed is none") {
  const TemporaryDirectory directory;
  const std::size_t before = support::open_files();
  for (const int error : {EIO, ENOENT}) {
    for (const int entries : {0, 1}) {
      const support::ReplacedDirectoryCalls replaced;
      calls = entries;
      refusal = error;
      replaced->getdents = [](int, void* buffer, std::size_t) -> ::ssize_t {
        errno = refusal;
        return calls-- > 0 ? static_cast<::ssize_t>(support::put_record(buffer, "entry", DT_DIR)) : -1;
      };
      const OpenDirectory read = opened(directory.path());
      CHECK(read.ended());
      CHECK(read.error() == (error == ENOENT ? 0 : error));
      CHECK(entries_of(read).size() == static_cast<std::size_t>(entries));
      CHECK_FALSE(read.fd());
      CHECK(support::open_files() == before);
    }
  }
}

TEST_CASE("OpenDirectory: without its descriptor it goes on where it was") {
  OpenDirectory read = opened(many(), {.keep = false});
  const auto [names, batches] = read_to_end(read, no_base);
  CHECK(batches > 2);
  CHECK(names.size() == 1000);
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == 1000);
  CHECK(read.error() == 0);
}

TEST_CASE("OpenDirectory: without its descriptor it does not go on in another directory") {
  const TemporaryDirectory directory;
  const Path place = directory / "place";
  for (const bool replaced : {true, false}) {
    std::filesystem::create_directory(place);
    for (int i = 0; i < 400; ++i) directory.file("place/" + std::to_string(i) + std::string(200, 'x'), "");
    OpenDirectory read = opened(place, {.keep = false});
    REQUIRE_FALSE(read.ended());
    std::filesystem::rename(place, directory / "moved");
    if (replaced) std::filesystem::create_directory(place);
    read.read_on(no_base);
    CHECK(read.ended());
    CHECK(read.error() == ENOENT);
    CHECK_FALSE(read.batch());
    CHECK_FALSE(read.fd());
    std::filesystem::remove_all(directory / "moved");
    std::filesystem::remove_all(place);
  }
}

TEST_CASE("OpenDirectory: reopened by the names below a base, and only if it is still the same") {
  const TemporaryDirectory directory;
  std::filesystem::create_directories(directory / "a/b");
  const UniqueFd at(::open(directory.path().c_str(), O_PATH | O_CLOEXEC));
  const auto top = std::make_shared<DirectoryName>(nullptr, "not the path");
  const auto a = std::make_shared<DirectoryName>(top, "a");
  OpenDirectory read(std::make_shared<DirectoryName>(a, "b"), {});
  read.open_and_read(at.get(), "a/b", false);
  const Base base{at.get(), top.get()};
  const std::size_t before = support::open_files();
  const auto fd = read.reopen(base, O_RDONLY);
  REQUIRE(fd);
  CHECK(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd->get())) == directory / "a/b");
  CHECK((::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC) != 0);
  const auto place = read.reopen(base, O_PATH);
  REQUIRE(place);
  CHECK((::fcntl(place->get(), F_GETFL) & O_PATH) != 0);
  const std::size_t held = before + 2;
  CHECK(support::open_files() == held);

  CHECK_FALSE(read.reopen(no_base, O_RDONLY));
  std::filesystem::rename(directory / "a/b", directory / "elsewhere");
  errno = 0;
  CHECK_FALSE(read.reopen(base, O_RDONLY));
  CHECK(errno == ENOENT);
  std::filesystem::create_directory(directory / "a/b");
  errno = 0;
  CHECK_FALSE(read.reopen(base, O_RDONLY));
  CHECK(errno == ENOENT);
  std::filesystem::remove(directory / "a/b");
  directory.file("a/b", "");
  CHECK_FALSE(read.reopen(base, O_RDONLY));
  std::filesystem::remove(directory / "a/b");
  std::filesystem::rename(directory / "elsewhere", directory / "a/b");
  CHECK(read.reopen(base, O_RDONLY));
  CHECK(support::open_files() == held);
}

TEST_CASE("OpenDirectory: reopened where its path is as long as paths may be, and longer") {
  // With "." behind the names, and a NUL: 4096 bytes are one step.
  constexpr std::size_t most = PATH_MAX;
  for (const std::size_t length : {most - 1, most, 2 * most, 3 * most}) {
    INFO(length);
    const TemporaryDirectory directory;
    const UniqueFd at(::open(directory.path().c_str(), O_PATH | O_CLOEXEC));
    UniqueFd here(::openat(at.get(), ".", O_PATH | O_CLOEXEC));
    const auto top = std::make_shared<DirectoryName>(nullptr, "top");
    auto name = top;
    for (std::size_t rest = length - 1; rest > 0;) {
      // No rest of one byte: a name has a slash.
      const std::size_t size = rest <= 251 ? rest - 1 : rest < 255 ? 100 : 250;
      const std::string text(size, 'n');
      name = std::make_shared<DirectoryName>(name, text);
      REQUIRE(::mkdirat(here.get(), text.c_str(), 0700) == 0);
      here = UniqueFd(::openat(here.get(), text.c_str(), O_PATH | O_CLOEXEC));
      rest -= size + 1;
    }
    const Base base{at.get(), top.get()};
    REQUIRE(name->path_of(".", top.get()).size() == length);
    OpenDirectory read(name, {});
    read.open(here.get(), ".", false);
    REQUIRE(read.fd());
    read.release();

    const support::ReplacedDirectoryCalls replaced;
    calls = 0;
    replaced->openat = [](int from, const char* path, int flags) { return ++calls, ::openat(from, path, flags); };
    const std::size_t before = support::open_files();
    {
      const auto fd = read.reopen(base, O_RDONLY);
      REQUIRE(fd);
      CHECK(support::open_files() == before + 1);
    }
    CHECK((calls == 1) == (length < most));
    CHECK(calls <= static_cast<int>(length / (most - 256)) + 1);

    // Of those above, the one nearest to the base has gone elsewhere.
    const std::string first = name->path_of(".", top.get()).substr(0, 250);
    std::filesystem::rename(directory / first, directory / "moved");
    errno = 0;
    CHECK_FALSE(read.reopen(base, O_RDONLY));
    CHECK(errno == ENOENT);
    CHECK(support::open_files() == before);
  }
}

TEST_CASE("OpenDirectory: out of memory at any moment, it leaves no descriptor") {
  if (!support::counts_allocations) {
    WARN("allocations cannot be made to fail here");
    return;
  }
  const support::TemporaryDirectory directory;
  fill(directory);
  const std::size_t before = support::open_files();
  for (const bool stat : {false, true}) {
    std::size_t failures = 0;
    for (bool failed = true; failed;) {
      {
        OpenDirectory opened(std::make_shared<DirectoryName>(nullptr, "x"), {.stat = stat});
        support::fail_allocations(failures + 1, 0);
        try {
          opened.open_and_read(AT_FDCWD, directory.path().c_str(), true);
        } catch (const std::bad_alloc&) {
        }
        failed = support::failed_allocations() != 0;
        support::allow_allocations();
      }
      if (failed) ++failures;
      CHECK(support::open_files() == before);
    }
    CHECK(failures > 1);  // the descriptor's, and those of what is read
  }
}
