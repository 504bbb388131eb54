#pragma once
// For starved.cpp: the restrictions, one a row, and which backends may serve then.

#include <csignal>
#include <filesystem>
#include <fstream>
#include <utility>

#include "torture/starved_smoke.hpp"

namespace starvation {

inline Task<> read_into_flight(Context& context, const caio::Descriptor& file, std::byte* memory, int& ended,
                               Report& report) {
  const auto read = co_await aiofile::as_result(context.read(file, std::span(memory, page), 0));
  ++ended;
  if (read && read.value() != page) report.breaks("a read in flight was short");
  if (read && memory[page - 1] != std::byte{'x'}) report.breaks("a read in flight gave other bytes");
}

/// The filter comes while operations are with the kernel.
inline Task<> lose_the_ring(Context& context, Report& report, const std::vector<long>& calls) {
  constexpr int count = 16;
  const Memory memory = new_memory((count + 1) * page);
  std::memset(memory.get(), 'x', page);
  const caio::Descriptor file = co_await context.open("mid-life", O_RDWR | O_CREAT | O_DIRECT);
  co_await context.write(file, std::span<const std::byte>(memory.get(), page), 0);
  int ended = 0;
  aiofile::TaskGroup group;
  for (int i = 1; i <= count; ++i) {
    group.spawn(read_into_flight(context, file, memory.get() + static_cast<std::size_t>(i) * page, ended, report));
  }
  for (int turns = 0; turns < 2; ++turns) co_await context.schedule();
  deny(EPERM, calls);
  co_await group.join();
  if (ended != count) report.breaks("an operation in flight has not ended");
  const auto later =
      co_await aiofile::as_result(context.write(file, std::span<const std::byte>(memory.get(), page), 0));
  if (later && later.value() != page) report.breaks("a later write was short");
  const auto closed = co_await aiofile::as_result(context.close(file));
  if (::fcntl(file.fileno(), F_GETFD) >= 0) report.breaks("close() let a descriptor open: " + closed.error().message());
}

inline void mid_life(Report& report, const std::vector<long>& calls) {
  {
    Context context(caio::ContextOptions{.speculate = false});
    context.run(everything(context, report));
    context.run(lose_the_ring(context, report, calls));
  }
  serve(report);
}

inline Task<> beyond_the_limit(Context& context, Report& report) {
  aiofile::AIOFile file("limited", "w+b", options_for(context));
  co_await file.open();
  const std::string text(8192, 'x');
  try {
    co_await file.write(text, 8000);
    report.breaks("a write beyond RLIMIT_FSIZE has not failed");
  } catch (const aiofile::FileError& error) {
    if (error.code().value() != EFBIG || error.transferred() != 2000) {
      report.breaks("RLIMIT_FSIZE: " + error.code().message() + " after " + std::to_string(error.transferred()));
    }
  }
  const auto truncated = co_await aiofile::as_result(file.truncate(20'000));
  if (truncated.error().value() != EFBIG) report.breaks("truncate beyond RLIMIT_FSIZE");
  const std::uint64_t size = co_await file.size();
  if (size != 10'000) report.breaks("the size after RLIMIT_FSIZE: " + std::to_string(size));
  co_await file.close();
}

inline void limited_size(Report& report) {
  serve(report);
  ::signal(SIGXFSZ, SIG_IGN);
  limit(RLIMIT_FSIZE, 10'000);
  for (const bool speculate : {false, true}) {
    Context context(caio::ContextOptions{.speculate = speculate});
    context.run(beyond_the_limit(context, report));
  }
}

inline Task<> small_reads(aiofile::AIOFile& file, std::uint64_t count, std::uint64_t& done) {
  std::byte memory[16];
  for (; count > 0; --count) done += co_await file.read_into(memory, count % 4000) == sizeof memory ? 1 : 0;
}

inline Task<> masses(Context& context, Report& report) {
  constexpr std::uint64_t tasks = 2000;
  constexpr std::uint64_t each = 200;
  aiofile::AIOFile file("masses", "w+b", options_for(context));
  co_await file.open();
  co_await file.write(std::string(2 * page, 'x'));
  std::vector<Task<>> all;
  for (std::uint64_t i = 0; i < tasks; ++i) all.push_back(small_reads(file, each, report.done));
  co_await aiofile::gather(std::move(all));
  if (report.done != tasks * each) report.breaks(std::to_string(tasks * each - report.done) + " completions were lost");
  co_await file.close();
}

inline const std::filesystem::path memory_groups = "/sys/fs/cgroup/memory";

/// For the child of this process.
inline std::filesystem::path memory_group() { return memory_groups / ("aiofile-" + std::to_string(::getpid())); }

inline void small_memory(Report& report) {
  const auto group = memory_groups / ("aiofile-" + std::to_string(::getppid()));
  std::ofstream joining(group / "cgroup.procs");
  if (!(joining << ::getpid() << std::flush)) throw std::runtime_error("the memory cgroup cannot be joined");
  serve(report);
  Context context(caio::ContextOptions{.speculate = false});
  context.run(masses(context, report));
}

inline void limited_memory(Report& report, std::size_t more) {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  limit(RLIMIT_AS, pages * page + more);
  serve(report);
}

inline std::vector<Row> rows() {
  std::vector<Row> all;
  const auto add = [&](std::string name, std::string allowed, std::function<void(Report&)> body,
                       std::vector<int> errors = {}) {
    all.push_back({std::move(name), std::move(allowed), std::move(errors), std::move(body)});
  };
  const auto denied = [&](const std::string& name, int error, const std::vector<long>& calls, std::string allowed) {
    add(name, std::move(allowed), [=](Report& report) {
      deny(error, calls);
      serve(report);
    });
  };
  const auto with = [](std::function<void()> restriction) {
    return [restriction = std::move(restriction)](Report& report) {
      restriction();
      serve(report);
    };
  };
  const std::vector<std::pair<std::string, int>> answers{
      {"EPERM", EPERM}, {"ENOSYS", ENOSYS}, {"EACCES", EACCES}, {"ENOMEM", ENOMEM}};

  add("nothing", "uring", [](Report& report) { serve(report); });
  for (const auto& [word, error] : answers) denied("setup-" + word, error, {SYS_io_uring_setup}, "linux");
  for (const auto& [word, error] : answers) denied("enter-" + word, error, {SYS_io_uring_enter}, "linux");
  for (const auto& [word, error] : answers) denied("register-" + word, error, {SYS_io_uring_register}, "uring linux");
  for (const auto& [word, error] : answers) {
    denied("setup-and-io_setup-" + word, error, {SYS_io_uring_setup, SYS_io_setup}, "thread");
  }
  denied("setup-and-io_submit", EPERM, {SYS_io_uring_setup, SYS_io_submit}, "thread");
  denied("setup-and-io_getevents", EPERM, {SYS_io_uring_setup, SYS_io_getevents, SYS_io_pgetevents}, "thread");
  denied("preadv2", ENOSYS, {SYS_preadv2, SYS_pwritev2}, "uring");
  denied("preadv2-and-rings", ENOSYS, {SYS_preadv2, SYS_pwritev2, SYS_io_uring_setup, SYS_io_setup}, "thread");
  add("mid-life-all", "linux", [](Report& report) { mid_life(report, ring_calls); });
  add("mid-life-enter", "linux", [](Report& report) { mid_life(report, {SYS_io_uring_enter}); });
  denied("aio-max-nr", EPERM, {SYS_io_uring_setup}, "thread");
  for (::rlim_t number = 3; number <= 20; ++number) {
    add("files-" + std::to_string(number), "uring linux thread blocking", with([number] {
          check(::close_range(3, ~0U, 0), "close_range");
          limit(RLIMIT_NOFILE, number);
        }),
        {EMFILE});
  }
  for (const ::rlim_t kibibytes : {0U, 16U, 64U}) {
    add("memlock-" + std::to_string(kibibytes) + "K", "uring linux thread", with([kibibytes] {
          limit(RLIMIT_MEMLOCK, kibibytes * 1024);
          become_nobody();
        }));
  }
  for (const std::size_t kibibytes : {0U, 64U, 256U, 1024U, 4096U, 16384U, 262144U}) {
    add("memory-" + std::to_string(kibibytes) + "K", "uring linux thread blocking",
        [kibibytes](Report& report) { limited_memory(report, kibibytes * 1024); }, {ENOMEM});
  }
  const auto no_threads = [] {
    limit(RLIMIT_NPROC, 0);
    become_nobody();
  };
  add("no-threads", "uring linux", with(no_threads));
  add("no-threads-nor-rings", "thread", with([no_threads] {
        no_threads();
        deny(EPERM, {SYS_io_uring_setup, SYS_io_setup});
      }));
  for (const auto& [backend, calls] : std::vector<std::pair<std::string, std::vector<long>>>{
           {"uring", {}}, {"linux", {SYS_io_uring_setup}}, {"thread", {SYS_io_uring_setup, SYS_io_setup}}}) {
    add("size-" + backend, backend, [these = calls](Report& report) {
      deny(EPERM, these);
      limited_size(report);
    });
  }
  add("memory-group", "uring", small_memory);
  return all;
}

}  // namespace starvation
