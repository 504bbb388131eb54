#!/usr/bin/env bash
# The same results on every backend and file system: the tests, and random operations beside plain system calls.
# AIOFILE_TESTS: where caio_tests and aiofile_tests were built; default: build/dev/tests.
limit=1200
source "$(dirname "$0")/common.sh"
tests=${AIOFILE_TESTS-$(dirname "$0")/../../build/dev/tests}

# Runs one of the test programs there, and lists the cases that say why they skip themselves.
suite() {
  local name=$1 log=$scratch/log
  shift
  if [[ ! -x $tests/$name ]]; then
    skipped "$name: not built in $tests (./dev test builds it)"
    return
  fi
  held "$tests/$name" "$@" > "$log"
  awk -v suite="$name" -v where="$label" '
    /^FAILED/ { print }
    /^-----/ { getline line; if (line !~ /^(-----|$)/ && line !~ /^[^ ]+:[0-9]+$/) title = line }
    / warning:$/ { getline reason; print "skips itself on " where ": " suite ": " title ":" reason }
    /^(All tests passed|test cases:|assertions:)/ { print suite " on " where ": " $0 }' "$log"
}

directories=("disk=$scratch/disk")
mkdir "$scratch/disk"
if [[ -w /dev/shm ]]; then
  memory=$(mktemp -d /dev/shm/torture-XXXXXX)
  trap 'rm -rf "$memory"; cleanup' EXIT
  directories+=("tmpfs=$memory")
else
  skipped "tmpfs: /dev/shm cannot be written"
fi
for type in ext4 xfs btrfs; do
  image $type 400M
  [[ -z $mounted ]] || directories+=("$type=$mounted")
done

for directory in "${directories[@]}"; do
  label=${directory%%=*} where=${directory#*=}
  for backend in $(backends); do
    for speculation in "" --no-speculation; do
      held "$programs/twin" --backend "$backend" --directory "$where" $speculation \
        --operations "$(count 100000 2000)" --seed "$((${#speculation} + 1))"
    done
  done
  export AIOFILE_TEST_DIR=$where
  if [[ $scale == full ]]; then
    suite caio_tests
    suite aiofile_tests
  elif [[ $label != disk ]]; then
    # A quick run tries one backend, and what depends on the file system.
    CAIO_TEST_BACKENDS=${CAIO_TEST_BACKENDS-uring} suite aiofile_tests 'AIOFile*'
  fi
done

for broken in short-write stale-read; do
  for backend in $(backends); do
    control "$programs/twin" --backend "$backend" --directory "$scratch/disk" --operations 20000 --control "$broken"
  done
done
finish
