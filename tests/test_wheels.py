"""What the scripts of `wheels/` decide: bytes that depend on files alone, and what is locked for whom."""

import io
import json
import sys
import tarfile
from pathlib import Path
from zipfile import ZipInfo

import pytest
from wheel.wheelfile import WheelFile

ROOT = Path(__file__).parent.parent
pytest.importorskip("packaging")
sys.path.insert(0, str(ROOT / "wheels"))

import bill  # noqa: E402
import installed  # noqa: E402
import sdist  # noqa: E402
import wheelhouse  # noqa: E402

LOCK = """anyio==4.16.0 \\
    --hash=sha256:aa
backports-zstd==1.8.0 ; python_full_version < '3.14' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
cython==3.3.1 \\
    --hash=sha256:dd
cffi==2.1.1 ; os_name == 'nt' \\
    --hash=sha256:ee
"""


def archive(*names: str, seconds: int, owner: int) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uid, member.uname = 3, seconds, owner, f"user{owner}"
            tar.addfile(member, io.BytesIO(b"abc"))
    return whole.getvalue()


def test_an_sdist_of_the_same_files_has_the_same_bytes_whoever_packed_it_and_when() -> None:
    one = sdist.packed(archive("a/x", "a/y", seconds=1, owner=0), 1_700_000_000)
    assert one == sdist.packed(archive("a/y", "a/x", seconds=99, owner=1000), 1_700_000_000)
    with tarfile.open(fileobj=io.BytesIO(one)) as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == ["a/x", "a/y"]
        assert {member.mtime for member in members} == {1_700_000_000}
        file = tar.extractfile("a/x")
        assert file is not None
        assert file.read() == b"abc"


def test_what_only_builds_is_not_collected() -> None:
    assert [one.name for one, _ in wheelhouse.to_run(LOCK)] == ["anyio", "backports-zstd", "cffi"]


@pytest.mark.parametrize(("python", "names"), [("3.13", ["anyio", "backports-zstd"]), ("3.14", ["anyio"])])
def test_a_machine_gets_what_its_markers_ask_for_with_all_hashes_and_without_them(
    python: str, names: list[str]
) -> None:
    text = wheelhouse.for_machine(wheelhouse.to_run(LOCK), python, "aarch64")
    assert [one.name for one, _ in wheelhouse.locked(text)] == names
    assert ";" not in text
    assert text.count("--hash") == {"3.13": 3, "3.14": 1}[python]


def test_the_lock_file_of_this_project_is_read_whole() -> None:
    text = (ROOT / "lock/run.txt").read_text()
    found = list(wheelhouse.locked(text))
    assert "".join(entry for _, entry in found) == text
    assert all(entry.count("--hash=sha256:") for _, entry in found)


def test_tools_beside_what_runs_are_named_once() -> None:
    text = installed.more(ROOT / "lock/dev.txt", "3.11", "x86_64")
    names = [one.name for one, _ in wheelhouse.locked(text)]
    assert "pytest" in names
    assert "cffi" in names  # which runs on Windows alone, and here is needed by a tool
    assert "trio" not in names


def a_wheel(folder: Path) -> Path:
    folder.mkdir()
    wheel = folder / "mcp_ilert-1.2.3-cp311-cp311-linux_x86_64.whl"
    with WheelFile(wheel, "w") as made:
        for name in ("mcp_ilert/__init__.py", "mcp_ilert-1.2.3.dist-info/METADATA"):
            made.writestr(ZipInfo(name, (2026, 1, 2, 3, 4, 6)), name.encode())
    return wheel


def test_a_wheel_tells_scanners_what_is_linked_into_it_and_is_a_whole_wheel_still(tmp_path: Path) -> None:
    one, other = (a_wheel(tmp_path / name) for name in ("one", "other"))
    bill.add(one)
    bill.add(other)
    assert one.read_bytes() == other.read_bytes()
    with WheelFile(one) as read:  # which refuses what RECORD does not vouch for
        told = json.loads(read.read("mcp_ilert-1.2.3.dist-info/sboms/mcp-ilert.cdx.json"))
        assert read.read("mcp_ilert/__init__.py") == b"mcp_ilert/__init__.py"
        assert {entry.date_time for entry in read.infolist() if entry.filename != read.record_path} == {
            (2026, 1, 2, 3, 4, 6)
        }
    assert told["metadata"]["component"]["version"] == "1.2.3"
    assert [one["name"] for one in told["components"]] == ["nghttp2"]
    assert {one["id"] for one in told["vulnerabilities"]} >= {"CVE-2026-27135"}
