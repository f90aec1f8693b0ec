"""`mcp-ilert why KEY`, on spools with a past."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bridge import write_config
from mcp_ilert.clock import wall_ms
from mcp_ilert.config import load
from mcp_ilert.events import (
    Again,
    DeadByOutage,
    DeadByRejection,
    Decision,
    Done,
    Entry,
    Kind,
    Said,
    Settlement,
    Severity,
)
from mcp_ilert.service import rules_of
from mcp_ilert.spool import open_spool
from mcp_ilert.spool.history import Stop, told
from mcp_ilert.spool.port import Drop, Pause, Replay, Retarget, Rules, Stopped, Want
from test_cli_queue import mcp_ilert

RULES = Rules(tell=lambda payload: told('routes[1] "db"', "probe-1", json.loads(payload)["summary"]))
NOW = 1_790_000_000_000  # 2026-09-21 14:13:20 UTC


def event(key: str, summary: str, *, kind: Kind = Kind.ALERT, at: int = NOW) -> Entry:
    payload = json.dumps({"mcp_id": key, "source": "probe-1", "summary": summary}).encode()
    return Entry(at, kind, Severity.CRITICAL, "default", key, payload)


class Story:
    """Acts on a spool in an order and at times that the test gives."""

    def __init__(self, path: Path, rules: Rules = RULES) -> None:
        self.path, self.rules, self.ms = path, rules, NOW

    def now(self) -> int:
        return self.ms

    async def play(self, *acts: Any) -> None:
        async with open_spool(self.path, self.rules, lambda _targets: None, self.now, inline=True) as spool:
            await spool.change(Retarget(("default",)), self.ms)
            for act in acts:
                match act:
                    case int(seconds):
                        self.ms += seconds * 1000
                    case Entry():
                        await spool.put([act])
                    case (Replay() | Drop() | Pause()) as change:
                        await spool.change(change, self.ms)
                    case (stopped, decision, said):  # what `sent` gives
                        want = Want("default", 1, 1, stopped=stopped)
                        (delivery,) = (await spool.lease([want], {}, self.ms)).deliveries
                        self.ms += 120
                        done = Settlement(delivery.lease, decision, self.ms, said)
                        await spool.settle([done], {}, self.ms)
                    case _:
                        raise AssertionError(act)


def sent(
    decision: Decision | None = None, said: Said | None = None, stopped: Stopped | None = None
) -> tuple[Stopped | None, Decision, Said]:
    return (stopped, decision or Done(), said or Said(202, "", "c-1"))


async def lines(path: Path, key: str, *args: object) -> Sequence[str]:
    code, out, err = await mcp_ilert("why", key, "--spool", path, *args)
    assert code == 0, err
    return out.splitlines()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


async def test_a_resolve_that_an_alert_in_doubt_was_folded_into_came_when_it_came(spool: Path) -> None:
    resolve = event("k", "x", kind=Kind.RESOLVE, at=NOW + 7_000)
    await Story(spool).play(
        event("k", "x"),
        2,
        sent(Again(NOW + 9_000, 1, 0, certain=False), Said(0, "timeout", None)),
        resolve,
        8,
        sent(),
    )
    told = await lines(spool, "k")
    assert '2026-09-21 14:13:27.000  a resolve came (critical) from probe-1: "x"' in told
    assert not [line for line in told if "folded in" in line]


async def test_who_was_paged_reads_why_and_how(spool: Path) -> None:
    await Story(spool).play(
        event("Db-7/Disk", "disk at 90%"),
        event("db-7/disk", "disk at 98%", at=NOW + 5_000),
        36,
        sent(Again(NOW + 40_000, 1, 0, certain=False), Said(503, "answered 503", "c-0")),
        9,
        sent(stopped=Stopped(Stop.CIRCUIT, NOW + 36_000, NOW + 44_120)),
    )
    assert await lines(spool, "DB-7/disk") == [
        "Db-7/Disk (times are UTC)",
        '2026-09-21 14:13:20.000  an alert came (critical) from probe-1: "disk at 98%"',
        "2026-09-21 14:13:25.000  1 event more came until then and was folded in",
        (
            '2026-09-21 14:13:56.000  sent to default (routes[1] "db" matched), attempt 1; '
            "it waited 36.0 s for its turn at the pace of the key (critical goes first)"
        ),
        (
            "2026-09-21 14:13:56.120  iLert answered 503 (correlation id c-0); "
            "it may be sent again from 2026-09-21 14:14:00.000 on; iLert may have taken it all the same"
        ),
        (
            '2026-09-21 14:14:05.120  sent to default (routes[1] "db" matched), attempt 2; '
            "it waited until 2026-09-21 14:14:00.000 after the attempt before, "
            "then 4.1 s while iLert did not answer (circuit open), "
            "then 1.0 s for its turn at the pace of the key (critical goes first)"
        ),
        (
            "2026-09-21 14:14:05.240  iLert answered 202 (correlation id c-1); "
            "delivered: the alert is open at iLert"
        ),
        "now                      at default: nothing waits",
        "now                      at default: iLert has an open alert of this key",
    ]


async def test_who_was_not_paged_reads_why_not(spool: Path) -> None:
    resolve = event("k", "fine again", kind=Kind.RESOLVE, at=NOW + 3_000)
    await Story(spool).play(event("k", "down"), 3, resolve)
    assert await lines(spool, "k") == [
        "k (times are UTC)",
        (
            "2026-09-21 14:13:23.000  resolved before anything was sent to default: 2 events between "
            "2026-09-21 14:13:20.000 and 2026-09-21 14:13:23.000 cancelled each other; nobody was paged for them"
        ),
        "now                      nothing waits, and nothing of the key is remembered",
    ]


async def test_a_repeat_a_rejection_a_replay_and_a_drop_read_as_such(spool: Path) -> None:
    await Story(spool).play(
        event("k", "one"),
        sent(),
        event("k", "one", at=NOW + 1_000),
        event("k", "two"),
        sent(DeadByRejection(422, "summary is too long"), Said(422, "summary is too long")),
        Replay(("k",)),
        Drop("k"),
    )
    told_lines = [line[25:] for line in await lines(spool, "k")]
    assert any("repeated word for word" in line and "nothing was sent" in line for line in told_lines)
    dead = "iLert answered 422: summary is too long; a dead letter: iLert does not take it; "
    assert told_lines[7].startswith(dead)
    assert told_lines[8:10] == [
        "an operator replayed 1 dead letter at default",
        "an operator dropped 1 event at default",
    ]


async def test_a_crash_in_flight_is_told_and_the_history_is_kept_over_restarts(spool: Path) -> None:
    story = Story(spool)
    async with open_spool(spool, RULES, lambda _targets: None, story.now, inline=True) as running:
        await running.put([event("k", "down")])
        await running.lease([Want("default", 1, 1)], {}, NOW)
    story.ms += 60_000
    await story.play(sent())
    text = "\n".join(await lines(spool, "k"))
    assert "14:14:20.000  the bridge ended before an answer came; iLert may have taken it" in text
    assert "delivered: the alert is open" in text
    assert text.count("an alert came") == 1


async def test_what_was_dead_says_until_when_and_not_that_it_waited_for_its_turn(spool: Path) -> None:
    outage = (DeadByOutage(2**50, certain=True), Said(None, "connect timeout"))
    await Story(spool).play(event("k", "down"), sent(*outage), 1_000, Replay(None), 1, sent(*outage))
    await Story(spool).play(2_000, event("k", "down again", at=NOW + 2_000_000), sent())
    waited = [line.split("; it ")[1] for line in await lines(spool, "k") if "sent to default" in line]
    assert waited == [
        "did not wait",
        (
            "waited until 2026-09-21 14:30:00.120, when it was made alive, "
            "then 1.0 s for its turn at the pace of the key (critical goes first)"
        ),
        "waited until 2026-09-21 14:46:40.000, dead by an outage until more came",
    ]


async def test_what_waits_says_for_what_and_which_route_it_matches_now(tmp_path: Path) -> None:
    routes = [{"match": {"source": "other"}}, {"name": "db", "match": {"source": "probe-*"}}]
    config = write_config(tmp_path, "http://127.0.0.1:9")
    settings = json.loads(config.read_text()) | {"routes": routes}
    config.write_text(json.dumps(settings))
    spool = tmp_path / "spool.db"
    rules = rules_of(load(config, {}))
    outage = DeadByOutage(NOW * 2, certain=True)
    await Story(spool, rules).play(event("k", "down"), event("dead", "down"), sent(), sent(outage))
    await Story(spool, rules).play(event("k", "down again", at=wall_ms()), Pause("default", paused=True))
    code, out, err = await mcp_ilert("why", "k", "--config", config)
    assert code == 0, err
    assert 'sent to default (routes[1] "db" matched)' in out
    assert re.search(r"alert \(critical, since [0-9: .-]+, routes\[1\] \"db\" matches\) waits: ", out)
    assert "waits: an operator has paused the target" in out
    _, out, _ = await mcp_ilert("why", "dead", "--config", config)
    assert "is dead by an outage: it comes back by itself once iLert answers" in out


async def test_the_json_has_the_facts_behind_the_words(spool: Path) -> None:
    await Story(spool).play(event("k", "down"), 2, sent())
    code, out, _ = await mcp_ilert("why", "k", "--spool", spool, "--json")
    assert code == 0
    life = json.loads(out)
    (happened,) = life["history"]
    assert happened | {"says": None, "id": None} == {
        "id": None,
        "at_ms": NOW + 2_120,
        "target": "default",
        "what": "delivered",
        "says": None,
        "events": 1,
        "kind": "alert",
        "severity": "critical",
        "first_ms": NOW,
        "last_ms": NOW,
        "leased_ms": NOW + 2_000,
        "attempt": 1,
        "status": 202,
        "correlation_id": "c-1",
        "route": 'routes[1] "db"',
        "source": "probe-1",
        "summary": "down",
    }
    assert next((s["at_ms"], s["at"]) for s in happened["says"]) == (NOW, "2026-09-21 14:13:20.000")
    assert life["lanes"][0]["remote"] == "open"
    assert (life["key"], life["before"]) == ("k", None)


async def test_a_long_life_is_read_page_by_page(spool: Path) -> None:
    acts = [act for i in range(5) for act in (event("k", f"text {i}"), sent(), 100)]
    await Story(spool).play(*acts)
    code, out, err = await mcp_ilert("why", "k", "--spool", spool, "--limit", 2)
    assert code == 0
    assert [n for n in range(5) if f"text {n}" in out] == [3, 4]
    before = err.split()[-1]
    assert "There may be more, earlier: --before" in err
    assert [n for n in range(5) if f"text {n}" in "\n".join(await lines(spool, "k", "--before", before))] == [
        0,
        1,
        2,
    ]


async def test_an_unknown_key_is_exit_code_1_with_what_may_be_the_reason(spool: Path) -> None:
    await Story(spool).play(event("k", "down"))
    code, _, err = await mcp_ilert("why", "nobody", "--spool", spool)
    assert code == 1
    assert err.startswith(
        "mcp-ilert: nothing is known of the key 'nobody': it did not come, a route drops it"
    )
    assert err.count("\n") == 1


async def test_what_a_producer_or_ilert_wrote_cannot_drive_the_terminal(spool: Path) -> None:
    await Story(spool).play(event("k\x1b[2J", "\x1b]0;evil\x07"), sent(None, Said(202, "\x1b[1m", "\u202e")))
    text = "\n".join(await lines(spool, "k\x1b[2J"))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b]0;evil" in text


async def test_a_key_longer_than_what_is_kept_of_it_is_found(spool: Path) -> None:
    key = "Key-" * 500
    await Story(spool).play(event(key, "down"), sent())
    assert any("an alert came" in line for line in await lines(spool, key.lower()))
    assert (await mcp_ilert("why", key + "x", "--spool", spool))[0] == 1
