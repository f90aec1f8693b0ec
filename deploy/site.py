"""Makes a folder of what the program needs to run, from the wheelhouse, without what is of use to builders alone.

python deploy/site.py --arch arm64 --python 3.11 --python 3.13 FOLDER

For several Pythons one folder serves: what is compiled bears the version in its name, everything else must be the same.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "wheels"))

import installed  # noqa: E402

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
LEFT_OUT = (
    *("*.pyx", "*.pxd", "*.pyi", "*.c", "*.h", "py.typed", "tests", "sqlite_extra_binaries", "__pycache__"),
    *("RECORD", "REQUESTED", "INSTALLER", "direct_url.json"),
)
"""Of no use to who only runs it; RECORD is no longer true when these are gone."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", choices=MACHINES, required=True)
    parser.add_argument("--python", action="append", required=True)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    for python in given.python:
        with tempfile.TemporaryDirectory() as made:
            installed.install(Path(made), python, MACHINES[given.arch])
            if not list(Path(made).glob("mcp_ilert/_fast/*.so")):
                sys.exit(
                    f"deploy/site.py: no compiled wheel for Python {python} on {given.arch} in wheels/dist; make wheels"
                )
            strip(Path(made))
            merge(Path(made), given.folder)


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
