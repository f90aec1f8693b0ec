"""`make fuzz`: a bridge against what schemathesis makes of its OpenAPI document, then the suite's own fuzzing, longer.

    python tests/fuzz.py --schemathesis build/fuzz/bin/schemathesis [--seed 1] [--examples 200]

Ends with 1 where an answer is none that the document allows, or the bridge has logged an error or ended.
What is found becomes a test of the suite.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from bridge import Bridge, running, write_config

TOKEN = "a-token-for-fuzzing-alone"
HERE = Path(__file__).parent
LONGER = (
    "test_fuzz.py",
    "test_config_secrets.py",
    "test_decode_native.py",
    "test_http1_fuzz.py",
    "test_certificates.py",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schemathesis", required=True, type=Path, help="the program")
    parser.add_argument("--seed", default="1")
    parser.add_argument(
        "--examples", type=int, default=200, help="of each operation; ten times as many in test_fuzz.py"
    )
    options = parser.parse_args()
    faults = trio.run(against_the_document, options.schemathesis, options.seed, options.examples)
    faults += longer(options.seed, options.examples)
    for fault in faults:
        print(f"fuzz: {fault}", file=sys.stderr)
    sys.exit(bool(faults))


async def against_the_document(program: Path, seed: str, examples: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        token = {"name": "fuzz", "token": TOKEN, "role": "operator"}
        forge = {"event": {"mcp_id": "id", "source": "source", "summary": "text"}, "each": "items"}
        config = write_config(
            Path(folder), "http://127.0.0.1:9", auth={"tokens": [token]}, webhooks={"forge": forge}
        )
        async with running(config) as bridge:
            command = [
                str(program.absolute()),
                "--config-file",
                str(HERE / "schemathesis.toml"),
                "run",
                "--no-color",
            ]
            command += [
                "--seed",
                seed,
                "--max-examples",
                str(examples),
                "--phases",
                "examples,coverage,fuzzing",
            ]
            command += ["--header", f"Authorization: Bearer {TOKEN}", f"{bridge.url}/openapi.json"]
            done = await trio.run_process(command, check=False, cwd=folder)
            return [*(["schemathesis has found something"] if done.returncode else []), *errors(bridge)]


def errors(bridge: Bridge) -> list[str]:
    gone = bridge.process.poll() is not None
    found = [str(record) for record in bridge.records if record["level"] in {"error", "critical"}]
    return [*(["the bridge has ended"] if gone else []), *found, *bridge.plain]


def longer(seed: str, examples: int) -> list[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", f"--hypothesis-seed={seed}"]
    command += [str(HERE / name) for name in LONGER]
    environ = os.environ | {"FUZZ_EXAMPLES": str(10 * examples)}
    done = subprocess.run(command, check=False, env=environ)
    return ["the suite's own fuzzing has found something"] if done.returncode else []


if __name__ == "__main__":
    main()
