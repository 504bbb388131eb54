// What a program gets that defines no macro and links no library. Gives 0 when all is well.

#include <unistd.h>
#include <aiofile/aiofile.hpp>
#include <caio/caio.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

int failures = 0;

void expect(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "without_backends: %s\n", what);
  ++failures;
}

caio::Task<std::string> round_trip(caio::Context& context, std::string path) {
  aiofile::AIOFile file = co_await aiofile::AIOFile(path, "w+", {.context = &context});
  co_await file.write("hello world");
  co_await file.fsync();
  std::string text = co_await file.read(5, 6);
  co_await file.close();
  co_return text;
}

}  // namespace

int main() {
  using caio::Implementation;
  ::unsetenv("CAIO_IMPL");
  expect(caio::available() == std::vector{Implementation::thread, Implementation::blocking}, "available()");
  expect(caio::why_unavailable(Implementation::thread).empty(), "thread is there");
  const std::string uring = caio::why_unavailable(Implementation::uring);
  expect(uring.find("-DCAIO_WITH_LIBURING=1 -luring") != std::string::npos, "the flags for io_uring");
  const std::string linux_aio = caio::why_unavailable(Implementation::linux_aio);
  expect(linux_aio.find("-DCAIO_WITH_LIBAIO=1 -laio") != std::string::npos, "the flags for libaio");

  bool refused = false;
  try {
    const caio::Context context(Implementation::uring);
  } catch (const std::system_error& error) {
    refused = error.code().value() == ENOSYS;
  }
  expect(refused, "a Context that asks for io_uring");

  const char* const directory = std::getenv("AIOFILE_TEST_DIR");
  const std::string path =
      std::string(directory == nullptr ? "." : directory) + "/without-backends-" + std::to_string(::getpid());
  for (const Implementation implementation : caio::available()) {
    for (const bool speculate : {true, false}) {
      caio::Context context(implementation, {.speculate = speculate});
      expect(context.run(round_trip(context, path)) == "world", "a round trip");
    }
  }
  ::unlink(path.c_str());
  return failures == 0 ? 0 : 1;
}
