"""The native dialect: what is taken, what is refused and how it says so, and that nothing else can ever come out."""

import json

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_ilert.decode.native import check, decode_event
from mcp_ilert.decode.text import check_text
from mcp_ilert.errors import InvalidEventError, MalformedError
from mcp_ilert.events import Link

MINIMAL = {"mcp_id": "a", "source": "b", "summary": "c"}


def text(**fields):
    return json.dumps({**MINIMAL, **fields}).encode()


def both(payload):
    """What the doors and the delivery make of it, which is the same but for `extra`."""
    event, whole = check(payload), decode_event(payload)
    plain, full = (msgspec.structs.asdict(one) for one in (event, whole))
    for found in (plain, full):
        found.pop("extra")
        if isinstance(found["details"], msgspec.Raw):
            found["details"] = bytes(found["details"])
    assert plain == full
    return whole


def refusal(payload):
    with pytest.raises(InvalidEventError) as caught:
        check(payload)
    with pytest.raises(InvalidEventError) as again:
        decode_event(payload)
    assert caught.value.detail == again.value.detail
    return caught.value.detail


def test_every_field_is_read():
    event = both(
        text(
            priority=3,
            details="d",
            tags=["t", "u"],
            status="acknowledged",
            timestamp="2026-01-31T23:59:59.123456789+05:30",
            links=[{"href": "https://x", "text": "X"}, {"href": "https://y", "text": None}],
            labels={"k": "v"},
        )
    )
    assert (event.mcp_id, event.source, event.summary, event.priority) == ("a", "b", "c", 3)
    assert (event.details, event.tags, event.status) == ("d", ("t", "u"), "acknowledged")
    assert event.timestamp == "2026-01-31T23:59:59.123456789+05:30"
    assert event.links == (Link("https://x", "X"), Link("https://y"))
    assert event.labels == {"k": "v"}
    assert event.extra == {}


def test_null_and_absence_are_the_same():
    nulls = dict.fromkeys(["priority", "details", "tags", "status", "timestamp", "links", "labels"])
    assert both(text(**nulls)) == both(text())


def test_an_object_of_details_keeps_its_text():
    event = both(text()[:-1] + b', "details": {"n": 1.50,  "n": 2}}')
    assert isinstance(event.details, msgspec.Raw)
    assert bytes(event.details) == b'{"n": 1.50,  "n": 2}'


def test_unknown_fields_keep_their_text():
    event = both(text()[:-1] + b', "big":123456789012345678901234567890.0, "severity": "low", "n": null}')
    assert {name: bytes(raw) for name, raw in event.extra.items()} == {
        "big": b"123456789012345678901234567890.0",
        "severity": b'"low"',
        "n": b"null",
    }
    assert event.severity is None


def test_what_a_link_cannot_hold_is_kept_with_the_unknown_fields():
    event = both(text()[:-1] + b',"links":[{"href":"h","icon":"i"}]}')
    assert event.links == (Link("h"),)
    assert bytes(event.extra["links"]) == b'[{"href":"h","icon":"i"}]'


@pytest.mark.parametrize(
    "last",
    [
        b'"priority":"x","priority":1',
        b'"priority":99999999999999999999,"priority":1',
        b'"status":7,"status":"firing"',
        b'"status":"x","status":"firing"',
        b'"tags":"x","tags":["t"]',
        b'"labels":{"a":1,"a":"b"}',
        b'"links":[{"href":1,"href":"h"}]',
        b'"details":[],"details":"d"',
        b'"timestamp":5,"timestamp":"2026-01-01T00:00:00Z"',
        b'"timestamp":"never","timestamp":null',
        b'"mcp_id":{},"mcp_id":"z"',
        b'"mcp_\\u0069d":5,"mcp_id":"z"',
    ],
)
def test_of_duplicate_keys_the_last_wins_whatever_the_first_was(last):
    both(text()[:-1] + b"," + last + b"}")


