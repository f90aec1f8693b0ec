#!/bin/sh
# deploy/image/try.sh ARCH: starts the image under its restrictions by runc, in a network of its own: posts an event, which the
# sandbox iLert beside it must get, and ends it by SIGTERM. Needs root, skopeo, umoci, runc; for arm64 qemu-user-static,
# too, and then all figures are those of an emulator.
set -eu
cd "$(dirname "$0")/../.."
arch=$1
foreign=
[ "$arch" = "$(dpkg --print-architecture)" ] || foreign=wheels/foreign.sh
[ -n "${INSIDE:-}" ] || exec $foreign unshare --mount --net --propagation private env INSIDE=1 sh "$0" "$@"

python3 deploy/loopback.py
tmp=$(mktemp -d)
id=mcp-ilert-try-$$
runc() { command runc --root "$tmp/runc" "$@"; }
started=
end() {
  runc delete --force $id 2>/dev/null || true
  for p in $started; do kill -9 "$p" 2>/dev/null || true; done
  rm -rf --one-file-system "$tmp"
}
trap end EXIT
must() { "$@" || { echo "deploy/image/try.sh: not so: $*" >&2; cat "$tmp/log" >&2; exit 1; }; }
now() { date +%s.%N; }
since() { echo "$1" "$(now)" | awk '{printf "%.2f s", $2 - $1}'; }

skopeo copy --quiet --override-arch "$arch" oci-archive:dist/mcp-ilert-oci.tar "oci:$tmp/image:t"
umoci unpack --image "$tmp/image:t" "$tmp/bundle" 2>/dev/null
root=$tmp/bundle/rootfs
size=$(du -sm --apparent-size "$root" | cut -f1)
must test "$size" -lt 100
must test "$(stat -c '%a %u %g' "$root/var/lib/mcp-ilert")" = '700 65532 65532'
must test ! -e "$root/bin/sh" -a ! -e "$root/usr/bin/perl" -a ! -e "$root/etc/resolv.conf"

mkdir "$tmp/volume"
cp -a "$root/var/lib/mcp-ilert" "$tmp/volume/spool" # what an engine does with a new volume
cat >"$tmp/mcp-ilert.yaml" <<'YAML'
ilert: {webhook_key: sandbox-key, api_url: "http://127.0.0.1:8081"}
YAML
python3 - "$tmp" <<'PY'
import json, sys
tmp = sys.argv[1]
path = f"{tmp}/bundle/config.json"
config = json.load(open(path))
process = config["process"]
assert (process["user"]["uid"], process["user"]["gid"]) == (65532, 65532), process["user"]
process.update(terminal=False, rlimits=[], noNewPrivileges=True)
process["capabilities"] = {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")}
config["root"]["readonly"] = True
spaces = config["linux"]["namespaces"]
config["linux"]["namespaces"] = [space for space in spaces if space["type"] not in ("network", "cgroup")]
mounted = [mount for mount in config["mounts"] if mount["destination"] not in ("/tmp", "/var/lib/mcp-ilert", "/etc/resolv.conf")]
mounted += [
    {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "noexec", "mode=1777"]},
    {"destination": "/var/lib/mcp-ilert", "type": "bind", "source": f"{tmp}/volume/spool", "options": ["bind", "rw"]},
    {"destination": "/etc/mcp-ilert/mcp-ilert.yaml", "type": "bind", "source": f"{tmp}/mcp-ilert.yaml", "options": ["bind", "ro"]},
]
config["mounts"] = mounted
json.dump(config, open(path, "w"))
PY
chmod 755 "$tmp"
chmod 644 "$tmp/mcp-ilert.yaml"

"${VENV:-.venv}/bin/mcp-ilert" sandbox --port 8081 >/dev/null 2>&1 &
started=$!
echo "== $arch: $size MB unpacked"
began=$(now)
runc run --bundle "$tmp/bundle" $id >"$tmp/log" 2>&1 &
run=$!
python3 deploy/exercise.py "$arch" || { cat "$tmp/log"; exit 1; }
pid=$(runc state $id | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')
must grep -q '^NSpid:.*[[:space:]]1$' "/proc/$pid/status"
must grep -q '^Uid:[[:space:]]*65532' "/proc/$pid/status"
must grep -q '^CapEff:[[:space:]]*0*$' "/proc/$pid/status"
echo "  from start to this: $(since "$began"); memory $(awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$pid/status") MB as user 65532, process 1, no capabilities"
must runc exec $id /opt/mcp-ilert/bin/health
must test "$(runc exec $id mcp-ilert queue stats --spool /var/lib/mcp-ilert/spool.db --json | grep -c '"delivered": *1\b')" = 1
code=0; runc exec $id python3.11 -c 'open("/etc/written", "w")' 2>"$tmp/refused" || code=$?
must test $code = 1
must grep -q 'Read-only file system' "$tmp/refused"

began=$(now)
runc kill $id TERM
code=0; wait $run || code=$?
echo "  SIGTERM: exit code $code after $(since "$began")"
must test $code = 0
must test -e "$tmp/volume/spool/spool.db"
