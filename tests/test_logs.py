"""What stands in the log, whatever was put into it."""

import io
import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_ilert import config, logs
from mcp_ilert.config import Secret

PLANTED = "s3cr3t-9f8e7d"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logging belongs to the process; give it back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    showwarning = warnings.showwarning
    yield
    root.handlers = handlers
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    warnings.showwarning = showwarning
    root.setLevel(level)
    for name in logs.CHATTERERS:
        logging.getLogger(name).setLevel(logging.NOTSET)


def started(level: str = "info", form: str = "json") -> io.StringIO:
    stream = io.StringIO()
    logging.getLogger().handlers = []  # pytest's own would raise where ours must not
    logs.configure(level, form, stream, lambda: 1_700_000_000.25)
    return stream


def records(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]


def test_a_record_is_one_json_object_with_time_level_and_event_first() -> None:
    stream = started()
    structlog.get_logger().info("delivered", alert_key="db-7/disk", attempt=1, status=202, latency=0.5)
    assert stream.getvalue() == (
        '{"timestamp":"2023-11-14T22:13:20.250Z","level":"info","event":"delivered",'
        '"alert_key":"db-7/disk","attempt":1,"status":202,"latency":0.5}\n'
    )


def test_text_is_for_people() -> None:
    stream = started(form="text")
    structlog.get_logger().warning("key parked", target="default", detail="a b", n=3, none=None)
    assert stream.getvalue() == (
        '2023-11-14T22:13:20.250Z warning  key parked target=default detail="a b" n=3 none=null\n'
    )


def test_levels_below_the_configured_one_are_not_written_and_a_reload_may_change_it() -> None:
    stream = started("warning")
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    logging.getLogger("lib").info("e")
    assert not logs.debugging()
    logs.configure("debug", "json", stream)
    log.debug("f")
    assert logs.debugging()
    assert [(record["event"], record["level"]) for record in records(stream)] == [
        ("c", "warning"),
        ("d", "error"),
        ("f", "debug"),
    ]


@pytest.mark.filterwarnings("always::UserWarning")
def test_the_standard_librarys_records_come_in_the_same_form() -> None:
    stream = started("debug")
    logs.configure("debug", "json", stream)
    logging.getLogger("hypercorn.error").warning("bound to %s", "x\ny")
    logging.getLogger("broken").warning("%d", "x")
    logging.getLogger("httpx").info("HTTP Request: GET https://api.ilert.com/api/…")
    logging.getLogger("httpx").warning("worth it")
    warnings.warn("careful", stacklevel=1)
    told = records(stream)
    assert [(record.get("logger"), record["level"]) for record in told] == [
        ("hypercorn.error", "warning"),
        ("broken", "warning"),
        ("httpx", "warning"),
        ("py.warnings", "warning"),
    ]
    assert told[0]["event"] == "bound to x\ny"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(told[0]["timestamp"]))
    assert "careful" in str(told[3]["event"])


def test_an_exception_stands_in_its_record() -> None:
    for form in ("json", "text"):
        stream = started(form=form)
        try:
            raise ValueError("bad\n2023-11-14T22:13:20.250Z info forged")  # noqa: TRY301 - to have a traceback
        except ValueError:
            structlog.get_logger().exception("failed")
            logging.getLogger("lib").exception("failed too")
        if form == "json":
            assert [record["level"] for record in records(stream)] == ["error", "error"]
            assert all("ValueError: bad" in str(record["exception"]) for record in records(stream))
        else:
            lines = stream.getvalue().split("\n")[:-1]
            assert [line[:2] for line in lines].count("20") == 2
            assert all(line.startswith(("2023-", "20", "  | ")) for line in lines)


