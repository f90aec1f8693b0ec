"""Tries the wheels where they will be used: the test suite on what is installed from the wheelhouse, then `trial.py`.

    python wheels/smoke.py [--wheelhouse wheels/dist/wheelhouse] [venv] [bookworm-arm64] [trixie-amd64] [trixie-arm64]

`venv` is an empty environment of this Python; the others are small Debians, each with its own Python (as root, with
mmdebstrap; of arm64 with qemu-user-static too). Nothing of src/ is there, and everything of _fast/ has to be compiled.
"""

import argparse
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import installed
import wheelhouse

ROOT = wheelhouse.ROOT
WORK = ROOT / "build/smoke"
TOOLS = ROOT / "lock/dev.txt"
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
INSTALLED = """
import importlib, pathlib, platform, sys
import mcp_ilert, mcp_ilert._fast as fast
folder = pathlib.Path(mcp_ilert.__file__).parent
assert str(folder).startswith(sys.argv[1]), folder
names = {p.name.split(".")[0] for p in (folder / "_fast").iterdir() if p.suffix in {".py", ".pyx"}} - {"__init__"}
built = [importlib.import_module("mcp_ilert._fast." + name).__file__ for name in sorted(names)]
assert built and all(file.endswith(".so") for file in built), built
print("on", platform.machine(), platform.python_version(), "compiled:", *(pathlib.Path(f).name for f in built))
"""


class Place(NamedTuple):
    """Where the wheels are tried."""

    python: str
    machine: str
    command: list[str]
    """Runs the Python there."""
    site: str
    """Where it has installed things, as it sees it."""
    work: str
    """The folder WORK, as it sees it."""
    trial: list[str]
    """Runs `mcp-ilert` there."""


def in_venv(house: Path) -> Place:
    """An environment in which pip chooses from the wheelhouse by itself, as on an edge box."""
    folder = WORK / "venv"
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    python = str(folder / "bin/python")
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    offline = [f"--find-links={house}", "--require-hashes", "-r", str(house / "requirements.txt")]
    subprocess.run([*pip, "--no-index", *offline], check=True)
    version, machine = f"{sys.version_info[0]}.{sys.version_info[1]}", os.uname().machine
    tools = WORK / "tools.txt"
    tools.write_text(installed.more(TOOLS, version, machine))
    subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(tools)], check=True)
    return Place(version, machine, [python], str(folder), str(WORK), [str(folder / "bin/mcp-ilert")])


def in_root(name: str, house: Path) -> Place:
    """A small Debian, that sees WORK as /mnt."""
    suite, architecture = name.split("-")
    version, machine = (
        {"bookworm": "3.11", "trixie": "3.13"}[suite],
        {"amd64": "x86_64", "arm64": "aarch64"}[architecture],
    )
    packages = (
        f"python{version}-minimal,libpython{version}-stdlib,ca-certificates,coreutils,dash,tzdata,netbase"
    )
    subprocess.run(
        ["/bin/sh", ROOT / "wheels/root.sh", suite, architecture, packages, WORK / name], check=True
    )
    site = WORK / f"site-{name}"
    installed.install(site, version, machine, TOOLS, house=house)
    enter = ["/bin/sh", str(ROOT / "wheels/in_root.sh"), str(WORK / name)]
    inside = [
        *enter,
        f"PYTHONPATH=/mnt/{site.name}",
        "PYTHONDONTWRITEBYTECODE=1",
        f"/usr/bin/python{version}",
    ]
    return Place(version, machine, inside, f"/mnt/{site.name}", "/mnt", [*inside, "-m", "mcp_ilert"])


def try_at(place: Place, arguments: Sequence[str]) -> None:
    """Raises CalledProcessError where something fails."""
    laid = WORK / "suite"
    shutil.rmtree(laid, ignore_errors=True)
    laid.mkdir()
    for name in LAID_OUT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, laid / name)
    environment = {**os.environ, "MOUNT": str(WORK)}
    environment.pop("PYTHONPATH", None)
    subprocess.run([*place.command, "-c", INSTALLED, place.site], check=True, env=environment)
    emulated = place.machine != os.uname().machine
    if emulated:
        shutil.copy(ROOT / "wheels/emulated.py", laid / "conftest.py")
    ignored = [*OF_THE_SOURCE, *(SLOW_EMULATED if emulated else ())]
    # One moment for all files of the package: the tests refuse a compiled file that looks older than its source.
    for file in WORK.glob(f"{Path(place.site).name}/**/mcp_ilert/_fast/*"):
        os.utime(file, (0, 0))
    suite = f"{place.work}/suite"
    pytest = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={suite}",
        f"-c{suite}/pyproject.toml",
        f"{suite}/tests",
    ]
    ignoring = [f"--ignore={suite}/tests/{name}" for name in ignored]
    ignoring += [f"--deselect={suite}/tests/{name}" for name in TIMED if emulated]
    subprocess.run([*place.command, *pytest, *ignoring, *arguments], check=True, env=environment, cwd=laid)
    folder = WORK / "trial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    seen = ["--folder", str(folder), "--seen-as", f"{place.work}/trial"]
    subprocess.run(
        [sys.executable, ROOT / "wheels/trial.py", *seen, "--", *place.trial], check=True, env=environment
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheelhouse", type=Path, default=ROOT / "wheels/dist/wheelhouse")
    parser.add_argument("--pytest", default="", help="further words for pytest, between spaces")
    parser.add_argument("places", nargs="*", default=["venv"])
    options = parser.parse_args()
    if not (options.wheelhouse / "requirements.txt").exists():
        raise SystemExit(
            f"mcp-ilert: there is no wheelhouse in {options.wheelhouse}; run make wheelhouse first"
        )
    WORK.mkdir(parents=True, exist_ok=True)
    for name in options.places:
        print(f"mcp-ilert: {name}", flush=True)
        try:
            house = options.wheelhouse.resolve()
            try_at(in_venv(house) if name == "venv" else in_root(name, house), options.pytest.split())
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"mcp-ilert: {name}: failed, exit code {error.returncode}") from None


if __name__ == "__main__":
    main()
