#!/usr/bin/env bash
# T10: some of the tests under valgrind's memcheck: no byte is used that nobody wrote, and none is lost. The controls: a
# frame that is leaked, and bytes that a ring has read without the marks of handover.hpp, have to be found.
limit=300
source "$(dirname "$0")/common.sh"

if ! command -v valgrind > /dev/null || [[ ! -e /usr/include/valgrind/memcheck.h ]]; then
  skipped "valgrind is missing"
  finish
  exit
fi

cd "$(dirname "$0")/../.." || exit 1
catch=3
[[ ! -e /usr/include/catch2/catch.hpp ]] || catch=2
flags=(-std=c++20 -O1 -g -w -Iinclude -Itests "-DAIOFILE_CATCH_MAJOR=$catch" "-DAIOFILE_SOURCE_DIR=\"$PWD\"")
links=(-pthread)
[[ ! -e /usr/include/liburing.h ]] || { flags+=(-DCAIO_WITH_LIBURING=1) links+=(-luring); }
[[ ! -e /usr/include/libaio.h ]] || { flags+=(-DCAIO_WITH_LIBAIO=1) links+=(-laio); }
marks=-DCAIO_WITH_VALGRIND=1

memcheck=(valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite
  --errors-for-leak-kinds=definite --fair-sched=yes)

# NAME SOURCE [FLAG...]
compile() {
  $(command -v ccache) "${CXX:-g++}" "${flags[@]}" "${@:3}" -c "$2" -o "$scratch/$1.o" || exit 1
}

cat > "$scratch/broken.cpp" << 'END'
#include <caio/caio.hpp>
#include <fcntl.h>
#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <vector>

namespace {

// Reads, never in place, and looks at the bytes.
caio::Task<> look(caio::Context& context) {
  caio::Descriptor file = co_await context.open("/etc/passwd", O_RDONLY);
  std::array<std::byte, 64> bytes;
  const std::size_t count = co_await context.read(file, bytes, 0);
  if (std::count(bytes.begin(), bytes.begin() + count, std::byte{'\n'}) == 0) std::puts("one long line");
  co_await context.close(file);
}

struct Forgotten {
  struct promise_type {
    Forgotten get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
};

Forgotten leak() {
  std::array<std::byte, 64> in_the_frame{};
  co_await std::suspend_always();
  std::printf("%p\n", static_cast<void*>(in_the_frame.data()));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == "leak") leak();
  const std::vector<caio::Implementation> usable = caio::available();
  const bool ring = std::find(usable.begin(), usable.end(), caio::Implementation::uring) != usable.end();
  if (what == "ring" && !ring) return 77;
  caio::Context context(ring ? caio::Implementation::uring : usable.front(), {.speculate = false});
  context.run(look(context));
}
END

compile broken "$scratch/broken.cpp" $marks
compile unmarked "$scratch/broken.cpp"
for name in broken unmarked; do "${CXX:-g++}" "$scratch/$name.o" "${links[@]}" -o "$scratch/$name" || exit 1; done
held "${memcheck[@]}" "$scratch/broken"
control "${memcheck[@]}" "$scratch/broken" leak
control "${memcheck[@]}" "$scratch/unmarked" ring

sources=(support/main support/allocations caio/operation_test caio/context_test aiofile/stream_test
  aiofile/stream_write_test aiofile/stream_close_test)
objects=()
for source in "${sources[@]}"; do
  compile "$(basename "$source")" "tests/$source.cpp" $marks &
  objects+=("$scratch/$(basename "$source").o")
  (($(jobs -rp | wc -l) < 2)) || wait -n
done
wait
"${CXX:-g++}" "${objects[@]}" "${links[@]}" -o "$scratch/tests" || exit 1

cases='Operation: destroyed*,Operation: moves*,Stream*,FileStream: *,Context: gathers*,Context: offload*,Context: 32*'
mkdir "$scratch/files"
export AIOFILE_TEST_DIR=$scratch/files
for backend in $(backends); do
  # While valgrind 3.19 waits in io_uring_enter no other thread runs: there the ring's older way, which sleeps in poll(2).
  section=()
  [[ $backend != uring ]] || section=(-c "uring, old kernel")
  held env CAIO_TEST_BACKENDS="$backend" "${memcheck[@]}" "$scratch/tests" "${section[@]}" "$cases"
done
finish
