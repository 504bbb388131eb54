#pragma once
// Standard input, output and error as streams, and print().

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <aiofile/file.hpp>
#include <aiofile/file_identity.hpp>
#include <aiofile/mode.hpp>
#include <aiofile/stream.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/request.hpp>

namespace aiofile::inline CAIO_ABI {

namespace detail {

/// A context's streams over the descriptors 0, 1 and 2: one each, so that what it has read ahead is not lost, and
/// writes follow each other. The context owns them.
class StandardStreams : private caio::Job {
 public:
  /// The current context's.
  static StandardStreams& current() {
    caio::Engine& engine = *caio::Context::current().engine();
    if (engine.companion == nullptr) engine.companion = new StandardStreams(engine);
    return *static_cast<StandardStreams*>(engine.companion);
  }

  StandardStreams(const StandardStreams&) = delete;
  StandardStreams& operator=(const StandardStreams&) = delete;

  /// Made anew after it was closed, and where `fd` has become another file's (dup2(2)).
  FileStream& stream(int fd, std::string_view mode) {
    struct ::stat status {};
    if (::fstat(fd, &status) != 0) status = {};
    Place& place = places_[static_cast<std::size_t>(fd)];
    if (!place.stream || place.stream->closed() || place.file != identity_of(status)) {
      place.stream = over(fd, mode);
      place.file = identity_of(status);
    }
    return *place.stream;
  }

 private:
  struct Place {
    std::optional<FileStream> stream;
    FileIdentity file;
  };

  explicit StandardStreams(caio::Engine& engine) noexcept : engine_(engine) {
    run = [](caio::Job& job) noexcept { delete static_cast<StandardStreams*>(&job); };
  }
  ~StandardStreams() { engine_.companion = nullptr; }

  static FileStream over(int fd, std::string_view mode) {
    AIOFile file = AIOFile::from_fd(fd, mode);
    state_of(file)->file->own_position = true;
    const auto position = static_cast<std::uint64_t>(std::max<std::int64_t>(::lseek(fd, 0, SEEK_CUR), 0));
    return FileStream(std::move(file), 0, position);
  }

  caio::Engine& engine_;
  std::array<Place, 3> places_;
};

/// Integers of which std::to_chars() would make numbers, or nothing.
template <class Value>
concept WideCharacter = std::same_as<Value, wchar_t> || std::same_as<Value, char8_t> || std::same_as<Value, char16_t> ||
    std::same_as<Value, char32_t>;

template <class Value>
concept Printable = std::convertible_to<const Value&, std::string_view> || std::same_as<Value, std::filesystem::path> ||
    std::floating_point<Value> ||(std::integral<Value> && !WideCharacter<Value>);

template <Printable Value>
void append_printed(std::string& line, const Value& value) {
  if constexpr (std::convertible_to<const Value&, std::string_view>) {
    line += std::string_view(value);
  } else if constexpr (std::same_as<Value, std::filesystem::path>) {
    line += value.native();
  } else if constexpr (std::same_as<Value, bool>) {
    line += value ? "true" : "false";
  } else if constexpr (std::same_as<Value, char>) {
    line += value;
  } else {
    std::array<char, 64> digits;  // the shortest form of a number takes 28 at most, of a long double
    line.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
  }
}

template <Printable... Values>
std::string printed(const Values&... values) {
  std::string line;
  ((append_printed(line, values), line += ' '), ...);
  if (!line.empty()) line.pop_back();
  line += '\n';
  return line;
}

}  // namespace detail

/// Standard input, over descriptor 0, as text or ("rb") bytes: the first call says which. The stream is the one of
/// Context::current(); the reference is good as long as that context lives. std::invalid_argument: a mode that is
/// neither, or not the one that the stream has.
///
/// A terminal gives lines as they are typed, a pipe what has come, without a thread that waits. A background job that
/// reads a terminal is stopped (SIGTTIN), or gets EIO where that signal is blocked or ignored. A redirected file is
/// read from where the descriptor stands, which moves, as by read(2). What is read ahead is this context's: a child
/// process, another context or scanf(3) goes on behind it. From a file, lseek(0, stream.tell(), SEEK_SET) gives it
/// back; then close() the stream.
///
/// As with the other two: the descriptor is never closed, its flags never changed, and a seek() is FileError ESPIPE.
/// close() ends the stream only, and the next call makes it anew, as it does when dup2(2) has put another file there
/// (each call asks, by one fstat(2)). A closed descriptor is FileError EBADF. In other encodings: async_open(0, ...).
[[nodiscard]] inline FileStream& standard_input(std::string_view mode = "r") {
  const Mode wanted = parse_mode(mode);
  if (wanted.flags != O_RDONLY) throw std::invalid_argument("aiofile::standard_input: a mode other than r or rb");
  FileStream& stream = detail::StandardStreams::current().stream(0, mode);
  if (stream.mode() != wanted) throw std::invalid_argument("aiofile::standard_input: it is read in another mode");
  return stream;
}

/// Standard output, over descriptor 1, for text in UTF-8 and bytes alike. The stream is the one of Context::current(),
/// whose writes follow each other whole.
///
/// Every write goes at once, by write(2) where the descriptor stands: behind what others who share it (printf, a child
/// process, standard_error() after `2>&1`) have written, redirected files included, and at the end after `>>`. What
/// stdio has gathered goes before only after std::fflush(stdout). A slow reader is waited for without a thread; no
/// reader is FileError EPIPE, and no SIGPIPE. Threads with contexts of their own may write, too: pipes keep up to
/// PIPE_BUF (4096) bytes together, files whole writes. A write of up to 64 KiB to a file happens in place.
[[nodiscard]] inline FileStream& standard_output() { return detail::StandardStreams::current().stream(1, "wb"); }

/// Standard error, over descriptor 2, likewise.
[[nodiscard]] inline FileStream& standard_error() { return detail::StandardStreams::current().stream(2, "wb"); }

/// Writes a line to standard output: the values, with a space between two of them. Strings, paths and characters as
/// they are, numbers in the shortest form that reads back as the same, bool as true or false. The line is made by the
/// call, and is one write; yields its length in bytes (std::size_t). What is cancelled or fails may leave a part.
template <detail::Printable... Values>
auto print(const Values&... values) {
  return standard_output().write(detail::printed(values...));
}
/// The same to another stream: `co_await print(standard_error(), "no such file:", path)`.
template <detail::Printable... Values>
auto print(FileStream& stream, const Values&... values) {
  return stream.write(detail::printed(values...));
}

}  // namespace aiofile::inline CAIO_ABI
