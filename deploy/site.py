"""Makes a folder of what the program needs to run: its own wheel and the locked wheels it depends on, unpacked.

python deploy/site.py --arch arm64 --python 3.11 --python 3.13 FOLDER

For several Pythons one folder serves: what is compiled bears the version in its name, everything else must be the same.
Only wheels that the lock file knows by hash are taken, and of them only what the program's own wheel depends on.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "lock/run.txt"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
LEAST_GLIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
"""Debian 12 has 2.36."""
PROGRAM = "mcp-ilert"
LEFT_OUT = (
    *("*.pyx", "*.pxd", "*.pyi", "*.c", "*.h", "py.typed", "tests", "sqlite_extra_binaries"),
    *("RECORD", "REQUESTED", "INSTALLER", "direct_url.json"),
)
"""Of no use to who only runs it; RECORD is no longer true when these are gone."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", choices=MACHINES, required=True)
    parser.add_argument("--python", action="append", required=True)
    parser.add_argument("--wheels", type=Path, default=ROOT / "wheels/dist")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    for python in given.python:
        with tempfile.TemporaryDirectory() as made:
            unpack(Path(made), MACHINES[given.arch], python, given.wheels)
            keep_needed(Path(made))
            strip(Path(made))
            merge(Path(made), given.folder)


def unpack(folder: Path, machine: str, python: str, wheels: Path) -> None:
    """The locked wheels of this machine and Python, and ours."""
    platforms = [f"--platform={glibc}_{machine}" for glibc in LEAST_GLIBC]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    for_it = ["--only-binary=:all:", "--no-deps", "--no-compile", f"--target={folder}", *platforms]
    for_it += ["--implementation=cp", f"--python-version={python}"]
    subprocess.run([*pip, "install", *for_it, "--require-hashes", f"--requirement={LOCK}"], check=True)
    shutil.rmtree(folder / "bin", ignore_errors=True)  # scripts with this machine's paths
    subprocess.run([*pip, "install", *for_it, "--no-index", f"--find-links={wheels}", PROGRAM], check=True)
    if not list((folder / "mcp_ilert/_fast").glob("*.so")):
        sys.exit(f"deploy/site.py: {wheels} has no compiled wheel of {PROGRAM} for {machine}; make wheels")


def keep_needed(folder: Path) -> None:
    """Remove what the lock has beside: what builds, and what other systems need."""
    found = {canonicalize_name(d.metadata["Name"]): d for d in distributions(path=[str(folder)])}
    own = canonicalize_name(PROGRAM)
    needed, waiting = {own}, [own]
    while waiting:
        for text in found[waiting.pop()].requires or ():
            requirement = Requirement(text)
            wanted = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", "http2", "trio")
            )
            name = canonicalize_name(requirement.name)
            if wanted and name not in needed and name in found:
                needed.add(name)
                waiting.append(name)
    for name in found.keys() - needed:
        remove(found[name], folder)
    shutil.rmtree(folder / "bin", ignore_errors=True)


def remove(distribution: Distribution, folder: Path) -> None:
    for file in distribution.files or ():
        (folder / file).unlink(missing_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def strip(folder: Path) -> None:
    for pattern in LEFT_OUT:
        for path in folder.rglob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def merge(made: Path, folder: Path) -> None:
    """Add what is not there yet; what is must be the same."""
    for path in sorted(made.rglob("*")):
        into = folder / path.relative_to(made)
        if path.is_dir():
            into.mkdir(parents=True, exist_ok=True)
        elif not into.exists():
            shutil.copyfile(path, into)
            into.chmod(0o644)
        elif into.read_bytes() != path.read_bytes() and not re.search(r"\.dist-info/WHEEL$", str(path)):
            sys.exit(f"deploy/site.py: {path.relative_to(made)} is not the same for each Python")


if __name__ == "__main__":
    main()
