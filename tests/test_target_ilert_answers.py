"""The total table of answers: nothing a server or a network may do is without an outcome."""

import errno
import gzip
import inspect
import socket

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilert_world import T0
from mcp_ilert.events import Delivered, Refused, Rejected, Suspect, Throttled, Unavailable
from mcp_ilert.targets.answers import (
    MAX_BODY_BYTES,
    MAX_DETAIL,
    Answer,
    classify,
    decoded,
    error_code,
    retry_after,
)
from mcp_ilert.targets.failures import NEVER_SENT, failed

CODED = b'{"status":403,"message":"bad key","code":"KEY_ERROR"}'
HTML = b"<html><body><h1>Forbidden</h1></body></html>"


def expected(status: int, *, coded: bool) -> type:
    if 200 <= status < 300:
        return Delivered
    if status in {401, 402} or (status in {403, 404} and coded):
        return Refused
    if status in {403, 404}:
        return Suspect
    if status == 429:
        return Throttled
    if status in {408, 425} or status >= 500 or status < 200:
        return Unavailable
    return Rejected


@pytest.mark.parametrize("coded", [True, False])
@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_its_outcome(status: int, coded: bool) -> None:
    outcome = classify(Answer(status, {}, CODED if coded else HTML), T0)
    assert type(outcome) is expected(status, coded=coded)
    if isinstance(outcome, Unavailable):
        assert outcome.certain is (status in {408, 425}), "only a 4xx is certain not to have been applied"
        assert outcome.status == status
    elif not isinstance(outcome, Throttled):
        assert outcome.status == status


@given(st.integers(-(10**6), 10**6), st.binary(max_size=300), st.dictionaries(st.text(), st.text()))
def test_no_answer_is_without_an_outcome(status: int, body: bytes, headers: dict[str, str]) -> None:
    assert classify(Answer(status, headers, body), T0) is not None


HTTPX_ERRORS = sorted(
    (
        kind
        for _, kind in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(kind, Exception) and kind is not httpx.HTTPStatusError
    ),
    key=lambda kind: kind.__name__,
)
CERTAIN = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}


def made(kind: type[Exception]) -> Exception:
    parameters = inspect.signature(kind.__init__).parameters
    return kind("http://user:secret@host") if "message" in parameters else kind.__new__(kind)


def test_the_table_below_covers_every_error_of_httpx() -> None:
    assert {"ReadTimeout", "ReadError", "RemoteProtocolError", *CERTAIN} <= {k.__name__ for k in HTTPX_ERRORS}
    assert {kind.__name__ for kind in NEVER_SENT} == CERTAIN


@pytest.mark.parametrize("kind", HTTPX_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_httpx_is_unavailable_and_certain_only_if_nothing_left(kind: type[Exception]) -> None:
    outcome = failed(made(kind))
    assert outcome.certain is (kind.__name__ in CERTAIN)
    assert outcome.status is None
    assert "secret" not in outcome.reason


def test_a_reason_reads_as_words() -> None:
    assert failed(httpx.ConnectTimeout("x")).reason == "connect timeout"


def test_a_reason_has_the_cause_in_the_words_of_the_system_and_no_address() -> None:
    tried = ExceptionGroup("", [OSError(errno.EHOSTUNREACH, "connecting to ('10.0.0.1', 443) with secret")])
    for cause, words in (
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (tried, "No route to host"),
        (ValueError("http://secret@host"), ""),
    ):
        error = httpx.ConnectError("all attempts to connect to secret:443 failed")
        error.__cause__ = cause
        assert failed(error).reason == "connect error" + (f" ({words})" if words else "")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (CODED, "KEY_ERROR"),
        (HTML, None),
        (b"", None),
        (b"[]", None),
        (b'"code"', None),
        (b'{"code":null}', None),
        (b'{"code":""}', None),
        (b'{"code":403}', None),
        (b'{"code":"X"', None),
        (b"\xff\xfe", None),
        (b"[" * 60_000, None),
        (b'{"a":' * 10_000, None),
    ],
)
def test_a_code_is_found_in_json_only(body: bytes, code: str | None) -> None:
    assert error_code(body) == code


def test_the_detail_tells_code_and_message() -> None:
    assert classify(Answer(401, {}, CODED), T0) == Refused(401, "KEY_ERROR: bad key")


def test_the_detail_of_a_page_is_its_text_in_one_short_line() -> None:
    outcome = classify(Answer(400, {}, b"<h1>\n\tBad\x00\x1b[31m  " + b"x" * 5000), T0)
    assert isinstance(outcome, Rejected)
    assert outcome.detail.startswith("<h1> Bad [31m xxx")
    assert len(outcome.detail) == MAX_DETAIL


@given(st.binary(max_size=500), st.integers(400, 499))
def test_a_key_never_shows_in_a_detail(around: bytes, status: int) -> None:
    body = around + b"key il1-very-secret is unknown" + around
    outcome = classify(Answer(status, {"correlation-id": "il1-very-secret"}, body), T0, ("il1-very-secret",))
    assert "very-secret" not in repr(outcome)


def test_the_correlation_id_is_kept_in_bounds() -> None:
    outcome = classify(Answer(202, {"correlation-id": "c\n" + "x" * 999}), T0)
    assert isinstance(outcome, Delivered)
    assert outcome.correlation_id is not None
    assert len(outcome.correlation_id) == 128
    assert outcome.correlation_id.isprintable()
    assert classify(Answer(202), T0) == Delivered(202, None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("17", 17.0),
        (" 0 ", 0.0),
        ("9" * 50, 999_999_999.0),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 08:01:00", 60.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("١٢", None),
        ("Fri, 99 Jan 99999 99:99:99 GMT", None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, T0) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_is_a_mistake(value: str | None) -> None:
    seconds = retry_after(value, T0)
    assert seconds is None or seconds >= 0


def test_a_coded_body_is_decoded_in_bounds() -> None:
    assert decoded(gzip.compress(CODED), "gzip") == CODED
    assert len(decoded(gzip.compress(bytes(50_000_000)), " GZIP ")) == MAX_BODY_BYTES
    assert decoded(b"not gzip", "gzip") == b""
    assert decoded(b"x", "br") == b""
    assert decoded(CODED, "") == decoded(CODED, "identity") == CODED
