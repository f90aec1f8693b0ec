#!/bin/sh
# deploy/deb/build.sh ARCH [REVISION]: dist/mcp-ilert_VERSION-REVISION_ARCH.deb from wheels/dist/wheelhouse (make wheelhouse).
# The same commit makes the same bytes. Needs dpkg-deb, gzip, and the environment .venv ($VENV).
set -eu
cd "$(dirname "$0")/../.."
arch=$1 revision=${2:-1}
python=${VENV:-.venv}/bin/python
from=deploy/deb
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
umask 022

version=$($python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')-$revision
maintainer=${MAINTAINER:-The MCP iLert authors <mcp-ilert@example.org>}
root=build/deb/$arch
rm -rf "$root"
mkdir -p "$root/DEBIAN" dist

# Debian 12 has Python 3.11, Ubuntu 24.04 has 3.12, Debian 13 has 3.13: one folder serves them all.
$python deploy/site.py --arch "$arch" --python 3.11 --python 3.12 --python 3.13 "$root/usr/lib/mcp-ilert/site"
$python deploy/manuals.py build/deb/manuals
doc=$root/usr/share/doc/mcp-ilert
put() { install -D -m "$1" "$2" "$root/$3"; }
put 755 $from/mcp-ilert usr/bin/mcp-ilert
put 640 $from/mcp-ilert.yaml etc/mcp-ilert/mcp-ilert.yaml
put 644 deploy/systemd/mcp-ilert.service lib/systemd/system/mcp-ilert.service
put 755 $from/rtupdate usr/share/python3/runtime.d/mcp-ilert.rtupdate
put 644 $from/lintian-overrides usr/share/lintian/overrides/mcp-ilert
put 644 build/deb/manuals/mcp-ilert.1 usr/share/man/man1/mcp-ilert.1
put 644 build/deb/manuals/mcp-ilert.yaml.5 usr/share/man/man5/mcp-ilert.yaml.5
put 644 build/deb/manuals/mcp-ilert.bash usr/share/bash-completion/completions/mcp-ilert
put 644 build/deb/manuals/_mcp-ilert usr/share/zsh/vendor-completions/_mcp-ilert
put 644 build/deb/manuals/mcp-ilert.fish usr/share/fish/vendor_completions.d/mcp-ilert.fish
for file in examples/* deploy/systemd/edge.conf deploy/prometheus/mcp-ilert.rules.yml; do
  put 644 "$file" "usr/share/doc/mcp-ilert/examples/$(basename "$file")"
done
put 644 README.md usr/share/doc/mcp-ilert/README.md
put 644 CHANGELOG.md usr/share/doc/mcp-ilert/changelog
$python $from/copyright.py "$root/usr/lib/mcp-ilert/site" >"$doc/copyright"
printf 'mcp-ilert (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' \
  "$version" "$maintainer" "$(LC_ALL=C date -u -d "@$SOURCE_DATE_EPOCH" '+%a, %d %b %Y %H:%M:%S +0000')" >"$doc/changelog.Debian"
gzip -9n "$root"/usr/share/man/man?/* "$doc/changelog" "$doc/changelog.Debian"

for script in config postinst prerm postrm; do put 755 $from/$script DEBIAN/$script; done
put 644 $from/templates DEBIAN/templates
echo /etc/mcp-ilert/mcp-ilert.yaml >"$root/DEBIAN/conffiles"
(cd "$root" && find usr lib -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
size=$(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@MAINTAINER@/$maintainer/; s/@SIZE@/$size/" $from/control.in >"$root/DEBIAN/control"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group --threads-max=1 -Zxz --build "$root" "dist/mcp-ilert_${version}_$arch.deb" >/dev/null
echo "dist/mcp-ilert_${version}_$arch.deb"
