#!/bin/sh
# Builds mcp-ilert-linux-$1.tar.gz ($1: amd64 or arm64) into the folder $2 from our wheels: a program with its own Python, to be
# unpacked and run. PyInstaller does it in a small Debian 12 of that architecture, so that what it takes along is Debian's and the
# same each time. Needs root and what root.sh and in_root.sh need; python, which has pip and packaging, is $PYTHON.
set -eu
architecture=$1 out=$2
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root"
PYTHON=${PYTHON:-python3}
case $architecture in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; *) echo "mcp-ilert: amd64 or arm64, not $architecture" >&2; exit 2 ;; esac
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)}"
work=$root/build/executable-$architecture
umask 022

rm -rf "$work/site" "$work/build" "$work/dist"
mkdir -p "$work"
sh wheels/root.sh bookworm "$architecture" python3.11-minimal,libpython3.11-stdlib,libpython3.11,ca-certificates,bash,binutils,coreutils,dash,libc-bin "$work/root"
"$PYTHON" wheels/installed.py "$work/site" 3.11 "$machine" lock/executables.txt
cp wheels/mcp-ilert.spec "$work/"
MOUNT=$work sh wheels/in_root.sh "$work/root" PYTHONPATH=/mnt/site PYTHONHASHSEED=0 SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
  /usr/bin/python3.11 -m PyInstaller --log-level WARN --noconfirm --distpath /mnt/dist --workpath /mnt/build /mnt/mcp-ilert.spec
# The licences of all that comes along: of Debian's packages, and of Python's.
licences=$work/dist/mcp-ilert/licences
mkdir -p "$licences"
cp LICENSE LICENSE.nghttp2 "$licences/"
for package in libpython3.11-minimal libssl3 libexpat1 libffi8 liblzma5 libbz2-1.0 zlib1g libuuid1; do
  cp "$work/root/usr/share/doc/$package/copyright" "$licences/$package"
done
for folder in "$work"/site/*.dist-info; do
  name=$(basename "$folder" .dist-info)
  find "$folder" -iname '*licen[sc]e*' -type f -exec cat {} + >"$licences/$name"
  [ -s "$licences/$name" ] || sed -n '1,/^$/p' "$folder/METADATA" >"$licences/$name"
done
cp examples/mcp-ilert.yaml "$work/dist/mcp-ilert/"
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --owner=0 --group=0 --mode=go-w -C "$work/dist/mcp-ilert" -cf - . |
  gzip -9n >"$out/mcp-ilert-linux-$architecture.tar.gz"
