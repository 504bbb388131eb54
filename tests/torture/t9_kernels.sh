#!/usr/bin/env bash
# The library in an older kernel, that of User-Mode Linux: what each backend finds there, the ledger of T4a on three file
# systems, and the tests whose programs AIOFILE_TESTS names (caio_tests, aiofile_tests).
source "$(dirname "$0")/common.sh"

machine=
trap '[[ -z $machine ]] || kill -KILL -- "-$machine"; cleanup' EXIT

# in_guest NAME COMMAND...: runs it there, later, and keeps what it says and how it ends; a line of the guest's script.
in_guest() {
  local name=$1
  shift
  names+=("$name")
  echo "busybox timeout $limit $(printf '%q ' "$@") > $scratch/$name.log 2>&1; echo \$? > $scratch/$name.status" \
    >> "$scratch/init"
}

# What ran in the guest, as if it had run here.
replay() {
  cat "$1.log" 2> /dev/null
  return "$(cat "$1.status" 2> /dev/null || echo 99)"
}
export -f replay

if ! command -v linux.uml busybox > /dev/null; then
  skipped "User-Mode Linux is not installed (user-mode-linux, busybox-static)"
  finish
  exit
fi

# User-Mode Linux leaves in a forked child what its parent mapped and excepted from the fork: a new ring of the child
# sees the parent's, and the tests that have a child do not end.
tests='~"*fork*"~"Selection: *"~"Bad input: a file that one has*"~"Bad input: no descriptor*"~"Bad input: the limit on*"'
tests+='~"File operations: go on after a short*"~"Read: a file that memory*"'
# Pipes take RWF_NOWAIT only since Linux 6.5, and the guest is too slow for tests that count milliseconds or millions.
tests+='~"transfer_nowait: *"~"Loop: poll() never blocks*"~"Context: sleepers wake*"~"Load: *"'
limit=$(count 300 60)
names=()
mkdir "$scratch"/{ext4,tmpfs,hostfs}
truncate -s 1G "$scratch/disk.img"
mkfs.ext4 -q "$scratch/disk.img"
cat > "$scratch/init" << END
#!/bin/sh
export TORTURE_TIER=T9 PATH=/usr/sbin:/usr/bin:/sbin:/bin
export CAIO_TEST_BACKENDS='$(backends)'
mount -t proc proc /proc
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t ext4 /dev/ubda $scratch/ext4
mount -t tmpfs tmpfs $scratch/tmpfs
END
for backend in $(backends); do
  explain=(--explain)
  for type in ext4 tmpfs hostfs; do
    in_guest "$backend-$type" "$programs/ledger" --backend "$backend" --directory "$scratch/$type" \
      --rounds "$(count 50 3)" "${explain[@]}"
    explain=()
  done
done
if [[ -n ${AIOFILE_TESTS-} && $scale == full ]]; then
  for program in $AIOFILE_TESTS; do
    for type in ext4 tmpfs; do
      in_guest "$(basename "$program")-$type" env "AIOFILE_TEST_DIR=$scratch/$type" "$program" "$tests"
    done
  done
else
  skipped "the tests: only in a full run, where AIOFILE_TESTS names their programs"
fi
echo "echo o > /proc/sysrq-trigger" >> "$scratch/init"
chmod +x "$scratch/init"

setsid linux.uml mem=512M "ubd0=$scratch/disk.img" rootfstype=hostfs rootflags=/ rw "init=$scratch/init" con=null \
  con0=null,null quiet < /dev/null > /dev/null 2>&1 &
machine=$!
deadline=$((SECONDS + $(count 3600 120)))
while kill -0 "$machine" 2> /dev/null && ((SECONDS < deadline)); do sleep 0.2; done
kill -KILL -- "-$machine" 2> /dev/null
wait "$machine" 2> /dev/null  # now and then it aborts when it is already off
machine=
for name in "${names[@]}"; do held bash -c 'replay "$1"' replay "$scratch/$name"; done
finish
