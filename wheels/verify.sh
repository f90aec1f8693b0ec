#!/bin/sh
# Builds all once more, from the commit and its time, in two folders whose paths differ in name and length, and compares the
# checksums; with those of $1 too, if it was built from the same files. Takes as long as two builds.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
git diff --quiet HEAD || { echo "mcp-ilert: there are changes that are not committed: only what is committed can be verified" >&2; exit 2; }
rm -rf build/verify
mkdir -p build/verify
for place in one another-place/of-the-same; do
  git clone --quiet --no-hardlinks "$root" "build/verify/$place"
  sh "build/verify/$place/wheels/build.sh" "$root/build/verify/$place/out" >/dev/null
  sha256sum "build/verify/$place/out/SHA256SUMS"
done
cmp build/verify/one/out/SHA256SUMS build/verify/another-place/of-the-same/out/SHA256SUMS
[ ! -e "${1:-none}/SHA256SUMS" ] || cmp build/verify/one/out/SHA256SUMS "$1/SHA256SUMS"
cat build/verify/one/out/SHA256SUMS
echo "mcp-ilert: the same bytes in both" >&2
