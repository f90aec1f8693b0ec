#!/bin/sh
# deploy/image/base.sh ARCH: build/image/base-ARCH.tar, Debian's Python 3.11 with what it needs, and nothing else: no shell, no
# package manager. Nothing of it is run, so any machine serves. Needs root, mmdebstrap, and a Python 3.11 in .venv ($VENV).
set -eu
cd "$(dirname "$0")/../.."
arch=$1
root=build/image/base-$arch
python=$(realpath -s "${VENV:-.venv}/bin/python")
rm -rf "$root"
mkdir -p "$root"

# No package manager ran in there; who looks for known vulnerabilities finds in its list what the packages were.
# shellcheck disable=SC2016  # for the shell of the hook
mmdebstrap --quiet --mode=root --variant=extract --architectures="$arch" \
  --include=python3.11-minimal,libpython3.11-stdlib,ca-certificates,tzdata,netbase \
  --extract-hook='for deb in "$1"/var/cache/apt/archives/*.deb; do dpkg-deb --field "$deb"; printf "Status: install ok installed\n\n"; done >"$1/var/lib/dpkg/status"' \
  bookworm "$root"
[ -s "$root/var/lib/dpkg/status" ]

cd "$root"
mv var/lib/dpkg/status usr/bin/python3.11 . # all else of these goes
rm -rf bin sbin usr/bin usr/sbin usr/libexec usr/games var dev etc/apt etc/resolv.conf etc/hostname etc/fstab etc/cron.daily etc/logrotate.d etc/alternatives
rm -rf usr/lib/*/gconv usr/lib/*/perl* usr/share/perl* usr/lib/binfmt.d usr/lib/mime lib/systemd
find usr/share -mindepth 1 -maxdepth 1 ! -name doc ! -name zoneinfo ! -name ca-certificates -exec rm -rf {} +
find usr/share/doc ! -type d ! -name copyright -delete
for unused in ensurepip idlelib lib2to3 pydoc_data test tkinter turtle.py turtledemo distutils; do rm -rf "usr/lib/python3.11/$unused"; done
mkdir -p bin dev proc sys run tmp usr/bin usr/local/bin var/lib/dpkg var/lib/mcp-ilert var/tmp etc/ssl/certs
chmod 1777 tmp var/tmp
mv python3.11 usr/bin
mv status var/lib/dpkg
ln -s ../../bin/python3.11 usr/local/bin/python3.11 # as the official image has it
printf 'root:x:0:0::/:/nonexistent\nmcp:x:65532:65532:MCP iLert:/var/lib/mcp-ilert:/nonexistent\n' >etc/passwd
printf 'root:x:0:\nmcp:x:65532:\n' >etc/group
find usr/share/ca-certificates/mozilla -name '*.crt' -print0 | LC_ALL=C sort -z | xargs -0 cat >etc/ssl/certs/ca-certificates.crt
"$python" -m compileall -q --invalidation-mode unchecked-hash -s "$PWD" -p / usr/lib/python3.11
find . -empty -type d -path './usr/*' -delete
mkdir -p usr/local/bin
cd - >/dev/null
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --clamp-mtime --numeric-owner --owner=0 --group=0 --format=gnu -C "$root" -cf "$root.tar" .
