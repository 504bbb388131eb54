#pragma once
// What file-like things have in common, so that code written for a file can be tested without one.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <aiofile/whence.hpp>
#include <caio/config.hpp>
#include <caio/detail/awaitable.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

template <class A, class T>
concept Yields = caio::detail::Awaitable<A> && std::convertible_to<caio::detail::AwaitResult<A>, T>;

/// Becomes any integer that is as wide as an offset, and none that is narrower, as flags are.
struct AnyOffset {
  template <std::integral Integer>
  requires(sizeof(Integer) == sizeof(std::uint64_t)) operator Integer() const;  // NOLINT(google-explicit-constructor)
};

}  // namespace detail

/// Is read from front to back: FileStream, MemoryFile, IostreamFile, or a class of the user's own.
///
/// `read_into(std::span<std::byte>)` yields how many bytes it has put there (std::size_t): one at least, unless the end
/// has come or the span is empty. Reader and LineReader make chunks and lines of it. What takes an offset, an
/// integer of 64 bits behind the span, as AIOFile does, is not meant: it would read its first bytes for ever.
template <class File>
concept AsyncReadable = requires(File& file, std::span<std::byte> memory) {
  { file.read_into(memory) } -> detail::Yields<std::size_t>;
}
&&!requires(File & file, std::span<std::byte> memory, detail::AnyOffset offset) { file.read_into(memory, offset); };

/// Is written from front to back.
///
/// `write(std::string_view)` writes all of it or throws; `flush()` brings what the object has gathered to where it
/// belongs. What they yield is up to them. With an offset: as above.
template <class File>
concept AsyncWritable = requires(File& file, std::string_view text) {
  { file.write(text) } -> caio::detail::Awaitable;
  { file.flush() } -> caio::detail::Awaitable;
}
&&!requires(File & file, std::string_view text, detail::AnyOffset offset) { file.write(text, offset); };

/// Has a position in bytes that can be changed: `seek(offset, Whence)` yields the new one, `tell()` gives it.
template <class File>
concept AsyncSeekable = requires(File& file, std::int64_t offset) {
  { file.seek(offset, Whence::set) } -> detail::Yields<std::uint64_t>;
  { file.tell() } -> std::convertible_to<std::uint64_t>;
};

}  // namespace aiofile::inline CAIO_ABI
