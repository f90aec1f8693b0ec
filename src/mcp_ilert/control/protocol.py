"""What travels over the control socket: one request line, one answer line."""

import msgspec

from mcp_ilert.spool.port import Change, Drop, Pause, Replay

MAX_LINE_BYTES = 4 * 1024 * 1024
"""The longest line, of a request as of an answer."""


class ReplayDead(msgspec.Struct, frozen=True, tag="replay", tag_field="op"):
    """Make dead letters of these keys (None: of all) alive."""

    keys: tuple[str, ...] | None
    force: bool = False


class DropKey(msgspec.Struct, frozen=True, tag="drop", tag_field="op"):
    """Drop what waits or is dead of one key, at one target or at all."""

    key: str
    target: str | None = None


class PauseTarget(msgspec.Struct, frozen=True, tag="pause", tag_field="op"):
    """Send nothing more to a target until it is resumed."""

    target: str


class ResumeTarget(msgspec.Struct, frozen=True, tag="resume", tag_field="op"):
    """Send to a target again."""

    target: str


Request = ReplayDead | DropKey | PauseTarget | ResumeTarget


def change_of(request: Request) -> Change:
    """What the request does to the spool."""
    match request:
        case ReplayDead(keys=keys, force=force):
            return Replay(keys, force)
        case DropKey(key=key, target=target):
            return Drop(key, target)
        case PauseTarget(target=target):
            return Pause(target, paused=True)
        case ResumeTarget(target=target):
            return Pause(target, paused=False)


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a request: how many events it moved; or why it was not done."""

    ok: bool
    events: int = 0
    error: str | None = None


def decode_request(line: bytes) -> Request:
    """Raises msgspec.DecodeError (which names the field) for what is no request."""
    request: Request = msgspec.json.decode(line, type=Request)
    return request


def decode_answer(line: bytes) -> Answer:
    return msgspec.json.decode(line, type=Answer)


def encode_line(message: Request | Answer) -> bytes:
    return msgspec.json.encode(message) + b"\n"
