// fork(2) at any moment: the parent's operations end as if nothing had happened, and the child, which is told so by
// every operation on what it has inherited, waits for nothing, touches nothing of the parent's, and works on by itself.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <caio/context.hpp>
#include <caio/stop.hpp>
#include <caio/task_group.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "caio/descriptors.hpp"
#include "caio/stranger.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using caio::Context;
using caio::Descriptor;
using caio::Task;
using caio::TaskGroup;
using support::errno_of;
using support::Fd;
using support::Pipe;
using support::Setup;
using support::Stranger;
using support::TemporaryDirectory;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t block = 4096;
constexpr std::size_t blocks = 16;

struct alignas(block) Block {
  std::array<char, block> bytes{};
};

char letter(std::size_t index) { return static_cast<char>('a' + index % 26); }

std::string content() {
  std::string text;
  for (std::size_t i = 0; i < blocks; ++i) text.append(block, letter(i));
  return text;
}

/// Files that all rounds share.
struct Place {
  TemporaryDirectory directory;
  std::filesystem::path data = directory.file("data", content());
  std::filesystem::path fifo = directory / "fifo";
  Place() { REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0); }
};

/// A context with an operation in every stage.
struct Scene {
  Scene(const Setup& setup, const Place& shared)
      : place(shared),
        file(::open(shared.data.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT)),
        context(std::in_place, setup.implementation,
                caio::ContextOptions{.max_requests = 4, .pool_size = 2, .speculate = setup.speculate}) {
    if (!file) file = Fd(::open(shared.data.c_str(), O_RDONLY | O_CLOEXEC));
  }

  const Place& place;
  Fd file;
  Pipe pipe;
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  std::vector<Block> pages{blocks};
  std::array<char, 4> heard{};
  std::string wrong;  // what did not end as it should
  int right = 0;
  std::optional<Context> context;
  struct Group {
    TaskGroup tasks;
  };
  std::optional<Group> group{std::in_place};
  std::vector<Stranger<>> travelling;

  void expect(bool good, const char* what) {
    if (good) {
      ++right;
    } else {
      wrong += std::string(what) + "; ";
    }
  }
};

Task<> read_block(Scene& scene, std::size_t index) {
  const auto room = std::as_writable_bytes(std::span(scene.pages[index].bytes));
  const std::size_t count =
      co_await scene.context->read(scene.file.get(), room, static_cast<std::int64_t>(index * block));
  const bool good = count == block && scene.pages[index].bytes.front() == letter(index) &&
                    scene.pages[index].bytes.back() == letter(index);
  scene.expect(good, "a block");
}

Stranger<> read_travelling(Scene& scene, std::size_t index) { co_await read_block(scene, index); }

Task<> listen(Scene& scene, std::size_t place) {
  const auto room = std::as_writable_bytes(std::span(scene.heard)).subspan(place, 1);
  const std::size_t count = co_await scene.context->read(scene.pipe.reader.get(), room, -1);
  scene.expect(count == 1 && scene.heard[place] == 'p', "a pipe");
}

Task<> listen_with_timeout(Scene& scene, std::size_t place) { co_await caio::with_timeout(1h, listen(scene, place)); }

Task<> hold(Scene& scene) {
  const int value = co_await scene.context->offload([&scene] {
    scene.released.wait();
    return 7;
  });
  scene.expect(value == 7, "an offload");
}

Task<> nap(Scene& scene) {
  co_await scene.context->sleep_for(1ms);
  scene.expect(true, "a sleep");
}

Task<> open_fifo(Scene& scene) {
  const Descriptor end = co_await scene.context->open(scene.place.fifo, O_WRONLY);
  co_await scene.context->close(end);
  scene.expect(true, "a FIFO");
}

void start_all(Scene& scene) {
  for (std::size_t i = 0; i < 2; ++i) scene.group->tasks.spawn(listen(scene, i));
  scene.group->tasks.spawn(listen_with_timeout(scene, 2));
  for (int i = 0; i < 3; ++i) scene.group->tasks.spawn(hold(scene));
  for (int i = 0; i < 3; ++i) scene.group->tasks.spawn(nap(scene));
  for (std::size_t i = 0; i < blocks / 2; ++i) scene.group->tasks.spawn(read_block(scene, i));
  scene.group->tasks.spawn(open_fifo(scene));
  for (std::size_t i = blocks / 2; i < blocks; ++i) scene.travelling.push_back(read_travelling(scene, i));
  std::jthread([&scene] {
    for (const Stranger<>& stranger : scene.travelling) stranger.start();
  }).join();
}
constexpr int all = 3 + 3 + 3 + blocks + 1;

// --- in the child

template <class Function>
bool is_logic_error(Function function) {
  try {
    function();
  } catch (const std::logic_error&) {
    return true;
  }
  return false;
}

Task<> nothing() { co_return; }