def test_of_duplicate_keys_the_last_loses_too():
    assert refusal(text(priority=1)[:-1] + b',"priority":"x"}') == "$.priority: expected int, got str"
    assert refusal(text(details="d")[:-1] + b',"details":5}') == "$.details: expected str or object, got int"


def test_an_escaped_key_is_the_key():
    assert both(b'{"\\u006dcp_id":"a","source":"b","summary":"c"}').mcp_id == "a"


@pytest.mark.parametrize("number", [0, -1, 2**63 - 1, -(2**63)])
def test_a_priority_has_64_bits(number):
    assert both(text(priority=number)).priority == number


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**400, 10**4000])
def test_a_priority_beyond_64_bits_is_refused(number):
    assert refusal(text(priority=number)) == "$.priority: expected an integer within 64 bits"


@pytest.mark.parametrize("number", [b"1.0", b"1e0", b"1E400", b"-0.5"])
def test_a_priority_is_no_float(number):
    assert refusal(text()[:-1] + b',"priority":' + number + b"}") == "$.priority: expected int, got float"


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-31T23:59:59Z",
        "2026-01-31t23:59:59z",
        "2026-01-31 23:59:59+00:00",
        "2016-12-31T23:59:60Z",
        "0000-02-29T00:00:00Z",
        "2024-02-29T00:00:00.5-23:59",
    ],
)
def test_rfc_3339_is_taken_and_kept_as_text(moment):
    assert both(text(timestamp=moment)).timestamp == moment


@pytest.mark.parametrize(
    "moment",
    [
        "",
        "yesterday",
        "2026-01-31",
        "2026-01-31T23:59:59",
        "2026-01-31T24:00:00Z",
        "2026-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2026-01-31T23:60:59Z",
        "2026-01-31T23:59:61Z",
        "2026-01-31T23:59:59+24:00",
        "2026-01-31T23:59:59.Z",
        "2026-01-31T23:59:59Z\n",
        "２０２６-01-31T23:59:59Z",
        "x" * 5000,
    ],
)
def test_anything_else_is_no_timestamp(moment):
    detail = refusal(text(timestamp=moment))
    assert detail.startswith("$.timestamp: expected RFC 3339")
    assert len(detail) < 250


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        ({"mcp_id": "ä" * 255}, True),
        ({"mcp_id": "ä" * 256}, False),
        ({"source": "😀" * 255}, True),
        ({"source": "😀" * 256}, False),
        ({"summary": "ß" * 1024}, True),
        ({"summary": "ß" * 1025}, False),
        ({"tags": ["t"] * 64}, True),
        ({"tags": ["t"] * 65}, False),
        ({"labels": {str(n): "v" for n in range(64)}}, True),
        ({"labels": {str(n): "v" for n in range(65)}}, False),
        ({"links": [{"href": "h"}] * 64}, True),
        ({"links": [{"href": "h"}] * 65}, False),
        ({"links": [{"href": ""}]}, False),
        ({"links": ["h"]}, False),
        ({"labels": {"a": None}}, False),
        ({"tags": [None]}, False),
    ],
)
def test_bounds_are_in_characters_and_pieces(fields, accepted):
    if accepted:
        both(text(**fields))
    else:
        assert refusal(text(**fields)).startswith(f"$.{next(iter(fields))}")


@pytest.mark.parametrize("nul", [b'"a\\u0000b"', b'["\\u0000"]', b'{"\\u0000":1}', b'"\\\\\\u0000"'])
def test_a_nul_is_refused_wherever_it_stands(nul):
    assert "NUL" in refusal(text()[:-1] + b',"x":' + nul + b"}")


def test_a_backslash_before_u0000_is_no_nul():
    assert both(text(x="\\u0000")).extra


# Text ------------------------------------------------------------------------------------------------------------


def depth(number):
    return b"[" * number + b"]" * number


