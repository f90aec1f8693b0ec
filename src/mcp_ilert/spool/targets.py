"""The targets as a spool keeps them: the operator's pause, the dispatcher's state, turns, and how many lanes wait."""

from collections.abc import Iterator, Mapping

import msgspec

from mcp_ilert.spool.shelf import Shelf, TargetRow


class Targets:
    """Those that a spool has ever had lanes for, as they stand in a transaction."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.by_name: dict[str, TargetRow] = {}
        self._names: dict[int, str] = {}
        self.lanes: dict[int, int] = {}
        """By id: the lanes in which something waits; stored at the end of the transaction."""

    def load(self) -> None:
        """Read what is stored."""
        self.by_name = {t.name: t for t in self._shelf.targets()}
        self._names = {t.id: t.name for t in self.by_name.values()}
        self.lanes = {t.id: t.lanes for t in self.by_name.values()}

    def __iter__(self) -> Iterator[TargetRow]:
        return iter(tuple(self.by_name.values()))

    @property
    def ids(self) -> frozenset[int]:
        return frozenset(self._names)

    def of(self, name: str) -> TargetRow:
        """The target of this name, made where it is new."""
        target = self.by_name.get(name)
        if target is None:
            target = self._shelf.add_target(name)
            self.by_name[name] = target
            self._names[target.id] = name
            self.lanes[target.id] = 0
        return target

    def name_of(self, target: int) -> str:
        return self._names[target]

    def keep(self, states: Mapping[str, bytes]) -> None:
        """Keep the dispatcher's state of targets."""
        for name, state in states.items():
            target = self.of(name)
            if target.state != state:
                self.save(msgspec.structs.replace(target, state=state))

    def pause(self, name: str, *, paused: bool) -> None:
        """Keep the operator's pause of a target."""
        self.save(msgspec.structs.replace(self.of(name), paused=paused))

    def save(self, target: TargetRow) -> None:
        self._shelf.save_target(target)
        self.by_name[target.name] = target

    def save_lanes(self) -> None:
        """Store the numbers of lanes that have changed."""
        for target in tuple(self.by_name.values()):
            if target.lanes != self.lanes[target.id]:
                self.save(msgspec.structs.replace(target, lanes=self.lanes[target.id]))
