"""Tries a packaged bridge as it will be used: start it beside its sandbox, post an event, see it delivered, stop it;
then the same with `demo`, which starts both.

    python wheels/trial.py [--folder F] [--seen-as G] -- COMMAND…

COMMAND is what is otherwise called `mcp-ilert`; it may run under emulation, or in another root folder which sees
the folder F as G. Prints a line of JSON: start, delivery and stop in seconds, memory in MiB, and the demo's account.
"""

import argparse
import json
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 120.0
"""Seconds for a step that comes to an end: emulated, on a busy machine, it may take long."""
STOP_SECONDS = 10.0
"""What container runtimes give before they kill."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy of the machine has no part in this."""
EVENT = {"mcp_id": "trial-1", "source": "trial", "priority": 1, "summary": "Disk full", "tags": ["disk"]}


class Program:
    """One running command, whose lines on both outputs can be waited for."""

    def __init__(self, command: list[str]) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(line)
        self._lines.put(None)

    def line(self, pattern: str) -> re.Match[str]:
        """The next line that matches."""
        until = time.monotonic() + PATIENCE
        while (line := self._lines.get(timeout=max(0.0, until - time.monotonic()))) is not None:
            self.said.append(line)
            if match := re.search(pattern, line):
                return match
        raise SystemExit(f"trial: it ended before it said {pattern}:\n{''.join(self.said)}")

    def stop(self) -> float:
        """Seconds that it took to obey SIGTERM."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        if code:
            raise SystemExit(f"trial: after SIGTERM it exited with {code}:\n{''.join(self.said)}")
        return time.monotonic() - began


@contextmanager
def running(*command: str) -> Iterator[Program]:
    program = Program(list(command))
    try:
        yield program
    finally:
        program.process.kill()


def memory(pid: int) -> float:
    """MiB that the largest process at or below this one holds: the others only started it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return max([int(own[1]) / 1024 if own else 0.0, *(memory(int(child)) for child in children)])


def post(url: str) -> None:
    request = urllib.request.Request(url, json.dumps(EVENT).encode(), {"Content-Type": "application/json"})
    with DIRECT.open(request, timeout=PATIENCE) as answer:
        if answer.status != 202:
            raise SystemExit(f"trial: the event was answered with {answer.status}")


def demo(command: list[str]) -> str:
    """The account that it gives at its end: what was accepted is what was delivered."""
    with running(*command, "demo", "--port", "0") as program:
        post(program.line(r"^events +(http://\S+)")[1])
        program.line(r"ALERT trial-1 .* 202 ")
        program.stop()
        return program.line(r"^1 accepted = 1 delivered .* 0 still waiting$")[0]


def trial(command: list[str], folder: Path, seen_as: str) -> dict[str, float | str]:
    """What came of it; ends the program where something is not as promised."""
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    with running(*command, "sandbox", "--port", "0") as sandbox:
        ilert = sandbox.line(r"sandbox iLert +(http://\S+)")[1]
        settings = {
            "listen": {"address": "127.0.0.1", "port": 0},
            "ilert": {"api_url": ilert, "webhook_key": "sandbox-key"},
            "spool": {"path": f"{seen_as}/spool.db"},
            "metrics": {"listen_address": "127.0.0.1", "listen_port": 0},
        }
        (folder / "config.yaml").write_text(json.dumps(settings))
        subprocess.run(
            [*command, "check-config", f"{seen_as}/config.yaml"], check=True, stdout=subprocess.DEVNULL
        )
        with running(*command, "--config", f"{seen_as}/config.yaml") as bridge:
            url = json.loads(bridge.line(r'\{.*"started".*\}')[0])["url"]
            start = time.monotonic() - bridge.began
            asked = time.monotonic()
            post(f"{url}/events")
            sandbox.line(r"20\d.*ALERT.*trial-1")
            delivered = time.monotonic() - asked
            with DIRECT.open(f"{url}/", timeout=PATIENCE) as page:  # its files have come along
                if b"</html>" not in page.read():
                    raise SystemExit("trial: the status page is not whole")
            held = memory(bridge.process.pid)
            stop = bridge.stop()
            if stop > STOP_SECONDS:
                raise SystemExit(f"trial: SIGTERM took {stop:.1f} s; {STOP_SECONDS:.0f} are given")
        sandbox.stop()
    return {
        "version": version.stdout.strip(),
        "start_s": round(start, 2),
        "delivered_s": round(delivered, 2),
        "stop_s": round(stop, 2),
        "memory_mib": round(held, 1),
        "demo": demo(command),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="an empty folder for configuration and spool")
    parser.add_argument("--seen-as", help="the path of that folder for the command")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        os.umask(0o022)
        print(json.dumps(trial(options.command, folder, options.seen_as or str(folder))), flush=True)


if __name__ == "__main__":
    main()
