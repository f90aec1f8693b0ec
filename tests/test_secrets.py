"""Planted secrets: one of every kind that is configured, and nothing that the bridge tells, keeps or is holds any.

iLert is played by a server that answers with whatever it was sent, keys and all. What comes to have a secret adds it to
`secrets_in`.
"""

import base64
import gc
import hashlib
import hmac
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import trio
import trio.testing

from bridge import event, running, until, write_config
from mcp_ilert import config
from mcp_ilert.service import open_service

PLANTED = "s3cr3tplanted"
PRODUCER, OPERATOR = f"{PLANTED}-producer", f"{PLANTED}-operator"

SIGNING = base64.b64encode(f"{PLANTED}-webhooks-24-bytes".encode()).decode()
FORMS = (PLANTED.encode(), SIGNING.encode())
"""In which a secret may show: as it is, or as it is configured."""


def secrets_in(folder: Path) -> dict[str, Any]:
    """Sections of a configuration with a secret at each place that may have one; the files hold theirs."""

    def file(name: str) -> str:
        path = folder / name
        path.write_text(f"{PLANTED}-{name}\n")
        path.chmod(0o600)
        return str(path)

    return {
        "auth": {
            "tokens": [
                {"name": "probes", "token": PRODUCER, "sources": ["probe-*"], "per_second": 1000},
                {"name": "boss", "token": OPERATOR, "role": "operator"},
                {"name": "filed", "token_file": file("token-file")},
            ],
            "webhook_secrets": [f"whsec_{SIGNING}"],
        },
        "webhooks": {
            "forge": {
                "event": {"mcp_id": "id", "source": "'probe-forge'", "summary": "text"},
                "hmac_secret": f"{PLANTED}-hmac",
            }
        },
        "ilert": {"api_key": f"{PLANTED}-account", "webhook_key": f"{PLANTED}-default"},
        "routes": [
            {"name": "disks", "match": {"tags": ["disk"]}, "webhook_key": f"{PLANTED}-disks"},
            {"name": "filed", "match": {"tags": ["net"]}, "webhook_key_file": file("route-file")},
        ],
    }


STATUSES = (400, 401, 422, 500, 404)


