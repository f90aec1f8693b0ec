"""When certificates expire, as the metric says: against a library that reads all of X.509."""

import datetime as dt
import math

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_ilert.doors.certificates import validity_of
from mcp_ilert.metrics import Metrics

AUTHORITY = trustme.CA()


def issued(until, since=None):
    made = AUTHORITY.issue_cert("a.example", not_before=since, not_after=until)
    return b"".join(blob.bytes() for blob in made.cert_chain_pems)


SAMPLE = issued(dt.datetime(2030, 1, 1, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    "year", [2001, 2026, 2049, 2050, 2100]
)  # from 2050 on, DER writes times in another form
def test_the_end_of_its_validity_is_read(year):
    until = dt.datetime(year, 2, 28, 23, 59, 58, tzinfo=dt.UTC)
    assert validity_of(issued(until)).ends == until.timestamp()


def test_of_several_the_first_counts():
    days = [dt.datetime(2030, 1, day, tzinfo=dt.UTC) for day in (3, 1, 2)]
    assert validity_of(b"# a comment\n" + b"\n".join(map(issued, days))).ends == days[1].timestamp()


def test_a_certificate_is_good_from_its_first_second_to_its_last():
    begins, ends = (dt.datetime(2030, 1, day, 12, tzinfo=dt.UTC) for day in (1, 3))
    validity = validity_of(issued(ends, begins))
    assert (validity.begins, validity.ends) == (begins.timestamp(), ends.timestamp())
    assert validity.flaw(begins.timestamp() - 1) == "is not valid yet"
    assert validity.flaw(begins.timestamp()) is None
    assert validity.flaw(ends.timestamp()) is None
    assert validity.flaw(ends.timestamp() + 1) == "has expired"
    assert validity.words == ("2030-01-01T12:00:00Z", "2030-01-03T12:00:00Z")
    assert validity_of(b"").flaw(0.0) is None


def test_a_chain_is_valid_while_all_of_it_is():
    first, second, third, last = (dt.datetime(2030, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3, 4))
    validity = validity_of(issued(third, first) + issued(last, second))
    assert (validity.begins, validity.ends) == (second.timestamp(), third.timestamp())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_is_no_certificate_never_expires_and_breaks_nothing(data):
    pem = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 5))):
        pem[data.draw(st.integers(0, len(pem) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(validity_of(bytes(pem)).ends, float)
    assert validity_of(data.draw(st.binary(max_size=200))).ends == math.inf


def test_the_metric_counts_down_and_is_infinite_without_one(monkeypatch):
    metrics = Metrics()

    def left(name):
        labels = {"certificate": name}
        return metrics.registry.get_sample_value("mcp_tls_certificate_expiry_seconds", labels)

    monkeypatch.setattr("mcp_ilert.metrics.time.time", lambda: 1_000.0)
    assert left("server") == left("client_ca") == math.inf
    metrics.use_certificates(1_500.0)
    assert (left("server"), left("client_ca")) == (500.0, math.inf)
    metrics.use_certificates()
    assert left("server") == math.inf
