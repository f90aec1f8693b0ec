"""What an operator may have done, and what came of it. All are small, frozen, and the same on every way in."""

import msgspec

from mcp_ilert.spool.port import Change, Drop, Pause, Replay


class ReplayDead(msgspec.Struct, frozen=True, tag="replay", tag_field="op", forbid_unknown_fields=True):
    """Make dead letters of these keys (None: of all) alive."""

    keys: tuple[str, ...] | None
    force: bool = False


class DropKey(msgspec.Struct, frozen=True, tag="drop", tag_field="op", forbid_unknown_fields=True):
    """Drop what waits or is dead of one key, at one target or at all."""

    key: str
    target: str | None = None


class PauseTarget(msgspec.Struct, frozen=True, tag="pause", tag_field="op", forbid_unknown_fields=True):
    """Send nothing more to a target until it is resumed."""

    target: str


class ResumeTarget(msgspec.Struct, frozen=True, tag="resume", tag_field="op", forbid_unknown_fields=True):
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
