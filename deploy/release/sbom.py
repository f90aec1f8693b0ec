"""The bill of materials of what we hand over, in CycloneDX: what pip knows, and the C libraries that it cannot see.

    python deploy/release/sbom.py FROM_CYCLONEDX_PY.json TO.json --python PYTHON

PYTHON is of an environment that holds the locked dependencies and nothing else (make sbom makes it). The same inputs
give the same bytes.
"""

import argparse
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT_REF = "root-component"
NGHTTP2 = "1.64.0"
"""What wheels, executables and images have linked in (wheels/); an sdist is built against the system's."""
NGHTTP2_PATCHED = ("CVE-2026-27135",)
"""What its authors have mended since, and wheels/patches applies."""
NGHTTP2_ELSEWHERE = {"CVE-2026-58055": "a flaw of the proxy nghttpx; only lib/ is compiled"}
"""What is said of that version and is not in what we compile, with why."""
ASK = "import apsw, backports.zstd as z; print(apsw.sqlite_lib_version(), z.zstd_version)"


def native(sqlite: str, zstd: str) -> list[tuple[str, dict[str, Any]]]:
    """Each C library that stands in nobody's metadata, with the component that brings it."""
    return [
        (ROOT_REF, _nghttp2()),
        ("apsw", _library("sqlite", sqlite, "blessing", "sqlite", "compiled into apsw")),
        (
            "backports.zstd",
            _library("zstd", zstd, "BSD-3-Clause", "facebook", "compiled into backports.zstd"),
        ),
        (
            ROOT_REF,
            {
                "type": "library",
                "bom-ref": "openssl",
                "name": "openssl",
                "scope": "excluded",
                "description": "Of the Python that runs the bridge: not in the wheels; in executables and images, "
                "of the version that their Python brings",
            },
        ),
    ]


def _nghttp2() -> dict[str, Any]:
    patches = [
        {"type": "backport", "resolves": [{"type": "security", "id": identity}]}
        for identity in NGHTTP2_PATCHED
    ]
    library = _library("nghttp2", NGHTTP2, "MIT", "nghttp2", "linked statically into _fast/http2")
    return {**library, "pedigree": {"patches": patches}}


def judged() -> list[dict[str, Any]]:
    """What is known against libnghttp2's version, and what we say of it: a scanner goes by the version alone."""
    patched = {"state": "resolved_with_pedigree", "detail": "its authors' change is applied (wheels/patches)"}
    elsewhere = {"state": "not_affected", "justification": "code_not_present"}
    found = dict.fromkeys(NGHTTP2_PATCHED, patched) | {
        identity: {**elsewhere, "detail": why} for identity, why in NGHTTP2_ELSEWHERE.items()
    }
    return [
        {"id": identity, "analysis": analysis, "affects": [{"ref": f"nghttp2@{NGHTTP2}"}]}
        for identity, analysis in sorted(found.items())
    ]


def _library(name: str, version: str, licence: str, vendor: str, how: str) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "description": how,
        "licenses": [{"license": {"id": licence}}],
        "purl": f"pkg:generic/{name}@{version}",
        "cpe": f"cpe:2.3:a:{vendor}:{name}:{version}:*:*:*:*:*:*:*",
    }


def linked(version: str) -> dict[str, Any]:
    """The bill of a compiled wheel alone: what is linked into it and nobody could see from outside."""
    library, root = _nghttp2(), f"pkg:pypi/mcp-ilert@{version}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": root,
                "name": "mcp-ilert",
                "version": version,
                "purl": root,
            }
        },
        "components": [library],
        "dependencies": [{"ref": root, "dependsOn": [library["bom-ref"]]}, {"ref": library["bom-ref"]}],
        "vulnerabilities": judged(),
    }


def written(bom: Mapping[str, Any]) -> str:
    return json.dumps(bom, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def completed(bom: Mapping[str, Any], sqlite: str, zstd: str) -> dict[str, Any]:
    """The bill with the C libraries, and with who needs them."""
    components, needs = list(bom["components"]), {one["ref"]: one for one in bom["dependencies"]}
    refs = {one["name"]: one["bom-ref"] for one in components} | {ROOT_REF: ROOT_REF}
    for holder, component in native(sqlite, zstd):
        ref, own = refs[holder], component["bom-ref"]
        before = needs.get(ref, {"ref": ref})
        needs[ref] = {**before, "dependsOn": sorted([*before.get("dependsOn", []), own])}
        needs[own] = {"ref": own}
        components.append(component)
    root = {
        **bom["metadata"]["component"],
        "purl": f"pkg:pypi/mcp-ilert@{bom['metadata']['component']['version']}",
    }
    return {
        **bom,
        "metadata": {**bom["metadata"], "component": root},
        "components": sorted(components, key=lambda one: (one["name"].lower(), one.get("version", ""))),
        "dependencies": [needs[ref] for ref in sorted(needs)],
        "vulnerabilities": judged(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--python", required=True)
    options = parser.parse_args()
    told = subprocess.run([options.python, "-c", ASK], capture_output=True, text=True, check=True)  # noqa: S603
    bom = completed(json.loads(options.source.read_text()), *told.stdout.split())
    options.target.parent.mkdir(parents=True, exist_ok=True)
    options.target.write_text(written(bom))


if __name__ == "__main__":
    main()
