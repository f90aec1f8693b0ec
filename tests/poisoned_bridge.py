"""`mcp-ilert`, but that events of one key cannot be folded: what a mistake of ours would do."""

from typing import Any

from mcp_ilert.cli import main
from mcp_ilert.spool.folder import _Chunk

KEY = "poison"


def poison(name: str) -> None:
    sound = getattr(_Chunk, name)

    def fold(self: _Chunk, key: Any, *args: Any) -> Any:
        if getattr(key, "key", key) == KEY:
            raise KeyError("a mistake")
        return sound(self, key, *args)

    setattr(_Chunk, name, fold)


if __name__ == "__main__":
    poison("_fold_run")
    poison("_fold_entry")
    main()
