#!/bin/sh
# deploy/deb/try.sh DEB [SUITE]: installs, runs, upgrades, removes and purges the package in a root of its own, with a network of
# its own. Needs root and mmdebstrap; for arm64 qemu-user-static, too. The empty roots are kept in build/roots.
set -eu
cd "$(dirname "$0")/../.."
deb=$1 suite=${2:-bookworm}
arch=$(dpkg-deb --field "$deb" Architecture)
empty=build/roots/$suite-$arch.tar
foreign=
[ "$arch" = "$(dpkg --print-architecture)" ] || foreign=wheels/foreign.sh

if [ -z "${INSIDE:-}" ]; then
  if [ ! -e "$empty" ]; then
    mkdir -p build/roots
    # In a user namespace it says "permission denied" of mounts that only root outside may make, and takes others instead.
    $foreign mmdebstrap --quiet --mode=root --variant=minbase --architectures="$arch" \
      --include=python3,adduser,procps,debconf,ca-certificates "$suite" "$empty"
  fi
  exec $foreign unshare --mount --net --propagation private env INSIDE=1 sh "$0" "$@"
fi

root=$(mktemp -d)
started=
end() {
  for p in $started; do kill -9 "$p" 2>/dev/null || true; done
  for m in proc dev; do umount --lazy "$root/$m" 2>/dev/null || true; done # whole: what lies below belongs to another name space
  rm -rf --one-file-system "$root"
}
trap end EXIT
python3 deploy/loopback.py
tar -C "$root" -xf "$empty" --exclude='./dev/*'
for m in proc dev; do mount --rbind /$m "$root/$m"; done

in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
as_mcp() { in_root setpriv --reuid mcp --regid mcp --clear-groups env STATE_DIRECTORY=/var/lib/mcp-ilert "$@"; }
say() { echo "== $suite $arch: $*"; }
must() { "$@" || { echo "deploy/deb/try.sh: not so: $*" >&2; exit 1; }; }
fact() { must test "$(stat -c "$2" "$root$1")" = "$3"; }
has() { in_root mcp-ilert queue stats --spool /var/lib/mcp-ilert/spool.db --json | grep -q "\"delivered\": *$1\b"; }
give() { cp "$1" "$root/tmp/p.deb"; in_root dpkg --install /tmp/p.deb; }

run() { # KEY: from the start to the end that SIGTERM asks for
  chroot "$root" /usr/bin/setpriv --reuid "$(in_root id -u mcp)" --regid "$(in_root id -g mcp)" --clear-groups \
    env -i PATH=/usr/bin:/bin STATE_DIRECTORY=/var/lib/mcp-ilert mcp-ilert --config /etc/mcp-ilert/mcp-ilert.yaml 2>"$root/tmp/log" &
  bridge=$!; started="$started $bridge"
  python3 deploy/exercise.py "$1" || { cat "$root/tmp/log"; exit 1; }
  kill -TERM $bridge
  code=0; wait $bridge || code=$?
  must test $code = 0
}

say install
give "$deb"
in_root mcp-ilert --version
fact /etc/mcp-ilert/mcp-ilert.yaml '%a %u %g' "640 0 $(in_root id -g mcp)"
must in_root test -n "$(in_root find /usr/lib/mcp-ilert/site/mcp_ilert -name '*.pyc' -print -quit)"
code=0; as_mcp mcp-ilert check-config /etc/mcp-ilert/mcp-ilert.yaml || code=$?
must test $code = 2 # no key yet

say run
sed -i -e 's/^  webhook_key: ""/  webhook_key: sandbox-key\n  api_url: http:\/\/127.0.0.1:8081/' "$root/etc/mcp-ilert/mcp-ilert.yaml"
must as_mcp mcp-ilert check-config /etc/mcp-ilert/mcp-ilert.yaml
(exec chroot "$root" env -i PATH=/usr/bin:/bin mcp-ilert sandbox --port 8081) >/dev/null 2>&1 & started=$!
run first
must has 1

say upgrade
rm -rf "$root/tmp/p"; dpkg-deb --raw-extract "$deb" "$root/tmp/p"
sed -i 's/^Version: .*/&.1/' "$root/tmp/p/DEBIAN/control"
dpkg-deb --root-owner-group -Znone --build "$root/tmp/p" "$root/tmp/next.deb" >/dev/null
give "$root/tmp/next.deb"
must grep -q sandbox-key "$root/etc/mcp-ilert/mcp-ilert.yaml"
fact /etc/mcp-ilert/mcp-ilert.yaml %a 640
run second
must has 2

say remove
in_root dpkg --remove mcp-ilert
must test ! -e "$root/usr/lib/mcp-ilert"
must test -e "$root/etc/mcp-ilert/mcp-ilert.yaml"
must test -e "$root/var/lib/mcp-ilert/spool.db"

say 'purge where nobody can be asked: the spool stays'
in_root dpkg --purge mcp-ilert 2>&1 | tee "$root/tmp/said"
must grep -q 'the spool is kept' "$root/tmp/said"
must test ! -e "$root/etc/mcp-ilert"
must test -e "$root/var/lib/mcp-ilert/spool.db"

say 'install again: it goes on with the spool'
give "$deb"
must has 2

say 'purge with consent: the spool goes'
echo mcp-ilert mcp-ilert/purge_spool boolean true | in_root debconf-set-selections
in_root dpkg --purge mcp-ilert
must test ! -e "$root/var/lib/mcp-ilert"
say ok
