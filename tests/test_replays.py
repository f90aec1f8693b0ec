"""A signed message is taken once by a bridge that is killed and started again: real processes, real signals."""

import base64
import hmac
import json
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge import Bridge, running, write_config
from mcp_ilert.sandbox import Options, SandboxIlert
from mcp_ilert.sandbox.server import open_sandbox
from mcp_ilert.spool.view import SpoolView

KEY = b"k" * 24


def configured(folder: Path, url: str) -> Path:
    return write_config(
        folder,
        url,
        auth={"webhook_secrets": ["whsec_" + base64.b64encode(KEY).decode()]},
        webhooks={"shop": {"event": {"mcp_id": "id", "summary": "title"}, "each": "items"}},
    )


async def post(bridge: Bridge, message: str, **more: Any) -> Any:
    body = json.dumps({"items": [{"id": message, "title": "t"}, {}], **more}).encode()
    at = str(int(time.time()))
    signature = base64.b64encode(hmac.digest(KEY, f"{message}.{at}.".encode() + body, "sha256")).decode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{signature}",
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{bridge.url}/webhooks/shop", content=body, headers=headers)
    return answer.status_code, answer.json()


def accepted(folder: Path) -> int:
    with SpoolView(folder / "spool.db") as view:
        return view.counts().accepted


async def test_a_message_that_was_answered_is_not_taken_again_after_a_kill(tmp_path: Path) -> None:
    async with open_sandbox(SandboxIlert(Options())) as sandbox:
        path = configured(tmp_path, sandbox.url)
        async with running(path) as bridge:
            status, told = await post(bridge, "msg_1")
            assert (status, told["accepted"]) == (202, 1)
            bridge.signal(signal.SIGKILL)
            await bridge.exit_code()
        async with running(path) as bridge:
            assert await post(bridge, "msg_1") == (202, {"accepted": 1, "rejected_total": 1})
            assert (await post(bridge, "msg_2"))[0] == 202
    assert accepted(tmp_path) == 2


async def test_a_message_that_was_committed_and_not_answered_is_not_taken_again(tmp_path: Path) -> None:
    async with open_sandbox(SandboxIlert(Options())) as sandbox:
        path = configured(tmp_path, sandbox.url)
        async with running(
            path, program=[str(Path(__file__).with_name("dies_before_answering.py"))]
        ) as bridge:
            with pytest.raises(httpx.TransportError):
                await post(bridge, "msg_1")
            assert await bridge.exit_code() == -signal.SIGKILL
        assert accepted(tmp_path) == 1
        async with running(path) as bridge:
            assert await post(bridge, "msg_1") == (202, {"accepted": 1, "rejected_total": 1})
    assert accepted(tmp_path) == 1


async def test_a_message_that_was_answered_503_is_taken_by_the_next_start(tmp_path: Path) -> None:
    async with open_sandbox(SandboxIlert(Options())) as sandbox:
        path = configured(tmp_path, sandbox.url)
        good = json.loads(path.read_text())
        path.write_text(json.dumps(good | {"spool": good["spool"] | {"min_free_bytes": 1 << 60}}))
        async with running(path) as bridge:
            assert (await post(bridge, "msg_1"))[0] == 503
            bridge.signal(signal.SIGKILL)
            await bridge.exit_code()
        path.write_text(json.dumps(good))
        async with running(path) as bridge:
            assert (await post(bridge, "msg_1"))[0] == 202
    assert accepted(tmp_path) == 1
