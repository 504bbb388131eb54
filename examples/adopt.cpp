// Uses a descriptor that is open already: the stream borrows it, so that it stays open and can be used as before.
//   adopt [FILE]
#include <fcntl.h>
#include <unistd.h>

#include <aiofile/aiofile.hpp>
#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>

aiofile::Task<> write_and_read(int fd) {
  aiofile::FileStream stream = co_await aiofile::async_open(fd, "r+");
  co_await stream.write("Hello from a borrowed descriptor\n");
  stream.seek(6);
  const std::string rest = co_await stream.read();
  std::cout << "by the stream: " << rest;
  co_await stream.close();
}

int main(int argc, char** argv) try {
  const std::filesystem::path path = argc > 1 ? argv[1] : "adopt.txt";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) throw aiofile::FileError("open", path, errno);

  aiofile::run(write_and_read(fd));

  // The stream had a position of its own: where the descriptor's is, is for its owner to say.
  std::array<char, 64> buffer;
  const ::ssize_t size = ::lseek(fd, 0, SEEK_SET) < 0 ? -1 : ::read(fd, buffer.data(), buffer.size());
  if (size < 0) throw aiofile::FileError("read", path, errno);
  std::cout << "by read(2): " << std::string_view(buffer.data(), static_cast<std::size_t>(size));
  ::close(fd);
} catch (const std::exception& error) {
  std::fprintf(stderr, "adopt: %s\n", error.what());
  return 1;
}
