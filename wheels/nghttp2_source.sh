#!/bin/sh
# Puts libnghttp2's C source, checked and patched, into the folder $1.
#   NGHTTP2_SOURCE=/path   a release tarball of that version, or its unpacked tree; else Debian's source package is taken, by apt
# What is compiled is what is checked, file by file (nghttp2.sha256), so it does not matter how it was packed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
to=$1
version=1.64.0
suite=trixie   # has that version for as long as it is supported

die() { echo "mcp-ilert: $*" >&2; exit 1; }

# Debian's own tarball, by an apt state of our own: the system's is not touched, and need not have source packages or this suite.
by_apt() {
  command -v apt-get >/dev/null 2>&1 ||
    die "no apt-get here to fetch nghttp2 $version with; get its release tarball and say NGHTTP2_SOURCE=/path/to/it"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -n "$mirror" ] && [ -e "$keys" ] ||
    die "this is not Debian, whose source package of nghttp2 is taken; say NGHTTP2_SOURCE=/path/to/nghttp2-$version.tar.gz"
  apt=$to/apt
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  echo "deb-src [signed-by=$keys] $mirror $suite main" >"$apt/sources.list"
  printf 'Dir::Etc::sourcelist "%s";\nDir::Etc::sourceparts "/dev/null";\nDir::State::lists "%s";\nDir::Cache "%s";\nAPT::Sandbox::User "root";\n' \
    "$apt/sources.list" "$apt/lists" "$apt/cache" >"$apt/apt.conf"
  (
    cd "$apt"
    export APT_CONFIG="$apt/apt.conf"
    apt-get update -q
    apt-get source -q --download-only --tar-only nghttp2
  ) >"$apt/log" 2>&1 || { cat "$apt/log" >&2; die "apt could not fetch nghttp2's source; say NGHTTP2_SOURCE=/path/to/nghttp2-$version.tar.gz"; }
  found=$apt/nghttp2_$version.orig.tar.gz
  [ -e "$found" ] || die "$suite has another version of nghttp2 than $version; say NGHTTP2_SOURCE=/path/to/nghttp2-$version.tar.gz"
}

rm -rf "$to"
mkdir -p "$to/src"
to=$(cd "$to" && pwd)
cd "$here"/..   # a path given may be relative to it
found=${NGHTTP2_SOURCE:-}
[ -n "$found" ] || by_apt
if [ -d "$found" ]; then
  cp -R "$found/lib" "$found/COPYING" "$to/src/"
else
  tar -xf "$found" -C "$to/src" --strip-components=1
fi
(cd "$to/src" && sha256sum --quiet --strict -c "$here/nghttp2.sha256") >&2 ||
  die "this is not nghttp2 $version as it was released (wheels/nghttp2.sha256)"
for patch in "$here"/patches/nghttp2-*.patch; do
  patch --quiet --directory="$to/src" --strip=1 <"$patch"
done
