"""`mcp-ilert demo`, as whoever runs it sees it: a process, its output, and the port it prints."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio
from rich.console import Console

from mcp_ilert.cli.demo import EXAMPLE, curl_line
from mcp_ilert.cli.demoing.log import DemoLog, attempt
from mcp_ilert.cli.demoing.screen import steps
from mcp_ilert.cli.demoing.storm import EVENTS, KEYS, batches, storm
from mcp_ilert.cli.demoing.view import line, picture, summary_line
from mcp_ilert.decode.native import decode_event
from mcp_ilert.events import (
    Counts,
    Delivered,
    Delivery,
    Kind,
    Outcome,
    Rejected,
    Severity,
    Throttled,
    Unavailable,
)


class Demo:
    """The demo's process and what it has printed."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.text = ""
        self.ended = False
        self._news = trio.Event()

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for chunk in self.process.stdout:
            self.text += chunk.decode()
            self._news.set()
            self._news = trio.Event()
        self.ended = True
        self._news.set()

    async def said(self, pattern: str) -> re.Match[str]:
        """The text that matches, waited for."""
        with trio.fail_after(40):
            while (found := re.search(pattern, self.text)) is None:
                assert not self.ended, self.text
                await self._news.wait()
        return found

    async def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        with trio.fail_after(40):
            return await self.process.wait()


@asynccontextmanager
async def demo(*args: str) -> AsyncIterator[Demo]:
    command = [sys.executable, "-m", "mcp_ilert", "demo", *args]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    found = Demo(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.read)
        try:
            yield found
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


async def test_the_printed_curl_line_brings_an_event_to_the_sandbox() -> None:
    async with demo("--port", "0") as shown:
        url = (await shown.said(r"curl -sS (http://127\.0\.0\.1:\d+)/events"))[1]
        words = shlex.split((await shown.said(r"curl -sS .*\n"))[0])
        folder = Path((await shown.said(r"spool +(\S+)"))[1]).parent
        assert folder.is_dir()
        async with httpx.AsyncClient(trust_env=False) as client:
            headers = dict([words[words.index("-H") + 1].split(": ")])
            answer = await client.post(words[2], content=words[words.index("-d") + 1], headers=headers)
            assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
            assert (await client.get(f"{url}/readyz")).status_code == 200
            metrics = (await shown.said(r"metrics +(\S+)"))[1]
            assert "mcp_in_events_total" in (await client.get(metrics)).text
        await shown.said(r"ALERT evt-0001 critical: Disk full → 202 after")
        assert await shown.end() == 0
    assert "1 accepted = 1 delivered + 0 coalesced + 0 cancelled + 0 still waiting" in shown.text
    assert not folder.exists()
    assert "Traceback" not in shown.text


async def test_a_port_asked_for_and_taken_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with demo("--port", str(taken.getsockname()[1])) as shown:
            await shown.said("listen.port: .* is taken")
            assert await shown.process.wait() == 1


async def test_the_usual_port_taken_gives_a_free_one_and_says_so() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        async with demo() as shown:
            await shown.said("Port 8080 is taken")
            url = (await shown.said(r"events +(http://127\.0\.0\.1:\d+)"))[1]
            assert not url.endswith(":8080")
            assert await shown.end() == 0


async def test_a_storm_is_folded_before_ones_eyes() -> None:
    async with demo("--port", "0", "--storm") as shown:
        await shown.said(rf"storm: {EVENTS:,} of {EVENTS:,} events over {KEYS} alert keys sent in")
        assert await shown.end() == 0
    counts = re.search(
        r"([\d,]+) accepted = ([\d,]+) delivered \+ ([\d,]+) coalesced \+ ([\d,]+) cancelled \+ ([\d,]+) still",
        shown.text,
    )
    assert counts is not None
    accepted, delivered, coalesced, cancelled, waiting = (int(n.replace(",", "")) for n in counts.groups())
    assert accepted == EVENTS == delivered + coalesced + cancelled + waiting
    assert delivered < 60
    assert coalesced > EVENTS * 0.9


