// T5: coroutines, handles and whole contexts are destroyed, stopped, closed and moved at any moment of their
// operations. All memory that goes is watched: nobody may write to it any more, and nobody may read from it into a
// file.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aiofile/aiofile.hpp>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <thread>

#include "torture/graveyard.hpp"
#include "torture/torture.hpp"
#include "torture/watchdog.hpp"

namespace {

torture::Graveyard& graveyard() {
  static torture::Graveyard* const the_one = ::new (std::malloc(sizeof(torture::Graveyard))) torture::Graveyard;
  return *the_one;
}

void* allocate(std::size_t size, std::size_t alignment) {
  if (void* const watched = graveyard().allocate(size)) return watched;
  if (void* const memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)) return memory;
  throw std::bad_alloc();
}

void release(void* memory) noexcept {
  if (memory != nullptr && !graveyard().bury(memory)) std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

namespace {

using aiofile::AIOFile;
using aiofile::FileStream;
using caio::Context;
using caio::Task;
using caio::TaskGroup;

constexpr std::size_t page_size = 4096;
constexpr std::size_t pages = 64;
constexpr std::string_view record = "Sixty-four bytes of which each and every file here consists ...\n";
static_assert(record.size() == 64);

/// What each byte of every file is.
char content(std::size_t offset) { return record[offset % record.size()]; }

struct Totals {
  std::uint64_t teardowns = 0, unfinished = 0, in_flight = 0, contexts = 0, gathered = 0, lost = 0, stalls = 0;
  std::int64_t alive = 0;
};

/// What one round torments.
struct World {
  World(torture::Program& owner, torture::Random& numbers, Totals& sums)
      : program(owner), random(numbers), totals(sums) {}

  torture::Program& program;
  torture::Random& random;
  Totals& totals;
  Context* context = nullptr;
  std::optional<AIOFile> file, direct;
  std::optional<FileStream> stream, log;
  std::optional<aiofile::Reader> reader;
  std::optional<aiofile::Writer> writer;
  std::optional<aiofile::LineReader> lines;
  std::array<int, 2> pipe{};
  std::uint64_t log_written = 0, log_begun = 0, log_lost = 0, full_gathered = 0, full_begun = 0, full_lost = 0;
  std::vector<class Page*> buffers;  // those that live

  [[nodiscard]] std::filesystem::path path(const char* name) const { return program.directory / name; }
  [[nodiscard]] AIOFile& any_file() { return random.below(2) == 0 && direct ? *direct : *file; }
  [[nodiscard]] std::size_t offset() { return random.below(pages) * page_size; }
  void check(std::string_view bytes, std::size_t from) const {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] == content(from + i)) continue;
      return program.violation("byte " + std::to_string(from + i) + " of a file is " + std::to_string(bytes[i]));
    }
  }
};

/// Stands in a frame: counts it, and notices when the frame is resumed after its end.
class Witness {
 public:
  explicit Witness(World& world) : world_(world) { ++world_.totals.alive; }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  ~Witness() {
    mark_ = 0;
    --world_.totals.alive;
  }
  void resumed() const {
    if (mark_ == 0x600dc0de) return;
    std::fprintf(stderr, "VIOLATION: a coroutine was resumed after its frame was destroyed\n");
    ::_exit(1);
  }

 private:
  World& world_;
  volatile std::uint64_t mark_ = 0x600dc0de;
};

/// A buffer of its own page.
class Page {
 public:
  explicit Page(World& world) : world_(world), bytes_(static_cast<char*>(::operator new(page_size))) {
    for (std::size_t i = 0; i < page_size; ++i) bytes_[i] = content(i);
    world_.buffers.push_back(this);
  }
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;
  ~Page() {
    std::erase(world_.buffers, this);
    bury();
  }
  void bury() { ::operator delete(std::exchange(bytes_, nullptr)); }
  [[nodiscard]] std::span<std::byte> bytes() const { return {reinterpret_cast<std::byte*>(bytes_), page_size}; }
  [[nodiscard]] std::string_view text() const { return {bytes_, bytes_ == nullptr ? 0 : page_size}; }

