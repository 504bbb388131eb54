#!/usr/bin/env bash
# examples_test.sh PROGRAMS: runs the examples in the directory PROGRAMS under each backend and compares what they print
# and write with what is expected, with coreutils, and with the other backends.
set -u
export LC_ALL=C CAIO_STRICT=1
umask 022

programs=$(cd "$1" && pwd) || exit 2
work=$(mktemp -d "${AIOFILE_TEST_DIR:-${TMPDIR:-/tmp}}/examples.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
passed=0
failed=0
declare -A tested

# --- checks; each counts once

# result TITLE DETAILS: DETAILS say what is wrong; none: all is well.
result() {
  if [[ -z $2 ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED [%s] %s\n%s\n' "$CAIO_IMPL" "$1" "$2" | head -c 2000
  fi
}

# differences EXPECTED FOUND: files
differences() {
  cmp -s "$1" "$2" && return
  cmp "$1" "$2" 2>&1
  diff -a "$1" "$2" 2>&1 | head -n 6 | cut -c 1-200 | tr -d '\000'
}

same_files() { # TITLE EXPECTED FOUND
  result "$1" "$(differences "$2" "$3")"
}

# run PROGRAM ARGUMENTS...: what it gives is in $run.out, $run.err and $code.
run() {
  tested[$1]=1
  timeout 120 "$programs/$1" "${@:2}" > "$run.out" 2> "$run.err"
  code=$?
}

# pipeline SCRIPT ARGUMENTS...: the same for a script, in which the examples shadow the system's commands.
pipeline() {
  PATH="$programs:$PATH" timeout 120 bash -c "$1" bash "${@:2}" > "$run.out" 2> "$run.err"
  code=$?
}

# gave TITLE CODE OUT ERR: of the last run. OUT is a file with what it should have printed, ERR the text on stderr.
gave() {
  local details
  ((code == $2)) || details+="exit code $code instead of $2"$'\n'
  details=${details-}$(differences "$3" "$run.out")
  if [[ $(cat "$run.err") != "$4" ]]; then
    details+=$'\n'"stderr: $(head -c 300 "$run.err")"$'\n'"expected: $4"
  fi
  result "$1" "$details"
}

# complained TITLE REGEX: the last run printed nothing, failed, and said so.
complained() {
  local details=
  ((code == 1)) || details="exit code $code instead of 1"$'\n'
  [[ ! -s $run.out ]] || details+="stdout: $(head -c 300 "$run.out")"$'\n'
  grep -q "$2" "$run.err" || details+="stderr: $(head -c 300 "$run.err")"$'\n'"expected: $2"
  result "$1" "$details"
}

text() { # TEXT: the name of a file with that text
  printf '%b' "$1" > "$run.text"
  echo "$run.text"
}

# --- the small programs: fixed output, and the same files on each backend

simple() {
  mkdir simple && cd simple || exit 2

  run hello
  gave "hello" 0 "$(text 'Hello world\nHello from\nasync world\n')" ''
  run open_without_scope
  gave "open_without_scope" 0 "$(text 'Hello world\nclosed\n')" ''
  run adopt
  gave "adopt" 0 \
    "$(text 'by the stream: from a borrowed descriptor\nby read(2): Hello from a borrowed descriptor\n')" ''
  run positional_writes
  for digit in 0 1 2 3 4 5 6 7 8 9; do printf '%s\n' $digit$digit$digit$digit$digit$digit; done > ../digits
  same_files "positional_writes: the file" ../digits positional_writes.txt
  echo '70 bytes' >> ../digits
  gave "positional_writes" 0 ../digits ''
  run hole
  gave "hole" 0 "$(text 'Hello\\0\\0world\n12 bytes\n')" ''
  same_files "hole: the file" "$(text 'Hello\0\0world')" hole.txt
  run reader_writer
  gave "reader_writer" 0 "$(text '[Hello fr]\n[om the W]\n[riter]\n')" ''
  run line_reader
  gave "line_reader" 0 "$(text '1: Hello world\n2: \n3: From the line reader\n')" ''
  run two_contexts
  local hellos='Hello from the default context\nHello from the other context\n'
  gave "two_contexts" 0 "$(text "on the same context: false\n${hellos}sizes: 60, 60\n")" ''
  same_files "two_contexts: the other file" \
    "$(text 'Hello from the other context\nHello from the default context\n')" two_contexts_other.txt
  run parallel_ranges
  gave "parallel_ranges" 0 "$(text '16789561 bytes by 8 writers: all in place\n')" ''
  run parallel_ranges ranges.bin 0
  gave "parallel_ranges: ranges that are no multiple of anything" 0 \
    "$(text '12345 bytes by 8 writers: all in place\n')" ''

  run copy_cpuinfo
  gave "copy_cpuinfo" 0 "$(text "$(wc -l < /proc/cpuinfo) lines\n")" ''
  grep -v MHz /proc/cpuinfo > ../cpuinfo
  grep -v MHz cpuinfo.txt > ../cpuinfo.copied
  rm cpuinfo.txt
  same_files "copy_cpuinfo: the copy" ../cpuinfo ../cpuinfo.copied
  seq 100000 | tr '\n' ' ' | fold -w 777 > ../folded
  run copy_cpuinfo folded.txt ../folded
  same_files "copy_cpuinfo: another file, whose last line is not ended" ../folded folded.txt

  run ticker ticker.bin 24
  local ticks
  ticks=$(sed -n 's/^24 MiB written, \([0-9]*\) ticks$/\1/p' "$run.out")
  result "ticker" "$( ((code == 0 && ${ticks:-0} >= 24)) || echo "exit code $code: $(cat "$run.out" "$run.err")")"
  head -c $((24 * 1024 * 1024)) /dev/zero | tr '\0' '*' > ../stars
  same_files "ticker: the file" ../stars ticker.bin
  rm ../stars ticker.bin

  run hashers
  hashes hashers.bin
  gave "hashers: a sample" 0 "$run.hashes" ''
  run csv
  gave "csv: a sample" 0 "$(text "$(printf '%s\\n' \
    'name=Ada Lovelace' 'born=1815' 'words=The Analytical Engine weaves algebraical patterns,' \
    'just as the Jacquard loom weaves flowers and leaves.' '' 'name=Grace Hopper' 'born=1906' \
    "words=\"It's easier to ask forgiveness than it is to get permission.\"" '')")" ''

  local name
  for name in hello open_without_scope adopt positional_writes hole reader_writer line_reader two_contexts \
    parallel_ranges copy_cpuinfo ticker hashers csv; do
    run $name missing/file
    complained "$name: a path that does not exist" "^$name: .*No such file or directory.*missing/file"
  done
  cd ..
}

# --- hashers

hashes() { # FILE: what coreutils say, into $run.hashes
  local algorithm
  for algorithm in MD5 SHA1 SHA256 SHA512; do
    echo "$algorithm $("${algorithm,,}sum" "$1")"
  done > "$run.hashes"
}

hashers() {
  local size
  for size in 0 1 262143 262144 262145 7654321; do
    head -c $size "$random" > 'a file'
    run hashers 'a file'
    hashes 'a file'
    gave "hashers: $size bytes" 0 "$run.hashes" ''
  done
  run hashers .
  complained "hashers: a directory" '^hashers: .*Is a directory'
}

# --- csv

csv() {
  # Byte order mark, CRLF, commas, quotes and both kinds of line ends inside quotes, empty fields, empty lines, UTF-8,
  # a last line without end.
  printf '%b' '\xef\xbb\xbfid,"the ""name""",note\r\n' '1,"a, b","say ""hi"""\r\n' '\r\n' '2,,""\n' \
    '3,"two\nlines","and\r\n\r\nthree"\r\n' '"",naïve,""""\n' '4,not "quoted",end' > tricky.csv
  printf '%b' 'id=1\nthe "name"=a, b\nnote=say "hi"\n\n' 'id=2\nthe "name"=\nnote=\n\n' \
    'id=3\nthe "name"=two\nlines\nnote=and\r\n\r\nthree\n\n' 'id=\nthe "name"=naïve\nnote="\n\n' \
    'id=4\nthe "name"=not "quoted"\nnote=end\n\n' > tricky.expected
  run csv tricky.csv
  gave "csv: tricky fields" 0 tricky.expected ''

  seq 30000 | awk '{ printf "%d,\"%d\n\"\"%d\"\"\"\n", $1, $1 * 7, $1 * 13 }' | cat <(echo number,text) - > large.csv
  seq 30000 | awk '{ printf "number=%d\ntext=%d\n\"%d\"\n\n", $1, $1 * 7, $1 * 13 }' > large.expected
  run csv large.csv
  gave "csv: fields across chunks" 0 large.expected ''

  : > empty
  run csv empty
  gave "csv: an empty file" 0 empty ''
  printf 'a,b\n' > header.csv
  run csv header.csv
  gave "csv: nothing but names" 0 empty ''

  printf 'a,b\n1,"2\n"\n3,"4\n5,6\n' > bad.csv
  run csv bad.csv
  gave "csv: a quote that is never closed" 1 "$(text 'a=1\nb=2\n\n\n')" \
    'csv: bad.csv: line 4: the quote is never closed'
  printf 'a,b\n1,"2\n"\n3\n' > bad.csv
  run csv bad.csv
  gave "csv: too few fields" 1 "$(text 'a=1\nb=2\n\n\n')" 'csv: bad.csv: line 4: 1 fields instead of 2'
  printf 'a,b\n\n1,"\n\n",3\n' > bad.csv
  run csv bad.csv
  gave "csv: too many fields" 1 empty 'csv: bad.csv: line 3: 3 fields instead of 2'
  printf 'a,b\n"1"x,2\n' > bad.csv
  run csv bad.csv
  gave "csv: text behind a quote" 1 empty 'csv: bad.csv: line 2: text behind a closing quote'
  printf 'a,b,a\n' > bad.csv
  run csv bad.csv
  gave "csv: the same name twice" 1 empty "csv: bad.csv: line 1: the name 'a' comes twice"
  printf 'a,b\n1,\xff\n' > bad.csv
  run csv bad.csv
  complained "csv: not UTF-8" '^csv: .*bad.csv.*utf-8.* 6$'
}

# --- the loops of others; each is built only where its library is

foreign_loops() {
  local program command library
  while read -r program command library; do
    if [[ ! -x $programs/$program ]]; then
      echo "skipped: $program, which is built only where $library is"
      continue
    fi
    touch nothing
    head -c 7654321 "$random" > 'a file'
    local files=('a file' /proc/version nothing 'a file' /etc/passwd)
    $command "${files[@]}" > expected
    run $program "${files[@]}"
    tail -n 1 "$run.out" > last
    sed -i '$d' "$run.out"
    gave "$program" 0 expected ''
    result "$program: the last line" \
      "$(grep -qx "by $CAIO_IMPL under $library, beside [0-9]* ticks" last || cat last)"
    run $program 'a file' missing/file
    complained "$program: a path that does not exist" "^$program: .*No such file or directory.*missing/file"
    run $program
    gave "$program without arguments" 2 /dev/null "usage: $program FILE..."
  done << 'END'
asio_loop lines_and_bytes Asio
libuv_loop sha256sum libuv
END
}

lines_and_bytes() { # FILE...: as asio_loop prints them
  local file
  for file; do
    echo "$(wc -l < "$file") $(wc -c < "$file") $file"
  done
}

# --- cat

cat_files() {
  printf 'one\ntwo' > a
  printf 'three\n\nfour\n' > b
  head -c 300000 "$random" > binary
  { head -c 200000 /dev/zero | tr '\0' 'x' && echo && seq 300000; } > big
  : > empty
  mkdir directory
  cp b '[a,b]'
  cp -- b -n

  cat a b empty binary big a > expected
  run cat a b empty binary big a
  gave "cat: several files" 0 expected ''
  cat -n a b empty big a b > expected
  run cat -n a b empty big a b
  gave "cat -n" 0 expected ''
  run cat a b --number empty big a b
  gave "cat --number behind files" 0 expected ''
  cat '[a,b]' ./-n > expected
  run cat -- '[a,b]' -n
  gave "cat: odd names" 0 expected ''
  cat /proc/version > expected
  run cat /proc/version
  gave "cat: a file in /proc" 0 expected ''

  run cat < big
  gave "cat: standard input, a file" 0 big ''
  pipeline 'command -p cat big | cat'
  gave "cat: standard input, a pipe" 0 big ''
  cat a b a > expected
  pipeline 'command -p cat b | cat a - a'
  gave "cat: standard input between files" 0 expected ''
  cat -n a b > expected
  pipeline '{ printf on; printf "e\ntw"; printf "othree\n\n"; printf "four\n"; } | cat -n'
  gave "cat -n: standard input in pieces" 0 expected ''
  tail -c +6 big > expected
  pipeline '{ dd bs=1 count=5 status=none > /dev/null; cat; } < big'
  gave "cat: standard input, a file from its position" 0 expected ''
  pipeline '{ dd bs=1 count=5 status=none > /dev/null; cat - -; cat -n; command -p cat; } < big'
  gave "cat: standard input's position moves on" 0 expected ''
  pipeline 'mkfifo fifo; command -p cat big > fifo & cat fifo; rm fifo'
  gave "cat: a FIFO" 0 big ''

  # A line that has come in a pipe is printed before the next one comes.
  local line='' echo_pid
  coproc ECHO { exec "$programs/cat" 2>&1; }
  echo_pid=$ECHO_PID
  echo 'a line' >&"${ECHO[1]}"
  read -r -t 60 -u "${ECHO[0]}" line
  eval "exec ${ECHO[1]}>&-"
  wait "$echo_pid"
  code=$?
  result "cat: lines as they come" "$([[ $line == 'a line' && $code == 0 ]] || echo "got '$line', exit code $code")"

  cat a b > expected
  run cat a missing b
  gave "cat: a missing file among others" 1 expected 'cat: missing: No such file or directory'
  run cat a directory b
  gave "cat: a directory among others" 1 expected 'cat: directory: Is a directory'
  run cat directory a missing b < /dev/null
  gave "cat: two failures" 1 expected $'cat: directory: Is a directory\ncat: missing: No such file or directory'
  run cat < directory
  gave "cat: standard input, a directory" 1 empty 'cat: -: Is a directory'
  run cat ''
  gave "cat: an empty name" 1 empty 'cat: : No such file or directory'
  run cat -x a
  gave "cat: an unknown option" 2 empty \
    "$programs/cat: invalid option -- 'x'"$'\nusage: cat [-n | --number] [FILE]...'
  run cat --help
  gave "cat --help" 0 "$(text 'usage: cat [-n | --number] [FILE]...\n')" ''

  pipeline 'cat big big | head -n 1; exit ${PIPESTATUS[0]}'
  head -n 1 big > expected
  gave "cat: a pipe that is closed early" 1 expected ''
  run cat <&-
  gave "cat: standard input is closed" 1 empty 'cat: -: Bad file descriptor'
  pipeline 'cat a >&-'
  gave "cat: standard output is closed" 1 empty 'cat: write: Bad file descriptor'
  pipeline 'cat a > /dev/full'
  gave "cat: no space for the output" 1 empty 'cat: write: No space left on device'

  printf 'before\n' > appended
  cat appended big big > expected
  pipeline 'cat big big >> appended && command -p cat appended'
  gave "cat >> file" 0 expected ''
  cat a big b a > expected
  pipeline '{ cat a big; cat b; command -p cat a; } > shared && command -p cat shared'
  gave "cat: standard output shared with others" 0 expected ''
  cp big middle
  { printf 'xyz' && cat b && tail -c "+$((4 + $(wc -c < b)))" big; } > expected
  pipeline '{ printf xyz; cat b; } 1<> middle; command -p cat middle'
  gave "cat: into the middle of a file" 0 expected ''
  cp a self
  pipeline 'ulimit -f 1024; cat a self b a >> self; code=$?; command -p cat self; exit $code'
  cat a a b a > expected
  gave "cat: its own output" 1 expected 'cat: self: input file is output file'
}

# --- cp

# copied TITLE SOURCE COPY: the last run went well and said nothing
copied() {
  gave "$1" 0 /dev/null ''
  same_files "$1: the copy" "$2" "$3"
}

# refused TITLE CODE ERR FILE COPY: the last run failed and left FILE as COPY is
refused() {
  gave "$1" "$2" /dev/null "$3"
  same_files "$1: what was there" "$4" "$5"
}

cp_files() {
  local size chunk usage='usage: cp [--chunk-size N] SOURCE... TARGET'
  for size in 0 1 4095 4096 4097 8191 8192 8193; do
    head -c $size "$random" > source
    echo 'longer than some and shorter than others' > target
    run cp --chunk-size 4K source target
    copied "cp --chunk-size 4K: $size bytes" source target
  done
  for chunk in 1 7 100M; do
    run cp source target --chunk-size=$chunk
    copied "cp --chunk-size=$chunk" source target
  done
  head -c 10485760 "$random" > source
  run cp source target
  copied "cp: 10 MiB" source target
  echo more >> source
  run cp --chunk-size 1M source new
  copied "cp --chunk-size 1M: 10 MiB and more" source new
  run cp /proc/version target
  copied "cp: a file in /proc" /proc/version target
  run cp -- source '[a,b]'
  copied "cp: an odd name" source '[a,b]'

  mkdir directory other
  echo 1 > one
  echo 2 > two
  echo 3 > other/one
  run cp one directory
  copied "cp: into a directory" one directory/one
  run cp one two ./source directory/
  copied "cp: several into a directory" source directory/source
  same_files "cp: several into a directory: the second" two directory/two
  run cp one other/one two directory
  refused "cp: two of one name" 1 "cp: other/one: 'directory/one' was written just now, and is not overwritten" \
    one directory/one
  run cp one two three
  refused "cp: several into something that is no directory" 1 'cp: three: No such file or directory' two two
  run cp one two source
  refused "cp: several into a file" 1 'cp: source: Not a directory' new source

  pipeline 'command -p cat source | cp - target'
  copied "cp: standard input" source target
  pipeline '{ dd bs=1 count=5 status=none > /dev/null; cp - target; } < source'
  tail -c +6 source > expected
  copied "cp: standard input, a file from its position" expected target
  pipeline 'echo x | cp - directory'
  refused "cp: standard input into a directory" 1 "cp: -: standard input has no name for a file in 'directory'" \
    one directory/one
  run cp source /dev/stdout
  gave "cp: to standard output" 0 source ''

  ln one hard
  ln -s one soft
  echo 1 > expected
  for name in one ./one hard soft "$PWD/one"; do
    run cp one $name
    refused "cp: onto itself, as ${name##*/}" 1 "cp: one: is the same file as '$name'" expected one
  done
  run cp one .
  refused "cp: onto itself, by the directory" 1 "cp: one: is the same file as './one'" expected one
  pipeline 'cp - one < one'
  refused "cp: onto itself, as standard input" 1 "cp: -: is the same file as 'one'" expected one

  echo kept > kept
  run cp missing kept
  refused "cp: a missing source" 1 'cp: missing: No such file or directory' "$(text 'kept\n')" kept
  run cp directory kept
  refused "cp: a directory" 1 'cp: directory: Is a directory' "$(text 'kept\n')" kept
  run cp /proc/self/mem kept
  refused "cp: a source that cannot be read" 1 'cp: /proc/self/mem: Input/output error' "$(text 'kept\n')" kept
  rm -r directory/*
  run cp missing two directory directory
  refused "cp: failures among others" 1 \
    $'cp: missing: No such file or directory\ncp: directory: Is a directory' two directory/two
  run cp - kept <&-
  refused "cp: standard input is closed" 1 'cp: /dev/fd/0: Bad file descriptor' "$(text 'kept\n')" kept
  run cp one missing/one
  refused "cp: no such directory" 1 'cp: missing/one: No such file or directory' expected one
  run cp source /dev/full
  refused "cp: no space" 1 'cp: /dev/full: No space left on device' new source
  command cp "$programs/cp" busy
  code=0
  timeout 60 ./busy one busy > "$run.out" 2> "$run.err" || code=$?
  gave "cp: a target that is just running is replaced" 0 /dev/null ''
  same_files "cp: a target that is just running is replaced: the copy" one busy

  for size in 0 -1 x '' ' ' 1.5 1k 1KM K 1025M 2147483648 99999999999999999999 0x10 +1 '1 '; do
    run cp --chunk-size "$size" one kept
    refused "cp --chunk-size '$size'" 2 "cp: --chunk-size $size: not a size from 1 to 1024M"$'\n'"$usage" \
      "$(text 'kept\n')" kept
  done
  run cp
  refused "cp without arguments" 2 "$usage" "$(text 'kept\n')" kept
  run cp kept
  refused "cp with one argument" 2 "$usage" "$(text 'kept\n')" kept
  run cp --help
  gave "cp --help" 0 "$(text "$usage\n")" ''

  touch private shared
  chmod 750 private
  chmod 666 shared
  chmod 604 kept
  run cp private private.copy
  run cp private kept
  pipeline 'umask 027; cp shared shared.copy; echo x | cp - input.copy'
  stat -c '%a %n' private.copy kept shared.copy input.copy > modes
  same_files "cp: permissions" "$(text '750 private.copy\n604 kept\n640 shared.copy\n640 input.copy\n')" modes

  if command -v script > /dev/null; then
    timeout 120 script -qec "'$programs/cp' source on_terminal" terminal > /dev/null < /dev/null
    tr '\r' '\n' < terminal | grep -a '^\[#* *\]' | tail -n 1 > bar
    same_files "cp: on a terminal" source on_terminal
    same_files "cp: the bar" "$(text '[##############################] 100%     10.0 MiB  source\n')" bar
  else
    echo "without script(1): cp's progress bar is not tested"
  fi
}

# --- everything, on each backend

export CAIO_IMPL
random=$work/random
head -c 16777216 /dev/urandom > "$random"
first=
for CAIO_IMPL in uring linux thread blocking; do
  mkdir "$work/$CAIO_IMPL" && cd "$work/$CAIO_IMPL" || exit 2
  run=$work/$CAIO_IMPL.run
  run hello
  if ((code != 0)) && [[ $CAIO_IMPL == uring || $CAIO_IMPL == linux ]] &&
    grep -q "CAIO_IMPL=$CAIO_IMPL: .*; available: " "$run.err"; then
    echo "skipped: $(cat "$run.err")"
    continue
  fi
  rm -f hello.txt
  simple
  if [[ -n $first ]]; then
    result "the same files as on $first" "$(diff -rq "$work/$first/simple" simple)"
  else
    first=$CAIO_IMPL
  fi
  for group in hashers csv foreign_loops cat_files cp_files; do
    mkdir $group && cd $group || exit 2
    $group
    cd ..
  done
  cd "$work" && rm -r "${CAIO_IMPL:?}"/{hashers,csv,foreign_loops,cat_files,cp_files}
done

CAIO_IMPL=any
cd "$work" || exit 2
run=$work/any.run
env -u CAIO_IMPL timeout 300 "$programs/demo" 8 > "$run.out" 2> "$run.err"
code=$?
result "demo" "$( ((code == 0)) || cat "$run.out" "$run.err")"
tested[demo]=1
for program in "$programs"/*; do
  if [[ -f $program && -x $program && -z ${tested[${program##*/}]-} ]]; then
    result "every example is tested" "${program##*/} is not"
  fi
done

echo "$passed passed, $failed failed"
((failed == 0))