# The picture -----------------------------------------------------------------------------------------------------


def delivery(key: str = "db/disk", summary: str = "Disk full", count: int = 3) -> Delivery:
    payload = json.dumps(EXAMPLE | {"summary": summary}).encode()
    return Delivery(1, "default", key, Kind.ALERT, Severity.CRITICAL, payload, count, 1_000, 1_500, 0, 0, 0)


def drawn(log: DemoLog, counts: Counts, width: int = 110) -> str:
    console = Console(width=width, height=40, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(picture(log, counts, tokens=7, per_minute=50, rows=10, width=width))
    console.file.close()
    return console.export_text()


def test_the_picture_shows_deliveries_totals_and_the_storm() -> None:
    log = DemoLog()
    log.add(attempt(delivery(), Delivered(202), 2_500))
    log.storm_total, log.storm_sent = 5_000, 1_250
    text = drawn(log, Counts(accepted=1_250, coalesced=1_200, delivered=10, pending=40, lanes=40))
    for words in (
        "ALERT",
        "db/disk",
        "Disk full",
        "critical",
        "202",
        "1.5 s",
        "1,200",
        "1,250 of 5,000 events",
    ):
        assert words in text
    assert "40 alert keys waiting · 7 requests may go now, 50 in a minute" in text


def test_before_the_first_delivery_it_says_what_to_do() -> None:
    assert "paste the curl line" in drawn(DemoLog(), Counts())


def test_no_line_is_wider_than_the_terminal() -> None:
    log = DemoLog()
    log.add(attempt(delivery("k" * 200, "s" * 1_000), Rejected(422, "no"), 2_500))
    for width in (60, 80, 200):
        assert max(map(len, drawn(log, Counts(), width).splitlines())) <= width


def test_every_outcome_has_a_word() -> None:
    outcomes: list[Outcome] = [
        Delivered(200),
        Throttled(),
        Unavailable("timeout", certain=False),
        Rejected(422, "no"),
    ]
    answers = [attempt(delivery(), outcome, 0).answer for outcome in outcomes]
    assert answers == ["200", "429", "timeout", "422"]


def test_a_producers_text_cannot_drive_the_terminal() -> None:
    log = DemoLog()
    made = attempt(delivery("a\x1b[2J", "b\x07[bold]c"), Delivered(202), 0)
    log.add(made)
    assert "\x1b" not in line(made) + drawn(log, Counts())
    assert "[bold]c" in drawn(log, Counts())


def test_the_log_keeps_the_last_and_knows_how_many_there_were() -> None:
    log = DemoLog()
    for number in range(300):
        log.add(attempt(delivery(count=number), Delivered(202), 0))
    assert [made.events for made in log.since(297)] == [297, 298, 299]
    assert len(log.since(0)) == 200
    assert log.since(300) == []


def test_the_last_fifth_of_a_storm_is_told_when_its_time_is_known() -> None:
    log = DemoLog()
    assert steps(log) == 0
    log.storm_total, log.storm_sent = 5_000, 2_500
    assert steps(log) == 2
    log.storm_sent = 5_000
    assert steps(log) == 4
    log.storm_seconds = 1.0
    assert steps(log) == 5


def test_the_storm_is_valid_and_as_large_as_told() -> None:
    events = [decode_event(text) for text in storm()]
    assert len(events) == EVENTS
    assert len({event.mcp_id for event in events}) == KEYS
    assert {event.priority for event in events} == {1, 2, 3, 4}
    assert sum(map(len, batches(storm()))) == EVENTS


def test_the_summary_names_what_is_seldom_only_when_there_is_some() -> None:
    assert summary_line(Counts()).endswith("0 still waiting")
    assert summary_line(Counts(dead=2, dropped_by_operator=1)).endswith("2 dead + 1 dropped")


def test_the_curl_line_is_one_line_and_its_body_is_json() -> None:
    words = shlex.split(curl_line("http://127.0.0.1:1"))
    assert json.loads(words[-1]) == EXAMPLE
    assert "\n" not in curl_line("http://127.0.0.1:1")
