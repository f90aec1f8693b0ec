"""Posts an event to a bridge that is starting, and waits until the sandbox iLert beside it has the alert.

python deploy/exercise.py KEY [BRIDGE] [INTROSPECTION]   Needs no package, and prints how long each took; 1: it did not.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

PATIENCE = 120.0
"""Seconds; under emulation all is slow."""


def main(key: str, bridge: str = "http://127.0.0.1:8080", sandbox: str = "http://127.0.0.1:8082") -> None:
    began = time.monotonic()
    until(f"{bridge}/readyz answers 200", lambda: ask(f"{bridge}/readyz"))
    ready = time.monotonic()
    event = {"mcp_id": key, "source": "exercise", "priority": 1, "summary": "Tried"}
    accepted = ask(f"{bridge}/events", event)
    if accepted != {"accepted": 1}:
        sys.exit(f"exercise: the bridge answered {accepted}")
    until(f"iLert has {key}", lambda: (ask(f"{sandbox}/alerts?key={key}") or {}).get("alerts"))
    delivered = time.monotonic()
    print(f"  ready after {ready - began:.2f} s, {key} delivered {delivered - ready:.2f} s later")


def until(what: str, found: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not found():
        if time.monotonic() > deadline:
            sys.exit(f"exercise: not within {PATIENCE:g} s: {what}")
        time.sleep(0.05)


def ask(url: str, body: object = None) -> Any:
    """The answer's JSON; None where there is no good one."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except (OSError, urllib.error.URLError):
        return None


if __name__ == "__main__":
    main(*sys.argv[1:])
