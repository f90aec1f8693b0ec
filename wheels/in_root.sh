#!/bin/sh
# Runs a command in the folder ROOT as its root folder: in_root.sh ROOT COMMAND…. It sees /proc, /dev, a /tmp of its own and, as /mnt,
# the folder $MOUNT. ROOT may be of arm64: then foreign.sh has it and all that it starts emulated. This process becomes the command,
# so that signals, input and exit code are the command's. Needs root.
set -eu
root=$1
shift
# shellcheck disable=SC2016  # for the shell inside
inner='
  set -e
  root=$0
  for folder in proc dev; do mount --rbind "/$folder" "$root/$folder"; done
  mount -t tmpfs tmp "$root/tmp"
  [ -z "${MOUNT:-}" ] || { mkdir -p "$root/mnt"; mount --rbind "$MOUNT" "$root/mnt"; }
  exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 "$@"'
set -- unshare --mount --propagation private sh -c "$inner" "$root" "$@"
[ "$(od -An -tx1 -j18 -N1 "$root/usr/bin/env" | tr -d ' ')" != b7 ] || set -- sh "$(dirname "$0")/foreign.sh" "$@"   # ELF's e_machine
exec "$@"
