#pragma once
// For starved.cpp: what has to work in a process that lacks something.

#include <fcntl.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "torture/starved_limits.hpp"

namespace starvation {

struct Unmap {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<std::byte[], Unmap>;
inline Memory new_memory(std::size_t size) {
  auto* const memory = static_cast<std::byte*>(std::aligned_alloc(page, size));
  if (memory == nullptr) throw std::bad_alloc();
  return Memory(memory);
}

inline aiofile::OpenOptions options_for(Context& context, int flags = 0) {
  aiofile::OpenOptions options;
  options.context = &context;
  options.flags = flags;
  return options;
}

inline Task<> lines(Context& context, Report& report) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "line " + std::to_string(i) + "\n";
  aiofile::FileStream file = co_await aiofile::async_open("lines.txt", "w+", options_for(context));
  const std::size_t written = co_await file.write(text);
  co_await file.fsync();
  file.seek(0);
  const std::string back = co_await file.read();
  if (written != text.size() || back != text) report.breaks("what was written and read back");
  file.seek(0);
  std::string joined;
  aiofile::LineReader each = file.lines();
  for (;;) {
    const auto line = co_await each.next();
    if (!line) break;
    joined += *line;
  }
  if (joined != text) report.breaks("the lines");
  co_await file.close();
}

/// 200 writes at once, then as many reads.
inline Task<> many(Context& context, Report& report, int flags) {
  constexpr std::size_t count = 200;
  const Memory written = new_memory(count * page);
  const Memory read = new_memory(count * page);
  for (std::size_t i = 0; i < count * page; ++i) written[i] = static_cast<std::byte>(i / page + i);
  aiofile::AIOFile file("pages.bin", "w+b", options_for(context, flags));
  co_await file.open();
  std::vector<std::size_t> offsets;
  for (std::size_t i = 0; i < count; ++i) offsets.push_back(i * 7 % count * page);
  const auto writes = co_await aiofile::gather(offsets, [&](std::size_t offset) {
    return file.write_bytes(std::span<const std::byte>(written.get() + offset, page), offset);
  });
  co_await file.fsync();
  const auto reads = co_await aiofile::gather(
      offsets, [&](std::size_t offset) { return file.read_into(std::span(read.get() + offset, page), offset); });
  for (std::size_t i = 0; i < count; ++i) {
    if (writes[i] != page || reads[i] != page) report.breaks("a count of 200 operations at once");
  }
  if (std::memcmp(written.get(), read.get(), count * page) != 0) report.breaks("the bytes of 200 operations at once");
  co_await file.truncate(page);
  const std::uint64_t size = co_await file.size();
  if (size != page) report.breaks("truncate and size");
  co_await file.close();
}

inline Task<> write_late(Context& context, int fd) {
  co_await context.sleep_for(std::chrono::milliseconds(1));
  const std::string_view text = "through";
  co_await context.write(fd, std::as_bytes(std::span(text)), -1);
}
inline Task<std::string> read_some(Context& context, int fd) {
  std::string text(100, '?');
  const std::size_t count = co_await context.read(fd, std::as_writable_bytes(std::span(text)), -1);
  text.resize(count);
  co_return text;
}
inline Task<> stop_late(Context& context, std::stop_source& source) {
  co_await context.sleep_for(std::chrono::milliseconds(1));
  source.request_stop();
}
inline Task<> pipes(Context& context, Report& report) {
  int ends[2];
  check(::pipe2(ends, O_CLOEXEC), "pipe");
  const auto [text] = co_await aiofile::gather(read_some(context, ends[0]), write_late(context, ends[1]));
  if (text != "through") report.breaks("what went through a pipe");
  std::stop_source source;
  const auto [stopped] =
      co_await aiofile::gather(aiofile::as_result(aiofile::with_stop(source.get_token(), read_some(context, ends[0]))),
                               stop_late(context, source));
  if (stopped.error() != std::errc::operation_canceled) report.breaks("a read that was cancelled");
  for (const int end : ends) ::close(end);
}

inline Task<> everything(Context& context, Report& report) {
  co_await lines(context, report);
  co_await pipes(context, report);
  co_await many(context, report, 0);
  co_await many(context, report, O_DIRECT);
  const int answer = co_await context.offload([] { return 42; });
  if (answer != 42) report.breaks("offload");
}

inline void serve(Context& context, Report& report) {
  Report::say(report.served, sizeof report.served, std::string(caio::name(context.implementation())));
  Report::say(report.reasons, sizeof report.reasons, context.explain());
  context.run(everything(context, report));
}

inline void serve(Report& report) {
  for (const bool speculate : {false, true}) {
    caio::ContextOptions options;
    options.speculate = speculate;
    Context context(options);
    serve(context, report);
  }
}

}  // namespace starvation
