"""What TLS costs at the doors: the same loads with and without it, in turn.

python benchmarks/bench_tls.py [--quick] [--seconds 3] [--rounds 3]
"""

import argparse
import dataclasses
from pathlib import Path

import trustme

import load
import rig
from bench_ingest import ROOM, once, spread
from shapes import Load

SHAPES = (Load(64), Load(8, streams=16), Load(8, streams=100))


def certificate(folder: Path) -> rig.Changes:
    """A certificate for this run, as the bridge is configured with it."""
    made = trustme.CA().issue_cert("127.0.0.1")
    cert, key = folder / "cert.pem", folder / "key.pem"
    made.private_key_pem.write_to_path(key)
    for pem in made.cert_chain_pems:
        pem.write_to_path(cert, append=True)
    return {"tls": {"cert_file": str(cert), "key_file": str(key)}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it runs")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds, rounds = (1.0, 1) if options.quick else (options.seconds, options.rounds)
    report = rig.Report("tls", "Accepting with and without TLS", ("load", "plain", "TLS", "ratio"))
    with rig.scratch() as scratch, rig.unreachable() as api_url:
        folders = scratch / "plain", scratch / "secure"
        for folder in folders:
            folder.mkdir()
        secure_changes = {**ROOM, **certificate(scratch)}
        with (
            rig.bridge(folders[0], api_url, ROOM) as plain,
            rig.bridge(folders[1], api_url, secure_changes) as secure,
        ):
            for shape in filter(load.available, SHAPES):
                rates: tuple[list[float], list[float]] = [], []
                for number in range(rounds):
                    for tls in (False, True) if number % 2 == 0 else (True, False):
                        fresh = dataclasses.replace(shape, tls=tls)
                        rates[tls].append(once(fresh, secure if tls else plain, scratch, seconds))
                share = rig.median(rates[1]) / rig.median(rates[0])
                report.add(str(shape), spread(rates[0]), spread(rates[1]), f"{share:.2f}")
                report.data[str(shape)] = rates
        report.notes.append(f"Medians of {rounds} rounds of {seconds:.0f} s (lowest–highest), in turn.")
        report.write(scratch)


if __name__ == "__main__":
    main()
