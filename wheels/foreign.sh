#!/bin/sh
# Runs a command where the kernel hands programs for arm64 to qemu: foreign.sh COMMAND…. It becomes the command, as root of a user
# namespace with a table of binfmt_misc and mounts of its own; the system's are left alone. Needs root, Linux 6.7 or newer, and
# qemu-user-static.
set -eu
[ "$(id -u)" = 0 ] || { echo "mcp-ilert: wheels/foreign.sh makes a user namespace with all users in it: run it as root" >&2; exit 2; }

# Who is in the new namespace may not say who is who in it. This one, outside, does, and is nobody's child, lest the command find it.
maps() {
  until [ "$(readlink /proc/$$/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
  for kind in uid gid; do echo '0 0 65536' >/proc/$$/${kind}_map || kill $$; done
}
(maps &)
# shellcheck disable=SC2016  # for the shell inside
exec unshare --user --mount --propagation private sh -c '
  set -e
  until read -r _ </proc/self/gid_map; do sleep 0.01; done
  table=/proc/sys/fs/binfmt_misc
  mount -t binfmt_misc none $table
  sed "s#:/usr/libexec.*#:/usr/bin/qemu-aarch64-static:OCF#" /usr/lib/binfmt.d/qemu-aarch64.conf >$table/register
  exec "$@"' sh "$@"
