#pragma once
// What the file layer throws.

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

/// A failed operation on a file: what() names the operation, the path and the error; code() is the errno.
class FileError : public std::filesystem::filesystem_error {
 public:
  FileError(const std::string& operation, const std::filesystem::path& path, int error, std::uint64_t transferred = 0)
      : filesystem_error(operation, path, std::error_code(error, std::system_category())), transferred_(transferred) {}
  /// Of an operation on two paths: path1() and path2().
  FileError(const char* operation, const std::filesystem::path& from, const std::filesystem::path& to, int error)
      : filesystem_error(operation, from, to, std::error_code(error, std::system_category())), transferred_(0) {}

  /// Bytes that were moved before the error.
  [[nodiscard]] std::uint64_t transferred() const noexcept { return transferred_; }

 private:
  std::uint64_t transferred_;
};

/// Text that is not what its encoding allows.
class TextError : public std::runtime_error {
 public:
  /// Of the first byte that is wrong: in the file for DecodeError, in the text for EncodeError.
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }

 protected:
  TextError(const std::string& text, std::uint64_t offset)
      : runtime_error(text + " at byte " + std::to_string(offset)), offset_(offset) {}

 private:
  std::uint64_t offset_;
};

/// Bytes read in text mode that are not valid in the file's encoding.
class DecodeError : public TextError {
 public:
  DecodeError(const std::filesystem::path& path, const std::string& encoding, std::uint64_t offset)
      : TextError("read: " + path.string() + ": not valid " + encoding, offset) {}
};

/// Text that the file's encoding cannot express.
class EncodeError : public TextError {
 public:
  EncodeError(const std::filesystem::path& path, const std::string& encoding, std::uint64_t offset)
      : TextError("write: " + path.string() + ": cannot be written in " + encoding, offset) {}
};

}  // namespace aiofile::inline CAIO_ABI
