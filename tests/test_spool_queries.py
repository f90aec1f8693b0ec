"""What every statement costs, by the database's own plan: none of them reads through the lanes."""

import re

import pytest

from mcp_ilert.spool.connection import connect, queries

BY_ID = {"lanes", "all_lanes"}
"""Pages in the order of their ids, for people and for the audit."""


@pytest.mark.parametrize("name", sorted(queries()))
def test_no_statement_scans_or_sorts_the_lanes(name: str) -> None:
    connection = connect(":memory:")
    sql = queries()[name]
    numbered = [int(number) for number in re.findall(r"\?(\d)", sql)]
    values = (None,) * (max(numbered) if numbered else sql.count("?"))
    plan = [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    if name in BY_ID:
        assert plan == ["SEARCH lane USING INTEGER PRIMARY KEY (rowid>?)"]
        return
    assert not [step for step in plan if step.startswith("SCAN lane")]
    if name != "leased":  # never more than max_in_flight rows
        assert not [step for step in plan if "TEMP B-TREE" in step]
