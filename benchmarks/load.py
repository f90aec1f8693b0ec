"""Load generators: h2load for HTTP/2, wrk for HTTP/1.1, where they are installed; else a small client of our own."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bundled import bundled
from shapes import Load, Measured
from tcp_load import tcp

MOST_BODIES = 5_000
WRK_SCRIPT = """
local next = 0
local made = {}

local function event(number)
  if keys > 0 then number = number % keys end
  local priority = number % 100 < 3 and 1 or 2 + number % 3
  return string.format(template, number, number % 50, priority)
end

local function body(first)
  if batch == 1 then return event(first) end
  local events = {}
  for i = 1, batch do events[i] = event(first + i - 1) end
  if lines then return table.concat(events, "\\n") .. "\\n" end
  return "[" .. table.concat(events, ",") .. "]"
end

local function one()
  local first = next
  next = next + batch
  return wrk.format("POST", "/events", {["content-type"] = content_type}, body(first))
end

local function several()
  if pipeline == 1 then return one() end
  local requests = {}
  for i = 1, pipeline do requests[i] = one() end
  return table.concat(requests)
end

function init()
  if keys > 0 then
    for i = 1, math.max(1, math.min(most, math.ceil(keys / batch / pipeline))) do made[i] = several() end
  end
end

local turn = 0
function request()
  if keys == 0 then return several() end
  turn = turn % #made + 1
  return made[turn]
end
"""

Generator = Callable[[Load, int, float, Path], Measured]


def generator(load: Load) -> tuple[str, Generator]:
    """The best generator of this machine for a shape of load, with its name for the report."""
    if load.tcp:
        return "bundled client", lambda load, port, seconds, _folder: tcp(load, port, seconds)
    if load.streams and shutil.which("h2load"):
        return "h2load", h2load
    if not load.streams and shutil.which("wrk"):
        return "wrk", wrk
    if load.pipeline > 1 or load.batch > 1 or load.tls or load.keys != 1:
        raise SystemExit(
            f"benchmark: {load} needs {'h2load' if load.streams else 'wrk'}, which is not installed"
        )
    return "bundled client", lambda load, port, seconds, _folder: bundled(load, port, seconds)


def available(load: Load) -> bool:
    """Whether this machine can make such a load."""
    try:
        generator(load)
    except SystemExit:
        return False
    return True


def run(command: list[str], seconds: float) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout


def h2load(load: Load, port: int, seconds: float, folder: Path, extra: tuple[str, ...] = ()) -> Measured:
    """HTTP/2; one and the same body each time."""
    body = folder / "body"
    body.write_bytes(load.body(0))
    scheme = "https" if load.tls else "http"
    command = [
        "h2load",
        f"-c{load.connections}",
        f"-m{load.streams}",
        f"-D{seconds:.0f}",
        "-d",
        str(body),
        *extra,
    ]
    command += ["-H", f"content-type: {load.content_type}", f"{scheme}://127.0.0.1:{port}/events"]
    output = run(command, seconds)
    rate = re.search(r"finished in .*?, ([0-9.]+) req/s", output)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    if rate is None or codes is None or int(codes[1]) == 0 or any(int(codes[n]) for n in (2, 3, 4)):
        raise SystemExit(f"benchmark: {' '.join(command)}: not all answers were 2xx:\n{output}")
    return Measured(float(rate[1]), int(codes[1]))


def wrk(load: Load, port: int, seconds: float, folder: Path) -> Measured:
    """HTTP/1.1; each connection has a request, or a pipeline of them, in flight."""
    scheme = "https" if load.tls else "http"
    command = [
        "wrk",
        "-t1",
        f"-c{load.connections}",
        f"-d{seconds:.0f}s",
        "--timeout=20s",
        "-s",
        str(script(load, folder)),
    ]
    command.append(f"{scheme}://127.0.0.1:{port}/")
    output = run(command, seconds)
    rate = re.search(r"Requests/sec: *([0-9.]+)", output)
    count = re.search(r"(\d+) requests in", output)
    if rate is None or count is None or "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"benchmark: {' '.join(command)}: not all answers were 2xx:\n{output}")
    return Measured(float(rate[1]), int(count[1]))


def script(load: Load, folder: Path) -> Path:
    """What wrk sends, in its own language: the same events as `load.body`."""
    sample = load.event(0).decode().replace("%", "%%")
    template = sample.replace("00000000", "%08d").replace("probe-0", "probe-%d")
    template = template.replace('"priority": 1', '"priority": %d')
    head = [
        f"template = [==[{template}]==]",
        f"keys, batch, pipeline, most = {load.keys}, {load.batch}, {load.pipeline}, {MOST_BODIES}",
        f"lines, content_type = {str(load.lines).lower()}, '{load.content_type}'",
    ]
    path = folder / "load.lua"
    path.write_text("\n".join(head) + WRK_SCRIPT)
    return path
