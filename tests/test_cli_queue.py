"""`mcp-ilert queue` and `audit`, on spools that the test fills."""

import json
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
from click.testing import CliRunner

from mcp_ilert.cli import cli
from mcp_ilert.clock import wall_ms
from mcp_ilert.control import Answer, DropKey, PauseTarget, ReplayDead, Request, ResumeTarget, serve_control
from mcp_ilert.errors import SpoolError
from mcp_ilert.events import (
    Again,
    DeadByOutage,
    DeadByRejection,
    Decision,
    Done,
    Entry,
    Kind,
    Settlement,
    Severity,
)
from mcp_ilert.spool import open_spool
from mcp_ilert.spool.port import Retarget, Rules, Want
from mcp_ilert.spool.recount import Recount
from mcp_ilert.spool.shelf import Row


def entry(key: str, kind: Kind = Kind.ALERT, severity: Severity = Severity.HIGH) -> Entry:
    payload = json.dumps({"mcp_id": key, "source": "s", "summary": f"{key} is down"}).encode()
    return Entry(wall_ms(), kind, severity, "default", key, payload)


REJECTED = DeadByRejection(422, "summary is too long", "c-1")
OUTAGE = DeadByOutage(revive_ms=2**50, certain=True)


async def fill(path: Path, *entries: Entry, settle: Sequence[Decision] = ()) -> None:
    """Put the entries; then lease and settle one after the other as told."""
    async with open_spool(path, Rules(), lambda _targets: None, wall_ms, inline=True) as spool:
        await spool.change(Retarget(("default",)), wall_ms())
        await spool.put(entries)
        for decision in settle:
            want = Want("default", tokens=1, others=1)
            leased = await spool.lease([want], {}, wall_ms())
            (delivery,) = leased.deliveries
            await spool.settle([Settlement(delivery.lease, decision, wall_ms())], {}, wall_ms())


async def mcp_ilert(*args: object) -> tuple[int, str, str]:
    """Run the command line in a thread; a process each would cost a minute."""

    def run() -> tuple[int, str, str]:
        result = CliRunner().invoke(cli, list(map(str, args)))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return await trio.to_thread.run_sync(run)


