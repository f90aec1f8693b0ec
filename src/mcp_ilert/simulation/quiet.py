"""What a simulation keeps from its surroundings: no log lines, and the same order of tasks each time."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from trio._core import _run as scheduling

ORDERLY = "_ALLOW_DETERMINISTIC_SCHEDULING"


class Silence:
    """A logger that says nothing, whatever the level; structlog makes it as it makes its own."""

    def __init__(self, *_parts: object, **_named: object) -> None:
        self._context: dict[str, object] = {}

    def bind(self, **_values: object) -> "Silence":
        return self

    new = bind

    def unbind(self, *_names: str) -> "Silence":
        return self

    try_unbind = unbind

    def say(self, *_words: object, **_values: object) -> None:
        """Nothing."""

    debug = info = warning = error = exception = critical = say


@contextmanager
def quiet() -> Iterator[None]:
    """Within it nothing is logged: what the bridge would have said is not happening."""
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(wrapper_class=Silence, cache_logger_on_first_use=False)
    try:
        yield
    finally:
        if before is None:
            structlog.reset_defaults()
        else:
            structlog.configure(**before)


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Within it Trio, which shuffles tasks that are ready at once, does so the same way each time.

    Without its flag, it takes them as they became ready, and of deadlines that are the same, by where in memory they
    are. There is no public door to either; Trio itself opens these two for Hypothesis.
    """
    chance: random.Random = scheduling._r  # noqa: SLF001
    before, flag = chance.getstate(), vars(scheduling)[ORDERLY]
    chance.seed(seed)
    vars(scheduling)[ORDERLY] = True
    try:
        yield
    finally:
        chance.setstate(before)
        vars(scheduling)[ORDERLY] = flag
