"""Client certificates: who is let in by one, at every door, and what a reload makes of who is in."""

import contextlib
import json
import ssl

import httpx
import msgspec
import pytest
import trio
import trio.testing
import trustme

from bridge import event as sample
from bridge import running, write_config
from doors import BODY, Client, open_bridge
from mcp_ilert.config import Secret, Token
from mcp_ilert.doors import sessions
from mcp_ilert.doors.connection import Deadlines
from mcp_ilert.doors.tls import Clients, clients_of, server_context

# What httpx leaves of a request that the other side has cut off.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'httpx._content:ResourceWarning")

SANS = ("probe-1.example", "spiffe://example/probe", "probe@example.org", "10.0.0.7", "2001:db8::1")


class World:
    """Two authorities, of which one is trusted, and the bridge's own."""

    def __init__(self, folder):
        self.own, self.trusted, self.other = trustme.CA(), trustme.CA(), trustme.CA()
        self.folder = folder
        issued = self.own.issue_cert("127.0.0.1")
        self.cert = self._file("cert.pem", b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key = self._file("key.pem", issued.private_key_pem.bytes())
        self.ca = self._file("ca.pem", self.trusted.cert_pem.bytes())

    def _file(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return str(path)

    def server(self):
        return server_context(self.cert, self.key, client_ca_file=self.ca)

    def clients(self, *sans):
        return clients_of(self.ca, sans)

    def client(self, *names, authority=None):
        """As a client with a certificate of these names; with none, without one."""
        context = ssl.create_default_context()
        self.own.configure_trust(context)
        if names:
            (authority or self.trusted).issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def http(bridge, context, *, http2=False, headers=None, path="/events"):
    """The status of one request; "shut" where the client is not let in."""
    async with Client(bridge.port, http2=http2, verify=context) as client:
        try:
            method, body = ("POST", BODY) if path == "/events" else ("GET", None)
            given = {"content-type": "application/json", **(headers or {})}
            return (await client.send(method, path, body, given)).status
        except (httpx.TransportError, OSError):
            return "shut"


async def tcp(bridge, context):
    stream = await trio.open_tcp_stream("127.0.0.1", bridge.tcp_port)
    secure = trio.SSLStream(stream, context, server_hostname="127.0.0.1", https_compatible=True)
    try:
        with trio.fail_after(20):
            await secure.send_all(BODY + b"\n")
            return "shut" if not (got := await secure.receive_some(1000)) else json.loads(got)
    except (trio.BrokenResourceError, OSError):
        return "shut"
    finally:
        await trio.aclose_forcefully(secure)


async def asked(bridge, context):
    """What each door says: HTTP/1.1, HTTP/2, a path of the app, TCP."""
    return [
        await http(bridge, context),
        await http(bridge, context, http2=True),
        await http(bridge, context, path="/healthz"),
        await tcp(bridge, context),
    ]


IN, OUT = [202, 202, 200, {"ok": True}], ["shut"] * 4


@pytest.mark.parametrize("carry", ["stream", "reactor", "hypercorn"])
async def test_who_has_a_certificate_of_the_ca_is_let_in_and_nobody_else(world, carry):
    async with open_bridge(tls=world.server(), clients=world.clients(), carry=carry) as bridge:
        doors = slice(3) if carry == "hypercorn" else slice(4)
        if carry == "hypercorn":
            assert [await http(bridge, world.client("a")), await http(bridge, world.client())] == [
                202,
                "shut",
            ]
            return
        assert (await asked(bridge, world.client("any.example")))[doors] == IN[doors]
        assert (await asked(bridge, world.client()))[doors] == OUT[doors]
        assert (await asked(bridge, world.client("any.example", authority=world.other)))[doors] == OUT[doors]
    assert len(bridge.spool.entries) == 3


@pytest.mark.parametrize("name", SANS)
async def test_with_an_allow_list_a_certificate_needs_one_of_its_names(world, name):
    clients = world.clients(*SANS)
    async with open_bridge(tls=world.server(), clients=clients, carry="stream") as bridge:
        context = ssl.create_default_context()
        world.own.configure_trust(context)
        assert await http(bridge, world.client("other.example")) == "shut"
        if "://" in name:
            assert clients.admits({"subjectAltName": (("URI", name),)})
        else:
            assert await http(bridge, world.client(name.upper() if "." in name else name)) == 202


async def test_who_is_not_on_the_list_is_let_in_nowhere(world):
    async with open_bridge(tls=world.server(), clients=world.clients("a.example")) as bridge:
        assert await asked(bridge, world.client("b.example")) == OUT
        assert await asked(bridge, world.client("b.example", "a.example")) == IN
    assert bridge.server._places._taken == 0


def test_a_name_is_compared_as_its_kind():
    clients = Clients(b"", frozenset({("DNS", "a.example")}))
    shown = {"subjectAltName": (("URI", "a.example"), ("email", "a.example"), ("DNS", "*.example"))}
    assert not clients.admits(shown)
    assert clients.admits({"subjectAltName": (("DNS", "A.Example"),)})
    assert not clients.admits({"subject": ((("commonName", "a.example"),),)})
    assert not Clients(b"").admits({})
    assert not Clients(b"").admits(None)


async def test_a_certificate_stands_for_no_token_of_a_producer(world):
    tokens = [Token("probes", Secret("p-secret"), sources=("probe-*",))]
    async with open_bridge(tls=world.server(), clients=world.clients(), tokens=tokens) as bridge:
        context = world.client("a.example")
        assert await http(bridge, context) == 401
        assert await http(bridge, context, headers={"authorization": "Bearer p-secret"}) == 202


async def test_a_silent_handshake_is_ended_in_its_own_time(world, autojump_clock):
    deadlines = Deadlines(head=60, handshake=5)
    async with open_bridge(tls=world.server(), clients=world.clients(), deadlines=deadlines) as bridge:
        for port in (bridge.port, bridge.tcp_port):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            begun = trio.current_time()
            assert await stream.receive_some(1) == b""
            assert trio.current_time() - begun == pytest.approx(5)
            await stream.aclose()


# Reload -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("carry", ["reactor", "stream"])
@pytest.mark.parametrize("http2", [False, True])
async def test_who_came_without_a_certificate_goes_once_one_is_asked_for(world, carry, http2):
    async with open_bridge(carry=carry) as bridge, Client(bridge.port, http2=http2) as client:
        assert (await client.post(BODY)).status == 202
        app = Client(bridge.port, http2=False)
        assert (await app.send("GET", "/healthz")).status == 200  # a connection of Hypercorn's
        lines = await trio.open_tcp_stream("127.0.0.1", bridge.tcp_port)
        await lines.send_all(BODY + b"\n")
        assert await lines.receive_some(1000) == b'{"ok":true}\n'
        bridge.server.use_tls(world.server(), world.clients())
        bridge.guard.use([], mutual=True)
        with trio.fail_after(20):
            assert await lines.receive_some(1000) == b""
        for one, path in ((client, "/events"), (app, "/healthz")):
            with pytest.raises((httpx.TransportError, OSError)):
                await one.send("POST", path, BODY, {"content-type": "application/json"})
        await app.__aexit__()
        await lines.aclose()
        assert await asked(bridge, world.client("a.example")) == IN
        bridge.server.use_tls(None)
        assert await http(bridge, None) == 202
        assert await http(bridge, None) == 202


@pytest.mark.skipif(not sessions.HTTP1, reason="HTTP/1.1 is not compiled here, so nothing is handed over")
@pytest.mark.parametrize("carry", ["reactor", "stream"])
async def test_who_is_being_handed_over_during_the_reload_does_not_slip_through(world, carry):
    """What follows a request that waits for the disk is the app's; by then a certificate is asked for."""
    async with (
        open_bridge(carry=carry) as bridge,
        await trio.open_tcp_stream("127.0.0.1", bridge.port) as stream,
    ):
        gate = bridge.spool.shut()
        head = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        await stream.send_all(head % len(BODY) + BODY + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked(0.05)
        bridge.server.use_tls(world.server(), world.clients())
        bridge.guard.use([], mutual=True)
        gate.set()
        answers = b""
        with trio.fail_after(20):
            try:
                while more := await stream.receive_some(65_536):
                    answers += more
            except trio.BrokenResourceError:
                pass
        assert answers.startswith(b"HTTP/1.1 202")
        assert answers.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("carry", ["reactor", "stream"])
@pytest.mark.parametrize("first", [b"", b"PRI", b"POST /eve", b"waiting"])
async def test_who_does_not_go_is_gone_in_five_seconds(world, carry, first, mock_clock):
    """Whatever a client has begun, or keeps waiting, it does not outstay the rule by which it came."""
    async with (
        open_bridge(carry=carry, deadlines=Deadlines(head=600, body=600, keep_alive=600)) as bridge,
        await trio.open_tcp_stream("127.0.0.1", bridge.port) as stream,
    ):
        gate = bridge.spool.shut()
        head = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        await stream.send_all(head % len(BODY) + BODY if first == b"waiting" else first)
        await trio.testing.wait_all_tasks_blocked(0.05)
        bridge.server.use_tls(world.server(), world.clients())
        bridge.guard.use([], mutual=True)
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(6)
        with contextlib.suppress(trio.BrokenResourceError):
            assert await stream.receive_some(1_000) == b""
        gate.set()


async def test_a_new_list_ends_what_the_old_one_let_in_and_a_new_certificate_of_ours_does_not(world):
    async with open_bridge(tls=world.server(), clients=world.clients()) as bridge:
        async with Client(bridge.port, http2=True, verify=world.client("a.example")) as client:
            assert (await client.post(BODY)).status == 202
            connections = client._client._transport._pool.connections
            (first,) = connections
            bridge.server.use_tls(world.server(), world.clients())
            assert (await client.post(BODY)).status == 202
            assert client._client._transport._pool.connections == [first]
            bridge.server.use_tls(world.server(), world.clients("b.example"))
            with pytest.raises((httpx.TransportError, OSError)):
                await client.post(BODY)
        assert await http(bridge, world.client("b.example")) == 202


async def test_the_bridge_takes_a_new_ca_from_its_file_and_keeps_the_last_good_one(world, tmp_path):
    tls = {
        "cert_file": world.cert,
        "key_file": world.key,
        "client_ca_file": world.ca,
        "client_allowed_sans": ["a.example"],
    }
    async with running(
        write_config(tmp_path, "http://127.0.0.1:9", tls=tls, auth={"required": True})
    ) as bridge:
        old, new = world.client("a.example"), world.client("a.example", authority=world.other)

        async def status(context, path="/events"):
            async with httpx.AsyncClient(verify=context, trust_env=False) as client:
                try:
                    if path == "/events":
                        return (await client.post(f"{bridge.url}{path}", json=sample("a"))).status_code
                    return (await client.get(f"{bridge.url}{path}")).status_code
                except httpx.TransportError:
                    return "shut"

        assert [await status(old), await status(new)] == [202, "shut"]
        assert await status(old, "/api/v1/stats") == 403
        world._file("ca.pem", b"no certificate")
        refused = await bridge.logged("reload refused, nothing changed")
        assert refused["problem"].startswith("tls.client_ca_file")
        assert [await status(old), await status(new)] == [202, "shut"]
        world._file("ca.pem", world.other.cert_pem.bytes())
        await bridge.logged("configuration reloaded")
        assert [await status(old), await status(new)] == ["shut", 202]
        assert not any("whoever reaches the port" in record["event"] for record in bridge.records)


def test_a_list_that_is_the_same_lets_stay(world):
    assert world.clients("A.example", "10.0.0.1") == world.clients("10.0.0.1", "a.example")
    assert world.clients() != msgspec.structs.replace(world.clients(), authority=b"")
