#include "support/allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> count{0};
std::atomic<std::size_t> live{0};
std::atomic<bool> failing{false};
std::atomic<std::size_t> asked{0};
std::atomic<std::size_t> failed{0};
std::size_t first_to_fail = 0;
std::size_t period_of_failures = 0;

}  // namespace

namespace support {

std::size_t allocations() noexcept { return count.load(); }
std::size_t live_allocations() noexcept { return live.load(); }
std::size_t failed_allocations() noexcept { return failed.load(); }

void fail_allocations(std::size_t first, std::size_t period) noexcept {
  first_to_fail = first;
  period_of_failures = period;
  asked = failed = 0;
  failing = true;
}
void allow_allocations() noexcept { failing = false; }

}  // namespace support

#if AIOFILE_COUNTS_ALLOCATIONS

namespace {

bool refuses() noexcept {
  if (!failing.load()) return false;
  const std::size_t number = asked.fetch_add(1) + 1;
  const std::size_t behind = number - first_to_fail;
  if (number < first_to_fail || (behind > 0 && (period_of_failures == 0 || behind % period_of_failures != 0))) {
    return false;
  }
  failed.fetch_add(1);
  return true;
}

void* allocate(std::size_t size, std::size_t alignment) noexcept {
  count.fetch_add(1, std::memory_order_relaxed);
  if (refuses()) return nullptr;
  if (size == 0) size = 1;
  void* const memory = alignment == 0 ? std::malloc(size)
                                      : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory != nullptr) live.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
  if (void* const memory = allocate(size, alignment)) return memory;
  throw std::bad_alloc();
}

void release(void* memory) noexcept {
  if (memory != nullptr) live.fetch_sub(1, std::memory_order_relaxed);
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) { return allocate_or_throw(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, 0); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { release(memory); }

#endif
