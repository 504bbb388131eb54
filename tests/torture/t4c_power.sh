#!/usr/bin/env bash
# No record acknowledged before a power cut is lost: a User-Mode Linux whose disk is a file runs the writer and is killed
# at a random moment; its disk is then mounted here. Control: without the sync.
source "$(dirname "$0")/common.sh"

machine=
trap '[[ -z $machine ]] || kill -KILL -- "-$machine"; cleanup' EXIT

# cut_power NAME ARGUMENTS...: one machine's life; leaves $scratch/NAME/records and acks.
cut_power() {
  local result=$scratch/$1 enough tries=0
  shift
  mkdir -p "$result"
  truncate -s 0 "$scratch/disk.img" && truncate -s 64M "$scratch/disk.img" && mkfs.ext4 -q "$scratch/disk.img" || return
  # The guest's root is the host's; this is all that it runs.
  cat > "$scratch/init" << END
#!/bin/sh
mount -t proc proc /proc
uname -r > "$scratch/kernel"
mount -t ext4 /dev/ubda "$scratch/disk"
exec "$programs/ledger" --writer "$scratch/disk/records" --acks "$result/growing" $* > "$scratch/log" 2>&1
END
  chmod +x "$scratch/init"
  setsid linux.uml mem=256M "ubd0=$scratch/disk.img" rootfstype=hostfs rootflags=/ rw "init=$scratch/init" con=null \
    con0=null,null quiet < /dev/null > /dev/null 2>&1 &
  machine=$!
  enough=$((8 * (1 + RANDOM % 60)))  # an acknowledgement has 8 bytes
  until (($(stat -c %s "$result/growing" 2> /dev/null || echo 0) >= enough)) || ((++tries > 1000)); do sleep 0.02; done
  cp "$result/growing" "$result/acks"  # what is acknowledged later need not be there
  kill -KILL -- "-$machine"
  wait "$machine" 2> /dev/null
  machine=
  ((tries <= 1000)) || { cat "$scratch/log"; return 1; }
  mounts=("$scratch/disk")
  mount -o loop "$scratch/disk.img" "$scratch/disk" && cp "$scratch/disk/records" "$result/" && umount "$scratch/disk"
  local status=$?
  mounts=()
  return $status
}

cut() {
  cut_power "$@" && return
  failed=$((failed + 1))
  echo "FAILED: no power to cut: $*"
}

if ! command -v linux.uml > /dev/null; then
  skipped "User-Mode Linux is not installed (user-mode-linux)"
elif ((EUID != 0)); then
  skipped "only root mounts the disk"
else
  export TORTURE_TIER=T4c
  mkdir "$scratch/disk"
  for backend in $(backends); do
    for ((round = 0; round < $(count 30 2); ++round)); do
      cut "cuts-$backend/$round" --backend "$backend" --seed "$round"
    done
    held "$programs/ledger" --backend "$backend" --verify "$scratch/cuts-$backend"
  done
  echo "the machine's kernel: $(cat "$scratch/kernel")"
  for round in 0 1; do cut "broken/$round" --control no-sync --seed "$round"; done
  control "$programs/ledger" --control no-sync --verify "$scratch/broken"
fi
finish
