"""When certificates expire, as the metric says: against a library that reads all of X.509."""

import datetime as dt
import math

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_ilert.doors.certificates import expiry_of
from mcp_ilert.metrics import Metrics

AUTHORITY = trustme.CA()


def issued(until):
    return b"".join(
        blob.bytes() for blob in AUTHORITY.issue_cert("a.example", not_after=until).cert_chain_pems
    )


SAMPLE = issued(dt.datetime(2030, 1, 1, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    "year", [2001, 2026, 2049, 2050, 2100]
)  # from 2050 on, DER writes times in another form
def test_the_end_of_its_validity_is_read(year):
    until = dt.datetime(year, 2, 28, 23, 59, 58, tzinfo=dt.UTC)
    assert expiry_of(issued(until)) == until.timestamp()


def test_of_several_the_first_counts():
    days = [dt.datetime(2030, 1, day, tzinfo=dt.UTC) for day in (3, 1, 2)]
    assert expiry_of(b"# a comment\n" + b"\n".join(map(issued, days))) == days[1].timestamp()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_is_no_certificate_never_expires_and_breaks_nothing(data):
    pem = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 5))):
        pem[data.draw(st.integers(0, len(pem) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(expiry_of(bytes(pem)), float)
    assert expiry_of(data.draw(st.binary(max_size=200))) == math.inf


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
