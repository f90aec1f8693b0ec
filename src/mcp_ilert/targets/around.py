"""A target around another one, for those that look at what it does: all but sending is the other's."""

from mcp_ilert.targets.port import Target


class Around:
    """Add `send`, and it is a `Target`."""

    def __init__(self, target: Target) -> None:
        self._target = target

    @property
    def name(self) -> str:
        return self._target.name

    @property
    def credential(self) -> str:
        return self._target.credential

    def sealed(self, salt: bytes) -> bytes:
        return self._target.sealed(salt)

    @property
    def requests(self) -> int:
        return self._target.requests

    async def aclose(self) -> None:
        await self._target.aclose()
