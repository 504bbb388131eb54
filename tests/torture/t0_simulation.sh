#!/usr/bin/env bash
# T0: worlds in memory, decided by a seed; see tests/support/simulation.hpp for what has to hold.
limit=3600
source "$(dirname "$0")/common.sh"

half=$(($(count 1000000 4000) / 2))
held "$programs/simulation" --backend blocking --seeds $half & # two processors
held "$programs/simulation" --backend blocking --seed $((half + 1)) --seeds $half
wait $! && passed=$((passed + 1)) || failed=$((failed + 1))
control "$programs/simulation" --backend blocking --control ignored-short-write --seeds 200
control "$programs/simulation" --backend blocking --control early-ack --seeds 200
finish
