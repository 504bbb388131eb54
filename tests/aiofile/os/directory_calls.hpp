#pragma once
// Replaced system calls that read directories.

#include <aiofile/os/open_directory.hpp>

#include <cstring>
#include <initializer_list>
#include <string_view>

namespace support {

/// Puts the calls back at its end.
class ReplacedDirectoryCalls {
 public:
  ReplacedDirectoryCalls() = default;
  ~ReplacedDirectoryCalls() { aiofile::detail::directory_calls = aiofile::detail::DirectoryCalls(); }
  ReplacedDirectoryCalls(const ReplacedDirectoryCalls&) = delete;
  ReplacedDirectoryCalls& operator=(const ReplacedDirectoryCalls&) = delete;
  aiofile::detail::DirectoryCalls* operator->() const { return &aiofile::detail::directory_calls; }
};

/// What getdents64 would give for an entry; the bytes it takes.
inline std::size_t put_record(void* buffer, std::string_view name, unsigned char type) {
  ::dirent64 record{};
  record.d_ino = 1;
  record.d_type = type;
  record.d_reclen = static_cast<unsigned short>((offsetof(::dirent64, d_name) + name.size() + 1 + 7) / 8 * 8);
  name.copy(record.d_name, name.size());
  std::memcpy(buffer, &record, record.d_reclen);
  return record.d_reclen;
}

/// getdents64, but that no entry has a type.
inline ::ssize_t getdents_without_types(int fd, void* buffer, std::size_t size) {
  const ::ssize_t count = ::getdents64(fd, buffer, size);
  for (::ssize_t i = 0; i < count;) {
    auto* const record = reinterpret_cast<::dirent64*>(static_cast<char*>(buffer) + i);
    record->d_type = DT_UNKNOWN;
    i += record->d_reclen;
  }
  return count;
}

}  // namespace support
