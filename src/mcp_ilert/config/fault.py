"""A problem that no single key has."""

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """A problem between keys; `paths` are all that it rests on."""

    paths: tuple[str, ...]
    line: str