class Echo:
    """An iLert that says what it was told, in every kind of refusal by turns."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            while head := await self._head(stream):
                await self._answer(stream, head)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _head(self, stream: trio.SocketStream) -> bytes:
        text = b""
        while b"\r\n\r\n" not in text:
            more = await stream.receive_some(65_536)
            if not more:
                return b""
            text += more
        head, _, body = text.partition(b"\r\n\r\n")
        sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        size = int(sizes[0].split(b":")[1]) if sizes else 0
        while len(body) < size:
            body += await stream.receive_some(65_536)
        return head + b"\r\n\r\n" + body

    async def _answer(self, stream: trio.SocketStream, request: bytes) -> None:
        self.heard.append(request)
        status = STATUSES[len(self.heard) % len(STATUSES)]
        said = json.dumps({"code": "ECHO", "message": request.decode()[-2_000:]}).encode()
        if len(self.heard) % 7 == 3:
            await trio.aclose_forcefully(stream)
            return
        if len(self.heard) % 5 == 2:
            said = request
        await stream.send_all(
            b"HTTP/1.1 %d Echo\r\nContent-Length: %d\r\nLocation: /%b\r\n\r\n%b"
            % (status, len(said), PLANTED.encode(), said)
        )


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Echo, str]]:
    echo = Echo()
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, echo.serve, 0, host="127.0.0.1"))
        yield echo, f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def configured(folder: Path, url: str, **more: Any) -> Path:
    sections = secrets_in(folder) | {
        "logging": {"level": "debug"},
        "listen": {"tcp_port": 0, "record": str(folder / "record.ndjson")},
        "rate_limit": {"per_minute": 100_000},
        "retries": {"max_attempts": 2, "base_interval_seconds": 0.05, "max_interval_seconds": 0.1},
    }
    for name, keys in more.items():
        sections[name] = sections.get(name, {}) | keys
    sections["ilert"] = sections["ilert"] | {"heartbeat_url": f"{url}/api/pings/{PLANTED}-heartbeat"}
    routes = sections.pop("routes")
    path = write_config(folder, url, **sections)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"routes": routes}))
    return path


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def said_by(bridge: Any) -> list[str]:
    """What the doors answer: to the right, to the wrong, and to what is none of theirs."""
    said: list[str] = []
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:

        async def ask(method: str, url: str, **options: Any) -> None:
            answer = await client.request(method, url, **options)
            said.append(f"{answer.status_code} {answer.headers} {answer.text}")

        for tag in ("disk", "net", "other"):
            events = [event(f"{tag}-{i}", tags=[tag]) for i in range(4)]
            await ask("POST", f"{bridge.url}/events", json=events, headers=bearer(PRODUCER))
        for headers in (
            {},
            bearer(PRODUCER + "x"),
            {"Authorization": PRODUCER},
            {"Authorization": f"Basic {PRODUCER}"},
        ):
            await ask("POST", f"{bridge.url}/events", json=event("no"), headers=headers)
        for body in (b"{", b"[]", json.dumps(event("x", source="db")).encode()):
            kind = {"Content-Type": "application/json"}
            await ask("POST", f"{bridge.url}/events", content=body, headers=bearer(PRODUCER) | kind)
        await tcp(bridge, said)
        notice = json.dumps({"id": "forged", "text": "a notice"}).encode()
        for key in (f"{PLANTED}-hmac", "wrong"):
            signature = hmac.new(key.encode(), notice, hashlib.sha256).hexdigest()
            headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={signature}"}
            await ask("POST", f"{bridge.url}/webhooks/forge", content=notice, headers=headers)
        for token in (PRODUCER, PRODUCER + "x"):
            await ask("POST", f"{bridge.url}/webhooks/forge", content=notice, headers=bearer(token))
        for token in (PRODUCER, OPERATOR):
            for path in ("stats", "lanes", "dead", "why?key=disk-0", "audit", "on-call", "nothing"):
                await ask("GET", f"{bridge.url}/api/v1/{path}", headers=bearer(token))
        for path in ("/", "/readyz", "/healthz", "/openapi.json"):
            await ask("GET", f"{bridge.url}{path}", headers=bearer(OPERATOR))
        await ask("GET", f"{bridge.metrics_url}/metrics")
    return said


async def tcp(bridge: Any, said: list[str]) -> None:
    port = urlsplit(next(r for r in bridge.records if r["event"] == "started")["tcp"]).port
    for token in (PRODUCER, PRODUCER + "x"):
        async with await trio.open_tcp_stream("127.0.0.1", port or 0) as stream:
            await stream.send_all(
                b'{"auth":"%b"}\n%b\n' % (token.encode(), json.dumps(event("tcp")).encode())
            )
            said.append((await stream.receive_some(65_536)).decode())


async def commands(path: Path) -> list[str]:
    """What the commands print, of a bridge that runs."""
    asked = [["queue", name, "--json"] for name in ("stats", "list", "dead")]
    asked += [
        ["queue", "show", "disk-0"],
        ["config-schema"],
        ["why", "disk-0"],
        ["audit"],
        ["queue", "pause", "disks"],
    ]
    told = [
        await output([*arguments, *([] if arguments[0] == "config-schema" else ["--config", str(path)])])
        for arguments in asked
    ]
    return [*told, *[await output(["check-config", str(path), *more]) for more in ([], ["--online"])]]


async def output(arguments: list[str]) -> str:
    done = await trio.run_process(
        [sys.executable, "-m", "mcp_ilert", *arguments], capture_stdout=True, capture_stderr=True, check=False
    )
    return (done.stdout + done.stderr).decode()


async def test_nothing_that_a_bridge_tells_or_keeps_holds_a_secret(tmp_path: Path) -> None:
    async with echoing() as (echo, url):
        path = configured(tmp_path, url)
        async with running(path) as bridge:
            said = await said_by(bridge)
            await until(lambda: len(echo.heard) > 8)
            said += await commands(path)
            good = json.loads(path.read_text())
            path.write_text(json.dumps(good | {"auth": {"tokens": [{"name": "a", "token": [PLANTED]}]}}))
            bridge.signal(signal.SIGHUP)
            await bridge.logged("reload refused, nothing changed")
            path.write_text(json.dumps(good | {"ilert": good["ilert"] | {"webhook_key": f"{PLANTED}-new"}}))
            bridge.signal(signal.SIGHUP)
            await bridge.logged("configuration reloaded")
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.post(f"{bridge.url}/events", json=event("after"), headers=bearer(PRODUCER))
            await until(lambda: any(b"-new" in request for request in echo.heard))
            cmdline = Path(f"/proc/{bridge.process.pid}/cmdline").read_bytes()
            kept = files(tmp_path)
            bridge.signal(signal.SIGTERM)
            assert await bridge.exit_code() == 0
        logged = json.dumps(bridge.records) + "".join(bridge.plain)
        told = "\n".join(said)
    logs = {record["event"] for record in bridge.records}
    assert {"accepted", "started"} < logs
    assert {"heartbeat not taken: see ilert.heartbeat_url", "heartbeat not sent"} & logs
    assert "not known who is on call" in logs
    assert any(f"GET /api/alert-sources/{PLANTED}".encode() in request for request in echo.heard)
    for name in (
        "default",
        "disks",
        "route-file",
        "account",
        "heartbeat",
    ):  # the test is one: the keys were really used
        assert any(f"{PLANTED}-{name}".encode() in request for request in echo.heard), name
    assert "disk-0" in told
    assert "202 Headers" in told
    for form in FORMS:
        assert form.decode() not in logged
        assert form.decode() not in told
        assert form not in cmdline
    kept |= files(tmp_path)
    assert {"spool.db", "spool.db-wal", "spool.db.lock", "spool.db.sock", "record.ndjson"} <= kept.keys()
    for name, (mode, content) in kept.items():
        assert not any(form in content for form in FORMS), name
        assert mode & 0o077 == 0, f"{name} has mode {mode:o}"


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What the bridge has written: mode and content; not what the test wrote for it."""
    own = {"config.yaml", "token-file", "route-file"}
    return {
        path.name: (stat.S_IMODE(path.stat().st_mode), path.read_bytes() if path.is_file() else b"")
        for path in folder.iterdir()
        if path.name not in own
    }


