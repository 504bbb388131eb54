#!/bin/sh
# readme_snippets.sh DOCUMENT.md DIRECTORY: writes the document's code into files there.
#   ```cpp                        snippet_N.cpp, or the name given by a line <!-- name.cpp --> before it
#   ```sh after <!-- run -->      commands_N.sh
#   ```cpp after <!-- table name.cpp -->   name.cpp: prepares what the tables below it work on, up to the next heading:
#                                 the `code` at the end of each of their rows is run, one after the other
# A cpp block that has no main() gets one: coroutines are only compiled, statements run inside a Task.
set -eu
mkdir -p "$2"
rm -f "$2"/*.cpp "$2"/*.sh
awk -v dir="$2" -v document="$(basename "$1")" '
  function begin(name) { file = dir "/" name; start = NR + 1; head = body = ""; has_main = has_coroutine = 0 }
  function finish() {
    if (table && rows == "") {
      rows = sprintf("static aiofile::Task<> row_0() {\n#line %d \"%s\"\n%s  co_return;\n}\n", start, document, text)
      file = text = ""
      return
    }
    if (file ~ /\.cpp$/ && !has_main) {
      print "#include <chrono>\n#include <iostream>\n#include <string>\n#include <vector>\n" > file
      print "#include <aiofile/aiofile.hpp>\n" head "using namespace std::chrono_literals;" > file
      if (has_coroutine) tail = "int main() {}\n"
      else {
        print "static aiofile::Task<> snippet() {" > file
        tail = "  co_return;\n}\nint main() { aiofile::run(snippet()); }\n"
      }
      printf "#line %d \"%s\"\n%s%s", start, document, body, tail > file
    } else if (file ~ /\.cpp$/) {
      printf "#line %d \"%s\"\n%s", start, document, text > file
    } else {
      printf "%s", text > file
    }
    close(file); file = text = ""
  }
  file != "" && /^```/ { finish(); next }
  file != "" {
    text = text $0 "\n"
    if (/^#include/) { head = head $0 "\n"; body = body "\n" } else body = body $0 "\n"
    if (/[ \t]main\(/) has_main = 1
    if (/^[A-Za-z].*(Task|Generator)<.*\{$/) has_coroutine = 1
    next
  }
  /^```cpp$/ && table && rows == "" { begin(table); next }
  /^```cpp$/ { begin(comment ~ /\.cpp$/ ? comment : "snippet_" ++snippets ".cpp") }
  /^```sh$/ && comment == "run" { begin("commands_" ++commands ".sh") }
  /^```/ && file == "" { other = !other }
  rows != "" && file == "" && !other && /^#/ { past_tables = 1 }
  rows != "" && !past_tables && /`[^`]*` \|$/ {
    code = $0
    sub(/` \|$/, "", code)
    sub(/^.*`/, "", code)
    gsub(/\\\|/, "|", code)
    rows = rows sprintf("static aiofile::Task<> row_%d() {\n#line %d \"%s\"\n  %s\n  co_return;\n}\n", ++count, NR, document, code)
  }
  /^<!-- table .* -->$/ { table = $3 }
  { if (/^<!-- .* -->$/) comment = $2; else if (NF) comment = "" }
  END {
    if (rows == "") exit
    file = dir "/" table
    print "#include <chrono>\n#include <iostream>\n#include <sstream>\n#include <string>\n#include <vector>\n" > file
    print "#include <aiofile/aiofile.hpp>\n" > file
    print "using namespace aiofile;\nusing namespace std::chrono_literals;\n" rows "int main() {" > file
    for (i = 0; i <= count; ++i) print "  aiofile::run(row_" i "());" > file
    print "}" > file
  }
' "$1"
