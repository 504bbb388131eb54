#pragma once
/// aiofile::os: the functions of Python's os and os.path that ask the file system, as awaitables.
///
/// All are lazy, and take paths by value; the last parameter of most is an os::At, a directory in which relative paths
/// begin. Errors are FileError with path and errno; wrong arguments are std::invalid_argument, thrown by the call.
///
/// Where they run. Metadata is mostly cached, and then the calls take a microsecond or a few, but nobody can say so
/// beforehand: a thread has to be ready for those that read a disk or ask a server.
///  - stat(), lstat(), exists(), is_file(), is_dir(), is_link(), get_*(): in place when speculation is on and the
///    kernel can tell from its caches alone (os/stat.hpp), in 2.5 times the time of a plain statx(2); else on the pool,
///    in 17 times one at a time, in twice 32 at a time.
///  - stat() and same_open_file() of open files, getcwd(), abspath(): in place.
///  - All else on the pool, one hand-over for each, however many system calls it makes. io_uring knows some of them
///    (statx, renameat, unlinkat, mkdirat, linkat, symlinkat; Linux 5.6 to 5.15), but gives each to a kernel thread of
///    its own: one at a time that took 0.65 to 2 times as long as the pool, 32 statx at once half as long. That is not
///    worth a second way, whose set of calls depends on the kernel (docs/performance.md).
///  - Long work on open files (allocate(), punch_hole(), advise(), copy_file_range(), sendfile()): on the pool, in
///    pieces of about a millisecond, so that a stop has an effect and others have their turn.
/// On the blocking backend all of it but the last runs in place. Measured on Linux 6.18, ext4, two cores.

#include <aiofile/os/at.hpp>
#include <aiofile/os/directories.hpp>
#include <aiofile/os/file_system.hpp>
#include <aiofile/os/names.hpp>
#include <aiofile/os/open_file.hpp>
#include <aiofile/os/path.hpp>
#include <aiofile/os/scandir.hpp>
#include <aiofile/os/space.hpp>
#include <aiofile/os/stat.hpp>
#include <aiofile/os/transfer.hpp>
#include <aiofile/os/walk.hpp>
