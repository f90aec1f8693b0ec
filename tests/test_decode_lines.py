"""Lines out of chunks, however the chunks are cut."""

from hypothesis import example, given
from hypothesis import strategies as st

from mcp_ilert.decode.lines import OVERLONG, Lines

LIMIT = 8
TEXTS = st.lists(
    st.sampled_from([b"", b" ", b"\t\r", b"a", b"12345678", b"123456789", b" 12345678  ", b"x" * 40])
)


def split_at_once(text):
    """What the contract says, on the whole text."""
    lines = [line.strip(b" \t\r") for line in text.split(b"\n")]
    return [OVERLONG if len(line) > LIMIT else line for line in lines if line]


@given(TEXTS.map(b"\n".join), st.lists(st.integers(1, 12), min_size=1))
@example(b" " * 100, [1])
@example(b" " * 30 + b"a" + b" " * 5 + b"\nb", [3])
def test_lines_do_not_depend_on_how_the_chunks_are_cut(text, sizes):
    lines = Lines(LIMIT)
    found = []
    position = turn = 0
    while position < len(text):
        size = sizes[turn % len(sizes)]
        found += lines.feed(text[position : position + size])
        position += size
        turn += 1
    assert found + lines.end() == split_at_once(text)


def test_a_line_without_end_is_never_held():
    lines = Lines(LIMIT)
    for _ in range(1000):
        assert lines.feed(b"x" * 1000) == []
    assert lines.feed(b"\nok\n") == [OVERLONG, b"ok"]


def test_white_space_without_end_is_never_held_either():
    lines = Lines(LIMIT)
    for _ in range(1000):
        lines.feed(b" " * 1000)
        assert lines.held <= 2 * LIMIT
    lines.feed(b"x")
    for _ in range(1000):
        lines.feed(b" " * 1000)
        assert lines.held <= 2 * LIMIT
    assert lines.feed(b"\n") == [OVERLONG]
