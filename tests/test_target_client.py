"""The way out: where it never goes, what it never follows, and what it tells of a proxy."""

import logging
import socket
import ssl
from functools import partial
from typing import Any

import httpx
import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st

from ilert_world import delivery, target
from mcp_ilert.errors import StartError
from mcp_ilert.events import Delivered, Rejected, Unavailable
from mcp_ilert.targets.addresses import is_refused
from mcp_ilert.targets.client import async_client, check_proxies, client_tls, sync_client

METADATA = "169.254.169.254"
REFUSED = [
    METADATA,
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]
ALLOWED = ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "93.184.216.34", "2606:2800::1", "fd00::1"]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Names(trio.abc.HostnameResolver):
    """A name server that says what the test wants, the last answer for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def getaddrinfo(self, host, port, *_hints):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        host = host.decode() if isinstance(host, bytes) else host
        return [
            found
            for address in (answer if host.endswith(".example") else [host])
            for found in socket.getaddrinfo(
                address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        ]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


@pytest.mark.parametrize("address", REFUSED)
def test_it_is_refused(address):
    assert is_refused(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_it_is_not_refused(address):
    assert not is_refused(address)


@given(st.ip_addresses(v=4, network="169.254.0.0/16"))
def test_every_link_local_address_is_refused_in_every_dress(address):
    number = int(address)
    dresses = [
        f"::ffff:{address}",
        f"64:ff9b:1:2::{address}",
        f"64:ff9b::{address}",
        f"2002:{number >> 16:x}:{number & 0xFFFF:x}::",
    ]
    assert all(is_refused(text) for text in [str(address), *dresses])


@pytest.mark.parametrize(
    "host", [METADATA, "[::ffff:169.254.169.254]", "2852039166", "0xa9fea9fe", "[fe80::1]"]
)
async def test_a_literal_is_refused_before_anything_is_sent(host):
    sender = target(url=f"http://{host}/", seconds=30)
    with trio.fail_after(10):
        assert await sender.send(delivery()) == Unavailable("refused address error", certain=True)
    await sender.aclose()


@pytest.mark.parametrize("answer", [[METADATA], ["127.0.0.1", METADATA], ["::ffff:a9fe:a9fe"]])
async def test_a_name_that_leads_there_is_refused(answer):
    trio.socket.set_custom_hostname_resolver(Names(answer))
    sender = target(url="http://ilert.example:9/", seconds=30)
    with trio.fail_after(10):
        assert await sender.send(delivery()) == Unavailable("refused address error", certain=True)
    await sender.aclose()


async def test_a_name_that_changes_its_mind_is_refused_once_connected(monkeypatch):
    """Rebinding: the first answer is harmless, that for connecting is not. Loopback plays the refused address."""
    came = []

    async def take(stream):
        came.append(await stream.receive_some(100))

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, take, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        trio.socket.set_custom_hostname_resolver(Names(["10.1.2.3"], ["127.0.0.1"]))
        monkeypatch.setattr("mcp_ilert.targets.client.is_refused", lambda address: address == "127.0.0.1")
        sender = target(url=f"http://ilert.example:{port}/", seconds=30)
        assert await sender.send(delivery()) == Unavailable("refused address error", certain=True)
        await sender.aclose()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert came in ([], [b""])


def test_commands_refuse_the_same():
    with sync_client(f"http://{METADATA}/", seconds=30) as client, pytest.raises(httpx.ConnectError):
        client.get(f"http://{METADATA}/latest/meta-data")
    with sync_client("http://2852039166/", seconds=30) as client, pytest.raises(httpx.ConnectError):
        client.get("http://2852039166/")


# Redirects, TLS ---------------------------------------------------------------------------------------------------


async def test_a_redirect_is_an_answer_and_nothing_is_asked_there():
    asked = []

    def answer(request):
        asked.append(request.url)
        return httpx.Response(307, headers={"Location": "http://elsewhere.example/"})

    sender = target(handler=answer)
    outcome = await sender.send(delivery())
    assert isinstance(outcome, Rejected)
    assert outcome.status == 307
    assert len(asked) == 1


def test_nothing_below_tls_1_2_is_spoken():
    assert client_tls().minimum_version == ssl.TLSVersion.TLSv1_2
    assert client_tls().verify_mode == ssl.CERT_REQUIRED
    assert client_tls().check_hostname


async def test_a_certificate_of_nobody_known_is_no_delivery():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)

    async def handshake(stream):
        with pytest.raises(trio.BrokenResourceError):
            await trio.SSLStream(stream, tls, server_side=True).do_handshake()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, handshake, 0, host="127.0.0.1"))
        sender = target(url=f"https://127.0.0.1:{listener.socket.getsockname()[1]}")
        reason = "connect error (unable to get local issuer certificate)"
        assert await sender.send(delivery()) == Unavailable(reason, certain=True)
        await sender.aclose()
        nursery.cancel_scope.cancel()


# Proxies ----------------------------------------------------------------------------------------------------------

PASSWORD = "pr0xy-p4ssw0rd"


async def through_proxy(monkeypatch, url, name="HTTP_PROXY"):
    """What a proxy that answers 202 by itself was asked, and what came of it."""
    heads = []

    async def serve(stream):
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some(65_536)
        heads.append(head.decode())
        answer = "407 Proxy Authentication Required" if head.startswith(b"CONNECT") else "202 Accepted"
        await stream.send_all(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        monkeypatch.setenv(name, f"http://probe:{PASSWORD}@127.0.0.1:{port}")
        sender = target(url=url, seconds=5)
        outcome = await sender.send(delivery())
        await sender.aclose()
        nursery.cancel_scope.cancel()
    return heads, outcome


async def test_a_proxy_of_the_environment_is_used_with_its_credentials(monkeypatch):
    heads, outcome = await through_proxy(monkeypatch, "http://ilert.example/")
    assert outcome == Delivered(202, None)
    assert heads[0].startswith("POST http://ilert.example/api/events HTTP/1.1")
    assert "proxy-authorization: basic" in heads[0].lower()


async def test_what_a_proxy_refuses_was_never_sent_and_its_password_is_told_to_nobody(
    monkeypatch, caplog, capsys
):
    caplog.set_level(logging.DEBUG)
    heads, outcome = await through_proxy(monkeypatch, "https://ilert.example/", "HTTPS_PROXY")
    assert heads[0].startswith("CONNECT ilert.example:443")
    assert outcome == Unavailable("proxy error", certain=True)
    said = capsys.readouterr()
    assert PASSWORD not in f"{outcome!r}{said.out}{said.err}"
    ours = [record for record in caplog.records if not record.name.startswith(("httpcore", "hpack"))]
    assert all(PASSWORD not in record.getMessage() for record in ours)


@pytest.mark.parametrize(
    "host",
    [
        METADATA,
        f"{METADATA}.",
        "2852039166",
        "0xA9FEA9FE",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
    ],
)
async def test_a_literal_is_refused_behind_a_proxy_too(monkeypatch, host):
    heads, outcome = await through_proxy(monkeypatch, f"http://{host}/")
    assert (heads, outcome) == ([], Unavailable("refused address error", certain=True))


@pytest.mark.parametrize("exempt", ["ilert.example", "*"])
async def test_no_proxy_is_honoured(monkeypatch, exempt):
    monkeypatch.setenv("NO_PROXY", exempt)
    trio.socket.set_custom_hostname_resolver(Names([METADATA]))
    heads, outcome = await through_proxy(monkeypatch, "http://ilert.example/")
    assert (heads, outcome) == ([], Unavailable("refused address error", certain=True))


@pytest.mark.parametrize(
    "url", [f"ftp://probe:{PASSWORD}@proxy", f"http://probe:{PASSWORD}@proxy:port", "nonsense://proxy"]
)
def test_a_proxy_that_cannot_be_used_is_a_line_without_its_password(monkeypatch, url):
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(StartError, match=r"HTTPS_PROXY.*expected http://") as caught:
        check_proxies("https://ilert.example")
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None
    check_proxies("http://127.0.0.1:9")  # no proxy is asked for this machine


async def test_the_guard_is_on_every_way_out(monkeypatch):
    """httpx and httpcore have no public place for it: a version that moves it would be seen here."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    client = async_client("https://ilert.example/", seconds=1)
    transports: list[Any] = [client._transport, *client._mounts.values()]
    assert len(transports) == 2
    assert all(type(one._pool._network_backend).__name__ == "GuardedBackend" for one in transports)
    await client.aclose()
