#pragma once
// The file layer's whole public interface, and the engine's that programs need beside it.

#include <aiofile/error.hpp>
#include <aiofile/file.hpp>
#include <aiofile/mode.hpp>
#include <aiofile/options.hpp>
#include <aiofile/text.hpp>
#include <caio/caio.hpp>
#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

using caio::gather;
using caio::Generator;
using caio::run;
using caio::sleep_for;
using caio::Task;
using caio::TaskGroup;

}  // namespace aiofile::inline CAIO_ABI
