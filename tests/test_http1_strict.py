"""What two who read the same bytes could understand differently is refused, and nothing behind it is read.

A proxy before the bridge that is more lenient than we are, or stricter, would else let one request be hidden in
another (RFC 9112, 11.2). The same table over each way of carrying bytes, and for a plain request for events as well
as for those that no session recognises.
"""

import json

import pytest

import doors
from doors import BODY, event
from mcp_ilert.doors.hyper import MAX_HEADER_BYTES
from test_doors_http1 import connect, post

HIDDEN = post(event(mcp_id="hidden"))
PLAIN = b"POST /events HTTP/1.1\r\n"
HOOK = b"POST /webhooks/alertmanager HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
JSON = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
WHOLE = b"%x\r\n%b\r\n" % (len(BODY), BODY)
LAST = b"0\r\n\r\n"
CONTROLS = (0, 1, 8, 11, 12, 31, 127)

HEADS = {
    "LF alone ends a field": HOST + b"X: y\n" + JSON + LENGTH,
    "LF alone ends the host": b"Host: x\n" + JSON + LENGTH,
    "CR alone within a field": HOST + b"X: y\rZ: z\r\n" + JSON + LENGTH,
    "a field goes on": HOST + b"X: y\r\n z\r\n" + JSON + LENGTH,
    "a field goes on by a tab": HOST + b"X: y\r\n\tz\r\n" + JSON + LENGTH,
    "a length goes on": HOST + JSON + b"Content-Length:\r\n %d\r\n" % len(BODY),
    "the first field is folded": b" X: y\r\n" + HOST + JSON + LENGTH,
    "a space before the colon": HOST + JSON + b"Content-Length : %d\r\n" % len(BODY),
    "a tab before the colon": HOST + JSON + b"Transfer-Encoding\t: chunked\r\n" + LENGTH,
    "no name": HOST + b": y\r\n" + JSON + LENGTH,
    "no colon": HOST + b"X\r\n" + JSON + LENGTH,
    "a length and chunks": HOST + JSON + LENGTH + CHUNKED,
    "chunks and a length": HOST + JSON + CHUNKED + LENGTH,
    "a length twice": HOST + JSON + LENGTH + LENGTH,
    "two lengths": HOST + JSON + LENGTH + b"Content-Length: 5\r\n",
    "a list of the same length": HOST + JSON + b"Content-Length: %d, %d\r\n" % (len(BODY), len(BODY)),
    "a list of lengths": HOST + JSON + b"Content-Length: 5, %d\r\n" % len(BODY),
    "a length with a sign": HOST + JSON + b"Content-Length: +%d\r\n" % len(BODY),
    "a negative length": HOST + JSON + b"Content-Length: -1\r\n",
    "a length in hex": HOST + JSON + b"Content-Length: 0x10\r\n",
    "no length in its field": HOST + JSON + b"Content-Length: \r\n",
    "a length of other digits": HOST + JSON + "Content-Length: ٣\r\n".encode(),
    "an unknown coding": HOST + JSON + b"Transfer-Encoding: gzip\r\n",
    "an unknown coding before chunks": HOST + JSON + b"Transfer-Encoding: gzip, chunked\r\n",
    "chunks before another coding": HOST + JSON + b"Transfer-Encoding: chunked, identity\r\n",
    "chunks twice": HOST + JSON + CHUNKED + CHUNKED,
    "chunks twice in a list": HOST + JSON + b"Transfer-Encoding: chunked, chunked\r\n",
    "a coding of a like name": HOST + JSON + b"Transfer-Encoding: xchunked\r\n",
    "a coding in quotes": HOST + JSON + b'Transfer-Encoding: "chunked"\r\n',
    "a coding with a parameter": HOST + JSON + b"Transfer-Encoding: chunked;a=b\r\n",
    "no coding in its field": HOST + JSON + b"Transfer-Encoding:\r\n",
    "no host": JSON + LENGTH,
    "two hosts": HOST + b"Host: y\r\n" + JSON + LENGTH,
    "a host twice": HOST + HOST + JSON + LENGTH,
    **{f"control {code} in a value": HOST + b"X: a%cb\r\n" % code + JSON + LENGTH for code in CONTROLS},
}

