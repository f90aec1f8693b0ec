"""Sockets, certificates and the server's life: readable failures at the start, nobody cut off at the end."""

import contextlib
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from doors import BODY, Client, open_bridge
from mcp_ilert.doors.connection import Deadlines
from mcp_ilert.doors.server import Server
from mcp_ilert.doors.sockets import listening_sockets
from mcp_ilert.doors.tls import server_context
from mcp_ilert.errors import StartError
from mcp_ilert.web.app import metrics_app

KEYS = ("listen.address", "listen.port")


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    """(certificate, key) of 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    for pem in issued.cert_chain_pems:
        pem.write_to_path(str(folder / "cert.pem"), append=True)
    return str(folder / "cert.pem"), str(folder / "key.pem")


def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


# Sockets ---------------------------------------------------------------------------------------------------------


def line_of(call):
    with pytest.raises(StartError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_port_that_is_taken_is_one_line_with_its_key():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = line_of(lambda: listening_sockets("127.0.0.1", port, keys=KEYS))
    assert line.startswith(f"listen.port: {port} on 127.0.0.1 is taken")


def test_an_address_of_another_machine_is_one_line_with_its_key():
    line = line_of(lambda: listening_sockets("192.0.2.1", 0, keys=KEYS))
    assert line.startswith("listen.address: 192.0.2.1 is no address of this machine")


def test_a_name_that_nobody_knows_is_one_line_with_its_key():
    line = line_of(lambda: listening_sockets("no host", 0, keys=("metrics.listen_address", "p")))
    assert line.startswith("metrics.listen_address: no host is not known")


def test_the_same_free_port_is_taken_for_every_address_of_a_name():
    sockets = listening_sockets("localhost", 0, keys=KEYS)
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
    finally:
        for sock in sockets:
            sock.close()


def test_a_port_just_left_can_be_taken_again():
    first = listening_sockets("127.0.0.1", 0, keys=KEYS)
    port = first[0].getsockname()[1]
    first[0].close()
    listening_sockets("127.0.0.1", port, keys=KEYS)[0].close()


# Certificates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True])
async def test_events_come_over_tls_in_both_protocols(authority, files, http2):
    context = server_context(*files)
    async with (
        open_bridge(tls=context) as bridge,
        Client(bridge.port, http2=http2, verify=trusting(authority)) as client,
    ):
        assert (await client.post(BODY)).status == 202
        assert (await client.post(b"{")).status == 400
        assert (await client.post(b" " * 2_000_000)).status == 413
        assert (await client.post(BODY)).status == 202
    assert len(bridge.spool.entries) == 2


async def test_a_client_that_speaks_no_tls_disturbs_nobody(authority, files):
    async with (
        open_bridge(tls=server_context(*files), deadlines=Deadlines(head=0.2)) as bridge,
        Client(bridge.port, http2=False, verify=trusting(authority)) as client,
    ):
        plain = await trio.open_tcp_stream("127.0.0.1", bridge.port)
        silent = await trio.open_tcp_stream("127.0.0.1", bridge.port)
        await plain.send_all(b"POST /events HTTP/1.1\r\n\r\n")
        assert (await client.post(BODY)).status == 202
        for stream in (plain, silent):
            with trio.fail_after(20):
                try:
                    while await stream.receive_some(1000):
                        pass
                except trio.BrokenResourceError:
                    pass
            await stream.aclose()


async def test_a_new_certificate_serves_the_next_connection(authority, files):
    other = trustme.CA()
    issued = other.issue_cert("127.0.0.1")
    async with open_bridge(tls=server_context(*files)) as bridge:
        async with Client(bridge.port, http2=False, verify=trusting(authority)) as client:
            assert (await client.post(BODY)).status == 202
            renewed = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            issued.configure_cert(renewed)
            bridge.server.use_tls(renewed)
            assert (await client.post(BODY)).status == 202
        async with Client(bridge.port, http2=False, verify=trusting(other)) as client:
            assert (await client.post(BODY)).status == 202


def test_a_certificate_that_cannot_be_read_is_one_line(files, tmp_path):
    missing = str(tmp_path / "missing.pem")
    assert line_of(lambda: server_context(missing, files[1])).startswith(
        f"tls.cert_file: {missing} cannot be read"
    )
    assert line_of(lambda: server_context(files[0], missing)).startswith(
        f"tls.key_file: {missing} cannot be read"
    )
    assert line_of(lambda: server_context(files[0], str(tmp_path))).startswith("tls.key_file")


def test_a_key_of_another_certificate_is_one_line(files, tmp_path):
    key = tmp_path / "other.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(str(key))
    assert "is not the key of the certificate" in line_of(lambda: server_context(files[0], str(key)))


def test_nonsense_in_place_of_a_certificate_is_one_line(files, tmp_path):
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("hello")
    assert "expected a PEM certificate" in line_of(lambda: server_context(str(nonsense), files[1]))
    assert "expected a PEM certificate" in line_of(lambda: server_context(files[0], str(nonsense)))
    line = line_of(lambda: server_context(*files, client_ca_file=str(nonsense)))
    assert line.startswith("tls.client_ca_file")


def test_a_key_with_a_password_is_one_line_and_asks_nobody(files, tmp_path):
    locked = tmp_path / "locked.pem"
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key(Path(files[1]).read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"password")
        )
    )
    assert "encrypted with a password" in line_of(lambda: server_context(files[0], str(locked)))


# The end ---------------------------------------------------------------------------------------------------------


async def refused(port):
    """Returns once nobody listens on the port any more."""
    with contextlib.suppress(OSError):
        while True:
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()


async def test_at_the_end_a_request_under_way_is_answered_and_idle_connections_are_closed():
    async with (
        open_bridge() as bridge,
        Client(bridge.port, http2=False) as busy,
        Client(bridge.port, http2=True) as two,
    ):
        idle = await trio.open_tcp_stream("127.0.0.1", bridge.port)
        assert (await two.send("GET", "/healthz")).status == 200
        bridge.spool.shut()
        answers = []

        async def post(client):
            answers.append((await client.post(BODY)).status)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, busy)
            nursery.start_soon(post, two)
            await bridge.spool.waiting(2)
            bridge.server.stop()
            assert await idle.receive_some(1) == b""
            await refused(bridge.port)
            bridge.spool.gate.set()
        assert answers == [202, 202]
        await idle.aclose()


async def test_at_the_end_nobody_is_waited_for_longer_than_the_grace():
    async with open_bridge() as bridge:
        bridge.spool.shut()
        stream = await trio.open_tcp_stream("127.0.0.1", bridge.port)
        head = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
        await stream.send_all(head)
    await stream.aclose()


def test_the_server_needs_no_event_loop_before_it_serves():
    """Sockets are bound, and the line about a taken port is out, before Trio runs."""
    code = (
        "from mcp_ilert.doors.sockets import listening_sockets as bound\n"
        "print(bound('127.0.0.1', 0, keys=('a', 'b'))[0].getsockname()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "127.0.0.1"


async def test_the_metrics_port_answers_metrics_and_health():
    sockets = listening_sockets("127.0.0.1", 0, keys=KEYS)
    server = Server(metrics_app(lambda: b"mcp_up 1\n"), sockets)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, 1)
        async with Client(server.addresses[0][1], http2=False) as client:
            answer = await client.send("GET", "/metrics")
            assert (answer.status, answer.body) == (200, b"mcp_up 1\n")
            assert answer.headers["content-type"].startswith("text/plain; version=")
            assert (await client.send("GET", "/healthz")).json == {"alive": True}
            assert (await client.send("POST", "/metrics")).status == 405
            assert (await client.send("GET", "/events")).status == 404
        server.stop()