OURS = ("mcp_ilert", "quart", "hypercorn", "httpx", "httpcore")


async def test_nothing_that_lives_in_a_running_bridge_shows_a_secret(tmp_path: Path) -> None:
    """`repr` of all that is ours, as a traceback, a debugger or a careless log line would show it.

    Of httpx what is left once a request is over: while it lasts, a key may stand in its URL.
    """
    async with echoing() as (echo, url):
        settings = config.load(configured(tmp_path, url, logging={"level": "critical"}), {})
        async with open_service(settings) as service, httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(
                f"{service.url}/events", json=event("a", tags=["disk"]), headers=bearer(PRODUCER)
            )
            assert answer.status_code == 202
            await until(lambda: echo.heard)
            with trio.move_on_after(0.2):
                await trio.testing.wait_all_tasks_blocked(0.05)
            gc.collect()
            shown = 0
            for thing in gc.get_objects():
                if str(type(thing).__module__).startswith(OURS):
                    shown += 1
                    assert PLANTED not in shown_of(thing), type(thing)
    assert shown > 100


def shown_of(thing: object) -> str:
    try:
        return repr(thing) + str(thing)
    except Exception as error:  # noqa: BLE001 - a library's broken repr tells something all the same
        return repr(error)


def test_no_traceback_of_an_error_at_the_start_holds_a_secret(tmp_path: Path) -> None:
    good = json.loads(configured(tmp_path, "http://127.0.0.1:9").read_text())
    broken = [
        good | {"tls": {"key_file": f"/nowhere/{PLANTED}"}},
        good | {"ilert": {"webhook_key": PLANTED, "api_url": f"https://me:{PLANTED}@ilert.example"}},
        good | {"ilert": PLANTED},
        *(
            good | {"ilert": good["ilert"] | {"heartbeat_url": heartbeat}}
            for heartbeat in (
                f"ftp://ilert.example/{PLANTED}",
                f"https://[{PLANTED}",
                f"https://ilert.example:port/{PLANTED}",
                f"{PLANTED} \x00",
                [PLANTED],
            )
        ),
        good | {"auth": {"tokens": [{"name": "a", "token": PLANTED, "token_file": f"/nowhere/{PLANTED}"}]}},
    ]
    path = tmp_path / "broken.yaml"
    for settings in broken:
        path.write_text(json.dumps(settings))
        for arguments in (["check-config", str(path)], ["serve", "--config", str(path)]):
            done = subprocess.run(
                [sys.executable, "-X", "dev", "-m", "mcp_ilert", *arguments],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
                env=os.environ | {"HTTPS_PROXY": ""},
            )
            assert done.returncode == 2, done.stderr
            assert PLANTED not in done.stdout + done.stderr
            assert "Traceback" not in done.stderr
