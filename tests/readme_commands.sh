#!/bin/sh
# readme_commands.sh SOURCE DIRECTORY: runs the README's commands, taken apart by readme_snippets.sh into DIRECTORY,
# in a copy of the tree, as in a fresh clone; the README's programs lie beside.
set -eu
tree=$2/tree
rm -rf "$tree"
mkdir -p "$tree"
(cd "$1" && tar -cf - CMakeLists.txt CMakePresets.json README.md LICENSE dev cmake include examples tests) |
  tar -C "$tree" -xf -
cp "$2"/*.cpp "$tree"
cd "$tree"
for commands in "$2"/commands_*.sh; do
  sh -eux "$commands"
done
