#!/bin/sh
# deploy/image/build.sh: dist/mcp-ilert-oci.tar, an OCI archive with the images for amd64 and arm64. The same commit and the same
# Debian packages make the same bytes. Needs root, mmdebstrap and buildah, no daemon and no registry.
set -eu
cd "$(dirname "$0")/../.."
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0
version=$("${VENV:-.venv}/bin/python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
revision=${REVISION:-$(git rev-parse HEAD)}
store=$PWD/build/image/store
build() { buildah --root "$store/root" --runroot "$store/run" --storage-driver overlay "$@"; }
[ ! -e "$store" ] || { build rm --all >/dev/null; build rmi --all --force >/dev/null; }
rm -rf build/image/layout
mkdir -p dist "$store"

sh deploy/image/context.sh
for arch in amd64 arm64; do
  sh deploy/image/base.sh $arch
  base=$(build from --arch $arch scratch)
  build add --quiet "$base" build/image/base-$arch.tar / >/dev/null
  build config --arch $arch --os linux "$base"
  build commit --quiet --timestamp "$SOURCE_DATE_EPOCH" "$base" localhost/base:$arch >/dev/null
  build rm "$base" >/dev/null
done
build manifest create localhost/mcp-ilert:"$version" >/dev/null
for arch in amd64 arm64; do
  # BuildKit has what docker's Dockerfile front end has beside; buildah warns that OCI has no HEALTHCHECK.
  build bud --quiet --isolation chroot --platform linux/$arch --pull-never --timestamp "$SOURCE_DATE_EPOCH" \
    --build-arg BASE=localhost/base:$arch --build-arg VERSION="$version" --build-arg REVISION="$revision" --build-arg SOURCE="${SOURCE:-}" \
    --manifest localhost/mcp-ilert:"$version" -f Dockerfile.multiarch build/image/context >/dev/null
done
rm -f dist/mcp-ilert-oci.tar
build manifest push --quiet --all --format oci localhost/mcp-ilert:"$version" oci:"$PWD/build/image/layout:$version" >/dev/null
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --owner=0 --group=0 --format=gnu -C build/image/layout -cf dist/mcp-ilert-oci.tar .
echo dist/mcp-ilert-oci.tar