BODIES = {
    "LF alone after a size": b"%x\n%b\r\n" % (len(BODY), BODY) + LAST,
    "LF alone after a chunk": b"%x\r\n%b\n" % (len(BODY), BODY) + LAST,
    "no line end after a chunk": b"%x\r\n%bXX" % (len(BODY), BODY) + LAST,
    "LF alone after the last size": WHOLE + b"0\n\r\n",
    "LF alone at the end": WHOLE + b"0\r\n\n",
    "no size": b"\r\n" + WHOLE + LAST,
    "a size with a sign": b"+%x\r\n%b\r\n" % (len(BODY), BODY) + LAST,
    "a size with 0x": b"0x%x\r\n%b\r\n" % (len(BODY), BODY) + LAST,
    "a size with an underscore": b"0_%x\r\n%b\r\n" % (len(BODY), BODY) + LAST,
    "a space before a size": b" %x\r\n%b\r\n" % (len(BODY), BODY) + LAST,
    "a space after a size": b"%x \r\n%b\r\n" % (len(BODY), BODY) + LAST,
    "a size beyond 64 bits": b"1%016x\r\n%b\r\n" % (len(BODY), BODY) + LAST,
    "a size in many zeros": b"%017x\r\n%b\r\n" % (len(BODY), BODY) + LAST,
    "LF alone in an extension": b"%x;a\n%b\r\n" % (len(BODY), BODY) + LAST,
    "CR alone in an extension": b"%x;a\rb\r\n%b\r\n" % (len(BODY), BODY) + LAST,
    "NUL in an extension": b"%x;a\x00\r\n%b\r\n" % (len(BODY), BODY) + LAST,
    "a long extension": b"%x;%b\r\n%b\r\n" % (len(BODY), b"a" * 1_000, BODY) + LAST,
    "many extensions": b"".join(b"1;%b\r\n%c\r\n" % (b"a" * 200, byte) for byte in BODY) + LAST,
    "a trailer that goes on": WHOLE + b"0\r\nX: y\r\n z\r\n\r\n",
    "a folded first trailer": WHOLE + b"0\r\n X: y\r\n\r\n",
    "LF alone ends a trailer": WHOLE + b"0\r\nX: y\n\r\n",
    "LF alone ends the trailers": WHOLE + b"0\r\nX: y\r\n\n",
    "a control in a trailer": WHOLE + b"0\r\nX: a\x01b\r\n\r\n",
}

LINES = {
    "LF alone": b"POST %b HTTP/1.1\n",
    "two spaces": b"POST  %b HTTP/1.1\r\n",
    "a tab": b"POST\t%b HTTP/1.1\r\n",
    "a space at its end": b"POST %b HTTP/1.1 \r\n",
    "CR twice": b"POST %b HTTP/1.1\r\r\n",
    "no version": b"POST %b\r\n",
    "another version": b"POST %b HTTP/2.0\r\n",
    "a version to come": b"POST %b HTTP/1.2\r\n",
    "a version of another shape": b"POST %b HTTP/1.10\r\n",
    "NUL": b"POST %b\x00 HTTP/1.1\r\n",
}


