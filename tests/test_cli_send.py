"""`mcp-ilert send` as a process of its own, against doors that the test plays on real sockets."""

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypothesis import given
from hypothesis import strategies as st

from mcp_ilert.cli.sending.http import wait_before_retry
from mcp_ilert.cli.sending.lines import MAX_LINE_BYTES, Batch, Refusal, Splitter

Handler = Callable[["Seen"], tuple[int, dict[str, str], object]]


class Seen:
    """A request as the door sees it."""

    def __init__(self, scope: Any, body: bytes) -> None:
        self.path: str = scope["path"]
        self.http: str = scope["http_version"]
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.body = body
        self.lines = body.split(b"\n")


class Door:
    """A door that answers as it is told and remembers what it saw."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.seen: list[Seen] = []
        self.url = ""

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        if scope["type"] != "http":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        seen = Seen(scope, body)
        self.seen.append(seen)
        status, headers, content = self.handler(seen)
        text = json.dumps(content).encode()
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": text})


def accept_all(seen: Seen) -> tuple[int, dict[str, str], object]:
    return 202, {}, {"accepted": len(seen.lines)}


@asynccontextmanager
async def opened(handler: Handler) -> AsyncIterator[Door]:
    door = Door(handler)
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        stop = trio.Event()

        async def run(task_status: Any) -> None:
            await serve(door, config, shutdown_trigger=stop.wait, task_status=task_status)

        (door.url,) = await nursery.start(run)
        yield door
        stop.set()


async def send(*args: str, stdin: bytes = b"", **env: str) -> tuple[int, str, str]:
    done = await trio.run_process(
        [sys.executable, "-m", "mcp_ilert", "send", *args],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={"PATH": "", "HOME": "/nonexistent"} | env,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def events(count: int) -> bytes:
    return b"".join(b'{"mcp_id":"e%d","source":"s","summary":"x"}\n' % i for i in range(count))


async def test_the_fields_given_as_options_are_one_event() -> None:
    async with opened(accept_all) as door:
        args = ["--mcp-id", "e1", "--source", "probe-1", "--summary", "Disk full", "--priority", "1"]
        more = ["--tag", "disk", "--tag", "db", "--label", "team=db", "--link", "https://x.example/1"]
        code, out, err = await send("--url", door.url, *args, *more, "--field", "n=[1]", "--field", "m=a b")
    assert (code, err) == (0, "")
    assert out.startswith("1 accepted")
    assert door.seen[0].path == "/events"
    assert door.seen[0].headers["content-type"] == "application/json"
    assert json.loads(door.seen[0].body) == {
        "mcp_id": "e1",
        "source": "probe-1",
        "summary": "Disk full",
        "priority": 1,
        "tags": ["disk", "db"],
        "labels": {"team": "db"},
        "links": [{"href": "https://x.example/1"}],
        "n": [1],
        "m": "a b",
    }


@pytest.mark.parametrize(("args", "version"), [((), "1.1"), (("--http2",), "2")])
async def test_a_file_goes_out_in_batches(tmp_path: Path, args: tuple[str, ...], version: str) -> None:
    (tmp_path / "events.ndjson").write_bytes(events(25))
    async with opened(accept_all) as door:
        file = str(tmp_path / "events.ndjson")
        code, out, _ = await send("--url", door.url, "--batch", "10", "--json", *args, file)
    assert code == 0
    assert json.loads(out)["accepted"] == 25
    assert [len(seen.lines) for seen in door.seen] == [10, 10, 5]
    assert {seen.http for seen in door.seen} == {version}
    assert b"\n".join(seen.body for seen in door.seen) + b"\n" == events(25)


async def test_standard_input_is_read_when_nothing_else_is_given() -> None:
    async with opened(accept_all) as door:
        code, out, _ = await send("--json", stdin=events(3), MCP_ILERT_URL=door.url)
    assert (code, json.loads(out)["accepted"]) == (0, 3)


async def test_what_a_pipe_holds_goes_out_before_it_is_closed() -> None:
    got = trio.Event()

    def tell(seen: Seen) -> tuple[int, dict[str, str], object]:
        got.set()
        return accept_all(seen)

    async with opened(tell) as door, trio.open_nursery() as nursery:
        command = [sys.executable, "-m", "mcp_ilert", "send", "--url", door.url, "-"]
        start = partial(trio.run_process, command, stdin=subprocess.PIPE, capture_stdout=True)
        process: trio.Process = await nursery.start(start)
        assert process.stdin is not None
        await process.stdin.send_all(events(1))
        with trio.fail_after(20):
            await got.wait()
        await process.stdin.aclose()


async def test_a_token_goes_along() -> None:
    async with opened(accept_all) as door:
        await send("--url", door.url, stdin=events(1), MCP_ILERT_TOKEN="t0ken")
    assert door.seen[0].headers["authorization"] == "Bearer t0ken"


async def test_a_refused_line_is_named_and_makes_the_exit_code_1() -> None:
    rejected = [{"index": 1, "error": "$.summary: missing"}]
    async with opened(lambda _: (202, {}, {"accepted": 1, "rejected": rejected})) as door:
        code, out, err = await send("--url", door.url, stdin=b"\n" + events(1) + b'\n{"mcp_id":"b"}\n')
    assert code == 1
    assert out.startswith("1 accepted, 1 not accepted")
    assert err == "line 4: $.summary: missing\n"


async def test_an_invalid_event_is_reported_with_the_bridges_words() -> None:
    problem = {"title": "Invalid event", "status": 422, "detail": "$.summary: missing"}
    async with opened(lambda _: (422, {}, problem)) as door:
        code, out, err = await send("--url", door.url, "--mcp-id", "x")
    assert (code, err) == (1, "line 1: $.summary: missing\n")
    assert out.startswith("0 accepted, 1 not accepted")


@pytest.mark.parametrize("status", [429, 503])
async def test_it_comes_again_when_the_bridge_asks_for_it(status: int) -> None:
    answers = [(status, {"retry-after": "0"}, {"detail": "full"})] * 2

    def handler(seen: Seen) -> tuple[int, dict[str, str], object]:
        return answers.pop() if answers else accept_all(seen)

    async with opened(handler) as door:
        code, out, _ = await send("--url", door.url, "--json", stdin=events(2))
    assert code == 0
    assert json.loads(out) | {"seconds": 0} == {
        "accepted": 2,
        "refused": 0,
        "retries": 2,
        "seconds": 0,
        "errors": [],
        "stopped": None,
    }


async def test_it_gives_up_after_so_many_retries() -> None:
    async with opened(lambda _: (503, {"retry-after": "0"}, {"detail": "the spool is full"})) as door:
        code, _, err = await send("--url", door.url, "--retries", "2", stdin=events(2))
    assert code == 1
    assert "the bridge answered 503: the spool is full" in err
    assert len(door.seen) == 3


async def test_a_wrong_token_ends_it_at_once() -> None:
    async with opened(lambda _: (401, {}, {"detail": "the token is not known"})) as door:
        code, _, err = await send("--url", door.url, "--batch", "1", stdin=events(50))
    assert code == 1
    assert err == "mcp-ilert: the bridge answered 401: the token is not known\n"
    assert len(door.seen) == 1


async def test_a_batch_too_large_for_the_bridge_is_halved() -> None:
    def small(seen: Seen) -> tuple[int, dict[str, str], object]:
        return accept_all(seen) if len(seen.lines) <= 2 else (413, {}, {"detail": "too large"})

    async with opened(small) as door:
        code, out, _ = await send("--url", door.url, "--json", stdin=events(7))
    assert (code, json.loads(out)["accepted"]) == (0, 7)
    taken = [line for seen in door.seen if len(seen.lines) <= 2 for line in seen.lines]
    assert b"\n".join(taken) + b"\n" == events(7)


async def test_where_no_bridge_listens_it_says_so_in_a_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = await send("--url", url, stdin=events(1))
    assert code == 1
    assert err.startswith(f"mcp-ilert: no bridge answers at {url}/events")
    assert err.count("\n") == 1


async def tcp_door(stream: trio.SocketStream, token: str | None, seen: list[dict[str, Any]]) -> None:
    """Refuses what lacks a summary; takes nothing before the token."""
    unread = b""
    async with stream:
        async for chunk in stream:
            *lines, unread = (unread + chunk).split(b"\n")
            for line in lines:
                event = json.loads(line)
                seen.append(event)
                if token is not None and "auth" in event:
                    answer = {"ok": event["auth"] == token, "error": "the token is not known"}
                else:
                    answer = {"ok": "summary" in event, "error": "$.summary: missing"}
                await stream.send_all(json.dumps(answer).encode() + b"\n")


async def test_the_tcp_door_is_spoken_to_line_by_line(nursery: trio.Nursery) -> None:
    seen: list[dict[str, Any]] = []
    listeners = await nursery.start(trio.serve_tcp, lambda s: tcp_door(s, "t0ken", seen), 0)
    port = listeners[0].socket.getsockname()[1]
    lines = events(600) + b'{"mcp_id":"bad"}\n'
    args = ["--url", f"tcp://127.0.0.1:{port}", "--token", "t0ken"]
    code, out, err = await send(*args, stdin=lines)
    assert code == 1
    assert out.startswith("600 accepted, 1 not accepted")
    assert err == "line 601: $.summary: missing\n"
    assert seen[0] == {"auth": "t0ken"}
    assert [event["mcp_id"] for event in seen[1:]] == [f"e{i}" for i in range(600)] + ["bad"]


async def test_a_token_that_the_tcp_door_refuses_is_said(nursery: trio.Nursery) -> None:
    listeners = await nursery.start(trio.serve_tcp, lambda s: tcp_door(s, "right", []), 0)
    port = listeners[0].socket.getsockname()[1]
    code, _, err = await send("--url", f"tcp://127.0.0.1:{port}", "--token", "wrong", stdin=events(1))
    assert (code, err) == (1, "mcp-ilert: the bridge refused the token: the token is not known\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--url", "ftp://x"], "expected http://HOST:PORT"),
        (["--url", "tcp://localhost"], "has no default port"),
        (["--label", "novalue"], "expected NAME=VALUE"),
        (["--mcp-id", "x", "events.ndjson"], "not both"),
        (["/nonexistent/events.ndjson"], "No such file"),
        (["--key-file", "k.pem"], "--key-file needs --cert-file"),
    ],
)
async def test_a_wrong_command_line_is_exit_code_2(args: list[str], message: str) -> None:
    code, _, err = await send(*args)
    assert code == 2
    assert message in err


def test_the_bridges_wish_is_kept_and_bounded() -> None:
    assert wait_before_retry("7", 0, lambda: 0.5) == 7
    assert wait_before_retry("86400", 0, lambda: 0.5) == 60
    assert wait_before_retry("soon", 3, lambda: 0.5) == 2
    assert wait_before_retry(None, 500, lambda: 0.5) == 30


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=30), st.data())
def test_any_chunking_gives_the_same_lines_in_order(lines: list[bytes], data: st.DataObject) -> None:
    text = b"\n".join(lines)
    splitter = Splitter(max_lines=4, max_bytes=64)
    found: list[Batch | Refusal] = []
    rest = text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        found += splitter.feed(rest[:size])
        rest = rest[size:]
    found += splitter.finish()
    batches = [batch for batch in found if isinstance(batch, Batch)]
    wanted = [(n, line.strip()) for n, line in enumerate(text.split(b"\n"), 1) if line.strip()]
    assert [pair for b in batches for pair in zip(b.numbers, b.lines, strict=True)] == wanted
    assert all(len(b.lines) <= 4 for b in batches)
    assert all(len(b.lines) == 1 or sum(map(len, b.lines)) <= 64 for b in batches)


def test_an_endless_line_is_refused_once_and_skipped() -> None:
    splitter = Splitter(max_lines=10, max_bytes=100)
    found: list[Batch | Refusal] = splitter.feed(b"a\n")
    for _ in range(5):
        found += splitter.feed(b"x" * (MAX_LINE_BYTES // 2))
    found += splitter.feed(b"end\nb\n")
    found += splitter.finish()
    assert found == [
        Batch((b"a",), (1,)),
        Refusal(2, f"longer than {MAX_LINE_BYTES} bytes"),
        Batch((b"b",), (3,)),
    ]
