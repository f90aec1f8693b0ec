"""What the dispatcher knows of one target, and how it is kept over restarts.

In memory, times are seconds of a steady clock, so that a jump of the wall clock moves nothing. On disk they are
relative to the moment of writing, which is stamped with the wall clock; a new life subtracts what the wall clock
says has passed since, and never less than nothing.
"""

from collections.abc import Sequence

import msgspec

from mcp_ilert.dispatch import breaker, park
from mcp_ilert.dispatch.breaker import Breaker, Closed, Open
from mcp_ilert.dispatch.pace import Learnt
from mcp_ilert.dispatch.park import Park
from mcp_ilert.dispatch.recovery import Recovery
from mcp_ilert.dispatch.storm import Storm

KEY_BYTES = 2
"""Of a sealed key, what is kept."""


class TargetState(msgspec.Struct, frozen=True):
    """All that decides when something may go to a target, but its tokens."""

    learnt: Learnt = Learnt()
    breaker: Breaker = Closed()
    park: Park = Park()
    recovery: Recovery = Recovery()
    storm: Storm = Storm()


class Saved(msgspec.Struct, frozen=True):
    """What is written. `tokens` are the key's, `address_tokens` those that all targets share.

    `key` and `salt` tell whether a target of another name sends by the same key: of its digest by the salt so little
    that a guess, even at a short key, fits by chance once in 65,536.
    """

    wall_ms: int
    tokens: float
    address_tokens: float
    state: TargetState
    version: int = 1
    key: bytes = b""
    salt: bytes = b""


def shifted(state: TargetState, seconds: float) -> TargetState:
    """The same state on a clock that shows `seconds` more."""
    replace = msgspec.structs.replace
    circuit = state.breaker
    return TargetState(
        learnt=replace(
            state.learnt,
            since=state.learnt.since + seconds,
            paused_until=state.learnt.paused_until + seconds,
            paused_from=state.learnt.paused_from + seconds,
            successes=tuple(at + seconds for at in state.learnt.successes),
        ),
        breaker=replace(circuit, next_at=circuit.next_at + seconds) if isinstance(circuit, Open) else circuit,
        park=replace(state.park, next_at=state.park.next_at + seconds),
        recovery=replace(
            state.recovery,
            revived_at=state.recovery.revived_at + seconds,
            probed_at=state.recovery.probed_at + seconds,
        ),
        storm=replace(
            state.storm,
            at=state.storm.at + seconds,
            suspended_until=state.storm.suspended_until + seconds,
        ),
    )


_decoder = msgspec.msgpack.Decoder(Saved)


def encode(
    state: TargetState,
    tokens: float,
    address_tokens: float,
    now: float,
    wall_ms: int,
    *,
    key: bytes = b"",
    salt: bytes = b"",
) -> bytes:
    """The state as the spool keeps it; `key` is the sealed one."""
    saved = Saved(wall_ms, tokens, address_tokens, shifted(state, -now), key=key[:KEY_BYTES], salt=salt)
    return msgspec.msgpack.encode(saved)


def without_key(blob: bytes) -> bytes:
    """What `encode` wrote of a target whose key goes on under another name."""
    return msgspec.msgpack.encode(msgspec.structs.replace(_decoder.decode(blob), key=b""))


def continued(own: Saved | None, former: Sequence[Saved]) -> tuple[TargetState, float | None]:
    """How a target goes on from its own record and from those of others that sent by its key; with the key's tokens.

    None: the key has never been used.
    """
    state = TargetState() if own is None else own.state
    known = [*former] if own is None else [own, *former]
    if not known:
        return state, None
    learnt = max((saved.state.learnt for saved in known), key=lambda learnt: learnt.since)
    return msgspec.structs.replace(state, learnt=learnt), min(saved.tokens for saved in known)


def decode(blob: bytes, now: float, wall_ms: int) -> Saved | None:
    """What `encode` wrote, on the clock of this life; None where it cannot be read.

    A parked key and a half-open circuit may try at once: the configuration may have been mended in between, and
    whether a probe arrived is not known.
    """
    try:
        saved = _decoder.decode(blob)
    except msgspec.MsgspecError:
        return None
    if saved.version != 1:
        return None
    elapsed = max(0, wall_ms - saved.wall_ms) / 1000
    state = shifted(saved.state, now - elapsed)
    replace = msgspec.structs.replace
    parked = replace(state.park, next_at=now) if state.park.parked else state.park
    return replace(saved, state=replace(state, breaker=breaker.resumed(state.breaker, now), park=parked))


def unparked(state: TargetState) -> TargetState:
    """After a reload: the key or the address may have been mended, so both may be tried at once."""
    circuit = state.breaker
    if isinstance(circuit, Open):
        circuit = Open(circuit.failed, 0.0)
    return msgspec.structs.replace(state, breaker=circuit, park=park.resumed(state.park))
