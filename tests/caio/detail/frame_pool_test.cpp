#include <caio/detail/frame_pool.hpp>

#include <cstddef>
#include <thread>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"

using caio::detail::FramePool;
using caio::detail::recycles_frames;

namespace {

/// In a thread of its own, whose lists are empty.
template <class Function>
void with_an_empty_pool(Function function) {
  std::thread(function).join();
}

std::vector<void*> allocate(std::size_t count, std::size_t size) {
  std::vector<void*> frames(count);
  for (void*& frame : frames) frame = FramePool::allocate(size);
  return frames;
}

void release(const std::vector<void*>& frames, std::size_t size) {
  for (void* const frame : frames) FramePool::release(frame, size);
}

/// Lives longer than the thread's pool when it was made before that was used.
struct Late {
  std::size_t* allocations = nullptr;
  ~Late() {
    if (allocations == nullptr) return;
    const std::size_t before = support::allocations();
    for (int i = 0; i < 10; ++i) FramePool::release(FramePool::allocate(100), 100);
    *allocations = support::allocations() - before;
  }
};

}  // namespace

TEST_CASE("FramePool: gives frames that do not overlap") {
  with_an_empty_pool([] {
    for (const std::size_t size : {1U, 63U, 64U, 65U, 2048U, 2049U, 10'000U}) {
      const std::vector<void*> frames = allocate(10, size);
      for (std::size_t i = 0; i < frames.size(); ++i) {
        for (std::size_t k = 0; k < size; ++k)
          static_cast<unsigned char*>(frames[i])[k] = static_cast<unsigned char>(i);
      }
      for (std::size_t i = 0; i < frames.size(); ++i) {
        CHECK(static_cast<unsigned char*>(frames[i])[0] == i);
        CHECK(static_cast<unsigned char*>(frames[i])[size - 1] == i);
      }
      release(frames, size);
    }
  });
}

TEST_CASE("FramePool: gives a released frame again, to sizes of the same 64 bytes") {
  if (!recycles_frames) return;
  with_an_empty_pool([] {
    void* const frame = FramePool::allocate(100);
    FramePool::release(frame, 100);
    void* const same = FramePool::allocate(128);
    CHECK(same == frame);
    FramePool::release(same, 128);
    void* const smaller = FramePool::allocate(64);
    CHECK(smaller != frame);
    FramePool::release(smaller, 64);
  });
}

TEST_CASE("FramePool: a steady state allocates nothing") {
  if (!recycles_frames) return;
  with_an_empty_pool([] {
    std::vector<void*> frames = allocate(100, 300);
    release(frames, 300);
    const std::size_t before = support::allocations();
    for (int round = 0; round < 10; ++round) {
      for (void*& frame : frames) frame = FramePool::allocate(300);
      release(frames, 300);
    }
    CHECK(support::allocations() == before);
  });
}

TEST_CASE("FramePool: keeps 256 frames of a size, no more") {
  if (!recycles_frames) return;
  with_an_empty_pool([] {
    std::vector<void*> frames = allocate(300, 200);
    release(frames, 200);
    const std::size_t before = support::allocations();
    for (void*& frame : frames) frame = FramePool::allocate(200);
    CHECK(support::allocations() - before == 44);
    release(frames, 200);
  });
}

TEST_CASE("FramePool: keeps frames up to 2 KiB, no larger ones") {
  if (!recycles_frames) return;
  with_an_empty_pool([] {
    for (const std::size_t size : {2048U, 2049U}) {
      FramePool::release(FramePool::allocate(size), size);
      const std::size_t before = support::allocations();
      FramePool::release(FramePool::allocate(size), size);
      CHECK(support::allocations() - before == (size > 2048 ? 1 : 0));
    }
  });
}

TEST_CASE("FramePool: keeps nothing under sanitizers, who must see frames freed") {
  if (!support::counts_allocations) return;
  if (recycles_frames) return;
  const std::size_t before = support::allocations();
  for (int i = 0; i < 3; ++i) FramePool::release(FramePool::allocate(100), 100);
  CHECK(support::allocations() - before == 3);
}

TEST_CASE("FramePool: a frame released on another thread is recycled there") {
  if (!recycles_frames) return;
  void* const frame = FramePool::allocate(500);
  with_an_empty_pool([frame] {
    FramePool::release(frame, 500);
    void* const same = FramePool::allocate(500);
    CHECK(same == frame);
    FramePool::release(same, 500);
  });
}

TEST_CASE("FramePool: threads do not disturb each other") {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int round = 0; round < 1000; ++round) {
        const std::vector<void*> frames = allocate(10, 150);
        for (void* const frame : frames) *static_cast<void**>(frame) = frame;
        release(frames, 150);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("FramePool: frames come and go after the thread's pool has ended, and none is kept") {
  if (!support::counts_allocations) return;
  std::size_t allocations = 0;
  with_an_empty_pool([&allocations] {
    static thread_local Late late;
    late.allocations = &allocations;
    FramePool::release(FramePool::allocate(100), 100);
  });
  CHECK(allocations == 10);
}
