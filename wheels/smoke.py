"""Tries the wheels where they will be used: the test suite on what is installed from the wheelhouse, then `trial.py`.

    python wheels/smoke.py [--wheelhouse wheels/dist/wheelhouse] [PLACE…]

PLACE is `venv` (an empty environment of this Python), `pure` (the same, with the wheel that has no compiled parts),
`sdist` and `sdist-without-nghttp2` (built where it is installed; no suite), or a small Debian with its own Python,
like `trixie-amd64` or `bookworm-arm64` (as root, with mmdebstrap; of arm64 with qemu-user-static too). Nothing of
src/ is there. What came of each is one line, which stays in build/smoke/PLACE.txt; a place that fails does not keep
the next from its turn.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import places
from places import Place

LAID_OUT = ("pyproject.toml", "README.md", "tests", "examples")
"""What the tests need, beside what is installed."""
OF_THE_SOURCE = (
    "test_benchmarks.py",
    "test_build.py",
    "test_chart.py",
    "test_docs.py",
    "test_nghttp2_headers.py",
    "test_packages.py",
    "test_release.py",
    "test_runbook.py",
    "test_sbom.py",
    "test_unit.py",
    "test_wheels.py",
)
"""These look into the repository."""
SLOW_EMULATED = (
    "test_cli.py",
    "test_cli_queue.py",
    "test_cli_send.py",
    "test_cli_simulate.py",
    "test_dashboard_browser.py",
    "test_demo.py",
    "test_elsewhere.py",
    "test_full_disk.py",
    "test_fuzz.py",
    "test_h2spec.py",
    "test_month.py",
    "test_sandbox_server.py",
    "test_secrets.py",
    "test_signals.py",
    "test_soak.py",
    "test_spool_file.py",
)
"""Those that start many processes, or that look at the clock, as no emulation lets them."""
TIMED = (
    "test_doors_pumps.py::test_who_reads_slowly_gets_every_answer_in_order",
    "test_doors_pumps.py::test_what_a_hanging_disk_cannot_hold_is_refused",
    "test_doors_tls.py::test_many_handshakes_at_once_come_to_their_end",
    "test_mtls.py::test_the_bridge_takes_a_new_ca_from_its_file_and_keeps_the_last_good_one",
    "test_end_to_end.py::test_kill_9_under_load_loses_nothing_that_was_answered_202",
)
"""Not these either: their deadlines pass before an emulated handshake, or a flood, is done."""
FACTS = """
import importlib, importlib.metadata, json, pathlib, platform, re
import mcp_ilert
folder = pathlib.Path(mcp_ilert.__file__).parent
names = {p.stem for p in (folder / "_fast").iterdir() if p.suffix in {".py", ".pyx"}} - {"__init__"}
def kind(name):
    try:
        return pathlib.Path(importlib.import_module("mcp_ilert._fast." + name).__file__).suffix
    except ModuleNotFoundError:
        return "absent"
own = importlib.metadata.distribution("mcp-ilert")
print(json.dumps({
    "folder": str(folder),
    "version": own.version,
    "tag": re.search(r"^Tag: (.*)$", own.read_text("WHEEL"), re.M)[1],
    "python": platform.python_version(),
    "machine": platform.machine(),
    "kinds": {name: kind(name) for name in sorted(names)},
}))
"""
"""Run there, tells what is installed."""
COUNTED = re.compile(r"^=* ?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s\b")
"""pytest's last line."""


class Seen(NamedTuple):
    """What came of one step."""

    well: bool
    text: str


def package(place: Place) -> Seen:
    """What of ours is installed, whether it is found there, and whether its parts are as they have to be."""
    run = subprocess.run(
        [*place.command, "-c", FACTS], stdout=subprocess.PIPE, text=True, check=False, env=environment(place)
    )
    if run.returncode:
        return Seen(False, f"what is installed cannot be imported (exit code {run.returncode})")
    facts = json.loads(run.stdout)
    what = f"{facts['version']} ({facts['tag']}) on {facts['machine']}, Python {facts['python']}"
    if not facts["folder"].startswith(place.there(place.site)):
        return Seen(False, f"{what}: imported from {facts['folder']}")
    return judged(what, facts["kinds"], place.parts)


