#!/bin/sh
# Makes a small Debian in the folder $4: root.sh SUITE ARCHITECTURE PACKAGES ROOT. Needs root and mmdebstrap, no emulation: packages are
# unpacked, not configured. They come from where mmdebstrap finds Debian by itself, with security updates; elsewhere than on Debian it
# needs Debian's keys (debian-archive-keyring).
set -eu
suite=$1 architecture=$2 packages=$3 root=$4
[ ! -e "$root/.made" ] || [ "$(cat "$root/.made")" != "$suite $architecture $packages" ] || exit 0
command -v mmdebstrap >/dev/null 2>&1 || { echo "mcp-ilert: mmdebstrap is not installed; Debian: apt install mmdebstrap" >&2; exit 2; }
rm -rf "$root"
mmdebstrap --quiet --mode=root --variant=extract --architectures="$architecture" --include="$packages" "$suite" "$root"
# What the packages would have done themselves, had they been configured.
[ ! -d "$root/etc/ssl/certs" ] || cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
echo 'root:x:0:0::/root:/bin/sh' >"$root/etc/passwd"
for folder in bin sbin lib lib64; do   # which trixie has from a package that need not be there
  [ -e "$root/$folder" ] || [ ! -d "$root/usr/$folder" ] || ln -s "usr/$folder" "$root/$folder"
done
mkdir -p "$root/proc" "$root/dev" "$root/tmp" "$root/mnt"
rm -f "$root/etc/resolv.conf" "$root/etc/hostname"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
echo "$suite $architecture $packages" >"$root/.made"
