// libuv's loop runs everything: a uv_poll_t watches a context's descriptor, a uv_prepare_t hands over what was started
// before the loop sleeps. Hashes files, all at the same time, beside a ticker of libuv's; what it prints before the
// last line is what sha256sum prints.
//   libuv_loop FILE...
#include <openssl/evp.h>
#include <uv.h>

#include <aiofile/aiofile.hpp>
#include <array>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

void check(int status, const char* what) {
  if (status < 0) throw std::runtime_error(std::string(what) + ": " + uv_strerror(status));
}

/// A libuv loop that drives a context, and counts milliseconds beside it.
class UvLoop {
 public:
  explicit UvLoop(caio::Context& context) : context_(&context) {
    check(uv_loop_init(&loop_), "uv_loop_init");
    poll_.data = prepare_.data = timer_.data = this;
    check(uv_poll_init(&loop_, &poll_, context.fileno()), "uv_poll_init");
    check(uv_prepare_init(&loop_, &prepare_), "uv_prepare_init");
    check(uv_timer_init(&loop_, &timer_), "uv_timer_init");
    check(uv_poll_start(&poll_, UV_READABLE, [](uv_poll_t* poll, int, int) { self(poll).context_->poll(); }),
          "uv_poll_start");
    // Where it says "do not sleep", it has made the descriptor readable.
    uv_prepare_start(&prepare_, [](uv_prepare_t* prepare) { self(prepare).context_->flush(); });
    uv_timer_start(
        &timer_, [](uv_timer_t* timer) { ++self(timer).ticks_; }, 1, 1);
  }
  UvLoop(const UvLoop&) = delete;
  UvLoop& operator=(const UvLoop&) = delete;
  ~UvLoop() {
    uv_walk(
        &loop_, [](uv_handle_t* handle, void*) { uv_close(handle, nullptr); }, nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);  // lets go of the handles
    uv_loop_close(&loop_);
  }

  /// Until stop().
  void run() { uv_run(&loop_, UV_RUN_DEFAULT); }
  void stop() { uv_stop(&loop_); }
  std::size_t ticks() const { return ticks_; }

 private:
  template <class Handle>
  static UvLoop& self(Handle* handle) {
    return *static_cast<UvLoop*>(handle->data);
  }

  caio::Context* context_;
  std::size_t ticks_ = 0;
  uv_loop_t loop_;
  uv_poll_t poll_;
  uv_prepare_t prepare_;
  uv_timer_t timer_;
};

aiofile::Task<std::string> sha256(std::filesystem::path path) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(std::move(path), "rb");
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> state(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(state.get(), EVP_sha256(), nullptr);
  aiofile::Reader chunks(file, 0, std::size_t{128} * 1024);
  while (const std::optional<std::string_view> chunk = co_await chunks.next()) {
    EVP_DigestUpdate(state.get(), chunk->data(), chunk->size());
  }
  co_await file.close();
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  EVP_DigestFinal_ex(state.get(), digest.data(), &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    constexpr std::string_view digits = "0123456789abcdef";
    text += digits[digest[i] >> 4];
    text += digits[digest[i] & 15];
  }
  co_return text;
}

aiofile::Task<> hash_all(const std::vector<std::filesystem::path>& paths, std::vector<std::string>& digests,
                         UvLoop& loop) {
  digests = co_await aiofile::gather(paths, sha256);
  loop.stop();
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::fputs("usage: libuv_loop FILE...\n", stderr);
    return 2;
  }
  const std::vector<std::filesystem::path> paths(argv + 1, argv + argc);
  std::vector<std::string> digests;
  std::exception_ptr failure;
  caio::Context context;
  UvLoop loop(context);
  context.spawn(hash_all(paths, digests, loop), [&](const std::exception_ptr& error) {
    failure = error;
    loop.stop();
  });
  loop.run();
  if (failure) std::rethrow_exception(failure);
  for (std::size_t i = 0; i < paths.size(); ++i) std::cout << digests[i] << "  " << paths[i].string() << "\n";
  std::cout << "by " << caio::name(context.implementation()) << " under libuv, beside " << loop.ticks() << " ticks\n";
} catch (const std::exception& error) {
  std::fprintf(stderr, "libuv_loop: %s\n", error.what());
  return 1;
}