 private:
  World& world_;
  char* bytes_;
};

// ---- victims -----------------------------------------------------------------------------------------------------

Task<> read_page(World& world) {
  const Witness witness(world);
  const Page page(world);
  const std::size_t offset = world.offset();
  const std::size_t count = co_await world.any_file().read_into(page.bytes(), offset);
  witness.resumed();
  world.check(page.text().substr(0, count), offset);
}

Task<> write_page(World& world) {
  const Witness witness(world);
  const Page page(world);
  const std::size_t offset = world.offset();
  co_await world.any_file().write_bytes(page.bytes(), offset);
  witness.resumed();
}

Task<> read_into_frame(World& world) {
  const Witness witness(world);
  std::array<std::byte, page_size> buffer;
  const std::size_t offset = world.offset();
  const std::size_t count = co_await world.file->read_into(buffer, offset);
  witness.resumed();
  world.check({reinterpret_cast<const char*>(buffer.data()), count}, offset);
}

Task<> write_from_frame(World& world) {
  const Witness witness(world);
  std::array<char, page_size> buffer;
  for (std::size_t i = 0; i < page_size; ++i) buffer[i] = content(i);
  co_await world.file->write(std::string_view(buffer.data(), buffer.size()), world.offset());
  witness.resumed();
}

Task<> read_strings(World& world) {
  const Witness witness(world);
  const std::size_t offset = world.offset();
  const std::string some = co_await world.file->read(50'000, offset);
  witness.resumed();
  world.check(some, offset);
  if (!world.stream) co_return;
  const std::string more = co_await world.stream->read(10'000);
  witness.resumed();
  if (!world.stream) co_return;
  const std::string line = co_await world.stream->readline();
  witness.resumed();
  if (more.size() < 10'000 && world.stream) world.stream->seek(0);
}

Task<> sync(World& world) {
  const Witness witness(world);
  co_await world.any_file().fdsync();
  witness.resumed();
}

Task<> write_log(World& world) {
  const Witness witness(world);
  for (int i = 0; i < 8 && world.log; ++i) {
    world.log_begun += record.size();
    co_await world.log->write(std::string(record));
    witness.resumed();
    world.log_written += record.size();
  }
  if (!world.log) co_return;
  co_await world.log->flush();
  witness.resumed();
}

Task<> use_readers(World& world) {
  const Witness witness(world);
  for (int i = 0; i < 4 && world.reader && world.lines && world.writer; ++i) {
    const std::string chunk = co_await world.reader->read_chunk();
    witness.resumed();
    if (!world.lines) co_return;
    const std::string line = co_await world.lines->readline();
    witness.resumed();
    if (!line.empty()) world.check(line, 0);
    if (!world.writer) co_return;
    co_await world.writer->write(std::string(record));
    witness.resumed();
  }
}

Task<> open_and_close(World& world) {
  const Witness witness(world);
  aiofile::OpenOptions options;
  options.context = world.context;
  AIOFile opened = co_await AIOFile(world.path("data"), "rb", options);
  witness.resumed();
  AIOFile clone = opened.clone();
  const std::vector<std::byte> bytes = co_await clone.read_bytes(5000);
  witness.resumed();
  co_await opened.close();
  witness.resumed();
  co_await clone.close();
  witness.resumed();
}

Task<> read_idle_pipe(World& world) {
  const Witness witness(world);
  const Page page(world);
  co_await world.context->read(world.pipe[0], page.bytes(), -1);
  witness.resumed();
  world.program.violation("an idle pipe was read");
}

Task<> open_idle_fifo(World& world) {
  const Witness witness(world);
  co_await world.context->open(world.path("fifo"), O_WRONLY);
  witness.resumed();
  world.program.violation("a FIFO without a reader was opened");
}

Task<> read_vector(World& world) {
  const Witness witness(world);
  const Page first(world), second(world);
  const std::array<::iovec, 2> vectors{{{first.bytes().data(), page_size}, {second.bytes().data(), page_size}}};
  const int fd = world.any_file().fileno();
  const std::size_t count = co_await world.context->readv(fd, vectors, 0);
  witness.resumed();
  if (count == 2 * page_size) world.check(second.text(), page_size);
}

Task<> work_on_pool(World& world) {
  const Witness witness(world);
  const Page page(world);
  co_await world.context->offload([bytes = page.bytes()] {
    for (std::size_t i = 0; i < 300'000; ++i) {
      *const_cast<volatile char*>(reinterpret_cast<char*>(&bytes[i % page_size])) = 'x';
    }
  });
  witness.resumed();
}

Task<> time_out(World& world) {
  const Witness witness(world);
  const Page page(world);
  co_await caio::with_timeout(std::chrono::microseconds(world.random.below(500)),
                              world.any_file().read_into(page.bytes(), world.offset()));
  witness.resumed();
  co_await world.context->sleep_for(std::chrono::hours(1));
  witness.resumed();
  world.program.violation("an hour has gone");
}

Task<> gather_three(World& world) {
  const Witness witness(world);
  co_await caio::gather(read_page(world), write_page(world), read_into_frame(world));
  witness.resumed();
}

Task<> close_handle(World& world) {
  const Witness witness(world);
  if (world.random.below(2) == 0 && world.stream) {
    co_await world.stream->close();
  } else {
    co_await world.file->close();
  }
  witness.resumed();
}

/// Gathers what can never be delivered.
Task<> fill_full_device(World& world) {
  const Witness witness(world);
  aiofile::OpenOptions options;
  options.context = world.context;
  options.buffering = page_size;
  FileStream full = co_await aiofile::async_open("/dev/full", "wb", options);
  witness.resumed();
  world.full_begun += record.size();
  co_await full.write(record);
  witness.resumed();
  world.full_gathered += record.size();
}

using Victim = Task<> (*)(World&);
constexpr std::array<Victim, 19> victims{
    read_page,   read_page,    write_page,       write_page,   read_into_frame, write_from_frame, read_strings,
    sync,        write_log,    write_log,        use_readers,  open_and_close,  read_idle_pipe,   open_idle_fifo,
    read_vector, work_on_pool, fill_full_device, gather_three, time_out};

/// Frames that are destroyed together.
struct Doomed {
  bool ended = false;
  TaskGroup group;
};
using Groups = std::vector<std::unique_ptr<Doomed>>;

Task<> suffer(World& world, Victim victim, bool* ended = nullptr) {
  try {
    if (world.file) co_await victim(world);
  } catch (const std::system_error& error) {
    const bool expected = error.code() == std::errc::operation_canceled || error.code() == std::errc::timed_out ||
                          error.code() == std::errc::bad_file_descriptor;
    if (!expected) world.program.violation(error.what());
  }
  if (ended != nullptr) *ended = true;
}

void start(World& world, Groups& groups, Victim victim) {
  Doomed& doomed = *groups.emplace_back(std::make_unique<Doomed>());
  doomed.group.spawn(suffer(world, victim, &doomed.ended));
}

// ---- a round -----------------------------------------------------------------------------------------------------

/// A process that freezes and thaws a file system, also when this one is no more.
class Freezer {
 public:
  explicit Freezer(const std::filesystem::path& directory) {
    std::array<int, 2> orders{}, answers{};
    if (::pipe2(orders.data(), O_CLOEXEC) != 0 || ::pipe2(answers.data(), O_CLOEXEC) != 0) std::abort();
    const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (::fork() == 0) {
      ::close(orders[1]);
      for (unsigned duration = 0; ::read(orders[0], &duration, sizeof duration) == sizeof duration;) {
        const int status = ::ioctl(fd, FIFREEZE, 0);
        if (::write(answers[1], &status, sizeof status) == sizeof status) ::usleep(duration * 1000);
        ::ioctl(fd, FITHAW, 0);
      }
      ::_exit(0);
    }
    ::close(orders[0]);
    ::close(answers[1]);
    ::close(fd);
    orders_ = orders[1];
    answers_ = answers[0];
  }
  /// False: it cannot be frozen.
  [[nodiscard]] bool freeze(std::chrono::milliseconds duration) {
    const auto order = static_cast<unsigned>(duration.count());
    int status = -1;
    const bool told = ::write(orders_, &order, sizeof order) == sizeof order &&
                      ::read(answers_, &status, sizeof status) == sizeof status;
    thawed_ = std::chrono::steady_clock::now() + duration + std::chrono::milliseconds(2);
    return told && status == 0;
  }
  [[nodiscard]] bool thawed() const { return std::chrono::steady_clock::now() > thawed_; }

 private:
  int orders_ = -1, answers_ = -1;
  std::chrono::steady_clock::time_point thawed_;
};

Task<> reopen(World& world) {
  aiofile::OpenOptions options;
  options.context = world.context;
  if (!world.file || world.file->closed()) {
    world.file.emplace(world.path("data"), "r+b", options);
    co_await world.file->open();
  }
  if (!world.stream || world.stream->closed()) {
    FileStream stream = co_await aiofile::async_open(world.path("data"), "rb", options);
    world.stream.emplace(std::move(stream));
  }
  if (!world.direct) {
    options.flags = O_DIRECT;
    world.direct.emplace(world.path("direct"), "r+b", options);
    co_await world.direct->open();
    options.flags = 0;
  }
  if (!world.log) {
    options.buffering = 200;
    FileStream log = co_await aiofile::async_open(world.path("log"), "ab", options);
    world.log.emplace(std::move(log));
  }
  if (!world.reader) world.reader.emplace(*world.file, 0, 10'000);
  if (!world.lines) world.lines.emplace(*world.file);
  if (!world.writer) world.writer.emplace(*world.file, 0, 150);
}

void drop_handle(World& world, std::uint64_t which) {
  switch (which) {
    case 0: return world.file.reset();
    case 1: return world.direct.reset();
    case 2: return world.stream.reset();
    case 3: return world.log.reset();
    case 4: return world.reader.reset();
    case 5: return world.lines.reset();
    default: return world.writer.reset();
  }
}
constexpr std::uint64_t handles = 7;

void move_handles(World& world) {
  AIOFile file = std::move(*world.file);
  FileStream log = std::move(*world.log);
  world.file.emplace(std::move(file));
  *world.log = std::move(log);
}

std::size_t descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// Counts a tear-down, and what it met.
class Teardown {
 public:
  explicit Teardown(World& world) : world_(world), alive_(world.totals.alive) {
    ++world_.totals.teardowns;
    if (world_.context != nullptr && world_.context->stats().in_flight > 0) ++world_.totals.in_flight;
  }
  Teardown(const Teardown&) = delete;
  Teardown& operator=(const Teardown&) = delete;
  ~Teardown() {
    if (world_.totals.alive < alive_) ++world_.totals.unfinished;
  }

 private:
  World& world_;
  std::int64_t alive_;
};

Task<> torment(World& world, Groups& groups, Freezer* freezer) {
  torture::Random& random = world.random;
  for (int step = 0; step < 120; ++step) {
    co_await reopen(world);
    if (freezer != nullptr && freezer->thawed() && random.below(20) == 0) {
      if (!freezer->freeze(std::chrono::milliseconds(2 + random.below(30)))) world.program.skip("cannot be frozen");
    }
    std::erase_if(groups, [](const auto& each) { return each->ended; });
    const std::uint64_t act = random.below(20);
    // The youngest, mostly: the old ones are those that wait for ever.
    const std::size_t among = random.below(4) == 0 ? groups.size() : std::min<std::size_t>(groups.size(), 3);
    const std::size_t chosen = groups.empty() ? 0 : groups.size() - 1 - random.below(among);
    if (act < 10) {
      start(world, groups, victims[random.below(victims.size())]);
    } else if (act < 15 && !groups.empty()) {
      const Teardown teardown(world);
      groups.erase(groups.begin() + static_cast<std::ptrdiff_t>(chosen));
    } else if (act < 16 && !groups.empty()) {
      const Teardown teardown(world);
      groups[chosen]->group.request_stop();
    } else if (act < 17) {
      const Teardown teardown(world);
      drop_handle(world, random.below(handles));
    } else if (act < 18) {
      const Teardown teardown(world);
      move_handles(world);
    } else if (act < 19) {
      const Teardown teardown(world);
      start(world, groups, close_handle);
    } else {
      world.context->spawn(suffer(world, victims[random.below(victims.size())]));
    }
    if (random.below(4) == 0) {
      co_await world.context->sleep_for(std::chrono::microseconds(random.below(300)));
    } else if (random.below(2) == 0) {
      co_await world.context->schedule();
    }
  }
  if (world.program.control == "leaked-frame") {
    for (int i = 0; i < 20; ++i) {
      start(world, groups, read_page);
    }
    for (Page* const page : world.buffers) page->bury();
    for (auto& group : groups) static_cast<void>(group.release());
    groups.clear();
    co_await world.context->sleep_for(std::chrono::milliseconds(50));
  }
}

void check_files(World& world) {
  for (const char* const name : {"data", "direct", "log"}) {
    std::ifstream file(world.path(name), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    world.check(text, 0);
    if (name != std::string_view("log")) continue;
    if (text.size() < world.log_written || text.size() > world.log_begun || world.log_lost > 0) {
      world.program.violation("of " + std::to_string(world.log_written) + " bytes gathered, " +
                              std::to_string(text.size()) + " are in the file and " + std::to_string(world.log_lost) +
                              " were said to be lost");
    }
  }
  if (world.full_lost < world.full_gathered || world.full_lost > world.full_begun) {
    world.program.violation("on_lost_data was not told of what went to a full device");
  }
}

void run_round(torture::Program& program, torture::Random& random, Totals& totals, Freezer* freezer, bool threads_end) {
  World world(program, random, totals);
  const std::size_t open_before = descriptors();
  {
    std::string all;
    while (all.size() < pages * page_size) all += record;
    // Two files: a direct write that meets a buffered one makes the kernel fail the next sync.
    for (const char* const name : {"data", "direct"}) std::ofstream(world.path(name), std::ios::binary) << all;
    std::ofstream log(world.path("log"), std::ios::binary);
  }
  ::mkfifo(world.path("fifo").c_str(), 0600);
  if (::pipe2(world.pipe.data(), O_CLOEXEC) != 0) std::abort();

  Groups groups;
  constexpr std::array<unsigned, 3> admitted{1, 4, 64};
  std::optional<Context> context;
  context.emplace(program.implementation(),
                  caio::ContextOptions{.max_requests = admitted[random.below(3)],
                                       .speculate = program.speculate && random.below(2) == 0});
  world.context = &*context;
  context->on_lost_data([&world](const caio::LostData& lost) {
    if (lost.path == "/dev/full") world.full_lost += lost.bytes;
    if (lost.path == world.path("log")) world.log_lost += lost.bytes;  // not so what is gathered for a closed file
  });
  // In any order: victims, handles, the context; and the context first where its thread is gone.
  std::uint64_t order = random.below(4);
  if (threads_end) {
    std::jthread([&] { context->run(torment(world, groups, freezer)); }).join();
    order = 3;
  } else {
    context->run(torment(world, groups, freezer));
  }
  if (order % 2 == 0) groups.clear();
  for (std::uint64_t i = 0; i < handles && order / 2 == 0; ++i) drop_handle(world, i);
  {
    const Teardown teardown(world);
    context.reset();
    world.context = nullptr;
  }
  groups.clear();
  for (std::uint64_t i = 0; i < handles; ++i) drop_handle(world, i);
  ++totals.contexts;

  for (const int end : world.pipe) ::close(end);
  if (totals.alive != 0) program.violation(std::to_string(totals.alive) + " frames are left");
  if (descriptors() != open_before) program.violation("descriptors are left open");
  if (graveyard().disturbed() > 0) program.violation("freed memory was written to");
  check_files(world);
  totals.gathered += world.log_written + world.full_gathered;
  totals.lost += world.log_lost + world.full_lost;
}

/// One write that is stuck for longer than a destructor's patience.
void stall(torture::Program& program, torture::Random& random, Totals& totals, Freezer& freezer) {
  World world(program, random, totals);
  std::ofstream(world.path("data"), std::ios::binary) << std::string(page_size, content(0));
  Context context(program.implementation(), {.speculate = false});
  world.context = &context;
  context.on_stall([&totals](const caio::Stall& stalled) {
    if (stalled.waited >= std::chrono::seconds(5) && stalled.in_flight > 0) ++totals.stalls;
  });
  auto body = [](World& here, Freezer& cold) -> Task<> {
    AIOFile file = co_await AIOFile(here.path("data"), "r+b");
    here.file.emplace(std::move(file));
    if (!cold.freeze(std::chrono::milliseconds(6000))) here.program.skip("cannot be frozen");
    Groups groups;
    start(here, groups, write_page);
    // Until a worker has begun it: before that, it can be taken back.
    co_await here.context->sleep_for(std::chrono::milliseconds(500));
    const Teardown teardown(here);
    groups.clear();
  };
  const auto start = std::chrono::steady_clock::now();
  context.run(body(world, freezer));
  if (std::chrono::steady_clock::now() - start < std::chrono::seconds(5)) program.violation("nobody waited");
  if (totals.stalls == 0) program.violation("on_stall was not told");
  world.file.reset();
}

}  // namespace

int main(int argc, char** argv) {
  torture::Program program("T5", "Destroys whatever is in flight.", {"leaked-frame"});
  std::uint64_t teardowns = 200;
  unsigned seconds = 0;
  bool freezes = false, stalls = false, threads_end = false;
  program.app.add_option("--teardowns", teardowns, "At least so many")->capture_default_str();
  program.app.add_option("--seconds", seconds, "Go on for so long");
  program.app.add_flag("--freeze", freezes, "Freeze the file system of --directory now and then");
  program.app.add_flag("--threads-end", threads_end, "Each context outlives its thread");
  program.app.add_flag("--stall", stalls, "Freeze it once, for 6 s, and nothing else");
  program.parse(argc, argv);

  std::optional<Freezer> freezer;
  if (freezes || stalls) freezer.emplace(program.directory);
  torture::Random random(program.seed);
  Totals totals;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  if (stalls) {
    torture::watch(20);
    stall(program, random, totals, *freezer);
  }
  while (!stalls && (totals.teardowns < teardowns || std::chrono::steady_clock::now() < end)) {
    torture::watch(20);
    run_round(program, random, totals, freezer ? &*freezer : nullptr, threads_end);
  }
  torture::watch(20);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // for a late write to show
  if (graveyard().disturbed() > 0) program.violation("freed memory was written to, late");

  program.figure("teardowns", totals.teardowns);
  program.figure("of unfinished frames", totals.unfinished);
  program.figure("with operations in flight", totals.in_flight);
  program.figure("contexts", totals.contexts);
  program.figure("bytes gathered", totals.gathered);
  program.figure("bytes said to be lost", totals.lost);
  program.figure("stalls told", totals.stalls);
  return program.finish();
}
