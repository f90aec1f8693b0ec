"""What compiling the token bucket buys: takes per second, compiled and as plain Python, in one run."""

import importlib.util
import sys
import time
from pathlib import Path
from typing import Any

from mcp_ilert._fast import token_bucket as built

TAKES = 300_000
ROUNDS = 5


def plain() -> Any:
    """The same module, as it was written."""
    source = Path(str(built.__file__)).parent / "token_bucket.py"
    spec = importlib.util.spec_from_file_location("plain_token_bucket", source)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{source} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def takes_per_second(module: Any) -> float:
    """The best of some rounds: every other take finds a token."""
    best = 0.0
    for _ in range(ROUNDS):
        take = module.TokenBucket(10.0, 0.5, 10.0, 0.0).take
        start = time.perf_counter()
        for second in range(TAKES):
            take(1.0, second)
        best = max(best, TAKES / (time.perf_counter() - start))
    return best


def main() -> None:
    """Print one line for each."""
    slow = takes_per_second(plain())
    print(f"plain Python   {slow:12,.0f} takes/s")
    if Path(str(built.__file__)).suffix == ".py":
        print("compiled       not built here")
        sys.exit(0)
    fast = takes_per_second(built)
    print(f"compiled       {fast:12,.0f} takes/s   {fast / slow:.1f} times as many")


if __name__ == "__main__":
    main()
