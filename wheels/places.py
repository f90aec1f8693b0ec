"""The places where the wheels are tried, each made anew in a folder of its own below WORK: several can be at once.

They are environments of the Python that runs this, and small Debians, each with its own Python.
"""

import os
import platform
import shutil
import subprocess
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import installed
import wheelhouse

ROOT = wheelhouse.ROOT
WORK = ROOT / "build/smoke"
TOOLS = ROOT / "lock/dev.txt"
DEBIANS = {"bookworm": "3.11", "trixie": "3.13", "forky": "3.14"}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
NGHTTP2_HEADERS = Path("/usr/include/nghttp2")
HIDDEN = f'mount -t tmpfs none {NGHTTP2_HEADERS} && exec "$@"'

Parts = Literal["all", "all but http2", "none"]


class Place(NamedTuple):
    """Where something is tried, and what has to be compiled there."""

    name: str
    python: str
    machine: str
    folder: Path
    site: Path
    """In this folder it has installed things."""
    command: list[str]
    """Runs the Python there."""
    trial: list[str]
    """Runs `mcp-ilert` there."""
    seen_as: str
    """The path of the folder there."""
    parts: Parts = "all"
    suite: bool = True
    """Whether all that the tests need is there."""

    def there(self, path: Path) -> str:
        return f"{self.seen_as}/{path.relative_to(self.folder)}"


def make(name: str, house: Path) -> Place:
    """Raises CalledProcessError where something of it cannot be had."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    return PLACES[name](folder, house)


def debian(folder: Path, house: Path) -> Place:
    """It sees its folder as /mnt. Nothing of it runs while it is made, so that any architecture will do."""
    suite, architecture = folder.name.split("-")
    version, machine = DEBIANS[suite], MACHINES[architecture]
    packages = (
        f"python{version}-minimal,libpython{version}-stdlib,ca-certificates,coreutils,dash,tzdata,netbase"
    )
    subprocess.run(
        ["/bin/sh", ROOT / "wheels/root.sh", suite, architecture, packages, folder / "root"], check=True
    )
    site = folder / "site"
    installed.install(site, version, machine, TOOLS, house=house)
    # Not by PYTHONPATH: a test may start a program without it.
    local = folder / f"root/usr/local/lib/python{version}/dist-packages"
    local.mkdir(parents=True, exist_ok=True)
    (local / "tried.pth").write_text("/mnt/site\n")
    enter = ["/bin/sh", str(ROOT / "wheels/in_root.sh"), str(folder / "root")]
    python = [*enter, "PYTHONDONTWRITEBYTECODE=1", f"/usr/bin/python{version}"]
    return Place(
        folder.name, version, machine, folder, site, python, [*python, "-m", "mcp_ilert"], seen_as="/mnt"
    )


def chosen(folder: Path, house: Path) -> Place:
    """pip chooses from the wheelhouse by itself, as on an edge box."""
    place = _environment(folder)
    _pip(place, *_from(house), "--require-hashes", "-r", str(house / "requirements.txt"))
    return _with_tools(place)


def pure(folder: Path, house: Path) -> Place:
    """The wheel without compiled parts, as where no other fits."""
    place = _environment(folder)
    _with_dependencies(place, house)
    _pip(place, *_from(house), "--no-deps", str(_one(house, "mcp_ilert-*-none-any.whl")))
    return _with_tools(place)._replace(parts="none")


def sdist(folder: Path, house: Path) -> Place:
    """Built by pip where it is installed, with tools from the index. libnghttp2-dev has to be there."""
    place = _environment(folder)
    _with_dependencies(place, house)
    _pip(place, "--no-deps", str(_one(house.parent, "mcp_ilert-*.tar.gz")))
    return place._replace(suite=False)


def sdist_without_nghttp2(folder: Path, house: Path) -> Place:
    """The same where the headers of libnghttp2 are not to be seen."""
    place = _environment(folder)
    _with_dependencies(place, house)
    hidden = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", HIDDEN, "sh"]
    before = hidden if NGHTTP2_HEADERS.exists() else []
    _pip(place, "--no-deps", str(_one(house.parent, "mcp_ilert-*.tar.gz")), before=before)
    return place._replace(parts="all but http2", suite=False)


def _environment(folder: Path) -> Place:
    """An empty one."""
    site = folder / "venv"
    shutil.rmtree(site, ignore_errors=True)
    venv.create(site, with_pip=True)
    version = ".".join(platform.python_version_tuple()[:2])
    python, script = [str(site / "bin/python")], [str(site / "bin/mcp-ilert")]
    return Place(folder.name, version, os.uname().machine, folder, site, python, script, seen_as=str(folder))


def _pip(place: Place, *arguments: str, before: list[str] | None = None) -> None:
    """Install this."""
    pip = [*place.command, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "install"]
    subprocess.run([*(before or ()), *pip, *arguments], check=True, env=environment())


def _from(house: Path) -> tuple[str, str]:
    return "--no-index", f"--find-links={house}"


def _with_dependencies(place: Place, house: Path) -> None:
    """All of the wheelhouse but ours."""
    entries = wheelhouse.locked((house / "requirements.txt").read_text())
    wanted = place.folder / "dependencies.txt"
    others = [(one, entry) for one, entry in entries if one.name != "mcp-ilert"]
    wanted.write_text(wheelhouse.for_machine(others, place.python, place.machine))
    _pip(place, *_from(house), "--no-deps", "--require-hashes", "-r", str(wanted))


def _with_tools(place: Place) -> Place:
    """What the tests need beside, from the index."""
    tools = place.folder / "tools.txt"
    tools.write_text(installed.more(TOOLS, place.python, place.machine))
    _pip(place, "--no-deps", "--require-hashes", "-r", str(tools))
    return place


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(
            f"mcp-ilert: wanted one {pattern} in {folder}, found {len(found)}; run make wheelhouse"
        )
    return found[0]


def environment(**more: str) -> dict[str, str]:
    """Nothing of this process's own Python, nor of what its build was told."""
    ours = ("PYTHONPATH", "MCP_ILERT_", "NGHTTP2_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


PLACES: Mapping[str, Callable[[Path, Path], Place]] = {
    "venv": chosen,
    "pure": pure,
    "sdist": sdist,
    "sdist-without-nghttp2": sdist_without_nghttp2,
    **{f"{suite}-{architecture}": debian for suite in DEBIANS for architecture in MACHINES},
}
