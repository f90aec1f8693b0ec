"""What is measured beside the bridge: other servers that answer the same requests, as far as this machine has them."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import rig

BUILD = rig.HERE.parent / "build" / "benchmarks"
GO_SECONDS = 300
ANSWER = b'{"accepted":1}'


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[rig.Server]:
    """(a) The stock stack, Quart-Trio on Hypercorn, that keeps nothing."""
    port = rig.free_port()
    command = [sys.executable, str(rig.HERE / "bare_app.py"), str(port)]
    with rig.server(command, port, "/healthz", folder / "bare.log") as running:
        yield running


@contextlib.contextmanager
def stored(folder: Path) -> Iterator[rig.Server]:
    """(b) The stock stack with a synced SQLite commit a request."""
    port = rig.free_port()
    command = [sys.executable, str(rig.HERE / "bare_app.py"), str(port), str(folder / "stored.db")]
    with rig.server(command, port, "/healthz", folder / "stored.log") as running:
        yield running


def go_program() -> Path | None:
    """(c) is built from go_comparator/; None, with a word on why, where Go is not there or cannot build it."""
    if shutil.which("go") is None:
        print("  (no Go on this machine: its column stays empty)")
        return None
    program = BUILD / "go-comparator"
    BUILD.mkdir(parents=True, exist_ok=True)
    command = ["go", "build", "-o", str(program), "."]
    try:
        subprocess.run(
            command, cwd=rig.HERE / "go_comparator", check=True, timeout=GO_SECONDS, capture_output=True
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"  (the Go comparator cannot be built: {error})")
        return None
    return program


@contextlib.contextmanager
def go(program: Path, folder: Path, tls: Sequence[str] = ()) -> Iterator[rig.Server]:
    """(c) Go's net/http with a SQLite group commit: the same durable work."""
    port = rig.free_port()
    command = [str(program), str(port), str(folder / "go.db"), *tls]
    with rig.server(command, port, None if tls else "/healthz", folder / "go.log") as running:
        yield running


@contextlib.contextmanager
def ceiling(folder: Path) -> Iterator[rig.Server]:
    """(d) nghttpd, which answers every request with the same few bytes of a file: what HTTP/2 itself costs."""
    port = rig.free_port()
    documents = folder / "documents"
    documents.mkdir(exist_ok=True)
    (documents / "events").write_bytes(ANSWER)
    command = ["nghttpd", "--no-tls", "-d", str(documents), str(port)]
    with rig.server(command, port, None, folder / "nghttpd.log") as running:
        yield running


@contextlib.contextmanager
def unstored(folder: Path) -> Iterator[rig.Server]:
    """The bridge's own doors and intake over a spool that keeps nothing: what the wire costs without the disk."""
    port = rig.free_port()
    command = [sys.executable, str(rig.HERE / "unstored.py"), str(port)]
    with rig.server(command, port, None, folder / "unstored.log") as running:
        yield running
