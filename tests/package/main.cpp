// What every consumer builds: a file written and read back, by offset and as a stream, and the backend's name.

#include <cstdio>
#include <string>

#include <aiofile/aiofile.hpp>

namespace {

aiofile::Task<bool> round_trip() {
  const std::string text = "written by a consumer\n";
  aiofile::AIOFile file("consumer.txt", "w+");
  co_await file.open();
  co_await file.write(text);
  const std::string found = co_await file.read();
  co_await file.close();

  aiofile::FileStream stream = co_await aiofile::async_open("consumer.txt", "r+", {.encoding = "latin-1"});
  const std::string line = co_await stream.readline();
  co_await stream.write("\u00e9");
  co_await stream.close();
  co_return found == text&& line == text;
}

}  // namespace

int main() {
  const bool same = aiofile::run(round_trip());
  std::puts(std::string(caio::name(caio::Context::current().implementation())).c_str());
  return same ? 0 : 1;
}
