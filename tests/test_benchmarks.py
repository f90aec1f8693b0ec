"""What the benchmarks conclude from figures; the figures themselves are a machine's on a day."""

import subprocess
import sys
from pathlib import Path

import pytest

from charts import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import bench_edge
import cage
import compare
from compare import BASE, HEAD, Round, judge
from mcp_ilert.config.load import settings_of


def rounds(*rates: float, cpu: float = 10.0) -> list[Round]:
    return [Round(rate, cpu) for rate in rates]


def test_a_load_that_takes_as_many_events_is_not_slower() -> None:
    verdict = judge("x", rounds(100, 110, 90), rounds(100, 110, 90), 0.85)
    assert (verdict.rate, verdict.cpu, verdict.slower) == (1.0, 1.0, False)


def test_a_load_below_the_threshold_is_slower_and_at_it_is_not() -> None:
    assert judge("x", rounds(100, 100, 100), rounds(84, 84, 84), 0.85).slower
    assert not judge("x", rounds(100, 100, 100), rounds(85, 85, 85), 0.85).slower


def test_one_disturbed_round_decides_nothing() -> None:
    assert not judge("x", rounds(100, 100, 100), rounds(5, 99, 101), 0.85).slower
    assert judge("x", rounds(5, 100, 100), rounds(100, 50, 50), 0.85).slower


def test_a_neighbour_that_disturbs_both_sides_of_a_pair_changes_nothing() -> None:
    verdict = judge("x", rounds(100, 20, 60), rounds(100, 20, 60), 0.85)
    assert verdict.rate == 1.0


def test_the_table_marks_what_is_slower() -> None:
    found = {
        "one": {BASE: rounds(100), HEAD: rounds(50)},
        "two": {BASE: rounds(100), HEAD: rounds(100, cpu=5)},
    }
    verdicts = [judge(name, sides[BASE], sides[HEAD], 0.85) for name, sides in found.items()]
    rows = [line for line in compare.table(found, verdicts, 0.85).splitlines() if line.startswith("| ")]
    assert ["slower" in row for row in rows] == [False, True, False]
    assert "| 0.50 |" in rows[1]


def test_rounds_that_are_not_pairs_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        judge("x", rounds(1, 2), rounds(1), 0.85)


def test_the_edge_benchmark_runs_the_example_with_places_of_its_own() -> None:
    changes = bench_edge.example()
    assert "path" not in changes["spool"]
    assert not {"port", "address"} & changes["listen"].keys()
    settings = settings_of({**changes, "ilert": {"webhook_key": "il1api-a"}}, {}, ROOT / "edge.yaml")
    assert settings.listen.max_connections == 200
    assert settings.history.max_bytes == 16777216


def test_memory_is_bound_by_the_newer_cgroups_where_they_can_be_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory\n")
    monkeypatch.setattr(cage, "UNIFIED", tmp_path)
    with cage.cage(64 << 20) as bound:
        (group,) = (path for path in tmp_path.iterdir() if path.is_dir())
        assert (group / "memory.max").read_text() == str(64 << 20)
        (group / "memory.peak").write_text("12345\n")
        assert bound.peak_bytes() == 12345
        done = subprocess.run([*bound.prefix, "echo", "in it"], capture_output=True, text=True, check=False)
        assert done.stdout == "in it\n"
        assert (group / "cgroup.procs").read_text().strip().isdigit()
    assert "cgroup v2" in bound.words


@pytest.mark.parametrize("controllers", ["cpu io", None])
def test_without_the_newer_ones_the_older_ones_bind_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, controllers: str | None
) -> None:
    if controllers is not None:
        (tmp_path / "cgroup.subtree_control").write_text(controllers)
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr(cage, "UNIFIED", tmp_path)
    monkeypatch.setattr(cage, "MEMORY", tmp_path / "memory")
    with cage.cage(64 << 20) as bound:
        (group,) = (tmp_path / "memory").iterdir()
        assert (group / "memory.limit_in_bytes").read_text() == str(64 << 20)
    assert "cgroup v1" in bound.words


def test_without_any_the_address_space_is_bound_and_the_result_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cage, "UNIFIED", tmp_path)
    monkeypatch.setattr(cage, "MEMORY", tmp_path / "none")
    with cage.cage(256 << 20) as bound:
        assert bound.prefix[0] == "prlimit"
        assert bound.peak_bytes() is None
    assert "address space" in bound.words


def test_the_page_on_the_edge_has_the_table_that_its_benchmark_prints() -> None:
    assert "| " + " | ".join(bench_edge.COLUMNS) + " |\n" in (ROOT / "docs/edge.md").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_every_benchmark_says_what_it_is_for(path: Path) -> None:
    if "argparse" in path.read_text():
        done = subprocess.run(
            [sys.executable, str(path), "--help"], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
