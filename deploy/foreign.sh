#!/bin/sh
# deploy/foreign.sh COMMAND…: runs it where the kernel hands programs for arm64 to qemu, as root of a user namespace.
# The system's own table of binfmt_misc is left alone. Needs root, Linux 6.7 or newer, and qemu-user-static.
f=$(mktemp -u); mkfifo "$f"
# shellcheck disable=SC2016  # for the shell inside
inner='read _ < "$0"; set -e; m=/proc/sys/fs/binfmt_misc; mount -t binfmt_misc none $m
sed "s#:/usr/libexec.*#:/usr/bin/qemu-aarch64-static:OCF#" /usr/lib/binfmt.d/qemu-aarch64.conf > $m/register; exec "$@"'
unshare --user --mount --propagation private sh -c "$inner" "$f" "$@" <&0 & p=$!
until [ "$(readlink /proc/$p/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do sleep .01; done
for k in uid gid; do echo '0 0 65536' > /proc/$p/${k}_map; done
echo > "$f"
trap 'kill -TERM $p' TERM INT
while :; do wait $p; r=$?; kill -0 $p 2>/dev/null || break; done
rm "$f"; exit "$r"
