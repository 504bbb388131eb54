#!/bin/sh
# build.sh DIRECTORY: builds and runs the consumer there, with what pkg-config says.
set -eux
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
${CXX:-c++} -std=c++20 $(${PKG_CONFIG:-pkg-config} --cflags aiofile) "$here/../main.cpp" -o consumer \
  $(${PKG_CONFIG:-pkg-config} --libs aiofile)
./consumer
