#!/bin/sh
# deploy/systemd/try.sh DEB [SUITE]: boots a root of its own with systemd as process 1, installs the package, and lives through what
# the unit promises: credentials, start, an event delivered, reload, a wrong configuration, a hung bridge, stop. Needs root,
# mmdebstrap, systemd-container. The empty roots are kept in build/roots.
set -eu
cd "$(dirname "$0")/../.."
deb=$1 suite=${2:-bookworm}
empty=build/roots/$suite-systemd.tar
if [ ! -e "$empty" ]; then
  mkdir -p build/roots
  mmdebstrap --quiet --variant=minbase --include=systemd-sysv,dbus,python3,adduser,procps,debconf,ca-certificates "$suite" "$empty"
fi
root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT
tar -C "$root" -xf "$empty" --exclude='./dev/*'
cp "$deb" "$root/root/p.deb"
cp deploy/exercise.py deploy/systemd/inside.sh "$root/root"
cat >"$root/etc/systemd/system/try.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=file:/root/said
StandardError=inherit
ExecStart=sh /root/inside.sh
ExecStopPost=systemctl --no-block poweroff
[Install]
WantedBy=default.target
UNIT
ln -s ../try.service "$root/etc/systemd/system/multi-user.target.wants/try.service"
: >"$root/root/said"
timeout 600 systemd-nspawn --quiet --directory="$root" --register=no --keep-unit --private-network --boot >"$root/root/console" 2>&1 &
nspawn=$!
tail --follow --pid=$nspawn "$root/root/said"
wait $nspawn || true
grep -q '^== ok$' "$root/root/said" || { tail -n 30 "$root/root/console"; exit 1; }
