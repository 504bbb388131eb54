// Counts what asks for memory in this process, whoever it is: the C library's entries replaced by the program's own.

#include <atomic>
#include <cerrno>
#include <cstddef>

#include "bench.hpp"

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
}

namespace {

std::atomic<std::uint64_t> count{0};

void counted() noexcept { count.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

extern "C" {

void* malloc(std::size_t size) {
  counted();
  return __libc_malloc(size);
}

void* calloc(std::size_t number, std::size_t size) {
  counted();
  return __libc_calloc(number, size);
}

void* realloc(void* memory, std::size_t size) {
  counted();
  return __libc_realloc(memory, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) {
  counted();
  return __libc_memalign(alignment, size);
}

void* memalign(std::size_t alignment, std::size_t size) {
  counted();
  return __libc_memalign(alignment, size);
}

int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  counted();
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
}

std::uint64_t bench::allocations() noexcept { return count.load(std::memory_order_relaxed); }
