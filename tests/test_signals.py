"""What signals and failures at the start make of a real `mcp-ilert serve` process."""

import json
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme

from bridge import event, running, spawned, until, write_config
from mcp_ilert.sandbox import Fault, SandboxIlert
from mcp_ilert.sandbox.server import SandboxServer, open_sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxServer]:
    async with open_sandbox(SandboxIlert()) as server:
        yield server


def hang_once(sandbox: SandboxServer) -> None:
    """The next answer takes a second."""
    sandbox.core.set_faults(Fault(kind="hang", seconds=1.0, applied=True, times=1), now=sandbox.now())


async def post(url: str, *events: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"{url}/events", json=events[0] if len(events) == 1 else list(events))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_bridge_ends_well_on_a_signal(
    tmp_path: Path, sandbox: SandboxServer, number: signal.Signals
) -> None:
    async with running(write_config(tmp_path, sandbox.url)) as bridge:
        bridge.signal(number)
        assert await bridge.exit_code() == 0
        await bridge.logged("stopped")
    assert bridge.plain == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "spool.db", "spool.db.lock"]


async def test_a_bare_config_option_is_serve(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with running(write_config(tmp_path, sandbox.url), args=()) as bridge:
        bridge.signal(signal.SIGTERM)
        assert await bridge.exit_code() == 0


async def test_readyz_turns_before_the_doors_close(tmp_path: Path, sandbox: SandboxServer) -> None:
    config = write_config(tmp_path, sandbox.url, listen={"drain_seconds": 2})
    async with running(config) as bridge, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{bridge.url}/readyz")).json() == {"ready": True, "notes": []}
        bridge.signal(signal.SIGTERM)
        await bridge.logged("shutting down")
        answer = await client.get(f"{bridge.url}/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "reasons": ["shutting down"]})
        assert (await client.get(f"{bridge.url}/healthz")).status_code == 200
        assert (await client.post(f"{bridge.url}/events", json=event("late"))).status_code == 202
        assert await bridge.exit_code() == 0


async def test_a_delivery_in_flight_may_end(tmp_path: Path, sandbox: SandboxServer) -> None:
    hang_once(sandbox)
    async with running(write_config(tmp_path, sandbox.url)) as bridge:
        await post(bridge.url, event("slow"))
        await until(sandbox.core.events)
        bridge.signal(signal.SIGTERM)
        assert await bridge.exit_code() == 0
        assert (await bridge.logged("delivered"))["alert_key"] == "slow"
        assert (await bridge.logged("stopped"))["pending"] == 0


async def test_a_request_that_is_being_read_is_finished(tmp_path: Path, sandbox: SandboxServer) -> None:
    async with running(write_config(tmp_path, sandbox.url)) as bridge:
        url = httpx.URL(bridge.url)
        body = json.dumps(event("half")).encode()
        head = f"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        stream = await trio.open_tcp_stream(url.host, url.port or 0)
        async with stream:
            await stream.send_all(head.encode() + b"\r\n\r\n" + body[:10])
            await trio.sleep(0.2)  # no verdict hangs on it: the test passes if the signal comes first, too
            bridge.signal(signal.SIGTERM)
            await bridge.logged("shutting down")
            await stream.send_all(body[10:])
            answer = await stream.receive_some(4096)
        assert answer.startswith(b"HTTP/1.1 202 ")
        assert await bridge.exit_code() == 0


async def test_a_second_signal_ends_it_at_once(tmp_path: Path, sandbox: SandboxServer) -> None:
    config = write_config(tmp_path, sandbox.url, listen={"drain_seconds": 3600})
    async with running(config) as bridge:
        bridge.signal(signal.SIGTERM)
        await bridge.logged("shutting down")
        bridge.signal(signal.SIGTERM)
        assert await bridge.exit_code() == 1
    async with running(config) as again:  # and the next one takes over what it left
        assert again.url


async def test_a_reload_takes_what_it_can_and_names_what_needs_a_restart(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    config = write_config(tmp_path, sandbox.url)
    async with running(config) as bridge, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(f"{bridge.url}/events", json=event("a"))).status_code == 202
        tokens = {"tokens": [{"name": "probes", "token": "a-token-of-some-length"}]}
        write_config(tmp_path, sandbox.url, listen={"port": 1, "max_event_bytes": 200}, auth=tokens)
        bridge.signal(signal.SIGHUP)
        await bridge.logged("configuration reloaded")
        named = [r["key"] for r in bridge.records if "needs a restart" in r["event"]]
        assert named == ["listen.port"]
        assert (await client.post(f"{bridge.url}/events", json=event("b"))).status_code == 401
        client.headers["authorization"] = "Bearer a-token-of-some-length"
        assert (await client.post(f"{bridge.url}/events", json=event("b"))).status_code == 202
        assert (await client.post(f"{bridge.url}/events", json=event("c" * 200))).status_code == 413
        assert await bridge.metric("mcp_config_last_reload_success") == 1


async def test_an_invalid_file_changes_nothing(tmp_path: Path, sandbox: SandboxServer) -> None:
    config = write_config(tmp_path, sandbox.url)
    async with running(config) as bridge:
        write_config(tmp_path, sandbox.url, retries={"max_atempts": 3}, listen={"max_event_bytes": 10})
        bridge.signal(signal.SIGHUP)
        refused = await bridge.logged("reload refused, nothing changed")
        assert "retries.max_atempts" in refused["problem"]
        assert await bridge.metric("mcp_config_last_reload_success") == 0
        assert (await post(bridge.url, event("a"))).status_code == 202
        write_config(tmp_path, sandbox.url)
        bridge.signal(signal.SIGHUP)
        await bridge.logged("configuration reloaded")
        assert await bridge.metric("mcp_config_last_reload_success") == 1


async def test_a_reload_cancels_no_attempt(tmp_path: Path, sandbox: SandboxServer) -> None:
    hang_once(sandbox)
    async with running(write_config(tmp_path, sandbox.url)) as bridge:
        await post(bridge.url, event("slow"))
        await until(sandbox.core.events)
        write_config(tmp_path, sandbox.url, ilert={"timeout_seconds": 9})
        bridge.signal(signal.SIGHUP)
        await bridge.logged("configuration reloaded")
        assert (await bridge.logged("delivered"))["attempt"] == 1
        assert len(sandbox.core.events()) == 1


async def test_a_key_mended_in_its_file_is_taken_up(tmp_path: Path, sandbox: SandboxServer) -> None:
    key = tmp_path / "key"
    key.write_text("wrong-key\n")
    key.chmod(0o600)
    ilert = {"webhook_key": "", "webhook_key_file": str(key)}
    async with running(write_config(tmp_path, sandbox.url, ilert=ilert)) as bridge:
        await post(bridge.url, event("a"))
        await bridge.logged("integration key parked: the target refuses it; set a valid key and reload")
        key.write_text("sandbox-key\n")
        assert (await bridge.logged("delivered"))["alert_key"] == "a"


async def test_a_new_certificate_is_shown_without_dropping_a_connection(
    tmp_path: Path, sandbox: SandboxServer
) -> None:
    ca = trustme.CA()
    tls = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}

    def issue() -> str:
        made = ca.issue_cert("127.0.0.1")
        (tmp_path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        (tmp_path / "key.pem").write_bytes(made.private_key_pem.bytes())
        return made.cert_chain_pems[0].bytes().decode()

    context = ssl.create_default_context()
    ca.configure_trust(context)

    async def shown(port: int) -> str:
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context)
        async with stream:
            await stream.do_handshake()
            return ssl.DER_cert_to_PEM_cert(stream.getpeercert(binary_form=True))

    first = issue()
    async with running(write_config(tmp_path, sandbox.url, tls=tls)) as bridge:
        port = httpx.URL(bridge.url).port or 0
        assert bridge.url.startswith("https://")
        assert await shown(port) == first
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            before = await client.post(f"{bridge.url}/events", json=event("a"))
            connection = before.extensions["network_stream"].get_extra_info("client_addr")
            second = issue()
            bridge.signal(signal.SIGHUP)
            await bridge.logged("configuration reloaded")
            after = await client.post(f"{bridge.url}/events", json=event("b"))
            assert (before.status_code, after.status_code) == (202, 202)
            assert after.extensions["network_stream"].get_extra_info("client_addr") == connection
        assert await shown(port) == second
        (tmp_path / "cert.pem").write_text("no certificate")
        bridge.signal(signal.SIGHUP)
        assert "tls.cert_file" in (await bridge.logged("reload refused, nothing changed"))["problem"]
        assert await shown(port) == second


async def test_without_authentication_beyond_loopback_every_start_warns(tmp_path: Path) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:9", listen={"address": "0.0.0.0"})
    for _ in range(2):
        async with running(config) as bridge:
            warned = [r["event"] for r in bridge.records if r["level"] == "warning"]
            assert any("whoever reaches the port may send events" in line for line in warned)


async def test_where_authentication_is_required_there_is_no_start_without(tmp_path: Path) -> None:
    code, line = await failed_start(write_config(tmp_path, "http://127.0.0.1:9", auth={"required": True}))
    assert code == 2
    assert "auth.required: true, but auth.tokens is empty" in line


# Failures at the start -------------------------------------------------------------------------------------------


async def failed_start(config: Path) -> tuple[int, str]:
    """The exit code and the one line."""
    async with spawned(["serve", "--config", str(config)]) as bridge:
        code = await bridge.exit_code()
        await until(lambda: bridge.plain)
        assert len(bridge.plain) == 1
        return code, bridge.plain[0]


@pytest.mark.parametrize(("section", "key"), [("listen", "port"), ("metrics", "listen_port")])
async def test_a_port_that_is_taken_is_named(tmp_path: Path, section: str, key: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = write_config(tmp_path, "http://127.0.0.1:9", **{section: {key: port}})
        code, line = await failed_start(config)
    assert code == 1
    assert line.startswith(f"mcp-ilert: {section}.{key}: {port} on 127.0.0.1 is taken")


async def test_a_second_bridge_on_the_spool_says_who_holds_it(tmp_path: Path, sandbox: SandboxServer) -> None:
    config = write_config(tmp_path, sandbox.url)
    async with running(config) as bridge:
        code, line = await failed_start(config)
        assert code == 1
        assert f"in use by process {bridge.process.pid} " in line


async def test_a_spool_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = write_config(tmp_path, "http://127.0.0.1:9", spool={"path": str(tmp_path / "file" / "spool.db")})
    code, line = await failed_start(config)
    assert code == 1
    assert line.startswith("mcp-ilert: spool.path: ")


async def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("nothing")
    tls = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    code, line = await failed_start(write_config(tmp_path, "http://127.0.0.1:9", tls=tls))
    assert code == 1
    assert "tls.cert_file" in line


async def test_a_wrong_configuration_is_exit_code_2_with_a_line_for_each_problem(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, "http://127.0.0.1:9", listen={"port": "eighty"}, retries={"max_attempts": 0}
    )
    async with spawned(["serve", "--config", str(config)]) as bridge:
        assert await bridge.exit_code() == 2
        await until(lambda: len(bridge.plain) == 2)
    assert [line.split(": ")[1] for line in bridge.plain] == ["listen.port", "retries.max_attempts"]


async def test_no_config_file_is_exit_code_2(tmp_path: Path) -> None:
    async with spawned(["serve", "--config", str(tmp_path / "none.yaml")]) as bridge:
        assert await bridge.exit_code() == 2
        await until(lambda: bridge.plain)
    assert "none.yaml" in bridge.plain[0]


async def test_open_doors_beyond_loopback_are_warned_of(tmp_path: Path, sandbox: SandboxServer) -> None:
    config = write_config(tmp_path, sandbox.url, listen={"address": "0.0.0.0"})
    async with running(config) as bridge:
        assert any(
            r["level"] == "warning" and r["event"].startswith("auth.tokens: empty") for r in bridge.records
        )


BROKEN = """
import mcp_ilert.service.opening as opening

async def broken(*_args):
    raise ZeroDivisionError("a part has failed")

opening.watch = broken
from mcp_ilert.cli import main
main()
"""


async def test_a_part_that_fails_ends_the_bridge_with_a_line(tmp_path: Path, sandbox: SandboxServer) -> None:
    config = write_config(tmp_path, sandbox.url)
    command = [sys.executable, "-c", BROKEN, "serve", "--config", str(config)]
    with trio.fail_after(30):
        done = await trio.run_process(command, capture_stderr=True, check=False)
    last = json.loads(done.stderr.splitlines()[-1])
    assert done.returncode == 1
    assert last["event"] == "the bridge failed and ends"
    assert "ZeroDivisionError: a part has failed" in last["error"]
    assert b"Traceback" not in done.stderr
