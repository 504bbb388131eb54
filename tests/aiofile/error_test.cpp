#include <aiofile/error.hpp>

#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>

#include "support/catch.hpp"

using aiofile::DecodeError;
using aiofile::EncodeError;
using aiofile::FileError;
using aiofile::TextError;

TEST_CASE("FileError: names the operation, the path and the error") {
  const FileError error("write", "/some/file", ENOSPC, 12);
  CHECK(std::string(error.what()).find("write") != std::string::npos);
  CHECK(std::string(error.what()).find("/some/file") != std::string::npos);
  CHECK(std::string(error.what()).find("No space left on device") != std::string::npos);
  CHECK(error.code().value() == ENOSPC);
  CHECK(error.code() == std::errc::no_space_on_device);
  CHECK(error.path1() == "/some/file");
  CHECK(error.transferred() == 12);
  CHECK(FileError("open", "file", ENOENT).transferred() == 0);
}

TEST_CASE("FileError: is caught as what it derives from") {
  CHECK_THROWS_AS(throw FileError("read", "file", EIO), std::filesystem::filesystem_error);
  CHECK_THROWS_AS(throw FileError("read", "file", EIO), std::system_error);
  STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<FileError>);
}

TEST_CASE("TextError: tells the path, the encoding and the byte") {
  const DecodeError decode("some/file", "utf-8", 4'294'967'296);
  CHECK(decode.what() == std::string("read: some/file: not valid utf-8 at byte 4294967296"));
  CHECK(decode.offset() == 4'294'967'296);
  const EncodeError encode("some/file", "latin-1", 7);
  CHECK(encode.what() == std::string("write: some/file: cannot be written in latin-1 at byte 7"));
  CHECK(encode.offset() == 7);
}

TEST_CASE("TextError: is no FileError, and both kinds have it as their base") {
  CHECK_THROWS_AS(throw DecodeError("file", "utf-8", 0), TextError);
  CHECK_THROWS_AS(throw EncodeError("file", "utf-8", 0), TextError);
  STATIC_REQUIRE_FALSE(std::is_base_of_v<std::system_error, TextError>);
  STATIC_REQUIRE(std::is_base_of_v<std::runtime_error, TextError>);
}
