#pragma once
// The version, the platform, and the only place that reads the build macros.

#include <climits>  // a libc header, so that __GLIBC__ is known below

#define CAIO_VERSION_MAJOR 0
#define CAIO_VERSION_MINOR 1
#define CAIO_VERSION_PATCH 0

#if !defined(__linux__) || !defined(__GLIBC__) || !(defined(__x86_64__) || defined(__aarch64__))
#error "caio and aiofile need Linux with glibc on x86-64 or arm64"
#endif

// Set these to 1 where the headers are compiled, beside -luring and -laio (CMake and pkg-config do).
#ifndef CAIO_WITH_LIBURING
#define CAIO_WITH_LIBURING 0
#endif
#ifndef CAIO_WITH_LIBAIO
#define CAIO_WITH_LIBAIO 0
#endif

/// The file that names the default backend, read when CAIO_IMPL is not set.
#ifndef CAIO_DEFAULT_IMPLEMENTATION_FILE
#define CAIO_DEFAULT_IMPLEMENTATION_FILE "/etc/caio/default_implementation"
#endif

// Part of every symbol's name: units built with other backends must not share inline functions.
#if CAIO_WITH_LIBURING && CAIO_WITH_LIBAIO
#define CAIO_ABI with_uring1_aio1
#elif CAIO_WITH_LIBURING
#define CAIO_ABI with_uring1_aio0
#elif CAIO_WITH_LIBAIO
#define CAIO_ABI with_uring0_aio1
#else
#define CAIO_ABI with_uring0_aio0
#endif
