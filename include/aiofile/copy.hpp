#pragma once
// Copies of files and of directories with all that is in them.

#include <aiofile/copy_file.hpp>
#include <aiofile/copy_options.hpp>
#include <aiofile/copy_tree.hpp>
#include <aiofile/function_view.hpp>
