#pragma once
// Coroutine frames are recycled per thread: a child task then costs no malloc.

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>

#include <caio/config.hpp>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAIO_RECYCLES_FRAMES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define CAIO_RECYCLES_FRAMES 0
#endif
#endif
#ifndef CAIO_RECYCLES_FRAMES
#define CAIO_RECYCLES_FRAMES 1
#endif

namespace caio::inline CAIO_ABI::detail {

/// Sanitizers must see frames freed, or a use after free would go unseen.
inline constexpr bool recycles_frames = CAIO_RECYCLES_FRAMES != 0;

class FramePool {
 public:
  static void* allocate(std::size_t size) {
    const std::size_t bin = (size - 1) / granule;
    if (!recycles_frames || bin >= bins) return ::operator new(size);
    Frame*& top = free_.top[bin];
    if (top == nullptr) return ::operator new((bin + 1) * granule);
    Frame* const frame = top;
    top = frame->next;
    --free_.count[bin];
    return frame;
  }

  static void release(void* memory, std::size_t size) noexcept {
    const std::size_t bin = (size - 1) / granule;
    if (!recycles_frames || bin >= bins || free_.count[bin] >= most_per_bin || !alive()) {
      ::operator delete(memory);
      return;
    }
    free_.top[bin] = ::new (memory) Frame{free_.top[bin]};
    ++free_.count[bin];
  }

 private:
  static constexpr std::size_t granule = 64;
  static constexpr std::size_t bins = 32;             // frames up to 2 KiB
  static constexpr std::uint16_t most_per_bin = 256;  // a burst's frames are not hoarded

  struct Frame {
    Frame* next;
  };
  enum class Life : std::uint8_t { unused, used, over };
  struct Free {
    std::array<Frame*, bins> top;
    std::array<std::uint16_t, bins> count;
    Life life;
  };
  struct Janitor {
    ~Janitor() {
      for (Frame* frame : free_.top) {
        while (frame != nullptr) {
          Frame* const next = frame->next;
          ::operator delete(frame);
          frame = next;
        }
      }
      free_ = {};
      free_.life = Life::over;  // frames of static objects still come and go after this
    }
  };

  static bool alive() noexcept {
    if (free_.life == Life::unused) {
      // Apart from the lists, which stay trivial: their access needs no guard.
      static thread_local Janitor janitor;
      static_cast<void>(&janitor);
      free_.life = Life::used;
    }
    return free_.life == Life::used;
  }

  static inline thread_local constinit Free free_{};
};

/// Base of promise types whose frames are recycled.
struct RecycledFrame {
  static void* operator new(std::size_t size) { return FramePool::allocate(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { FramePool::release(memory, size); }
};

}  // namespace caio::inline CAIO_ABI::detail