async def queue_json(path: Path, *args: object) -> Any:
    code, out, err = await mcp_ilert("queue", *args, "--spool", path, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


async def test_stats_show_the_terms_of_the_law(spool: Path) -> None:
    await fill(spool, entry("a"), entry("a"), entry("b"), settle=[Done()])
    found = await queue_json(spool, "stats")
    assert found["counts"] | {} == found["counts"]
    assert (found["counts"]["accepted"], found["counts"]["coalesced"]) == (3, 1)
    assert (found["counts"]["delivered"], found["counts"]["pending"]) == (1, 1)
    assert found["conservation_error"] == 0
    code, out, _ = await mcp_ilert("queue", "stats", "--spool", spool)
    assert code == 0
    assert "1 events in 1 lanes" in out


async def test_list_shows_what_waits_page_by_page(spool: Path) -> None:
    again = Again(due_ms=wall_ms() + 3_600_000, attempts=2, rejections=0, certain=False)
    more = [entry("a", severity=Severity.CRITICAL), entry("b"), entry("b"), entry("c", Kind.RESOLVE)]
    await fill(spool, *more, settle=[again])
    code, out, err = await mcp_ilert("queue", "list", "--spool", spool, "--limit", "2")
    assert code == 0
    header, first, second = [line.split() for line in out.splitlines()]
    assert header == ["id", "key", "target", "state", "severity", "age", "remote", "attempts", "waits"]
    assert first[1:5] == ["a", "default", "backoff", "59"]
    assert first[-4:] == ["s", "unknown", "2", "alert"]
    assert second[1:5] == ["b", "default", "ready", "high"]
    assert second[-2:] == ["alert", "×2"]
    after = err.split()[-1]
    rest = await queue_json(spool, "list", "--after", after)
    assert [(lane["key"], lane["waiting"][0]["kind"]) for lane in rest["lanes"]] == [("c", "resolve")]
    assert rest["after"] is None


async def test_the_program_itself_answers_and_ends_with_the_code(spool: Path) -> None:
    await fill(spool, entry("a"))
    command = [sys.executable, "-m", "mcp_ilert", "queue", "show", "--spool", str(spool)]
    for key, code in (("a", 0), ("b", 1)):
        done = await trio.run_process([*command, key], capture_stdout=True, capture_stderr=True, check=False)
        assert (done.returncode, done.stderr.count(b"\n")) == (code, code)


async def test_show_gives_the_events_of_a_key_however_it_is_spelled(spool: Path) -> None:
    await fill(spool, entry("Db-7/Disk"))
    code, out, _ = await mcp_ilert("queue", "show", "db-7/DISK", "--spool", spool)
    assert code == 0
    assert '"summary": "Db-7/Disk is down"' in out
    found = await queue_json(spool, "show", "db-7/disk")
    assert found["lanes"][0]["waiting"][0]["event"]["mcp_id"] == "Db-7/Disk"


async def test_show_of_an_unknown_key_is_exit_code_1(spool: Path) -> None:
    await fill(spool, entry("a"))
    code, _, err = await mcp_ilert("queue", "show", "nobody", "--spool", spool)
    assert (code, err) == (1, "mcp-ilert: nothing is known of the key 'nobody'\n")


async def test_a_key_cannot_drive_the_terminal(spool: Path) -> None:
    await fill(spool, entry("evil\x1b[2Jkey\u202e"))
    _, out, _ = await mcp_ilert("queue", "list", "--spool", spool)
    assert "evil\\x1b[2Jkey\\u202e" in out
    assert "\x1b" not in out


async def test_dead_letters_are_listed_and_replayed_without_a_bridge(spool: Path) -> None:
    await fill(spool, entry("bad"), entry("out"), settle=[REJECTED, OUTAGE])
    code, out, _ = await mcp_ilert("queue", "dead", "--spool", spool)
    assert code == 0
    assert "422: summary is too long" in out
    assert "outage" in out
    assert (await queue_json(spool, "replay", "bad"))["events"] == 1
    assert [lane["key"] for lane in (await queue_json(spool, "dead"))["lanes"]] == ["out"]
    code, out, _ = await mcp_ilert("queue", "replay", "--all", "--spool", spool)
    assert (code, out) == (0, "1 event replayed\n")
    assert (await queue_json(spool, "stats"))["counts"]["dead"] == 0
    assert (await mcp_ilert("audit", "--spool", spool))[0] == 0


async def test_dropping_needs_a_yes(spool: Path) -> None:
    await fill(spool, entry("a"), entry("b"))
    code, _, err = await mcp_ilert("queue", "drop", "a", "--spool", spool)
    assert code == 2
    assert "--yes" in err
    code, out, _ = await mcp_ilert("queue", "drop", "a", "--yes", "--spool", spool)
    assert (code, out) == (0, "1 event dropped\n")
    stats = await queue_json(spool, "stats")
    assert (stats["counts"]["dropped_by_operator"], stats["counts"]["pending"]) == (1, 1)


async def test_a_pause_is_remembered_and_an_unknown_target_named(spool: Path) -> None:
    await fill(spool, entry("a"))
    assert (await mcp_ilert("queue", "pause", "default", "--spool", spool))[:2] == (0, "default is paused\n")
    assert (await queue_json(spool, "stats"))["targets"] == [{"name": "default", "paused": True}]
    assert (await mcp_ilert("queue", "resume", "default", "--spool", spool))[0] == 0
    assert (await queue_json(spool, "stats"))["targets"] == [{"name": "default", "paused": False}]
    code, _, err = await mcp_ilert("queue", "pause", "defualt", "--spool", spool)
    assert (code, err) == (1, "mcp-ilert: no target 'defualt'; there are: default\n")


async def test_dropping_at_an_unknown_target_names_those_that_there_are(spool: Path) -> None:
    await fill(spool, entry("a"))
    code, out, err = await mcp_ilert("queue", "drop", "a", "--target", "defualt", "--yes", "--spool", spool)
    assert (code, out, err) == (1, "", "mcp-ilert: no target 'defualt'; there are: default\n")
    _, out, _ = await mcp_ilert("queue", "drop", "a", "--target", "default", "--yes", "--spool", spool)
    assert out == "1 event dropped\n"


async def test_a_backup_is_a_spool_of_its_own(spool: Path, tmp_path: Path) -> None:
    await fill(spool, entry("a"))
    copy = tmp_path / "copy.db"
    assert (await mcp_ilert("queue", "backup", copy, "--spool", spool))[0] == 0
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [lane["key"] for lane in (await queue_json(copy, "list"))["lanes"]] == ["a"]
    code, _, err = await mcp_ilert("queue", "backup", copy, "--spool", spool)
    assert code == 1
    assert "exists already" in err


async def test_audit_says_so_when_the_law_is_broken(spool: Path) -> None:
    await fill(spool, entry("a"), entry("b"), settle=[Done()])
    code, out, _ = await mcp_ilert("audit", "--spool", spool)
    assert code == 0
    assert "The law holds: 2 = 2" in out
    connection = apsw.Connection(str(spool))
    connection.execute("UPDATE ledger SET delivered = delivered + 3")
    connection.close()
    code, out, _ = await mcp_ilert("audit", "--spool", spool)
    assert code == 1
    assert "The law is broken by" in out
    assert (await mcp_ilert("audit", "--spool", spool, "--json"))[0] == 1


async def test_audit_looks_at_one_moment_of_a_spool_in_use(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit in the middle of it once made the law seem broken."""
    await fill(spool, entry("a"))
    add = Recount.add

    def commit_then_add(recount: Recount, row: Row) -> None:
        trio.run(fill, spool, entry("b"))
        add(recount, row)

    monkeypatch.setattr(Recount, "add", commit_then_add)
    code, out, _ = await mcp_ilert("audit", "--spool", spool)
    assert (code, out.splitlines()[-1]) == (0, "The law holds: 1 = 1")


async def test_a_spool_that_is_used_is_changed_by_its_bridge_alone(
    spool: Path, nursery: trio.Nursery
) -> None:
    asked: list[Request] = []

    async def handle(request: Request) -> Answer:
        asked.append(request)
        if isinstance(request, PauseTarget):
            raise SpoolError("no target 'x'; there are: default")
        return Answer(ok=True, events=7)

    async with open_spool(spool, Rules(), lambda _targets: None, wall_ms, inline=True) as running:
        await running.put([entry("a")])
        await nursery.start(serve_control, spool, handle)
        assert (await queue_json(spool, "replay", "a", "b", "--force"))["events"] == 7
        _, out, _ = await mcp_ilert("queue", "drop", "a", "--target", "t", "--yes", "--spool", spool)
        assert out == "7 events dropped\n"
        code, _, err = await mcp_ilert("queue", "pause", "x", "--spool", spool)
        assert (code, err) == (1, "mcp-ilert: no target 'x'; there are: default\n")
        await mcp_ilert("queue", "resume", "x", "--spool", spool)
        assert [lane["key"] for lane in (await queue_json(spool, "list"))["lanes"]] == ["a"]
        assert (await mcp_ilert("audit", "--spool", spool))[0] == 0
    assert asked == [ReplayDead(("a", "b"), True), DropKey("a", "t"), PauseTarget("x"), ResumeTarget("x")]


async def test_a_spool_that_another_process_holds_is_left_alone(spool: Path) -> None:
    async with open_spool(spool, Rules(), lambda _targets: None, wall_ms, inline=True):
        code, _, err = await mcp_ilert("queue", "replay", "--all", "--spool", spool)
    assert code == 1
    assert "is in use by process" in err


@pytest.mark.parametrize(
    "args",
    [
        ("queue", "stats"),
        ("queue", "replay", "a"),
        ("queue", "backup", "/nonexistent/copy"),
        ("audit",),
    ],
)
async def test_a_spool_that_is_not_there_is_a_clear_line(spool: Path, args: tuple[str, ...]) -> None:
    code, _, err = await mcp_ilert(*args, "--spool", spool)
    assert code == 1
    assert str(spool) in err
    assert err.count("\n") == 1
    assert not spool.exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("queue", "stats"), "which spool? Give either --config PATH or --spool PATH"),
        (("queue", "stats", "--config", "a", "--spool", "b"), "which spool?"),
        (("queue", "replay", "--spool", "s"), "Give either KEYs or --all"),
        (("queue", "replay", "k", "--all", "--spool", "s"), "Give either KEYs or --all"),
        (("queue", "list", "--limit", "0", "--spool", "s"), "--limit"),
    ],
)
async def test_a_wrong_command_line_is_exit_code_2(args: tuple[str, ...], message: str) -> None:
    code, _, err = await mcp_ilert(*args)
    assert code == 2
    assert message in err