/// Everything that is asked of an inherited context.
Task<> ask(Context& inherited, int fd, std::string& complaints) {
  std::array<std::byte, 8> memory{};
  const auto expect = [&complaints](int error, const char* what) {
    if (error != EOWNERDEAD) complaints += std::string(what) + " gives " + std::to_string(error) + "; ";
  };
  const int read = co_await errno_of(inherited.read(fd, memory, 0));
  const int write = co_await errno_of(inherited.write(fd, memory, 0));
  const int sync = co_await errno_of(inherited.fsync(fd));
  const int open = co_await errno_of(inherited.open("/dev/null", O_RDONLY));
  const int sleep = co_await errno_of(inherited.sleep_for(0ms));
  const int schedule = co_await errno_of(inherited.schedule());
  const int offload = co_await errno_of(inherited.offload([] {}));
  expect(read, "read");
  expect(write, "write");
  expect(sync, "fsync");
  expect(open, "open");
  expect(sleep, "sleep_for");
  expect(schedule, "schedule");
  expect(offload, "offload");
}

/// A context of the child's own does everything.
Task<> live(Context& own, const Place& place, std::string& complaints) {
  const Descriptor file = co_await own.open(place.data, O_RDONLY);
  std::string text(block * blocks, '?');
  const std::size_t count = co_await own.read(file, support::room_in(text), 0);
  if (count != text.size() || text != content()) complaints += "wrong bytes; ";
  co_await own.close(file);
  const Pipe pipe;
  co_await own.write(pipe.writer.get(), support::bytes_of("p"), -1);
  const std::size_t heard = co_await own.read(pipe.reader.get(), support::room_in(text), -1);
  const int seven = co_await own.offload([] { return 7; });
  co_await own.sleep_for(0ms);
  if (heard != 1 || seven != 7) complaints += "a pipe or an offload; ";
}

std::string round_of(const Setup& setup, const Place& place, int round, int depth);

std::string in_the_child(Scene& scene, const Setup& setup, int round, int depth) {
  ::alarm(60);
  std::string complaints;
  Context& inherited = *scene.context;
  if (!is_logic_error([&] { inherited.run(nothing()); })) complaints += "run; ";
  if (!is_logic_error([&] { inherited.poll(); })) complaints += "poll; ";
  if (!is_logic_error([&] { inherited.flush(); })) complaints += "flush; ";
  {
    Context own(setup.implementation);
    own.run(ask(inherited, scene.file.get(), complaints));
    own.run(live(own, scene.place, complaints));
  }
  const int before = scene.right;
  const bool frames_first = round % 2 == 0;
  if (!frames_first) scene.context.reset();
  scene.travelling.clear();
  scene.group.reset();
  scene.context.reset();
  if (scene.right != before) complaints += "something was resumed; ";
  if (round % 10 == 0) {
    for (const caio::Implementation implementation : support::backends()) {
      Context own(implementation);
      own.run(live(own, scene.place, complaints));
    }
  }
  if (round % 10 == 1 && depth == 0) complaints += round_of(setup, scene.place, round, 1);
  return complaints;
}

// --- in the parent

Task<> play(Scene& scene, const Setup& setup, int round, int depth) {
  Context& context = *scene.context;
  start_all(scene);
  for (int turn = 0; turn < round % 4; ++turn) co_await context.schedule();
  const support::ChildResult child = support::in_child([&] { return in_the_child(scene, setup, round, depth); });
  scene.wrong += child.answer + child.errors;
  if (child.status != 0) scene.wrong += "the child's status is " + std::to_string(child.status) + "; ";
  scene.release.set_value();
  co_await context.write(scene.pipe.writer.get(), support::bytes_of("ppp"), -1);
  const Descriptor fifo = co_await context.open(scene.place.fifo, O_RDONLY);
  co_await scene.group->tasks.join();
  for (const Stranger<>& stranger : scene.travelling) co_await stranger.ended();
  co_await context.close(fifo);
}

std::string round_of(const Setup& setup, const Place& place, int round, int depth) {
  Scene scene(setup, place);
  scene.context->run(play(scene, setup, round, depth));
  if (scene.right != all) scene.wrong += "ended well: " + std::to_string(scene.right) + "; ";
  return scene.wrong;
}

// The sanitizers' allocators keep locks that other threads held at a fork: now and then a child would wait for one.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool children_may_allocate = false;
#elif defined(__has_feature)
constexpr bool children_may_allocate = !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer);
#else
constexpr bool children_may_allocate = true;
#endif

}  // namespace

TEST_CASE("Fork: with an operation in every stage, 50 times") {
  if (!children_may_allocate) {
    WARN("not under a sanitizer");
    return;
  }
  const Place place;
  for (const Setup& setup : support::setups()) {
    DYNAMIC_SECTION(setup.name) {
      const support::Masks masks(setup.old_kernel);
      const std::size_t before = support::open_files();
      for (int round = 0; round < 50; ++round) {
        const std::string wrong = round_of(setup, place, round, 0);
        if (!wrong.empty()) FAIL("round " << round << ": " << wrong);
      }
      CHECK(support::open_files() == before);
    }
  }
}
