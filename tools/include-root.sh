#!/bin/sh
# Makes the include root of one room below the build directory: a folder that
# holds nothing but links to the headers which users of that room may include.
# Called by meson at configure time: include-root.sh ROOM SOURCE_ROOT BUILD_ROOT
set -eu
room=$1 source=$2 root=$3/include/$1
case $room in
  base)
    # The vocabulary that every room speaks: errno, ids, descriptors.
    mkdir -p "$root/proto" "$root/io"
    ln -sfn "$source/proto/base" "$root/proto/base"
    ln -sfn "$source/io/base" "$root/io/base"
    ;;
  *)
    mkdir -p "$root"
    ln -sfn "$source/$room" "$root/$room"
    ;;
esac
