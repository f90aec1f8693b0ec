"""The bill of materials names what no package index knows of: the C libraries, and who brings them."""

import sys
from typing import Any

from charts import ROOT

sys.path.append(str(ROOT / "deploy/release"))
import sbom

FROM_PIP = {
    "metadata": {"component": {"bom-ref": sbom.ROOT_REF, "name": "mcp-ilert", "version": "1.2.3"}},
    "components": [
        {"bom-ref": "trio==0.35.0", "name": "trio", "version": "0.35.0"},
        {"bom-ref": "apsw==3.54.1.0", "name": "apsw", "version": "3.54.1.0"},
        {"bom-ref": "backports.zstd==1.8.0", "name": "backports.zstd", "version": "1.8.0"},
    ],
    "dependencies": [
        {"ref": sbom.ROOT_REF, "dependsOn": ["apsw==3.54.1.0", "backports.zstd==1.8.0", "trio==0.35.0"]},
        {"ref": "apsw==3.54.1.0"},
        {"ref": "trio==0.35.0"},
    ],
}


def needs(bom: dict[str, Any]) -> dict[str, list[str]]:
    return {one["ref"]: one.get("dependsOn", []) for one in bom["dependencies"]}


def test_the_c_libraries_are_named_with_their_versions_and_with_what_brings_them() -> None:
    bom = sbom.completed(FROM_PIP, "3.54.1", "1.5.7")
    found = {one["name"]: one.get("version") for one in bom["components"]}
    assert found == {
        "apsw": "3.54.1.0",
        "backports.zstd": "1.8.0",
        "nghttp2": sbom.NGHTTP2,
        "openssl": None,
        "sqlite": "3.54.1",
        "trio": "0.35.0",
        "zstd": "1.5.7",
    }
    assert needs(bom)["apsw==3.54.1.0"] == ["sqlite@3.54.1"]
    assert needs(bom)["backports.zstd==1.8.0"] == ["zstd@1.5.7"]
    assert {"openssl", f"nghttp2@{sbom.NGHTTP2}", "trio==0.35.0"} <= set(needs(bom)[sbom.ROOT_REF])


def test_everything_that_is_needed_is_listed_and_everything_listed_is_needed() -> None:
    bom = sbom.completed(FROM_PIP, "3.54.1", "1.5.7")
    listed = {one["bom-ref"] for one in bom["components"]}
    assert {ref for refs in needs(bom).values() for ref in refs} == listed
    assert set(needs(bom)) == listed | {sbom.ROOT_REF}


def test_completing_changes_nothing_of_what_it_was_given() -> None:
    before = repr(FROM_PIP)
    assert sbom.completed(FROM_PIP, "3.54.1", "1.5.7") == sbom.completed(FROM_PIP, "3.54.1", "1.5.7")
    assert repr(FROM_PIP) == before


def test_a_scanner_is_told_what_became_of_each_flaw_of_a_library_that_is_known_by_its_version() -> None:
    bom = sbom.completed(FROM_PIP, "3.54.1", "1.5.7")
    library = next(one for one in bom["components"] if one["name"] == "nghttp2")
    patched = {flaw["id"] for patch in library["pedigree"]["patches"] for flaw in patch["resolves"]}
    told = {one["id"]: one for one in bom["vulnerabilities"]}
    assert {
        one for one, said in told.items() if said["analysis"]["state"] == "resolved_with_pedigree"
    } == patched
    assert patched == {
        file.stem.removeprefix("nghttp2-") for file in (ROOT / "wheels/patches").glob("nghttp2-*")
    }
    assert all(said["affects"] == [{"ref": library["bom-ref"]}] for said in told.values())
    assert all(said["analysis"]["detail"] for said in told.values())
