"""The sentence that says whether the bridge is well, and how targets stand."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_ilert.console.overview import BAD, GOOD, NOTE, Facts, Overview, overview
from mcp_ilert.dispatch.breaker import HalfOpen, Open
from mcp_ilert.dispatch.pace import Learnt, Rate
from mcp_ilert.dispatch.park import Park
from mcp_ilert.dispatch.plan import View
from mcp_ilert.dispatch.rules import Rules
from mcp_ilert.dispatch.standing import Standing, standing
from mcp_ilert.dispatch.state import TargetState
from mcp_ilert.events import Counts
from mcp_ilert.spool.port import Agenda
from mcp_ilert.spool.read_model import Backlog

NOW_MS = 1_700_000_000_000
RULES = Rules(Rate(50, 10), 5, 2.0, 300.0, 8)
WELL = Standing("default", False, "closed", None, None, None, 10, 50.0, False)


FLOWS = "Events are accepted and delivered."
KEPT = "Events are accepted and kept, but nothing is delivered"


def seen(*standings: Standing, backlog: Backlog | None = None, **facts: Any) -> Overview:
    made = Facts("1", NOW_MS, NOW_MS, (), (), Counts(), False, 0, standings or (WELL,))
    return overview(msgspec.structs.replace(made, **facts), backlog or Backlog({}, {}))


def waits(severity: str, seconds: float, lanes: int = 3) -> dict[str, Any]:
    backlog = Backlog({severity: NOW_MS - round(seconds * 1000)}, {"default": lanes})
    return {"backlog": backlog, "counts": Counts(accepted=lanes, pending=lanes)}


def held(why: str, **fields: Any) -> Standing:
    return msgspec.structs.replace(WELL, held=why, **fields)


def test_all_is_well() -> None:
    found = seen()
    assert (found.level, found.says) == (GOOD, f"{FLOWS} Nothing waits.")
    assert found.accepting


@pytest.mark.parametrize(
    ("found", "level", "says"),
    [
        (
            seen(reasons=["shutting down"]),
            BAD,
            "Nothing is accepted: shutting down. What waits is delivered. Nothing waits.",
        ),
        (
            seen(held("circuit"), reasons=["shutting down"]),
            BAD,
            "Nothing is accepted: shutting down. Nothing is delivered: iLert does not answer. Nothing waits.",
        ),
        (
            seen(full=True),
            BAD,
            "The spool is full: new alert keys are refused, what waits is delivered. Nothing waits.",
        ),
        (
            seen(held("parked", parked=401)),
            BAD,
            f"{KEPT}: iLert refuses the key. Nothing waits.",
        ),
        (
            seen(WELL, held("paused", name="b")),
            NOTE,
            f"{KEPT} to b: an operator has paused it. Nothing waits.",
        ),
        (
            seen(WELL, held("throttled", name="b"), held("circuit", name="c")),
            BAD,
            f"{KEPT} to 2 of 3 targets: iLert does not answer. Nothing waits.",
        ),
        (
            seen(**waits("low", 90)),
            GOOD,
            f"{FLOWS} 3 events wait, the oldest for 90.0 s.",
        ),
        (
            seen(**waits("critical", 90, 1)),
            BAD,
            f"{FLOWS} 1 event waits, the oldest for 90.0 s. Something critical has waited for 90.0 s.",
        ),
        (
            seen(**waits("high", 600)),
            NOTE,
            f"{FLOWS} 3 events wait, the oldest for 10 min. Something high has waited for 10 min.",
        ),
        (
            seen(msgspec.structs.replace(WELL, storm=True)),
            NOTE,
            f"{FLOWS} Nothing waits. A storm is on: lesser alerts go into digests.",
        ),
        (
            seen(counts=Counts(accepted=2, dead=2)),
            NOTE,
            f"{FLOWS} Nothing waits. 2 events are dead letters.",
        ),
        (
            seen(counts=Counts(accepted=1)),
            BAD,
            f"{FLOWS} Nothing waits. The counts do not add up by 1: keep the spool and report it.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 8 else "",
)
def test_it_says_what_is_the_matter_and_how_bad_it_is(found: Overview, level: str, says: str) -> None:
    assert (found.level, found.says) == (level, says)


@given(
    st.lists(st.sampled_from([None, "paused", "throttled", "parked", "circuit"]), max_size=4),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_whatever_is_the_matter_there_is_a_sentence_and_the_worst_decides(
    why: list[str | None], stopped: bool, full: bool, dead: int, lost: int
) -> None:
    standings = [msgspec.structs.replace(WELL, name=str(i), held=held) for i, held in enumerate(why)]
    counts = Counts(accepted=dead + lost, dead=dead)
    found = seen(*standings, reasons=["shutting down"] if stopped else [], full=full, counts=counts)
    assert found.says.endswith(".")
    assert "None" not in found.says
    bad = stopped or full or lost or {"parked", "circuit"} & set(why)
    note = dead or {"paused", "throttled"} & set(why)
    assert found.level == (BAD if bad else NOTE if note else GOOD)


@pytest.mark.parametrize(
    ("at", "level", "says"),
    [
        (WELL, GOOD, "Delivering"),
        (
            held("paused", paused=True),
            NOTE,
            "Paused by an operator; what waits is kept until it is resumed",
        ),
        (
            held("throttled", next_ms=NOW_MS + 40_000),
            NOTE,
            "iLert asked for a pause (429), going on in 40.0 s",
        ),
        (
            held("parked", parked=401, next_ms=NOW_MS + 300_000),
            BAD,
            "iLert refuses the key (status 401); what waits is kept: set a valid one and reload, tried again in 5 min",
        ),
        (
            held("parked", parked=200),
            BAD,
            (
                "iLert's answers are not of its published incident model; what waits is kept: "
                "use target: alert in its routes and reload, being tried again"
            ),
        ),
        (
            held("circuit"),
            BAD,
            "iLert does not answer (circuit open); what waits is kept, a probe is on its way",
        ),
        (
            msgspec.structs.replace(WELL, storm=True, tokens=0, next_ms=NOW_MS + 500),
            GOOD,
            "Delivering, a storm is on: lesser alerts go into digests, at the pace of the key",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 8 else "",
)
def test_a_target_says_how_it_stands(at: Standing, level: str, says: str) -> None:
    (target,) = seen(at, backlog=Backlog({}, {"default": 7})).targets
    assert (target.level, target.says, target.lanes) == (level, says, 7)


# From the dispatcher's state -------------------------------------------------------------------------------------

IDLE = View(TargetState(), Agenda(), False, False, False, 10, 0.0, 0.0)


def stands(state: TargetState | None = None, **fields: Any) -> Standing:
    view = msgspec.structs.replace(IDLE, state=state or TargetState(), **fields)
    return standing("default", view, RULES, 1000.0, NOW_MS)


def test_a_target_at_rest_is_held_by_nothing() -> None:
    assert stands() == Standing("default", False, "closed", None, None, None, 10, 50.0, False)


def test_a_paused_target_says_so_whatever_else_is_the_matter() -> None:
    found = stands(TargetState(breaker=Open(0, 1010.0)), paused=True)
    assert (found.held, found.paused, found.circuit) == ("paused", True, "open")


def test_an_open_circuit_says_when_the_next_probe_goes() -> None:
    found = stands(TargetState(breaker=Open(0, 1010.0)), agenda=Agenda(waiting=True))
    assert (found.held, found.circuit, found.next_ms) == ("circuit", "open", NOW_MS + 10_000)
    found = stands(TargetState(breaker=HalfOpen(0)), probing=True)
    assert (found.held, found.circuit, found.next_ms) == ("circuit", "half_open", None)


def test_a_parked_key_says_by_which_answer() -> None:
    found = stands(TargetState(park=Park(402, 1005.0)), agenda=Agenda(waiting=True))
    assert (found.held, found.parked, found.next_ms) == ("parked", 402, NOW_MS + 5_000)


def test_after_a_429_it_says_until_when_and_how_slow_it_has_become() -> None:
    found = stands(TargetState(learnt=Learnt(budget=25.0, since=1000.0, paused_until=1060.0)))
    assert (found.held, found.next_ms, found.per_minute) == ("throttled", NOW_MS + 60_000, 25.0)


def test_without_a_token_it_says_when_there_is_one() -> None:
    found = stands(tokens=0, token_wait=0.75, agenda=Agenda(others_ready=True))
    assert (found.held, found.tokens, found.next_ms) == (None, 0, NOW_MS + 750)
    assert not math.isinf(found.per_minute)
