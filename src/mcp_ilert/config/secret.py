"""A secret is text that shows itself to nobody but `reveal()`.

It prints, formats, logs and encodes as `<secret>`, is not pickled, and compares in constant time.
"""

import hmac
from typing import NoReturn, final

SHOWN = "<secret>"


@final
class Secret:
    """An API key, integration key or token; false when empty."""

    __slots__ = ("__text",)

    def __init__(self, text: str = "") -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself: for the request that carries it and for nothing else."""
        return self.__text

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __repr__(self) -> str:
        return SHOWN

    def __format__(self, spec: str) -> str:
        return format(SHOWN, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self.__text), _bytes(other.reveal()))

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, _memo: object) -> "Secret":
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a secret is not pickled")


def hide_secrets(value: object) -> str:
    """The `enc_hook` for msgspec's encoders: a Secret becomes `<secret>`."""
    if isinstance(value, Secret):
        return SHOWN
    raise NotImplementedError(f"{type(value).__name__} is not encoded")


def _bytes(text: str) -> bytes:
    # A text from outside may hold lone surrogates; comparing must not fail on them.
    return text.encode("utf-8", "surrogatepass")
