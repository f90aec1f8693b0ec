"""What the scripts of `wheels/` decide: bytes that depend on files alone, what is locked for whom, what a trial saw."""

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
import places  # noqa: E402
import sdist  # noqa: E402
import smoke  # noqa: E402
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


@pytest.mark.parametrize(
    ("line", "figures"),
    [
        ("5477 passed, 3 skipped in 312.40s (0:05:12)\n", "5477 passed, 3 skipped"),
        (
            "= 1 failed, 2 passed, 3 deselected, 1 error in 4.00s =\n",
            "1 failed, 2 passed, 3 deselected, 1 error",
        ),
        ("no tests ran in 0.01s\n", None),
        ("........ [ 99%]\n", None),
        ("", None),
    ],
)
def test_what_pytest_counted_is_read_from_its_last_line(line: str, figures: str | None) -> None:
    assert smoke.counted(line) == figures


@pytest.mark.parametrize(
    ("parts", "http1", "http2", "well"),
    [
        ("all", ".so", ".so", True),
        ("all", ".so", "absent", False),
        ("all but http2", ".so", "absent", True),
        ("all but http2", ".so", ".so", False),
        ("all but http2", ".py", "absent", False),
        ("none", ".py", "absent", True),
        ("none", ".py", ".so", False),
    ],
)
def test_a_place_is_judged_by_the_parts_that_are_compiled_there(
    parts: places.Parts, http1: str, http2: str, well: bool
) -> None:
    assert smoke.judged("0.1.0", {"http1": http1, "http2": http2}, parts).well is well


def test_a_place_that_fails_keeps_neither_the_next_nor_what_it_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tried(name: str, _house: Path, _arguments: object) -> smoke.Seen:
        return smoke.Seen(name == "venv", f"seen in {name}")

    monkeypatch.setattr(smoke, "tried", tried)
    monkeypatch.setattr(places, "WORK", tmp_path / "smoke")
    (tmp_path / "requirements.txt").touch()
    monkeypatch.setattr(sys, "argv", ["smoke.py", "--wheelhouse", str(tmp_path), "pure", "venv"])
    with pytest.raises(SystemExit) as ended:
        smoke.main()
    assert ended.value.code == 1
    assert (tmp_path / "smoke/pure.txt").read_text() == "pure: FAILED: seen in pure\n"
    assert (tmp_path / "smoke/venv.txt").read_text() == "venv: passed: seen in venv\n"


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
