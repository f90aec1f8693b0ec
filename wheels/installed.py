"""Installs from the wheelhouse into a folder, for another machine or another Python than this one.

    python wheels/installed.py TO PYTHON MACHINE [LOCK…]     (site-arm64 3.11 aarch64 lock/executables.txt)

What a lock file names beside that comes from the index. The folder is for PYTHONPATH; there are no scripts in it.
"""

import shutil
import sys
from pathlib import Path

import wheelhouse

HOUSE = wheelhouse.ROOT / "wheels/dist/wheelhouse"


def more(lock: Path, python: str, machine: str) -> str:
    """What a lock file names beside what is installed to run."""
    there = wheelhouse.environment(python, machine)
    run = wheelhouse.to_run((wheelhouse.ROOT / "lock/run.txt").read_text())
    names = {one.name for one, _ in run if wheelhouse.applies(one, there)}
    tools = wheelhouse.locked(lock.read_text())
    return wheelhouse.for_machine(
        [(one, entry) for one, entry in tools if one.name not in names], python, machine
    )


def install(to: Path, python: str, machine: str, *locks: Path, house: Path = HOUSE) -> None:
    shutil.rmtree(to, ignore_errors=True)
    wanted = wheelhouse.for_machine(
        list(wheelhouse.locked((house / "requirements.txt").read_text())), python, machine
    )
    for lock in locks:
        wanted += more(lock, python, machine)
    wheelhouse.pip(
        "install",
        f"--target={to}",
        f"--find-links={house}",
        requirements=wanted,
        python=python,
        machine=machine,
    )
    shutil.rmtree(to / "bin", ignore_errors=True)  # they would start this machine's Python


if __name__ == "__main__":
    install(Path(sys.argv[1]), sys.argv[2], sys.argv[3], *map(Path, sys.argv[4:]))
