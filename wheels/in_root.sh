#!/bin/sh
# Runs a command in the folder ROOT as its root folder: in_root.sh ROOT COMMAND…. It sees /proc, /dev, a /tmp of its own and, as /mnt,
# the folder $MOUNT. ROOT may be of arm64: then qemu-user runs it and all that it starts, by a binfmt_misc of its own, for which
# Linux 6.7 is needed; the system's is not touched. SIGTERM goes to the command. Needs root.
set -eu
pipe=$(mktemp -u)
mkfifo "$pipe"

inner='read _ <"$0"; set -e; root=$1; shift
if [ "$(od -An -tx1 -j18 -N1 "$root/usr/bin/env" | tr -d " ")" = b7 ]; then
  mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
  sed "s#:/usr/libexec.*#:/usr/bin/qemu-aarch64-static:OCF#" /usr/lib/binfmt.d/qemu-aarch64.conf >/proc/sys/fs/binfmt_misc/register
fi
for folder in proc dev; do mount --rbind "/$folder" "$root/$folder"; done
mount -t tmpfs tmp "$root/tmp"
[ -z "${MOUNT:-}" ] || { mkdir -p "$root/mnt"; mount --rbind "$MOUNT" "$root/mnt"; }
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 "$@"'
unshare --user --mount --propagation private sh -c "$inner" "$pipe" "$@" <&0 &
child=$!
trap 'kill -TERM $child' TERM INT
until [ "$(readlink /proc/$child/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
for kind in uid gid; do echo '0 0 65536' >"/proc/$child/${kind}_map"; done
echo >"$pipe"
status=0
wait "$child" || status=$?
[ "$status" -lt 128 ] || { kill -0 "$child" 2>/dev/null && { status=0; wait "$child" || status=$?; }; }   # a signal only ended the wait
rm -f "$pipe"
exit "$status"
