#!/usr/bin/env bash
# A process that is denied system calls, descriptors, memory or threads is served all the same, or told why it is not.
limit=120
source "$(dirname "$0")/common.sh"

for row in $("$programs/starved" --list); do
  held "$programs/starved" --directory "$scratch" --row "$row" --limit "$(count 60 20)" 2> "$scratch/said"
  grep -v '^max_requests' "$scratch/said" | sed 's/^/    /'
done
skipped "kernel.io_uring_disabled: it is for the whole machine; setup-EPERM is what it answers"
control "$programs/starved" --directory "$scratch" --control strict
finish
