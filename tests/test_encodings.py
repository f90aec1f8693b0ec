"""Compressed bodies: inflated in bounded pieces, and refused where they are not what they say."""

import contextlib
import gzip
import json
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doors import BODY, DOORS, Client, Door, event, open_bridge
from mcp_ilert.errors import MalformedError, TooLargeError
from mcp_ilert.intake import Limits
from mcp_ilert.problems import RequestError
from mcp_ilert.web.encodings import MOST_PARTS, PIECE, encoding_of, inflated, zstd
from mcp_ilert.web.receiving import INFLATING, Receiver

LIMIT = 1_000_000
PACK: dict[str, Callable[..., bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
both = pytest.mark.parametrize("encoding", PACK)


def whole(body, encoding, limit=LIMIT):
    return b"".join(inflated(body, encoding, limit))


@both
@given(texts=st.lists(st.binary(max_size=300), min_size=1, max_size=4), times=st.sampled_from([1, 700]))
def test_what_was_packed_comes_out(encoding, texts, times):
    packed = b"".join(PACK[encoding](text * times) for text in texts)  # several members, or frames
    assert whole(packed, encoding) == b"".join(text * times for text in texts)


@both
def test_a_bomb_costs_no_more_than_its_limit(encoding):
    packed = PACK[encoding](bytes(200_000_000))
    sizes: list[int] = []
    with pytest.raises(TooLargeError, match="1000000 bytes"):
        sizes.extend(len(piece) for piece in inflated(packed, encoding, LIMIT))
    assert sum(sizes) <= LIMIT
    assert max(sizes) <= PIECE
    assert len(whole(PACK[encoding](bytes(LIMIT)), encoding)) == LIMIT


@both
@given(data=st.data())
def test_a_body_cut_short_is_refused(encoding, data):
    packed = PACK[encoding](BODY)
    with pytest.raises(MalformedError):
        whole(packed[: data.draw(st.integers(0, len(packed) - 1))], encoding)


@both
@given(data=st.data())
def test_a_damaged_body_is_refused_or_read_and_nothing_else(encoding, data):
    packed = bytearray(PACK[encoding](BODY * 5))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(MalformedError, TooLargeError):
        whole(bytes(packed), encoding)


@both
def test_what_follows_the_end_is_refused(encoding):
    for rest in (b"x", b"\0" * 20, BODY):
        with pytest.raises(MalformedError):
            whole(PACK[encoding](BODY) + rest, encoding)


@both
def test_empty_parts_without_end_are_refused(encoding):
    with pytest.raises(MalformedError, match="parts"):
        whole(PACK[encoding](b"") * (MOST_PARTS + 1), encoding)


def test_a_frame_that_asks_for_a_large_window_is_refused():
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 25,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd.ZstdCompressor(options=options)
    packed = packer.compress(BODY) + packer.flush()
    with pytest.raises(MalformedError, match="not zstd"):
        whole(packed, "zstd")


def test_raw_deflate_is_not_gzip():
    with pytest.raises(MalformedError, match="not gzip"):
        whole(zlib.compress(BODY), "gzip")


@pytest.mark.parametrize("named", [[], [""], ["identity"], [" Identity "]])
def test_no_encoding(named):
    assert encoding_of(named) is None


@pytest.mark.parametrize("named", [["br"], ["deflate"], ["gzip, gzip"], ["gzip", "zstd"], ["identity, gzip"]])
def test_other_encodings_and_several_are_refused(named):
    with pytest.raises(RequestError) as refused:
        encoding_of(named)
    assert (refused.value.status, refused.value.headers) == (415, {"Accept-Encoding": "gzip, zstd"})


async def test_what_is_left_before_its_end_gives_its_place_back():
    receiver = Receiver()
    for _ in range(3 * INFLATING):
        async with contextlib.aclosing(
            receiver.decoded(gzip.compress(bytes(LIMIT)), "gzip", LIMIT)
        ) as pieces:
            async for _piece in pieces:
                break
    assert receiver.inflating.borrowed_tokens == 0


# At the doors ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=DOORS, ids=lambda door: door.name)
def door(request) -> Door:
    found: Door = request.param
    return found


async def test_compressed_bodies_are_taken_at_every_door(door):
    lines = b"\n".join(event(mcp_id=f"e{i}") for i in range(50))
    async with door.open() as bridge, door.client(bridge) as client:
        for encoding, pack in PACK.items():
            headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
            assert (await client.send(body=pack(BODY), headers=headers)).json == {"accepted": 1}
            assert (await client.send(body=pack(b"[" + BODY + b",5]"), headers=headers)).json["accepted"] == 1
            headers["Content-Type"] = "application/x-ndjson"
            assert (await client.send(body=pack(lines), headers=headers)).json == {"accepted": 50}
        assert (await client.send(body=BODY, headers={"Content-Type": "application/json"})).status == 202
        assert bridge.count(door.label, "accepted") == 105
        payloads = {entry.payload for put in bridge.spool.puts for entry in put}
    assert BODY in payloads


async def test_what_is_wrong_with_a_compressed_body_is_told_and_leaves_the_connection_usable(door):
    json_type = {"Content-Type": "application/json"}
    async with door.open(limits=Limits(max_body_bytes=10_000)) as bridge, door.client(bridge) as client:
        for body, encoding, status in [
            (gzip.compress(bytes(50_000)), "gzip", 413),
            (zstd.compress(bytes(50_000)), "zstd", 413),
            (gzip.compress(BODY)[:-3], "gzip", 400),
            (BODY, "zstd", 400),
            (gzip.compress(gzip.compress(BODY)), "gzip", 400),
            (gzip.compress(BODY), "gzip, gzip", 415),
            (BODY, "br", 415),
        ]:
            answer = await client.send(body=body, headers={**json_type, "Content-Encoding": encoding})
            assert answer.status == status, (encoding, answer)
            assert json.loads(answer.body)["status"] == status
            if status == 415:
                assert answer.headers["accept-encoding"] == "gzip, zstd"
        answer = await client.send(
            body=gzip.compress(BODY), headers={**json_type, "Content-Encoding": "x-gzip"}
        )
        assert answer.status == 202


async def test_a_body_that_is_too_large_on_the_wire_is_refused_before_it_is_inflated():
    async with (
        open_bridge(limits=Limits(max_body_bytes=1_000)) as bridge,
        Client(bridge.port, http2=False) as client,
    ):
        noise = gzip.compress(bytes(range(256)) * 20, 0)
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        answer = await client.send(body=noise, headers=headers)
        assert (answer.status, answer.json["detail"]) == (
            413,
            "the body is larger than 1000 bytes (listen.max_body_bytes)",
        )
