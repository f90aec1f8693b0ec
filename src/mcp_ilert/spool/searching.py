"""Which of many lanes have a text in their key: their keys are read, and nothing else of them.

There is no index of keys: it would cost each new lane a page written anywhere in it, at the rate of accepting, for what
is asked now and then by hand. Reading keys takes about 2.5 µs each.
"""

from collections.abc import Collection, Iterator
from typing import Final

import msgspec

from mcp_ilert.spool.sqlite import JSON, SqliteShelf


class _Keyed(msgspec.Struct, array_like=True, gc=False):
    """The beginning of a Lane."""

    key: str


_KEYED: Final = msgspec.msgpack.Decoder(_Keyed)


def holding(shelf: SqliteShelf, lanes: Collection[int], part: str) -> Iterator[int]:
    """Those of the lanes whose key has this lower-case part."""
    for lane, body in shelf.bodies(JSON(list(lanes)).decode()):
        if part in _KEYED.decode(body).key.lower():
            yield lane
