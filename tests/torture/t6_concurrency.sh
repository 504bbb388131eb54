#!/usr/bin/env bash
# T6: ten million operations a backend, with few and with many waiters, with room and without, cached and not.
limit=900
source "$(dirname "$0")/common.sh"

operations=$(count 2500000 25000)
for backend in $(backends); do
  storm=("$programs/storm" --backend "$backend" --directory "$scratch")
  held "${storm[@]}" --operations "$operations" --seed 1 --waiters 64
  held "${storm[@]}" --operations "$operations" --seed 2 --waiters 10000 --requests 8
  held "${storm[@]}" --operations "$operations" --seed 3 --waiters 64 --no-speculation
  held "${storm[@]}" --operations "$operations" --seed 4 --waiters 10000 --requests 8 --no-speculation
  for broken in wrong-block double-count; do
    control "${storm[@]}" --operations 25000 --control $broken
  done
done
finish
