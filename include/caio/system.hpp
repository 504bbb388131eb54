#pragma once
// Every system call that moves data or makes a descriptor goes through this table, so that a test can replace it.
// The calls of liburing and libaio have tables of their own beside the one backend that knows their types.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdint>

#include <caio/config.hpp>

namespace caio::inline CAIO_ABI {

/// What openat2(2) takes; its header came with Linux 5.6.
struct OpenHow {
  std::uint64_t flags = 0;
  std::uint64_t mode = 0;
  std::uint64_t resolve = 0;
};

/// The members are what their names are in the manual, section 2. Replace them only while no other thread is inside.
struct SystemCalls {
  int (*open)(const char*, int, ::mode_t) = [](const char* path, int flags, ::mode_t mode) {
    return ::open(path, flags, mode);
  };
  int (*openat2)(int, const char*, const OpenHow*) = [](int directory, const char* path, const OpenHow* how) {
    constexpr long number = 437;  // on every architecture
    return static_cast<int>(::syscall(number, directory, path, how, sizeof *how));
  };
  int (*close)(int) = ::close;
  ::ssize_t (*read)(int, void*, std::size_t) = ::read;
  ::ssize_t (*write)(int, const void*, std::size_t) = ::write;
  ::ssize_t (*pread)(int, void*, std::size_t, ::off_t) = ::pread;
  ::ssize_t (*pwrite)(int, const void*, std::size_t, ::off_t) = ::pwrite;
  ::ssize_t (*preadv2)(int, const ::iovec*, int, ::off_t, int) = ::preadv2;
  ::ssize_t (*pwritev2)(int, const ::iovec*, int, ::off_t, int) = ::pwritev2;
  int (*fsync)(int) = ::fsync;
  int (*fdatasync)(int) = ::fdatasync;
  int (*ftruncate)(int, ::off_t) = ::ftruncate;
  int (*fstat)(int, struct ::stat*) = ::fstat;
  int (*poll)(::pollfd*, ::nfds_t, int) = ::poll;
  int (*ppoll)(::pollfd*, ::nfds_t, const ::timespec*, const ::sigset_t*) = ::ppoll;
  int (*epoll_create)(int) = ::epoll_create1;
  int (*eventfd)(unsigned, int) = ::eventfd;
  int (*inotify_init)(int) = ::inotify_init1;
  int (*inotify_add_watch)(int, const char*, std::uint32_t) = ::inotify_add_watch;
  int (*memfd_create)(const char*, unsigned) = ::memfd_create;
};

inline constinit SystemCalls system_calls{};

}  // namespace caio::inline CAIO_ABI
