"""Says yes to a subscription of Amazon SNS: one GET of a URL that has been checked, no redirect, no body read."""

from typing import Final

import httpx
import structlog

from mcp_ilert.errors import StartError
from mcp_ilert.targets.client import async_client

log = structlog.get_logger()

TIMEOUT_SECONDS: Final = 10.0


async def confirm(url: str) -> int | None:
    """The answer's status; None where there is none. The URL bears a token, and is never logged."""
    try:
        async with (
            async_client(url, seconds=TIMEOUT_SECONDS) as client,
            client.stream("GET", url) as answer,
        ):
            return answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, StartError) as error:
        log.warning("SNS did not answer the confirmation of a subscription", error=type(error).__name__)
        return None
