#!/usr/bin/env bash
# No record acknowledged before the file system is cut off from its device is lost; no short sequence of changes leaves
# another file than the one at its last sync. Controls: without the sync.
source "$(dirname "$0")/common.sh"

for type in ext4 xfs; do
  image $type 400M
  [[ -n $mounted ]] || continue
  on=(--directory "$mounted" --image "$scratch/image-$((images - 1))")
  seed=0
  for backend in $(backends); do
    seed=$((seed + 1))  # a sequence is tried with a positional file by one backend, with a stream by the next
    held "$programs/shutdown" --backend "$backend" "${on[@]}" --rounds "$(count 50 1)"
    held "$programs/shutdown" --backend "$backend" "${on[@]}" --sequences "$(count 3 2)" --seed $seed
  done
  control "$programs/shutdown" "${on[@]}" --rounds 5 --control no-sync
  control "$programs/shutdown" "${on[@]}" --sequences 1 --control no-sync
done
finish
