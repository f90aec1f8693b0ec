"""The control socket: how a command changes something at a running bridge without being a second writer.

It is a Unix socket beside the spool, for its owner alone (0600). A connection carries one request, a JSON
line, and one answer, a JSON line; both are bounded.
"""

from mcp_ilert.console.requests import (
    Answer,
    DropKey,
    PauseTarget,
    ReplayDead,
    Request,
    ResumeTarget,
    change_of,
)
from mcp_ilert.control.client import NoBridgeError, ask
from mcp_ilert.control.server import Handle, serve_control

__all__ = [
    "Answer",
    "DropKey",
    "Handle",
    "NoBridgeError",
    "PauseTarget",
    "ReplayDead",
    "Request",
    "ResumeTarget",
    "ask",
    "change_of",
    "serve_control",
]
