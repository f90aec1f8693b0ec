"""The sandbox on real sockets: what breaks breaks truly, introspection, and the command."""

import errno
import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
import trustme
from click.testing import CliRunner

from mcp_ilert.cli.sandbox import event_line, plain, sandbox
from mcp_ilert.errors import StartError
from mcp_ilert.sandbox import Fault, Received, SandboxIlert
from mcp_ilert.sandbox.server import SandboxServer, open_sandbox
from sandboxes import AT_ONCE, event

PROGRAM = (sys.executable, "-c", "from mcp_ilert.cli.sandbox import sandbox; sandbox()")
ALERT = json.dumps(event()).encode()
REQUEST = (
    b"POST /api/events HTTP/1.1\r\nHost: ilert.test\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(ALERT), ALERT)
)


@asynccontextmanager
async def running(*faults: Fault) -> AsyncIterator[SandboxServer]:
    core = SandboxIlert(AT_ONCE)
    async with open_sandbox(core) as server:
        core.set_faults(*faults, now=server.now())
        yield server


async def connect(server: SandboxServer) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(server.url.rpartition(":")[2]))


def causes(error: BaseException | None) -> list[BaseException]:
    """What led to an error, nearest first."""
    return [] if error is None else [error, *causes(error.__cause__ or error.__context__)]


@pytest.mark.parametrize("kind", ["reset", "lost"])
async def test_a_reset_is_a_true_reset(kind: str) -> None:
    fault = Fault(kind="reset") if kind == "reset" else Fault(kind="lost")
    async with running(fault) as server, await connect(server) as stream:
        await stream.send_all(REQUEST)
        with pytest.raises(trio.BrokenResourceError) as broken, trio.fail_after(30):
            await stream.receive_some()
        errors = [cause.errno for cause in causes(broken.value) if isinstance(cause, OSError)]
        assert errors == [errno.ECONNRESET]
        assert len(server.core.alerts.all()) == (kind == "lost")


async def test_what_is_connected_is_reset_when_the_port_closes_and_it_opens_again_by_itself() -> None:
    async with running() as server, await connect(server) as stream:
        await stream.send_all(REQUEST)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 202")
        server.core.set_faults(Fault(kind="refused", until=0.5), now=server.now())
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(30):
            await stream.receive_some()
        with pytest.raises(OSError, match=r"(?i)connect") as refused:
            await connect(server)
        assert "refused" in repr(refused.value.__cause__)
        with trio.fail_after(30):
            while True:
                try:
                    async with await connect(server):
                        break
                except OSError:
                    await trio.sleep(0.05)
        assert server.core.script.faults(server.now()) == ()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("http2", [False, True])
async def test_tls_speaks_both_and_its_handshake_fails_as_often_as_said(
    http2: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    core = SandboxIlert(AT_ONCE)
    async with (
        open_sandbox(core, tls=server_tls) as server,
        httpx.AsyncClient(base_url=server.url, http2=http2, verify=client_tls, timeout=30) as http,
    ):
        assert server.url.startswith("https://")
        answer = await http.post("/api/events", json=event())
        assert (answer.status_code, answer.http_version) == (202, "HTTP/2" if http2 else "HTTP/1.1")
        core.set_faults(Fault(kind="reset", times=1), now=server.now())
        with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)):
            await http.post("/api/events", json=event())
        core.set_faults(Fault(kind="tls", times=2), now=server.now())
        for _ in range(2):
            with pytest.raises(httpx.ConnectError) as failed:
                await http.post("/api/events", json=event())
            assert any(isinstance(cause, ssl.SSLError) for cause in causes(failed.value))
        assert (await http.post("/api/events", json=event())).status_code == 202


