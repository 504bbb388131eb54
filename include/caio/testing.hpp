#pragma once
// For tests of code that uses files: a backend with files in memory, and one that makes things go wrong.

#include <caio/testing/fault_backend.hpp>
#include <caio/testing/fault_script.hpp>
#include <caio/testing/memory_backend.hpp>
#include <caio/testing/memory_files.hpp>
