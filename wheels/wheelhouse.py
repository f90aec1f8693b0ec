"""Collects one folder from which a machine without an index installs: our wheels, and one of each locked dependency.

    python wheels/wheelhouse.py [--dist wheels/dist] [--to wheels/dist/wheelhouse] [--pythons 3.11,3.13]

Needs `packaging` (lock/wheels.txt). What is collected is what lock/run.txt names with its hash, without what only
builds, for Linux on x86_64 and aarch64 and for each of these CPythons. Beside it stand requirements.txt and SHA256SUMS.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
BUILD_ONLY = frozenset(("cython", "setuptools", "wheel"))
MACHINES = ("x86_64", "aarch64")
NEWEST_GLIBC = 36
"""2.36: what Debian 12 has; a wheel that needs a newer one is not taken."""
OURS = re.compile(r"mcp_ilert-(?P<version>[^-]+)-[^-]+-[^-]+-[^-]+\.whl")


def locked(text: str) -> Iterator[tuple[Requirement, str]]:
    """Each requirement of a lock file, with its lines as they stand there."""
    for entry in re.split(r"^(?=\w)", text, flags=re.MULTILINE):
        if entry and not entry.startswith("#"):
            yield Requirement(re.sub(r"\s*\\\n.*", "", entry, flags=re.DOTALL)), entry


def to_run(text: str) -> list[tuple[Requirement, str]]:
    return [(one, entry) for one, entry in locked(text) if one.name not in BUILD_ONLY]


def environment(python: str, machine: str) -> Mapping[str, str]:
    """What the markers of the lock file ask of a machine."""
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def for_machine(entries: list[tuple[Requirement, str]], python: str, machine: str) -> str:
    """What such a machine needs of these, without markers: pip would judge them by the interpreter that runs it."""
    there = environment(python, machine)
    return "".join(
        re.sub(r" ; [^\\\n]*", " ", entry, count=1) for one, entry in entries if applies(one, there)
    )


def applies(one: Requirement, there: Mapping[str, str]) -> bool:
    return one.marker is None or one.marker.evaluate(dict(there))


def pip(*arguments: str, requirements: str, python: str, machine: str) -> None:
    """Run pip on these requirements for such a machine, with wheels alone and by their hashes."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, 4, -1)]
    platforms += [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}"]
    kind = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    kind += [f"--platform={platform}" for platform in platforms]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        ours = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments, *kind]
        subprocess.run([*ours, "--no-deps", "--require-hashes", "-r", file.name], check=True)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def requirements(entries: list[tuple[Requirement, str]], ours: list[Path]) -> str:
    """All of it by hash, for `pip install --require-hashes`."""
    match = OURS.fullmatch(ours[0].name)
    if match is None:
        raise SystemExit(f"mcp-ilert: {ours[0].name} is not named as our wheels are")
    hashes = " \\\n".join(f"    --hash=sha256:{digest(wheel)}" for wheel in ours)
    return f"mcp-ilert=={match['version']} \\\n{hashes}\n" + "".join(entry for _, entry in entries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dist", type=Path, default=ROOT / "wheels/dist")
    parser.add_argument("--to", type=Path, default=ROOT / "wheels/dist/wheelhouse")
    parser.add_argument("--pythons", default="3.11,3.12,3.13,3.14", help="between commas")
    options = parser.parse_args()
    ours = sorted(options.dist.glob("mcp_ilert-*.whl"))
    if not ours:
        raise SystemExit(f"mcp-ilert: there is no wheel of ours in {options.dist}; run make wheels first")
    shutil.rmtree(options.to, ignore_errors=True)
    options.to.mkdir(parents=True)
    entries = to_run((ROOT / "lock/run.txt").read_text())
    for wheel in ours:
        shutil.copy(wheel, options.to)
    for python in options.pythons.split(","):
        for machine in MACHINES:
            wanted = for_machine(entries, python, machine)
            pip("download", f"--dest={options.to}", requirements=wanted, python=python, machine=machine)
    (options.to / "requirements.txt").write_text(requirements(entries, ours))
    sums = "".join(f"{digest(path)}  {path.name}\n" for path in sorted(options.to.iterdir()))
    (options.to / "SHA256SUMS").write_text(sums)
    size = sum(path.stat().st_size for path in options.to.iterdir())
    print(f"{len(sums.splitlines())} files, {size / 1e6:.0f} MB in {options.to}")


if __name__ == "__main__":
    main()
