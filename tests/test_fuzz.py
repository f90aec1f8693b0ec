"""Hostile input at every path and at the TCP door: an answer of ours, never a 500; and who is in order is served after.

FUZZ_EXAMPLES makes it longer (`make fuzz`).
"""

import json
import os
from typing import Any

import h11
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from doors import BODY, open_bridge
from mcp_ilert.web.openapi import document

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
PATHS: dict[str, Any] = document("1")["paths"]
ALLOWED = {200, 202, 400, 401, 403, 404, 405, 408, 411, 413, 415, 422, 429, 431, 501}

words = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20).map(str.encode)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)
fields = st.sampled_from(
    ["mcp_id", "source", "summary", "priority", "status", "tags", "labels", "links", "details"]
)
events = st.dictionaries(fields, junk | st.text(min_size=1, max_size=9), max_size=9)
bodies = (
    st.binary(max_size=60)
    | (junk | events | st.lists(events, max_size=3)).map(lambda value: json.dumps(value).encode())
    | st.integers(1, 200).map(lambda depth: b'{"a":' * depth + b"1" + b"}" * depth)
    | st.just(BODY)
)
hosts = st.sampled_from([b"x", b"a..b", b".", b"x" * 64, b"[::1]:1", b"", b"\xff"]) | words
methods = st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"get", b"PATCH"])
paths = (st.sampled_from(sorted(PATHS)).map(str.encode) | words.map(lambda word: b"/" + word)).flatmap(
    lambda path: st.just(path) | words.map(lambda query: path + b"?" + query)
)
kinds = st.sampled_from(
    [b"application/json", b"application/x-ndjson", b"text/plain", b"application/json; charset=x", b""]
)
headers = st.lists(
    st.tuples(
        st.sampled_from(
            [b"Authorization", b"Content-Encoding", b"X-Forwarded-For", b"Cookie", b"Accept", b"Range"]
        ),
        words,
    ),
    max_size=3,
)


def text_of(
    method: bytes, path: bytes, host: bytes, kind: bytes, more: list[tuple[bytes, bytes]], body: bytes
) -> bytes:
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: " + host, b"Content-Type: " + kind]
    lines += [name + b": " + value for name, value in more] + [b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


requests = st.tuples(methods, paths, hosts, kinds, headers, bodies)


async def asked(port: int, method: bytes, text: bytes) -> tuple[int, dict[bytes, bytes]]:
    client = h11.Connection(h11.CLIENT)
    client.send(
        h11.Request(
            method=method.decode().upper(), target="/", headers=[("Host", "x"), ("Content-Length", "0")]
        )
    )
    client.send(h11.EndOfMessage())
    with trio.fail_after(30):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(text)
            while True:
                event = client.next_event()
                if event is h11.NEED_DATA:
                    client.receive_data(await stream.receive_some(65_536))
                elif isinstance(event, h11.Response):
                    return event.status_code, dict(event.headers)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(requests, min_size=1, max_size=8), st.sampled_from(["reactor", "stream", "hypercorn"]))
@example(
    [(b"GET", b"/readyz", b"a..b", b"", [], b""), (b"GET", b"/readyz", b"x" * 64, b"", [], b"")], "hypercorn"
)
def test_every_request_has_an_answer_of_ours(some, carry):
    async def main():
        async with open_bridge(carry=carry) as bridge:
            for request in some:
                status, found = await asked(bridge.port, request[0], text_of(*request))
                assert status in ALLOWED, (status, request)
                if status >= 400:
                    assert found[b"content-type"] == b"application/problem+json", request
            ours = text_of(b"POST", b"/events", b"x", b"application/json", [], BODY)
            assert (await asked(bridge.port, b"POST", ours))[0] == 202

    trio.run(main)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(bodies | st.binary(max_size=30), max_size=12),
    st.lists(st.integers(1, 40), max_size=20),
    st.booleans(),
)
def test_the_tcp_door_answers_every_line_however_it_is_cut(lines, cuts, reactor):
    text = b"\n".join([*(line.replace(b"\n", b" ") for line in lines), BODY]) + b"\n"
    parts, at = [], 0
    for size in cuts:
        parts.append(text[at : at + size])
        at += size
    parts.append(text[at:])
    wanted = sum(1 for line in text.split(b"\n") if line.strip(b" \t\r"))

    async def main():
        async with open_bridge(carry="reactor" if reactor else "stream") as bridge:
            async with await trio.open_tcp_stream("127.0.0.1", bridge.tcp_port) as stream:
                for part in parts:
                    await stream.send_all(part)
                await stream.send_eof()
                answers = b""
                with trio.fail_after(30):
                    while more := await stream.receive_some(65_536):
                        answers += more
            found = [json.loads(answer) for answer in answers.splitlines()]
            assert len(found) == wanted
            assert found[-1] == {"ok": True}
            assert all(answer["ok"] or answer["error"] for answer in found)
            assert bridge.count("tcp", "accepted") == sum(answer["ok"] for answer in found)

    trio.run(main)