async def test_a_client_that_goes_away_or_talks_nonsense_disturbs_nobody() -> None:
    async with running() as server:
        for sent in (b"", REQUEST[:-5], b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff"):
            stream = await connect(server)
            if sent:
                await stream.send_all(sent)
            await stream.aclose()
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
            assert (await http.post("/api/events", json=event())).status_code == 202
        assert server.core.stats().requests == 1


async def test_a_sandbox_closes_at_once_whoever_is_waiting() -> None:
    with trio.fail_after(30):
        async with running(Fault(kind="hang")) as server:
            arrived = trio.Event()
            server.core.on_event = lambda _: arrived.set()
            stream = await connect(server)
            await stream.send_all(REQUEST)
            await arrived.wait()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await stream.aclose()


async def test_connections_are_told_apart() -> None:
    async with running() as server:
        for _ in range(2):
            async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
                for _ in range(2):
                    await http.post("/api/events", json=event())
        assert [received.connection for received in server.core.requests] == [1, 1, 2, 2]
        assert server.core.stats().connections == 2


async def test_an_error_of_the_caller_comes_out_as_it_was_raised() -> None:
    with pytest.raises(KeyError):
        async with running():
            raise KeyError


async def test_a_taken_port_is_one_line() -> None:
    async with running() as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(StartError, match=f"port {port} on 127.0.0.1 is taken"):
            async with open_sandbox(SandboxIlert(), port=port):
                pass  # pragma: no cover
        with pytest.raises(StartError, match=f"port {port} on 127.0.0.1 is taken"):
            async with open_sandbox(SandboxIlert(), admin_port=port):
                pass  # pragma: no cover
    with pytest.raises(StartError, match="cannot listen on"):
        async with open_sandbox(SandboxIlert(), "no such address"):
            pass  # pragma: no cover


# Introspection ------------------------------------------------------------------------------------------------------


async def test_introspection_shows_what_happened_and_sets_what_shall_happen() -> None:
    async with (
        running() as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
        httpx.AsyncClient(base_url=server.admin_url, timeout=30) as admin,
    ):
        secret = {"authorization": "Bearer real-secret"}
        for kind in ("ALERT", "ALERT", "RESOLVE"):
            await http.post("/api/events", json=event(kind, key="K"), headers=secret)
        seen = (await admin.get("/requests", params={"after": 1})).json()["requests"]
        assert [(r["number"], r["event_type"], r["status"]) for r in seen] == [
            (2, "ALERT", 202),
            (3, "RESOLVE", 202),
        ]
        assert json.loads(seen[0]["body"]) == event(key="K")
        assert seen[0]["at"] <= seen[1]["at"]
        assert "real-secret" not in json.dumps(seen)
        alerts = (await admin.get("/alerts", params={"key": " k"})).json()["alerts"]
        assert [(alert["status"], alert["events"]) for alert in alerts["k"]] == [("RESOLVED", 2)]
        assert (await admin.get("/keys")).json()["keys"]["Sandbox"]["k"]["duplicates"] == 1
        assert [e["what"] for e in (await admin.get("/log")).json()["log"]] == [
            "opened",
            "appended",
            "resolved",
        ]
        stats = (await admin.get("/stats")).json()
        assert (stats["requests"], stats["throttled"], stats["connections"]) == (3, 0, 1)

        fault = {"kind": "status", "status": 502, "html": True, "times": 1}
        assert (await admin.post("/faults", json=[fault])).status_code == 204
        assert (await admin.get("/faults")).json() == {"faults": [fault]}
        assert (await http.post("/api/events", json=event())).status_code == 502
        assert (await http.post("/api/events", json=event())).status_code == 202
        await admin.post("/faults", json={"kind": "reset"})
        assert (await admin.delete("/faults")).status_code == 204
        assert (await http.post("/api/events", json=event())).status_code == 202

        assert (await admin.put("/options", json={"limits": {"integration_key": 1}})).status_code == 204
        assert [(await http.post("/api/events", json=event())).status_code for _ in range(2)][1] == 429
        assert (await admin.get("/options")).json()["limits"]["integration_key"] == 1
        assert (await admin.post("/reset")).status_code == 204
        assert (await admin.get("/stats")).json()["requests"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", "", 200),
        ("GET", "/nothing", "", 404),
        ("DELETE", "/stats", "", 405),
        ("POST", "/faults", '{"kind":"explode"}', 400),
        ("POST", "/faults", '{"kind":"refused","times":1}', 400),
        ("POST", "/faults", '{"kind":"tls"}', 400),
        ("POST", "/faults", "nonsense", 400),
        ("PUT", "/options", '{"limit":1}', 400),
        ("GET", "/requests?after=x", "", 400),
        ("GET", "/requests?limit=100000", "", 200),
    ],
)
async def test_introspection_refuses_what_it_does_not_know(
    method: str, path: str, body: str, status: int
) -> None:
    async with running() as server, httpx.AsyncClient(base_url=server.admin_url, timeout=30) as admin:
        assert (await admin.request(method, path, content=body)).status_code == status


# The command --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_shows_its_urls_and_each_event_and_ends_with_0(number: signal.Signals) -> None:
    arguments = ("--port", "0", "--fault", "503:times=1", "--per-minute", "1")
    program = subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert program.stdout is not None
    try:
        shown = [program.stdout.readline() for _ in range(3)]
        found = re.search(r"http://127\.0\.0\.1:\d+", shown[0])
        assert found is not None
        for n in range(3):
            httpx.post(
                f"{found[0]}/api/events", json=event(key=f"k{n}", priority="HIGH", severity=2), timeout=30
            )
        program.send_signal(number)
        out, err = program.communicate(timeout=30)
    finally:
        program.kill()
    assert (program.returncode, err) == (0, "")
    assert [line.split()[1:] for line in out.splitlines()] == [
        ["503", "fault", "ALERT", "HIGH/2", "k0", "s"],
        ["202", "ALERT", "HIGH/2", "k1", "s"],
        ["429", "ALERT", "HIGH/2", "k2", "s"],
    ]


async def test_the_command_names_a_taken_port() -> None:
    async with running() as server:
        port = server.url.rpartition(":")[2]
        run = [*PROGRAM, "--port", port]
        ended = await trio.run_process(run, capture_stdout=True, capture_stderr=True, check=False)
    assert ended.returncode == 1
    assert f"port {port} on 127.0.0.1 is taken".encode() in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "explode"], "explode"),
        (["--fault", "reset:time=1"], "`time`"),
        (["--fault", "503:times=0"], "times"),
        (["--fault", "brown-out:times=1"], "times"),
        (["--fault", "tls"], "--cert-file"),
        (["--cert-file", "/no/such/file"], "/no/such/file"),
        (["--key-file", "/no/such/file"], "--cert-file"),
        (["--port", "99999"], "99999"),
    ],
)
def test_a_wrong_option_is_named_and_ends_with_2(arguments: list[str], message: str) -> None:
    ended = CliRunner().invoke(sandbox, arguments)
    assert ended.exit_code == 2
    assert message in ended.output


def test_what_an_event_says_cannot_command_the_terminal() -> None:
    received = Received(
        number=1, at=0.0, connection=1, ip="", http_version="2", method="POST", target="/api/events", headers=(),
        body=b"", body_bytes=0, status=202, key="\x1b[2J\n", summary="x" * 500,
    )  # fmt: skip
    line = event_line(received).plain
    assert line.isprintable()
    assert len(line) < 200
    assert plain(None, 5) == ""
