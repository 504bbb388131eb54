// Boost.Asio's io_context runs everything: it drives a context by its descriptor, and Asio's coroutines await tasks of
// ours. Counts the lines and bytes of files, all at the same time, beside a ticker of Asio's; what it prints before the
// last line is what `wc -lc` counts.
//   asio_loop FILE...
#include <aiofile/aiofile.hpp>
#include <algorithm>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;

/// While it lives, the io_context drives the context, and does not end by itself.
class AsioDriver {
 public:
  AsioDriver(asio::io_context& loop, caio::Context& context) : context_(&context), descriptor_(loop, context.fileno()) {
    wait();
  }
  AsioDriver(const AsioDriver&) = delete;
  AsioDriver& operator=(const AsioDriver&) = delete;
  ~AsioDriver() { descriptor_.release(); }  // the context closes it

 private:
  void wait() {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
      if (error) return;
      context_->poll();  // hands over what was started, too: Asio has no place for flush(), and needs none
      wait();
    });
  }

  caio::Context* context_;
  asio::posix::stream_descriptor descriptor_;
};

template <class T, class Handler>
caio::Task<> run_and_tell(caio::Task<T> task, Handler handler) {
  std::exception_ptr error;
  std::optional<T> value;
  try {
    value = co_await std::move(task);
  } catch (...) {
    error = std::current_exception();
  }
  // Not inside poll(), but in a turn of Asio's.
  const auto executor = asio::get_associated_executor(handler);
  asio::post(executor, [handler = std::move(handler), error, value = std::move(value)]() mutable {
    std::move(handler)(error, value ? std::move(*value) : T());
  });
}

/// Runs a task on the context; whatever the completion token stands for gets the value or the exception.
template <class T, class Token = asio::use_awaitable_t<>>
auto async_run(caio::Context& context, caio::Task<T> task, Token token = {}) {
  return asio::async_initiate<Token, void(std::exception_ptr, T)>(
      [&context](auto handler, caio::Task<T> started) {
        context.spawn(run_and_tell(std::move(started), std::move(handler)));
      },
      token, std::move(task));
}

struct Counts {
  std::size_t lines = 0;
  std::size_t bytes = 0;
};

caio::Task<Counts> count(std::filesystem::path path) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(std::move(path), "rb");
  aiofile::Reader chunks(file, 0, std::size_t{128} * 1024);
  Counts counts;
  while (const std::optional<std::string_view> chunk = co_await chunks.next()) {
    counts.lines += static_cast<std::size_t>(std::count(chunk->begin(), chunk->end(), '\n'));
    counts.bytes += chunk->size();
  }
  co_await file.close();
  co_return counts;
}

asio::awaitable<Counts> count_in_asio(caio::Context& context, std::filesystem::path path) {
  Counts counts = co_await async_run(context, count(std::move(path)));
  co_return counts;
}

asio::awaitable<void> tick(asio::steady_timer& timer, std::size_t& ticks) {
  for (;; ++ticks) {
    timer.expires_after(std::chrono::milliseconds(1));
    co_await timer.async_wait(asio::use_awaitable);
  }
}

void count_all(const std::vector<std::filesystem::path>& paths) {
  asio::io_context loop(1);
  caio::Context context;
  const AsioDriver driver(loop, context);
  asio::steady_timer timer(loop);
  std::size_t ticks = 0;
  asio::co_spawn(loop, tick(timer, ticks), [](const std::exception_ptr&) {});

  std::vector<Counts> counts(paths.size());
  std::exception_ptr failure;
  std::size_t left = paths.size();
  for (std::size_t i = 0; i < paths.size(); ++i) {
    asio::co_spawn(loop, count_in_asio(context, paths[i]), [&, i](const std::exception_ptr& error, Counts result) {
      counts[i] = result;
      if (error) failure = error;
      if (--left == 0) loop.stop();
    });
  }
  loop.run();
  if (failure) std::rethrow_exception(failure);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    std::cout << counts[i].lines << " " << counts[i].bytes << " " << paths[i].string() << "\n";
  }
  std::cout << "by " << caio::name(context.implementation()) << " under Asio, beside " << ticks << " ticks\n";
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::fputs("usage: asio_loop FILE...\n", stderr);
    return 2;
  }
  count_all({argv + 1, argv + argc});
} catch (const std::exception& error) {
  std::fprintf(stderr, "asio_loop: %s\n", error.what());
  return 1;
}
