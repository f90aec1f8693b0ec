#!/bin/sh
# Compiles libnghttp2 from the source $1 for the zig target $2 into the folder $3: include/ and lib/libnghttp2.a, as setup.py's
# NGHTTP2_PREFIX wants them. Its symbols are hidden: it never meets another libnghttp2 in the process. The same bytes each time.
# PYTHON has ziglang.
set -eu
src=$1 target=$2 to=$3
PYTHON=${PYTHON:-python3}
version=1.64.0

rm -rf "$to"
mkdir -p "$to/include/nghttp2" "$to/lib" "$to/obj"
cp "$src/lib/includes/nghttp2/nghttp2.h" "$to/include/nghttp2/"
sed -e "s/@PACKAGE_VERSION@/$version/" -e "s/@PACKAGE_VERSION_NUM@/$(printf '0x%02x%02x%02x' $(echo $version | tr . ' '))/" \
  "$src/lib/includes/nghttp2/nghttp2ver.h.in" >"$to/include/nghttp2/nghttp2ver.h"
cd "$to"
for file in "$src"/lib/*.c; do
  "$PYTHON" -m ziglang cc -target "$target" -c -O3 -g0 -fPIC -fvisibility=hidden -DNDEBUG -DNGHTTP2_STATICLIB -DBUILDING_NGHTTP2 \
    -DHAVE_ARPA_INET_H=1 -DHAVE_NETINET_IN_H=1 -DHAVE_TIME_H=1 -DHAVE_CLOCK_GETTIME=1 -DHAVE_DECL_CLOCK_MONOTONIC=1 \
    -Iinclude "$file" -o "obj/$(basename "$file" .c).o"
done
"$PYTHON" -m ziglang ar rcsD lib/libnghttp2.a obj/*.o
