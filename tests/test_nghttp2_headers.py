"""`make run` and the header that HTTP/2's fast door needs: there, installed, or said to be missing in one line."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "wheels/nghttp2.sh"


class Machine:
    """Programs in the place of the machine's own. `cc` finds the header where the file `header` is."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("sh", "id", "env", "grep"):
            found = shutil.which(name)
            assert found is not None
            (folder / name).symlink_to(found)
        self.has("pkg-config", "exit 1")
        self.has("cc", f"test -e {folder}/header")

    def has(self, name: str, does: str) -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.folder}/calls\n{does}\n')
        path.chmod(0o755)

    def run(self, **environ: str) -> list[str]:
        """What it says; it never fails."""
        done = subprocess.run(
            [shutil.which("sh") or "sh", str(SCRIPT)],
            env={"PATH": str(self.folder), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=20,
            check=True,
        )
        return done.stdout.splitlines()

    @property
    def calls(self) -> str:
        path = self.folder / "calls"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_is_done_where_the_header_is(machine: Machine) -> None:
    (machine.folder / "header").touch()
    machine.has("apt-get", "exit 1")
    assert machine.run() == []
    assert "apt-get" not in machine.calls


@pytest.mark.parametrize(
    "environ", [{"MCP_ILERT_PURE": "1"}, {"NGHTTP2_PREFIX": "/x"}, {"CC": "/nonexistent"}]
)
def test_nothing_is_done_where_it_would_be_of_no_use(machine: Machine, environ: dict[str, str]) -> None:
    machine.has("apt-get", "exit 1")
    assert machine.run(**environ) == []
    assert machine.calls == ""


@pytest.mark.parametrize(
    ("manager", "package"),
    [("apt-get", "libnghttp2-dev"), ("dnf", "libnghttp2-devel"), ("apk", "nghttp2-dev")],
)
def test_root_has_it_installed_by_the_machines_own_package_manager(
    machine: Machine, manager: str, package: str
) -> None:
    (machine.folder / "id").unlink()
    machine.has("id", "echo 0")
    machine.has(manager, f"case $* in *{package}*) : > {machine.folder}/header;; esac")
    (line,) = machine.run()
    assert "installing libnghttp2's header" in line
    assert f"{manager} " in machine.calls


def test_where_it_may_not_be_installed_one_line_says_what_follows(machine: Machine) -> None:
    (machine.folder / "id").unlink()
    machine.has("id", "echo 1000")
    machine.has("sudo", "exit 1")
    machine.has("apt-get", "exit 1")
    *_, line = machine.run()
    assert "HTTP/2 runs on the slower stack" in line
    assert "apt-get" not in machine.calls
