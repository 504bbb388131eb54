#!/usr/bin/env bash
# T11: the storm of T6 and the tear-downs of T5 at the same time on all backends, for hours with SOAK_HOURS=8; nothing
# grows, and the kernel has nothing to say about it. A run of all tiers gives it ten minutes, a quick one ten seconds.
scale=${2-quick}
seconds=10
[[ $scale != full ]] || seconds=$((${SOAK_HOURS:-0} * 3600))
((seconds > 0)) || seconds=600
limit=$((seconds + 120))
source "$(dirname "$0")/common.sh"
watch=$(dirname "$0")/watch.sh

complaints() { dmesg 2> /dev/null | grep -cE 'BUG|WARNING|Oops|lockdep|hung_task|blocked for more than'; }

before=$(complaints)
commands=()
for backend in $(backends); do
  mkdir "$scratch/$backend-storm" "$scratch/$backend-teardown"
  storm="'$programs/storm' --backend $backend --directory '$scratch/$backend-storm' --seconds"
  commands+=("$storm $seconds --operations 50000 --requests 64"
    "'$programs/teardown' --backend $backend --directory '$scratch/$backend-teardown' --seconds $seconds")
done
held "$watch" "$seconds" "${commands[@]}"
control "$watch" 8 "$storm 8 --operations 2000 --control leak"
if dmesg > /dev/null 2>&1; then
  held test "$(complaints)" -le "$before"
else
  skipped "dmesg: not allowed to read it"
fi
finish
