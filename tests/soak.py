"""The long crash test: producers, kills and a faulty iLert, all at random from a seed; then the reckoning.

    python tests/soak.py --kills 1000 --seed 1
    python tests/soak.py --minutes 10

It ends after so many kills or minutes, prints its figures as JSON and as a row of the table in docs/reliability.md,
and exits 1 at the first reckoning that finds anything wrong. What is random and what is judged: tests/soak_run.py.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import trio

from soak_producers import BrokenPromiseError
from soak_report import figures, row
from soak_run import Plan, Run


def tell(line: str) -> None:
    """Progress, on one line where there is a terminal."""
    print(
        f"\r{line}" if sys.stderr.isatty() else line, end="" if sys.stderr.isatty() else "\n", file=sys.stderr
    )


def leaves(group: BaseExceptionGroup[BrokenPromiseError]) -> Iterator[BrokenPromiseError]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from leaves(each)
        else:
            yield each


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    minutes = 10.0 if given.kills is None and given.minutes is None else given.minutes
    plan = Plan(seed=given.seed, kills=given.kills, minutes=minutes)
    with tempfile.TemporaryDirectory(prefix="mcp-ilert-soak-") as folder:
        run = Run(plan, Path(folder), tell)
        wrong: list[str] = []
        try:
            trio.run(run.run)
        except* BrokenPromiseError as found:
            wrong = [str(each) for each in leaves(found)]
    print(json.dumps(figures(run), indent=2))
    print("\n" + "\n".join(wrong or [row(run)]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
