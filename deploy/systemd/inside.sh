#!/bin/sh
# What try.sh runs in the booted root.
set -eu
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
config=/etc/mcp-ilert/mcp-ilert.yaml
say() { echo "== $*"; }
must() { "$@" || { echo "not so: $*"; systemctl status --no-pager --full mcp-ilert || true; journalctl --no-pager -u mcp-ilert | tail -n 30; exit 1; }; }
shown() { systemctl show --value --property="$1" mcp-ilert; }
is() { must test "$(shown "$1")" = "$2"; }
waiting() { # SECONDS COMMAND…
  left=$(($1 * 10)); shift
  until "$@"; do left=$((left - 1)); [ $left -gt 0 ] || must "$@"; sleep 0.1; done
}
told() { journalctl --quiet -u mcp-ilert --grep "$1" >/dev/null; }
status() { [ "$(shown StatusText)" = "$1" ]; }
restarted() { [ "$(shown NRestarts)" -ge "$1" ] && [ "$(shown ActiveState)" = active ]; }

say "systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'): install; neither enabled nor started"
dpkg --install /root/p.deb >/dev/null
is ActiveState inactive
is UnitFileState disabled

say 'a key by LoadCredential, an iLert beside it'
sed -i -e "s|^  webhook_key: \"\"|  webhook_key_file: \${CREDENTIALS_DIRECTORY}/webhook_key\n  api_url: http://127.0.0.1:8081|" $config
(umask 077; echo sandbox-key >/etc/mcp-ilert/webhook_key)
mkdir -p /etc/systemd/system/mcp-ilert.service.d
printf '[Service]\nLoadCredential=webhook_key:/etc/mcp-ilert/webhook_key\n' >/etc/systemd/system/mcp-ilert.service.d/key.conf
systemctl daemon-reload
systemd-run --quiet --unit=sandbox mcp-ilert sandbox --port 8081

say 'start: systemctl returns when the bridge is ready'
systemctl enable --now mcp-ilert
is StatusText 'accepting events at http://127.0.0.1:8080'
python3 /root/exercise.py first
must grep -q '^Uid:[[:space:]]*'"$(id -u mcp)" "/proc/$(shown MainPID)/status"
must test "$(stat -c '%a %U' /var/lib/mcp-ilert)" = '700 mcp'
echo "  limit of files $(awk '/open files/ {print $4}' "/proc/$(shown MainPID)/limits"), memory $(($(awk '/VmRSS/ {print $2}' "/proc/$(shown MainPID)/status") / 1024)) MB"

say 'reload'
pid=$(shown MainPID)
must systemctl reload mcp-ilert
waiting 10 told 'configuration reloaded'
is MainPID "$pid"

say 'reload of a wrong configuration: the bridge stays, and the status says so'
cp $config /root/right; echo 'nonsense: true' >>$config
systemctl reload mcp-ilert
waiting 10 told nonsense
waiting 10 status 'accepting events at http://127.0.0.1:8080; reload refused, see the log'
is MainPID "$pid"

say 'start with a wrong configuration: tried until it is mended'
systemctl stop mcp-ilert
code=0; systemctl start mcp-ilert 2>/dev/null || code=$?
must test $code != 0
cp /root/right $config
waiting 30 restarted 1
python3 /root/exercise.py second

say 'a bridge that hangs is ended by the watchdog, says where, and is started again'
printf '[Service]\nWatchdogSec=4\n' >/etc/systemd/system/mcp-ilert.service.d/soon.conf
systemctl daemon-reload
systemctl restart mcp-ilert
pid=$(shown MainPID) before=$(shown NRestarts)
sleep 10
is MainPID "$pid" # its pings are heard
kill -STOP "$pid"
sleep 6
kill -CONT "$pid" 2>/dev/null || true
waiting 60 restarted $((before + 1))
waiting 10 told 'Watchdog timeout'
waiting 10 told 'Fatal Python error: Aborted'
python3 /root/exercise.py third

say 'stop'
systemctl stop mcp-ilert
is Result success
must test "$(mcp-ilert queue stats --spool /var/lib/mcp-ilert/spool.db --json | grep -c '"delivered": *3\b')" = 1

say 'upgrade restarts what runs; removal stops it'
systemctl start mcp-ilert
pid=$(shown MainPID)
dpkg --install /root/p.deb >/dev/null
waiting 60 restarted 0
must test "$(shown MainPID)" != "$pid"
dpkg --remove mcp-ilert >/dev/null
must test ! -e "/proc/$(pgrep -u mcp || echo none)"
must test -e /var/lib/mcp-ilert/spool.db
say ok
