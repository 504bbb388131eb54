#pragma once
// Catch2 of either major version.

#include <cstdint>

#if AIOFILE_CATCH_MAJOR >= 3
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

/// Checks what `awaitable` yields. CHECK(co_await ...) would not do: CHECK names its expression again where it is not
/// to be evaluated, and g++-12 awaits it there, too.
#define CHECK_YIELDS(awaitable, wanted)        \
  do {                                         \
    const auto yielded = co_await (awaitable); \
    CHECK(yielded == (wanted));                \
  } while (false)
