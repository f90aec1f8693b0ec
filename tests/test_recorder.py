"""Recording traffic: complete, bounded, never in the way, and simulated again."""

import json
import os
import signal
import threading
from functools import partial

import click.testing
import httpx
import pytest
import trio

from bridge import event, running, spawned, until, write_config
from mcp_ilert.cli import cli
from mcp_ilert.decode.converted import event_text
from mcp_ilert.errors import StartError
from mcp_ilert.events import Entry, Kind, Severity
from mcp_ilert.sandbox import SandboxIlert
from mcp_ilert.sandbox.server import open_sandbox
from mcp_ilert.service.recorder import Recorder, line

NOW_MS = 1_800_000_000_042


class Lost:
    def __init__(self):
        self.events = 0

    def inc(self, amount=1):
        self.events += amount


def entry(payload: bytes = b'{"mcp_id":"a"}') -> Entry:
    return Entry(NOW_MS, Kind.ALERT, Severity.HIGH, "default", "a", payload)


def recorded(path):
    return [json.loads(text) for text in path.read_bytes().splitlines()]


def test_an_event_is_a_line_with_its_time_and_its_text_as_received():
    assert line(entry(b'{"mcp_id": 1.50}')) == b'{"at":1800000000.042,"event":{"mcp_id": 1.50}}\n'


def test_what_a_webhook_became_is_told_apart():
    text = line(entry(event_text("a", "b", "c", severity="page")))
    found = json.loads(text)
    assert found["webhook"] is True
    assert found["event"]["severity"] == "page"
    assert "webhook" not in json.loads(line(entry(b'{"severity":"page"}')))


def test_an_event_over_several_lines_becomes_one_with_the_same_meaning():
    text = line(entry(b'{\r\n "mcp_id":\n "a\\nb"}'))
    assert text.count(b"\n") == 1
    assert json.loads(text)["event"] == {"mcp_id": "a\nb"}


def test_what_is_added_is_written_in_order_and_appended_at_the_next_start(tmp_path):
    path = tmp_path / "t.ndjson"
    for start in range(2):
        recorder = Recorder(path, Lost())
        recorder.add([entry(b'{"n":%d}' % (start * 10 + i)) for i in range(3)])
        recorder.close()
    assert [r["event"]["n"] for r in recorded(path)] == [0, 1, 2, 10, 11, 12]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_left_half_is_taken_off(tmp_path):
    path = tmp_path / "t.ndjson"
    path.write_bytes(line(entry()) + b'{"at":18000')
    recorder = Recorder(path, Lost())
    recorder.add([entry()])
    recorder.close()
    assert len(recorded(path)) == 2


def test_a_full_file_is_renamed_and_only_the_newest_two_are_kept(tmp_path):
    path = tmp_path / "t.ndjson"
    for n in range(5):
        recorder = Recorder(path, Lost(), most_bytes=1)
        recorder.add([entry(b'{"n":%d}' % n)])
        recorder.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.ndjson", "t.ndjson.1"]
    assert [recorded(p)[0]["event"]["n"] for p in (path.with_name("t.ndjson.1"), path)] == [3, 4]


def test_what_the_disk_does_not_keep_up_with_is_counted_and_not_waited_for(tmp_path, monkeypatch):
    lost, stuck = Lost(), threading.Event()
    recorder = Recorder(tmp_path / "t.ndjson", lost, most_queued_bytes=100)
    reached = threading.Event()
    write = recorder._write

    def slow(text):
        reached.set()
        stuck.wait(30)
        write(text)

    monkeypatch.setattr(recorder, "_write", slow)
    recorder.add([entry()])
    assert reached.wait(30)
    for _ in range(50):
        recorder.add([entry()])
    stuck.set()
    recorder.close()
    assert lost.events > 0
    assert lost.events + len(recorded(recorder.path)) == 51


def test_a_failing_disk_loses_the_recording_and_no_half_line_stays(tmp_path, monkeypatch):
    lost = Lost()
    recorder = Recorder(tmp_path / "t.ndjson", lost)
    calls = []

    def failing(_file, view):
        calls.append(1)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(_file, view[:5])

    real = os.write
    monkeypatch.setattr(os, "write", failing)
    recorder.add([entry(), entry()])
    recorder.close()
    assert lost.events == 2
    assert recorder.path.read_bytes() == b""


def test_nothing_is_recorded_on_a_disk_that_the_spool_needs(tmp_path):
    lost = Lost()
    recorder = Recorder(tmp_path / "t.ndjson", lost, min_free_bytes=1 << 60)
    recorder.add([entry()])
    recorder.close()
    assert lost.events == 1


def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path):
    with pytest.raises(StartError, match=r"listen.record: .* cannot be written"):
        Recorder(tmp_path / "none" / "t.ndjson", Lost())


# A running bridge ------------------------------------------------------------------------------------------


async def post(url, *events, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.post(f"{url}/events", json=list(events), headers=headers)).status_code


async def test_what_a_bridge_recorded_is_simulated_again_and_bears_no_secret(tmp_path):
    token = "a-token-that-nobody-shall-read"
    path = tmp_path / "traffic.ndjson"
    async with open_sandbox(SandboxIlert(), "127.0.0.1") as ilert:
        sections = {"listen": {"record": str(path)}, "auth": {"tokens": [{"name": "p", "token": token}]}}
        config = write_config(tmp_path, ilert.url, **sections)
        async with running(config) as bridge:
            assert await post(bridge.url, event("a", priority=1), event("b"), token=token) == 202
            assert await post(bridge.url, event("never"), token="wrong") == 401
            assert await post(bridge.url, {"mcp_id": "never"}, token=token) == 422
            assert await post(bridge.url, event("c"), token=token) == 202
            assert await bridge.metric("mcp_record_lost_total") == 0
            bridge.process.terminate()
            assert await bridge.exit_code() == 0
    assert [r["event"] for r in recorded(path)] == [event("a", priority=1), event("b"), event("c")]
    text = path.read_text()
    assert token not in text
    assert "sandbox-key" not in text
    result = await trio.to_thread.run_sync(
        partial(
            click.testing.CliRunner().invoke,
            cli,
            ["simulate", "--config", str(config), "--json", str(path)],
        )
    )
    report = json.loads(result.stdout)
    assert {page["key"] for page in report["pages"]} == {"a", "b", "c"}
    assert report["conservation_error"] == 0


async def test_a_reload_begins_and_ends_a_recording(tmp_path):
    path = tmp_path / "traffic.ndjson"
    async with open_sandbox(SandboxIlert(), "127.0.0.1") as ilert:
        config = write_config(tmp_path, ilert.url)
        async with running(config) as bridge:
            for n, record in enumerate((None, str(path), None)):
                write_config(tmp_path, ilert.url, listen={"record": record})
                bridge.signal(signal.SIGHUP)
                await bridge.logged("configuration reloaded", times=n + 1)
                assert await post(bridge.url, event(f"e{n}")) == 202
            await until(lambda: path.read_bytes().count(b"\n") == 1)
    assert [r["event"]["mcp_id"] for r in recorded(path)] == ["e1"]


async def test_a_bridge_that_cannot_record_says_so_and_does_not_start(tmp_path):
    config = write_config(
        tmp_path, "http://127.0.0.1:9", listen={"record": str(tmp_path / "no" / "t.ndjson")}
    )
    async with spawned(["serve", "--config", str(config)]) as bridge:
        assert await bridge.exit_code() == 1
        with trio.fail_after(30):
            while not bridge.plain:  # noqa: ASYNC110 - the pipe's last line may come after the end
                await trio.sleep(0.01)
    assert "listen.record" in bridge.plain[0]
