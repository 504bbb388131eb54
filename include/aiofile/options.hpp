#pragma once
// How a file is opened, beside its path and mode.

#include <sys/types.h>

#include <cstddef>
#include <string_view>

#include <aiofile/text_options.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>

namespace aiofile::inline CAIO_ABI {

struct OpenOptions {
  std::string_view encoding = "utf-8";  ///< looked up before the call returns; text mode only
  caio::Context* context = nullptr;     ///< nullptr: Context::current() at open()
  ::mode_t permissions = 0666;          ///< of a new file, less the umask
  int flags = 0;                        ///< extra O_* flags, such as O_DIRECT or O_SYNC
  std::size_t buffering = 0;            ///< FileStream: bytes of writes gathered before they go to the file
  Errors errors = Errors::strict;       ///< of the encoding: or Errors::replace, Errors::ignore; text mode only
  Newline newline = Newline::none;      ///< or Newline::universal, "\n", "\r\n"; text mode only
};

}  // namespace aiofile::inline CAIO_ABI
