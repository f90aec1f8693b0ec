"""A target as the dispatcher sees it: one place that operations are sent to, by one integration key."""

from typing import Protocol

from mcp_ilert.events import Delivery, Outcome


class Target(Protocol):
    """Sends one operation at a time per lane; many lanes at once."""

    @property
    def name(self) -> str:
        """The target's name: `default`, or that of the route that gave it its key."""

    async def send(self, delivery: Delivery) -> Outcome:
        """Make one attempt within the target's time-out. Never raises for what a server or a network may do."""

    async def aclose(self) -> None:
        """Close the connections."""
