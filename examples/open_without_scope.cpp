// Opens and closes a file by open() and close(), where its life does not follow a scope.
//   open_without_scope [FILE]
#include <aiofile/aiofile.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>

class Journal {
 public:
  explicit Journal(std::filesystem::path path) : file_(std::move(path), "w+") {}

  aiofile::Task<> start() { co_await file_.open(); }

  aiofile::Task<> use() {
    co_await aiofile::gather(file_.write("Hello ", 0), file_.write("world\n", 6));
    co_await file_.fsync();
    const std::string text = co_await file_.read();
    std::cout << text;
  }

  aiofile::Task<> stop() { co_await file_.close(); }

  bool closed() const { return file_.closed(); }

 private:
  aiofile::AIOFile file_;
};

int main(int argc, char** argv) try {
  Journal journal(argc > 1 ? argv[1] : "open_without_scope.txt");
  aiofile::run(journal.start());
  aiofile::run(journal.use());
  aiofile::run(journal.stop());
  std::cout << (journal.closed() ? "closed\n" : "still open\n");
} catch (const std::exception& error) {
  std::fprintf(stderr, "open_without_scope: %s\n", error.what());
  return 1;
}
