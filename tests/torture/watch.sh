#!/usr/bin/env bash
# watch.sh SECONDS COMMAND...: runs the commands (a string each) at the same time, for about so many seconds, and looks
# whether they grow: memory, descriptors and io_uring's workers of each, and the machine's aio-nr. Exit status 1: one did.
set -uo pipefail
seconds=$1
shift

pids=()
for command; do
  bash -c "exec $command" &
  pids+=($!)
done
trap 'kill "${pids[@]}" 2> /dev/null' EXIT

workers() { cat "/proc/$1"/task/*/comm 2> /dev/null | grep -c '^iou-wrk'; }
resident() { awk '/^VmRSS/ {print $2}' "/proc/$1/status" 2> /dev/null; }
descriptors() { ls "/proc/$1/fd" 2> /dev/null | wc -l; }

# The greatest values of the second quarter (the first is for warming up) and of the last.
declare -A early late
note() {
  local -n values=$1
  ((${values[$2]-0} > $3)) || values[$2]=$3
}
failures=0
while (($(jobs -rp | wc -l) > 0)); do
  sleep 0.2
  quarter=$((4 * SECONDS / seconds))
  case $quarter in
    1) when=early ;;
    3) when=late ;;
    *) continue ;;
  esac
  note "$when" "0 requests of aio" "$(cat /proc/sys/fs/aio-nr)"
  for pid in "${pids[@]}"; do
    kb=$(resident "$pid")
    [[ -n $kb ]] || continue
    note "$when" "$pid kB resident" "$kb"
    note "$when" "$pid descriptors" "$(descriptors "$pid")"
    note "$when" "$pid workers" "$(workers "$pid")"
  done
done
for pid in "${pids[@]}"; do
  wait "$pid" || failures=$((failures + 1))
done
pids=()

# What may differ between two moments of the same load.
allowed() {
  case $1 in
    *resident) echo $((4096 + $2 / 20)) ;;
    *descriptors) echo 64 ;;
    *workers) echo 16 ;;
    *aio) echo 4096 ;;
  esac
}
((${#late[@]})) || { echo "too short a time to look at anything" >&2; exit 2; }
for what in "${!late[@]}"; do
  before=${early[$what]-0} after=${late[$what]}
  if ((after > before + $(allowed "$what" "$before"))); then
    echo "GROWN: ${what#* }: $before, later $after" >&2
    failures=$((failures + 1))
  fi
done
((failures == 0)) || exit 1
