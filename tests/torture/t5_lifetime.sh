#!/usr/bin/env bash
# T5: tear-downs on a disk, on a file system that is frozen now and then, and on a slow one; each also broken on purpose.
source "$(dirname "$0")/common.sh"

slow_mount() {
  mounted=
  ((EUID == 0)) && [[ -c /dev/fuse ]] && pkg-config --exists fuse3 || { skipped "slow files: no root or libfuse3"; return; }
  local program=$scratch/slow_fs where=$scratch/slow
  mkdir "$where" "$scratch/behind"
  # shellcheck disable=SC2046
  cc -O1 "$(dirname "$0")/slow_fs.c" -o "$program" $(pkg-config --cflags --libs fuse3) || { skipped "slow_fs.c"; return; }
  "$program" "$scratch/behind" 2000 "$where" || { skipped "slow files: FUSE refuses"; return; }
  mounts+=("$where")
  mounted=$where
}

mkdir "$scratch/disk"
image ext4 64M
frozen=$mounted
slow_mount
slow=$mounted
thaw_and_cleanup() {
  [[ -z $frozen ]] || fsfreeze -u "$frozen" 2> /dev/null
  cleanup
}
trap thaw_and_cleanup EXIT

for backend in $(backends); do
  teardown=("$programs/teardown" --backend "$backend")
  held "${teardown[@]}" --directory "$scratch/disk" --teardowns "$(count 1500 25)"
  held "${teardown[@]}" --directory "$scratch/disk" --teardowns "$(count 500 25)" --no-speculation --seed 2
  control "${teardown[@]}" --directory "$scratch/disk" --control leaked-frame
  if [[ -n $slow ]]; then
    held "${teardown[@]}" --directory "$slow" --teardowns "$(count 1000 25)"
    control "${teardown[@]}" --directory "$slow" --control leaked-frame
  fi
  if [[ -n $frozen ]]; then
    held "${teardown[@]}" --directory "$frozen" --teardowns "$(count 500 25)" --freeze
    # The others are stuck in the submitting call itself.
    case $backend in
      uring | thread) held "${teardown[@]}" --directory "$frozen" --stall ;;
    esac
  fi
  held "${teardown[@]}" --directory "$scratch/disk" --teardowns "$(count 500 25)" --threads-end
done
finish
