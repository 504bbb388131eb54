#!/usr/bin/env bash
# No record acknowledged after a sync is lost when the process that wrote it is killed; controls: acknowledged
# too early; a file that is no whole version.
source "$(dirname "$0")/common.sh"

for backend in $(backends); do
  held "$programs/ledger" --backend "$backend" --directory "$scratch" --rounds "$(count 500 20)"
  held "$programs/ledger" --backend "$backend" --directory "$scratch" --rounds "$(count 100 5)" --no-speculation --seed 2
  control "$programs/ledger" --backend "$backend" --directory "$scratch" --rounds 20 --control no-flush
  control "$programs/ledger" --backend "$backend" --directory "$scratch" --rounds 5 --control mix
done
finish
