// This library.

#include "common.hpp"

int main(int argc, char** argv) {
  return bench::run_one(argc, argv, "aiofile",
                        {{"random-read", bench::random_read},
                         {"random-read-one", bench::random_read_one},
                         {"read-many", bench::read_many},
                         {"random-write", bench::random_write},
                         {"sequential-read", bench::sequential_read},
                         {"sequential-read-reader", bench::sequential_read_reader},
                         {"sequential-write", bench::sequential_write},
                         {"copy", bench::copy},
                         {"copy-file", bench::copy_file},
                         {"small-files", bench::small_files},
                         {"lines-next", bench::lines_next},
                         {"lines-batch", bench::lines_batch},
                         {"lines-readline", bench::lines_readline},
                         {"lines-next-text", bench::lines_next_text},
                         {"lines-batch-text", bench::lines_batch_text},
                         {"small-writes-writer", bench::small_writes_writer},
                         {"small-writes-stream", bench::small_writes_stream},
                         {"memory-streams", bench::memory_streams},
                         {"memory-waiting", bench::memory_waiting},
                         {"ticker-writes", bench::ticker_writes},
                         {"ticker-read", bench::ticker_read},
                         {"ticker-readers", bench::ticker_readers},
                         {"stat", bench::stat},
                         {"rename", bench::rename},
                         {"walk", bench::walk},
                         {"walk-paths", bench::walk_paths}});
}
