#!/usr/bin/env bash
# T10: each bug of mutations.txt is planted in a copy of the headers, and the tests named there have to notice it: by a
# failed check, a crash, or a hang. The same tests without a bug have to pass. A quick run takes a third, by $SEED.
limit=900
source "$(dirname "$0")/common.sh"

torture=$(cd "$(dirname "$0")" && pwd)
tree=$(dirname "$(dirname "$torture")")
compiler=${CXX:-g++}
patience=60  # of one program, in seconds; without a bug they take a few

bugs=() headers=() olds=() news=() tests=()
while IFS= read -r line || [[ $line ]]; do
  last=$((${#bugs[@]} - 1))
  case $line in
    'bug '*) bugs+=("${line#bug }") headers+=('') olds+=('') news+=('') tests+=('') ;;
    'in '*) headers[last]=${line#in } ;;
    '- '*) olds[last]+=${olds[last]:+$'\n'}${line#- } ;;
    '+ '*) news[last]+=${news[last]:+$'\n'}${line#+ } ;;
    'by '*) tests[last]=${line#by } ;;
  esac
done < "$torture/mutations.txt"

# Relative paths and no debugging information: ccache knows what it has compiled in another directory.
compile() {
  ${ccache-} "$compiler" -std=c++20 -O0 -w -DAIOFILE_CATCH_MAJOR="$catch" "-DAIOFILE_SOURCE_DIR=\"$tree\"" $libraries \
    -Iinclude -Itests -c "tests/$1" -o "$(basename "$1" .cpp).o"
}

# $where/TEST...: the verdict goes to $where/verdict
try() {
  local where=$1 test status
  shift
  cd "$where" && mkdir files || return
  for test; do
    compile "$test" 2> log || { echo "does not compile: $(grep -m 1 error: log)" > verdict; return; }
  done
  "$compiler" ./*.o "$support"/*.o $links -o program 2> log || { echo "does not link" > verdict; return; }
  AIOFILE_TEST_DIR=$PWD/files timeout -k 5 "$patience" ./program > log 2>&1 < /dev/null
  status=$?
  case $status in
    0) echo "passed" ;;
    124 | 137) echo "caught by a hang" ;;
    *) if ((status > 128)); then echo "caught by a crash"; else echo "caught by a check"; fi ;;
  esac > verdict
  rm -rf files program ./*.o
}

# NUMBER: where a copy of the tree is ready.
copy() {
  mkdir "$scratch/$1" && cp -r "$tree/include" "$scratch/$1" && ln -s "$tree/tests" "$scratch/$1/tests"
}

plant() {
  local file=$scratch/$1/include/${headers[$1]} text
  text=$(< "$file")
  local rest=${text#*"${olds[$1]}"}
  [[ ${olds[$1]} && $rest != "$text" && $rest != *"${olds[$1]}"* ]] || return
  printf '%s\n' "${text/"${olds[$1]}"/"${news[$1]}"}" > "$file"
}

ccache=$(command -v ccache) || true
catch=$([[ -d /usr/include/catch2 && -e /usr/include/catch2/catch.hpp ]] && echo 2 || echo 3)
libraries= links=-pthread
[[ ! -e /usr/include/liburing.h ]] || { libraries+=' -DCAIO_WITH_LIBURING=1' links+=' -luring'; }
[[ ! -e /usr/include/libaio.h ]] || { libraries+=' -DCAIO_WITH_LIBAIO=1' links+=' -laio'; }
support=$scratch/support
export ccache catch libraries links support compiler tree patience
export -f try compile

chosen=()
for ((i = 0; i < ${#bugs[@]}; ++i)); do
  [[ $scale != full && $(((i + ${SEED:-0}) % 3)) != 0 ]] || chosen+=("$i")
done

copy support && (cd "$support" && compile support/main.cpp && compile support/allocations.cpp) || exit 1

# The control: all those tests without a bug.
copy control
all=$(for i in "${chosen[@]}"; do echo "${tests[i]}"; done | tr ' ' '\n' | sort -u)
jobs=("$scratch/control $(echo $all)")
for i in "${chosen[@]}"; do
  copy "$i"
  if plant "$i"; then jobs+=("$scratch/$i ${tests[i]}"); else echo "no longer applies" > "$scratch/$i/verdict"; fi
done
printf '%s\n' "${jobs[@]}" | xargs -P 2 -I {} bash -c 'try {}' 2> "$scratch/crashes"

verdict=$(< "$scratch/control/verdict")
echo "without a bug: $verdict"
held test "$verdict" = passed
[[ $verdict == passed ]] || tail -n 40 "$scratch/control/log"
for i in "${chosen[@]}"; do
  verdict=$(cat "$scratch/$i/verdict" 2> "$scratch/missing" || echo "nothing was tried")
  echo "${verdict/passed/NOT CAUGHT}: ${bugs[i]}"
  held test "${verdict%% *}" = caught
done
finish
