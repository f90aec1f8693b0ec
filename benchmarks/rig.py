"""What the benchmarks share: processes to measure, ports, what /proc says of them, and the form of the results."""

import contextlib
import http.client
import json
import math
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
START_SECONDS = 60.0
Changes = Mapping[str, Mapping[str, object]]
"""What a benchmark configures otherwise: section → key → value."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder beside the results, since /tmp may be memory and a synced commit has to cost what it costs."""
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:
        yield Path(folder)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def unreachable() -> Iterator[str]:
    """An address at which every connection is refused, and stays so: the port is taken, but nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@dataclass
class Server:
    """A process with a port, from its start to its SIGTERM."""

    process: subprocess.Popen[bytes]
    port: int
    start_seconds: float
    metrics_port: int | None = None
    tcp_port: int | None = None

    def peak_bytes(self) -> int:
        """The most memory that the process ever held (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def metric(self, name: str, label: str = "") -> float:
        """The sum of a metric over its labels, or over those series that have `label`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        named = [line for line in lines if line.startswith((name + " ", name + "{")) and label in line]
        values = [float(line.rsplit(" ", 1)[1]) for line in named]
        if not values:
            raise SystemExit(f"benchmark: the bridge exports no metric {name}")
        return sum(values)


def wait_ready(process: subprocess.Popen[bytes], port: int, path: str | None, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(
                f"benchmark: the server ended with {process.returncode}: {log.read_text()[-2000:]}"
            )
        with contextlib.suppress(OSError, http.client.HTTPException):
            if is_ready(port, path):
                return
        time.sleep(0.002)
    raise SystemExit(f"benchmark: not ready within {START_SECONDS:.0f} s: {log.read_text()[-2000:]}")


def is_ready(port: int, path: str | None) -> bool:
    if path is None:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status == 200


@contextlib.contextmanager
def server(command: Sequence[str], port: int, path: str | None, log: Path) -> Iterator[Server]:
    """Start a server, wait until `path` answers 200 (None: until the port is open), and end it with SIGTERM."""
    with log.open("ab") as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_ready(process, port, path, log)
        yield Server(process, port, time.perf_counter() - began)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


@contextlib.contextmanager
def bridge(
    folder: Path,
    api_url: str,
    changes: Changes | None = None,
    python: Sequence[str] = (sys.executable,),
) -> Iterator[Server]:
    """The bridge on a spool file in `folder`, as `mcp-ilert serve --config` starts it; JSON is YAML."""
    port, tcp_port, metrics_port = free_port(), free_port(), free_port()
    config: dict[str, Mapping[str, object]] = {
        "listen": {"address": "127.0.0.1", "port": port, "tcp_port": tcp_port},
        "ilert": {"webhook_key": "il1api-benchmark", "api_url": api_url},
        "logging": {"level": "error"},
        "metrics": {"listen_address": "127.0.0.1", "listen_port": metrics_port},
        "spool": {"path": str(folder / "spool.db")},
    }
    for section, keys in (changes or {}).items():
        config[section] = {**config.get(section, {}), **keys}
    path = folder / "bridge.yaml"
    path.write_text(json.dumps(config))
    command = [*python, "-m", "mcp_ilert", "serve", "--config", str(path)]
    ready = None if "tls" in config else "/readyz"
    with server(command, port, ready, folder / "bridge.log") as running:
        running.metrics_port, running.tcp_port = metrics_port, tcp_port
        yield running


def compiled() -> str:
    """Which modules of `_fast` run compiled."""
    import mcp_ilert._fast as package  # noqa: PLC0415 - only this line needs the package itself

    folder = Path(str(package.__file__)).parent
    names = sorted(p.stem for p in folder.glob("*.py") if p.stem != "__init__")
    return (
        ", ".join(f"{n} {'compiled' if list(folder.glob(f'{n}.*.so')) else 'pure'}" for n in names) or "none"
    )


def file_system(folder: Path) -> str:
    command = ["stat", "--file-system", "--format=%T", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: `share` 0.99 is the value that 99 in 100 do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


@dataclass
class Report:
    """One benchmark's outcome: written as JSON for machines and as Markdown for people."""

    name: str
    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, object] = field(default_factory=dict)

    def add(self, *cells: str) -> None:
        self.rows.append(cells)
        print("  " + " · ".join(cells), flush=True)

    def machine(self, folder: Path) -> dict[str, object]:
        return {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "file_system": file_system(folder),
            "fast": compiled(),
        }

    def write(self, folder: Path) -> None:
        machine = self.machine(folder)
        RESULTS.mkdir(exist_ok=True)
        payload = {"benchmark": self.name, "machine": machine, "notes": self.notes, **self.data}
        (RESULTS / f"{self.name}.json").write_text(json.dumps(payload, indent=2) + "\n")
        lines = [
            f"# {self.title}",
            "",
            "| " + " | ".join(self.columns) + " |",
            "|---" * len(self.columns) + "|",
        ]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)]
        lines += ["- Machine: " + "; ".join(f"{key} {value}" for key, value in machine.items())]
        (RESULTS / f"{self.name}.md").write_text("\n".join(lines) + "\n")
        print(f"\n{(RESULTS / f'{self.name}.md').read_text()}")
