#pragma once
// The file layer's whole public interface, and the engine's that programs need beside it.

#include <aiofile/aligned.hpp>
#include <aiofile/async_open.hpp>
#include <aiofile/atomic.hpp>
#include <aiofile/bulk.hpp>
#include <aiofile/concepts.hpp>
#include <aiofile/copy.hpp>
#include <aiofile/encoding.hpp>
#include <aiofile/error.hpp>
#include <aiofile/file.hpp>
#include <aiofile/iostream_file.hpp>
#include <aiofile/line_reader.hpp>
#include <aiofile/memory_file.hpp>
#include <aiofile/mode.hpp>
#include <aiofile/options.hpp>
#include <aiofile/os.hpp>
#include <aiofile/reader.hpp>
#include <aiofile/standard_streams.hpp>
#include <aiofile/stream.hpp>
#include <aiofile/tail.hpp>
#include <aiofile/tempfile.hpp>
#include <aiofile/text.hpp>
#include <aiofile/text_options.hpp>
#include <aiofile/whence.hpp>
#include <aiofile/whole_file.hpp>
#include <aiofile/writer.hpp>
#include <caio/caio.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

using caio::as_result;
using caio::gather;
using caio::Generator;
using caio::Result;
using caio::run;
using caio::sleep_for;
using caio::Task;
using caio::TaskGroup;
using caio::with_stop;
using caio::with_timeout;

}  // namespace aiofile::inline CAIO_ABI
