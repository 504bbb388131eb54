#pragma once
// Temporary files and directories, named as in Python's tempfile: each call yields an object whose end removes them.

#include <aiofile/tempfile/named_temporary_file.hpp>
#include <aiofile/tempfile/options.hpp>
#include <aiofile/tempfile/spooled_temporary_file.hpp>
#include <aiofile/tempfile/temporary_directory.hpp>
#include <aiofile/tempfile/temporary_file.hpp>
