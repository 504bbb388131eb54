#pragma once
// What O_DIRECT demands of offsets, lengths and addresses, and memory that satisfies it.

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <stdexcept>
#include <utility>

#include <caio/config.hpp>
#include <caio/descriptor.hpp>

namespace aiofile::inline CAIO_ABI {

/// What transfers on a file have to be multiples of, in bytes: powers of two. {1, 1}: anything goes.
struct Alignment {
  std::size_t memory = 1;  ///< the address
  std::size_t offset = 1;  ///< the offset in the file, and the length
};

/// Memory for O_DIRECT: owned, aligned, all zeros at first. Move-only; what was moved from is empty.
class AlignedBuffer {
 public:
  /// An alignment that every device takes whose file system does not say otherwise.
  static constexpr std::size_t usual_alignment = 4096;

  AlignedBuffer() = default;
  /// `size` bytes. std::invalid_argument: an alignment that is no power of two; std::bad_alloc.
  explicit AlignedBuffer(std::size_t size, std::size_t alignment = usual_alignment)
      : memory_(allocate(size, alignment)), size_(size), alignment_(alignment) {}
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        alignment_(std::exchange(other.alignment_, 1)) {}
  AlignedBuffer& operator=(AlignedBuffer other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    std::swap(alignment_, other.alignment_);
    return *this;
  }
  ~AlignedBuffer() { ::operator delete(memory_, std::align_val_t(alignment_)); }

  [[nodiscard]] std::byte* data() noexcept { return memory_; }
  [[nodiscard]] const std::byte* data() const noexcept { return memory_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::span<std::byte> span() noexcept { return {memory_, size_}; }
  [[nodiscard]] std::span<const std::byte> span() const noexcept { return {memory_, size_}; }
  /// That it was made with; 1 when there is no memory.
  [[nodiscard]] std::size_t alignment() const noexcept { return alignment_; }

 private:
  static std::byte* allocate(std::size_t size, std::size_t alignment) {
    if (!std::has_single_bit(alignment)) {
      throw std::invalid_argument("aiofile::AlignedBuffer: an alignment that is no power of two");
    }
    void* const memory = ::operator new(size, std::align_val_t(alignment));
    return static_cast<std::byte*>(std::memset(memory, 0, size));
  }

  std::byte* memory_ = nullptr;
  std::size_t size_ = 0;
  std::size_t alignment_ = 1;
};

namespace detail {

/// The system calls that find the alignment; a test can replace them.
struct AlignmentCalls {
  int (*statx)(int, const char*, int, unsigned, struct ::statx*) = ::statx;
  int (*logical_block_size)(int, int*) = [](int fd, int* size) {
    constexpr unsigned long request = 0x1268;  // BLKSSZGET of <linux/fs.h>, whose macros have common names
    return ::ioctl(fd, request, size);
  };
};

inline constinit AlignmentCalls alignment_calls{};

/// What O_DIRECT demands on an open regular file or block device, as statx(2) says (Linux 6.1); else, for a device its
/// logical block size, for a file 4096: no device's blocks were larger before. Blocks for no longer than fstat(2).
inline Alignment direct_alignment(const caio::Descriptor& descriptor) noexcept {
  // Older headers have neither the constant nor the two members.
  constexpr unsigned wanted = 0x2000;      // STATX_DIOALIGN
  constexpr std::size_t at_memory = 0x98;  // stx_dio_mem_align, and stx_dio_offset_align behind it
  static_assert(sizeof(struct ::statx) == 0x100);
  struct ::statx status {};
  if (alignment_calls.statx(descriptor.fileno(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, wanted, &status) == 0 &&
      (status.stx_mask & wanted) != 0) {
    std::array<std::uint32_t, 2> found{};
    std::memcpy(found.data(), reinterpret_cast<const std::byte*>(&status) + at_memory, sizeof found);
    const auto [memory, offset] = found;
    if (memory == 0 || offset == 0) return {};  // O_DIRECT has no effect on this file: it is buffered all the same
    if (std::has_single_bit(memory) && std::has_single_bit(offset)) return {memory, offset};
  }
  int size = 0;
  if (descriptor.kind() == caio::Descriptor::Kind::block &&
      alignment_calls.logical_block_size(descriptor.fileno(), &size) == 0 && size > 0) {
    return {static_cast<std::size_t>(size), static_cast<std::size_t>(size)};
  }
  return {AlignedBuffer::usual_alignment, AlignedBuffer::usual_alignment};
}

}  // namespace detail

}  // namespace aiofile::inline CAIO_ABI
