"""Fixtures that tests share. Helpers that a test imports live beside this file (`fast.py`, `api_world.py`)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
