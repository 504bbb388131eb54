# For the tiers' scripts, which source it: PROGRAMS SCALE come as their arguments.
#   held COMMAND...            a promise that has to hold: exit status 0; 77 counts as skipped
#   control COMMAND...         a broken variant: has to end with exit status 1, or the tier is void
#   skipped REASON             something that cannot be tried here
#   count FULL QUICK           how many rounds: of a full run, of a quick one
#   work_dir                   a directory for files, on the disk; $scratch
#   image TYPE SIZE            makes a file system of that type in a file and mounts it: sets $mounted, "" if it cannot
#   backends                   those to torture: CAIO_TEST_BACKENDS, or all
#   finish                     the tier's last line and exit status
# Whatever was mounted or made is gone when the script ends. Each command has a limit of $limit seconds.
set -uo pipefail

programs=$1
scale=${2-quick}
limit=${limit-600}
passed=0 failed=0 skipped=0
tier=$(basename "$0" .sh)
scratch=$(mktemp -d "${TORTURE_DIR:-$PWD}/torture-XXXXXX")
mounts=() images=0

cleanup() {
  local i
  for ((i = ${#mounts[@]} - 1; i >= 0; --i)); do
    umount "${mounts[i]}" 2> /dev/null || umount -l "${mounts[i]}"
  done
  rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

held() {
  timeout -k 5 "$limit" "$@"
  local status=$?
  case $status in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *)
      failed=$((failed + 1))
      echo "FAILED ($status): $*"
      ;;
  esac
}

control() {
  timeout -k 5 "$limit" "$@" 2> /dev/null
  local status=$?
  case $status in
    1) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *)
      failed=$((failed + 1))
      echo "VOID ($status): this control had to fail: $*"
      ;;
  esac
}

skipped() {
  skipped=$((skipped + 1))
  echo "skipped: $*"
}

count() {
  if [[ $scale == full ]]; then echo "$1"; else echo "$2"; fi
}

backends() {
  echo "${CAIO_TEST_BACKENDS:-uring linux thread blocking}"
}

image() {
  local type=$1 size=$2 file=$scratch/image-$images where=$scratch/mounted-$images
  images=$((images + 1))
  mounted=
  ((EUID == 0)) || { skipped "$type: only root mounts images"; return; }
  mkdir -p "$where"
  truncate -s "$size" "$file"
  "mkfs.$type" -q "$file" > /dev/null 2>&1 && mount -o loop "$file" "$where" 2> /dev/null ||
    { skipped "$type: mkfs.$type or mount failed"; return; }
  mounts+=("$where")
  mounted=$where
}

finish() {
  echo "$tier: $passed passed, $failed failed, $skipped skipped"
  ((failed == 0))
}
