// slow_fs DIRECTORY MICROSECONDS MOUNTPOINT [FUSE options]: shows a directory whose reads, writes and syncs each take
// that long, past the page cache. Tier T5 compiles it where libfuse3 is.
#define FUSE_USE_VERSION 35
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char* root;
static unsigned delay;

static const char* full(char* memory, const char* path) {
  snprintf(memory, PATH_MAX, "%s%s", root, path);
  return memory;
}
static int outcome(long result) { return result < 0 ? -errno : (int)result; }

static int slow_getattr(const char* path, struct stat* status, struct fuse_file_info* file) {
  char name[PATH_MAX];
  (void)file;
  return outcome(lstat(full(name, path), status));
}
static int slow_create(const char* path, mode_t mode, struct fuse_file_info* file) {
  char name[PATH_MAX];
  const int fd = open(full(name, path), (file->flags & ~O_DIRECT) | O_CLOEXEC, mode);
  if (fd < 0) return -errno;
  file->fh = (uint64_t)fd;
  file->direct_io = 1;
  return 0;
}
static int slow_open(const char* path, struct fuse_file_info* file) { return slow_create(path, 0, file); }
static int slow_read(const char* path, char* memory, size_t size, off_t offset, struct fuse_file_info* file) {
  (void)path;
  usleep(delay);
  return outcome(pread((int)file->fh, memory, size, offset));
}
static int slow_write(const char* path, const char* memory, size_t size, off_t offset, struct fuse_file_info* file) {
  (void)path;
  usleep(delay);
  return outcome(pwrite((int)file->fh, memory, size, offset));
}
static int slow_fsync(const char* path, int data_only, struct fuse_file_info* file) {
  (void)path, (void)data_only, (void)file;
  usleep(delay);
  return 0;
}
static int slow_truncate(const char* path, off_t size, struct fuse_file_info* file) {
  char name[PATH_MAX];
  return outcome(file != NULL ? ftruncate((int)file->fh, size) : truncate(full(name, path), size));
}
static int slow_mknod(const char* path, mode_t mode, dev_t device) {
  char name[PATH_MAX];
  return outcome(mknod(full(name, path), mode, device));
}
static int slow_unlink(const char* path) {
  char name[PATH_MAX];
  return outcome(unlink(full(name, path)));
}
static int slow_release(const char* path, struct fuse_file_info* file) {
  (void)path;
  return outcome(close((int)file->fh));
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  root = argv[1];
  delay = (unsigned)atoi(argv[2]);
  argv[2] = argv[0];
  static const struct fuse_operations operations = {.getattr = slow_getattr,
                                                    .mknod = slow_mknod,
                                                    .unlink = slow_unlink,
                                                    .truncate = slow_truncate,
                                                    .open = slow_open,
                                                    .read = slow_read,
                                                    .write = slow_write,
                                                    .release = slow_release,
                                                    .fsync = slow_fsync,
                                                    .create = slow_create};
  return fuse_main(argc - 2, argv + 2, &operations, NULL);
}
