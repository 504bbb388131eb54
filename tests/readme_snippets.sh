#!/bin/sh
# readme_snippets.sh README.md DIRECTORY: writes the README's code blocks into files there.
#   ```cpp                        snippet_N.cpp, or the name given by a line <!-- name.cpp --> before it
#   ```sh after <!-- run -->      commands_N.sh
# A cpp block that has no main() gets one: coroutines are only compiled, statements run inside a Task.
set -eu
mkdir -p "$2"
rm -f "$2"/*.cpp "$2"/*.sh
awk -v dir="$2" '
  function begin(name) { file = dir "/" name; start = NR + 1; head = body = ""; has_main = has_coroutine = 0 }
  function finish() {
    if (file ~ /\.cpp$/ && !has_main) {
      print "#include <chrono>\n#include <iostream>\n#include <string>\n#include <vector>\n" > file
      print "#include <aiofile/aiofile.hpp>\n" head "using namespace std::chrono_literals;" > file
      if (has_coroutine) tail = "int main() {}\n"
      else {
        print "static aiofile::Task<> snippet() {" > file
        tail = "  co_return;\n}\nint main() { aiofile::run(snippet()); }\n"
      }
      printf "#line %d \"README.md\"\n%s%s", start, body, tail > file
    } else if (file ~ /\.cpp$/) {
      printf "#line %d \"README.md\"\n%s", start, text > file
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
  /^```cpp$/ { begin(comment ~ /\.cpp$/ ? comment : "snippet_" ++snippets ".cpp") }
  /^```sh$/ && comment == "run" { begin("commands_" ++commands ".sh") }
  /^```/ && file == "" { other = !other }
  { if (/^<!-- .* -->$/) comment = $2; else if (NF) comment = "" }
' "$1"