def judged(what: str, kinds: dict[str, str], parts: places.Parts) -> Seen:
    """Whether the right parts are compiled, by the suffix of each module, or `absent`."""
    compiled = {name for name, kind in kinds.items() if kind == ".so"}
    wanted = {"all": set(kinds), "all but http2": set(kinds) - {"http2"}, "none": set[str]()}[parts]
    if compiled != wanted:
        return Seen(False, f"{what}: compiled are {sorted(compiled)} instead of {sorted(wanted)}")
    return Seen(True, f"{what}, {len(compiled)} of {len(kinds)} parts compiled")


def suite(place: Place, arguments: Sequence[str]) -> Seen:
    """What pytest counted."""
    laid = _lay_out(place)
    emulated = place.machine != os.uname().machine
    if emulated:
        shutil.copy(places.ROOT / "wheels/emulated.py", laid / "conftest.py")
    # One moment for all files of the package: the tests refuse a compiled file that looks older than its source.
    for file in place.site.glob("**/mcp_ilert/_fast/*"):
        os.utime(file, (0, 0))
    there = place.there(laid)
    pytest = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={there}",
        f"-c{there}/pyproject.toml",
    ]
    pytest += [f"--ignore={there}/tests/{name}" for name in OF_THE_SOURCE]
    if emulated:
        pytest += [f"--ignore={there}/tests/{name}" for name in SLOW_EMULATED]
        pytest += [f"--deselect={there}/tests/{name}" for name in TIMED]
    command = [*place.command, *pytest, f"{there}/tests", *arguments]
    last = ""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment(place), cwd=laid
    ) as run:
        for line in run.stdout or ():
            print(line, end="", flush=True)
            last = line.strip() and line
    return Seen(run.returncode == 0, f"suite: {counted(last) or f'exit code {run.returncode}'}")


def counted(line: str) -> str | None:
    """The figures in pytest's last line."""
    found = COUNTED.match(line)
    return found and found[1]


def _lay_out(place: Place) -> Path:
    laid = _empty(place.folder / "suite")
    for name in LAID_OUT:
        copy = shutil.copytree if (places.ROOT / name).is_dir() else shutil.copy
        copy(places.ROOT / name, laid / name)
    return laid


def trial(place: Place) -> Seen:
    folder = _empty(place.folder / "trial")
    seen = ["--folder", str(folder), "--seen-as", place.there(folder)]
    run = subprocess.run(
        [sys.executable, places.ROOT / "wheels/trial.py", *seen, "--", *place.trial],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env=environment(place),
    )
    if run.returncode:
        return Seen(False, f"trial: failed, exit code {run.returncode}")
    took = json.loads(run.stdout)
    return Seen(True, f"trial: started in {took['start_s']} s, stopped in {took['stop_s']} s")


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def environment(place: Place) -> dict[str, str]:
    return places.environment(MOUNT=str(place.folder))


def tried(name: str, house: Path, arguments: Sequence[str]) -> Seen:
    """All steps at this place, as far as each makes sense after the others."""
    try:
        place = places.make(name, house)
    except subprocess.CalledProcessError as error:
        return Seen(False, f"cannot be made: {Path(error.cmd[0]).name} failed, exit code {error.returncode}")
    steps = [package(place)]
    if steps[0].well:
        steps += [*([suite(place, arguments)] if place.suite else ()), trial(place)]
    return Seen(all(step.well for step in steps), "; ".join(step.text for step in steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheelhouse", type=Path, default=places.ROOT / "wheels/dist/wheelhouse")
    parser.add_argument("--pytest", default="", help="further words for pytest, between spaces")
    parser.add_argument("places", nargs="*", default=["venv"], metavar="PLACE", help=", ".join(places.PLACES))
    options = parser.parse_args()
    if unknown := set(options.places) - set(places.PLACES):
        parser.error(f"there is no place {', '.join(sorted(unknown))}; there are {', '.join(places.PLACES)}")
    if not (options.wheelhouse / "requirements.txt").exists():
        raise SystemExit(
            f"mcp-ilert: there is no wheelhouse in {options.wheelhouse}; run make wheelhouse first"
        )
    places.WORK.mkdir(parents=True, exist_ok=True)
    well = True
    for name in options.places:
        print(f"mcp-ilert: {name}", flush=True)
        seen = tried(name, options.wheelhouse.resolve(), options.pytest.split())
        line = f"{name}: {'passed' if seen.well else 'FAILED'}: {seen.text}\n"
        (places.WORK / f"{name}.txt").write_text(line)
        print(line, end="", flush=True)
        well &= seen.well
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
