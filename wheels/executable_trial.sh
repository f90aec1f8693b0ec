#!/bin/sh
# Unpacks mcp-ilert-linux-$1.tar.gz ($1: amd64 or arm64) from the folder $2 where there is no Python, nor anything else but a libc
# and env, and tries it there (trial.py). Needs root and what root.sh and in_root.sh need.
set -eu
architecture=$1 from=$2
root=$(cd "$(dirname "$0")/.." && pwd)
from=$(cd "$from" && pwd)
cd "$root"
work=$root/build/executable-$architecture
sh wheels/root.sh bookworm "$architecture" libc6,coreutils,dash "$work/bare"
[ -z "$(find "$work/bare" -name '*python3*')" ] || { echo "mcp-ilert: there is a Python in $work/bare" >&2; exit 1; }
rm -rf "$work/unpacked" "$work/trial"
mkdir -p "$work/unpacked" "$work/trial"
tar -xzf "$from/mcp-ilert-linux-$architecture.tar.gz" -C "$work/unpacked"
du -sh "$work/unpacked" | sed "s#$work/unpacked#unpacked, $architecture#"
MOUNT=$work "${PYTHON:-python3}" wheels/trial.py --folder "$work/trial" --seen-as /mnt/trial -- \
  sh wheels/in_root.sh "$work/bare" /mnt/unpacked/mcp-ilert
