"""Looks into the soak's spool: what waits, what is dead, where each alert key stands."""

from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from mcp_ilert.events import KIND_OF_STATUS
from mcp_ilert.spool.read_model import LaneView
from mcp_ilert.spool.view import SpoolView
from oracle import DIGEST, EVENT_TYPE, Letter, Place
from soak_ilert import Ilert


def places(view: SpoolView, ilert: Ilert, targets: Mapping[str, str]) -> dict[str, Place]:
    """Where these keys stand, at iLert and in the spool."""
    passed, digests = letters(view), frozenset(ilert.open_digests())
    return {
        key: Place(ilert.standing(key, target), digest_of(view, key) in digests, passed.get(key, ()))
        for key, target in targets.items()
    }


def settled(view: SpoolView, *, digests_stay: bool = False) -> bool:
    """Whether nothing waits, is in flight or may be brought back, but what an open digest says next."""
    if view.counts().pending or any(may_return(lane) for lane in dead(view)):
        return False
    lanes = view.lanes(100)
    return all(is_open_digest(lane) for lane in lanes) if digests_stay else not lanes


def waiting(view: SpoolView) -> Counter[str]:
    """Lanes of events in which something waits alive, by target."""
    return Counter(
        lane.target for lane in view.lanes(1_000) if not lane.key.startswith(DIGEST) and lane.state != "dead"
    )


def is_open_digest(lane: LaneView) -> bool:
    """What it says next may wait for a minute."""
    return lane.key.startswith(DIGEST) and lane.remote == "open" and lane.in_flight is None


def digest_of(view: SpoolView, key: str) -> str | None:
    """The digest that stands for the key."""
    if not key.startswith("storm"):
        return None
    return next((lane.digest for lane in view.show(key) if lane.digest), None)


def dead(view: SpoolView) -> Iterator[LaneView]:
    page = view.dead(1_000)
    while page:
        yield from page
        page = view.dead(1_000, page[-1].id)


def may_return(lane: LaneView) -> bool:
    return lane.state == "dead" or any(not letter.superseded for letter in lane.letters)


def letters(view: SpoolView) -> dict[str, tuple[Letter, ...]]:
    names = {KIND_OF_STATUS[status]: name for status, name in EVENT_TYPE.items()}
    return {
        lane.key: tuple(
            Letter(names[x.op.kind], int(msgspec.json.decode(x.op.payload)["number"])) for x in lane.letters
        )
        for lane in dead(view)
    }
