#!/usr/bin/env bash
# T8: each fuzz target under libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, from its corpus on, for
# FUZZ_SECONDS (default: 300, quick 8); then the control, a mistake in a harness that has to be found. What is found is
# kept in FUZZ_FINDINGS (default: ./fuzz-findings).
seconds=${FUZZ_SECONDS-}
limit=1200
source "$(dirname "$0")/common.sh"

tree=$(cd "$(dirname "$0")/../.." && pwd)
corpus=$tree/tests/fuzz/corpus
findings=${FUZZ_FINDINGS-$PWD/fuzz-findings}
seconds=${seconds:-$(count 300 8)}

compiler=
for each in "${FUZZ_CXX-clang++-19}" clang++; do
  command -v "$each" > /dev/null && compiler=$each && break
done
[[ $compiler ]] || { skipped "no clang++"; finish; exit; }

# build DIRECTORY TARGET [OPTION...]
build() {
  local where=$scratch/$1 target=$2
  shift 2
  cmake -S "$tree" -B "$where" -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DAIOFILE_BUILD_FUZZERS=ON -DAIOFILE_BUILD_EXAMPLES=OFF "$@" > "$where.log" 2>&1 &&
    cmake --build "$where" --target "$target" >> "$where.log" 2>&1 || { tail -n 30 "$where.log"; return 1; }
}

# fuzz PROGRAM CORPUS SECONDS: 0 when nothing was found, 1 when a promise was broken
fuzz() {
  local program=$1 from=$2 log=$scratch/log found=$scratch/new
  rm -rf "$found" && mkdir -p "$found"
  "$program" -max_total_time="$3" -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
    -artifact_prefix="$4/$(basename "$program")-" "$found" "$from" > "$log" 2>&1
  local status=$? runs
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  echo "{\"tier\": \"T8\", \"target\": \"$(basename "$program")\", \"executions\": ${runs:-0}, \"seconds\": $3, \"violations\": $((status != 0))}"
  ((status == 0)) && return 0
  grep -aE "violated|ERROR|SUMMARY|Test unit" "$log" >&2
  return 1
}
export -f fuzz
export scratch

mkdir -p "$findings"
if build fuzzers fuzzers; then
  for target in "$corpus"/*/; do
    target=$(basename "$target")
    held bash -c 'fuzz "$@"' fuzz "$scratch/fuzzers/tests/fuzz/fuzz_$target" "$corpus/$target" "$seconds" "$findings"
  done
else
  held false
fi
# From nothing: the corpus might hold what finds it.
mkdir -p "$scratch/nothing"
if build planted fuzz_lines -DAIOFILE_PLANT_BUG=ON; then
  control bash -c 'fuzz "$@"' fuzz "$scratch/planted/tests/fuzz/fuzz_lines" "$scratch/nothing" 60 "$scratch"
else
  control true  # void
fi
rmdir "$findings" 2> /dev/null
finish
