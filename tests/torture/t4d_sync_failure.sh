#!/usr/bin/env bash
# A file whose sync failed stays failed, until it is opened anew. The device: a file that nbdkit serves, as a file again
# by nbdfuse, under a loop device; it fails writes while another file exists. Control: plain fsync(2) forgets.
source "$(dirname "$0")/common.sh"

device=
server=

# A device that can fail, with an ext4 without a journal, which survives that: sets $device and $server.
mount_failing() {
  local image=$scratch/back.img fuse=$scratch/fuse where=$scratch/failing tries=0
  mkdir "$fuse" "$where"
  truncate -s 64M "$image"
  mkfs.ext4 -q -O ^has_journal "$image" || return
  nbdfuse "$fuse/disk.img" --command nbdkit -s --exit-with-parent --filter=error file "$image" error=EIO \
    error-pwrite-rate=100% error-file="$scratch/broken" > /dev/null 2>&1 &
  server=$!
  until [[ -e $fuse/disk.img ]] || ((++tries > 100)); do sleep 0.1; done
  device=$(losetup -f --show "$fuse/disk.img") && mount "$device" "$where"
}

unmount_failing() {
  rm -f "$scratch/broken"
  umount "$scratch/failing" 2> /dev/null
  [[ -z $device ]] || losetup -d "$device"
  if [[ -n $server ]]; then
    fusermount3 -u "$scratch/fuse" 2> /dev/null || kill "$server"
    wait "$server"
  fi
  cleanup
}
trap unmount_failing EXIT

if ((EUID != 0)); then
  skipped "only root makes devices"
elif ! command -v nbdkit nbdfuse fusermount3 losetup > /dev/null; then
  skipped "nbdkit, nbdfuse, fuse3 or losetup is missing"
elif ! mount_failing; then
  skipped "a loop device over nbdfuse cannot be mounted here"
else
  on=(--directory "$scratch/failing" --switch "$scratch/broken")
  for backend in $(backends); do
    held "$programs/sync_failure" --backend "$backend" "${on[@]}" --rounds "$(count 200 5)"
  done
  control "$programs/sync_failure" "${on[@]}" --control plain
fi
finish
