#!/bin/sh
# deploy/image/context.sh: build/image/context, what Dockerfile.multiarch copies, from wheels/dist/wheelhouse (make wheelhouse).
set -eu
cd "$(dirname "$0")/../.."
python=${VENV:-.venv}/bin/python
context=build/image/context
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
  { echo "deploy/image: needs Python 3.11 in .venv, which compiles for the Python 3.11 of the image" >&2; exit 2; }
rm -rf $context
umask 022
for arch in amd64 arm64; do
  opt=$context/opt-$arch
  "$python" deploy/site.py --arch $arch --python 3.11 "$opt/site"
  install -D -m 755 -t "$opt/bin" deploy/image/mcp-ilert deploy/image/health
  # The root is read-only, so what is compiled comes along; by hash, unlike by time, it is the same bytes each time.
  "$python" -m compileall -q --invalidation-mode unchecked-hash -s "$opt" -p /opt/mcp-ilert "$opt/site"
done
install -d -m 700 $context/state/mcp-ilert
