#pragma once
// How a temporary file is made, beside its mode.

#include <fcntl.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <aiofile/file.hpp>
#include <aiofile/mode.hpp>
#include <aiofile/path_operation.hpp>
#include <aiofile/stream.hpp>
#include <aiofile/tempfile/place.hpp>
#include <aiofile/text_options.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/detail/unique_fd.hpp>

namespace aiofile::inline CAIO_ABI {

namespace tempfile {

/// The views are copied by the call.
struct TemporaryOptions {
  std::string_view suffix = "";         ///< names end with it: ".txt"
  std::string_view prefix = "tmp";      ///< and begin with this
  std::string_view dir = "";            ///< empty: TMPDIR, else /tmp, /var/tmp or the working directory
  bool delete_on_close = true;          ///< NamedTemporaryFile: false: at the stream's end, so that it can be reopened
  std::string_view encoding = "utf-8";  ///< text modes only
  std::size_t buffering = 0;            ///< bytes of writes gathered before they go to the file
  caio::Context* context = nullptr;     ///< nullptr: Context::current() when it starts
  Errors errors = Errors::strict;       ///< as those of OpenOptions
  Newline newline = Newline::none;
};

}  // namespace tempfile

namespace detail {

/// What a call of tempfile:: was told, checked and copied.
class TemporaryRequest {
 public:
  /// std::invalid_argument: a bad mode or encoding, a bad name.
  TemporaryRequest(std::string_view mode, const tempfile::TemporaryOptions& options)
      : place(options.dir, options.prefix, options.suffix),
        flags(O_RDWR | (parse_mode(mode).flags & O_APPEND)),
        mode_(mode),
        encoding_(options.encoding),
        options_(options) {
    static_cast<void>(file({}));
  }

  Place place;
  int flags;  // of every descriptor: whatever the mode, O_TMPFILE wants to write

  [[nodiscard]] std::shared_ptr<caio::Engine> engine() const { return engine_of(options_.context); }

  /// A stream that owns the descriptor. Without a path of its own it is called /dev/fd/N, as a borrowed one.
  [[nodiscard]] FileStream stream(std::shared_ptr<caio::Engine> engine, caio::detail::UniqueFd fd,
                                  const caio::Descriptor& descriptor, std::filesystem::path path = {}) const {
    if (path.empty()) path = "/dev/fd/" + std::to_string(fd.get());
    AIOFile opened = file(std::move(path));
    state_of(opened)->opened(std::move(engine), descriptor, false);
    static_cast<void>(fd.release());
    return FileStream(std::move(opened), options_.buffering);
  }

 private:
  [[nodiscard]] AIOFile file(std::filesystem::path path) const {
    return AIOFile(std::move(path), mode_,
                   {.encoding = encoding_, .errors = options_.errors, .newline = options_.newline});
  }

  std::string mode_;
  std::string encoding_;
  tempfile::TemporaryOptions options_;  // but for its views
};

// When a coroutine's parameter throws on its way into the frame, clang 19 looks into the frame that is gone.
static_assert(std::is_nothrow_move_constructible_v<TemporaryRequest>);

}  // namespace detail

}  // namespace aiofile::inline CAIO_ABI