def heads():
    fields = [(name, PLAIN, rest) for name, rest in HEADS.items()]
    hooks = [(f"{name} (hook)", HOOK, rest) for name, rest in HEADS.items()]
    for name, line, rest in fields + hooks:
        body = WHOLE + LAST if b"chunked" in rest and b"Content-Length" not in rest else BODY
        yield pytest.param(line + rest + b"\r\n" + body, id=name)
    for name, body in BODIES.items():
        for line in (PLAIN, HOOK):
            suffix = " (hook)" if line is HOOK else ""
            yield pytest.param(line + HOST + JSON + CHUNKED + b"\r\n" + body, id=f"{name}{suffix}")
    for name, line in LINES.items():
        for path in (b"/events", b"/webhooks/alertmanager"):
            yield pytest.param(line % path + HOST + JSON + LENGTH + b"\r\n" + BODY, id=f"{name} {path!r}")
    for name, line in (("plain", PLAIN), ("hook", HOOK)):
        old = line.replace(b"1.1", b"1.0")
        yield pytest.param(
            old + HOST + JSON + CHUNKED + b"\r\n" + WHOLE + LAST, id=f"chunks in HTTP/1.0 ({name})"
        )
        yield pytest.param(
            line + b"\n" + HOST + JSON + LENGTH + b"\r\n" + BODY, id=f"LF after the line ({name})"
        )
    yield pytest.param(
        (PLAIN + HOST + JSON + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + BODY, id="LF alone everywhere"
    )


@pytest.fixture(params=doors.CARRIES)
async def bridge(request):
    async with doors.open_bridge(carry=request.param) as bridge:
        yield bridge


@pytest.mark.parametrize("strange", list(heads()))
async def test_what_could_be_understood_in_two_ways_is_refused_and_nothing_behind_it_is_read(bridge, strange):
    async with connect(bridge) as wire:
        await wire.send(post() + strange + HIDDEN)
        assert (await wire.answer())[0] == 202
        status, headers, body = await wire.answer()
        assert (status, headers["connection"]) == (400, "close")
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["detail"]
        assert await wire.is_closed()
    assert [entry.key for entry in bridge.spool.entries] == ["evt-0001"]


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
async def test_a_line_that_ends_in_lf_alone_is_refused_before_the_head_is_whole(bridge, end):
    async with connect(bridge) as wire:
        await wire.send(b"GET /healthz HTTP/1.1" + end + b"Host: x\n")
        assert (await wire.answer())[0] == 400


async def test_a_refusal_says_what_is_wrong(bridge):
    async with connect(bridge) as wire:
        await wire.send(PLAIN + HOST + LENGTH + CHUNKED + b"\r\n")
        detail = json.loads((await wire.answer())[2])["detail"]
        assert detail == "Content-Length, Transfer-Encoding: expected one of them"


@pytest.mark.parametrize(
    "body",
    [
        b"%x;a=b\r\n%b\r\n0;c\r\nX-Sum: 1\r\n\r\n" % (len(BODY), BODY),
        b'%X;a="b;c"\r\n%b\r\n0\r\nX-Sum:\t1\t2\r\nY: \xfc\r\n\r\n' % (len(BODY), BODY),
        b"%016x\r\n%b\r\n0000\r\n\r\n" % (len(BODY), BODY),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 10_000])
async def test_what_can_be_understood_in_one_way_only_is_taken_however_it_is_cut(bridge, body, step):
    request = PLAIN + HOST + b"X:\ta\t\xfcb \r\n" + JSON + CHUNKED + b"\r\n" + body + HIDDEN
    async with connect(bridge) as wire:
        for at in range(0, len(request), step):
            await wire.send(request[at : at + step])
        assert (await wire.answer())[0] == 202
        assert (await wire.answer())[0] == 202
    assert [entry.key for entry in bridge.spool.entries] == ["evt-0001", "hidden"]


@pytest.mark.parametrize("step", [1_000, 100_000])
async def test_a_head_is_bounded_however_it_is_cut(bridge, step):
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * MAX_HEADER_BYTES + b"\r\n\r\n"
    async with connect(bridge) as wire:
        for at in range(0, len(request), step):
            await wire.send(request[at : at + step])
        assert (await wire.answer())[0] == 431
        assert await wire.is_closed()


async def test_http_1_1_is_not_turned_into_http2_within_a_connection(bridge):
    """A proxy that knows nothing of it would carry any requests after that one unseen (RFC 9113 has none of it)."""
    async with connect(bridge) as wire:
        await wire.send(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + post()
        )
        assert (await wire.answer())[0] == 200
        assert (await wire.answer())[0] == 202