def test_a_secret_is_hidden_wherever_it_stands() -> None:
    secret = Secret(PLANTED)
    for form in ("json", "text"):
        stream = started("debug", form)
        log = structlog.get_logger()
        log.info(
            "x",
            a=secret,
            b=[secret],
            c={secret: secret},
            d=config.Ilert(api_key=secret),
            e={secret},
            f=(secret,),
        )
        log.info(f"{secret}", error=ValueError(secret), kind=repr(secret))  # noqa: G004 - what must not leak
        log.info(secret)
        logging.getLogger("lib").warning("%s %r", secret, {"k": secret})
        try:
            raise ValueError(secret)  # noqa: TRY301 - to have a traceback
        except ValueError:
            log.exception("failed", key=secret)
        assert PLANTED not in stream.getvalue()
        assert stream.getvalue().count("<secret>") >= 10


def test_a_field_cannot_take_the_place_of_time_level_or_event() -> None:
    stream = started()
    structlog.get_logger().info("real", timestamp="1999", level="none")
    (record,) = records(stream)
    assert (record["event"], record["level"]) == ("real", "info")
    assert (record["timestamp_"], record["level_"]) == ("1999", "none")


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_what_json_cannot_hold_is_told_somehow_and_briefly() -> None:
    stream = started()
    cycle: list[object] = []
    cycle.append(cycle)
    structlog.get_logger().info(
        "x", nan=float("nan"), inf=float("inf"), big=1 << 70_000, raw=b"\xff\x00", bad="\ud800",
        odd=Hostile(), long="x" * 100_000, many=list(range(1000)), cycle=cycle,
        keys={1: 2, None: 3}, none=None,
    )  # fmt: skip
    (record,) = records(stream)
    assert (record["nan"], record["inf"], record["big"]) == ("nan", "inf", "a number of 70001 bits")
    assert (record["odd"], record["keys"], record["none"]) == ("<Hostile>", {"1": 2, "None": 3}, None)
    assert len(stream.getvalue()) < 20_000


values = st.recursive(
    st.text() | st.binary() | st.integers() | st.floats() | st.none() | st.booleans()
    | st.sampled_from(["\n{}", "\r\n", "\x1b[2J", "\u2028", "\x85", "\ud800", '"', "a=b c"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(event=st.text(), value=values, form=st.sampled_from(["json", "text"]))
def test_no_value_can_forge_or_hide_a_line(event: str, value: object, form: str) -> None:
    stream = io.StringIO()
    logs.configure("info", form, stream)
    structlog.get_logger().info(event, field=value)
    logging.getLogger("lib").warning("%s", event)
    written = stream.getvalue()
    assert written.endswith("\n")
    assert len(written.splitlines()) == 2
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", written)
    if form == "json":
        assert all(list(record)[:3] == ["timestamp", "level", "event"] for record in records(stream))


class BrokenPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_stream_that_fails_raises_nothing() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, BrokenPipe()):
        logs.configure("info", "json", stream)
        structlog.get_logger().info("x")
        logging.getLogger("lib").warning("x")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_record_is_json_in_every_encoding_of_stderr(encoding: str) -> None:
    raw = io.BytesIO()
    logs.configure("info", "json", io.TextIOWrapper(raw, encoding, errors="backslashreplace"))
    structlog.get_logger().info("größer 🔥")
    assert json.loads(raw.getvalue().decode(encoding))["event"] == "größer 🔥"


def test_a_reader_of_stderr_who_goes_away_does_not_end_the_process() -> None:
    program = (
        "import sys, structlog\nfrom mcp_ilert import logs\n"
        "logs.configure('info', 'json')\nsys.stdin.readline()\n"
        "for _ in range(1000): structlog.get_logger().info('x' * 1000)\nprint('done', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        process.stderr.close()
        process.stderr = None
        out, _ = process.communicate(b"go\n", timeout=60)
    assert out == b"done\n"
    assert process.returncode == 0


def test_without_a_stderr_nothing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.configure("info", "json")
    monkeypatch.setattr(sys, "stderr", None)
    structlog.get_logger().info("x")
