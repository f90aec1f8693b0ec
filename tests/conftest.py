"""Fixtures that tests share. Helpers that a test imports live beside this file (`fast.py`, `api_world.py`)."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import doors
from api_world import TOKENS, UNLIMITED, Api, open_api
from mcp_ilert import config
from mcp_ilert.sandbox import SandboxIlert
from mcp_ilert.sandbox.server import SandboxServer, open_sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxServer]:
    """A sandbox iLert without limits."""
    async with open_sandbox(SandboxIlert(UNLIMITED)) as server:
        yield server


@pytest.fixture
async def api(tmp_path: Path, sandbox: SandboxServer) -> AsyncIterator[Api]:
    """A bridge beside it, without tokens."""
    async with open_api(tmp_path, sandbox) as api:
        yield api


@pytest.fixture
async def guarded(tmp_path: Path, sandbox: SandboxServer) -> AsyncIterator[Api]:
    """A bridge beside it, with an operator's token and a producer's."""
    async with open_api(tmp_path, sandbox, auth=config.Auth(tokens=TOKENS)) as api:
        yield api


@pytest.fixture(params=doors.CARRIES)
def open_bridge(request: pytest.FixtureRequest) -> Callable[..., AbstractAsyncContextManager[doors.Bridge]]:
    """The doors, over each way of carrying bytes."""
    return partial(doors.open_bridge, carry=request.param)


@pytest.fixture
async def bridge(open_bridge: Callable[..., AbstractAsyncContextManager[Any]]) -> AsyncIterator[Any]:
    """The same, open."""
    async with open_bridge() as bridge:
        yield bridge
