"""A spool whose file or log was damaged at random: the bridge starts, at the second start at the latest, nothing is
deleted, and what is not known counts as unknown.

`MCP_ILERT_DAMAGES=2000` tries so many instead of a few.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from mcp_ilert.errors import StartError, UnavailableError
from mcp_ilert.events import Done, Kind, Settlement
from mcp_ilert.spool.port import Replay, Retarget, Rules, Want
from mcp_ilert.spool.spool import WrittenSpool
from mcp_ilert.spool.store import SqliteStore
from spool_life import SpoolLife
from spools import T0, Clock, entry

SEEDS = range(int(os.environ.get("MCP_ILERT_DAMAGES", "60")))
PAGE = 4096


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spool in use, as a kill leaves it: half in its file, half in its log."""
    folder = tmp_path_factory.mktemp("sound")
    store = SqliteStore(folder / "spool.db", Rules(), Clock())
    want = Want("default", 20, 20)
    for i in range(30):
        new = [entry("A", f"k{i}-{j}", text="x" * 300) for j in range(10)]
        store.transact(lambda e, new=new: e.accept(new, T0, fold=True))  # type: ignore[misc]
        if i == 20:
            store.transact(lambda e: e.lease([want], {"default": b"state"}, T0))
            store._connection.wal_checkpoint()
    store.transact(lambda e: e.accept([entry("A", f"inbox{i}") for i in range(50)], T0, fold=False))
    kept = folder / "kept"
    kept.mkdir()
    for name in ("spool.db", "spool.db-wal"):
        shutil.copy(folder / name, kept / name)
    store.close()
    return kept


def damage(path: Path, dice: Random) -> str:
    """Flip a few bits, zero or fill pages, cut the end off, or swap two pages."""
    content, how = (
        bytearray(path.read_bytes()),
        dice.choice(["flip", "zero", "noise", "cut", "empty", "swap"]),
    )
    at = dice.randrange(len(content))
    page = at - at % PAGE
    if how == "flip":
        for _ in range(dice.choice([1, 8, 200])):
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    elif how in ("zero", "noise"):
        size = min(PAGE * dice.choice([1, 4]), len(content) - page)
        content[page : page + size] = bytes(size) if how == "zero" else dice.randbytes(size)
    elif how == "swap":
        other = dice.randrange(len(content) // PAGE) * PAGE
        one, two = content[page : page + PAGE], content[other : other + PAGE]
        if len(one) == len(two):
            content[page : page + PAGE], content[other : other + PAGE] = two, one
    else:
        del content[at if how == "cut" else 0 :]
    path.write_bytes(content)
    return how


async def use(spool: WrittenSpool) -> None:
    """Everything that reads lanes."""
    await spool.put([entry("A", f"k{i}-0") for i in range(30)])
    while True:
        got = (await spool.lease([Want("default", 40, 40)], {}, T0)).deliveries
        if not got:
            break
        await spool.settle([Settlement(d.lease, Done(), T0) for d in got], {}, T0)
    await spool.change(Replay(None, force=True), T0)
    await spool.change(Retarget(("elsewhere",)), T0)


async def resolves_are_sent(spool: WrittenSpool) -> None:
    await spool.put([entry("A", "never seen"), entry("R", "never seen")])
    (got,) = (await spool.lease([Want("default", 1, 1)], {}, T0)).deliveries
    assert got.kind is Kind.RESOLVE


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bridge_starts_and_nothing_is_deleted(sound: Path, tmp_path: Path, seed: int) -> None:
    dice = Random(seed)
    for file in sound.iterdir():
        shutil.copy(file, tmp_path)
    for name in dice.choice([["spool.db"], ["spool.db-wal"], ["spool.db", "spool.db-wal"]]):
        damage(tmp_path / name, dice)
    before = {name: (tmp_path / name).read_bytes() for name in ("spool.db", "spool.db-wal")}
    life = SpoolLife(tmp_path, Rules(), Clock(), "thread")
    try:
        life.start()
        aside = set_aside(tmp_path)
        kept = [file.read_bytes() for file in aside]
        if any(not file.name.endswith("-wal") for file in aside):  # at once: then as it was found
            assert not before["spool.db"] or before["spool.db"] in kept  # to the log, a start may have added
        elif aside:  # the log alone could not be read to its end
            assert kept == [before["spool.db-wal"]]
        try:
            life.ask(use)
        except UnavailableError:  # it is found in use, once or twice, and ends the bridge
            with suppress(UnavailableError):
                life.ask(use)
            life.end()
            assert isinstance(life.error, StartError)
            life.start()
            assert set_aside(tmp_path)
        life.ask(use)
        life.end()
        life.start()
        if any(not file.name.endswith("-wal") for file in set_aside(tmp_path)):
            life.ask(resolves_are_sent)
        life.end()
        assert life.error is None
    finally:
        life.close()


def set_aside(folder: Path) -> list[Path]:
    return list(folder.glob("spool.db.damaged-*"))