@pytest.mark.parametrize(
    "body",
    [
        depth(64),
        b"[" + b",".join([depth(63)] * 500) + b"]",
        b'{"a":"' + b"[" * 1000 + b'"}',
        b'{"a":"\\"' + b"[" * 1000 + b'"}',
        b'["\\ud83d\\ude00", "\\\\ud800", "\\u00e4"]',
        "😀äß\u2028".encode(),
    ],
)
def test_text_that_is_taken(body):
    check_text(body)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (depth(65), "64 levels"),
        (b"[" + b",".join([depth(64)] * 500) + b"]", "64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "64 levels"),
        (b'["\\\\",' + depth(64) + b"]", "64 levels"),
        (b"[" * 1_000_000, "64 levels"),
        (depth(500_000), "64 levels"),
        (b'"\\ud800"', "surrogate"),
        (b'"\\udfff"', "surrogate"),
        (b'"\\ud800\\ud800\\udc00"', "surrogate"),
        (b'"\\ud800\\u0041"', "surrogate"),
        (b'"\\ud800x\\udc00"', "surrogate"),
        (b'"\\\\\\uD800"', "surrogate"),
        (b"\xff", "UTF-8"),
        (b'"\xc0\x80"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\xf4\x90\x80\x80"', "UTF-8"),
    ],
)
def test_text_that_is_refused(body, detail):
    with pytest.raises(MalformedError, match=detail):
        check_text(body)


# Whatever is sent ------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    [
        "mcp_id",
        "source",
        "summary",
        "priority",
        "details",
        "tags",
        "status",
        "timestamp",
        "links",
        "labels",
        "severity",
    ]
)
wild_fields = st.lists(st.tuples(names | st.text(max_size=5), values), max_size=6)


def checked_and_decoded(payload):
    check_text(payload)
    return decode_event(payload)


def attempt(payload):
    """Takes the text as a door would; then the delivery must take it, too. None where it is refused."""
    try:
        check_text(payload)
        event = check(payload)
    except (InvalidEventError, MalformedError) as error:
        with pytest.raises(type(error)):
            checked_and_decoded(payload)
        return None
    whole = decode_event(payload)
    assert (whole.mcp_id, whole.priority, whole.status) == (event.mcp_id, event.priority, event.status)
    return whole


@given(st.binary(max_size=200))
@example(b"")
@example(b'{"\\')
def test_random_bytes_raise_our_errors_only(payload):
    attempt(payload)


@settings(max_examples=300)
@given(wild_fields, st.booleans())
def test_wild_fields_raise_our_errors_only_and_what_is_taken_is_delivered(fields, ascii_only):
    pairs = [*MINIMAL.items(), *fields]
    dump = lambda value: json.dumps(value, ensure_ascii=ascii_only)  # noqa: E731 - a name for one call
    payload = ("{" + ",".join(f"{dump(name)}:{dump(value)}" for name, value in pairs) + "}").encode(
        "utf-8", "surrogatepass"
    )
    whole = attempt(payload)
    if whole is not None:
        last = dict(pairs)
        for name, raw in whole.extra.items():
            assert json.loads(bytes(raw)) == last[name]


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_event_raises_our_errors_only(data):
    payload = bytearray(
        text(priority=1, tags=["t"], labels={"a": "b"}, links=[{"href": "h"}], x={"y": [1.5, "\u20ac"]})
    )
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(payload) - 1))
        piece = data.draw(
            st.sampled_from([b"", b'"', b"\\", b"\\u", b"[", b"}", b"\xff", b"0", b",", b"null", b"e9"])
        )
        payload[position : position + data.draw(st.integers(0, 3))] = piece
        if not payload:
            break
    attempt(bytes(payload))


@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,60})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,5})?\Z"))
def test_numbers_in_unknown_fields_keep_their_digits(number):
    payload = text()[:-1] + b',"n":' + number.encode() + b"}"
    check(payload)
    assert bytes(decode_event(payload).extra["n"]) == number.encode()
